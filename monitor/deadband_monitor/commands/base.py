"""What a sub-command is: a name, its options, and what it does."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import environ


def _as_given(arguments: Sequence[str]) -> list[str]:
    return list(arguments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One sub-command of `deadband`."""

    name: str
    summary: str
    """One line for `deadband --help`."""
    prepare: Callable[[ArgumentParser], None]
    """Declares its options."""
    run: Callable[[Namespace], int]
    """Does it; returns the exit status.

    Raises:
        MonitorError: with one line for the user.
    """
    hidden: bool = False
    """Not for people: left out of `deadband --help`."""
    split: Callable[[Sequence[str]], list[str]] = _as_given
    """Rewrites its arguments before they are parsed."""


def say(line: str = "") -> None:
    """One line on standard output, at once: somebody may be following."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def complain(line: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"deadband: {line}\n")
    sys.stderr.flush()


def can_draw() -> bool:
    """Whether there is a terminal that the dashboard can be drawn on.

    Textual writes colours and cursor moves wherever it is sent, even into a file.
    """
    return (
        sys.stdin.isatty() and sys.stdout.isatty() and environ.get("TERM", "") not in ("", "dumb")
    )

"""How a watched process ends: in order, by an error, or as a fork that is not ours to watch."""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, Protocol, TypeVar

from deadband.identity import is_interactive


class Closable(Protocol):
    """What must be ended with the process."""

    pid: int

    def close(self, *, status: str = ..., error: str = ...) -> None:
        """End in order."""

    def abandon(self) -> None:
        """Let go without a word: this process is a fork."""

    def watches(self, models: Collection[Any]) -> bool:
        """Whether one of these models is what it watches."""


_Block = TypeVar("_Block", bound="Block")


class Block:
    """What is closed at the end of a `with` block."""

    def close(self, *, status: str = "finished", error: str = "") -> None:
        """End in order."""
        raise NotImplementedError

    def __enter__(self: _Block) -> _Block:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.close(status="failed", error=one_line(error))


AT_END: list[Callable[[], BaseException | None]] = []
"""Called at the end of the process: a launcher knows what error ended the script."""

_open: weakref.WeakSet[Closable] = weakref.WeakSet()


def opened(each: Closable) -> None:
    """It must be closed at the end of the process at the latest."""
    _open.add(each)


def closed(each: Closable) -> None:
    """It is closed."""
    _open.discard(each)


def any_open() -> bool:
    """Whether something is watched in this process."""
    return any(each.pid == os.getpid() for each in _open)


def close_those_of(models: Collection[Any]) -> None:
    """End what watches these models: a cell of a notebook that is run again begins a new run."""
    for each in list(_open):
        if each.pid == os.getpid() and each.watches(models):
            each.close()


def one_line(error: BaseException) -> str:
    """Type and text of an error, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__


def close_all() -> None:
    """Close what is still open, and say how the process ended."""
    # The interpreter leaves an uncaught error here before it runs what is registered at exit.
    # A person at a prompt goes on after one, so there it says nothing of the end.
    error = None
    if not is_interactive():
        error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    for ending in AT_END:
        error = ending() or error
    for each in list(_open):
        if each.pid != os.getpid():
            continue
        if error is None:
            each.close()
        else:
            each.close(status="failed", error=one_line(error))


def _forked() -> None:
    for each in list(_open):
        each.abandon()
    _open.clear()
    AT_END.clear()


atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)

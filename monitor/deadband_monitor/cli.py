"""The command line: which sub-command is meant, its options, and errors in one line each."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn, cast

from deadband_monitor.commands.base import Command, complain, say
from deadband_monitor.errors import MonitorError
from deadband_monitor.loading import swiftly

NAMES = (
    "run", "attach", "replay", "ask", "report", "runs", "export", "demo", "doctor", "keys", "pipe",
)  # fmt: skip
"""Of the commands, as the help lists them: each in the module that is called so."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 + SIGINT."""


class Parser(ArgumentParser):
    """Says what is wrong in one line instead of printing its usage."""

    def error(self, message: str) -> NoReturn:
        """Raise it; `main` prints."""
        raise MonitorError(f"{message} (see: {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `deadband ...`; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        return _dispatch(arguments)
    except MonitorError as error:
        complain(str(error))
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has gone (`deadband runs | head`): leave quietly, also at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        return _picker()
    word, rest = arguments[0], arguments[1:]
    if word in ("-h", "--help", "help"):
        say(usage())
        return 0
    if word in ("-V", "--version"):
        from importlib.metadata import version

        say(f"deadband {version('deadband')}")
        return 0
    if word in NAMES:
        return _run(command(word), rest)
    near = get_close_matches(word, [it.name for it in commands() if not it.hidden], n=1)
    hint = f"did you mean: deadband {near[0]}?" if near else "see: deadband --help"
    if word.endswith(".py"):
        hint = f"to watch a script: deadband run {word}"
    raise MonitorError(f"there is no command {word!r}; {hint}")


def command(name: str) -> Command:
    """A sub-command; what it needs is imported, and nothing of the others."""
    with swiftly():
        return cast("Command", import_module(f"deadband_monitor.commands.{name}").COMMAND)


def commands() -> list[Command]:
    """All of them."""
    return [command(name) for name in NAMES]


def _picker() -> int:
    with swiftly():
        from deadband_monitor.commands import pick
    return pick.run()


def _run(command: Command, rest: list[str]) -> int:
    parser = Parser(
        prog=f"deadband {command.name}",
        description=command.summary,
        formatter_class=RawDescriptionHelpFormatter,
    )
    command.prepare(parser)
    return command.run(parser.parse_args(command.split(rest)))


def usage() -> str:
    """The text of `deadband --help`."""
    lines = [
        "usage: deadband [COMMAND] [OPTIONS]",
        "",
        "Watch a network train in the terminal: deadband says the moment it collapses, and why.",
        "",
        "commands:",
        f"  {'(none)':8}  choose among the runs of this machine",
        *(f"  {it.name:8}  {it.summary}" for it in commands() if not it.hidden),
        "",
        "deadband COMMAND --help says more of each. Start with: deadband demo lr-too-high",
    ]
    return "\n".join(lines)

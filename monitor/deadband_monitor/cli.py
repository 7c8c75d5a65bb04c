"""The command line: which sub-command is meant, its options, and errors in one line each."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import version
from typing import NoReturn

from deadband_monitor.commands import (
    ask,
    attach,
    demo,
    doctor,
    export,
    keys,
    pick,
    pipe,
    replay,
    report,
    run,
    runs,
)
from deadband_monitor.commands.base import Command, complain, say
from deadband_monitor.errors import MonitorError

COMMANDS: tuple[Command, ...] = (
    run.COMMAND,
    attach.COMMAND,
    replay.COMMAND,
    ask.COMMAND,
    report.COMMAND,
    runs.COMMAND,
    export.COMMAND,
    demo.COMMAND,
    doctor.COMMAND,
    keys.COMMAND,
    pipe.COMMAND,
)
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
        return pick.run()
    word, rest = arguments[0], arguments[1:]
    if word in ("-h", "--help", "help"):
        say(usage())
        return 0
    if word in ("-V", "--version"):
        say(f"deadband {version('deadband')}")
        return 0
    for command in COMMANDS:
        if command.name == word:
            return _run(command, rest)
    near = get_close_matches(word, [it.name for it in COMMANDS if not it.hidden], n=1)
    hint = f"did you mean: deadband {near[0]}?" if near else "see: deadband --help"
    if word.endswith(".py"):
        hint = f"to watch a script: deadband run {word}"
    raise MonitorError(f"there is no command {word!r}; {hint}")


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
        *(f"  {it.name:8}  {it.summary}" for it in COMMANDS if not it.hidden),
        "",
        "deadband COMMAND --help says more of each. Start with: deadband demo lr-too-high",
    ]
    return "\n".join(lines)

"""`deadband pipe`: the far side of `deadband attach HOST`, which starts it; not for people.

As a forced command of an SSH key it lets that key see runs and nothing else.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from deadband_monitor.commands.base import Command
from deadband_monitor.remote.serve import serve_standard_streams


def _prepare(parser: ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", default="", metavar="RUN", help="show this run only")


def _run(arguments: Namespace) -> int:
    serve_standard_streams(arguments.run)


COMMAND = Command(
    name="pipe",
    summary="the far side of attach HOST: speaks to a viewer through stdin and stdout",
    prepare=_prepare,
    run=_run,
    hidden=True,
)

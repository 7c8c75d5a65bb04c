"""`deadband replay`: the dashboard on a recording, with scrubbing."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from deadband_monitor.commands.base import Command, can_draw, say
from deadband_monitor.commands.following import follow
from deadband_monitor.hub.registry import resolve
from deadband_monitor.source.replay import ReplaySource


def _prepare(parser: ArgumentParser) -> None:
    parser.add_argument("target", metavar="RUN", help="name, id, start of an id, or a .dbr file")


def _run(arguments: Namespace) -> int:
    source = ReplaySource(resolve(arguments.target).path)
    try:
        if can_draw():
            from deadband_monitor.tui.start import run_dashboard

            return run_dashboard(source)
        follow(source, say)
        return 0
    finally:
        source.close()


COMMAND = Command(
    name="replay",
    summary="the dashboard on a recording: step back and forth",
    prepare=_prepare,
    run=_run,
)

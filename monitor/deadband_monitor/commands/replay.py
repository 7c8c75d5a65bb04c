"""`deadband replay`: the dashboard on a recording, with scrubbing."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import closing

from deadband_monitor.commands.base import Command, can_draw, say
from deadband_monitor.commands.following import follow
from deadband_monitor.commands.places import TARGET_HELP, add_place_options, hosts_of, resolve
from deadband_monitor.source.replay import ReplaySource


def _prepare(parser: ArgumentParser) -> None:
    parser.add_argument("target", metavar="RUN", help=TARGET_HELP)
    add_place_options(parser)


def _run(arguments: Namespace) -> int:
    with hosts_of(arguments) as hosts:
        recording = hosts.recording(resolve(arguments, hosts))
        with closing(ReplaySource(recording, settled=False)) as source:
            if can_draw():
                from deadband_monitor.tui.start import run_dashboard

                return run_dashboard(source)
            follow(source, say)
            return 0


COMMAND = Command(
    name="replay",
    summary="the dashboard on a recording: step back and forth",
    prepare=_prepare,
    run=_run,
)

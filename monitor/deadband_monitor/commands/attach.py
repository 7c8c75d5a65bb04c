"""`deadband attach`: the dashboard on a run that is live."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from deadband_monitor.commands.base import Command, can_draw, say
from deadband_monitor.commands.following import follow
from deadband_monitor.commands.unprepared import leave_process, watch_process
from deadband_monitor.errors import MonitorError, UnknownRun
from deadband_monitor.hub.registry import resolve, runs
from deadband_monitor.source.open import open_entry


def _prepare(parser: ArgumentParser) -> None:
    parser.add_argument(
        "target",
        nargs="?",
        metavar="RUN",
        help="name, id or the start of an id (default: the one that is live)",
    )
    parser.add_argument(
        "--pid",
        type=int,
        metavar="PID",
        help="a Python process of this machine that was started without deadband",
    )
    parser.add_argument(
        "--detach",
        action="store_true",
        help="with --pid: stop watching that process",
    )


def _run(arguments: Namespace) -> int:
    if arguments.detach:
        if arguments.pid is None:
            raise MonitorError("--detach needs --pid PID: the process that is to be left alone")
        leave_process(arguments.pid)
        return 0
    if arguments.pid is not None:
        if arguments.target is not None:
            raise MonitorError("give a run or --pid, not both")
        arguments.target = watch_process(arguments.pid)
    entry = resolve(arguments.target or _only_live())
    source = open_entry(entry)
    try:
        if can_draw():
            from deadband_monitor.tui.start import run_dashboard

            return run_dashboard(source)
        follow(source, say)
        return 0
    finally:
        source.close()


def _only_live() -> str:
    live = [entry.run for entry in runs() if entry.live]
    if not live:
        raise UnknownRun(
            "no run is live on this machine; start one with: deadband run train.py"
            " (finished ones: deadband runs)"
        )
    if len(live) > 1:
        raise UnknownRun(f"several runs are live: {', '.join(live)}; name one of them")
    return live[0]


COMMAND = Command(
    name="attach",
    summary="the dashboard on a live run, however late",
    prepare=_prepare,
    run=_run,
)

"""`deadband demo`: a bundled failure, watched live."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from difflib import get_close_matches
from importlib.util import find_spec
from itertools import groupby

import msgspec

from deadband import wire
from deadband_monitor.commands.base import Command, can_draw, complain, say
from deadband_monitor.commands.reporting import say_report
from deadband_monitor.commands.training import Training, log_path
from deadband_monitor.commands.watching import final_report, watch_live, watch_plainly
from deadband_monitor.errors import MonitorError
from deadband_monitor.report.words import headline

DEFAULT = "lr-too-high"
NEEDED = ("torch", "sklearn")
"""Looked for, never imported: the demo's own process does that."""


class DemoEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One demo as `python -m deadband_demos --json` describes it."""

    name: str
    summary: str
    cause: str
    remedy: str
    script: str


def _prepare(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default=DEFAULT, help=f"default: {DEFAULT}")
    parser.add_argument("--list", action="store_true", help="which demos there are")
    parser.add_argument(
        "--healthy", action="store_true", help="the twin, with the remedy that deadband advises"
    )
    parser.add_argument("--plain", action="store_true", help="plain lines instead of the dashboard")


def _run(arguments: Namespace) -> int:
    demos = catalogue()
    if arguments.list:
        return _list(demos, twins=arguments.healthy)
    demo = _named(arguments.name, demos)
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MonitorError(
            f"the demos train for real, and {' and '.join(missing)} cannot be found here:"
            " pip install 'deadband[demos]'"
        )
    run = wire.new_run_id(demo.name + ("-healthy" if arguments.healthy else ""))
    command = [demo.script, *(["--healthy"] if arguments.healthy else [])]
    settings = {"DEADBAND_NAME": run.rpartition("-")[0]}
    training = Training(command, run=run, settings=settings, output=log_path(run))
    if can_draw() and not arguments.plain:
        status = watch_live(training)
        report = final_report(training)
        if report:
            complain(f"{headline(report)}; the whole report: deadband report {run}")
    else:
        status = watch_plainly(training, say)
        report = final_report(training)
        if report:
            say()
            say_report(report)
    if status == 0 and report is None:
        raise MonitorError(f"the demo was not watched; what it printed: {training.output}")
    return status


def catalogue() -> list[DemoEntry]:
    """The bundled demos, asked of their own package: the monitor imports none of it."""
    asked = subprocess.run(
        [sys.executable, "-m", "deadband_demos", "--json"], capture_output=True, check=False
    )
    if asked.returncode != 0:
        raise MonitorError("the bundled demos cannot be listed: reinstall deadband")
    return msgspec.json.decode(asked.stdout, type=list[DemoEntry])


def _list(demos: list[DemoEntry], *, twins: bool) -> int:
    """A line each under the cause that it shows; what the twins do differently if asked."""
    width = max(len(demo.name) for demo in demos)
    for cause, group in groupby(demos, key=lambda demo: demo.cause):
        say(f"{cause or 'nothing wrong'}")
        for demo in group:
            line = demo.remedy if twins and demo.remedy else demo.summary
            say(f"  {demo.name:{width}}  {line}")
    say()
    say("deadband demo NAME shows one live; with --healthy its twin, which has the remedy.")
    if not twins:
        say("What each twin does differently: deadband demo --list --healthy")
    return 0


def _named(name: str, demos: list[DemoEntry]) -> DemoEntry:
    for demo in demos:
        if demo.name == name:
            return demo
    near = get_close_matches(name, [demo.name for demo in demos], n=1)
    hint = f"did you mean {near[0]}?" if near else "see: deadband demo --list"
    raise MonitorError(f"there is no demo {name!r}; {hint}")


COMMAND = Command(
    name="demo",
    summary="a bundled failure, watched live: deadband demo --list",
    prepare=_prepare,
    run=_run,
)

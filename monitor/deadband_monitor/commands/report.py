"""`deadband report`: a run in words, for people (text, markdown) and programs (JSON)."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import closing

from deadband_monitor.commands.base import Command, say
from deadband_monitor.commands.following import follow
from deadband_monitor.commands.places import TARGET_HELP, add_place_options, hosts_of, resolve
from deadband_monitor.commands.reporting import say_report
from deadband_monitor.report.making import make_report
from deadband_monitor.report.words import FORMATS
from deadband_monitor.source.base import Source
from deadband_monitor.source.hosts import Hosts
from deadband_monitor.source.open import open_source
from deadband_monitor.source.replay import ReplaySource

EXIT_STATUSES = "exit status: 0 healthy, 1 warning, 3 failing, 2 for a mistake in the call"


def _prepare(parser: ArgumentParser) -> None:
    parser.epilog = EXIT_STATUSES
    parser.add_argument("target", metavar="RUN", help=TARGET_HELP)
    add_place_options(parser)
    parser.add_argument("--format", choices=FORMATS, default="text", dest="form")
    parser.add_argument(
        "--follow",
        action="store_true",
        help="one plain line per event until the run ends, then the report",
    )


def _run(arguments: Namespace) -> int:
    with hosts_of(arguments) as hosts, closing(_open(arguments, hosts)) as source:
        if arguments.follow:
            follow(source, say)
            say()
        report = make_report(source.state)
    say_report(report, arguments.form)
    return report.exit_status


def _open(arguments: Namespace, hosts: Hosts) -> Source:
    if arguments.target.startswith("tcp://"):
        return open_source(arguments.target)
    entry = resolve(arguments, hosts)
    return hosts.open(entry) if arguments.follow else ReplaySource(hosts.recording(entry))


COMMAND = Command(
    name="report",
    summary="a run in words: verdict, causes, flags; text, json or markdown",
    prepare=_prepare,
    run=_run,
)

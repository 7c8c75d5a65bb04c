"""`deadband runs`: what is on this machine, live, finished and lost."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace

import msgspec

from deadband import wire
from deadband_monitor.commands.base import Command, complain, say
from deadband_monitor.commands.places import add_place_options, hosts_of, named_far
from deadband_monitor.hub.registry import RunEntry, runs
from deadband_monitor.remote.protocol import row_of

HEAD = ("", "run", "status", "verdict", "steps", "last word")


def _prepare(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as a JSON array")
    add_place_options(parser, host=True)


def _run(arguments: Namespace) -> int:
    with hosts_of(arguments) as hosts:
        far = named_far(arguments, hosts)
        if far is None:
            entries, place = runs(), f"in {wire.home()}"
        else:
            host = hosts.host(far)
            whose = f"of {host.link.user} " if host.link.user else ""
            entries, place = host.runs(), f"{whose}on {far.name}"
    if arguments.json:
        rows = [row_of(entry) for entry in entries]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")
        return 0
    return list_runs(entries, place)


def list_runs(entries: list[RunEntry], place: str = "") -> int:
    """Print them as a table."""
    if not entries:
        complain(
            f"no runs {place or f'in {wire.home()}'} yet; start one with: deadband run train.py"
        )
        return 0
    now = time.time()
    table = [HEAD, *(_cells(entry, now) for entry in entries)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEAD))]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join(cells).strip() if row is HEAD else "  ".join(cells).rstrip())
    return 0


def ago(seconds: float) -> str:
    """A span of time in one short word: `12 s`, `5 min`, `3 h`, `2 d`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _cells(entry: RunEntry, now: float) -> tuple[str, ...]:
    heard = entry.last_time or entry.started
    return (
        "*" if entry.live else "",
        entry.run,
        entry.status,
        entry.verdict or "-",
        str(entry.step),
        entry.problem or f"{ago(now - heard)} ago",
    )


COMMAND = Command(
    name="runs",
    summary="the runs of this machine, or of another: live, finished, killed",
    prepare=_prepare,
    run=_run,
)

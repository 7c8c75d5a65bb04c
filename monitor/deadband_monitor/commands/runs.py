"""`deadband runs`: what is on this machine, live, finished and lost."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace

import msgspec

from deadband import wire
from deadband_monitor.commands.base import Command, complain, say
from deadband_monitor.hub.registry import RunEntry, runs

HEAD = ("", "run", "status", "verdict", "steps", "last word")


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run as `--json` writes it."""

    run: str
    name: str
    path: str
    live: bool
    status: str
    """`running`, `silent`, `finished`, `failed`, `killed`, `lost`, `unreadable`."""
    verdict: str
    """Empty where the recording cannot be read."""
    started: float
    """Seconds since the epoch."""
    last_time: float
    step: int
    samples: int
    problem: str


def _prepare(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as a JSON array")


def _run(arguments: Namespace) -> int:
    entries = runs()
    if arguments.json:
        rows = [_row(entry) for entry in entries]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")
        return 0
    return list_runs(entries)


def list_runs(entries: list[RunEntry]) -> int:
    """Print them as a table."""
    if not entries:
        complain(f"no runs in {wire.home()} yet; start one with: deadband run train.py")
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


def _row(entry: RunEntry) -> RunRow:
    return RunRow(
        run=entry.run,
        name=entry.name,
        path=str(entry.path),
        live=entry.live,
        status=entry.status,
        verdict=entry.verdict,
        started=entry.started,
        last_time=entry.last_time,
        step=entry.step,
        samples=entry.samples,
        problem=entry.problem,
    )


COMMAND = Command(
    name="runs",
    summary="the runs of this machine: live, finished, killed",
    prepare=_prepare,
    run=_run,
)

"""`deadband export`: the statistics of a run for other programs."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from deadband_monitor.commands.base import Command
from deadband_monitor.commands.places import TARGET_HELP, add_place_options, hosts_of, resolve
from deadband_monitor.errors import MonitorError
from deadband_monitor.exporting.parquet import write_parquet
from deadband_monitor.exporting.tensorboard import write_tensorboard
from deadband_monitor.exporting.text import write_csv, write_jsonl
from deadband_monitor.exporting.values import Value, read_values

TEXT = {"csv": write_csv, "jsonl": write_jsonl}
"""Forms that may go to standard output."""
FILES = {"parquet": write_parquet, "tensorboard": write_tensorboard}
"""Forms that need a file, or a folder, of their own."""


def _prepare(parser: ArgumentParser) -> None:
    parser.add_argument("target", metavar="RUN", help=TARGET_HELP)
    add_place_options(parser)
    parser.add_argument("--to", choices=(*TEXT, *FILES), required=True, dest="form")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write it here (default: standard output; tensorboard: a folder)",
    )


def _run(arguments: Namespace) -> int:
    if arguments.form in FILES and arguments.output is None:
        raise MonitorError(f"--to {arguments.form} is no text: name a place with --output")
    with (
        hosts_of(arguments) as hosts,
        closing(hosts.recording(resolve(arguments, hosts))) as recording,
    ):
        values = read_values(recording)
        if arguments.output is None:
            TEXT[arguments.form](values, sys.stdout)
            return 0
        try:
            _write(values, arguments.form, arguments.output)
        except OSError as error:
            raise MonitorError(
                f"cannot write {arguments.output}: {error.strerror or error}"
            ) from error
    return 0


def _write(values: Iterator[Value], form: str, output: Path) -> None:
    if form in FILES:
        FILES[form](values, output)
        return
    with output.open("w", encoding="utf-8", newline="") as file:
        TEXT[form](values, file)


COMMAND = Command(
    name="export",
    summary="its statistics for other programs: --to csv, jsonl, parquet or tensorboard",
    prepare=_prepare,
    run=_run,
)

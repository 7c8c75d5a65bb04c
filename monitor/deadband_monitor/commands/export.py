"""`deadband export`: the statistics of a run for other programs, as CSV or JSON lines."""

from __future__ import annotations

import csv
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TextIO

import msgspec
import numpy as np

from deadband.wire import LayerTable, Note, Sample
from deadband_monitor.commands.base import Command
from deadband_monitor.commands.places import TARGET_HELP, add_place_options, hosts_of, resolve
from deadband_monitor.errors import MonitorError
from deadband_monitor.record.base import RecordingReader
from deadband_monitor.record.reader import UNFIT

FORMATS = ("csv", "jsonl")


class Value(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One statistic at one step; those that did not apply are left out."""

    step: int
    time: float
    model: str
    layer: str
    """Empty for statistics of the model, and for scalars."""
    metric: str
    value: float | None
    """None for a note."""
    text: str = ""
    """What a note says; its metric is `note`."""


def _prepare(parser: ArgumentParser) -> None:
    parser.add_argument("target", metavar="RUN", help=TARGET_HELP)
    add_place_options(parser)
    parser.add_argument("--to", choices=FORMATS, required=True, dest="form")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write it here (default: standard output)"
    )


def _run(arguments: Namespace) -> int:
    with (
        hosts_of(arguments) as hosts,
        closing(hosts.recording(resolve(arguments, hosts))) as recording,
    ):
        values = read_values(recording)
        if arguments.output is None:
            write(values, sys.stdout, arguments.form)
            return 0
        try:
            with arguments.output.open("w", encoding="utf-8", newline="") as file:
                write(values, file, arguments.form)
        except OSError as error:
            raise MonitorError(f"cannot write {arguments.output}: {error.strerror}") from error
    return 0


def read_values(recording: RecordingReader) -> Iterator[Value]:
    """Every finite statistic and scalar of the recording, in order of steps."""
    table: LayerTable | None = None
    for event in recording.events():
        if isinstance(event, LayerTable):
            table = event
        elif isinstance(event, Sample) and table is not None:
            try:
                yield from _values(event, table)
            except UNFIT as error:
                raise recording.damaged(error) from error
        elif isinstance(event, Note):
            yield Value(
                step=event.step,
                time=event.time,
                model="",
                layer="",
                metric="note",
                value=None,
                text=event.text,
            )


def write(values: Iterator[Value], file: TextIO, form: str) -> None:
    """Long form: one line a value."""
    if form == "jsonl":
        file.writelines(msgspec.json.encode(value).decode() + "\n" for value in values)
        return
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(Value.__struct_fields__)
    lines.writerows(msgspec.structs.astuple(value) for value in values)


def _values(sample: Sample, table: LayerTable) -> Iterator[Value]:
    parts = (
        (sample.layers, table.layer_metrics, [(one.model, one.name) for one in table.layers]),
        (sample.models, table.model_metrics, [(one.name, "") for one in table.models]),
    )
    for data, metrics, places in parts:
        matrix = np.frombuffer(data, np.float32).reshape(len(places), len(metrics))
        for row, column in zip(*np.nonzero(np.isfinite(matrix)), strict=True):
            model, layer = places[row]
            yield Value(
                step=sample.step,
                time=sample.time,
                model=model,
                layer=layer,
                metric=metrics[column],
                value=float(matrix[row, column]),
            )
    for name, points in sample.scalars.items():
        steps = np.frombuffer(points.steps, np.int64)
        values = np.frombuffer(points.values, np.float32)
        for step, value in zip(steps, values, strict=True):
            if np.isfinite(value):
                yield Value(
                    step=int(step),
                    time=sample.time,
                    model="",
                    layer="",
                    metric=name,
                    value=float(value),
                )


COMMAND = Command(
    name="export",
    summary="its statistics for other programs: --to csv or jsonl",
    prepare=_prepare,
    run=_run,
)

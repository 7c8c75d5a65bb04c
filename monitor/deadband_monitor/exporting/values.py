"""Every statistic of a recording, one value after the other."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from deadband.wire import LayerTable, Note, Sample
from deadband_monitor.record.base import RecordingReader
from deadband_monitor.record.reader import UNFIT


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

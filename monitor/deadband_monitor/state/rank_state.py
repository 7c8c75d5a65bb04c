"""What a viewer knows of a rank that does not stand for the run: figures, and the newest sample.

The history of its layers stays in the recording: a run of many ranks takes little more memory than
a run of one.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from functools import lru_cache

import msgspec
import numpy as np

from deadband.wire import LayerTable, Sample
from deadband_monitor.metrics import LAYER_METRICS, MODEL_METRICS
from deadband_monitor.state.series import Floats, PackedSeries, Series

CAPACITY = 256
_LAYER_NAMES = tuple(metric.name for metric in LAYER_METRICS)
_MODEL_NAMES = tuple(metric.name for metric in MODEL_METRICS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One sample at full resolution."""

    step: int
    time: float
    layers: Floats
    """(layers, len(LAYER_METRICS))"""
    models: Floats
    """(models, len(MODEL_METRICS))"""


def reading_of(sample: Sample, table: LayerTable) -> Reading:
    """The figures of a sample, columns as in our own tables of metrics."""
    layers = matrix(sample.layers, len(table.layers), len(table.layer_metrics))
    models = matrix(sample.models, len(table.models), len(table.model_metrics))
    return Reading(
        step=sample.step,
        time=sample.time,
        layers=_pick(layers, table.layer_metrics, _LAYER_NAMES),
        models=_pick(models, table.model_metrics, _MODEL_NAMES),
    )


def readings_of(bodies: list[bytes], table: LayerTable) -> Floats:
    """The layers of samples of one table, columns as in our own: (samples, layers, metrics)."""
    rows, columns = len(table.layers), len(table.layer_metrics)
    values = matrix(b"".join(bodies), len(bodies) * rows, columns)
    own = _pick(values, table.layer_metrics, _LAYER_NAMES)
    return own.reshape(len(bodies), rows, len(_LAYER_NAMES))


class RankState:
    """One more rank of a run."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.table: LayerTable | None = None
        self.samples = 0
        self.latest: Reading | None = None
        self.model_series = Series((0, len(MODEL_METRICS)), CAPACITY)
        self.loss = Series((), CAPACITY)
        self.last_scalar: dict[str, float] = {}

    def take_table(self, table: LayerTable) -> None:
        """Rows mean something else from now on."""
        old = {model.name: row for row, model in enumerate(self.table.models if self.table else ())}
        rows = [old.get(model.name) for model in table.models]
        if rows != list(range(self.model_series.shape[0])):
            self.model_series = self.model_series.with_rows(rows)
        self.table = table

    def take(self, sample: Sample) -> None:
        """Fold one sample in."""
        if self.table is None:
            return
        reading = reading_of(sample, self.table)
        if np.isfinite(reading.layers).any() or not len(reading.layers):
            self.samples += 1
            self.latest = reading
        self.model_series.add(reading.step, reading.models)
        for name, points in sample.scalars.items():
            values = np.frombuffer(points.values, np.float32)
            if name == "loss":
                self.loss.add_many(np.frombuffer(points.steps, np.int64), values)
            if len(values):
                self.last_scalar[name] = float(values[-1])

    def still(self) -> RankState:
        """A copy that stays as it is."""
        other = copy(self)
        other.model_series = self.model_series.with_capacity(self.model_series.capacity)
        other.loss = self.loss.with_capacity(self.loss.capacity)
        other.last_scalar = dict(self.last_scalar)
        return other

    def pack(self) -> PackedRank:
        """Everything, for a late joiner."""
        return PackedRank(
            rank=self.rank,
            table=self.table,
            samples=self.samples,
            latest=PackedReading.of(self.latest) if self.latest else None,
            model_series=self.model_series.pack(),
            loss=self.loss.pack(),
            last_scalar=dict(sorted(self.last_scalar.items())),
        )

    @classmethod
    def unpack(cls, packed: PackedRank) -> RankState:
        """Rebuild what `pack` gave."""
        state = cls(packed.rank)
        state.table, state.samples = packed.table, packed.samples
        state.model_series = Series.unpack(packed.model_series)
        state.loss = Series.unpack(packed.loss)
        state.last_scalar = packed.last_scalar
        if packed.latest is not None and packed.table is not None:
            table = packed.table
            state.latest = packed.latest.reading(len(table.layers), len(table.models))
        return state


class PackedReading(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A reading as bytes."""

    step: int
    time: float
    layers: bytes
    models: bytes

    @classmethod
    def of(cls, reading: Reading) -> PackedReading:
        """As bytes."""
        return cls(
            step=reading.step,
            time=reading.time,
            layers=reading.layers.tobytes(),
            models=reading.models.tobytes(),
        )

    def reading(self, layers: int, models: int) -> Reading:
        """As figures again, of so many layers and models."""
        return Reading(
            step=self.step,
            time=self.time,
            layers=matrix(self.layers, layers, len(LAYER_METRICS)),
            models=matrix(self.models, models, len(MODEL_METRICS)),
        )


class PackedRank(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What `RankState.pack` gives."""

    rank: int
    table: LayerTable | None
    samples: int
    latest: PackedReading | None
    model_series: PackedSeries
    loss: PackedSeries
    last_scalar: dict[str, float]


def matrix(data: bytes, rows: int, columns: int) -> Floats:
    """Rows of figures."""
    return np.frombuffer(data, np.float32).reshape(rows, columns)


@lru_cache(maxsize=16)
def _columns(names: tuple[str, ...], own: tuple[str, ...]) -> list[int]:
    """Where our metrics stand in a table of another version; -1 for one that it lacks."""
    return [names.index(name) if name in names else -1 for name in own]


def _pick(values: Floats, names: tuple[str, ...], own: tuple[str, ...]) -> Floats:
    """The columns of a table that has these names, in our own order."""
    if names == own:
        return values
    padded = np.concatenate([values, np.full((len(values), 1), np.nan, np.float32)], axis=1)
    picked: Floats = padded[:, _columns(names, own)]
    return picked

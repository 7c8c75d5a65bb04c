"""The run in columns of time: what a screen draws of it, worked out of the series as it is asked.

`Pictures` is what a view draws from. `OwnPictures` has the whole state at hand and cuts it itself;
behind a link a `Sight` holds what the hub has cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deadband.wire import Layer
from deadband_monitor.metrics import LAYER_METRICS, Metric
from deadband_monitor.state.run_state import RunState
from deadband_monitor.state.series import Floats, Pick
from deadband_monitor.state.timeline import (
    Axis,
    Columns,
    axis_for,
    layer_readings,
    model_readings,
)

Values = NDArray[np.floating]
_SMALLEST = 1e-38


@dataclass(frozen=True, slots=True)
class Envelope:
    """Lowest, mean and highest reading in each column of time (first axis)."""

    low: Floats
    mean: Floats
    high: Floats

    @classmethod
    def unknown(cls, *shape: int) -> Envelope:
        """One in which nothing was measured, or of which nothing is known yet."""
        nothing = np.full(shape, np.nan, np.float32)
        return cls(nothing, nothing, nothing)


class Pictures(Protocol):
    """Columns of time on one axis; what was not measured is NaN."""

    @property
    def axis(self) -> Axis:
        """The steps that the columns cover."""

    def layers(self, metric: int) -> Envelope:
        """A metric of every layer: (columns, layers)."""

    def layer(self, row: int, metric: int) -> Envelope:
        """A metric of one layer: (columns,)."""

    def row(self, row: int) -> Envelope:
        """All metrics of one layer: (columns, metrics)."""

    def measured(self, row: int) -> NDArray[np.bool_] | None:
        """Of each metric whether the layer has it anywhere on the axis; None: not known yet."""

    def network(self, metric: int, stands_in: int) -> Values:
        """The mean of a metric over the network: (columns,). See `network_mean`."""

    def model(self, metric: int) -> Envelope:
        """A metric of the first model: (columns,)."""


class OwnPictures:
    """Cut from a state at hand. Only what is asked is worked out, and only what is new of it."""

    def __init__(self, since: int | None = None) -> None:
        self.axis = Axis(0, 1, 0)
        self._since = since
        """Columns before that of this step are not wanted."""
        self._state = RunState()
        self._kept: dict[tuple[str, int], Columns] = {}

    def update(self, state: RunState, axis: Axis) -> None:
        """Show this state from now on."""
        if state is not self._state or axis != self.axis:
            self._kept.clear()
        self._state, self.axis = state, axis

    def layers(self, metric: int) -> Envelope:
        """A metric of every layer."""
        return self._cut("metric", metric, (slice(None), metric))

    def layer(self, row: int, metric: int) -> Envelope:
        """A metric of one layer."""
        course = self.row(row)
        return Envelope(course.low[:, metric], course.mean[:, metric], course.high[:, metric])

    def row(self, row: int) -> Envelope:
        """All metrics of one layer."""
        return self._cut("layer", row, (row,))

    def measured(self, row: int) -> NDArray[np.bool_]:
        """Of each metric whether the layer has it anywhere on the axis."""
        found: NDArray[np.bool_] = np.logical_or.reduce(np.isfinite(self.row(row).mean), axis=0)
        return found

    def network(self, metric: int, stands_in: int) -> Values:
        """The mean of a metric over the network."""
        mean = self.layers(metric).mean
        if stands_in != metric:
            mean = np.where(np.isnan(mean), self.layers(stands_in).mean, mean)
        return network_mean(LAYER_METRICS[metric], mean, weights(self._state.layers))

    def model(self, metric: int) -> Envelope:
        """A metric of the first model."""
        if not self._state.model_series.shape[0]:
            return Envelope.unknown(self.axis.columns)
        return self._cut("model", metric, (0, metric))

    def _cut(self, of: str, number: int, pick: Pick) -> Envelope:
        columns = self._kept.setdefault((of, number), Columns(pick, self._since))
        state = self._state
        if of == "model":
            columns.update(state.model_series, self.axis, model_readings(state.recent))
        else:
            columns.update(state.series, self.axis, layer_readings(state.recent))
        return Envelope(columns.low, columns.mean, columns.high)


def view_axis(state: RunState, columns: int, zoom: int, last: int | None) -> Axis:
    """The axis that a screen shows the state on; `last` is where it ends, if not at the newest."""
    ends_at = state.step if last is None else last
    return axis_for(ends_at, columns, zoom, state.bucket)


def weights(layers: tuple[Layer, ...]) -> Values:
    """What each layer counts in a mean over the network: its units."""
    return np.array([max(layer.units, 1) for layer in layers], np.float64)


def network_mean(metric: Metric, values: Values, counts: Values) -> Values:
    """Mean over the layers (last axis): shares by units, what spans decades geometrically."""
    known = np.isfinite(values)
    spaced = np.log(np.maximum(values, _SMALLEST)) if metric.log else values
    share = np.where(known, counts, 0.0) if values.shape[-1] else np.zeros(values.shape)
    total = share.sum(axis=-1)
    mean = np.where(known, spaced * share, 0.0).sum(axis=-1) / np.maximum(total, 1)
    found: Values = np.where(total > 0, np.exp(mean) if metric.log else mean, np.nan)
    return found

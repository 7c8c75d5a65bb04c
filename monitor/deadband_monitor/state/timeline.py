"""Columns of time for the pictures: which steps a column covers, and the readings in each.

The axis moves seldom: the whole run fills the map from the left, and when it is full a column
covers a fifth to a third more steps, so four fifths of the map are always in use. Zoomed in, the
newest part jumps on by a quarter of the map. Only columns with new readings are worked out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deadband_monitor.state.rank_state import Reading
from deadband_monitor.state.series import Floats, Pick, Series

MOST_ZOOM = 12


@dataclass(frozen=True, slots=True)
class Axis:
    """The steps that a picture covers."""

    first: int
    per_column: int
    columns: int

    @property
    def last(self) -> int:
        """The last step that has a place."""
        return self.first + self.per_column * self.columns - 1

    def column(self, step: int) -> int:
        """The column of a step; may lie outside."""
        return (step - self.first) // self.per_column

    def share(self, step: float) -> float:
        """Where a step lies between the left edge (0) and the right one (1)."""
        return (step - self.first + 0.5) / (self.per_column * self.columns)


def axis_for(last_step: int, columns: int, zoom: int = 0, bucket: int = 1) -> Axis:
    """The axis of a run that has come to `last_step`; zoom 0 shows all of it, each more half of it.

    A column that is not finer than a `bucket` of the series covers a whole number of them.
    """
    total = max(last_step, 0) + 1
    wanted = -(-total // max(columns, 1)) >> zoom
    per_column = max(1, wanted)
    if per_column > 3:
        # 4, 5, 6, 7 times a power of two
        unit = 1 << (per_column.bit_length() - 3)
        per_column = -(-per_column // unit) * unit
    if per_column > bucket:
        per_column = -(-per_column // bucket) * bucket
    over = total - per_column * columns
    if over <= 0:
        return Axis(0, per_column, columns)
    jump = max(columns // 4, 1) * per_column
    return Axis(-(-over // jump) * jump, per_column, columns)


class Columns:
    """Lowest, mean and highest value of a series in each column of an axis, kept up to date.

    Of each value of the series only what `pick` indexes. Columns before that of step `since` are
    left empty by the first update: somebody has them already.
    """

    def __init__(self, pick: Pick = (), since: int | None = None) -> None:
        self.axis = Axis(0, 1, 0)
        self._pick = pick
        self._since = since
        empty = np.zeros((0, 0, 0), np.float32)
        self.low: Floats = empty
        self.mean: Floats = empty
        self.high: Floats = empty
        self._seen = -1
        self._of: tuple[object, ...] = ()

    def update(
        self, series: Series, axis: Axis, readings: Sequence[tuple[int, Floats]] = ()
    ) -> slice:
        """Bring the columns up to `series`; returns the columns that may have changed.

        `readings` are the newest ones at full resolution, for columns finer than the series.
        """
        of = (series, series.width, axis)
        if of != self._of or series.last_step < self._seen:
            shape = (axis.columns, *_picked(series.shape, self._pick))
            self.low, self.mean, self.high = (np.full(shape, np.nan, np.float32) for _ in range(3))
            self._of, self.axis, start = of, axis, 0
            if self._since is not None:
                start, self._since = min(max(axis.column(self._since), 0), axis.columns), None
        else:
            start = max(axis.column(self._seen), 0)
        stop = min(axis.column(series.last_step) + 1, axis.columns)
        self._seen = series.last_step
        if stop <= start:
            return slice(0, 0)
        if axis.per_column >= series.width:
            self._fill(series, start, stop)
        else:
            self._spread(series, start, stop)
            self._overlay(readings, start)
        return slice(start, stop)

    def _fill(self, series: Series, start: int, stop: int) -> None:
        """Whole columns at once, the one still being filled by itself: a window never re-cuts."""
        for first, last in ((start, stop - 1), (stop - 1, stop)):
            if last <= first:
                continue
            step = self.axis.first + first * self.axis.per_column
            end = self.axis.first + last * self.axis.per_column - 1
            window = series.window(last - first, step, end, self._pick)
            count = len(window.steps)
            self.low[first : first + count] = window.low
            self.mean[first : first + count] = window.mean
            self.high[first : first + count] = window.high

    def _spread(self, series: Series, start: int, stop: int) -> None:
        """Columns finer than the series' buckets: each bucket fills its columns."""
        first = self.axis.first + start * self.axis.per_column
        end = self.axis.first + stop * self.axis.per_column - 1
        window = series.window(series.capacity, first, end, self._pick)
        if not len(window.steps):
            return
        steps = self.axis.first + np.arange(start, stop) * self.axis.per_column
        bucket = np.clip((steps - window.steps[0]) // window.width, 0, len(window.steps) - 1)
        self.low[start:stop] = window.low[bucket]
        self.mean[start:stop] = window.mean[bucket]
        self.high[start:stop] = window.high[bucket]

    def _overlay(self, readings: Sequence[tuple[int, Floats]], start: int) -> None:
        touched = set()
        for step, reading in readings:
            column = self.axis.column(step)
            if not start <= column < self.axis.columns:
                continue
            values = reading[self._pick]
            if column in touched:
                self.low[column] = np.fmin(self.low[column], values)
                self.high[column] = np.fmax(self.high[column], values)
                self.mean[column] = values
            else:
                touched.add(column)
                self.low[column] = self.mean[column] = self.high[column] = values


def layer_readings(recent: Sequence[Reading]) -> list[tuple[int, Floats]]:
    """The newest readings of layers, for `Columns.update`."""
    return [(reading.step, reading.layers) for reading in recent]


def model_readings(recent: Sequence[Reading]) -> list[tuple[int, Floats]]:
    """The newest readings of models, for `Columns.update`."""
    return [(reading.step, reading.models) for reading in recent]


def _picked(shape: tuple[int, ...], pick: Pick) -> tuple[int, ...]:
    """The shape of what `pick` takes of a value: whole axes, or one place of them."""
    whole = [size for size, at in zip(shape, pick, strict=False) if isinstance(at, slice)]
    return (*whole, *shape[len(pick) :])

"""Lowest, mean and highest value in each column of time, of values that come in any portions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.state.pictures import Envelope
from deadband_monitor.state.series import Figures, Floats

Columns = NDArray[np.int64]


class Tally:
    """Values of one shape, counted into columns; a column must come in one go or in order."""

    def __init__(self, columns: int, shape: tuple[int, ...]) -> None:
        self._low = np.full((columns, *shape), np.nan, np.float32)
        self._high = np.full((columns, *shape), np.nan, np.float32)
        self._sum = np.zeros((columns, *shape), np.float64)
        self._count = np.zeros((columns, *shape), np.int64)

    def add(self, columns: Columns, values: Floats) -> None:
        """Single values: those of `values[i]` belong to `columns[i]`, which does not fall."""
        known = np.isfinite(values)
        self._fold(columns, values, values, np.where(known, values, np.float32(0)), known)

    def add_buckets(self, columns: Columns, figures: Figures) -> None:
        """What is known of whole buckets, each within one column."""
        self._fold(columns, figures.low, figures.high, figures.total, figures.count)

    def put_columns(self, known: Envelope, columns: slice) -> None:
        """Have these columns say what is known of them; nothing is to be added to them."""
        self._low[columns], self._high[columns] = known.low[columns], known.high[columns]
        mean = known.mean[columns]
        self._count[columns] = np.isfinite(mean)
        self._sum[columns] = np.nan_to_num(mean, posinf=0, neginf=0)

    def put(self, columns: Columns, figures: Figures) -> None:
        """Have these columns say what a bucket says that is longer than they are."""
        self._low[columns], self._high[columns] = figures.low, figures.high
        self._sum[columns], self._count[columns] = figures.total, figures.count

    def clear(self, column: int) -> None:
        """Forget what was counted into this one and those after it."""
        self._low[column:] = self._high[column:] = np.nan
        self._sum[column:] = self._count[column:] = 0

    @property
    def envelope(self) -> Envelope:
        """What has come so far; NaN where nothing was measured."""
        mean = np.where(self._count > 0, self._sum / np.maximum(self._count, 1), np.nan)
        return Envelope(self._low, mean.astype(np.float32), self._high)

    def _fold(
        self,
        columns: Columns,
        low: Floats,
        high: Floats,
        total: NDArray[np.floating],
        count: NDArray[np.integer] | NDArray[np.bool_],
    ) -> None:
        if not len(columns):
            return
        starts = np.flatnonzero(np.diff(columns, prepend=columns[0] - 1))
        at = columns[starts]
        with np.errstate(invalid="ignore"):
            self._low[at] = np.fmin(self._low[at], np.fmin.reduceat(low, starts, axis=0))
            self._high[at] = np.fmax(self._high[at], np.fmax.reduceat(high, starts, axis=0))
        self._sum[at] += np.add.reduceat(total, starts, axis=0, dtype=np.float64)
        self._count[at] += np.add.reduceat(count, starts, axis=0, dtype=np.int64)

"""The table that statistics write into: frames x subjects x metrics, NaN until measured."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan

import numpy as np

from deadband_monitor.statistics.values import Floats, Ints, Mask, Reals

_LARGEST = float(np.finfo(np.float32).max)


class Table:
    """Metrics of all layers, or of all models, for a batch of frames."""

    def __init__(self, frames: int, subjects: int, columns: Mapping[str, int]) -> None:
        self._columns = columns
        self.values: Floats = np.full((frames, subjects, len(columns)), np.nan, dtype=np.float32)

    def rows(self, frames: slice) -> Table:
        """The part of the table for some of the frames; writing to it writes here."""
        part = Table(0, 0, self._columns)
        part.values = self.values[frames]
        return part

    def put(self, metric: str, subjects: Ints, values: Reals, where: Mask) -> None:
        """Write frame-major `values` (frames * k or frames x k) where `where` (frames x k) holds.

        Values beyond float32 are cut to its largest number: they are wild, not infinite.
        """
        known = np.asarray(values, dtype=np.float64).reshape(where.shape)
        column = self.values[:, subjects, self._columns[metric]]
        cut = np.clip(known[where], -_LARGEST, _LARGEST)
        column[where] = cut
        self.values[:, subjects, self._columns[metric]] = column

    def get(self, metric: str) -> Floats:
        """Values of one metric, (frames, subjects)."""
        return self.values[:, :, self._columns[metric]]

    def worst_nonfinite(self, subjects: Ints, share: Reals, where: Mask) -> None:
        """Raise `nonfinite` to `share` where that is larger, or was not known."""
        column = self.values[:, subjects, self._columns["nonfinite"]]
        fresh = np.asarray(share, dtype=np.float32).reshape(where.shape)
        column[where] = np.fmax(column[where], fresh[where])
        self.values[:, subjects, self._columns["nonfinite"]] = column

    def put_one(self, metric: str, frame: int, subject: int | slice, value: float) -> None:
        """Write one value, cut as in `put`."""
        cut = min(max(value, -_LARGEST), _LARGEST) if not isnan(value) else value
        self.values[frame, subject, self._columns[metric]] = cut

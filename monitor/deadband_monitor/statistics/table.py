"""The table that statistics write into: frames x subjects x metrics, NaN until measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deadband_monitor.statistics.values import Floats, Ints, Mask, Reals

_LARGEST = np.finfo(np.float32).max


class Table:
    """Metrics of all layers, or of all models, for a batch of frames.

    Values beyond float32 come out as its largest number: they are wild, not infinite.
    """

    def __init__(self, frames: int, subjects: int, columns: Mapping[str, int]) -> None:
        self._columns = columns
        # A metric's values lie together: they are written metric by metric.
        self._values: Floats = np.full((len(columns), frames, subjects), np.nan, dtype=np.float32)

    def rows(self, frames: slice) -> Table:
        """The part of the table for some of the frames; writing to it writes here."""
        part = Table(0, 0, self._columns)
        part._values = self._values[:, frames]
        return part

    def put(self, metric: str, subjects: slice | Ints, values: Reals, where: Mask) -> None:
        """Write frame-major values (frames * k or frames x k) where `where` (frames x k) holds."""
        column = self._values[self._columns[metric]]
        into = column[:, subjects]
        np.copyto(into, values.reshape(where.shape), "same_kind", where)
        if not isinstance(subjects, slice):
            column[:, subjects] = into

    def get(self, metric: str) -> Floats:
        """Values of one metric, (frames, subjects)."""
        return _cut(self._values[self._columns[metric]])

    def worst_nonfinite(self, subjects: slice | Ints, share: Reals, where: Mask) -> None:
        """Raise `nonfinite` to `share` where that is larger, or was not known."""
        column = self._values[self._columns["nonfinite"]]
        into = column[:, subjects]
        fresh = share.reshape(where.shape).astype(np.float32)
        np.fmax(into, fresh, out=into, where=where)
        if not isinstance(subjects, slice):
            column[:, subjects] = into

    def put_one(self, metric: str, frame: int, subject: int | slice, value: float) -> None:
        """Write one value."""
        self._values[self._columns[metric], frame, subject] = value

    def finished(self) -> Floats:
        """Everything, (frames, subjects, metrics)."""
        return _cut(np.ascontiguousarray(self._values.transpose(1, 2, 0)))


def _cut(values: Floats) -> Floats:
    cut: Floats = np.maximum(values, -_LARGEST)
    return np.minimum(cut, _LARGEST, out=cut)

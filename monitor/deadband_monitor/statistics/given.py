"""Labels and targets as the loss was given them, and how they meet what the gradient tells."""

from __future__ import annotations

import numpy as np

from deadband.wire import Slot
from deadband_monitor.statistics import arrange
from deadband_monitor.statistics.labels import Labels, Targets, YesNo
from deadband_monitor.statistics.outputs import BINARY
from deadband_monitor.statistics.values import Doubles, Ints, Reals

Found = Labels | YesNo | Targets

CLASS_LOSSES = frozenset({"cross_entropy", "nll"})

_SUMS_TO_ONE = 1e-2
"""Target distributions stored in half precision sum to 1 within this."""
_SAME_LABELS = 0.9
"""Share of rows on which labels of gradient and loss must agree to be of the same loss."""


def given_targets(
    kind: str, target: Reals, slot: Slot, shape: tuple[int, int], rows: Ints | None = None
) -> Found | None:
    """What a TARGET slice says, or None where it does not fit the output.

    target: of `slot.shape`; shape: (rows, columns) of the output as the loss reads it: positions
    are rows of classes, columns of values; rows: which of them are looked at, for classes.
    """
    if kind in CLASS_LOSSES:
        if target.size == shape[0] and "u" not in slot.axes:
            ids = target.reshape(-1).astype(np.float64)
            return _ids(ids if rows is None else ids[rows], shape[1])
        found = _distributions(arrange.by_unit(target[None], slot.axes)[0], shape)
        return found if rows is None or found is None else _of_rows(found, rows)
    count, columns = shape
    values = arrange.by_sample(target[None], slot.axes)[0].astype(np.float64)
    if values.size != count * columns or len(values) != count or not np.isfinite(values).all():
        return None
    if kind in BINARY:
        return YesNo(values, np.nan, np.nan)
    return Targets(values, np.nan)


def weighed(known: Labels, inferred: Labels | None) -> Labels:
    """The given labels with what only the gradient shows: weights, smoothing, ignored rows.

    Where the gradient tells other labels it is that of another loss, and nothing is taken from it.
    """
    if inferred is None or known.targets is not None:
        return known
    both = known.rows & inferred.rows
    if not np.count_nonzero(both):
        return known
    own = known.classes[both[known.rows]]
    kept = both[inferred.rows]
    if np.count_nonzero(own == inferred.classes[kept]) / len(own) < _SAME_LABELS:
        return known
    targets = inferred.targets[kept] if inferred.targets is not None else None
    return Labels(own, both, inferred.weights[kept], inferred.scale, targets)


def _ids(flat: Doubles, classes: int) -> Labels | None:
    """Class numbers; -100 and whatever else is no class marks rows without a label."""
    rows = (flat >= 0) & (flat < classes)
    if not np.count_nonzero(rows):
        return None
    ids = flat[rows].astype(np.int64)
    return Labels(ids, rows, np.full(len(ids), np.nan), np.nan)


def _distributions(target: Reals, shape: tuple[int, int]) -> Labels | None:
    wide = target.astype(np.float64)
    if wide.shape != shape or shape[1] < 2 or not np.isfinite(wide).all():
        return None
    sums = wide.sum(axis=1)
    if wide.min() < 0 or np.abs(sums - 1.0).max() > _SUMS_TO_ONE:
        return None
    wide /= sums[:, None]
    rows = np.ones(len(wide), dtype=np.bool_)
    return Labels(wide.argmax(axis=1), rows, np.ones(len(wide)), np.nan, wide)


def _of_rows(found: Labels, rows: Ints) -> Labels:
    """Distributions of some rows; all have one."""
    targets = found.targets[rows] if found.targets is not None else None
    return Labels(found.classes[rows], found.rows[rows], found.weights[rows], np.nan, targets)

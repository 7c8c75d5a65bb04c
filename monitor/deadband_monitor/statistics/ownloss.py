"""The loss function's own value beside the recorded loss: what is added to it, if anything."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from deadband_monitor.statistics.values import Doubles, Reals

_LOOKED_AT = 10
_AGREEING = 9
"""Samples of the last ten in which the recorded loss must lie above the function's value. Where
only some rows were copied the two differ by chance: nine of ten go one way once in a hundred times,
and then the function's value is as good a figure as the recorded one."""
_ERRORS = 3.0
"""Standard errors that the mean of those ten must exceed. Where a class is rare, most slices of a
batch hold no row of it, and their loss lies below the batch's ten times in a row: with 1 % of them
in slices of 64 of 640 rows that happened in 75 of 100 simulated runs of 200 samples, and this far
in 4."""
_WORTH = 0.02
"""Part of a constant answer's loss that counts as something: rounding and dropped rows make less.
"""
_ALIGNED = 0.999
"""Cosine from which a gradient is that of the loss function alone; half precision leaves 0.9999."""


class OwnLoss:
    """Follows the difference of the recorded loss and the loss function's own value."""

    def __init__(self) -> None:
        self.value = np.nan
        """Mean an element or row, of this sample; NaN where it is not known to be a part."""
        self.constant = np.nan
        """What a constant answer would give in its place."""
        self.further = np.nan
        """Median of what is added to it; NaN while nothing is."""
        self._added: deque[float] = deque(maxlen=_LOOKED_AT)

    def begin(self) -> None:
        """A sample begins."""
        self.value = np.nan

    def add(self, value: float, loss: float, factor: float, chance: float = 0.0) -> None:
        """The function gives `value` on the rows of this sample, and `loss` was recorded.

        Its gradient at the output must be known to be that of the loss.

        Args:
            value: mean an element or row.
            loss: what was recorded.
            factor: of a sum over its mean; NaN where the recorded loss is neither, as with added
                terms that are larger than it.
            chance: standard deviation by which `value` may differ for the rows that it is of.
        """
        if factor > 0:
            loss /= factor
        if not (math.isfinite(value) and math.isfinite(loss)):
            return
        self.value = value
        self._added.append(loss - value)
        least = _WORTH * self.constant
        by_chance = _ERRORS * chance / math.sqrt(_LOOKED_AT)
        if len(self._added) == _LOOKED_AT and least > 0:
            added = sum(each > least for each in self._added) >= _AGREEING
            added = added and float(np.mean(self._added)) > by_chance
            self.further = float(np.median(self._added)) if added else np.nan

    @property
    def is_apart(self) -> bool:
        """Whether more than the function is recorded as loss, and its value is known now."""
        return math.isfinite(self.further) and math.isfinite(self.value)


def along(gradient: Reals, residual: Doubles) -> bool:
    """Whether a gradient points along the residuals: a squared error and nothing else is there."""
    grad = gradient.astype(np.float64)
    sizes = float(np.sqrt((grad * grad).sum() * (residual * residual).sum()))
    return sizes > 0 and float((grad * residual).sum()) >= _ALIGNED * sizes

"""Whether whole-numbered targets measure something or number classes.

Two marks of a measured quantity, of which it has at least one: it varies on the way from one input
to another, so that the nearest input with another target has the next one (1 beside 2); or so much
else bears on it that near inputs seldom have exactly the same. Class numbers have neither: near
inputs share them, and the class next to class 3 may be number 8.
"""

from __future__ import annotations

import numpy as np

from deadband_monitor.statistics.values import Doubles, Floats

_FEWEST = 4
"""Different numbers: with three, half of all ways to number classes look like an order."""
_MOST = 100
_WHOLE = 1e-3
"""Targets that are inferred from gradients are whole to so much."""
_FEWEST_COLUMNS, _FEWEST_ROWS = 3, 8
_NEARLY = 0.05
"""The same where outputs and gradients are in half precision."""
_FEWEST_COMPARED = 256
_MEMORY = 2048
"""Comparisons that the figure is an average of, as in `neighbours`."""
_SHARED = 0.6
"""Agreement of nearest neighbours above chance from which they share their numbers: digits 0.97,
eight overlapping clusters 0.7; sums of pixels, grades and counts of several causes 0.05 to 0.4."""


class Numbering:
    """Follows one column of targets."""

    def __init__(self) -> None:
        self._whole = True
        self._sums = np.zeros(4)
        """Faded: compared, sharing; how much farther than need be the nearest other number lies,
        and how much it would by chance."""
        self._chance = np.nan

    def observe(self, square: Floats, mine: Doubles, known: Doubles) -> None:
        """Take some rows; square: (rows, stored) distances of the inputs, infinite for a row's own.

        mine: (rows,) their targets; known: (stored,) those of the stored inputs.
        """
        self._whole &= bool((np.abs(mine - np.rint(mine)) <= _WHOLE).all())
        if not self._whole:
            return
        mine, known = np.rint(mine), np.rint(known)
        values, counts = np.unique(known, return_counts=True)
        numbered = len(values) >= _FEWEST and values[0] >= 0 and values[-1] - values[0] < _MOST
        if not numbered:
            return
        shares = counts / len(known)
        self._chance = float((shares * shares).sum())
        rows = np.arange(len(mine))
        other = known[None, :] != mine[:, None]
        nearest = square.argmin(axis=1)
        enemy = np.where(other, square, np.inf).argmin(axis=1)
        apart = np.isfinite(square[rows, nearest]) & np.isfinite(square[rows, enemy])
        gaps = np.abs(values[None, :] - mine[:, None])
        others = np.where(gaps > 0, shares[None, :], 0.0)
        expected = (gaps * others).sum(axis=1) / others.sum(axis=1)
        least = np.where(gaps > 0, gaps, np.inf).min(axis=1)
        found = np.stack(
            [
                np.ones(len(mine)),
                known[nearest] == mine,
                np.abs(known[enemy] - mine) - least,
                expected - least,
            ]
        )[:, apart]
        self._sums = self._sums * max(0.0, 1.0 - found.shape[1] / _MEMORY) + found.sum(axis=1)

    def value(self) -> float:
        """0 for numbers in order, 1 for numbers without one; NaN where neighbours share none."""
        compared, sharing, distance, expected = self._sums
        if not self._whole or compared < _FEWEST_COMPARED or not self._chance < 1:
            return np.nan
        agreement = (sharing / compared - self._chance) / (1 - self._chance)
        return float(distance / expected) if agreement >= _SHARED and expected > 0 else np.nan


def numbers_for_all(values: Doubles, columns: int) -> bool:
    """Whether all columns of a row are drawn to one number, and it numbers one of the columns.

    So does a squared error between (n, c) outputs and class numbers of shape (n, 1). Heads that all
    learn one quantity have the same target too, and it is no whole number below their count.
    columns: of an output that has a row for each token, several of which lie side by side here.
    """
    if columns < _FEWEST_COLUMNS or values.size % columns:
        return False
    values = values.reshape(-1, columns)
    if len(values) < _FEWEST_ROWS:
        return False
    whole = np.rint(values[:, :1])
    alike = bool((np.abs(values - whole) <= _NEARLY).all())
    return alike and whole.min() >= 0 and 0 < whole.max() < columns and np.ptp(whole) > 0

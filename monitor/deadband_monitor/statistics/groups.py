"""Into how many groups of near copies the inputs fall: a handful of rows that are shown with noise.

Rows that were made of few originals lie close to their like and far from all others, with nothing
in between: the distances to one row, in order, leap once. Measured features, text and pictures fill
what lies between. Rows that are all made of one have no others to lie far from: they are one row
and noise of each feature's own.
"""

from __future__ import annotations

import numpy as np

from deadband_monitor.statistics.values import Doubles, Floats, Ints

_AT_ONCE = 8
"""Rows a sample whose distances are put in order: 0.2 ms."""
_FEWEST_STORED, _FEWEST_COMPARED = 64, 48
_FEWEST_OTHERS = 3
"""Other rows of a group, at least: pairs and triples lie together by chance."""
_MOST = 0.6
"""Share of all rows that the largest group may have: what leaps later are a few rows far out."""
_LEAP = 3.0
"""Times the distance (squared) at which others lie, over the farthest of one's own, geometric mean:
digits, wine, tumours, flowers, counts, sines, walks and moons stay at 1.0 to 1.6, three clusters in
a plane at 2.0; copies of 5 to 16 digits with noise of a tenth of their spread leap 13- to 30-fold.
"""
_MEMORY = 512
"""Comparisons that the figures are averages of."""
_WIDE = 16
"""Features from which noise can be told by its distances ..."""
_OF_ITS_OWN = 0.7
"""... which scatter as those of so many independent features, as a share of the features: noise
0.8 to 1.1, digits 0.2."""
_SMALL = 0.1
"""Variance of a feature, against that of the means of features, of one row with noise: noise of a
third of the row's own spread. Standardised features have means of about 0."""
_LEAST = 1e-9


class Groups:
    """Follows the distances between the rows of one model's inputs."""

    def __init__(self) -> None:
        self._sums: Doubles = np.zeros(3)
        """Faded: compared, logarithm of the leap, share of the rows on this side of it."""
        self._one = False

    def observe(self, rows: Floats, own: Ints, stored: Floats) -> None:
        """Take some rows, as they are given; own: where each is stored itself, -1 for nowhere."""
        count = len(stored)
        if count < _FEWEST_STORED:
            return
        rows, own = rows[:_AT_ONCE].astype(np.float64), own[:_AT_ONCE]
        known = stored.astype(np.float64)
        centre, variance = known.mean(axis=0), known.var(axis=0)
        rows, known = rows - centre, known - centre
        square = (rows * rows).sum(axis=1)[:, None] + (known * known).sum(axis=1)
        square -= 2.0 * (rows @ known.T)
        there = np.flatnonzero(own >= 0)
        square[there, own[there]] = np.inf
        whole = 2.0 * float(variance.sum())  # mean squared distance of two rows
        if not (whole > 0 and np.isfinite(whole)):
            return
        order = np.sort(np.maximum(square / whole, _LEAST), axis=1)[:, : count - 1]
        leaps = order[:, _FEWEST_OTHERS : int(_MOST * count)]
        leaps = np.log(leaps / order[:, _FEWEST_OTHERS - 1 : int(_MOST * count) - 1])
        inside = leaps.argmax(axis=1) + _FEWEST_OTHERS + 1
        found = np.array([len(rows), leaps.max(axis=1).sum(), (inside / count).sum()])
        self._sums = self._sums * max(0.0, 1.0 - len(rows) / _MEMORY) + found
        scatter = float(order.var())
        as_many = 2.0 / scatter if scatter > 0 else 0.0
        alone = len(variance) >= _WIDE and as_many >= _OF_ITS_OWN * len(variance)
        self._one = alone and float(variance.mean()) <= _SMALL * float(centre.var())

    def value(self) -> float:
        """Number of groups, 1 for one row and noise; NaN where the rows fall into none."""
        compared, leap, share = self._sums
        if compared < _FEWEST_COMPARED:
            return np.nan
        if leap / compared >= np.log(_LEAP):
            return float(compared / share)
        return 1.0 if self._one else np.nan

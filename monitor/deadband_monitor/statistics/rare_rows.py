"""How many different rows there are of the classes that are not the most frequent one.

A class of five rows is learnt by heart like any other: the training loss, the accuracy and the
recall of its rows are those of a class of five thousand. That there are no others is seen only by
looking at which rows come.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from deadband_monitor.statistics.labels import Labels, Targets, YesNo

UNEVEN = 0.8
"""Share of the most frequent class from which the rows of the others are counted."""
MET = 2.5
"""Times that each must have come, on average. Drawn at random, sixteen rows look like eight or
fewer at some time in 1.2 % of runs by this, twenty in 0.1 %; by twice, in 10 and 3.5 %."""
TOLD_APART = 10.0
"""Times as many different rows that the most frequent class must have: where the part of a row that
was copied is the same in many rows (padding, the blank end of a bag of words), it has not."""
_LEAST = 8
"""Rows that must have come."""
_MOST = 32
"""Different rows of a class, on average, beyond which they are not few and are counted no more."""


class RareRows:
    """The rows of one model's rare classes, by their keys."""

    def __init__(self) -> None:
        self._begin(-1)

    def _begin(self, majority: int) -> None:
        self._majority = majority
        self._met = 0
        self._different: dict[int, set[int]] = {}
        self._ruling: set[int] = set()
        self._many = False

    def observe(
        self,
        keys: Sequence[int],
        found: Labels | YesNo | Targets,
        majority: int,
        majority_share: float,
    ) -> tuple[float, float]:
        """Different rows of a class but `majority`, and times as many labels as its that this has.

        Both are means over these classes. keys: a hash of each input row. NaN where no class holds
        nearly all rows, where labels are not one a row, before each row was met several times, and
        where they are many.
        """
        if majority != self._majority:
            self._begin(majority)
        if majority < 0 or not majority_share >= UNEVEN or self._many:
            return np.nan, np.nan
        for row, label in _labelled(found, len(keys)):
            if label != majority:
                self._different.setdefault(label, set()).add(keys[row])
                self._met += 1
            elif len(self._ruling) < TOLD_APART * _MOST:
                self._ruling.add(keys[row])
        different = sum(map(len, self._different.values()))
        self._many = different > _MOST * len(self._different)
        if self._met < max(_LEAST, MET * different) or self._many:
            return np.nan, np.nan
        mean = different / len(self._different)
        if len(self._ruling) < TOLD_APART * mean:
            return np.nan, np.nan
        others = max(1.0 - majority_share, 1e-6) / len(self._different)
        return mean, majority_share / others


def _labelled(found: Labels | YesNo | Targets, rows: int) -> Iterator[tuple[int, int]]:
    """Number and class of each row that has one; none where labels are not one a row."""
    if isinstance(found, Labels) and len(found.rows) == rows:
        yield from zip(np.flatnonzero(found.rows).tolist(), found.classes.tolist(), strict=True)
    elif isinstance(found, YesNo) and found.values.shape == (rows, 1):
        yield from enumerate((found.values[:, 0] > 0.5).astype(int).tolist())

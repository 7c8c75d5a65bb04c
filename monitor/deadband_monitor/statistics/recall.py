"""How often a classifier is right about the classes that are not the most frequent one.

Always naming the most frequent class is right nine times in ten where it holds nine rows in ten:
neither the loss nor the accuracy shows what the rare rows get.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from deadband_monitor.statistics.labels import Labels, Targets, YesNo
from deadband_monitor.statistics.values import Doubles, Reals

_SAMPLES = 128
"""Samples that are remembered; those of the older half of the run are not."""
_FEWEST = 20.0
"""Rows of the other classes before anything is said: the standard error is then 0.11 at most."""
_FEWEST_A_CLASS = 4
"""Rows of a class before it counts as one."""
_MOST_CLASSES = 100
"""Classes from which no single one is looked at: those of a vocabulary come by too seldom."""


class RareRecall:
    """The last answers of one model, by the class that would have been right."""

    def __init__(self) -> None:
        self._counts: deque[tuple[int, Doubles]] = deque()
        """Step, and (2, classes): rows of each class, and how many of them were answered right."""
        self._sum: Doubles = np.zeros((2, 0))

    def observe(
        self, step: int, rows: Reals, found: Labels | YesNo | Targets | None, majority: int
    ) -> float:
        """Mean over the classes but `majority` of the share of their rows that were answered right.

        rows: (r, c) outputs; NaN where too few rows of them were seen.
        """
        counts = _counts(rows, found)
        if counts is None or majority < 0:
            return np.nan
        if counts.shape != self._sum.shape:
            self._counts.clear()
            self._sum = np.zeros_like(counts)
        self._counts.append((step, counts))
        self._sum += counts
        while len(self._counts) > _SAMPLES or self._counts[0][0] < step // 2:
            self._sum -= self._counts.popleft()[1]
        rare = self._sum[0] >= _FEWEST_A_CLASS
        rare[majority] = False
        due, right = self._sum[:, rare]
        if np.add.reduce(due) < _FEWEST:
            return np.nan
        return float(np.add.reduce(right / due) / len(due))


def _counts(rows: Reals, found: Labels | YesNo | Targets | None) -> Doubles | None:
    if isinstance(found, Labels) and 2 <= rows.shape[1] <= _MOST_CLASSES:
        said = rows.argmax(axis=1)[found.rows]
        labels, classes = found.classes, rows.shape[1]
    elif isinstance(found, YesNo) and rows.shape[1] == 1:
        # Probabilities lie within 0..1, and logits of a batch hardly ever do.
        middle = 0.5 if rows.min() >= 0 and rows.max() <= 1 else 0.0
        said = (rows[:, 0] > middle).astype(np.int64)
        labels, classes = (found.values[:, 0] > 0.5).astype(np.int64), 2
    else:
        return None
    counts = np.zeros((2, classes))
    counts[0] = np.bincount(labels, minlength=classes)
    counts[1] = np.bincount(labels[said == labels], minlength=classes)
    return counts

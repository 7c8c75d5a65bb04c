"""Does a classifier ever name anything but the most frequent class?"""

from __future__ import annotations

import math
from collections import deque

from deadband_monitor.rules.past import ModelPast

UNEVEN = 0.7
"""Share of the most frequent class from which always naming it looks like success."""
FEWEST = 30.0
"""Rows of the other classes that must have come by: with 2 % of them a batch of 64 has none at all
one time in four."""
NAMED = 0.1
"""Share of those rows that a classifier names at least, even a poor one: always naming the
majority's opposite at random as often as it occurs would give 1."""
ROWS = 32
"""Rows of a sample where the batch size is not known."""


class Majority:
    """The last predictions of one model against how its labels are spread."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, float, float]] = deque(maxlen=256)

    def add(self, step: int, model: ModelPast, rows: int) -> None:
        """Take one sample of `rows` rows."""
        share, said = model.value("majority_share"), model.value("majority_predicted")
        if math.isfinite(share) and math.isfinite(said):
            count = rows or ROWS
            self._samples.append((step, count * (1 - share), count * (1 - said)))

    def only_since(self, model: ModelPast) -> int | None:
        """Since when nothing but the majority is named; None where other classes are."""
        if not model.value("majority_share") >= UNEVEN:
            return None
        due = named = 0.0
        since = None
        for step, others, said in reversed(self._samples):
            if named + said > NAMED * max(due + others, FEWEST):
                break
            due, named, since = due + others, named + said, step
        return since if due >= FEWEST else None

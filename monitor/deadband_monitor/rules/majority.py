"""Does a classifier ever name anything but the most frequent class?"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

UNEVEN = 0.7
"""Share of the most frequent class from which always naming it looks like success."""
FEWEST = 30.0
"""Rows of the other classes that must have come by: with 2 % of them a batch of 64 has none at all
one time in four."""
NONE_OF, ONE_OF = 6.0, 12.0
"""The same where not one row was said to be of them, or one at most: a classifier that names half
of the rare rows does so one time in 60 and in 300. At a sample every fifty steps, six of them are
what a run of five hundred shows of a class of one row in a hundred."""
NAMED = 0.1
"""Share of those rows that a classifier names at least, even a poor one: always naming the
majority's opposite at random as often as it occurs would give 1."""
SELDOM = 0.05
"""The same, below which they are as good as never named."""
FOUND = 0.5
"""Share of the rows of the other classes that are answered right, from which they count as learnt;
healthy runs with 2 to 10 % of them pass 0.7."""
POOR = 0.3
RULING = 0.88
"""Share of the most frequent class (8 to 1 and more) from which finding so few of the others is no
matter of classes that overlap: with 80 to 20 the best answer to noisy rows may be no better."""
MOSTLY = 0.8
"""Share of the most frequent class, 4 to 1, from which naming the others so seldom is a loss."""
LATELY, LATELY_STEPS = 3, 80
"""Samples in a row without a word of any other class, and the steps they span, where it is the
losses that tell how little is known of those."""
LACKING = 0.02
"""Share of the batches that are of one class by chance."""
ROWS = 32
"""Rows of a sample where the batch size is not known."""
MOST_ROWS, MOST_PLACES = 64, 4
"""Rows of a sample that are copied, and places of each (tokens, pixels) that count as rows: four
tokens are copied, and sixteen pixels of one line, of which neighbours tend to be of one class."""


def names_one_class(share: float, said: float) -> bool:
    """Whether all is said to be of the class that holds this share, and that looks like success."""
    return share >= UNEVEN and said >= 0.99


def misses_the_rare(share: float, recall: float) -> bool:
    """Whether this class holds nearly all labels, and the others are not even learnt by heart."""
    return share >= RULING and recall < FOUND


def rows_shown(target: Sequence[int]) -> int:
    """How many labels of a sample were seen of targets of this shape; 0 where it is not known."""
    if not target:
        return 0
    return min(MOST_ROWS, target[0]) * min(MOST_PLACES, math.prod(target[1:]))


class Majority:
    """The last predictions of one model against how its labels are spread."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, float, float]] = deque(maxlen=256)
        self._share = math.nan
        self._due = self._named = 0.0

    def add(self, step: int, share: float, said: float, rows: int) -> None:
        """Take one sample of `rows` rows: how many are of the majority, and are said to be."""
        if math.isfinite(share) and math.isfinite(said):
            count = rows or ROWS
            self._share = share
            self._samples.append((step, count * (1 - share), count * (1 - said)))

    @property
    def uneven(self) -> bool:
        """One class holds so many labels that naming it alone looks like success."""
        return self._share >= UNEVEN

    @property
    def rules(self) -> bool:
        """It holds nearly all."""
        return self._share >= RULING

    @property
    def lately_silent(self) -> bool:
        """No row of the newest samples was said to be of another class than the majority."""
        last = list(self._samples)[-LATELY:]
        at = len(self._samples) - len(last)
        while at and last[-1][0] - last[0][0] < LATELY_STEPS:
            at -= 1
            last.insert(0, self._samples[at])
        spans = len(last) >= LATELY and last[-1][0] - last[0][0] >= LATELY_STEPS
        return spans and all(said < 0.5 for _, _, said in last)

    def may_lack_others(self, rows: int) -> bool:
        """Whether batches of so many rows without any of the other classes are to be expected."""
        return self._share ** max(1, rows) > LACKING

    def others(self, rows: int) -> float:
        """How many of so many rows are of the other classes."""
        return rows * (1 - self._share)

    @property
    def misses(self) -> bool:
        """So few rows are said to be of other classes that not half of those can be found."""
        due = named = 0.0
        for _, others, said in reversed(self._samples):
            due, named = due + others, named + said
            if due >= FEWEST or (due >= ONE_OF and named <= NAMED * due):
                break
        found = FOUND if due >= FEWEST else NAMED
        return self._share >= MOSTLY and due >= ONE_OF and named <= found * due

    @property
    def never(self) -> bool:
        """Hardly any row was said to be of another class since `only_since`."""
        return self._named <= SELDOM * self._due

    @property
    def only_since(self) -> int | None:
        """Since when nothing but the majority is named; None where other classes are."""
        if not self.uneven:
            return None
        due = named = 0.0
        since = None
        for step, others, said in reversed(self._samples):
            if named + said > max(1.0, NAMED * (due + others)):
                break
            due, named, since = due + others, named + said, step
        self._due, self._named = due, named
        least = NONE_OF if named < 0.5 else ONE_OF if named <= 1 else FEWEST
        return since if due >= least else None

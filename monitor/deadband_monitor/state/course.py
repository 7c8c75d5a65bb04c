"""How one tensor of a layer was spread over the run: outlines at bounded number, by step.

Hub, recording and viewer thin out in the same way, so that a run of a million steps keeps as many
outlines as one of a thousand: old ones evenly over the run, those around a flag, and the newest.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Sequence

import numpy as np

from deadband_monitor.statistics.outlines import LEVELS, unpacked
from deadband_monitor.statistics.values import Floats

MOST = 192
"""Outlines that are kept: a ridge shows forty at most, and a stretch of the run has its share."""
NEWEST = 48
"""Of them the newest are all kept."""
MOST_VIEWED = 512
"""A viewer is sent the outlines of every sample of the layer at hand, and keeps more."""


class Course:
    """Outlines in the order of their steps."""

    def __init__(self, most: int = MOST_VIEWED) -> None:
        self.steps: list[int] = []
        self._most = most
        self._outlines: dict[int, Floats] = {}

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def last_step(self) -> int:
        """Of the newest outline; 0 before the first."""
        return self.steps[-1] if self.steps else 0

    def add(self, step: int, outline: Floats) -> None:
        """Take one; a step that was seen is replaced."""
        if step not in self._outlines:
            insort(self.steps, step)
        self._outlines[step] = outline
        while len(self.steps) > self._most:
            del self._outlines[self.steps.pop(superfluous(self.steps))]

    def add_packed(self, steps: bytes, outlines: bytes) -> None:
        """Take many, as they lie on the wire.

        Raises:
            ValueError: they do not belong together, or come from another version.
        """
        numbers = np.frombuffer(steps, np.int64)
        taken = unpacked(outlines)
        if len(numbers) != len(taken):
            raise ValueError(f"{len(numbers)} steps with {len(taken)} outlines")
        for step, outline in zip(numbers, taken, strict=True):
            self.add(int(step), outline)

    def between(self, first: int, last: int) -> list[tuple[int, Floats]]:
        """Steps and outlines of a stretch of the run, its ends included."""
        start, stop = bisect_left(self.steps, first), bisect_left(self.steps, last + 1)
        return [(step, self._outlines[step]) for step in self.steps[start:stop]]


def superfluous(steps: Sequence[int], kept: Collection[int] = (), newest: int = NEWEST) -> int:
    """Index of the outline that is missed least: where its neighbours lie closest together.

    Never the first, the newest or one that is `kept`, as long as there are others.
    """
    places = range(1, max(len(steps) - newest, 2))
    free = [place for place in places if steps[place] not in kept] or list(places)
    return min(free, key=lambda place: steps[place + 1] - steps[place - 1])


def mean_of(outline: Floats) -> float:
    """The mean of the values behind an outline."""
    return float(outline[len(LEVELS)])


def deviation_of(outline: Floats) -> float:
    """Their standard deviation."""
    return float(outline[len(LEVELS) + 1])


def broken_of(outline: Floats) -> float:
    """Share of them that is not finite."""
    return float(outline[len(LEVELS) + 2])

"""The losses of a whole run in a few dozen numbers, whatever the samples between them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from statistics import fmean, median

BLOCK = 8
"""Losses whose middle is one number at first: a wild batch does not move it."""
FEWEST = 12
"""Numbers before the quarters of the run are told."""
MOST = 128
"""Numbers that are kept; beyond, each two become one."""


class Course:
    """Evenly spaced levels of the loss since the run began.

    They follow from the losses alone, so that what they tell is the same at any cadence.
    """

    def __init__(self) -> None:
        self._open: list[float] = []
        self._levels: list[float] = []
        self._pooled: list[float] = []
        """Middles of blocks that are still to be one level."""
        self._pool = 1
        self.quarters: tuple[float, float, float, float] | None = None
        """The middle of the levels of each quarter of the run; None where these are too few."""

    def add(self, losses: Iterable[float]) -> None:
        """Take the next losses, in order."""
        for loss in losses:
            self._open.append(loss)
            if len(self._open) == BLOCK:
                self._close()

    def _close(self) -> None:
        self._pooled.append(median(self._open))
        self._open = []
        if len(self._pooled) < self._pool:
            return
        self._levels.append(fmean(self._pooled))
        self._pooled = []
        if len(self._levels) == MOST:
            pairs = zip(self._levels[::2], self._levels[1::2], strict=True)
            self._levels, self._pool = [fmean(pair) for pair in pairs], 2 * self._pool
        count = len(self._levels)
        if count >= FEWEST:
            cuts = [count * part // 4 for part in range(5)]
            first, second, third, last = (
                median(self._levels[begin:end]) for begin, end in pairwise(cuts)
            )
            self.quarters = first, second, third, last


__all__ = ["Course"]

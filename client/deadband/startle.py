"""Notices a loss that jumps, so that the very next steps are sampled and not those of the cadence.

Between two samples nothing is seen of a network but its loss. A learning rate that is raised for
fifty steps, or a broken batch, can come and go in between: the jump of the loss is the one sign of
it that every step gives. Its course is followed in stretches, and a step only compares its loss
with the highest that is in it: memory that is touched between two steps of a network was pushed
out of the caches by it, and comparing costs a twelfth of following then (0.15 against 1.7 µs). No
judgement of the run is made here.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from typing import Any

PACE = 0.05
"""Weight of the newest loss in the running mean: the mean of about the last forty."""
DEVIATIONS = 8.0
"""Mean absolute deviations above the mean that are a jump. Of 8,800 healthy steps of six set-ups,
0.1 in a thousand lie 6 robust standard deviations (7.5 of these) above; a sample too many costs
little."""
STRETCH = 100
"""Steps that the highest loss may be out of date."""


class Startle:
    """Follows the losses that are known at once."""

    __slots__ = ("_deviation", "_mean", "highest")

    def __init__(self) -> None:
        self.highest = -math.inf
        """A finite loss up to here is in its course."""
        self._mean = math.nan
        self._deviation = 0.0

    def by_newest(self, losses: deque[Any], fresh: int) -> bool:
        """Whether the last of so many new losses jumped; what is no number yet is passed over."""
        jumped = False
        for place in range(-min(fresh, len(losses)), 0):
            loss = losses[place]
            jumped = type(loss) is float and self.by(loss)
        high = self._mean + DEVIATIONS * self._deviation
        self.highest = high if self._deviation and high < math.inf else sys.float_info.max
        return jumped

    def by(self, loss: float) -> bool:
        """Whether this loss jumped out of its course, upwards or to something not finite."""
        gap = loss - self._mean
        if gap != gap or gap == math.inf:
            jumped = self._mean == self._mean  # the first one startles nobody
            if loss - loss == 0:
                self._mean = loss
            return jumped
        jumped = gap > DEVIATIONS * self._deviation > 0
        self._mean += PACE * gap
        self._deviation += PACE * (abs(gap) - self._deviation)
        return jumped

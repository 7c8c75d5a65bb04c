"""Was what had been learnt worth nothing from one step to the next?

Weights change little in a step. A loss that goes from far below a constant answer's to one as bad,
at once and for a while, means that the rows or their labels are others from that step on. Every
loss is known however far apart the samples are, so it is seen at any cadence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

BEFORE, AFTER = 32, 16
"""Losses that show the level there was, and the one that followed; catapults and warm restarts are
back within twenty steps, and do not begin with the worst one."""
MOSTLY = 14
KNEW = 0.4
"""Skill from which something had been learnt."""
AT_ONCE, LASTING, LOST = 0.8, 0.6, 0.3
"""Share of that skill which is gone in the first two losses, in the middle of those that follow,
and in nearly each of them."""
TWICE = 2.0
MORE_NATS = 0.2
"""By so much the entropy of the labels grows where other classes join them: a fifth among four even
ones brings 0.22, four beside six 0.5; of 4000 draws of 2000 rows from the same ten labels, even or
as 1/k, the least and the most lie 0.13 apart."""


class Thrown:
    """The losses of a run, searched for the step from which all had to be learnt anew."""

    def __init__(self) -> None:
        self._losses: list[float] = []
        self._steps: list[int] = []
        self._labels: list[float] = []
        self._knew = math.nan
        """Entropy of the labels before it."""
        self.since: int | None = None
        """The step of the first loss that was so."""
        self.level = math.nan
        """What the loss had been before it."""

    def add(
        self,
        losses: Sequence[float],
        steps: Sequence[int],
        constant: float,
        labels: float = math.nan,
    ) -> None:
        """Take the losses since the last sample, a constant answer's and the labels' entropy."""
        if len(losses) != len(steps):
            return
        for loss, step in zip(losses, steps, strict=True):
            if not math.isfinite(loss):
                continue
            self._losses.append(loss)
            self._steps.append(step)
            self._labels.append(labels)
            if len(self._losses) > BEFORE + AFTER:
                del self._losses[0], self._steps[0], self._labels[0]
                self._look(constant)
        if self.since is not None and labels - self._knew > MORE_NATS:
            self.since = None  # there is more to be known, and what was known may still be

    def made_up(self, step: int, loss: float) -> bool:
        """As many steps have passed as had led to the level before, and it is reached again."""
        return self.since is not None and step > 2 * self.since and loss <= self.level

    def pause(self) -> None:
        """What the next losses are held against is not known."""
        self._losses, self._steps, self._labels = [], [], []

    def begin_anew(self) -> None:
        """Another question is asked by design."""
        self.pause()
        self.since = None

    def _look(self, constant: float) -> None:
        after = self._losses[BEFORE:]
        if not after[0] > AT_ONCE * constant:
            return
        before = self._losses[:BEFORE]
        level, high = median(before), sorted(before)[-2]
        if not 0 < level < (1 - KNEW) * constant:
            return
        gain = constant - level
        least = max(TWICE * level, high)
        at_once, lost = (max(least, level + share * gain) for share in (AT_ONCE, LOST))
        if min(after[:2]) <= at_once or before[-1] > high:
            return
        if sum(loss > lost for loss in after) < MOSTLY or median(after) < level + LASTING * gain:
            return
        self.since, self.level = self._steps[BEFORE], level
        self._knew = self._labels[BEFORE - 1]


__all__ = ["Thrown"]

"""What a sample costs beyond what our own clock sees, by comparing the lengths of steps.

The clock stands around our own code. It does not see how much longer torch takes where it calls our
hooks, nor that the next steps find their own code and data gone from the processor's caches. On a
loop of 0.3 ms steps that was as much again. So a sampled step and the two behind it are compared
with the steps that come then. Steps differ for many reasons, and a run must not go unwatched
because of noise: only what is beyond doubt is added, and no more than a bounded share. Pure.
"""

from __future__ import annotations

import math
from collections import deque

AFTER = 2
"""Steps behind a sample that still feel it; the third did not, where the second did by a tenth."""
LEAST_USUAL = 3
"""So many steps behind those are needed to compare with ..."""
GAP = 8
"""... which is the case where samples are this far apart."""
DENSE_SAMPLES = 32
"""Where they are nearer, a gap is left after so many, to compare at all: a fifth fewer samples."""
KEPT = 31
"""Samples that are compared with the steps behind them, ..."""
LEAST_KEPT = 5
"""... and the least that say anything."""
DOUBT = 2 * 1.2533 * 1.4826
"""Times median absolute deviation by root of the number: twice the standard error of a median, for
a normal distribution. Less than that is noise."""
MOST = 3.0
"""Times what the clock says: where each sampled step happens to be the one that also evaluates, the
comparison would else stop the sampling."""


class Aftermath:
    """Follows the lengths of steps around samples."""

    def __init__(self) -> None:
        self._sampled_s = 0.0
        """What the last sampled step took beyond its clocked cost."""
        self._behind: list[float] = []
        self._open = False
        self._unseen: deque[float] = deque(maxlen=KEPT)
        self._news = 0
        self._doubtless_s = 0.0

    def unseen_s(self, clocked_s: float) -> float:
        """What a sample surely costs beyond what the clock says."""
        return min(self._doubtless_s, MOST * clocked_s)

    def sampled(self, duration_s: float, clocked_s: float) -> None:
        """A sampled step took so long, and capture so much of it."""
        self._close()
        self._sampled_s = duration_s - clocked_s
        self._open = True

    def passed(self, duration_s: float) -> None:
        """The next step, which was not sampled, took so long."""
        if self._open:
            self._behind.append(duration_s)

    def _close(self) -> None:
        behind, self._behind, self._open = self._behind, [], False
        usual = behind[AFTER:]
        if len(usual) < LEAST_USUAL:
            return
        usual_s = median(usual)
        self._unseen.append(self._sampled_s + sum(behind[:AFTER]) - (1 + AFTER) * usual_s)
        count = len(self._unseen)
        self._news += 1
        if count >= LEAST_KEPT and (count < KEPT or self._news % LEAST_KEPT == 0):
            middle = median(self._unseen)
            spread = median([abs(each - middle) for each in self._unseen])
            self._doubtless_s = max(0.0, middle - DOUBT * spread / math.sqrt(count))


def median(values: list[float] | deque[float]) -> float:
    """The middle one; of an even number the higher."""
    # Not from `statistics`: a script's own module of that name would be found first.
    ordered = sorted(values)
    return ordered[len(ordered) // 2]

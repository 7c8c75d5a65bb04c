"""Which step is sampled: the overhead budget, its credit and the rate limit. Pure; no clock.

The caller says what each step took and what each sample cost; `next_step` says when the next sample
is due, so that a step in between costs one comparison of integers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from deadband.wire import LOSS_CAPACITY

ALWAYS_STEPS = 10
"""The first steps are always sampled: most broken set-ups show within them."""
RATE_LIMIT = 20.0
"""Samples a second once the credit is spent: more than that no terminal shows."""
RENEWAL_PAUSE_S = 30.0
"""A renewed credit comes at most this often, so that a flag that flaps cannot slow training."""
STARTLED_STEPS = 10
"""Steps that are sampled when the loss jumps."""
CALM_INTERVALS = 100
"""Intervals until it may do so again: ten samples more in a hundred, a tenth of the budget."""
HISTORY = 9
"""Medians of so many values: one preemption or one evaluation pause does not count."""


class Cadence:
    """Decides which steps are sampled.

    Args:
        every: sample exactly every so many steps; None leaves it to the budget.
        budget: share of training time that capture may cost; None: every step.
        credit_s: capture time to spend on every step before the budget rules.
    """

    def __init__(self, *, every: int | None, budget: float | None, credit_s: float) -> None:
        if every is None and budget is None:
            every = 1
        self.next_step = 1
        """The step that is sampled next."""
        self.interval = every or 1
        """Steps from the last sample to the next."""
        self.spent_s = 0.0
        """Capture time since the start."""
        self._every = every
        self._budget = budget or 0.0
        self._credit_s = credit_s
        self._left_s = credit_s
        self._renewed_at = -math.inf
        self._startled_until = 0
        self._calm_until = 0
        self._costs: deque[float] = deque(maxlen=HISTORY)
        self._steps: deque[float] = deque(maxlen=HISTORY)

    def passed(self, duration_s: float) -> None:
        """A step that was not sampled took so long."""
        self._steps.append(duration_s)

    def sampled(
        self, step: int, duration_s: float, cost_s: float, *, keeps_up: bool = True
    ) -> None:
        """Step `step` was sampled.

        Args:
            step: its number.
            duration_s: what it took, capture included.
            cost_s: what capture took of it.
            keeps_up: whether the hub takes the frames as fast as they come.
        """
        self._steps.append(max(duration_s - cost_s, 1e-9))
        self._costs.append(cost_s)
        self.spent_s += cost_s
        self._left_s -= cost_s
        self.interval = self._next_interval(step, keeps_up)
        self.next_step = step + self.interval

    def skipped(self, step: int) -> None:
        """Step `step` was due, but there was no room: try again after the same interval."""
        self.interval = max(self.interval, self._governed())
        self.next_step = step + (self._every or self.interval)

    def renew(self, credit_s: float | None, now: float, step: int) -> None:
        """A flag opened or a viewer asks: every step again until the credit is spent."""
        if now - self._renewed_at < RENEWAL_PAUSE_S:
            return
        self._renewed_at = now
        self._left_s = self._credit_s if credit_s is None else min(credit_s, self._credit_s)
        if self._every is None and self._left_s > 0:
            self.next_step = min(self.next_step, step + 1)

    def startled(self, step: int) -> None:
        """The loss jumped at `step`: sample the next steps, unless that was done just before."""
        if self._every is not None or self.interval == 1 or step < self._calm_until:
            return
        self._startled_until = step + STARTLED_STEPS
        self._calm_until = self._startled_until + CALM_INTERVALS * self.interval
        self.next_step = min(self.next_step, step + 1)

    def _next_interval(self, step: int, keeps_up: bool) -> int:
        if self._every is not None:
            return self._every
        if step < max(ALWAYS_STEPS, self._startled_until) or (self._left_s > 0 and keeps_up):
            return 1
        return self._governed()

    def _governed(self) -> int:
        if self._every is not None:
            return self._every
        if not self._costs or not self._steps:
            return 1
        step_s = median(self._steps)
        by_budget = math.ceil(median(self._costs) / (self._budget * step_s)) if self._budget else 1
        by_rate = math.ceil(1.0 / (RATE_LIMIT * step_s))
        return min(max(1, by_budget, by_rate), LOSS_CAPACITY)


def median(values: Iterable[float]) -> float:
    """The middle one; of an even number the higher."""
    # Not from `statistics`: a script's own module of that name would be found first.
    ordered = sorted(values)
    return ordered[len(ordered) // 2]

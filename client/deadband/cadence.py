"""Which step is sampled: the overhead budget, its credit and the rate limit. Pure; no clock.

The caller says what each step took and what each sample cost; `next_step` says when the next sample
is due, so that a step in between costs one comparison of integers. `pace` says what was done, and
why.
"""

from __future__ import annotations

import math
from collections import deque

from deadband.aftermath import DENSE_SAMPLES, GAP, Aftermath, median
from deadband.wire import LOSS_CAPACITY, Pace

ALWAYS_STEPS = 10
"""The first steps are always sampled: most broken set-ups show within them."""
RATE_LIMIT = 20.0
"""Samples a second once the credit is spent: more than that no terminal shows."""
UNWATCHED_RATE = 10.0
"""The same with nobody watching: rules and recordings lose nothing by it."""
RAMP = 16
"""Beyond this, the first intervals at most double: the first samples, taken while a hub starts and
its ring is laid out, cost ten times what later ones do, and must not decide about a minute."""
STEP_S = 2.5e-6
"""What `step` costs where nothing is sampled: 0.6 µs in a loop of its own, 2.5 between steps of a
network, which push its memory out of the caches. Of steps of 0.3 ms that is most of the budget: it
pays for this first, and for samples with the rest, which is half of it at least."""
SLOWEST_STEPS = LOSS_CAPACITY
"""One step in so many is sampled whatever the budget says: a frame holds that many losses."""
SLOWEST_S = 600.0
"""So much time at most lies between two samples: a run is never left alone for longer."""
FAR_RATE = 2.0
"""Samples a second of a rank that sends summaries."""
RENEWAL_PAUSE_S = 30.0
"""A renewed credit comes at most this often ..."""
UNEVEN_FROM = 2 * GAP
"""Intervals above it are by turns one step shorter: a loader that begins anew every so many steps
would show the same batch in each sample otherwise, and one that is stuck could not be told from
it."""
STARTLED_STEPS = 10
"""Steps that are sampled when the loss jumps."""
CALM_INTERVALS = 100
"""Intervals until it may do so again: ten samples more in a hundred, a tenth of the budget."""
ASKED_S = 10.0
"""Capture time that one wish of a viewer may take, however many steps it is for."""
HISTORY = 9
"""Medians of so many values: one preemption or one evaluation pause does not count."""


class Cadence:
    """Decides which steps are sampled.

    Args:
        every: sample exactly every so many steps; None leaves it to the budget.
        budget: share of training time that capture may cost; None: every step.
        credit_s: capture time to spend on every step before the budget rules.
        ranks: processes that train together. They wait for each other in every step, so that their
            samples must fall on the same steps: intervals are powers of two, and their multiples
            are sampled. Nobody needs to be asked for that.
        rate_share: of the samples a second: many ranks of one host share a hub.
        steps_before: steps that were taken before anybody looked.
    """

    def __init__(
        self,
        *,
        every: int | None,
        budget: float | None,
        credit_s: float,
        ranks: int = 1,
        rate_share: float = 1.0,
        steps_before: int = 0,
    ) -> None:
        if every is None and budget is None:
            every = 1
        self.next_step = steps_before + 1
        """The step that is sampled next."""
        self.interval = every or 1
        """Steps from the last sample to the next."""
        self.spent_s = 0.0
        """Capture time since the start."""
        self.watched = False
        """Whether anybody looks on."""
        self._every = every
        self._budget = budget or 0.0
        self._credit_s = credit_s
        self._left_s = credit_s
        self._together = ranks > 1
        self._rate_share = rate_share
        self._always_until = steps_before + ALWAYS_STEPS
        self._pause_s = max(RENEWAL_PAUSE_S, credit_s / self._budget if self._budget else 0.0)
        # ... and no oftener than the budget could pay for: flags that flap never more than double
        # what a run costs.
        self._renewed_at = -math.inf
        self._asked_until = 0
        self._asked_left_s = 0.0
        self._startled_until = 0
        self._calm_until = 0
        self._why = "named" if every is not None else "first steps"
        self._costs: deque[float] = deque(maxlen=HISTORY)
        self._device_costs: deque[float] = deque(maxlen=HISTORY)
        self._steps: deque[float] = deque(maxlen=HISTORY)
        self._unsampled: deque[float] = deque(maxlen=HISTORY)
        self._aftermath = Aftermath()
        self._settled = False
        """Whether the first samples have been outweighed by later ones."""
        self._odd = False
        """Whether the next sample comes a step earlier."""
        self._dense = 0
        """Samples since there was a gap between two."""

    def attend(self, credit_s: float, rate_share: float) -> None:
        """Sample more from now on, or less: what may be spent, and the share of the usual rate."""
        self._credit_s, self._rate_share = credit_s, rate_share

    @property
    def pace(self) -> Pace:
        """What is done now, and why. The one thing here that another thread may ask for."""
        try:
            step_s, cost_s = median(self._steps) if self._steps else 0.0, self._cost_s()
        except RuntimeError:  # a value came in the middle; the next beat will know
            step_s = cost_s = 0.0
        return Pace(
            why=self._why,
            step_s=step_s,
            cost_s=cost_s,
            credit_s=max(0.0, self._left_s) if self._every is None else 0.0,
            rate=self._rate if self._every is None else 0.0,
            until=self._asked_until if self._why == "asked" else 0,
        )

    @property
    def usual_step_s(self) -> float:
        """What a step takes that is not sampled; infinite while none was seen."""
        return median(self._unsampled) if self._unsampled else math.inf

    def passed(self, duration_s: float) -> None:
        """A step that was not sampled took so long."""
        self._steps.append(duration_s)
        self._unsampled.append(duration_s)
        self._aftermath.passed(duration_s)

    def sampled(self, step: int, duration_s: float, cost_s: float, *, stride: int = 1) -> None:
        """Step `step` was sampled.

        Args:
            step: its number.
            duration_s: what it took, capture included.
            cost_s: what capture took of it.
            stride: one in how many steps may be sampled on credit: more while the hub starts; 0
                where it does not keep up.
        """
        self._steps.append(max(duration_s - cost_s, 1e-9))
        self._costs.append(cost_s)
        self._aftermath.sampled(duration_s, cost_s)
        cost_s += self._aftermath.unseen_s(cost_s)
        if self._device_costs:
            cost_s = max(cost_s, median(self._device_costs))
        self.spent_s += cost_s
        self._left_s -= cost_s
        self._asked_left_s -= cost_s
        self.interval = self._next_interval(step, stride)
        self.next_step = self._after(step, self.interval)
        self._odd = not self._odd
        if self._odd and self.interval > UNEVEN_FROM and self._every is None and not self._together:
            self.next_step -= 1

    def took_on_device(self, cost_s: float) -> None:
        """A sampled step, a while ago, kept the device so much longer than the step behind it."""
        self._device_costs.append(max(0.0, cost_s))

    def skipped(self, step: int) -> None:
        """Step `step` was due, but there was no room: try again after the same interval."""
        self.interval = self._every or max(self.interval, self._governed())
        self._why = "no room"
        self.next_step = self._after(step, self.interval)

    def renew(self, credit_s: float | None, now: float, step: int) -> None:
        """A flag opened or a viewer asks: every step again until the credit is spent."""
        if now - self._renewed_at < self._pause_s or not self._credit_s:
            return
        self._renewed_at = now
        self._left_s = self._credit_s if credit_s is None else min(credit_s, self._credit_s)
        if self._every is None and self._left_s > 0:
            self.next_step = min(self.next_step, step + 1)

    def asked(self, steps: int, step: int) -> None:
        """A viewer wants each of the next steps sampled, whatever the budget says; 0: no more."""
        self._asked_until, self._asked_left_s = step + steps, ASKED_S
        if steps:
            self.next_step = min(self.next_step, step + 1)

    def startled(self, step: int) -> None:
        """The loss jumped at `step`: sample the next steps, unless that was done just before."""
        if self._every is not None or self.interval == 1 or step < self._calm_until:
            return
        self._startled_until = step + STARTLED_STEPS
        self._calm_until = self._startled_until + CALM_INTERVALS * self.interval
        self.next_step = min(self.next_step, step + 1)

    def _after(self, step: int, interval: int) -> int:
        return (step // interval + 1) * interval if self._together else step + interval

    @property
    def _rate(self) -> float:
        return (RATE_LIMIT if self.watched else UNWATCHED_RATE) * self._rate_share

    def _next_interval(self, step: int, stride: int) -> int:
        if step < self._asked_until and self._asked_left_s > 0:
            self._why = "asked"
            return 1
        if self._every is not None:
            self._why = "named"
            return self._every
        if step < self._always_until:
            self._why = "first steps"
            return 1
        if step < self._startled_until:
            self._why = "loss jumped"
            return 1
        if self._left_s > 0 and stride:
            self._why = "credit"
            return stride
        return self._governed()

    def _cost_s(self) -> float:
        cost_s = median(self._costs) if self._costs else 0.0
        cost_s += self._aftermath.unseen_s(cost_s)
        return max(cost_s, median(self._device_costs)) if self._device_costs else cost_s

    def _governed(self) -> int:
        if self._every is not None:
            return self._every
        if not self._costs or not self._steps:
            return 1
        step_s = median(self._steps)
        left = max(self._budget * step_s - STEP_S, 0.5 * self._budget * step_s)
        by_budget = math.ceil(self._cost_s() / left) if left else 1
        by_rate = math.ceil(1.0 / (self._rate * step_s))
        slowest = max(1, min(SLOWEST_STEPS, int(SLOWEST_S / step_s)))
        wanted = max(1, by_budget, by_rate)
        self._dense = self._dense + 1 if wanted < GAP else 0
        if self._dense > DENSE_SAMPLES:
            self._dense, wanted = 0, GAP
        self._why = "budget" if by_budget >= by_rate else "rate"
        if wanted > slowest:
            wanted, self._why = slowest, "slowest"
        if not self._settled:
            most = max(RAMP, 2 * self.interval)
            self._settled, wanted = wanted <= most, min(wanted, most)
        if self._together:
            # Up to the next power of two, unless that is beyond the slowest pace.
            wanted = 1 << (wanted - 1).bit_length()
            wanted = wanted if wanted <= slowest else 1 << (slowest.bit_length() - 1)
        return wanted

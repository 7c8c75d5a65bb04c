"""What the rules remember of one model: its statistics over time, its updates and its rate."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from deadband_monitor.metrics import MODEL_COLUMN, MODEL_METRICS
from deadband_monitor.rules.breaks import Break
from deadband_monitor.rules.feed import Feed
from deadband_monitor.rules.majority import Majority, misses_the_rare
from deadband_monitor.rules.objective import Objective
from deadband_monitor.rules.trend import History
from deadband_monitor.state.series import Floats

FORMATIVE_STEPS = 250
"""The stretch over which the shares of `likelihood` were counted."""
LARGE_UPDATE = 0.3
"""Relative update of one step. Healthy runs stay below 0.15 at usual rates and reach 0.35-0.42 at
the edge of stability; runs that a learning rate ruined began at 1.1 to 14, one at 0.42."""
SMALL_UPDATE = 1e-4
"""Largest relative update of a run that gets nowhere in thousands of steps; usual runs begin at
1e-2."""
WARM_UP_STEPS = 300
"""Every warm-up may be slow for so long ..."""
HOPELESS_STEPS, HOPELESS = 100, 40
"""... unless by then it would take forty times the steps so far to come to that. Adam over 24 000
steps to 1e-4, as slow as large language models are warmed up, needs five times as many."""
RAISED = 2.0
"""A rate at half of the ruinous one trains well: the usable range spans a decade."""
PULLED, LITTLE_PULLED = 0.7, 0.3
"""Cosine of a step and minus the weights, median of the matrices, from which it does little but
shrink them, and below which it does not: without a penalty it is -0.3 to 0.2, from the first sample
after a strong one sets in 0.8."""
STRAIGHT = 1.1
"""Rise of a rate over that of the steps, up to which it rises by as much at each."""
RUN_OUT = 0.01
"""Share of its highest value below which a learning rate has all but ended the training."""
UNTOLD_SAMPLES = 3
"""Samples in a row that tell no skill, up to which it is what it was: the batch that ends a pass is
too short to tell, and rarely are two of them neighbours."""
TOLD = [MODEL_COLUMN[name] for name in ("loss", "nonfinite", "lr", "eval_loss", "skipped")]
"""What is known of a step that nothing was copied of."""


class ModelPast:
    """One model's history."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.samples = 0
        self.born = 0
        """The step before its first, where other models came before it; 0 from the start."""
        self.first: Floats = np.full(len(MODEL_METRICS), np.nan, np.float32)
        """First finite value of each statistic."""
        self._unknown = np.ones(len(MODEL_METRICS), bool)
        """Which of them are still to come."""
        self._values: list[float] = self.first.tolist()
        self.last: Floats = self.first.copy()
        """Newest finite value of each statistic."""
        self.objective = Objective()
        self.feed = Feed()
        self.majority = Majority()
        self.updated = False
        """Some weight had moved before this sample."""
        self.information = History()
        self.sigma_share = History()
        self.variance = History()
        """Dependence ratio of the output, where it is more than dust."""
        self.skill = History()
        self.rates = History()
        """The learning rate."""
        self.evaluations: deque[float] = deque(maxlen=5)
        """The losses of the last evaluation passes."""
        self.fewest_distinct = math.nan
        """Lowest share of different rows among the last 2000 input rows."""
        self.best_of_now = math.nan
        """The better of the fresh and the smoothed skill."""
        self._untold = self._silent = 0
        self.best_skill = -math.inf
        self.peak_information = 0.0
        """Highest minimum of three samples while there was skill."""
        self.peak_sigma_share = 0.0
        self.peak_update = 0.0
        self.large_update_step: int | None = None
        """First step at which some matrix changed by more than `LARGE_UPDATE`."""
        self.large_update_from = 0
        """The first step that may have been it."""
        self.large_update = 0.0
        """The first update ratio above `LARGE_UPDATE`, and the learning rate that made it."""
        self.large_update_lr = math.nan
        self.usual_lr = math.nan
        """The learning rate of the sample before that update."""
        self.large_update_seen = True
        """Measured; False where it follows from a jump of the rate between two samples."""
        self.last_update = math.nan
        """The newest measured update ratio, the largest of any matrix."""
        self._last_lr = math.nan
        self._updated_at = 0
        """Step of the sample that gave `last_update`."""
        self.peak_lr = 0.0
        self.run_out_step: int | None = None
        """Since when the learning rate is below `RUN_OUT` of its highest value."""
        self.pull = math.nan
        """Smoothed cosine of the updates and minus the weights, median over matrices: how much of
        what the optimiser does is to shrink them."""
        self.pulled_since: int | None = None
        """The first of two samples in a row in which nearly all of a step was that, where it was
        little before."""
        self._pulled: tuple[int, float] = (0, 0.0)
        """The first sample of such a row, if it is one, and the smoothed pull before it."""
        self.norms: deque[float] = deque(maxlen=20)
        """The last gradient norms."""
        self.idle_samples = 0
        """Samples in a row in which no call of it was seen."""
        self.judged_at = 0
        self.learns = True
        """Whether it was still improving at the sample of `judged_at`."""
        self.broken = Break()
        self.gradient_rose = False
        """The gradient norm passed ten times its start within 250 steps."""
        self._lrs: deque[tuple[int, float]] = deque(maxlen=64)
        self._last_three: deque[tuple[float, float]] = deque(maxlen=3)

    def value(self, name: str) -> float:
        """A statistic of the newest sample."""
        return self._values[MODEL_COLUMN[name]]

    def tell_skill(self, skill: float) -> None:
        """The short batch at the end of a pass tells none, and takes none away."""
        self._untold = self._untold + 1 if math.isnan(skill) else 0
        if not self._untold or self._untold > UNTOLD_SAMPLES:
            self.best_of_now = skill

    @property
    def makes_its_targets(self) -> bool:
        """Targets that shrink with the outputs are put out by the model, as a second view is.

        Where a few are far out, those of the first batch may spread wider than all by themselves.
        """
        shrunk = (self.value(name) < 0.5 * self.start(name) for name in ("target_sd", "out_sd"))
        return all(shrunk)

    @property
    def misses_the_rare(self) -> bool:
        """Whether nearly all labels are of one class and the others are hardly found.

        Where it is not known how many of them are, how seldom they are named tells.
        """
        recall = self.value("rare_recall")
        if math.isnan(recall):
            return self.majority.misses
        return misses_the_rare(self.value("majority_share"), recall)

    @property
    def values(self) -> list[float]:
        """All statistics of the newest sample."""
        return self._values

    def fill(self, values: list[float], best_of_now: float) -> None:
        """Take what the newest sample, of which nothing was measured, lacks from an older one."""
        told = {column: self._values[column] for column in TOLD}
        self._values = [told.get(column, value) for column, value in enumerate(values)]
        if math.isnan(self.best_of_now):
            self.best_of_now = best_of_now

    def recall(self, values: list[float]) -> bool:
        """Take from the sample before what a batch that was too short to compare lacks, if so."""
        silent = math.isnan(self.value("out_rms")) and math.isfinite(self.value("grad_norm"))
        self._silent = self._silent + 1 if silent and not self.value("nonfinite") > 0 else 0
        if not 0 < self._silent <= UNTOLD_SAMPLES:
            return False
        pairs = zip(self._values, values, strict=True)
        self._values = [old if math.isnan(new) else new for new, old in pairs]
        return True

    def latest(self, name: str) -> float:
        """The newest finite value of a statistic: not every sample has each."""
        return self.last.item(MODEL_COLUMN[name])

    def start(self, name: str) -> float:
        """The first finite value of a statistic."""
        return self.first.item(MODEL_COLUMN[name])

    @property
    def lr_climbs(self) -> bool:
        """The learning rate rose over the last fifty steps."""
        return len(self._lrs) >= 2 and self._lrs[-1][1] > 1.01 * self._lrs[0][1]

    @property
    def lr_rising(self) -> bool:
        """The learning rate is being warmed up: slow is as planned.

        Not so a warm-up that will not get anywhere in four times the steps so far.
        """
        if not self.lr_climbs:
            return False
        if self._lrs[-1][0] <= WARM_UP_STEPS:
            return not self._hopeless
        return not 4 * self.last_update < SMALL_UPDATE

    @property
    def unstarted(self) -> bool:
        """The learning rate has been 0 so far, and no weight has moved."""
        return bool(self._lrs) and not (self.peak_lr > 0 or self.peak_update > 0)

    @property
    def _hopeless(self) -> bool:
        """The rate rises no faster than the steps go on, and from next to nothing.

        One that is multiplied at each step gets anywhere soon, however low it begins.
        """
        (before, then), (step, now) = self._lrs[0], self._lrs[-1]
        if step < HOPELESS_STEPS or not HOPELESS * self.last_update < SMALL_UPDATE:
            return False
        return now * before <= STRAIGHT * then * step

    @property
    def tells(self) -> tuple[tuple[History, float], ...]:
        """What grows as a model learns, each with the figure from which it says something."""
        return (self.information, 0.01), (self.sigma_share, 0.1), (self.variance, 0.01)

    def absorb(self, step: int, row: Floats, values: list[float], fresh_skill: float) -> None:
        """Fold one sample in; values: the row as plain numbers."""
        self.samples += 1
        self._values = values
        known = np.isfinite(row)
        np.copyto(self.first, row, where=self._unknown)
        self._unknown &= ~known
        np.copyto(self.last, row, where=known)
        information, sigma = self.value("information"), self.value("sigma_share")
        self.information.add(step, information)
        self.sigma_share.add(step, sigma)
        self.skill.add(step, fresh_skill)
        if math.isfinite(self.value("eval_loss")):
            self.evaluations.append(self.value("eval_loss"))
        distinct = self.value("in_distinct")
        if distinct < self.fewest_distinct or math.isnan(self.fewest_distinct):
            self.fewest_distinct = distinct
        rho = self.value("out_variance")
        if rho > 1e-5:
            self.variance.add(step, rho)
        if step <= FORMATIVE_STEPS and self.value("grad_norm") > 10 * self.start("grad_norm"):
            self.gradient_rose = True
        self._last_three.append((information, sigma))
        if math.isfinite(fresh_skill):
            self.best_skill = max(self.best_skill, fresh_skill)
        lr = self.value("lr")
        if math.isfinite(lr):
            while self._lrs and step - self._lrs[0][0] > 50:
                self._lrs.popleft()
            self._lrs.append((step, lr))
            self.peak_lr = max(self.peak_lr, lr)
            self.rates.add(step, lr)
            if lr >= RUN_OUT * self.peak_lr and not self.unstarted:
                self.run_out_step = None
            elif self.run_out_step is None:
                self.run_out_step = step
        if math.isfinite(self.value("grad_norm")):
            self.norms.append(self.value("grad_norm"))
        # What a model knew counts as learnt only with skill behind it: weights drawn too large
        # "know" 0.7 of the labels before the first step, and losing that is no collapse.
        if len(self._last_three) == 3 and (fresh_skill > 0.05 or math.isnan(fresh_skill)):
            infos, sigmas = zip(*self._last_three, strict=True)
            self.peak_information = max(self.peak_information, _least(infos))
            self.peak_sigma_share = max(self.peak_sigma_share, _least(sigmas))

    def _infer_large_update(self, step: int, largest: float) -> None:
        """A rate that was raised between two samples leaves no large update to be seen.

        Updates grow with the rate, so the last measured one tells what the first steps at the new
        rate did.
        """
        if self.large_update_step is not None or largest > LARGE_UPDATE or not self._last_lr > 0:
            return
        lr = self.value("lr")
        implied = self.last_update * lr / self._last_lr
        if lr >= 9.9 * self._last_lr and implied > LARGE_UPDATE:
            self.large_update_step, self.large_update_seen = step, False
            # The rate was raised after the sample before; which step did harm is not known.
            self.large_update_from = self._updated_at + 1
            self.large_update, self.large_update_lr = implied, lr
            self.usual_lr = self._last_lr

    def absorb_pull(self, step: int, pulls: Floats) -> None:
        """Fold the pull to zero of the model's matrices in."""
        known = pulls[np.isfinite(pulls)]
        if len(known):
            pull = _middle(known)
            begun, before = self._pulled
            if not pull > PULLED:
                self._pulled = 0, 0.0
            elif not begun:
                self._pulled = step, self.pull
            elif self.pulled_since is None and before < LITTLE_PULLED:
                self.pulled_since = begun
            self.pull = pull if math.isnan(self.pull) else self.pull + 0.1 * (pull - self.pull)

    def absorb_update(self, step: int, largest: float) -> None:
        """Fold the largest update ratio of the model's matrices in."""
        self.updated = self.peak_update > 0
        if not math.isfinite(largest):
            if self.broken.step is None and self.value("nonfinite") > 0:
                self._infer_large_update(step, 0.0)  # what broke left nothing to measure
            return
        self._infer_large_update(step, largest)
        before, self._last_lr = self._last_lr, self.value("lr")
        measured_at = self._updated_at
        self.last_update, self._updated_at = largest, step
        self.peak_update = max(self.peak_update, largest)
        if largest > LARGE_UPDATE and self.large_update_step is None:
            self.large_update_step = self.large_update_from = step
            self.large_update, self.large_update_lr = largest, self.value("lr")
            self.usual_lr = before
            if step > measured_at + 1 and self.large_update_lr > RAISED * before > 0:
                # The steps since the sample before were made at rates on their way up to this one.
                self.large_update_from, self.large_update_seen = measured_at + 1, False


def _middle(values: Floats) -> float:
    """The median, by sorting in place: of a few values numpy's own takes ten times as long."""
    values.sort()
    half = len(values) // 2
    return float(values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2)


def _least(values: tuple[float, ...]) -> float:
    return min(values) if all(map(math.isfinite, values)) else 0.0

"""What the rules remember of a run: per model and per layer, at bounded size.

The engine folds each sample in once; rules and causes read. Everything follows from the samples
alone, so a recording replayed leaves the same memory.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN, LAYER_METRICS, MODEL_COLUMN, MODEL_METRICS
from deadband_monitor.rules.breaks import Break
from deadband_monitor.rules.feed import Feed
from deadband_monitor.rules.flow import LASTING, Flow
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.majority import Majority
from deadband_monitor.rules.objective import Objective
from deadband_monitor.rules.trend import History, LossTrend
from deadband_monitor.state.series import Floats

if TYPE_CHECKING:
    from deadband_monitor.rules.base import Observation

EARLY_STEPS = 10
"""The first updates decide the verdict on the learning rate; clients sample every one of them."""
FORMATIVE_STEPS = 250
"""The stretch over which the shares of `likelihood` were counted."""
LARGE_UPDATE = 0.3
"""Relative update of one step. Healthy runs stay below 0.15 at usual rates and reach 0.35-0.42 at
the edge of stability; runs that a learning rate ruined began at 1.1 to 14, one at 0.42."""

SMALL_UPDATE = 1e-4
"""Largest relative update of a run that gets nowhere in thousands of steps; usual runs begin at
1e-2."""
WARM_UP_STEPS = 300
"""Every warm-up may be slow for so long."""
RUN_OUT = 0.01
"""Share of its highest value below which a learning rate has all but ended the training."""
STRONG_DROPOUT = 0.9
"""Of ten units one is left, scaled up ten-fold: what comes out is noise at first (0.5 is usual)."""
CLIMB = 0.002
"""Skill that must be won within a third of the run to count: a full batch that closes in on a poor
optimum has no noise, and gains a millionth at each step."""

_UPDATE = LAYER_COLUMN["update_ratio"]
_PULL = LAYER_COLUMN["pull_to_zero"]


class ModelPast:
    """One model's history."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.samples = 0
        self.born = 0
        """The step before its first, where other models came before it; 0 from the start."""
        self.now: Floats = np.full(len(MODEL_METRICS), np.nan, np.float32)
        self.first: Floats = self.now.copy()
        """First finite value of each statistic."""
        self._unknown = np.ones(len(MODEL_METRICS), bool)
        """Which of them are still to come."""
        self._values: list[float] = self.now.tolist()
        self.last: Floats = self.now.copy()
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
        self.best_of_now = math.nan
        """The better of the fresh and the smoothed skill."""
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
        self.norms: deque[float] = deque(maxlen=20)
        """The last gradient norms."""
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

    def latest(self, name: str) -> float:
        """The newest finite value of a statistic: not every sample has each."""
        return float(self.last[MODEL_COLUMN[name]])

    def start(self, name: str) -> float:
        """The first finite value of a statistic."""
        return float(self.first[MODEL_COLUMN[name]])

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
        return self._lrs[-1][0] <= WARM_UP_STEPS or not 4 * self.last_update < SMALL_UPDATE

    def absorb(self, step: int, row: Floats, fresh_skill: float) -> None:
        """Fold one sample in."""
        self.samples += 1
        self.now = row
        self._values = row.tolist()
        known = np.isfinite(row)
        np.copyto(self.first, row, where=self._unknown)
        self._unknown &= ~known
        np.copyto(self.last, row, where=known)
        information, sigma = self.value("information"), self.value("sigma_share")
        self.information.add(step, information)
        self.sigma_share.add(step, sigma)
        self.skill.add(step, fresh_skill)
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
            if lr >= RUN_OUT * self.peak_lr:
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

    def absorb_pull(self, pulls: Floats) -> None:
        """Fold the pull to zero of the model's matrices in."""
        known = pulls[np.isfinite(pulls)]
        if len(known):
            pull = _middle(known)
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
        self.last_update, self._updated_at = largest, step
        self.peak_update = max(self.peak_update, largest)
        if largest > LARGE_UPDATE and self.large_update_step is None:
            self.large_update_step = self.large_update_from = step
            self.large_update, self.large_update_lr = largest, self.value("lr")
            self.usual_lr = before


def _learning(layout: Layout) -> set[str]:
    return {
        model.name
        for model, learns in zip(layout.models, layout.model_learns, strict=True)
        if learns
    }


def _middle(values: Floats) -> float:
    """The median; of a few values numpy takes ten times as long for it as to sort them."""
    ordered = np.sort(values)
    half = len(ordered) // 2
    return float(ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2)


def _least(values: tuple[float, ...]) -> float:
    return min(values) if all(map(math.isfinite, values)) else 0.0


class Past:
    """The memory that all rules share."""

    def __init__(self) -> None:
        self.layout: Layout | None = None
        self.step = 0
        self.first_step = 0
        self.samples = 0
        self.loss = LossTrend()
        self._stage_begins = False
        self.loss_was_high = False
        """The loss stayed above 1.5 times its start and a constant answer's for five of eight."""
        self.models: dict[str, ModelPast] = {}
        self.flow = Flow()
        self.standing: dict[tuple[str, str], tuple[str, int, int]] = {}
        """(kind, model) -> severity, onset step, raised step of the flags that stand."""
        self.newest: Floats = np.zeros((0, len(LAYER_METRICS)), np.float32)
        """The layer statistics of the newest sample."""
        self.first: Floats = self.newest.copy()
        """First finite value of each layer statistic."""
        self._unknown = np.zeros(self.first.shape, bool)
        """Which of them are still to come."""
        self.highest: Floats = self.first.copy()
        self.lowest: Floats = self.first.copy()
        self.early: Floats = self.first.copy()
        """The last values seen within the first ten steps."""
        self._sample_steps: deque[int] = deque(maxlen=512)
        self.known_models = np.zeros(len(MODEL_METRICS), bool)
        self.known_layers = np.zeros(len(LAYER_METRICS), bool)

    def adopt(self, layout: Layout) -> None:
        """Rows change: what is known of a layer stays with its name.

        A model that begins to learn after others brings a loss of its own: a student's, say, once
        its teacher is trained.
        """
        old, self.layout = self.layout, layout
        if old is not None and _learning(layout) - _learning(old):
            self.loss = LossTrend()
        carry = layout.carry(old) if old is not None else np.full(len(layout.keys), -1)
        self.first = carried(self.first, carry, np.nan)
        self._unknown = ~np.isfinite(self.first)
        self.highest = carried(self.highest, carry, np.nan)
        self.lowest = carried(self.lowest, carry, np.nan)
        self.early = carried(self.early, carry, np.nan)
        self.flow.adopt(layout, carry)
        if old is not None and layout.begins_after(old):
            # What a second stage of a script gains or loses is no setback of the first one.
            self.loss, self.loss_was_high = LossTrend(), False
            self._stage_begins = True
        for model in layout.models:
            self.models.setdefault(model.name, ModelPast(model.name))

    def absorb(self, seen: Observation) -> None:
        """Fold one sample in."""
        layout = self.layout
        assert layout is not None
        self.step = seen.step
        self.samples += 1
        self.first_step = self.first_step or seen.step
        self._sample_steps.append(seen.step)
        since = -1 if self._stage_begins else 0  # those before belong to the stage before
        self._stage_begins = False
        self.loss.add(seen.losses[since:], seen.loss_steps[since:])
        self._watch_loss(seen)
        layers = self.newest = seen.layers
        finite = np.isfinite(layers)
        if self.samples < 50 or self.samples % 10 == 0:
            self.known_layers |= finite.any(axis=0)
        self.known_models |= np.isfinite(seen.models).any(axis=0)
        fresh = self._unknown & finite
        if np.count_nonzero(fresh):
            np.copyto(self.first, layers, where=fresh)
            self._unknown &= ~finite
        np.fmax(self.highest, layers, out=self.highest)
        np.fmin(self.lowest, layers, out=self.lowest)
        if seen.step <= EARLY_STEPS or self.samples == 1:
            self.early = np.where(finite, layers, self.early)
        self.flow.absorb(seen, layout)
        losses_broken = not np.isfinite(seen.losses).all()
        for i, model in enumerate(layout.models):
            past = self.models[model.name]
            row = seen.models[i]
            if not past.samples and self.samples > 1:
                past.born = seen.step - 1
            skill = float(row[MODEL_COLUMN["skill"]])
            if not layout.several_models:
                skill = self._fresh_skill(row, skill)
            past.best_of_now = float(np.fmax(skill, row[MODEL_COLUMN["skill"]]))
            past.absorb(seen.step, row, skill)
            past.objective.absorb(seen.step, row, layers, layout, i)
            past.feed.absorb(seen.step, row, seen.losses, layout, i)
            shape = layout.models[i].loss_target
            past.majority.add(
                seen.step,
                past.value("majority_share"),
                past.value("majority_predicted"),
                min(64, shape[0]) if shape else 0,
            )
            trained = layout.trained_of[i]
            updates = layers[trained, _UPDATE]
            largest = float(np.fmax.reduce(updates)) if len(trained) else math.nan
            past.absorb_update(seen.step, largest)
            past.absorb_pull(layers[trained, _PULL])
            outside = past.value("nonfinite") > 0 or losses_broken
            past.broken.absorb(seen.step, layers, layout.rows_of[i], trained, outside=outside)

    @property
    def sample_interval(self) -> int:
        """Steps from one sample to the next, over the last ten."""
        steps = self._sample_steps
        if len(steps) < 2:
            return 1
        last = min(len(steps) - 1, 10)
        return max(1, (steps[-1] - steps[-1 - last]) // last)

    def samples_at(self, step: int) -> int:
        """How many samples had been taken by `step`, as far back as is remembered."""
        return self.samples - sum(taken > step for taken in self._sample_steps)

    def _watch_loss(self, seen: Observation) -> None:
        assert self.layout is not None
        if self.layout.several_models or self.loss_was_high or not len(seen.models):
            return
        learner = self.layout.model_learns.index(True) if any(self.layout.model_learns) else 0
        constant = float(seen.models[learner, MODEL_COLUMN["loss_constant"]])
        level = float(np.fmax(constant, self.loss.first))
        self.loss_was_high = level > 0 and self.loss.above(1.5 * level, 5, 8)

    def _fresh_skill(self, row: Floats, smoothed: float) -> float:
        """Skill of the last eight steps; the smoothed one lags by ten samples.

        Where more than the loss function makes the loss, only the smoothed one is by the function.
        """
        if math.isfinite(float(row[MODEL_COLUMN["further_loss"]])):
            return smoothed
        constant = float(row[MODEL_COLUMN["loss_constant"]])
        if math.isfinite(constant) and constant > 0 and math.isfinite(self.loss.fresh):
            return 1 - self.loss.fresh / constant
        return smoothed

    def skill(self, model: str) -> float:
        """The better of the fresh and the smoothed skill; NaN where labels are unknown."""
        return self.models[model].best_of_now

    def solved(self, model: str) -> bool:
        """Nothing is left to learn: the weights may rest. A loss that began at 0 solved nothing."""
        if self.skill(model) > 0.9:
            return True
        return self.loss.first > 0 and self.loss.fresh <= 1e-3 * self.loss.first

    def piling_since(self, model: str) -> int | None:
        """Since when gradients of former steps lie in those of later ones; None where they do not.

        Three samples in a row whose step moved the weight, and most of those since. A loop that
        gives a sample for each of several accumulated batches shows steps that do not move, and is
        not judged; nor are several models, of which one's backward leaves gradients in the other.
        """
        layout, flow = self.layout, self.flow
        assert layout is not None
        if layout.several_models or not flow.piles:
            return None
        rows = flow.rows(layout, layout.index_of[model])
        piling = flow.kept_samples[rows] >= LASTING
        mostly = flow.piled_samples[rows] > flow.clear_samples[rows]
        kept = rows[(flow.piled_since[rows] >= 0) & (piling | mostly)]
        if not len(kept) or bool((flow.rests[kept] >= 2).any()):
            return None
        return int(flow.piled_since[kept].min())

    def learning(self, model: str) -> bool:
        """Whether information, skill or loss still improve, or it is too early to tell."""
        past = self.models[model]
        if past.judged_at == self.step:
            return past.learns
        past.judged_at, past.learns = self.step, self._learning(past)
        return past.learns

    def _learning(self, past: ModelPast) -> bool:
        window = max(100, self.step // 3)
        verdicts = [
            self._rising(past.information, window, 0.01),
            self._rising(past.sigma_share, window, 0.1),
            self._rising(past.variance, window, 0.01),
            past.skill.climbing(window, CLIMB),
            self.loss.falling,
        ]
        if all(verdict is None for verdict in verdicts):
            return True
        # A loss that sinks from above to that of a constant answer, while the answers say less and
        # less of the labels, unlearns its own noise (dropout of 0.9: 2.9 -> 2.3, information 0.19
        # -> 0.008).
        fades = past.information.fading(window) or past.sigma_share.fading(window)
        # Behind a very strong dropout it begins several times as high, and sinks for longer.
        lowest = -math.inf if self._dropout(past.name) >= STRONG_DROPOUT else -0.1
        if lowest < past.best_of_now < 0.02 and fades:
            return False
        return any(verdict is True for verdict in verdicts)

    def _rising(self, values: History, window: int, goal: float) -> bool | None:
        """As `History.rising`; behind a gap in the samples by all of the run."""
        verdict = values.rising(window, goal)
        return values.rising(self.step, goal) if verdict is None else verdict

    def _dropout(self, model: str) -> float:
        assert self.layout is not None
        return self.layout.models[self.layout.index_of[model]].dropout

    def stands(self, kind: str, model: str) -> bool:
        """Whether a flag of this kind stands with at least a warning."""
        severity = self.standing.get((kind, model), ("", 0, 0))[0]
        return severity in {"warning", "critical"}

    def output_gone(self, model: str) -> bool:
        """Whether this model's output is known to be worthless."""
        return self.stands("output-collapse", model) or self.stands("constant-predictor", model)


def carried(values: NDArray[np.float32], carry: NDArray[np.int64], new: float) -> Floats:
    """`values` with rows re-arranged as `carry` says; new rows hold `new`."""
    moved = np.full((len(carry), *values.shape[1:]), new, values.dtype)
    known = carry >= 0
    moved[known] = values[carry[known]]
    return moved

"""What the rules remember of a run: per model and per layer, at bounded size.

The engine folds each sample in once; rules and causes read. Everything follows from the samples
alone, so a recording replayed leaves the same memory.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN, LAYER_METRICS, MODEL_COLUMN, MODEL_METRICS
from deadband_monitor.rules.anew import Anew, as_first_seen
from deadband_monitor.rules.flow import LASTING, Flow
from deadband_monitor.rules.known import known_max
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.majority import rows_shown
from deadband_monitor.rules.model_past import LARGE_UPDATE, SMALL_UPDATE, ModelPast
from deadband_monitor.rules.settings import Settings
from deadband_monitor.rules.thrown import Thrown
from deadband_monitor.rules.trend import LossTrend
from deadband_monitor.state.series import Floats

if TYPE_CHECKING:
    from deadband_monitor.rules.base import Observation

EARLY_STEPS = 10
"""The first updates decide the verdict on the learning rate; clients sample every one of them."""
STRONG_DROPOUT = 0.9
"""Of ten units one is left, scaled up ten-fold: what comes out is noise at first (0.5 is usual)."""
CLIMB = 0.002
"""Skill that must be won within a third of the run to count: a full batch that closes in on a poor
optimum has no noise, and gains a millionth at each step."""

WIDER, WIDER_NATS = 1.3, 0.3
"""Entropy of a batch's labels over that of the last 2000, and nats above it, that no draw from the
same labels gives: their batches come to 1.05 at most, and to 0.2 nats with one row of 20 rare."""

_UPDATE = LAYER_COLUMN["update_ratio"]
_OUT = LAYER_COLUMN["out_rms"]
_PULL = LAYER_COLUMN["pull_to_zero"]
_SKILL = MODEL_COLUMN["skill"]


def _learning(layout: Layout) -> set[str]:
    return {
        model.name
        for model, learns in zip(layout.models, layout.model_learns, strict=True)
        if learns
    }


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
        self.thrown = Thrown()
        self._constant_known = False
        """Whether the sample before this told what a constant answer costs."""
        self.anew = Anew()
        self.models: dict[str, ModelPast] = {}
        self.settings: dict[str, Settings] = {}
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
        self.losses: list[float] = []
        """Every loss since the sample before the newest."""
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
            if model.name not in self.settings:
                self.settings[model.name] = Settings(layout.table, model)
            self.settings[model.name].change(self.step + 1, layout.table, model)

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
        # As plain numbers: each is read many times.
        self.losses, loss_steps = seen.losses.tolist(), seen.loss_steps.tolist()
        rows: list[list[float]] = seen.models.tolist()
        drawn = None
        if not layout.several_models:
            drawn = self.anew.begins_at(seen, self.losses, self.newest, layout)
        if drawn is not None:
            self._begin_anew(loss_steps[drawn])
            since = drawn
        self.loss.add(self.losses[since:], loss_steps[since:])
        learner = self._learner(rows)
        if learner is not None:
            if since:
                self.thrown.begin_anew()
            self._watch_thrown(learner, self.losses[since:], loss_steps[since:])
            if self._labels_widened(rows[0]):
                self.loss.begin_anew()
                self.thrown.begin_anew()
            self._watch_loss(learner)
        layers = self.newest = seen.layers
        finite = np.isfinite(layers)
        if self.samples < 50 or self.samples % 10 == 0:
            self.known_layers |= finite.any(axis=0)
        self.known_models |= np.logical_or.reduce(np.isfinite(seen.models))
        fresh = self._unknown & finite
        if np.count_nonzero(fresh):
            np.copyto(self.first, as_first_seen(layers, fresh), where=fresh)
            self._unknown &= ~finite
        np.fmax(self.highest, layers, out=self.highest)
        np.fmin(self.lowest, layers, out=self.lowest)
        if seen.step <= EARLY_STEPS or self.samples == 1:
            self.early = np.where(finite, layers, self.early)
        self.flow.absorb(seen, layout)
        losses_broken = not all(map(math.isfinite, self.losses))
        for i, model in enumerate(layout.models):
            past = self.models[model.name]
            values = rows[i]
            if not (past.samples or past.born) and self.samples > 1:
                past.born = seen.step - 1
            smoothed = skill = values[_SKILL]
            if not layout.several_models:
                skill = self._fresh_skill(values)
            past.tell_skill(known_max(skill, smoothed))
            past.absorb(seen.step, seen.models[i], values, skill)
            ran = math.isfinite(past.value("out_rms"))
            ran = ran or bool(np.isfinite(layers[layout.rows_of[i], _OUT]).any())
            past.idle_samples = 0 if ran else past.idle_samples + 1
            past.objective.absorb(seen.step, values, layers, layout, i)
            played = layout.several_models and self._plays_against(model.name)
            past.feed.absorb(seen.step, values, self.losses, layout, i, played=played)
            past.majority.add(
                seen.step,
                past.value("majority_share"),
                past.value("majority_predicted"),
                rows_shown(layout.models[i].loss_target),
            )
            trained = layout.trained_of[i]
            updates = layers[trained, _UPDATE]
            largest = float(np.fmax.reduce(updates)) if len(trained) else math.nan
            past.absorb_update(seen.step, largest)
            past.absorb_pull(seen.step, layers[trained, _PULL])
            # Of a step in which nothing ran, no loss was told either: it is not known, not broken.
            outside = past.value("nonfinite") > 0 or (losses_broken and ran)
            rows_of, giving = layout.rows_of[i], layout.giving_of[i]
            past.broken.absorb(seen.step, layers, rows_of, giving, outside=outside)

    def _plays_against(self, model: str) -> bool:
        """Whether another model makes what this one is to tell from the real."""
        return any(
            math.isfinite(other.latest("diversity"))
            for name, other in self.models.items()
            if name != model
        )

    def _begin_anew(self, step: int) -> None:
        """The weights were drawn again: what the run had come to is no measure of what follows."""
        self.loss, self.loss_was_high = LossTrend(), False
        self.thrown.begin_anew()
        for name, old in self.models.items():
            self.models[name] = new = ModelPast(name)
            new.born = step - 1
            new.objective, new.feed = old.objective, old.feed

    @property
    def sample_interval(self) -> int:
        """Steps from one sample to the next, over the last ten."""
        steps = self._sample_steps
        if len(steps) < 2:
            return 1
        last = min(len(steps) - 1, 10)
        return max(1, (steps[-1] - steps[-1 - last]) // last)

    def began(self, onset: int) -> int:
        """When what first showed in the sample of `onset` began.

        Samples may lie hundreds of steps apart, losses never: where the loss jumped or broke since
        the sample before, that was the moment.
        """
        before = max((taken for taken in self._sample_steps if taken < onset), default=0)
        if not before and self.samples > len(self._sample_steps):
            return onset  # too long ago to know
        known = [at for at in (self.loss.broken, self.loss.jumped) if at is not None]
        return min((at for at in known if before < at < onset), default=onset)

    def samples_at(self, step: int) -> int:
        """How many samples had been taken by `step`, as far back as is remembered."""
        return self.samples - sum(taken > step for taken in self._sample_steps)

    def _learner(self, rows: Sequence[Sequence[float]]) -> Sequence[float] | None:
        """The statistics of the one model that learns; None where several do."""
        assert self.layout is not None
        if self.layout.several_models or not rows:
            return None
        learns = self.layout.model_learns
        return rows[learns.index(True) if any(learns) else 0]

    def _watch_thrown(
        self, row: Sequence[float], losses: Sequence[float], steps: Sequence[int]
    ) -> None:
        if math.isfinite(row[MODEL_COLUMN["further_loss"]]):
            return  # a constant answer's loss is not known of what is added
        constant = row[MODEL_COLUMN["loss_constant"]]
        if not math.isfinite(constant):
            self.thrown.pause()  # the loss of another task, perhaps: not comparable
            self._constant_known = False
            return
        if not self._constant_known:
            # The labels were met at this step; the losses before it may be another task's.
            losses, steps, self._constant_known = losses[-1:], steps[-1:], True
        self.thrown.add(losses, steps, constant, row[MODEL_COLUMN["label_entropy"]])

    def _watch_loss(self, row: Sequence[float]) -> None:
        if self.loss_was_high:
            return
        level = known_max(row[MODEL_COLUMN["loss_constant"]], self.loss.first)
        self.loss_was_high = level > 0 and self.loss.above(1.5 * level, 5, 8)

    def _labels_widened(self, row: Sequence[float]) -> bool:
        """Classes have joined in mid-run: to know all of them is harder than what was known."""
        assert self.layout is not None
        model = self.models[self.layout.models[0].name]
        known, batch = row[MODEL_COLUMN["label_entropy"]], row[MODEL_COLUMN["batch_label_entropy"]]
        # At a sample every fifty steps the first batch of them is a tenth of what is known by then.
        before = model.latest("label_entropy")
        if model.samples > EARLY_STEPS and 0 < before < known:
            batch, known = batch * known / before, before
        return batch > WIDER and (batch - 1) * known > WIDER_NATS

    def _fresh_skill(self, row: Sequence[float]) -> float:
        """Skill of the last eight steps; the smoothed one lags by ten samples.

        Where more than the loss function makes the loss, only the smoothed one is by the function.
        """
        smoothed = row[_SKILL]
        if math.isfinite(row[MODEL_COLUMN["further_loss"]]):
            return smoothed
        constant = row[MODEL_COLUMN["loss_constant"]]
        if math.isfinite(constant) and constant > 0 and math.isfinite(self.loss.fresh):
            return 1 - self.loss.fresh / constant
        return smoothed

    def loss_is_all_of(self, model: ModelPast) -> bool:
        """Whether the run's loss is this model's loss function and nothing besides.

        Only then does a constant answer's loss say what it is worth.
        """
        assert self.layout is not None
        return math.isnan(model.latest("further_loss")) and not self.layout.several_models

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
        """Whether information, skill or loss still improve, or it is too early to tell.

        Asked anew once in a hundredth of the run, the distance of the points that it is read from.
        """
        past = self.models[model]
        if past.judged_at and self.step - past.judged_at < max(1, self.step // 100):
            return past.learns
        past.judged_at, past.learns = self.step, self._learning(past)
        return past.learns

    def _learning(self, past: ModelPast) -> bool:
        window = max(100, self.step // 3)
        # A loss that sinks from above to that of a constant answer, while the answers say less and
        # less of the labels, unlearns its own noise (dropout of 0.9: 2.9 -> 2.3, information 0.19
        # -> 0.008). Behind a very strong dropout it begins several times as high, and sinks longer.
        lowest = -math.inf if self.dropout(past.name) >= STRONG_DROPOUT else -0.1
        if lowest < past.best_of_now < 0.02 and (
            past.information.fading(window) or past.sigma_share.fading(window)
        ):
            return False
        told = False
        for verdict in self._signs_of_learning(past, window):
            if verdict:
                return True
            told = told or verdict is False
        return not told

    def _signs_of_learning(self, past: ModelPast, window: int) -> Iterator[bool | None]:
        """Whether each of them tells of it, the cheap ones first; None: it cannot tell."""
        yield self.loss.falling
        yield past.skill.climbing(min(window, self.step - past.born), CLIMB)  # of a young run, all
        for values, goal in past.tells:
            yield values.rising_lately(window, self.step, goal)

    def dropout(self, model: str) -> float:
        """Largest share of units that the model drops in training."""
        assert self.layout is not None
        return self.layout.model(model).dropout

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


__all__ = ["EARLY_STEPS", "LARGE_UPDATE", "SMALL_UPDATE", "ModelPast", "Past", "carried"]

"""The rule on what is learnt by heart: the loss of evaluation passes against that of training."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean

from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.judges import Judgement, ModelRule
from deadband_monitor.rules.past import ModelPast, Past


@dataclass(slots=True)
class _Passes:
    """The evaluation passes of one model."""

    recent: deque[float] = field(default_factory=lambda: deque(maxlen=5))
    steps: deque[int] = field(default_factory=lambda: deque(maxlen=5))
    rises: deque[float] = field(default_factory=lambda: deque(maxlen=30))
    """How far each pass lay above the one before, 0 where it lay below."""
    seen: int = 0
    first: float = math.nan
    best: float = math.inf
    """Lowest mean of three passes in a row."""
    best_step: int = 0
    train_at_best: float = math.nan
    judged: Judgement | None = None

    @property
    def now(self) -> float:
        """Mean of the last three."""
        return fmean(list(self.recent)[-3:])

    @property
    def noise(self) -> float:
        """Standard error of a mean of three passes.

        Rises alone: a loss that falls fast is no noise. Squares, not ranks: a dozen rows give a
        tiny loss most of the time and a large one now and then.
        """
        if len(self.rises) < 3:
            return math.inf
        return math.sqrt(fmean(rise * rise for rise in self.rises) / 3)


class Overfitting(ModelRule):
    """Better and better on the training data, worse and worse (or no good) on the other.

    Judged at evaluation passes only and from five of them on, by means of three: one noisy pass
    says nothing. A loss that rises a little while training goes on is everyday (confident answers
    that are wrong cost more than they did) and a note.
    """

    kind = "overfitting"
    samples_to_open = 1
    samples_to_close = 1
    needs = ("eval_loss",)

    PASSES = 5
    GIVEN_BACK = 0.25
    """Share of the best gain on the other data that is lost again: a warning. Early stopping is
    usually set off by far less (Prechelt 1998: 5 % above the lowest loss)."""
    HALF = 0.5
    """Skill on the other data over skill in training, below which most was learnt by heart."""
    APART = 0.4
    """Skill between the two that makes it a matter of more than a noisy table: of 160 rows, one
    label in eight of them wrong, a sound network of 32 units knew 0.35 more after 15 passes, at its
    best loss on the other rows."""

    def __init__(self) -> None:
        super().__init__()
        self._passes: dict[str, _Passes] = {}

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        loss, train = model.value("eval_loss"), past.loss.level
        if not math.isfinite(loss) or not math.isfinite(train):
            return None
        passes = self._passes.setdefault(model.name, _Passes())
        if passes.recent:
            passes.rises.append(max(0.0, loss - passes.recent[-1]))
        else:
            passes.first = loss
        passes.recent.append(loss)
        passes.steps.append(seen.step)
        passes.seen += 1
        if len(passes.recent) >= 3 and passes.now < passes.best:
            passes.best, passes.best_step = passes.now, passes.steps[-2]
            passes.train_at_best = train
        if passes.seen < self.PASSES:
            return Judgement(active=False, clear=True)
        return self._judge(passes, train, model.latest("loss_constant"))

    def _judge(self, passes: _Passes, train: float, constant: float) -> Judgement:
        now, best = passes.now, passes.best
        level = constant if math.isfinite(constant) and constant > 0 else passes.first
        gain = max(level - best, 0.0)
        rise = now - best
        # Three standard errors: the best of many means lies low by chance.
        sure = rise > 3 * passes.noise
        falls = train < 0.9 * passes.train_at_best
        # Where no pass was ever worth more than a constant answer, nothing that is gained in
        # training is more than its rows: labels at random are learnt by heart slowly.
        apart = now > 1.5 * max(train, 0.0) or best >= constant > train
        risen = sure and falls and apart and rise > 0.1 * abs(best)
        level = level or math.nan  # a loss that began at nought is no measure
        skill, learnt = 1 - fmean(passes.recent) / level, 1 - train / level
        # Far behind, and for good: the last five passes do not show it catching up.
        older = fmean(list(passes.recent)[:3])
        catching_up = now < older - passes.noise
        behind = learnt - skill > self.APART and skill < self.HALF * learnt
        behind = behind and apart and not catching_up
        behind = behind and (learnt - skill) * level > 3 * passes.noise
        # By all five: three evaluations of a dozen rows can miss by chance (0.5, 0.7 and 1.0 in a
        # row were seen in a solved model whose usual one is 0.002).
        lost = fmean(passes.recent) - best
        grave = (risen and lost > self.GIVEN_BACK * max(gain, 0.05 * abs(level))) or behind
        words = f"the loss is {now:.3g} on data that is not trained on, {train:.3g} in training"
        if risen:
            words += f"; it was {best:.3g} at step {passes.best_step} and rises since"
        return Judgement(
            active=risen or behind,
            clear=not risen and not (learnt > 0.3 and skill < 1.2 * self.HALF * learnt),
            severity="warning" if grave else "info",
            message=words,
            evidence={"eval_loss": now, "loss": train, "best_eval_loss": best},
            onset_step=passes.best_step if risen else passes.steps[0],
        )

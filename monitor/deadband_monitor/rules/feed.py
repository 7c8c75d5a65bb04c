"""What one model is fed over time: does it change for the worse in mid-run, is it sorted by label?

A run that begins with one batch, constant inputs or raw scales may be meant so, and other rules
speak of it. Here is what a run's own start makes odd: the loader that hands out one batch for ever
after a thousand good ones, inputs that turn constant, scales that jump.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from enum import Enum
from statistics import median

import numpy as np

from deadband_monitor.metrics import MODEL_COLUMN
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.majority import MOST_ROWS
from deadband_monitor.rules.mixture import FEWEST_OTHERS, HEALTHY_START, LASTING, Mixture, Spell

HEAVY_TAILS = 20.0
"""Kurtosis of targets (normal 3, Laplace 6) from which a few of them rule a squared loss."""
NEW_BATCH = 0.05
SAME_BATCH = 0.99
FRESH_BATCH = 0.5
"""Share of a batch's rows that the sample before held too: nearly all, and less than half. Draws of
64 from 1797 rows share 0.04, draws of 32 from 150 share 0.2."""
OF_KINDS, KINDS = 0.5, 64
"""Share of rows that repeat another of their batch, or one before where a batch is one row of so
many different ones, from which rows are of few kinds: the cells of a maze that an agent walks and
at times stands still in, the letters of a text."""
CONSTANT = 1e-6
"""Dependence ratio of inputs that are all the same."""
SHIFT = 0.5
"""Decades (a factor of 3) by which a scale must leave what was usual, and ..."""
SHIFT_OF_RANGE = 4.0
"""... as many times the whole range it had moved in: standardised batches stay within 0.05 decades,
padded or curriculum data move more and are given more."""
BY_CHANCE = 1e-5
"""Of batches that came again so often by chance: once in a hundred runs of a thousand samples."""
SMOOTH = 0.85
"""Share of steps on which the loss fell. A fresh batch each step makes it fall and rise about
equally often (20 steps of a fair coin reach 0.85 once in 700); one batch learnt by heart falls."""
COMES_AND_GOES = 2
"""Times that constant inputs were followed by others, from which they belong to the loop: a decoder
that now and then starts by itself, all of its rows with the same first token. What a loader has
lost does not come back."""
ROSE = 2.0
"""Times the largest of the last losses, of a loss that is startled by what it is given."""


STARTLED = 20
"""Samples for which a loss may have been so: some statistics are told at each tenth sample only."""


class Change(Enum):
    """How what is fed changed."""

    REPEATED = "repeated"
    CONSTANT = "constant"
    NONFINITE = "nonfinite"
    RESCALED = "rescaled"
    LABELS = "labels"
    TARGETS = "targets"
    PAIRS = "pairs"


_COLUMNS = {
    name: MODEL_COLUMN[name]
    for name in (
        "in_repeat",
        "in_variance",
        "in_rms",
        "in_constant",
        "in_duplicates",
        "nonfinite",
        "label_entropy",
        "batch_label_entropy",
        "majority_share",
        "in_distinct",
        "in_rows",
        "target_mean",
        "target_sd",
        "target_kurtosis",
        "neighbour_agreement",
    )
}


class Usual:
    """The decades that a scale has moved in, and whether it has left them."""

    def __init__(self) -> None:
        self._values: deque[float] = deque(maxlen=32)
        self.out = 0
        """Samples in a row that lie out of it."""
        self.since = 0
        self.factor = 1.0

    def add(self, step: int, value: float, *, noticed: bool = True) -> None:
        """Take the next value; one that is not positive and finite says nothing.

        Args:
            step: whose it is.
            value: a scale.
            noticed: what a rise does to a run is seen; one that does nothing is what was usual.
        """
        if not value > 0 or math.isinf(value):
            return
        level = math.log10(value)
        # What lies near one of the usual ones cannot lie far outside of them all.
        near = bool(self._values) and abs(level - self._values[-1]) <= SHIFT
        if not near and len(self._values) >= HEALTHY_START:
            low, high = min(self._values), max(self._values)
            beyond = max(low - level, level - high)
            rises = self.out == 0 and level > high
            if beyond > max(SHIFT, SHIFT_OF_RANGE * (high - low)) and (noticed or not rises):
                if self.out == 0:
                    self.since = step
                self.out += 1
                self.factor = 10 ** (level - median(self._values))
                return
        self.out = 0
        self._values.append(level)


APART = 0.05
"""Fall of the neighbours' agreement below all it was before that counts with another symptom: of
2000 comparisons it strays by 0.02 at most."""
SWINGS = 2.0
"""... and as many times the range it had moved in."""
FAR_APART = 0.25
"""Fall, as a share of its level, that is a symptom of its own."""


class Pairing:
    """Whether labels that went with their inputs stopped to: a loader that shuffles one of the two.

    A property of the data, whatever the model makes of them. The agreement is a mean over some two
    thousand comparisons, so it leaves its level slowly, and the step at which it begins to counts.
    """

    def __init__(self) -> None:
        self._values: deque[tuple[int, float]] = deque(maxlen=96)
        """Steps and agreements; the older half is what is usual."""
        self._usual = (0.0, 0.0)
        """Lowest agreement and range of it, before it fell."""
        self.fallen_since: int | None = None
        """When the agreement left its level, once it lies well below."""
        self.samples = 0
        """Samples in a row of which it lay `FAR_APART` below."""

    def add(self, step: int, agreement: float) -> None:
        """Take the agreement of one sample."""
        if not math.isfinite(agreement):
            return
        if self.fallen_since is None:
            self._values.append((step, agreement))
            self._look(agreement)
        low, swing = self._usual
        if self.fallen_since is None:
            return
        if agreement >= low - max(swing, APART / 2):
            self.fallen_since, self.samples = None, 0
            self._values.clear()
            return
        far = agreement < (1 - FAR_APART) * low - SWINGS * swing
        self.samples = self.samples + 1 if far else 0

    def _look(self, agreement: float) -> None:
        if len(self._values) < 2 * HEALTHY_START:
            return
        if agreement >= self._values[0][1] - APART:
            return  # nor does it lie so far below the lowest
        older = [value for _, value in list(self._values)[: len(self._values) // 2]]
        low, swing = min(older), max(older) - min(older)
        if low < 2 * APART or agreement >= low - max(APART, SWINGS * swing):
            return
        self._usual = low, swing
        for step, value in reversed(self._values):
            if value >= low - APART / 10:
                break
            self.fallen_since = step


class Feed:
    """What one model is fed."""

    def __init__(self) -> None:
        self.change: Change | None = None
        """A change for the worse that stands."""
        self.since = 0
        self.factor = 1.0
        """Of a scale that jumped."""
        self.broken_step: int | None = None
        """First sample whose inputs held NaN or infinity."""
        self._fresh = 0
        self._again = 0
        """Batches that were the ones before and were followed by others."""
        self._repeat = Spell()
        self._gaps = 0
        """Greatest common divisor of the steps between the samples of a repeated batch."""
        self._learnt = False
        """The loss was seen to fall on that batch as it does only on one; learnt by heart, it
        swings about its floor."""
        self._losses: deque[float] = deque(maxlen=21)
        self._calm = STARTLED
        """Samples since the loss last rose at once."""
        self._varied = 0
        self._constant = Spell()
        self._plain = 0
        self._blank = Spell()
        self.mixture = Mixture()
        self._scale = Usual()
        self._targets = Usual()
        self.pairing = Pairing()
        self._measured = False
        self._last_step = 0
        self._stride = 0
        """Greatest common divisor of the steps between samples since the rows were last new."""
        self._widest = 0
        """Steps between two samples, at the most; 1 where no step was left out."""
        self._part = False
        """Batches have more rows than are copied; where nobody shuffles, always the same ones."""
        self._mingled = 0
        """Samples since then that held a part of the rows of the sample before."""
        self._together = (0, 0)
        """The step before the first of them, and how many they are."""

    def absorb(
        self,
        step: int,
        now: Sequence[float],
        losses: Sequence[float],
        layout: Layout,
        index: int,
        *,
        played: bool = False,
    ) -> None:
        """Fold one sample in; `now` is the model's row of it, played: against a generator."""
        value = {name: now[column] for name, column in _COLUMNS.items()}
        known = [loss for loss in losses if math.isfinite(loss)]
        rose = bool(known and self._losses) and max(known) > ROSE * max(self._losses)
        self._losses.extend(known)
        self._calm = 0 if rose else self._calm + 1
        self._follow_finite(step, value)
        self._follow_constant(step, value)
        finite = math.isfinite(value["in_rms"]) or not value["nonfinite"] > 0
        if finite and not self._constant.samples and not self._blank.samples:
            # Rows of NaN are alike for no loader, and constant ones in any two batches.
            self._follow_repeat(step, value)
        shape = layout.models[index].loss_target
        self._part = bool(shape) and shape[0] > MOST_ROWS
        if not played:  # a batch is all real or all made there, and so are its labels
            self.mixture.add(step, value, layout.models[index], rose=rose)
        others = min(MOST_ROWS, shape[0]) * (1 - value["majority_share"]) if shape else math.nan
        # With a handful of rare rows the agreement is that of a few pairs, and goes where they go.
        # Nor of a few targets far out: they rule the agreement of all.
        if not others < FEWEST_OTHERS and not value["target_kurtosis"] > HEAVY_TAILS:
            self.pairing.add(step, value["neighbour_agreement"])
        if not layout.several_models:
            # A discriminator is fed by its generator, whose scale grows a hundredfold at first.
            self._scale.add(step, value["in_rms"])
            # Answers to larger targets are wrong at once. Targets that a network makes for itself,
            # of its own slope or of what it holds a later state to be worth, grow as it learns.
            self._targets.add(step, value["target_sd"], noticed=self._calm < STARTLED)
        self._conclude()
        self._follow_stride(step, value["in_repeat"])
        if self._last_step:
            self._widest = max(self._widest, step - self._last_step)
        self._last_step = step

    def _conclude(self) -> None:
        for change, since, samples in (
            (Change.CONSTANT, self._constant.since, _lost(self._constant, self._varied)),
            (Change.CONSTANT, self._blank.since, _lost(self._blank, self._plain)),
            (Change.REPEATED, self._repeat.since, self._repeat.samples),
            (Change.RESCALED, self._scale.since, self._scale.out),
            (Change.LABELS, self.mixture.one_label.since, self.mixture.one_label.samples),
            (Change.TARGETS, self._targets.since, self._targets.out),
            (Change.PAIRS, self.pairing.fallen_since or 0, self.pairing.samples),
        ):
            if samples < LASTING or (change is Change.REPEATED and not self._truly_repeated):
                continue
            self.change, self.since = change, since
            self.factor = (self._targets if change is Change.TARGETS else self._scale).factor
            return
        self.change = None

    @property
    def constant_since(self) -> int | None:
        """Since when inputs that had varied for good are constant, lasting or not."""
        return self._constant.since if _lost(self._constant, self._varied) else None

    @property
    def odd_scale(self) -> tuple[int, float] | None:
        """Since when and by what factor the newest inputs are out of scale, lasting or not."""
        return (self._scale.since, self._scale.factor) if self._scale.out else None

    @property
    def seen_whole(self) -> bool:
        """The rows of the samples are those of their steps, and of the ones between, as well."""
        if self._part:
            return False
        # Two batches that take turns have no row in common, and are all that there is.
        without_gaps = self._widest == 1
        return without_gaps or self._stride == 1 or self._mingled >= LASTING or self._smooth

    @property
    def steps_a_sample(self) -> float:
        """Steps that showed the rows of the samples, for each of these; 1 where not known.

        What the first ten steps and every later sample hold in common, those between held too.
        """
        before, samples = self._together
        return (self._last_step - before) / samples if self._stride == 1 and samples else 1.0

    @property
    def _truly_repeated(self) -> bool:
        """Neither an unshuffled loader whose round fits the cadence of the samples, nor chance.

        Batches of a letter or two are now and then those before.
        """
        again = self._again / (self._again + self._fresh)
        return (self._gaps == 1 or self._learnt) and again**self._repeat.samples < BY_CHANCE

    @property
    def _smooth(self) -> bool:
        """The loss fell on nearly every one of the last steps."""
        falls = np.diff(np.array(self._losses))
        return len(falls) == 20 and bool((falls <= 0).mean() >= SMOOTH)

    def _follow_stride(self, step: int, share: float) -> None:
        if share < NEW_BATCH or not self._last_step:
            self._stride = self._mingled = 0
            self._together = step - 1, 1
            return
        self._together = self._together[0], self._together[1] + 1
        self._stride = math.gcd(self._stride, step - self._last_step)
        self._mingled += share < SAME_BATCH

    def _follow_finite(self, step: int, value: dict[str, float]) -> None:
        # Rows are compared whether finite or not; moments are given of finite inputs alone.
        if math.isfinite(value["in_rms"]):
            self._measured = True
        elif (
            self.broken_step is None
            and value["nonfinite"] > 0
            and math.isfinite(value["in_constant"])
        ):
            self.broken_step = step if self._measured else None

    def _follow_repeat(self, step: int, value: dict[str, float]) -> None:
        share = value["in_repeat"]
        if not math.isfinite(share):
            return
        single = math.isnan(value["in_duplicates"]) and not self._repeat.samples
        # Of the first 64 rows nobody knows yet how many there are.
        kinds = not (value["in_rows"] > KINDS or value["in_distinct"] >= 1 - OF_KINDS)
        come_again = single and kinds
        if value["in_duplicates"] > OF_KINDS or come_again:
            share = min(share, OF_KINDS)  # neither new nor the same: it may be so by chance
        if share < FRESH_BATCH:
            self._fresh += 1
        repeated = share >= SAME_BATCH and self._fresh >= HEALTHY_START
        if not repeated:
            self._again += self._repeat.samples
        gap = step - self._last_step
        self._gaps = math.gcd(self._gaps, gap) if self._repeat.samples else gap
        self._repeat.follow(repeated, self._last_step)
        self._learnt = repeated and (self._learnt or self._smooth)

    def _follow_constant(self, step: int, value: dict[str, float]) -> None:
        rho = value["in_variance"]
        if rho > 100 * CONSTANT:
            self._varied += 1
        if math.isfinite(rho) or value["in_rms"] == 0:
            alike = rho < CONSTANT or value["in_rms"] == 0
            self._constant.follow(alike, step)
        share = value["in_constant"]
        if share < 0.5:
            self._plain += 1
        if math.isfinite(share):
            self._blank.follow(share >= 0.9, step)


def _lost(constant: Spell, others: int) -> int:
    """Samples in a row whose inputs were constant, where they had been others for good."""
    usual = others < HEALTHY_START or constant.ended >= COMES_AND_GOES
    return 0 if usual else constant.samples

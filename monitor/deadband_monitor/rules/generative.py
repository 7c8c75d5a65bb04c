"""Parts of `representation-collapse`: generators, latents that decoders draw from, routers."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.judges import Judgement, ModelRule
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.rules.structure import (
    Latent,
    draws,
    experts,
    judges_others,
    latents,
    routers,
)
from deadband_monitor.rules.trend import History

KIND = "representation-collapse"
_GRAD, _CHOICE = LAYER_COLUMN["grad_rms"], LAYER_COLUMN["choice_entropy"]
_RMS = LAYER_COLUMN["out_rms"]

HALF = 0.5
"""Share of idle experts from which the width that was paid for is not there ..."""
UNEVEN = 0.5
"""... or entropy of the choices, where some are idle: fewer than three of eight do all. Routers of
healthy runs stay above 0.8 of what they begin with."""
ENOUGH = 0.5
"""Skill from which those that are left serve."""

ALIKE = 0.3
"""Mean distance of generated samples over that of real ones. Healthy GANs end at 0.95 to 1.0 and
dip to 0.4 on the way; collapsed ones lie at 0.05 to 0.33 or swing from 0.1 to 1.9."""
WILD = 10.0
"""And the other way: samples that lie ten times as far apart as the real ones for as long were left
to themselves; healthy ones pass 3 in their first steps at the most."""
FAR_OUT = 10.0
"""Root mean square of what is made over that of the real samples: they lie elsewhere, however far
apart. In 12 healthy GANs it never passed 3.7; of a generator forty times as quick as its critic,
which flies past the real samples from one side to the other, the median was 30."""
APART = 0.5
"""From here on a generator is known to have made different samples."""
AS_REAL = (0.7, 1.4)
"""Between these lies the middle of the window, and of its newest quarter, where samples are as
different as the real ones: only that takes back what was called. Generators whose rate is a hundred
times the critic's fly past the real samples and come back to 0.5, on their way to 0.1."""
NATS = 0.01
"""Divergence of a latent from its prior, nats a unit: healthy latents hold 0.3 and more, the
all-inactive ones of collapsed runs 1e-3 and less."""
TOGETHER = 0.1
"""The same of all units together, below which none need be told inactive: what a latent says of its
input is no more than this, and to tell one of two inputs from the other takes ln 2. A unit at the
edge of counting as active, one sample and not the next, is no life."""
ONE = 0.3
"""Entropy of the choices over ln of the experts: 0.29 is 95 : 5 between two, 0.24 is 90 : 10 among
four."""


class MadeAlike(ModelRule):
    """A generator makes nearly the same sample from any noise, for long or again and again."""

    kind = KIND
    needs = ("diversity",)
    grace_steps = 200

    WINDOW_STEPS = 200
    """Looked back so far: fakes are alike in more than half of it. At the start they always are."""
    FEWEST = 6
    """Values that the window holds at least, however far apart: where the generator takes a dozen
    steps for one of the discriminator's, few samples show real data beside the made."""
    START_STEPS = 300
    """Of a generator that never made different samples."""

    def __init__(self) -> None:
        super().__init__()
        self._recent: dict[str, deque[tuple[int, float, float]]] = {}
        """Step, diversity, and how far out the samples lie."""
        self._trend: dict[str, History] = {}
        self._up_at: dict[str, int] = {}
        self._first_low: dict[str, int] = {}

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        diversity = model.value("diversity")
        layout = past.layout
        assert layout is not None
        judges = [
            other.name
            for i, other in enumerate(layout.models)
            if other.name != model.name and judges_others(layout, i)
        ]
        if math.isnan(diversity) or not judges:
            return None
        # Each judge is shown the real samples, or what this one makes: then it lies at 1.
        real = max(past.models[name].value("in_rms") for name in judges)
        away = model.value("out_rms") / real if real > 0 else math.nan
        recent = self._recent.setdefault(model.name, deque())
        recent.append((seen.step, diversity, away))
        while len(recent) > self.FEWEST and seen.step - recent[0][0] > self.WINDOW_STEPS:
            recent.popleft()
        trend = self._trend.setdefault(model.name, History())
        trend.add(seen.step, diversity)
        last = [value for _, value, _ in list(recent)[-3:]]
        up = model.name in self._up_at
        if not up and len(last) == 3 and min(last) >= APART:
            self._up_at[model.name], up = seen.step, True
            recent.clear()  # how it began is no collapse
            recent.append((seen.step, diversity, away))
        low = [step for step, value, _ in recent if value < ALIKE]
        share = len(low) / len(recent)
        spanned = recent[-1][0] - recent[0][0] >= 0.9 * self.WINDOW_STEPS
        mostly = share > 0.5 and spanned and len(recent) >= 4
        if spanned and len(recent) >= 4 and seen.step >= self.START_STEPS:
            far = min(value for _, value, _ in recent)
            if far > WILD:
                return self._runaway(recent, far, diversity)
            elsewhere = [step for step, _, out in recent if out > FAR_OUT]
            lost = sum(out > FAR_OUT or value < ALIKE for _, value, out in recent)
            if len(elsewhere) > 0.25 * len(recent) and lost > 0.5 * len(recent):
                return self._elsewhere(elsewhere[0], away, diversity)
        if share == 0:
            self._first_low.pop(model.name, None)
        elif diversity < ALIKE:
            self._first_low.setdefault(model.name, seen.step)
        # Once past the mark it rises to nothing any more; what swings comes back below within it.
        lately = [value for step, value, _ in recent if 4 * (seen.step - step) < self.WINDOW_STEPS]
        risen = len(lately) >= 4 and min(lately) >= ALIKE
        rising = trend.rising(max(100, seen.step // 3), ALIKE) is True
        growing = not up and (rising or risen)
        grace = self.grace_steps if up else self.START_STEPS
        values = [value for _, value, _ in recent]
        swings = max(values) > 3 * ALIKE
        called = past.stands(self.kind, model.name)
        return Judgement(
            active=mostly and seen.step >= grace and not growing,
            clear=share < 0.1 and diversity >= ALIKE and (not called or _as_real(values, lately)),
            severity="critical" if max(values) < ALIKE else "warning",
            message=(
                f"what it makes swings between alike and wild: diversity {min(values):.2g} to "
                f"{max(values):.2g} of the real samples'"
                if swings
                else f"its samples are nearly alike: {diversity:.2g} of the real ones' distance"
            ),
            evidence={"diversity": diversity, "alike_share": share, "most_diverse": max(values)},
            onset_step=self._first_low.get(model.name, seen.step),
        )

    @staticmethod
    def _elsewhere(since: int, away: float, diversity: float) -> Judgement:
        """The critic does not follow: what is made lies far off, and is alike in between."""
        return Judgement(
            active=True,
            clear=False,
            severity="warning",
            message="its samples fly past the real ones, or are alike: they lie "
            f"{away:.3g} times as far from zero as those",
            evidence={"diversity": diversity, "far_out": away},
            onset_step=since,
        )

    @staticmethod
    def _runaway(
        recent: deque[tuple[int, float, float]], least: float, diversity: float
    ) -> Judgement:
        """The other model does not hold it: what is made leaves the real samples behind."""
        return Judgement(
            active=True,
            clear=False,
            severity="warning",
            message=f"its samples run away from the real ones: they lie at least {least:.3g} times "
            f"as far apart for {recent[-1][0] - recent[0][0]} steps",
            evidence={"diversity": diversity, "least_diverse": least},
            onset_step=recent[0][0],
        )


def _as_real(*spans: list[float]) -> bool:
    least, most = AS_REAL
    return all(least <= median(span) <= most for span in spans)


class EmptyLatent(ModelRule):
    """A latent that equals its prior for every input: the decoder draws pure noise.

    That noise is drawn at all is read from the decoder's first layer: its outputs vary far more
    than the means could make them.
    """

    kind = KIND
    needs = ("active_units",)
    grace_steps = 100

    LASTING_STEPS = 50
    BATCHES = 20
    """Steps whose middle is what the latent says: single ones scatter by a third about it."""
    LOST_STEPS = 400
    """Empty for as long, for more than half of the run and without a sign of waking: a failure. A
    weight of the prior that is warmed up leaves a latent empty at no time, one that is annealed in
    cycles for less."""

    def __init__(self) -> None:
        super().__init__()
        self._empty_since: dict[str, int] = {}
        self._trend: dict[str, History] = {}
        self._recent: dict[str, deque[tuple[int, float]]] = {}

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        layout = past.layout
        assert layout is not None
        for latent in latents(layout, layout.index_of[model.name]):
            active = float(seen.layers[latent.mean, LAYER_COLUMN["active_units"]])
            nats = _nats(seen, latent)
            if math.isfinite(active) and math.isfinite(nats) and draws(seen.layers, latent):
                return self._judged(seen, past, model, latent, active, nats)
        return None

    def _judged(
        self,
        seen: Observation,
        past: Past,
        model: ModelPast,
        latent: Latent,
        active: float,
        nats: float,
    ) -> Judgement:
        layout = past.layout
        assert layout is not None
        trend = self._trend.setdefault(model.name, History())
        trend.add(seen.step, nats)
        # A batch is but a draw: one that says a little more is no sign of life.
        recent = self._recent.setdefault(model.name, deque())
        recent.append((seen.step, nats))
        while seen.step - recent[0][0] >= self.BATCHES:
            recent.popleft()
        nats = median(value for _, value in recent)
        empty = nats < NATS and (active == 0 or nats * latent.units < TOGETHER)
        if not empty:
            self._empty_since.pop(model.name, None)
        since = self._empty_since.setdefault(model.name, seen.step) if empty else seen.step
        waking = trend.rising(max(100, seen.step // 3), NATS) is True
        lasted = seen.step - since
        lost = lasted >= max(self.LOST_STEPS, seen.step / 2)
        return Judgement(
            active=empty
            and lasted >= self.LASTING_STEPS
            and seen.step >= self.grace_steps
            and not waking,
            clear=not empty and (active > 0 or nats > 2 * NATS),
            severity="critical" if lost else "warning",
            layer=layout.layers[latent.mean].name,
            message=(
                f"the {latent.units} latent units say nothing of the input: about "
                f"{nats * latent.units:.1g} nats in all"
            ),
            evidence={"active_units": active, "nats_a_unit": nats, "latents": float(latent.units)},
            onset_step=since if empty else None,
        )


class Idle:
    """Experts that were given nothing for long: their weights' gradient is exactly zero."""

    LASTING_STEPS = 200
    """An expert that is given one row in a thousand is given one in 200 batches of 32 by all but
    0.2 %."""
    FEWEST = 8
    """Samples in that time: where they are far apart an expert may have had inputs between them."""

    def __init__(self, rows: list[list[int]]) -> None:
        self._rows = rows
        """Weights of each expert."""
        self._since = [-1] * len(rows)
        self._samples = [0] * len(rows)

    def share(self, seen: Observation) -> float:
        """Share of the experts that are idle for so long."""
        grads = [seen.layers[rows, _GRAD] for rows in self._rows]
        fed = [bool(np.count_nonzero(each > 0)) for each in grads]
        if not any(fed):
            return 0.0
        for number, given in enumerate(fed):
            if given:
                self._since[number] = -1
            elif self._since[number] < 0:
                self._since[number], self._samples[number] = seen.step, 0
            self._samples[number] += 1
        idle = [
            0 <= since <= seen.step - self.LASTING_STEPS and samples >= self.FEWEST
            for since, samples in zip(self._since, self._samples, strict=True)
        ]
        return sum(idle) / len(idle) if idle else 0.0


class OneExpert(ModelRule):
    """A router sends every input to the same expert, or leaves half of them without any."""

    kind = KIND
    needs = ("choice_entropy",)
    grace_steps = 20

    LASTING_STEPS = 100
    """Early on the experts are alike and a top-1 choice is arbitrary."""
    CERTAIN = 0.8
    CERTAIN_STEPS = 20
    """Not arbitrary is a router that is sure, and of one expert: its choice has hardly a gradient
    left. Healthy ones begin with 1 / E and up to 0.64 of the probability on the likeliest."""
    EVEN = 0.7
    """Entropy of the choices above which, if it lasts, it has recovered; healthy ones stay above
    0.73."""

    def __init__(self) -> None:
        super().__init__()
        self._layout: Layout | None = None
        self._routers: list[list[int]] = []
        self._one_since: dict[int, int] = {}
        self._uneven_at: dict[int, int] = {}
        """Router's row -> the last step at which its load was uneven."""
        self._idle: dict[int, Idle] = {}
        """By the row of the router."""

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        layout = past.layout
        assert layout is not None
        if layout is not self._layout:
            self._layout, self._one_since, self._uneven_at = layout, {}, {}
            self._routers = [routers(layout, i) for i in range(len(layout.models))]
            self._idle = {
                row: Idle(experts(layout, i, layout.layers[row].units))
                for i, rows in enumerate(self._routers)
                for row in rows
            }
        rows = self._routers[layout.index_of[model.name]]
        if not rows:
            return None
        entropies = seen.layers[rows, LAYER_COLUMN["choice_entropy"]]
        if not np.isfinite(entropies).any():
            return None
        for row, entropy in zip(rows, entropies.tolist(), strict=True):
            if entropy < self.EVEN:
                self._uneven_at[row] = seen.step
            if entropy >= ONE:
                self._one_since.pop(row, None)
            elif entropy < ONE:
                self._one_since.setdefault(row, seen.step)
        row = int(rows[int(np.nanargmin(entropies))])
        entropy = float(np.nanmin(entropies))
        since = self._one_since.get(row, seen.step)
        units = layout.layers[row].units
        # The root of the sum of the squares: the likeliest one's probability where that is large.
        certain = float(seen.layers[row, _RMS]) * math.sqrt(units) > self.CERTAIN
        patience = self.CERTAIN_STEPS if certain else self.LASTING_STEPS
        lasting = seen.step - since >= patience
        idle = {each: self._idle[each].share(seen) for each in rows}
        emptiest = max(rows, key=idle.__getitem__)
        share, uneven = idle[emptiest], float(seen.layers[emptiest, _CHOICE]) < UNEVEN
        if not (entropy < ONE and lasting) and (share >= HALF or (share > 0 and uneven)):
            return Judgement(
                # Few experts may be all that the task needs.
                active=not past.skill(model.name) > ENOUGH,
                clear=False,
                layer=layout.layers[emptiest].name,
                message=f"{idle[emptiest]:.0%} of {layout.layers[emptiest].units} experts were "
                f"given no input for {Idle.LASTING_STEPS} steps",
                evidence={
                    "choice_entropy": float(seen.layers[emptiest, _CHOICE]),
                    "experts": float(layout.layers[emptiest].units),
                    "idle": idle[emptiest],
                },
            )
        return Judgement(
            active=entropy < ONE and lasting and seen.step >= patience,
            clear=seen.step - self._uneven_at.get(row, 0) >= self.LASTING_STEPS,
            severity="warning",
            layer=layout.layers[row].name,
            message=f"the router chooses nearly always the same of {units} experts",
            evidence={"choice_entropy": entropy, "experts": float(units)},
            onset_step=since,
        )


def _nats(seen: Observation, latent: Latent) -> float:
    """Divergence from a standard normal, nats a unit: (m^2 + s^2 / 2) / 2 where both are small.

    m and s are the root mean squares of means and log-variances; of one layer that gives both, the
    mean over the two is known, and twice its square is an upper bound.
    """
    rms = seen.layers[:, LAYER_COLUMN["out_rms"]]
    mean = float(rms[latent.mean]) ** 2
    if latent.mean == latent.spread:
        return mean
    return (mean + float(rms[latent.spread]) ** 2 / 2) / 2

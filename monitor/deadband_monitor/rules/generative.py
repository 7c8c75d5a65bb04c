"""Parts of `representation-collapse`: generators, and latents that decoders draw from."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.judges import Judgement, ModelRule
from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.rules.structure import Latent, draws, judges_others, latents
from deadband_monitor.rules.trend import History

KIND = "representation-collapse"

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
ASIDE = 0.7
"""Distance of the middle of the samples from that of the real ones, in spreads of the real ones, at
the least that root mean squares tell. Healthy GANs end at 0.05 to 0.6; one that circles about the
real samples stays at 1.8 ..."""
UNTOLD = 0.06
"""... which its critic tells all the time: logits that spread by less are one probability,
to 1.5 %. In 28 healthy GANs by cross-entropy they spread by 0.09 to 5, beside a generator two
hundred times as quick as its critic by 0.01 to 0.05."""
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

_Window = deque[tuple[int, float, float]]
"""Steps and two values of each."""


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
        self._recent: dict[str, _Window] = {}
        """Step, diversity, and how far out the samples lie."""
        self._aside: dict[str, _Window] = {}
        """Step, how far the samples' middle is from the real one's, and spread of the logits."""
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
        self._keep(recent, (seen.step, diversity, away))
        aside, told = self._middle(seen.step, past, model, judges)
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
        whole = self._whole(recent)
        mostly = share > 0.5 and whole
        if whole and seen.step >= self.START_STEPS:
            far = min(value for _, value, _ in recent)
            if far > WILD:
                return self._runaway(recent, far, diversity)
            elsewhere = [step for step, _, out in recent if out > FAR_OUT]
            lost = sum(out > FAR_OUT or value < ALIKE for _, value, out in recent)
            if len(elsewhere) > 0.25 * len(recent) and lost > 0.5 * len(recent):
                return self._elsewhere(elsewhere[0], away, diversity)
            if aside > ASIDE and told < UNTOLD:
                return self._beside(recent[0][0], aside, told, diversity)
        if share == 0:
            self._first_low.pop(model.name, None)
        elif diversity < ALIKE:
            self._first_low.setdefault(model.name, seen.step)
        # Once past the mark it rises to nothing any more; what swings comes back below within it.
        lately = [value for step, value, _ in recent if 4 * (seen.step - step) < self.WINDOW_STEPS]
        risen = min(lately) >= ALIKE
        rising = trend.rising(max(100, seen.step // 3), ALIKE) is True
        growing = not up and (rising or risen)
        grace = self.grace_steps if up else self.START_STEPS
        values = [value for _, value, _ in recent]
        swings = max(values) > 3 * ALIKE
        called = past.stands(self.kind, model.name)
        return Judgement(
            active=mostly and seen.step >= grace and not growing,
            clear=share < 0.1
            and diversity >= ALIKE
            and (not called or _as_real(values, lately))
            and not (aside > ASIDE / 2 and told < UNTOLD),
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

    def _middle(
        self, step: int, past: Past, model: ModelPast, judges: list[str]
    ) -> tuple[float, float]:
        """How far beside the real samples what is made lies, and the spread of the critic's logits.

        Medians over the window; NaN where they are not known.
        """
        layout = past.layout
        assert layout is not None
        critic = past.models[judges[0]]
        aside, told = _aside(model, critic), critic.value("out_sd")
        recent = self._aside.setdefault(model.name, deque())
        if math.isfinite(aside) and math.isfinite(told):
            self._keep(recent, (step, aside, told))
        logits = len(judges) == 1 and layout.model(critic.name).loss == "bce_logits"
        if not (logits and self._whole(recent)):
            return math.nan, math.nan
        return median(off for _, off, _ in recent), median(spread for *_, spread in recent)

    def _keep(self, window: _Window, newest: tuple[int, float, float]) -> None:
        window.append(newest)
        while len(window) > self.FEWEST and newest[0] - window[0][0] > self.WINDOW_STEPS:
            window.popleft()

    def _whole(self, window: _Window) -> bool:
        spanned = window[-1][0] - window[0][0] if len(window) >= 4 else 0
        return spanned >= 0.9 * self.WINDOW_STEPS

    @staticmethod
    def _beside(since: int, aside: float, told: float, diversity: float) -> Judgement:
        """The critic says the same of all, though what is made lies beside what is real."""
        return Judgement(
            active=True,
            clear=False,
            severity="warning",
            message=f"its samples lie {aside:.2g} spreads beside the real ones, and the other "
            f"model's scores hardly differ: by {told:.1g}",
            evidence={"diversity": diversity, "aside": aside, "told": told},
            onset_step=since,
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
    def _runaway(recent: _Window, least: float, diversity: float) -> Judgement:
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


def _aside(model: ModelPast, critic: ModelPast) -> float:
    """How far the means of what is made and of what is real lie apart at the least, in spreads."""

    def parts(size: float, share: float) -> tuple[float, float]:
        return size * math.sqrt(max(0.0, 1 - share)), size * math.sqrt(max(0.0, share))

    made, _ = parts(model.value("out_rms"), model.value("out_variance"))
    real, spread = parts(critic.value("in_rms"), critic.value("in_variance"))
    return abs(made - real) / spread if spread > 0 else math.nan


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

"""Rule on the model's output: does it still depend on the input?"""

from __future__ import annotations

import math

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.feed import CONSTANT
from deadband_monitor.rules.judges import Judgement, ModelRule, measured
from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.rules.trend import MIN_POINTS

EXACT = 1e-9
"""Below this share of variance an output is exactly constant in float32. Of 189 healthy runs none
stayed below it for more than one sample (a zero-initialised head at the first step); 201 collapsed
ones stayed for 9 to 128."""


DUST = 1e-6
"""Share of variance that is nothing yet, and of the labels' entropy that says nothing of them."""


FADED = 0.1
"""Share of its first spread below which an output lost most of it. Targets far from zero raise the
mean alone, and what an output tells of them spreads it."""
UNCHANGED = 0.97
"""Share of the loss of a run's first quarter above which that of its last is much the same: to
halve it would take some twenty times the steps so far."""

ALIVE, SAME_SIZE = 1e-3, 0.1
"""Share of variance of a layer that tells inputs apart; share of the next layer's gradient at which
what lies between has handed it on."""
GONE_STEPS = 10
"""Steps for which what was learnt must be gone. A single step that overshoots is made good by the
next ones: a recurrent net early in its training knew 0.29 of the labels, for four steps 0.006, and
all of them in the end."""


class OutputCollapse(ModelRule):
    """The output became the same whatever the input, or lost what it had learnt."""

    kind = "output-collapse"
    needs = ("out_variance", "information", "sigma_share")
    grace_steps = 2

    def __init__(self) -> None:
        super().__init__()
        self._faintest: dict[str, float] = {}
        self._gone_since: dict[str, int] = {}

    def _waking(self, seen: Observation, past: Past, model: ModelPast, rho: float) -> bool:
        """Six sigmoid layers begin at 1e-9 and grow from there: slow, perhaps not broken."""
        if seen.step >= 100:
            return False
        return rho > 3 * self._faintest[model.name] > 0 or _passed_by(past, model)

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        rho = model.value("out_variance")
        if model.value("out_rms") == 0.0 or model.value("out_sd") == 0.0:
            rho = 0.0
        if not math.isfinite(rho):
            return None
        if seen.step < self.grace_steps or (not model.updated and seen.step < 20):
            # A zero-initialised head stays zero until the first update was applied: not called yet,
            # but the onset if it stays so.
            return Judgement(active=False, clear=rho >= EXACT)
        if _shows_one_call_of_many(past, model):
            return Judgement(active=False, clear=True)
        skill = past.skill(model.name)
        # An output that carries the labels, or a loss well below a constant answer's, works:
        # targets of 1e6 +- 1 leave no more variance, and the first output need not be what counts.
        works = (
            model.value("information") >= 0.01
            or model.value("sigma_share") >= 0.1
            or (
                math.isnan(model.value("information"))
                and math.isnan(model.value("sigma_share"))
                and model.value("loss") < 0.8 * model.value("loss_constant")
            )
        )
        # Dust that says nothing of the labels and does not grow is no more than exact constancy.
        says_nothing = model.value("information") < DUST or model.value("sigma_share") < 1e-3
        dust = seen.step >= 100 and rho < DUST and says_nothing and not past.learning(model.name)
        dust = dust or (seen.step >= 100 and rho < DUST and washed_out(past, model))
        exact = (rho < EXACT or dust) and not works
        self._faintest[model.name] = min(self._faintest.get(model.name, math.inf), rho)
        lost, still_lost = _lost(model, skill)
        if lost:
            since = self._gone_since.setdefault(model.name, seen.step)
            lost = seen.step - since >= GONE_STEPS
        else:
            self._gone_since.pop(model.name, None)
        evidence = {"out_variance": rho, "information": model.value("information")}
        if exact:
            message = "the output is the same for every input"
            # Of several models the loss that halved may be another's; what varied before collapsed.
            several = past.layout is not None and past.layout.several_models
            fell = several and len(model.variance) >= MIN_POINTS
            if not fell and math.isnan(skill) and past.loss.fresh < 0.5 * past.loss.first:
                # No labels to judge by, and the loss halved: a constant first output may be meant.
                return Judgement(active=True, clear=False, message=message, evidence=evidence)
        else:
            message, peaks = _what_was_lost(model)
            evidence |= peaks
        return Judgement(
            active=exact or lost,
            clear=not exact and not still_lost and (rho > DUST or works) and not says_nothing,
            severity="warning"
            if exact and not dust and self._waking(seen, past, model, rho)
            else "critical",
            message=message,
            evidence=measured(evidence),
        )


def _passed_by(past: Past, model: ModelPast) -> bool:
    """A gradient comes by what is lost on the way: the codes of a quantiser, all the same for now.

    A straight-through step hands it on as it is; dead and saturated units hand on none. Thirty-two
    codes were one for a dozen steps, and told the inputs apart from the next on.
    """
    assert past.layout is not None
    shown = past.newest[past.layout.weighted(model.name)]
    varies, asked = (shown[:, LAYER_COLUMN[name]] for name in ("out_variance", "out_grad_rms"))
    lost = (varies[:-1] > ALIVE) & (varies[1:] < EXACT)
    return bool((lost & (asked[:-1] > SAME_SIZE * asked[1:]) & (asked[1:] > 0)).any())


def washed_out(past: Past, model: ModelPast) -> bool:
    """The answers draw together and the loss stands; what they are to be was not seen."""
    assert past.layout is not None
    told = (model.latest(name) for name in ("information", "sigma_share"))
    quarters = past.loss.course.quarters
    if past.layout.several_models or not all(map(math.isnan, told)) or quarters is None:
        return False
    faded = model.value("out_sd") < FADED * model.start("out_sd")
    return faded and 0 < quarters[0] * UNCHANGED < quarters[3]


def _shows_one_call_of_many(past: Past, model: ModelPast) -> bool:
    """All rows of the call that was seen are the same, and the step makes others besides.

    The walks of a policy may all begin in one room.
    """
    assert past.layout is not None
    calls = past.layout.model(model.name).calls
    return calls > 1 and model.value("in_variance") < CONSTANT


def _what_was_lost(model: ModelPast) -> tuple[str, dict[str, float]]:
    """Of classes the information about them, of values how far the outputs spread."""
    now, peak = model.value("information"), model.peak_information
    words, share = "the output lost what it had learnt: ", model.value("sigma_share")
    if math.isfinite(now):
        return f"{words}information {now:.2g} after {peak:.2g}", {"peak_information": peak}
    return (
        f"{words}it spreads {share:.2g} times as wide as the targets after "
        f"{model.peak_sigma_share:.2g}",
        {"sigma_share": share, "peak_sigma_share": model.peak_sigma_share},
    )


def _lost(model: ModelPast, skill: float) -> tuple[bool, bool]:
    """Whether learnt information has gone, and whether it is still away.

    A peak of 0.04 (sigma share 0.2) is well above what networks show before they learn; nine
    tenths of it must be gone, and with labels known the loss must be back at the constant one.
    """
    lost = still = False
    information, sigma = model.value("information"), model.value("sigma_share")
    if model.peak_information >= 0.04 and math.isfinite(information):
        lost = information < min(0.1 * model.peak_information, 0.02)
        still = information < min(0.3 * model.peak_information, 0.06)
    if model.peak_sigma_share >= 0.2 and math.isfinite(sigma):
        lost = lost or sigma < min(0.1 * model.peak_sigma_share, 0.1)
        still = still or sigma < min(0.3 * model.peak_sigma_share, 0.2)
    useless = math.isnan(skill) or skill < min(0.1, 0.3 * max(model.best_skill, 0.0))
    return lost and useless, still and useless

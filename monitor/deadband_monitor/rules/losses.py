"""The rule on the loss itself: above its start, back where it began, or below what it can be."""

from __future__ import annotations

import math

from deadband.wire import Model
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.clashes import BOTTOMLESS, Clash
from deadband_monitor.rules.creep import WORTH
from deadband_monitor.rules.judges import Judgement, ModelRule, measured
from deadband_monitor.rules.known import known_max, known_min
from deadband_monitor.rules.misfit import VALUE_LOSSES
from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.rules.reach import Reach
from deadband_monitor.rules.trend import LevelShift

NEVER_NEGATIVE = {
    **dict.fromkeys(
        ("cross_entropy", "nll", "bce", "bce_logits", "ctc"), "minus the logarithm of a probability"
    ),
    **dict.fromkeys(
        ("soft_margin", "multi_margin", "multilabel_margin", "multilabel_soft_margin"),
        "what a margin is missed by",
    ),
    "kl_div": "the divergence of two distributions",
}
"""Losses that cannot be below zero, and what they are."""
BY_ROUNDING = -0.01
"""Nats that a divergence of two equal distributions may come to in half precision."""
RIGHT = 0.5
"""Share of the labels' entropy that the answers tell where what is added did not spoil them."""
WIDER, AGAINST = 1.5, -0.3
"""Spread of the output over that of the targets, and correlation of the loss's gradient with it,
that no error of the right sign has together; the spread of the targets is that of a window."""


OUTWEIGHED = 10.0
"""Times all that was seen to be added to a loss, by which that cannot have made it negative."""


def is_far_below_zero(past: Past, model: ModelPast) -> bool:
    """The loss lies further below zero than that of a constant answer lies above.

    All that could be learnt is worth less than what was gained: a minus stands before the loss, or
    before what outweighs it. The logarithm of a learnt spread, an entropy that is rewarded come to
    a part of it.
    """
    fresh, constant = past.loss.fresh, model.latest("loss_constant")
    added = model.latest("further_loss")
    outweighs = math.isnan(added) or -fresh > OUTWEIGHED * abs(added)
    return outweighs and -fresh > constant > 0


def fell_since(past: Past, model: ModelPast) -> int:
    """Since when a loss that can fall for ever does: where it began above zero, it was turned."""
    since = past.loss.negative_since if past.loss.first > 0 else None
    return model.objective.since if since is None else since


def is_below_zero(past: Past, model: ModelPast) -> bool:
    """A loss that is never negative is so, and nothing else was ever added to it.

    What is added may be negative: the logarithm of a learnt spread (Kendall et al.,
    arXiv:1705.07115), an entropy that is rewarded.
    """
    assert past.layout is not None
    kind = past.layout.model(model.name).loss
    alone = math.isnan(model.latest("further_loss")) or is_far_below_zero(past, model)
    least = BY_ROUNDING if kind == "kl_div" else 0.0
    return kind in NEVER_NEGATIVE and past.loss.fresh < least and alone


def _by_what_is_added(told: Model, model: ModelPast) -> bool:
    """Whether the answers are right, and the loss function's own value cannot be negative.

    Then something was added to it that may fall below zero, and it does no harm. How much an answer
    tells of the labels says nothing of its sign: where the loss falls for ever it is the wrong one.
    """
    if not model.value("information") > RIGHT or model.objective.falls_unslowed:
        return False
    if told.loss == "cross_entropy":
        return 0 < len(told.loss_target) < len(told.loss_input)
    if told.loss in {"bce", "bce_logits"}:
        return model.value("target_min") >= 0 and model.value("target_max") <= 1
    return False


class LossDivergence(ModelRule):
    """The loss lies above a constant answer's, lost what it had gained, or is impossible."""

    kind = "loss-divergence"
    needs = ("loss",)
    grace_steps = 1

    START_GRACE = 50
    """Steps within which a loss above its start may be a catapult (to 80 times, in a run that then
    learnt well)."""
    LOST = 0.3
    """Share of the gain that must be gone for a warning: late in training a loss of 1e-3 that rises
    to 1e-2 and comes back is everyday (Adam, batches of 32), and is 0.4 % of the gain."""
    RUINED = 0.8
    """Share that makes it a failure, once it has lasted forty steps: warm restarts and catapults
    are back within twenty."""

    FROM_ZERO = 0.2
    """How far from zero a loss begins, over how far it fell, below which it is a mean of advantages
    (REINFORCE with a baseline) or of one score less another: it began at zero, and goes back there
    as the policy gets sure and the scores alike."""

    WIDENED, AS_WELL = 1.5, 0.95
    """Spread of the targets over what they began with, and share of the best skill, from which a
    higher loss is no loss of skill."""

    NOTHING_LEFT = 1e-3
    """Share of the start below which levels of a loss are all alike: what is left of a memorised
    task comes and goes by orders of magnitude, down to float32's zero."""

    SURE = 5.0
    """Spread of the first outputs over the samples; usual initialisations give 0.1 to 1, weights
    drawn 40 times too wide 50."""
    SURE_STEPS = 100
    WILD = 100.0
    """Times the spread of the targets, and a constant answer's loss: usual initialisations put out
    0.1 to 1 of standardised inputs, and raw ones of some hundreds are tamed within 50 steps."""

    def __init__(self) -> None:
        super().__init__()
        self._shifts: dict[str, LevelShift] = {}
        self._reached: dict[str, Reach] = {}

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        layout = past.layout
        assert layout is not None
        if layout.several_models or not math.isfinite(past.loss.fresh):
            return None
        index = layout.index_of[model.name]
        if model.objective.clash in BOTTOMLESS and past.loss.fresh < 0:
            return self._bottomless(past, model)
        if is_below_zero(past, model):
            if _by_what_is_added(layout.models[index], model):
                return Judgement(active=False, clear=True)
            return self._negative(past, layout.models[index].loss)
        driven = _driven_away(seen, past, model, layout.models[index])
        driven = driven or self._far_out(seen, past, model, layout.models[index])
        if driven is not None:
            return driven
        if not past.loss.first > 0:
            return None
        start, back = self._above_start(seen, past, model), self._set_back(seen, past, model)
        if not (back.active and back.severity == "critical"):
            back = self._thrown_back(seen, past) or back
        if start is None:
            return back
        if back.active and (not start.active or start.severity == "warning"):
            return back
        return start if start.active or not start.clear else back

    def _negative(self, past: Past, loss: str) -> Judgement:
        fresh = past.loss.fresh
        # Given probabilities instead of their logarithms it stays above -1 and still trains.
        return Judgement(
            active=True,
            clear=False,
            severity="critical" if fresh < -1 else "warning",
            message=f"the loss is {fresh:.3g}: {NEVER_NEGATIVE[loss]} is never negative",
            evidence={"loss": fresh},
            onset_step=past.loss.negative_since,
        )

    def _bottomless(self, past: Past, model: ModelPast) -> Judgement:
        clash = model.objective.clash
        assert clash is not None
        return Judgement(
            active=True,
            clear=False,
            # Of a loss that is not known nobody can say that it has a least value.
            severity="critical" if clash is Clash.REVERSED else "warning",
            message=f"the loss is {past.loss.fresh:.3g} and falls for ever: {clash.value}",
            evidence={"loss": past.loss.fresh},
            onset_step=fell_since(past, model),
        )

    def _above_start(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """The loss stands above where it began and above what a constant answer would give."""
        fresh, first = past.loss.fresh, past.loss.first
        constant = model.value("loss_constant")
        level, of = known_max(constant, first), "its start"
        if math.isnan(constant) and -past.loss.lowest > level:
            # A loss that swings about zero, as a policy's does, begins anywhere in its swing.
            level, of = -past.loss.lowest, "what it has been below zero"
        if seen.step - model.born < self.START_GRACE:
            return None
        # Without labels the level of a constant answer is unknown, and some objectives are annealed
        # upwards: only a ten-fold rise counts then.
        factor = 1.5 if math.isfinite(constant) else 10.0
        above = past.loss.above(factor * level, 15, 20)
        if not above and math.isfinite(constant) and past.loss.above(factor * level, 10, 40):
            # Spikes that come again and again count too, once they are a quarter of the steps and
            # the mean is worse than a constant answer's: losses of single rows are spread as wide.
            above = past.loss.mean(40) - 2 * past.loss.error(40) > level
        above = above and past.loss.falling is not True
        if not above and self._sure_and_wrong(seen, past, model, constant):
            return Judgement(
                active=True,
                clear=False,
                message=f"the loss is {fresh:.3g}, a constant answer's {constant:.3g}: the answers "
                "were sure and wrong from the start",
                evidence={
                    "loss": fresh,
                    "loss_constant": constant,
                    "out_sd": model.start("out_sd"),
                },
                onset_step=past.first_step,
            )
        sure = math.isfinite(constant) and model.start("out_sd") > self.SURE
        clear = fresh < ((1 - WORTH) * constant if sure else 1.1 * level)
        if not above:
            return Judgement(active=False, clear=clear)
        severity = "warning"
        if math.isfinite(constant) and past.loss.above(2 * factor * level, 15, 20):
            severity = "critical"
        return Judgement(
            active=True,
            clear=clear,
            severity=severity,
            message=f"the loss stands at {fresh:.3g}, {fresh / level:.2g} times {of}",
            evidence=measured({"loss": fresh, "loss_first": first, "loss_constant": constant}),
            onset_step=past.loss.above_since(factor * level),
        )

    def _sure_and_wrong(
        self, seen: Observation, past: Past, model: ModelPast, constant: float
    ) -> bool:
        """Classes were answered with confidence before anything was learnt; it has not worn off.

        It is on its way down, so the trend of the loss does not tell.
        """
        return (
            seen.step - model.born >= self.SURE_STEPS
            and math.isfinite(model.value("information"))
            and model.start("out_sd") > self.SURE
            and past.loss.above(1.5 * constant, 36, 40)
        )

    def _far_out(
        self, seen: Observation, past: Past, model: ModelPast, told: Model
    ) -> Judgement | None:
        """Values were answered with others that are orders of magnitude too wide, and still are.

        It is on its way down, from where hundreds of steps are nothing. Targets that lie far from
        zero are answered too close together at first; inputs that are not scaled are tamed in some
        tens of steps.
        """
        constant, fresh = model.value("loss_constant"), past.loss.fresh
        wide = model.start("out_sd") > self.WILD * model.value("target_sd")
        if told.loss not in VALUE_LOSSES or not wide or not constant > 0:
            return None
        if seen.step - model.born < self.SURE_STEPS:
            return None
        if not past.loss.above(self.WILD * constant, 36, 40):
            return None
        return Judgement(
            active=True,
            clear=False,
            message=f"the loss is {fresh:.3g}, a constant answer's {constant:.3g}: the answers "
            "were far too wide from the start",
            evidence={
                "loss": fresh,
                "loss_constant": constant,
                "out_sd": model.start("out_sd"),
            },
            onset_step=past.first_step,
        )

    def _thrown_back(self, seen: Observation, past: Past) -> Judgement | None:
        """What had been learnt was of no use from one step on; it is learnt anew."""
        fresh, thrown = past.loss.fresh, past.thrown
        if thrown.since is None or thrown.made_up(seen.step, fresh):
            return None
        return Judgement(
            active=True,
            clear=False,
            message=f"from step {thrown.since} on what had been learnt was worth nothing: the loss "
            f"went from {thrown.level:.3g} to that of a constant answer at once, and what has been "
            f"gained since ({fresh:.3g}) was learnt anew",
            evidence={"loss": fresh, "level_before": thrown.level},
            onset_step=thrown.since,
        )

    def _set_back(self, seen: Observation, past: Past, model: ModelPast) -> Judgement:
        """The loss jumped from the level it had reached, and does not come back."""
        loss = past.loss
        constant = model.value("loss_constant")
        if math.isnan(constant) and abs(loss.first) < self.FROM_ZERO * (loss.first - loss.best):
            return Judgement(active=False, clear=True)
        level = known_min(constant, loss.first)
        shifted = self._shift(past, model, self.NOTHING_LEFT * level)
        limit, ruin = loss.setback(level, self.LOST), loss.setback(level, self.RUINED)
        asked = self._asked_for_more(past, model)
        lost = loss.above(limit, 14, 16) and not asked
        clear = not shifted and (loss.fresh < limit or asked)
        if not (lost or shifted):
            return Judgement(active=False, clear=clear)
        severity = "info"
        if lost:
            severity = "critical" if loss.above(ruin, 36, 40) else "warning"
        return Judgement(
            active=True,
            clear=clear,
            severity=severity,
            message=f"the loss jumped to {loss.fresh:.3g} after {loss.best:.3g}",
            evidence={"loss": loss.fresh, "best": loss.best},
            onset_step=loss.above_since(loss.lost_level),
        )

    def _asked_for_more(self, past: Past, model: ModelPast) -> bool:
        """The targets have widened and are answered as well as ever: the loss rose with them.

        A slow copy's outputs and values of later states grow so. Those that run away grow by
        orders of magnitude, and are answered as well.
        """
        assert past.layout is not None
        told, skill = past.layout.model(model.name), past.skill(model.name)
        if told.acts and math.isnan(skill):
            return True  # its own answers make the data: the longer they serve, the more is asked
        reach = self._reached.setdefault(model.name, Reach())
        reach.note(past.step, past.loss.best, model.latest("out_rms"))
        if math.isnan(model.latest("target_sd")):
            return told.loss in VALUE_LOSSES and reach.grew_as_well(
                told.loss, past.loss.fresh, past.step
            )
        least = self.WIDENED * model.start("target_sd")
        kept = skill > RIGHT and skill > self.AS_WELL * model.best_skill
        return kept and least < model.value("target_sd") < 10 * least

    def _shift(self, past: Past, model: ModelPast, least: float) -> bool:
        """Whether the level of the loss has jumped two-fold from `least` or above: a note."""
        shift = self._shifts.setdefault(model.name, LevelShift())
        shifted = False
        losses = [loss for loss in past.losses if math.isfinite(loss)]
        for loss in losses[-20:]:
            size = max(loss, least)
            value = math.log10(size) if size > 0 else -math.inf
            shifted = shift.add(value) and value > shift.level + math.log10(2)
        return shifted and math.isfinite(shift.level)


def _turned_since(seen: Observation, past: Past, model: ModelPast) -> int:
    since = past.loss.negative_since if past.loss.first > 0 > past.loss.fresh else None
    if since is not None:
        return since
    return model.objective.began if model.objective.began is not None else seen.step


def _driven_away(seen: Observation, past: Past, model: ModelPast, told: Model) -> Judgement | None:
    """The gradient of a squared or absolute error pushes the output away from the targets.

    It is the output less the target, and so goes with an output that spreads wider than the targets
    do: its covariance is at least var(o) - sd(o) sd(t) > 0. Of the other sign is the loss.

    Two views of one thing are no targets: what keeps them apart widens both by right.
    """
    wide, coupling = model.value("sigma_share"), model.value("coupling")
    if told.target_learns or told.calls >= 2:
        return None
    if told.loss not in VALUE_LOSSES or not (wide > WIDER and coupling < AGAINST):
        return None
    return Judgement(
        active=True,
        clear=False,
        severity="critical",
        message="the gradient drives the output away from the targets: it spreads "
        f"{wide:.2g} times as wide as they do, and descent widens it",
        evidence={"sigma_share": wide, "coupling": coupling},
        onset_step=_turned_since(seen, past, model),
    )

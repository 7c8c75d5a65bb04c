"""The rule on a loss that stands where it should not stand.

That a loss no longer falls says nothing: it may be solved, limited by noise, or between two steps
of a staircase, and a rule on its slope alone fires on 97 % of healthy runs. Two things do tell: a
loss that cannot fall further because of what it is given, and inputs whose nearest neighbours know
the answer while the model does not.
"""

from __future__ import annotations

import math
from statistics import median

import numpy as np

from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.born import hampered
from deadband_monitor.rules.clashes import BESIDE, BOUNDED, SQUASHED, floor
from deadband_monitor.rules.judges import Judgement, ModelRule, measured
from deadband_monitor.rules.known import known_max
from deadband_monitor.rules.misfit import VALUE_LOSSES
from deadband_monitor.rules.model_past import PULLED
from deadband_monitor.rules.pace import comes_to_rest, gains_by_quarter, keeps_pace
from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.rules.room import (
    bottleneck,
    is_linear,
    is_shallow,
    only_ranks,
    several_classes,
    untrained,
)
from deadband_monitor.rules.structure import drew, latents
from deadband_monitor.rules.trend import History

NEIGHBOURS_KNOW = 0.5
"""Agreement of nearest neighbours (0 chance, 1 always) from which the inputs plainly tell: digits
0.97, wine 0.9, circles 1.0, ten features of which five count 0.67; a noisy regression (diabetes)
0.2. The error of the nearest neighbour is at most twice the least possible one (Cover and Hart,
IEEE Trans. Inf. Theory 13:21, 1967)."""
BELOW_NEIGHBOURS = 0.4
"""How far the model's skill lies below that. Label smoothing of 0.1 costs a solved model 0.2."""
BELOW_KNOWN = 0.3
"""The same where the rows are so few that all can be told apart: the agreement is no estimate. The
least cross entropy of two classes smoothed by 0.1 is 0.286 of a constant answer's."""
BELOW_IN_KIND = 0.2
"""The same for values behind a single unit: both are shares of explained variance, no smoothing
lies between them, and why there should be a gap is known."""
PATIENCE_STEPS = 250
"""Steps without progress, at least, and half of the run: staircases of deep sigmoid networks have
steps of 100 to 300."""

AT_REST_STEPS = 350
"""The same in all where a batch holds every row there is, and the loss has no noise to hide what it
comes to: parity by three units had 0.7513, 0.7506 and 0.7504 from its second quarter on."""

OFF_SCALE = 10.0
"""Mean and standard deviation of targets that usual weights and rates do not suit."""
FEW = 16
"""Different rows in all: an exclusive or and the like."""
FEW_SHARE = 0.1
"""Share of the rows seen that they make up at most: each was seen ten times."""
LINE = 1.05
"""Directions of an output up to which it is a line. Of 707 healthy runs 35 with three classes or
more came so low after a hundred steps, and none of them lay far behind its neighbours for long."""
FAR = 3
"""Progress counts as none where, at the present pace, half of the gap takes as many times the steps
so far: ten digits through a single unit creep from a skill of 0.26 to 0.32 in 1000 steps."""
ABOVE = 1.5
"""Times a constant answer's loss above which a loss that falls by as much has yet to come down to
it; behind a strong dropout it begins at 1.3."""
ONE_UNIT = 0.9
"""What is expected where the neighbours of inputs (tokens) cannot be told, but three classes or
more hang on a single unit: it can only rank them."""
RANKED_KNOW = 0.4
"""Agreement of neighbours from which the inputs tell more than a rank: labels of which one in six
is wrong leave as much, and a skill of 0.35."""
HAMPERED = 0.8
"""The same where what was lost in depth, or gates that cannot move, tell why little is learnt: a
skill up to 0.4 counts then, if it hardly grows."""
KNOWN_STEPS = 200
"""Steps after which one unit, that everything has to pass, or a network that was born hampered
shows what it can do."""
EVEN_LOSSES = 64
"""Losses whose mean is a level: behind a dropout of 0.95 that of eight swings by 0.15 of a constant
answer's, and a single good one would hide that nothing is learnt."""

SAME_STEPS = 100
SAME = 1e-6
"""Relative difference of losses that float32 leaves of the same number. Batches of other rows make
0.01 and more, those of a network of zeros too where classes do not come evenly."""
HALF_BITS = 0x1FFF
"""Bits of a float32 that neither float16 nor bfloat16 fills."""
SAME_ROWS = 0.5
"""Share of rows that come again in the next batch, below which batches differ."""

REACHED = 0.7
"""Skill that targets of which a part is out of reach do not allow: the half of standardised ones
that is below zero holds half of their variance."""

DUST = 0.01
"""Skill from which growth counts: three sigmoid layers crept to 0.02 in 700 steps, doubled every
100 steps from there and were at 0.8 after 2000."""


class LossPlateau(ModelRule):
    """The loss stands at a value that it cannot leave, or should have left."""

    kind = "loss-plateau"
    needs = ("loss",)
    grace_steps = 3

    def __init__(self) -> None:
        super().__init__()
        self._gains: dict[tuple[str, int], History] = {}
        """Minus the loss, from the first step of the weights that are trained."""

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        layout = past.layout
        assert layout is not None
        clash = model.objective.clash
        if clash is not None and clash in SQUASHED | BOUNDED | BESIDE:
            return self._bound(past, model)
        if layout.several_models or math.isnan(past.loss.fresh):
            return None
        if same_whatever(past, model):
            return Judgement(
                active=True,
                clear=False,
                severity="warning",
                message=f"the loss is {past.loss.fresh:.6g} at every step, whatever the batch",
                evidence=measured({"loss": past.loss.fresh}),
                onset_step=past.first_step,
            )
        gains = self._gains.setdefault((model.name, model.born), History())
        gains.add(seen.step, -past.loss.fresh)
        return self._stuck(seen, past, model, gains)

    def _bound(self, past: Past, model: ModelPast) -> Judgement:
        """The objective itself has a floor, or its least value is not what is wanted."""
        clash = model.objective.clash
        assert clash is not None
        if clash in BOUNDED and past.skill(model.name) > REACHED and past.learning(model.name):
            # What lies out of reach may be noise about zero: while it learns, it is not stuck.
            return Judgement(active=False, clear=True)
        rate = model.value("target_mean")
        least = floor(clash, model.objective.classes, rate)
        evidence = {"loss": past.loss.fresh}
        if math.isfinite(least):
            evidence["floor"] = least
            message = f"the loss cannot fall below {least:.3f}: {clash.value}"
        elif clash in BESIDE:
            message = f"the least loss is not the right answer: {clash.value}"
        elif clash in BOUNDED:
            message = f"the loss cannot reach its least value: {clash.value}"
        else:
            message = f"the loss hardly falls: {clash.value}"
        return Judgement(
            active=True,
            clear=False,
            severity="warning",
            message=message,
            evidence=measured(evidence),
            onset_step=model.objective.since,
        )

    def _stuck(self, seen: Observation, past: Past, model: ModelPast, gains: History) -> Judgement:
        """The loss stopped falling far above what the inputs tell."""
        measured_agreement, skill = model.value("neighbour_agreement"), _skill(past, model)
        agreement = measured_agreement
        why = f"though similar inputs have the same answer ({agreement:.2g})"
        if math.isnan(agreement) and few_inputs(past, model):
            agreement, why = 1.0, "though so few different inputs can all be told apart"
        elif math.isnan(agreement) and only_ranks(past, model):
            agreement, why = ONE_UNIT, "one unit can only rank the classes"
        elif math.isnan(agreement) and (hurt := hampered(past, model)):
            agreement, why = HAMPERED, hurt
        # A loss with further terms (a load to balance, a penalty) hides what is known.
        known = known_max(skill, model.value("information"))
        tells = RANKED_KNOW if only_ranks(past, model) else NEIGHBOURS_KNOW
        behind = agreement >= tells and agreement - known >= _margin(past, model)
        if not behind or _pays_for_a_prior(past, model):
            return Judgement(active=False, clear=True)
        rests = not model.lr_rising and self._rests(seen, past, model, gains, agreement)
        if skill < 0.05 and not (untrained(past, model.name) or only_ranks(past, model)):
            # Then it is a constant predictor, and that rule speaks of it where noise lets it tell.
            said = past.stands("constant-predictor", model.name)
            rests = rests and not said and not past.learning(model.name)
        return Judgement(
            active=rests,
            clear=False,
            severity="warning",
            message=f"the loss stands at {past.loss.fresh:.3g} (skill {skill:.2g}), {why}",
            evidence=measured(
                {
                    "loss": past.loss.fresh,
                    "skill": skill,
                    "neighbour_agreement": measured_agreement,
                }
            ),
        )

    def _rests(
        self,
        seen: Observation,
        past: Past,
        model: ModelPast,
        gains: History,
        agreement: float,
    ) -> bool:
        """No progress, or so little that the way is several times what lies behind."""
        assert past.layout is not None
        # A reason that lies in the network is known: half the patience will do.
        hurt = math.isnan(model.value("neighbour_agreement")) and hampered(past, model) != ""
        narrow, ranks = bottleneck(past.layout, model.name), only_ranks(past, model)
        cramped = (
            hurt
            or is_linear(past.layout, model.name)
            or is_shallow(past.layout, model.name)
            or narrow
            or untrained(past, model.name)
            or _on_a_line(model)
        )
        known = cramped or _off_scale(past, model) or model.pull > PULLED
        patience = PATIENCE_STEPS if known else 2 * PATIENCE_STEPS
        if hurt or (narrow is not None and narrow[1] == 1 and narrow[2]):
            patience = KNOWN_STEPS
        age = seen.step - model.born
        quarters = gains_by_quarter(past, model, gains, age)
        wanted = (agreement - _skill(past, model)) / 2 * model.value("loss_constant")
        at_rest = few_inputs(past, model) and comes_to_rest(quarters, wanted)
        if age < (AT_REST_STEPS if at_rest else patience):
            return False
        window = age if at_rest else max(patience, age)
        older, newer = gains.halves(window)
        if len(older) < 3 or len(newer) < 3:
            return False
        before, now = (
            median(part) if len(part) >= 3 else math.inf
            for part in model.skill.halves(max(100, age // 2))
        )
        # With a reason known, what lies within the noise is no speed to be gathered, nor kept.
        still = gains.climbing(window) is False and past.loss.falling is not True
        dust = cramped and still
        if 2 * max(before, DUST) < now < math.inf and not (dust or ranks):
            return False  # it gathers speed: steady progress gains 1.4-fold over that stretch
        # To come down to a constant answer's loss is no knowledge: behind a strong dropout that
        # alone takes hundreds of steps.
        nothing = -model.value("loss_constant") if _plain(model) else -math.inf
        if median(older) < ABOVE * median(newer) < -ABOVE * ABOVE * math.fabs(nothing):
            return False  # far targets: it is still on its way down to a constant answer's loss
        gained = max(median(newer), nothing) - max(median(older), nothing)
        # What creeps through a bottleneck is not at a pace, but one number may be all it takes, and
        # is found slowly: down to a constant answer's loss it goes at the pace that it keeps.
        if narrow is None:
            steady = not dust and keeps_pace(quarters, nothing, wanted, slow=False)
        else:
            one = narrow[1] == 1 and not ranks
            steady = one and keeps_pace(quarters, -math.inf, wanted, slow=True)
        if steady:
            return False
        if cramped and window >= age:
            # With so little room the pace falls from the start: as much again for each doubling or
            # so of the steps (one unit, ten digits: 0.37, 0.45, 0.52 after 370, 700, 1150).
            if wanted > gained * math.log(1 + FAR) / math.log(3):
                return True
        elif wanted > gained * 2 / window * FAR * age:
            return True
        return still and not past.learning(model.name)


def same_whatever(past: Past, model: ModelPast) -> bool:
    """Whether the loss has been one number since the first step, though the batches differ.

    Two policies of which the one is the other, distances between points that are one: what is
    compared is the same. Half precision rounds losses that differ to one number.
    """
    loss = past.loss
    if past.step - past.first_step < SAME_STEPS or loss.course.quarters is None:
        return False
    if not loss.highest - loss.lowest <= SAME * abs(loss.first):
        return False
    coarse = np.float32(loss.first).view(np.uint32) & HALF_BITS == 0
    return loss.first != 0 and not coarse and model.latest("in_repeat") < SAME_ROWS


def _off_scale(past: Past, model: ModelPast) -> bool:
    """The targets are of a size that weights and rates are not made for: a reason to be stuck."""
    assert past.layout is not None
    told = past.layout.model(model.name)
    mean, sd = abs(model.start("target_mean")), model.start("target_sd")
    return told.loss in VALUE_LOSSES and (sd > OFF_SCALE or mean > OFF_SCALE)


def _on_a_line(model: ModelPast) -> bool:
    """The answers of three classes or more all lie on one line: it can only rank them.

    That is what comes back of a signal which was lost in depth and found again as one direction.
    """
    return several_classes(model) and model.value("participation") < LINE


def few_inputs(past: Past, model: ModelPast) -> bool:
    """So few different inputs that all can be told apart, and nothing else is given.

    Of one that is called letter by letter, or with a second input, the rows are but a part.
    """
    assert past.layout is not None
    told = past.layout.model(model.name)
    whole = told.calls == 1 and told.inputs == 1
    return whole and model.latest("in_rows") <= FEW and model.latest("in_distinct") < FEW_SHARE


def _margin(past: Past, model: ModelPast) -> float:
    """How far behind what the inputs tell is too far."""
    assert past.layout is not None
    untold = math.isnan(model.value("neighbour_agreement"))
    if (untold and few_inputs(past, model)) or only_ranks(past, model):
        return BELOW_KNOWN
    values = past.layout.model(model.name).loss in VALUE_LOSSES
    narrow = bottleneck(past.layout, model.name)
    # Two units are what one chooses to draw a map of the data, knowing what it costs.
    one = narrow is not None and narrow[1] == 1
    return BELOW_IN_KIND if values and one else BELOW_NEIGHBOURS


def _pays_for_a_prior(past: Past, model: ModelPast) -> bool:
    """Whether a latent is drawn from, and how far it may be from its prior is a part of the loss.

    The best answer then is a trade between the two, and how much it leaves untold is not known. A
    latent that tells nothing at all is `representation-collapse`, a constant answer its own rule's.
    """
    assert past.layout is not None
    drawn = latents(past.layout, past.layout.index_of[model.name])
    return (not _plain(model) and bool(drawn)) or drew(past.first, past.layout, model.name)


def _skill(past: Past, model: ModelPast) -> float:
    """What the level of the losses says; the smoothed skill before there are enough of them."""
    constant, level = model.value("loss_constant"), past.loss.mean(EVEN_LOSSES)
    if constant > 0 and math.isfinite(level) and _plain(model):
        left_open = model.value("open_share")
        return (1 - level / constant) / (1 - left_open if left_open > 0 else 1)
    return past.skill(model.name)


def _plain(model: ModelPast) -> bool:
    """Whether the loss is that of the loss function alone: nothing was seen to be added to it."""
    return math.isnan(model.latest("further_loss"))

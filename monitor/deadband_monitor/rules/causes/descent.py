"""A loss that fell for ever, until values outgrew their format, or that every step made larger."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import Case, Suspect, Tier

_COSINE = LAYER_COLUMN["grad_cosine"]

SLOW = frozenset({"loss-plateau", "constant-predictor", "vanishing-gradient", "frozen-weights"})
"""What a loss with a floor or faint gradients looks like."""
BLIND = SLOW | frozenset({"output-collapse"})
RUNAWAY = frozenset({"loss-divergence", "weight-divergence", "exploding-gradient", "non-finite"})
"""What a loss without a least value leads to."""
AFTERMATH = frozenset({"update-too-large", "saturation", "dead-units", "duplicate-units"})
"""What outputs that grow for ever do to the network."""

ABYSS = 1000.0
"""Times its first size below zero that no density's logarithm leads to: a few nats an element."""
RUNAWAY_OF_FIRST = 10.0
"""Times its first size above which a loss has risen at some time: its steps went astray."""
NEVER_FELL = 0.9
"""Best level of a loss over its first value, from which no step made it smaller. Rates that ruin a
run let it fall first, or throw it in one step."""
UPHILL = 2.0
"""Times its first value that a loss stands at, which has gone up all the way."""
AT_ITS_HIGHEST = 0.9
"""Share of the highest loss of all that a loss stands at, which rises still."""
MODEST = 0.1
"""Relative update that nothing is thrown by: healthy runs stay below 0.15, what a learning rate
ruined began at 0.42."""
OTHERS = 1.0
"""Relative update by which a step is larger than the weights that it changed."""
ONWARD = 0.5
"""Cosine of one gradient with the next, in the middle of all weights within the first ten steps,
from which steps lead on in one direction: up the slope it was 0.6 to 0.98; what overshoots meets
the gradient of the other side, below 0."""
SIGN_ADVICE = (
    "look at the sign: what is to grow (a likelihood, a score, a reward) enters with a minus, "
    "loss = -log_prob.mean(), what is to shrink without one; a term that can fall for ever needs a "
    "clamp or a margin"
)


def suspects(case: Case) -> Iterator[Suspect]:
    """A wrong sign, told by where the loss goes; at most one of them."""
    if _fell_and_broke(case):
        yield _bottomless(case)
    elif _falls_for_ever(case) or _fell_beyond(case):
        yield _endless(case)
    elif _climbs(case):
        yield _uphill(case)


def _fell_and_broke(case: Case) -> bool:
    """Values outgrew their format while the loss fell: what breaks by its steps has it rise."""
    loss, broken = case.past.loss, case.model.broken.step
    if broken is None or case.layout.several_models or case.flag("non-finite") is None:
        return False
    size = max(1.0, abs(loss.first))
    return loss.lowest < -ABYSS * size and not loss.highest > RUNAWAY_OF_FIRST * size


def _bottomless(case: Case) -> Suspect:
    """Who makes such a loss small makes the answers worse."""
    loss = case.past.loss
    return _mismatch(
        case,
        f"the loss fell from {loss.first:.3g} to {loss.lowest:.3g}, and at step "
        f"{case.model.broken.step} values were no longer finite: it has no least value",
        belief=0.95,
        tier=Tier.EXACT,
    )


def _falls_for_ever(case: Case) -> bool:
    """The loss falls far below zero without slowing down, and weights grow with it without an end.

    Where models are called by their parts nobody knows the size of what they put out; the weights
    of one that lowers its loss by larger scores tell as well. A loss that is known has a least
    value, or rules of its own.
    """
    if case.layout.several_models or case.build.loss or case.flag("weight-divergence") is None:
        return False
    return case.model.objective.falls_unslowed


def _fell_beyond(case: Case) -> bool:
    """The loss was called bottomless, and fell deeper than any density's goes.

    What stands there need not fall on: of units that died of the way down no gradient is left.
    """
    loss = case.past.loss
    if case.layout.several_models or case.build.loss or case.flag("loss-divergence") is None:
        return False
    size = max(1.0, abs(loss.first))
    return loss.fresh < -ABYSS * size and not loss.highest > RUNAWAY_OF_FIRST * size


def _endless(case: Case) -> Suspect:
    """Larger scores, and nothing else, make such a loss smaller."""
    loss = case.past.loss
    grow = case.flag("weight-divergence") is not None
    how = " and falls on, while the weights grow" if grow else ", below what any density gives"
    return _mismatch(
        case, f"the loss fell from {loss.first:.3g} to {loss.fresh:.3g}{how}: it has no least value"
    )


def _climbs(case: Case) -> bool:
    """Whether the loss only ever rose, by modest steps or by gradients that are like each other.

    Of labels or targets that are known and stay as they are; a policy's loss may rise by right, and
    so may that of one who plays against another.
    """
    loss, model = case.past.loss, case.model
    if case.layout.several_models or not (case.flag("loss-divergence") or _rises_still(case)):
        return False
    if not math.isfinite(model.latest("loss_constant")) or model.feed.change is not None:
        return False
    if case.facts.seen & {"input_scale", "large_weights"}:
        return False
    if not loss.best >= NEVER_FELL * loss.first > 0:
        return False
    # The higher, the steeper: what follows may be large steps, and no number at the end.
    rose = max(loss.fresh, loss.highest) > UPHILL * loss.first
    small = model.large_update_step is None and 0 < model.peak_update < MODEST
    return rose and (small or (_leads_on(case) and not _thrown_at_once(case)))


def _rises_still(case: Case) -> bool:
    """The output is the same for every input, and the loss stands higher than ever.

    A rate throws it and lets it come back to a constant answer's; up the slope a wrong answer for
    all inputs is made surer and surer.
    """
    loss, model = case.past.loss, case.model
    collapsed = case.flag("output-collapse") is not None and model.large_update_step is None
    return collapsed and loss.fresh > AT_ITS_HIGHEST * loss.highest and _leads_on(case)


def _thrown_at_once(case: Case) -> bool:
    """The first step of all made the weights others: what follows starts from where it landed.

    The slope that gradients go along there, one like the next, is the one far outside.
    """
    return case.model.start("update_ratio") > OTHERS


def _leads_on(case: Case) -> bool:
    """Whether one gradient was like the next while the loss began to rise."""
    rows = case.layout.rows(case.model.name)
    told = case.past.early[rows, _COSINE]
    told = told[np.isfinite(told)]
    return len(told) > 0 and float(np.median(told)) > ONWARD


def _uphill(case: Case) -> Suspect:
    """The gradient of another sign, or steps along it instead of against it."""
    loss, small = case.past.loss, case.model.peak_update
    how = f"no step changed a weight by more than {small:.2g} of itself"
    if _leads_on(case):
        how = "one gradient was like the next, which is no overshooting"
    return _mismatch(
        case,
        f"the loss rose from {loss.first:.3g} to {loss.highest:.3g} and never fell, though "
        f"{how}: the steps go up the slope",
        advice="look at the sign: loss.backward() of the loss that is logged, not of its negative; "
        "maximize=False; an optimiser written by hand goes against the gradient, "
        "p.add_(step, alpha=-lr)",
    )


def _mismatch(
    case: Case,
    line: str,
    *,
    advice: str = SIGN_ADVICE,
    belief: float = 0.85,
    tier: Tier = Tier.PATTERN,
) -> Suspect:
    return Suspect(
        word="loss-mismatch",
        tier=tier,
        belief=belief,
        onset=case.start,
        explains=BLIND | RUNAWAY | AFTERMATH,
        evidence=[line],
        advice=advice,
    )

"""A loss that fell for ever, until values outgrew their format."""

from __future__ import annotations

from deadband_monitor.rules.causes.base import Case, Suspect, Tier

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
SIGN_ADVICE = (
    "look at the sign: what is to grow (a likelihood, a score, a reward) enters with a minus, "
    "loss = -log_prob.mean(), what is to shrink without one; a term that can fall for ever needs a "
    "clamp or a margin"
)


def fell_and_broke(case: Case) -> bool:
    """Values outgrew their format while the loss fell: what breaks by its steps has it rise."""
    loss, broken = case.past.loss, case.model.broken.step
    if broken is None or case.layout.several_models or case.flag("non-finite") is None:
        return False
    size = max(1.0, abs(loss.first))
    return loss.lowest < -ABYSS * size and not loss.highest > RUNAWAY_OF_FIRST * size


def bottomless(case: Case) -> Suspect:
    """Who makes such a loss small makes the answers worse."""
    loss = case.past.loss
    return Suspect(
        word="loss-mismatch",
        tier=Tier.EXACT,
        belief=0.95,
        onset=case.start,
        explains=BLIND | RUNAWAY | AFTERMATH,
        evidence=[
            f"the loss fell from {loss.first:.3g} to {loss.lowest:.3g}, and at step "
            f"{case.model.broken.step} values were no longer finite: it has no least value"
        ],
        advice=SIGN_ADVICE,
    )

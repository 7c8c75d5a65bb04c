"""Does a run whose loss still sinks a little get anywhere? Part of `constant-predictor`.

Over hundreds of steps a loss that sinks by a hundredth is told from noise, and yet no progress: at
that pace the answers will not be worth anything in several times the steps so far.
"""

from __future__ import annotations

import math

from deadband_monitor.rules.inputs import RECURRENT
from deadband_monitor.rules.past import STRONG_DROPOUT, ModelPast, Past

STEPS = 120
"""A network needs some time to come down to a constant answer's loss."""
STEPS_SURE = 200
"""Steps from which the means of the losses are proof enough by themselves."""
SPAN = 240
"""Losses whose older half is held against the newer one: their means scatter by 0.01 to 0.02."""
NOTHING = 0.05
HARDLY = 0.1
"""The same after an update that was larger than the weights themselves: what little is left to it
was the answer of a network that is gone. Half of what a bigram tells of brackets is 0.07."""
REPLACED = 1.0
"""Relative update from which a step leaves little of what there was."""
DEEP = -0.5
"""Skill below which a run comes down by decades, not by steps of one size."""
FAR = 3
"""Times the steps so far that it would go on at this pace."""
WORTH = 0.2
"""Skill that it does not come to by then: healthy runs that are slow have a tenth of it by then and
double it every hundred steps."""
DUST = 0.01
TELLS = 0.15
"""Share of the labels' entropy from which the answers are right, if too sure of themselves: a new
head on frozen layers, trained too fast, had 0.75 at a skill of 0."""


PRIOR_STEPS = 300
WORDS = 12
"""Classes, were they equally frequent, from which a series is one of characters or words. How often
each comes is learnt in 30 steps, and what comes after which much later: LSTMs of two layers on text
(60 characters to 3000 words) stood at a constant answer's loss until step 170 to 290 under SGD and
290 to 600 under Adam at 0.001, and learnt well from there on."""


def grace(past: Past, model: ModelPast, usual: int) -> int:
    """Steps that a network may take before it is asked for more than a constant answer."""
    assert past.layout is not None
    layers = (past.layout.layers[row] for row in past.layout.rows(model.name))
    series = model.value("label_entropy") > math.log(WORDS) and not model.peak_update > REPLACED
    series = series and any(layer.kind.startswith(RECURRENT) for layer in layers)
    return PRIOR_STEPS if series else usual


def worthless(model: ModelPast) -> float:
    """Skill below which a model is not worth more than a constant answer."""
    return HARDLY if model.peak_update > REPLACED else NOTHING


def creeps(past: Past, model: ModelPast, step: int) -> bool:
    """Whether the answers stand at, or below, what a constant one is worth, for all it sinks."""
    constant = model.value("loss_constant")
    plain = past.loss_is_all_of(model)
    tells = model.value("information") > TELLS
    if step - model.born < STEPS or tells or not (constant > 0 and plain):
        return False
    older, newer = (1 - mean / constant for mean in past.loss.means(min(SPAN, step // 2)))
    nothing = worthless(model)
    if step >= STEPS_SURE and newer < nothing and past.dropout(model.name) >= STRONG_DROPOUT:
        # Its noise makes the loss several times a constant answer's; what sinks is the noise, by
        # saying less, unless the answers come to tell more of the labels.
        return not any(values.rising(step, goal) for values, goal in model.tells[:2] if len(values))
    if not DEEP < newer < nothing or older < newer - NOTHING:
        return False  # far targets: it is on its way down to a constant answer's loss
    if 2 * max(older, DUST) < newer:
        return False
    span = min(SPAN, step // 2) / 2
    pace = max(0.0, newer - older) / span
    if not newer + FAR * step * pace < WORTH:
        return False
    window = max(100, step // 3)
    return not any(values.rising_lately(window, step, goal) for values, goal in model.tells)


__all__ = ["REPLACED", "STEPS_SURE", "creeps", "grace", "worthless"]

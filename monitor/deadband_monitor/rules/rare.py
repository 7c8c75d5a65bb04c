"""Are the rows of rare classes known, by every loss of the run? Part of `constant-predictor`.

A sample every fifty steps holds a handful of rare rows in all; the losses between hold hundreds.
"""

from __future__ import annotations

import math
from statistics import median

from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.majority import NAMED
from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.rules.trend import MIN_POINTS

LITTLE = 0.2
"""Skill by the mean of the losses below which the rare rows are not learnt: they make up nearly all
of a constant answer's loss, so who tells half of them has half of it."""
MANY = 40.0
"""Rows of the other classes that were in these losses: the mean scatters by a sixth."""
EARLY_STEPS = 200
"""One chirp in thirty, which is learnt well by step 300, had a skill of 0.1 at 150 and none
named: rows of 2 % and more take as long."""
KNOWN = 0.6
"""Skill from which the probabilities tell the rare rows."""
TOLD = 0.3
"""Information from which rows of a rare class are told, and named before long."""


def rarely_met(past: Past, model: ModelPast) -> bool:
    """A batch of one label is no sign of sorted rows where the other classes are rare."""
    assert past.layout is not None
    rows = math.prod(past.layout.models[past.layout.index_of[model.name]].loss_target or (64,))
    return model.majority.rules and model.majority.may_lack_others(min(64, rows))


def unlearnt(seen: Observation, past: Past, model: ModelPast) -> bool:
    """The losses hold many rare rows and say that none is known, and no answer names any.

    Every loss is known, where samples are few and the rare rows in them fewer.
    """
    assert past.layout is not None
    if past.layout.several_models or seen.step - model.born < EARLY_STEPS:
        return False
    majority, target = model.majority, past.layout.models[past.layout.index_of[model.name]]
    losses = min(200, max(40, past.step // 2))
    many = majority.others(losses * math.prod(target.loss_target or (0,))) >= MANY
    constant = model.value("loss_constant")
    if not (many and majority.rules and constant > 0):
        return False
    older, newer = (1 - mean / constant for mean in past.loss.means(losses))
    if newer + 3 * (newer - older) > KNOWN:
        return False  # in three quarters as many steps again they are known
    skill = (older + newer) / 2
    told = model.value("rare_recall") >= NAMED or soon_told(seen, model)
    plain = math.isnan(model.latest("further_loss"))
    return plain and skill < LITTLE and not told and majority.lately_silent


def soon_told(seen: Observation, model: ModelPast) -> bool:
    """The answers say more of the labels by a steady factor, and half as many steps again will do.

    One row in thirty: 0.02, 0.04, 0.09 after 120, 160, 200 steps, and all found at 390.
    """
    window = max(100, seen.step // 2)
    older, newer = model.information.halves(window)
    if len(older) < MIN_POINTS // 2 or len(newer) < MIN_POINTS // 2:
        return False
    before, now = median(older), median(newer)
    if not 0 < 1.5 * before < now < TOLD:
        return False
    return math.log(TOLD / now) / math.log(now / before) * window / 2 < seen.step / 2


__all__ = ["rarely_met", "soon_told", "unlearnt"]

"""Do the labels have anything to do with the inputs? Part of `constant-predictor`.

Shuffled labels are learnt by heart, so the loss falls and nothing else looks wrong. What tells is
that inputs which lie next to each other agree in their labels no more than chance has it, while
what is learnt of rows that come again and again stays little.
"""

from __future__ import annotations

import math
from statistics import median

from deadband_monitor.rules.modest import FEW_NEIGHBOURS, may_prove_modest, modest
from deadband_monitor.rules.past import ModelPast, Past

CHANCE = 0.05
"""Agreement of nearest neighbours below which it is chance: digits, tumours and blood sugar with
shuffled labels stay within 0.04 of 0 over 600 steps; with 40 % of them wrong it is 0.36, in a noisy
regression 0.48."""
CHANCE_OF_VALUES = 0.01
"""The same for the correlation of values: that of shuffled blood sugar lies within 0.03 of 0, a
regression of which noise is 92 % holds 0.02 to 0.07."""
CONTRARY = -0.1
"""Agreement below which neighbours differ by design: a sampler that draws a few rare rows again and
again leaves each of them none but rows of the other class beside it."""
LITTLE = 0.15
"""Skill that learning by heart has reached when it is called; healthy runs are past it."""
EVEN = 0.8
"""Share of the largest class above which agreement beyond chance is a matter of a few rows."""
FIRST_ROUND = 0.9
"""Share of different rows among the last 2000, above which nothing was shown twice: what is learnt
of new rows is learnt for good."""
FEWEST_MET = 10.0
"""Rows met before from which their number tells, give or take a third."""
STEPS = 150
NOTHING, LEAP = 0.1, 0.15
"""A skill below the first, and what is gained on it within one round over the rows: to know a row
by heart it must have come before. GPTs, forests of ReLU and recurrent nets on shuffled labels gain
0.01 to 0.05 a round, a plain recurrent net that found what counts gained 0.35 in 1.3 rounds."""
FEWEST_OF_ROUND = 16
"""Losses of a round from which their means tell."""


def chance(model: ModelPast) -> float:
    """Agreement below which neighbours agree by chance."""
    return CHANCE_OF_VALUES if math.isfinite(model.value("sigma_share")) else CHANCE


def scatter(model: ModelPast) -> float:
    """Standard error of the agreement: that of a correlation of as many pairs as rows were met.

    Of labels the share c that agree by chance scatters by sqrt(c (1 - c)), and the agreement is
    what lies above it, over 1 - c: of many classes it scatters less.
    """
    met = model.value("in_rows") / model.value("in_distinct")
    return _scatter_of_one(model) / math.sqrt(met) if met > 1 else 0.0


def _scatter_of_one(model: ModelPast) -> float:
    """The same of a single pair."""
    alike = math.exp(-model.value("label_entropy"))
    return math.sqrt(alike / (1 - alike)) if 0 < alike < 0.5 else 1.0


def told_by_chance(model: ModelPast) -> bool:
    """Whether neighbours tell nothing, by so many rows that it would show if they did.

    Of the same rows met again and again each counts once. What is learnt then is learnt by heart
    for want of anything else.
    """
    agreement, rows = model.value("neighbour_agreement"), model.value("in_rows")
    if not rows > 0 or model.value("majority_share") > EVEN:
        return False
    error = _scatter_of_one(model) / math.sqrt(rows)
    return agreement < chance(model) and agreement + 2 * error < FEW_NEIGHBOURS


def unrelated(past: Past, model: ModelPast) -> bool:
    """Whether the labels look random, and what little skill there is learnt by heart."""
    agreement = model.value("neighbour_agreement")
    contrary = CONTRARY - 2 * scatter(model)
    if not contrary < agreement < chance(model) or past.step < STEPS:
        return False
    if model.value("majority_share") > EVEN:
        return False
    _, recent = model.skill.halves(max(100, past.step // 3))
    if not recent or median(recent) >= LITTLE or past.skill(model.name) >= 2 * LITTLE:
        return False
    if modest(past, model) or may_prove_modest(model):
        return False
    return shown_again(past, model) or not past.learning(model.name)


def leaps(past: Past, model: ModelPast) -> bool:
    """Whether the skill rose from nothing within one round: what was found holds for other rows."""
    assert past.layout is not None
    target = past.layout.model(model.name).loss_target
    constant, rows = model.value("loss_constant"), model.value("in_rows")
    if not (target and constant > 0 and rows > 0 and past.loss_is_all_of(model)):
        return False
    losses = int(rows / target[0])
    if losses < FEWEST_OF_ROUND:
        return False
    older, newer = (1 - mean / constant for mean in past.loss.means(losses))
    return older < NOTHING and newer - older > LEAP


def shown_again(past: Past, model: ModelPast) -> bool:
    """Whether the rows came a second time by now, if not in the samples then in between.

    Of rows drawn by chance, n hold n^2 / (2 N) that were met before where there are N in all (the
    birthday problem): with that number known, so is how often all were shown in the steps so far.
    """
    assert past.layout is not None
    share, rows = model.value("in_distinct"), model.value("in_rows")
    if share < FIRST_ROUND:
        return True
    target = past.layout.model(model.name).loss_target
    if not (share < 1 and target):
        return False
    sampled = rows / share
    met = sampled - rows
    steps = past.step - model.born
    return met >= FEWEST_MET and steps * target[0] > sampled**2 / (2 * met)

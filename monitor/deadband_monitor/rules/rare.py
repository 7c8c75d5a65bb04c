"""Are the rows of rare classes known, by every loss of the run? Part of `constant-predictor`.

A sample every fifty steps holds a handful of rare rows in all; the losses between hold hundreds.
"""

from __future__ import annotations

import math
from statistics import median

from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.majority import MOST_ROWS, NAMED, RULING
from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.rules.trend import MIN_POINTS

LITTLE = 0.2
"""Skill by the mean of the losses below which the rare rows are not learnt: they make up nearly all
of a constant answer's loss, so who tells half of them has half of it."""
MANY = 40.0
"""Rows of the other classes that were in these losses: the mean scatters by a sixth."""
PATIENCE_STEPS = 200
"""One chirp in thirty, which is learnt well by step 300, had a skill of 0.1 at 150 and none
named: rows of 2 % and more take as long."""
APART, APART_STEPS = 0.9, 300
"""Agreement of neighbours from which rare rows lie among their like, and are learnt in time: those
chirps have 0.98 ..."""
OVERLAP, OVERLAP_STEPS = 0.7, 120
"""... and below which they lie among the others. Eleven such runs with 2 to 5 % of rare rows that
did learn them (tables, pixels, tags, words; five optimisers) had begun to by then."""
KNOWN = 0.6
"""Skill from which the probabilities tell the rare rows."""
TOLD = 0.3
"""Information from which rows of a rare class are told, and named before long."""


def rarely_met(past: Past, model: ModelPast) -> bool:
    """A batch of one label is no sign of sorted rows where the other classes are rare."""
    assert past.layout is not None
    rows = math.prod(past.layout.model(model.name).loss_target or (MOST_ROWS,))
    return model.majority.rules and model.majority.may_lack_others(min(MOST_ROWS, rows))


def patience(model: ModelPast) -> int:
    """Steps for which rare rows may go unnamed: by then those that can be told would be."""
    agreement = model.latest("neighbour_agreement")
    if agreement >= APART:
        return APART_STEPS
    # With 80 to 20 the best answer to rows that overlap may be the one class: to say so takes more.
    some = model.majority.uneven and not model.majority.rules
    return OVERLAP_STEPS if agreement < OVERLAP and not some else PATIENCE_STEPS


def unlearnt(seen: Observation, past: Past, model: ModelPast) -> bool:
    """The losses hold many rare rows and say that none is known, and no answer names any.

    Every loss is known, where samples are few and the rare rows in them fewer.
    """
    assert past.layout is not None
    if past.layout.several_models or seen.step - model.born < patience(model):
        return False
    majority, target = model.majority, past.layout.model(model.name)
    many = majority.others(_losses(past) * math.prod(target.loss_target or (0,))) >= MANY
    constant = model.value("loss_constant")
    if not (many and majority.rules and constant > 0):
        return False
    told = model.value("rare_recall") >= NAMED or soon_told(seen, model)
    silent = past.loss_is_all_of(model) and not told and majority.lately_silent
    return silent and _known_little(past, constant)


def never_given(past: Past, model: ModelPast) -> bool:
    """Many yes/no answers a row (pixels, tags), hardly one of them yes: none is said to be so."""
    assert past.layout is not None
    loss = past.layout.model(model.name).loss
    if not loss.startswith("bce") or math.isfinite(model.value("majority_share")):
        return False
    rate, half = model.value("target_mean"), 0.5 if loss == "bce" else 0.0
    never = model.value("out_max") < half if rate < 0.5 else model.value("out_min") > half
    return never and 0 < min(rate, 1 - rate) <= 1 - RULING


def stays_silent(seen: Observation, past: Past, model: ModelPast, since: int) -> bool:
    """The losses say that nothing is known of the answers never given, nor will be soon."""
    assert past.layout is not None
    constant = model.value("loss_constant")
    # Of many pixels only some are copied: a sample's own loss can stray from that of all once.
    plain = math.isnan(model.value("further_loss")) and not past.layout.several_models
    if seen.step - since < patience(model) or not (constant > 0 and plain):
        return False
    return not soon_told(seen, model) and _known_little(past, constant)


def _losses(past: Past) -> int:
    """So many of the last losses tell."""
    return min(200, max(40, past.step // 2))


def _known_little(past: Past, constant: float) -> bool:
    """By these losses, and it will not be much in three quarters as many steps again.

    To come down to what the frequencies alone are worth is no knowledge.
    """
    older, newer = (max(0.0, 1 - mean / constant) for mean in past.loss.means(_losses(past)))
    return newer + 3 * (newer - older) <= KNOWN and (older + newer) / 2 < LITTLE


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


__all__ = [
    "PATIENCE_STEPS",
    "never_given",
    "patience",
    "rarely_met",
    "soon_told",
    "stays_silent",
    "unlearnt",
]

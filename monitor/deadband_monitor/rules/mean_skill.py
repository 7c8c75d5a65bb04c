"""Skill by the mean loss, where a few rows cost much more than all others.

Half of the batches hold none of the rows that matter (of a rare class, or far out), and what is
robust elsewhere, the middle of the last losses, looks past them.
"""

from __future__ import annotations

import math
from statistics import median

from deadband_monitor.rules.feed import HEAVY_TAILS
from deadband_monitor.rules.judges import Judgement
from deadband_monitor.rules.past import ModelPast, Past

LINEAR_LOSSES = frozenset({"l1", "smooth_l1", "huber"})
"""Losses that grow by the error itself: they are chosen for far targets, whose rows pull no harder
than others there."""

RULED_STEPS = 300
RULED_SKILL = 0.1
"""Skill by the mean loss that a run ruled by a few targets does not reach: one row in a hundred 200
deviations out leaves 0.03 after 600 steps, where the same net without it has 0.9."""
BY_HEART_STEPS = 200
BY_HEART = 0.5
"""Steps and skill of a squared error whose far targets are learnt one by one."""
TOLD_BY_NONE = 0.05
"""Agreement of neighbours below which they tell nothing of the targets that rule the loss: one in
thirty or in fifty mistyped leaves 0.02, and without these it is 0.6."""


EXTREME, TOLD_LITTLE = 100.0, 0.2
"""The same where the tails are heavier than any that are drawn: of an exponential variable the
kurtosis is 9, of a lognormal one (sigma 1) 114 in the limit and below 100 in 2000 draws."""


def tails_count(loss: str) -> bool:
    """Whether a target far out pulls harder than others by this loss.

    Yes and no have no tails: there it is how rare one of the two is.
    """
    return loss not in LINEAR_LOSSES and not loss.startswith("bce")


def tails(model: ModelPast) -> float:
    """Kurtosis of the targets.

    A run that broke tells of no targets any more; what far ones break, they break in large steps.
    """
    broke = model.broken.step is not None and model.large_update_step is not None
    return model.latest("target_kurtosis") if broke else model.value("target_kurtosis")


def tails_rule(past: Past, model: ModelPast) -> bool:
    """Whether a few targets far out are what the model's steps go by."""
    assert past.layout is not None
    heavy = model.value("target_kurtosis") > HEAVY_TAILS
    return heavy and tails_count(past.layout.model(model.name).loss)


def mean_skill(past: Past, model: ModelPast) -> tuple[float, float]:
    """Skill by the mean loss, and how much of it a step adds.

    Of several models, or where the run's loss holds more than the model's (a penalty, weights of
    one's own), the single losses are not known, and the middle of what was measured has to do.
    """
    constant = model.value("loss_constant")
    span = min(200, max(40, past.step // 2))
    older, newer = past.loss.means(span)
    if constant > 0 and math.isfinite(newer) and past.loss_is_all_of(model):
        return 1 - (older + newer) / 2 / constant, (older - newer) / constant / (span / 2)
    _, recent = model.skill.halves(max(200, past.step // 2))
    return median(recent) if recent else math.nan, 0.0


def ruled_by_few(past: Past, model: ModelPast) -> Judgement | None:
    """A few targets are all that the loss is about, and no answer to them was found."""
    assert past.layout is not None
    if past.step < BY_HEART_STEPS or past.layout.several_models:
        return None
    if not tails_rule(past, model):
        return None
    kurtosis = model.value("target_kurtosis")
    skill, _ = mean_skill(past, model)
    what = "its mean is that of a constant prediction"
    if not (past.step >= RULED_STEPS and skill < RULED_SKILL):
        if not (skill < BY_HEART and _told_by_none(past, model)):
            return None
        what = "no input tells of them, and what is known of them is learnt by heart"
    return Judgement(
        active=True,
        clear=False,
        message=f"a few targets far out rule the loss (kurtosis {kurtosis:.3g}, normal 3): {what} "
        f"(skill {skill:.2g})",
        evidence={"target_kurtosis": kurtosis, "skill": skill},
    )


def _told_by_none(past: Past, model: ModelPast) -> bool:
    """Errors are squared, and no input tells of the targets that make up the squares."""
    assert past.layout is not None
    squared = past.layout.model(model.name).loss == "mse"
    # Of several targets a row the agreement is the mean: those that are sound still tell a little.
    extreme = model.value("target_kurtosis") > EXTREME
    least = TOLD_LITTLE if extreme else TOLD_BY_NONE
    return squared and model.value("neighbour_agreement") < least


def steady_skill(step: int, model: ModelPast) -> float:
    """The skill in the middle of the last stretch: single losses swing more."""
    _, recent = model.skill.halves(max(100, step // 3))
    return median(recent) if recent else math.nan


__all__ = [
    "HEAVY_TAILS",
    "mean_skill",
    "ruled_by_few",
    "steady_skill",
    "tails",
    "tails_count",
    "tails_rule",
]

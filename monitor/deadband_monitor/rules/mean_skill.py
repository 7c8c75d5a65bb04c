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

RULED_STEPS = 300
RULED_SKILL = 0.1
"""Skill by the mean loss that a run ruled by a few targets does not reach: one row in a hundred 200
deviations out leaves 0.03 after 600 steps, where the same net without it has 0.9."""


def mean_skill(past: Past, model: ModelPast) -> tuple[float, float]:
    """Skill by the mean loss, and how much of it a step adds.

    Of several models the single losses are not known, and the middle of what was measured has to
    do.
    """
    assert past.layout is not None
    constant = model.value("loss_constant")
    span = min(200, max(40, past.step // 2))
    older, newer = past.loss.means(span)
    if not past.layout.several_models and constant > 0 and math.isfinite(newer):
        return 1 - (older + newer) / 2 / constant, (older - newer) / constant / (span / 2)
    _, recent = model.skill.halves(max(200, past.step // 2))
    return median(recent) if recent else math.nan, 0.0


def ruled_by_few(past: Past, model: ModelPast) -> Judgement | None:
    """A few targets are all that the loss is about, and no answer to them was found."""
    assert past.layout is not None
    if past.step < RULED_STEPS or past.layout.several_models:
        return None
    kurtosis, (skill, _) = model.value("target_kurtosis"), mean_skill(past, model)
    if not (kurtosis > HEAVY_TAILS and skill < RULED_SKILL):
        return None
    return Judgement(
        active=True,
        clear=False,
        message=f"a few targets far out rule the loss (kurtosis {kurtosis:.3g}, normal 3): its "
        f"mean is that of a constant prediction (skill {skill:.2g})",
        evidence={"target_kurtosis": kurtosis, "skill": skill},
    )


def steady_skill(step: int, model: ModelPast) -> float:
    """The skill in the middle of the last stretch: single losses swing more."""
    _, recent = model.skill.halves(max(100, step // 3))
    return median(recent) if recent else math.nan


__all__ = ["HEAVY_TAILS", "mean_skill", "ruled_by_few", "steady_skill"]

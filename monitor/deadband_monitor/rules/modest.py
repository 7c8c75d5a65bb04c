"""Has the model learnt the little there is to learn? Part of `constant-predictor`.

Who clicks, who defaults, what tomorrow's price is: the best answer there is explains 3 to 10 % of
it. What tells such a run from one that learns nothing, or learns random labels by heart, are rows
that it was not trained on: those of evaluation passes, or a data set too large to meet again soon.
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean

from deadband_monitor.rules.mean_skill import tails_rule
from deadband_monitor.rules.past import ModelPast, Past

FEW_NEIGHBOURS, FEW_OF_FEW = 0.15, 0.3
"""Agreement of nearest neighbours beyond chance from which labels are plainly not random and there
is more to learn than a little, and the same where one class holds most labels: it hangs on few rows
then, and scatters by 0.1."""
NEW_ROWS = 0.88
"""Share of different rows among the last 2000, at its lowest: in passes over n rows it comes down
to 1 - 500 / n, so these are 4200 and more, of which random labels are learnt by heart in hundreds
of passes and not in five."""
LOSSES = 100
CLASSES, VALUES = 0.015, 0.03
"""Skill that counts. The entropy of 2000 labels is known to a hundredth; the variance of as many
targets scatters by 3 %, and the skill with it."""
PASSES = 3
ERRORS = 2.0
"""Standard errors that it must lie above."""


def modest(past: Past, model: ModelPast) -> bool:
    """Whether rows not learnt by heart are answered better than by a constant, if not by much."""
    constant, agreement = model.value("loss_constant"), model.value("neighbour_agreement")
    few = FEW_OF_FEW if model.majority.uneven else FEW_NEIGHBOURS
    if not (constant > 0 and agreement < few and past.loss_is_all_of(model)):
        return False
    if tails_rule(past, model):
        return False
    # The newest alone: the mean of all still counts the start.
    least, passes = _least(model), list(model.evaluations)[-PASSES:]
    if len(passes) == PASSES:
        skill = 1 - fmean(passes) / constant
        return skill - ERRORS * _scatter(passes) / math.sqrt(len(passes)) / constant > least
    if not model.fewest_distinct >= NEW_ROWS:
        return False
    mean, error = past.loss.mean(LOSSES), past.loss.error(LOSSES)
    return 1 - (mean + ERRORS * error) / constant > least


def may_prove_modest(model: ModelPast) -> bool:
    """Whether other rows were answered better than by a constant, if too seldom yet to be sure.

    Where the last pass is the best one it is not done yet.
    """
    passes, constant = list(model.evaluations), model.value("loss_constant")
    if not passes or not passes[-1] < (1 - _least(model)) * constant:
        return False
    return len(passes) < PASSES or passes[-1] == min(passes)


def _least(model: ModelPast) -> float:
    return VALUES if math.isfinite(model.value("sigma_share")) else CLASSES


def _scatter(passes: list[float]) -> float:
    """Standard deviation by steps from one to the next: what they fall by is no noise.

    Half of the mean square of successive differences (von Neumann, Ann. Math. Stat. 12:367, 1941).
    """
    return math.sqrt(fmean((b - a) ** 2 for a, b in pairwise(passes)) / 2)


__all__ = ["may_prove_modest", "modest"]

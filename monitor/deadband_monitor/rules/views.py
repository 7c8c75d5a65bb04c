"""How outputs are known for two views of one thing where nobody saw a model run twice.

Models that are called by their parts, or through several modules, tell no number of calls.
"""

from __future__ import annotations

import math
from itertools import combinations

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.structure import perhaps_embeddings
from deadband_monitor.rules.trend import LossTrend

_OUT_GRAD = LAYER_COLUMN["out_grad_rms"]

NOTHING_LEFT = 0.02
"""Share of the way to its optimum that a cosine loss still has to go, below which answer and target
point the same way. Of 11 healthy runs by a cosine none came below it while all outputs were one
point (a dip of SimSiam's predictor stands at 0.08); without a stop-gradient 0.004 is left after 50
steps."""
EXACT, NO_SLOPE = 1e-9, 1e-12
"""Share of its first that is left of a loss, and its gradient, where answers and targets are one to
the last digit: of targets that differ rounding leaves more."""
SAME = 1e-4
"""Relative difference of two root mean squares that are the same figure to single precision."""
OFTEN = 3
"""Samples in a row in which they are: once may be the same start of two models."""


def nothing_left(loss: LossTrend) -> bool:
    """Whether a loss of cosines stands at its optimum, a whole number: 0, -1, or -2 of two views.

    Outputs that are one point can then only be compared with what is one point as well: targets
    that differ, as answers do, would leave them the cosine of their mean.
    """
    left = loss.fresh - math.floor(loss.fresh) if math.isfinite(loss.fresh) else math.nan
    return left < NOTHING_LEFT * (loss.first - loss.fresh)


def is_spent(loss: LossTrend, norm: float) -> bool:
    """Whether neither anything of a loss is left nor of its gradient's norm.

    That sure of itself is what is compared with itself alone, say a student's classes with those
    of a teacher that learns as well.
    """
    return abs(loss.fresh) < EXACT * abs(loss.first) and norm < NO_SLOPE


class OpposedGradients:
    """Finds models whose outputs get gradients of one size: each is the target of the other.

    The gradient of a squared difference is the same for both its terms but for the sign; a target
    that is detached gets none.
    """

    def __init__(self, layout: Layout) -> None:
        rows = [perhaps_embeddings(layout, i) for i in range(len(layout.models))]
        squared = [model.loss == "mse" for model in layout.models]
        self._pairs = [
            (i, j, rows[i][-1], rows[j][-1])
            for i, j in combinations(range(len(rows)), 2)
            if squared[i] and squared[j] and rows[i] and rows[j]
        ]
        self._equal = [0] * len(self._pairs)
        self._step = -1

    def among(self, seen: Observation) -> set[int]:
        """Indices of the models that are such by now."""
        if seen.step != self._step:
            self._step = seen.step
            for place, (_, _, one, other) in enumerate(self._pairs):
                a, b = float(seen.layers[one, _OUT_GRAD]), float(seen.layers[other, _OUT_GRAD])
                if a > 0 and abs(a - b) <= SAME * a:
                    self._equal[place] += 1
                elif math.isfinite(a) and math.isfinite(b):
                    self._equal[place] = 0
        found: set[int] = set()
        for (i, j, _, _), equal in zip(self._pairs, self._equal, strict=True):
            if equal >= OFTEN:
                found |= {i, j}
        return found

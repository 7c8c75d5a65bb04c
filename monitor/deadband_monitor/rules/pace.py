"""How a run's gains follow each other: at the pace they had, or coming to rest."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.rules.trend import MIN_POINTS, History

STEADY = 0.5
"""Share of the gain of a run's first quarters from which that of its last ones is as steady."""
STEADY_FAR, FASTER_FAR = 4, 10
"""Times the steps so far that half of the gap may take at a steady pace, and at one that grows."""


def keeps_pace(
    quarters: tuple[float, ...] | None, nothing: float, wanted: float, *, slow: bool
) -> bool:
    """Whether the loss falls as it did before, and will be there in good time: no plateau.

    What a linear layer on features, a small rate or far targets make slow is not stuck; a loss that
    comes to rest gains less and less (of a logarithm of the steps the last quarter gains a third of
    what the first did).
    """
    if quarters is None:
        return False
    levels = [max(gain, nothing) for gain in quarters]
    before, now = levels[1] - levels[0], levels[3] - levels[2]
    far = FASTER_FAR if slow or now > 1.5 * before else STEADY_FAR
    return now > 0 and now >= STEADY * before and wanted <= now * 4 * far


def comes_to_rest(quarters: tuple[float, ...] | None, wanted: float) -> bool:
    """Whether each quarter of the run gained less than half of what the one before it did.

    All that is still to come at that rate does not make up a tenth of what is wanted.
    """
    if quarters is None:
        return False
    first, second, third = (now - before for before, now in pairwise(quarters))
    slackens = 0 < third <= second / 2 and second <= first / 2
    return slackens and third * third / (second - third) < wanted / 10


def gains_by_quarter(
    past: Past, model: ModelPast, gains: History, age: int
) -> tuple[float, ...] | None:
    """Minus the loss in the quarters of the run; None where too little is known of it.

    Every loss of the run counts, for samples may be few; of weights that came later, the samples'.
    """
    losses = past.loss.course.quarters
    if not model.born and losses is not None:
        return tuple(-loss for loss in losses)
    early, late = gains.halves(age)
    if min(len(early), len(late)) < MIN_POINTS:
        return None
    parts = []
    for half in (early, late):
        middle = len(half) // 2
        parts += [median(half[:middle]), median(half[middle:])]
    return tuple(parts)

"""Weights that every step moves and that lie where they began."""

from __future__ import annotations

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import Case

UNDONE = 2.0
"""Way from the start, in steps, of weights that are written back after each."""
UNDONE_STEPS = 100
STRAIGHT = 0.5
"""Cosine of consecutive steps from which they do not cancel each other: n of them whose directions
are forgotten at that pace go sqrt(n (1 + c) / (1 - c)) steps far, by chance alone."""
STRAIGHTEST = 0.9
"""As far as that is counted: momentum swings to and fro in valleys that its steps go along."""
IN_PART_STEPS = 300
SHORTFALL = 0.1
"""Share of that way which tells of weights that are written back in part: an average that is copied
into the model after each step (decay 0.99) left 0.07 of it after 900 steps."""


def undone(case: Case) -> tuple[float, float] | None:
    """How far a step goes and how far the weights got, where that is the same after many steps.

    Steps that cancel each other by chance leave their number's root: after 100 steps ten of them.
    """
    layout, name = case.layout, case.model.name
    rows = layout.rows(name)
    rows = rows[(layout.matrix & layout.learns)[rows]]
    drift = case.past.newest[rows, LAYER_COLUMN["weight_drift"]]
    step = case.past.newest[rows, LAYER_COLUMN["update_ratio"]]
    known = np.isfinite(drift) & (step > 0)
    if known.sum() < 2 or case.past.step - case.start < UNDONE_STEPS:
        return None
    way = UNDONE * step[known]
    turns = case.past.newest[rows, LAYER_COLUMN["update_cosine"]][known]
    steps = case.past.step - case.start
    if steps >= IN_PART_STEPS and (turns > STRAIGHT).all():
        # Steps that have only just become as large have not gone far yet.
        usual = np.minimum(step, case.past.first[rows, LAYER_COLUMN["update_ratio"]])[known]
        walked = np.sqrt(steps * (1 + turns) / (1 - np.minimum(turns, STRAIGHTEST)))
        way = np.fmax(way, SHORTFALL * walked * usual)
    if not bool((drift[known] <= way).all()):
        return None
    return float(np.median(step[known])), float(np.median(drift[known]))

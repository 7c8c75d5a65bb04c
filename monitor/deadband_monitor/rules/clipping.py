"""Is the gradient cut to one small length at every step, and the steps with it?"""

from __future__ import annotations

import math

import numpy as np

from deadband_monitor.rules.past import ModelPast, Past

CLIPPED_UPDATE = 1e-3
"""Largest update of a run whose gradients are clipped to next to nothing, a tenth of what healthy
ones start with; clipped to what is usual, at 1.0, its updates are as large as any."""
SAME_NORM = 0.04
"""Decades by which a gradient norm scatters that is cut to one length: 0.02 where only a part of it
was measured. In 169 healthy runs it was 0.12 in the middle, in one of fifteen below this."""


def clipped_to(past: Past, model: ModelPast) -> float:
    """A small norm that the gradient has at every step, where it makes the steps; or NaN.

    Tables give gradients to the rows that were looked up alone, of which not all are measured.
    """
    assert past.layout is not None
    norms = np.log10([norm for norm in model.norms if norm > 0])
    group = next(iter(past.layout.table.optimizers), None)
    rescales = group is not None and any(group.betas)
    if len(norms) >= 10 and norms.std() < SAME_NORM and norms.mean() < -2 and not rescales:
        return 10 ** float(norms.mean())
    return math.nan


def held_back(past: Past, model: ModelPast) -> bool:
    """Whether that is what keeps the steps small."""
    return 0 < model.peak_update < CLIPPED_UPDATE and math.isfinite(clipped_to(past, model))


__all__ = ["clipped_to", "held_back"]

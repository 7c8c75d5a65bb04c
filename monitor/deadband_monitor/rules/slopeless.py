"""Where the gradient ends though everything lives: a step without a slope lies between two layers.

Rounding, a sign, a comparison have slope zero everywhere. Small slopes make a gradient small; dead
and saturated layers are seen as such.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.inputs import RECURRENT
from deadband_monitor.rules.past import Past

ENOUGH_SAMPLES = 5
"""Samples in which no gradient at all came through."""
MOSTLY = 0.9
"""Share of the units from which a layer between the two counts as dead or saturated."""
VARIES = 1e-3
"""Share of variance from which a layer tells inputs apart: something can be learnt in it."""

_OUT_GRAD, _GRAD, _OUT, _RMS, _RHO = (
    LAYER_COLUMN[name]
    for name in ("out_grad_rms", "grad_rms", "out_rms", "weight_rms", "out_variance")
)
_SHUT = [LAYER_COLUMN[name] for name in ("dead_units", "zero_share", "saturation")]


@dataclass(frozen=True, slots=True)
class Gap:
    """No gradient has come from `after` to `before`, or to any weight up to there."""

    before: int
    """Row of the last layer with weights that no gradient reaches."""
    after: int
    """Row of the first one that it does reach."""


def gap(past: Past, model: str) -> Gap | None:
    """Between which layers of a model every gradient so far has ended."""
    layout, most = past.layout, past.highest
    assert layout is not None
    rows = layout.rows(model)
    weighted = rows[(layout.matrix | layout.embedding)[rows]]
    weighted = weighted[np.isfinite(most[weighted, _OUT_GRAD])]
    if len(weighted) < 2 or past.samples < ENOUGH_SAMPLES:
        return None
    reached = most[weighted, _OUT_GRAD] > 0
    first = int(np.argmax(reached))
    if first == 0 or not reached[first:].all():
        return None
    before, after = int(weighted[first - 1]), int(weighted[first])
    alive = most[before, _OUT] > 0 and past.lowest[after, _RMS] > 0
    # Of a recurrent layer only the last position may be asked for: its weights tell.
    learnt = most[weighted[:first], _GRAD]
    # Gates at their flat ends are not seen: what enters them may be far too large.
    gated = layout.layers[before].kind.startswith(RECURRENT)
    if gated or not alive or not bool((learnt == 0).all()):
        return None
    return Gap(before, after)


def lives(past: Past, found: Gap) -> bool:
    """Whether all that was seen between the two told inputs apart and let gradients pass."""
    between: NDArray[np.float32] = past.newest[found.before : found.after]
    shut = bool((between[:, _SHUT] >= MOSTLY).any())
    return not shut and bool((between[:, _RHO] > VARIES).all())

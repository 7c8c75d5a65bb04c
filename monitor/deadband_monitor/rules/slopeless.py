"""Where the gradient ends though everything lives: a step without a slope lies between two layers.

Rounding, a sign, a comparison have slope zero everywhere. Small slopes make a gradient small; dead
and saturated layers are seen as such. A recurrent state may be cut from what came before as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.inputs import RECURRENT
from deadband_monitor.rules.layout import Layout
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


def aside(past: Past, model: str) -> int | None:
    """The layer whose answers are heard by nothing, where what came before it goes another way."""
    layout, most = past.layout, past.highest
    assert layout is not None
    rows = layout.rows(model)
    rows = rows[(layout.weights | layout.embedding)[rows]]
    unheard = (most[rows, _OUT_GRAD] == 0) & (most[rows, _GRAD] == 0) & (most[rows, _OUT] > 0)
    if past.samples < ENOUGH_SAMPLES or np.count_nonzero(unheard) != 1:
        return None
    place = int(np.argmax(unheard))
    heard = most[rows, _OUT_GRAD] > 0
    around = heard[:place].any() and heard[place + 1 :].any()
    # Behind weights that are zero every answer is unheard.
    shut = (past.lowest[rows[place + 1 :], _RMS] == 0).any()
    return int(rows[place]) if around and not shut else None


def lives(past: Past, found: Gap) -> bool:
    """Whether all that was seen between the two told inputs apart and let gradients pass."""
    between: NDArray[np.float32] = past.newest[found.before : found.after]
    shut = bool((between[:, _SHUT] >= MOSTLY).any())
    return not shut and bool((between[:, _RHO] > VARIES).all())


def cells(layout: Layout, index: int) -> list[tuple[int, int]]:
    """Rows of recurrent cells that run along a sequence, each after the row of what feeds it."""
    rows = layout.rows_of[index].tolist()
    kept = [row for row in rows if _is_cell(layout.layers[row].kind)]
    names = [layout.layers[row].name for row in kept]
    again = {name.split("@", 1)[0] for name in names if "@" in name}
    at = {row: place for place, row in enumerate(rows)}
    return [
        (rows[at[row] - 1], row)
        for row, name in zip(kept, names, strict=True)
        if name in again and at[row]
    ]


def forgetful(past: Past, fed: list[tuple[int, int]]) -> int | None:
    """Row of a recurrent cell that hands no gradient back along its sequence.

    What feeds it is trained, so some position does get a gradient, but not one of those copied,
    which are spread over the sequence: only the last step is linked to the loss. Of 700 runs none
    that let the gradient through looked like it, however fast the past was forgotten.

    fed: see `cells`.
    """
    most = past.highest
    if past.samples < ENOUGH_SAMPLES:
        return None
    for row, cell in fed:
        unreached = most[row, _OUT_GRAD] == 0 and most[row, _GRAD] > 0 and most[cell, _GRAD] > 0
        if unreached and past.newest[row, _RHO] > VARIES:  # what is padded alike may be masked
            return cell
    return None


def _is_cell(kind: str) -> bool:
    return kind.startswith(RECURRENT) and kind.endswith("Cell")

"""What a network was born with that it learns against: read from its first sample."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.inputs import RECURRENT
from deadband_monitor.rules.judges import Judgement
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.state.series import Floats

LAYERS = 5
"""Weight layers from which growth is a matter of depth."""
BURST, BURST_STEPS = 1000.0, 50
"""Growth of the gradient on its way back, at the first sample, that no network was seen to learn
with (16 branches of tanh, twice He's spread: 2400), and the steps that it may take to show."""
LEFT, ARRIVED = 1e-4, 1e-3
"""Share of what tells inputs apart that the last hidden layer of deep ones is given of what the
first one gives, and share of the gradient that comes back to it. Below both lay 40 of 1500 runs;
those that learnt all the same had a skill of 0.5 by their 300th step."""
GATES_WIDE = 30.0
"""Times PyTorch's spread from which the gates of a recurrent layer are open or shut for good."""
SERVES = 0.5
"""Skill from which it does."""
_OUT_GRAD = LAYER_COLUMN["out_grad_rms"]


def grown_back(past: Past, model: ModelPast, values: Floats | None = None) -> tuple[str, float]:
    """The layer at which the gradient was largest, and how many times the last layer's it was.

    At the first sample, or in `values`. It has to grow little by little: a norm behind a layer of
    small weights makes one large step of it, and no harm. Of 700 healthy runs none came to 5.
    """
    layout = past.layout
    assert layout is not None
    called = _called(layout, model.name)
    grads = (past.first if values is None else values)[called, _OUT_GRAD]
    known = np.isfinite(grads) & (grads > 0)
    decades = np.log10(grads[known].astype(np.float64))
    if len(decades) < LAYERS or layout.model(model.name).late:
        return "", math.nan
    peak = int(np.argmax(decades[: len(decades) // 2]))
    grown = float(decades[peak] - decades[-1])
    if -np.diff(decades[peak:]).min() > max(grown / 2, 0.0):
        return "", math.nan
    return layout.keys[int(called[known][peak])][1], 10**grown


@lru_cache(maxsize=16)
def _called(layout: Layout, model: str) -> NDArray[np.int64]:
    """Rows of the weights that learn, once each: later calls of a layer stand behind the last."""
    rows = layout.weighted(model)
    once = [row for row in rows[layout.learns[rows]].tolist() if "@" not in layout.keys[row][1]]
    return np.array(once, np.int64)


def hampered(past: Past, model: ModelPast) -> str:
    """What stands in the way of learning, in words: lost in depth, gates that cannot move."""
    layout = past.layout
    assert layout is not None
    if layout.model(model.name).late:
        return ""
    rows = layout.rows(model.name)
    spreads = past.first[rows, LAYER_COLUMN["weight_spread"]]
    for row in rows[spreads > GATES_WIDE].tolist():
        layer, spread = layout.layers[row], float(past.first[row, LAYER_COLUMN["weight_spread"]])
        if layer.kind.startswith(RECURRENT):
            return f"the weights of {layer.name} began {spread:.2g} times PyTorch's spread"
    left = lost_in_depth(past, model)
    return f"the layers began by leaving {left:.0e} of what tells the inputs apart" if left else ""


def lost_in_depth(past: Past, model: ModelPast) -> float:
    """Share of what tells inputs apart that deep layers left, and left no gradient; 0 where not."""
    layout = past.layout
    assert layout is not None
    rows = layout.rows(model.name)
    matrices = rows[layout.trained[rows] & ~layout.embedding[rows]]
    shares = past.first[rows[~layout.head[rows]], LAYER_COLUMN["out_variance"]]
    shares = shares[np.isfinite(shares)]
    grads = past.first[matrices, _OUT_GRAD]
    grads = grads[grads > 0]
    if min(len(shares), len(grads)) < LAYERS:
        return 0.0
    left, arrived = float(shares[-1] / shares[0]), float(grads[0] / grads[-1])
    return left if left < LEFT and arrived < ARRIVED else 0.0


def bursts(seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
    """The gradient grows with depth and has from the start, and nothing is made of what it says.

    Where tanh keeps the outputs within bounds, only the way back shows it: layers whose slopes have
    no more to do with each other. An optimiser that takes steps of one size hides it as well.
    """
    assert past.layout is not None
    if seen.step - model.born < BURST_STEPS or past.layout.several_models:
        return None
    skill = past.skill(model.name)
    if skill > SERVES or (math.isnan(skill) and past.learning(model.name)):
        return None
    layer, growth = grown_back(past, model)
    if not growth > BURST:
        return None
    _, now = grown_back(past, model, seen.layers)
    if not now > BURST / 10:
        return None
    return Judgement(
        active=True,
        clear=False,
        severity="warning",
        layer=layer,
        message=f"the gradient grew {growth:.1e} times from the last layer to the first before "
        f"anything was learnt, and {now:.1e} times now",
        evidence={"growth": growth, "grown": now},
        onset_step=past.first_step,
    )


__all__ = ["bursts", "grown_back", "hampered", "lost_in_depth"]

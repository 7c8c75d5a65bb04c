"""Flat ends of activation functions: saturated elements, stuck units, units that are never on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deadband.wire import Layer
from deadband_monitor.statistics.values import Doubles, Floats, Mask

RELU_LIKE = frozenset({"relu", "relu6", "threshold"})
"""Functions with a side that is exactly zero, where a unit that is never positive has no gradient.
Leaky ReLU, ELU, GELU and SiLU always let some through."""

RECURRENT = frozenset({"LSTM", "LSTMCell", "GRU", "GRUCell"})
"""Gates at 0 or 1 are how these remember; their saturation says nothing."""

_ROW_SATURATED = 0.95
_SAME_SIDE = 0.98
"""A unit is stuck when saturated on more than 95 % of the rows and on the same side on more than
98 % of those. Trained healthy nets have up to 35 % saturated elements but no stuck unit."""

_FEWEST_ROWS = 8
"""Below, a unit that is saturated half of the time is often saturated on every row by chance."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Where a function counts as flat: at or below `low`, at or above `high`."""

    low: float
    high: float


_ENDS: Mapping[str, Ends] = {
    # The slope of tanh is below 6 % of its largest beyond 0.97, that of a sigmoid below 12 %.
    "tanh": Ends(-0.97, 0.97),
    "sigmoid": Ends(0.03, 0.97),
    "hardsigmoid": Ends(0.0, 1.0),
    "hardtanh": Ends(-1.0, 1.0),
    "relu6": Ends(-np.inf, 6.0),
}

_SOFTMAX_SURE = 0.999


def ends(layer: Layer) -> Ends | None:
    """The flat ends of a layer's activation; None where it has none or they mean nothing."""
    if layer.kind in RECURRENT:
        return None
    if layer.activation == "hardtanh":
        return Ends(layer.options.get("min_val", -1.0), layer.options.get("max_val", 1.0))
    return _ENDS.get(layer.activation)


def saturation(x: Floats, low: Floats, high: Floats) -> tuple[Doubles, Doubles]:
    """Share of saturated elements and of stuck units.

    x: (b, r rows, u units), low and high: (b,). Non-finite elements count as not saturated. Stuck
    units are NaN below 8 rows.
    """
    batch, rows, units = x.shape
    if not rows or not units:
        return np.full(batch, np.nan), np.full(batch, np.nan)
    below = np.add.reduce(x <= low[:, None, None], axis=1, dtype=np.int32)
    above = np.add.reduce(x >= high[:, None, None], axis=1, dtype=np.int32)
    flat = below + above
    share = flat.sum(axis=1) / (rows * units)
    if rows < _FEWEST_ROWS:
        return share, np.full(batch, np.nan)
    stuck = (flat > _ROW_SATURATED * rows) & (np.maximum(below, above) > _SAME_SIDE * flat)
    return share, stuck.mean(axis=1)


def softmax_saturation(x: Floats) -> Doubles:
    """Share of rows whose largest probability exceeds 0.999, x: (b, r rows, u units)."""
    if not x.shape[1] or not x.shape[2]:
        return np.full(len(x), np.nan)
    return np.asarray((x.max(axis=2) > _SOFTMAX_SURE).mean(axis=1))


def ever_positive(x: Floats) -> Mask:
    """Which units have a positive element on any row, (b, r, u) -> (b, u); NaN is not positive."""
    if not x.shape[1]:
        return np.zeros((x.shape[0], x.shape[2]), dtype=np.bool_)
    return np.asarray(np.fmax.reduce(x, axis=1) > 0)

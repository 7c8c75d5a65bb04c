"""Flat ends of activation functions: saturated elements, stuck units, units that are never on.

Slopes are read off outputs: those of tanh and sigmoid are functions of what comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deadband.wire import Layer
from deadband_monitor.statistics import arrange
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


def ever_positive(x: Floats, axes: str) -> Mask:
    """Which units have a positive element, (b, *slice) -> (b, u); NaN is not positive."""
    if axes == "nup":
        # Samples first, over whole rows of memory: that leaves little to go through by unit.
        by_position = np.logical_or.reduce(x > 0, axis=1)
        return np.asarray(np.logical_or.reduce(by_position, axis=2))
    return np.asarray(np.logical_or.reduce(arrange.by_unit(x, axes) > 0, axis=1))


def mean_slope(
    activation: str, mean: Doubles, mean_square: Doubles, saturated: Doubles, zero: Doubles
) -> Doubles:
    """Mean slope of a saturating function over its elements, as a share of its largest: (b,).

    From figures of its output: its mean, its mean square, the shares that are saturated and zero.
    NaN for functions whose slope the output does not tell.
    """
    if activation == "tanh":
        slope = 1.0 - mean_square
    elif activation == "sigmoid":
        slope = 4.0 * (mean - mean_square)
    elif activation in ("hardtanh", "hardsigmoid"):
        slope = 1.0 - saturated
    elif activation == "relu6":
        slope = 1.0 - saturated - zero
    else:
        return np.full(len(mean_square), np.nan)
    return np.clip(slope, 0.0, 1.0)


def choice_entropy(x: Floats) -> Doubles:
    """Entropy of which unit is largest, over the most that it can be, x: (b, r rows, u units).

    The most is ln of the units, or of the rows where there are fewer. Rows without a single winner
    (a router of zeros is uniform) choose nothing; NaN below 8 rows that choose.
    """
    batch, rows, units = x.shape
    entropy = np.full(batch, np.nan)
    if rows < _FEWEST_ROWS or units < 2:
        return entropy
    largest = x.max(axis=2, keepdims=True)
    clear = (x == largest).sum(axis=2) == 1
    winner = x.argmax(axis=2)
    for place in range(batch):
        chosen = winner[place, clear[place]]
        if len(chosen) >= _FEWEST_ROWS:
            share = np.bincount(chosen) / len(chosen)
            share = share[share > 0]
            entropy[place] = -(share * np.log(share)).sum() / np.log(min(units, len(chosen)))
    return np.asarray(np.abs(entropy))

"""The axes of a slice: which are rows (samples), which are units, which is one column of a sample.

`Slot.axes` names them in stored order: `nu`, `nup`, `npu`, `n`. Unknown axes are read as samples
first, units last.
"""

from __future__ import annotations

import math

import numpy as np

from deadband_monitor.statistics.values import Reals


def by_sample(x: Reals, axes: str) -> Reals:
    """(b, *slice) -> (b, n samples, columns): one column per unit and position."""
    x = _samples_first(x, axes)
    return x.reshape(len(x), x.shape[1] if x.ndim > 1 else 1, _rest(x, 2))


def by_unit(x: Reals, axes: str) -> Reals:
    """(b, *slice) -> (b, rows, u units): samples and positions are rows."""
    x = _samples_first(x, axes)
    if "u" not in axes and len(axes) == x.ndim - 1:
        return x.reshape(len(x), _rest(x, 1), 1)
    if "u" in axes:
        unit = 1 + axes.replace("n", "").index("u") + ("n" in axes)
        x = np.moveaxis(x, unit, -1)
    return x.reshape(len(x), math.prod(x.shape[1:-1]), x.shape[-1])


def _samples_first(x: Reals, axes: str) -> Reals:
    place = axes.find("n")
    return np.moveaxis(x, 1 + place, 1) if place > 0 else x


def _rest(x: Reals, start: int) -> int:
    return math.prod(x.shape[start:])

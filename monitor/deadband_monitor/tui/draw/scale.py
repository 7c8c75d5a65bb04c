"""Where a value lies on a metric's scale and towards its band; which of many readings is worst.

Gauges, heat map, sparklines and the choice of the worst layer all read a metric through these few
functions, so one reading looks the same wherever it is shown.
"""

from __future__ import annotations

from math import isinf

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import Metric

Values = NDArray[np.floating]

LEVELS = 8
"""Steps of colour on the heat map: 0-1 below the band, 2-5 inside it, 6-7 above it."""
MISSING = -1
_SMALLEST = 1e-38


def on_scale(metric: Metric, values: Values | float) -> NDArray[np.float64]:
    """The values as they are spaced on the metric's scale: logarithms where it is logarithmic."""
    array = np.asarray(values, np.float64)
    if not metric.log:
        return array
    return np.log10(np.maximum(array, _SMALLEST))


def ends(metric: Metric) -> tuple[float, float]:
    """Both ends of the drawn scale, on the scale."""
    return float(on_scale(metric, metric.floor)), float(on_scale(metric, metric.ceiling))


def band(metric: Metric) -> tuple[float, float]:
    """Both ends of the healthy band, on the scale, within the drawn part."""
    low, high = ends(metric)
    inner_low = low if isinf(metric.low) else float(on_scale(metric, metric.low))
    inner_high = high if isinf(metric.high) else float(on_scale(metric, metric.high))
    return min(max(inner_low, low), high), max(min(inner_high, high), low)


def side(metric: Metric, value: float) -> int:
    """-1 below the band, 1 above it, 0 inside it or where nothing was measured."""
    if value < metric.low:
        return -1
    return 1 if value > metric.high else 0


def position(metric: Metric, value: float, cells: int) -> int | None:
    """The cell of a track of `cells` cells that the value falls into."""
    if np.isnan(value):
        return None
    low, high = ends(metric)
    share = (float(on_scale(metric, value)) - low) / (high - low)
    return int(min(max(share, 0.0), 1.0) * (cells - 1) + 0.5)


def levels(metric: Metric, values: Values) -> NDArray[np.int8]:
    """The colour step of each value; `MISSING` where nothing was measured.

    The steps follow the band: a healthy run is all middle steps (greys), whatever the metric.
    """
    low, high = ends(metric)
    inner_low, inner_high = band(metric)
    scaled = on_scale(metric, values)
    with np.errstate(invalid="ignore"):
        inside = (scaled - inner_low) / max(inner_high - inner_low, 1e-12)
        step = 2 + np.floor(np.clip(np.nan_to_num(inside), 0, 0.99) * 4)
        below, above = values < metric.low, values > metric.high
        step = np.where(below, np.where(scaled < (low + inner_low) / 2, 0, 1), step)
        step = np.where(above, np.where(scaled > (high + inner_high) / 2, 7, 6), step)
    found: NDArray[np.int8] = np.where(np.isnan(values), MISSING, step).astype(np.int8)
    return found


def badness(metric: Metric, values: Values) -> NDArray[np.float64]:
    """How bad each reading is: larger is worse, minus infinity where nothing was measured."""
    scaled = on_scale(metric, values)
    if metric.worst == "low":
        bad = -scaled
    elif metric.worst == "high":
        bad = scaled
    else:
        inner_low, inner_high = band(metric)
        bad = np.abs(scaled - (inner_low + inner_high) / 2)
    return np.where(np.isnan(values), -np.inf, bad)


def worst_row(metric: Metric, values: Values) -> int | None:
    """Index of the worst reading; None where nothing was measured."""
    if not len(values) or bool(np.isnan(values).all()):
        return None
    return int(np.argmax(badness(metric, values)))


def worst_of(metric: Metric, low: Values, high: Values) -> Values:
    """Of the lowest and the highest reading of a stretch of steps, the worse one."""
    if metric.worst == "low":
        return low
    if metric.worst == "high":
        return high
    return np.where(badness(metric, low) >= badness(metric, high), low, high)

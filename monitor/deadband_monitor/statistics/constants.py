"""Losses of real-valued targets: of a prediction, and of the best constant one."""

from __future__ import annotations

import numpy as np

from deadband_monitor.statistics.values import Doubles

VALUE_LOSSES = frozenset({"mse", "l1", "smooth_l1", "huber"})
"""Regression losses. `smooth_l1` is `huber` over its width; both are 1 wide by default."""

_ROUNDS = 4
"""Reweighting rounds a sample. The constant of the sample before is the start, and the loss is flat
at its minimum: four rounds from the median are within 1e-3 of it on normal and skewed targets."""
_ROUNDED = 1e-4
"""Residuals smaller than this share of output and target may be float32's rounding."""
_SAME_SLOPE = 0.01
_FEWEST_WITHIN = 3
"""Residuals of one slope to within 1 %: those within the width. Beyond it every slope differs."""


def pointwise(kind: str, residual: Doubles, width: float = 1.0) -> Doubles:
    """Loss of each element; width: where Huber's turns from a square to a line."""
    size = np.abs(residual)
    if kind == "mse":
        return residual * residual
    if kind == "l1":
        return size
    huber = np.where(size < width, 0.5 * size * size, width * (size - 0.5 * width))
    return huber / width if kind == "smooth_l1" else huber


def slopes(kind: str, residual: Doubles) -> Doubles:
    """Derivative of `pointwise` at each element, of a squared or an absolute error."""
    return 2.0 * residual if kind == "mse" else np.sign(residual)


def huber_width(output: Doubles, targets: Doubles, gradient: Doubles) -> float:
    """The width of a Huber loss, from its gradient; NaN where the residuals do not show it.

    The gradient is s r up to the width and s times the width beyond, so its largest value over its
    slope is the width whatever s is (reduction, GradScaler, the division of `smooth_l1`).
    """
    size, steep = np.abs(output - targets), np.abs(gradient)
    clear = size > _ROUNDED * np.maximum(np.abs(output), np.abs(targets))
    if not clear.any() or not steep.max() > 0:
        return np.nan
    slopes = steep[clear] / size[clear]
    slope = float(slopes.max())
    within = slopes > (1.0 - _SAME_SLOPE) * slope
    width = float(steep.max()) / slope
    shown = np.count_nonzero(within) >= _FEWEST_WITHIN
    return width if shown and size.max() > (1.0 + _SAME_SLOPE) * width else np.nan


def best_constant(kind: str, values: Doubles, start: Doubles | None, width: float = 1.0) -> Doubles:
    """The constant of least loss for each column of values (r, c): (c,).

    Huber's is found by reweighting (Huber 1964) from `start`, or from the median.
    """
    if kind == "mse":
        return np.asarray(values.mean(axis=0))
    if kind == "l1":
        return np.asarray(np.median(values, axis=0))
    known = start is not None and start.shape == values.shape[1:] and np.isfinite(start).all()
    constant = start if start is not None and known else np.median(values, axis=0)
    for _ in range(_ROUNDS):
        weight = 1.0 / np.maximum(np.abs(values - constant), width)
        constant = (weight * values).sum(axis=0) / weight.sum(axis=0)
    return np.asarray(constant)

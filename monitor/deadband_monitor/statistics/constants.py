"""Losses of real-valued targets: of a prediction, and of the best constant one."""

from __future__ import annotations

import numpy as np

from deadband_monitor.statistics.values import Doubles

VALUE_LOSSES = frozenset({"mse", "l1", "smooth_l1", "huber"})
"""Regression losses. `smooth_l1` and `huber` are one function at their default width of 1."""

_ROUNDS = 4
"""Reweighting rounds a sample. The constant of the sample before is the start, and the loss is flat
at its minimum: four rounds from the median are within 1e-3 of it on normal and skewed targets."""


def pointwise(kind: str, residual: Doubles) -> Doubles:
    """Loss of each element."""
    size = np.abs(residual)
    if kind == "mse":
        return residual * residual
    if kind == "l1":
        return size
    return np.where(size < 1.0, 0.5 * size * size, size - 0.5)


def best_constant(kind: str, values: Doubles, start: Doubles | None) -> Doubles:
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
        weight = 1.0 / np.maximum(np.abs(values - constant), 1.0)
        constant = (weight * values).sum(axis=0) / weight.sum(axis=0)
    return np.asarray(constant)

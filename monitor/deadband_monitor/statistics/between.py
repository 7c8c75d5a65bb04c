"""Which activation was put between the model's output and a loss of values, by its gradient.

One inside the model shows in its output. One that is applied behind it, `mse_loss(relu(model(x)),
y)`, leaves the output as it is; with f(o) compared, the gradient is e(f(o) - t) f'(o), where e is
the error of the loss, and e(o - t) without an f. It is exact: no noise lies between the two.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deadband_monitor.statistics.given import Found
from deadband_monitor.statistics.labels import Targets
from deadband_monitor.statistics.outputs import sigmoid, softmax
from deadband_monitor.statistics.squash import APART, FITS, distance, through_softmax
from deadband_monitor.statistics.values import Doubles, Reals

RELU, SIGMOID, TANH, SOFTMAX = 6.0, 7.0, 8.0, 11.0


def _clipped(error: Doubles) -> Doubles:
    return np.asarray(np.clip(error, -1.0, 1.0))


_ERRORS: dict[str, Callable[[Doubles], Doubles]] = {
    "mse": lambda error: error,
    "l1": lambda error: np.asarray(np.sign(error)),
    "smooth_l1": _clipped,
    "huber": _clipped,
}
"""Slope of each loss by the error; those two as they come, with a bend at 1."""


def between(kind: str, output: Reals, gradient: Reals, found: Found | None) -> float:
    """`RELU`, `SIGMOID`, `TANH` or `SOFTMAX` where the gradient is that of one; NaN otherwise.

    output, gradient: (r rows, c columns), finite; found: the targets of these rows.
    """
    slope = _ERRORS.get(kind)
    if slope is None or not isinstance(found, Targets) or found.values.shape != output.shape:
        return np.nan
    z, g, t = output.astype(np.float64), gradient.astype(np.float64), found.values
    if not g.any():
        # No error is 0 everywhere, and below zero only a ReLU is flat at any depth.
        shut = bool((z < 0).all()) and bool((t != 0).any())
        return RELU if shut else np.nan
    plain = distance(g, slope(z - t))
    if not plain > APART:
        return np.nan
    for code, bend in _BENDS.items():
        value, steepness = bend(z)
        if distance(g, slope(value - t) * steepness) < FITS:
            return code
    if z.shape[1] > 1:
        p = softmax(output).astype(np.float64)
        if distance(g, through_softmax(p, slope(p - t))) < FITS:
            return SOFTMAX
    return np.nan


def _of_relu(z: Doubles) -> tuple[Doubles, Doubles]:
    open_ = z > 0
    return z * open_, open_.astype(np.float64)


def _of_sigmoid(z: Doubles) -> tuple[Doubles, Doubles]:
    share = sigmoid(z)
    return share, share * (1.0 - share)


def _of_tanh(z: Doubles) -> tuple[Doubles, Doubles]:
    value = np.tanh(z)
    return value, 1.0 - value * value


_BENDS: dict[float, Callable[[Doubles], tuple[Doubles, Doubles]]] = {
    RELU: _of_relu,
    SIGMOID: _of_sigmoid,
    TANH: _of_tanh,
}
"""Value and slope of each activation."""


__all__ = ["RELU", "SIGMOID", "SOFTMAX", "TANH", "between"]

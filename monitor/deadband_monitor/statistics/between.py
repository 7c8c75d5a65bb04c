"""Which activation was put between the model's output and a loss of values, by its gradient.

One inside the model shows in its output. One that is applied behind it, `mse_loss(relu(model(x)),
y)`, leaves the output as it is; with f(o) compared, the gradient is e(f(o) - t) f'(o), where e is
the error of the loss, and e(o - t) without an f. It is exact: no noise lies between the two.

Where the loss was written out, t is not known. Of a mean squared error the gradient is
2 (f(o) - t) f'(o) / n, so that f alone tells the errors, and their mean square must be the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from deadband_monitor.statistics.given import Found
from deadband_monitor.statistics.labels import Targets, squared_targets
from deadband_monitor.statistics.outputs import sigmoid, softmax
from deadband_monitor.statistics.squash import (
    APART,
    FITS,
    LEAST_TURNED,
    TURNED,
    distance,
    goes_against,
    through_softmax,
)
from deadband_monitor.statistics.values import Doubles, Mask, Reals

RELU, SIGMOID, TANH, SOFTMAX, CLAMP, HARD_TANH = 6.0, 7.0, 8.0, 11.0, 13.0, 14.0
"""Which one; the clamps are to 0..1 and to -1..1."""
_SQUARE_FITS = 2e-3
"""Relative difference of the two: float32 leaves 2e-4 of slopes down to ..."""
_HALF_FITS = 1.001
"""Factor between the two of half a squared error, or of minus one: float32 leaves 1e-5."""
_LEAST_SLOPE = 1e-4
_LEAST_CUT = 8
"""Numbers on either side of a clamp's ends: that no other mask falls so has a chance of 1e-4."""
_TIMES = 3
"""Samples in a row that must fit: one in some hundreds of any other loss does by chance."""


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
    """What stands between where the gradient is that of one, as `RELU`; NaN otherwise.

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
    if goes_against(g, slope(z - t)):
        return TURNED
    for code, bend in _BENDS.items():
        value, steepness = bend(z)
        if distance(g, slope(value - t) * steepness) < FITS:
            return code
    if z.shape[1] > 1:
        p = softmax(output).astype(np.float64)
        if distance(g, through_softmax(p, slope(p - t))) < FITS:
            return SOFTMAX
    return np.nan


class Squared:
    """A squared error that was written out, known by its gradient and value alone.

    What is one fits at nearly every sample. A sum of it and what moves about by itself, as the loss
    of an actor and its critic, fits now and then.
    """

    def __init__(self) -> None:
        self._samples = self._fitting = 0

    def observe(self, output: Reals, gradient: Reals, elements: int, loss: float) -> Targets | None:
        """The targets, where most samples so far were of one."""
        found = squared_targets(output, gradient, elements, loss)
        self._samples += 1
        self._fitting += found is not None
        return found if 2 * self._fitting >= self._samples else None


def turned_targets(output: Reals, gradient: Reals, elements: int, loss: float) -> Targets | None:
    """Targets behind minus a squared error of a whole batch, where value and gradient are of one.

    output, gradient: (r, c), finite; elements: of the whole output; loss: below zero.
    """
    if gradient.size != elements or gradient.size < LEAST_TURNED:
        return None
    return squared_targets(output, -gradient, elements, -loss, within=_HALF_FITS)


class Halved:
    """Half a squared error, 0.5 * ((v - r) ** 2).mean(), known by its gradient and value alone.

    A penalty beside a squared error that is not halved can look so in passing.
    """

    def __init__(self) -> None:
        self._times = 0

    def observe(self, output: Reals, gradient: Reals, elements: int, loss: float) -> Targets | None:
        """The targets, once whole batches have been of half a squared error three times."""
        found = None
        if gradient.size == elements:
            found = squared_targets(output, 2 * gradient, elements, 2 * loss, within=_HALF_FITS)
        self._times = self._times + 1 if found is not None else 0
        if found is None or self._times < _TIMES:
            return None
        return Targets(found.values, found.factor / 2)


class WrittenOut:
    """Follows the squared error of one model, which is known by its gradient and value alone."""

    def __init__(self) -> None:
        self.way = np.nan
        """The activation, once it was told."""
        self._last = np.nan
        self._times = 0

    def observe(self, output: Reals, gradient: Reals, elements: int, loss: float) -> Targets | None:
        """The targets, once one activation has explained the loss three times.

        Rows that lie on its flat end are left out. output, gradient: (r, c), finite, of a batch of
        so many elements; loss: its mean square.
        """
        if np.isnan(self.way):
            way = _fitting(output, gradient, elements, loss)
            self._times = self._times + 1 if way == self._last else 1
            self._last = way
            if np.isnan(way) or self._times < _TIMES:
                return None
            self.way = way
        values, errors, steep = _errors(self.way, output, gradient, elements)
        return Targets((values - errors)[steep], 1.0) if steep.any() else None

    def compared(self, output: Reals) -> Reals | Doubles:
        """The output as the loss sees it."""
        bend = _BENDS.get(self.way)
        return output if bend is None else bend(output.astype(np.float64))[0]


def _fitting(output: Reals, gradient: Reals, elements: int, loss: float) -> float:
    """The activation that explains a loss of the whole batch; NaN where none does."""
    if output.size == elements and np.isfinite(loss) and loss > 0:
        for way in (SIGMOID, TANH):
            _, errors, steep = _errors(way, output, gradient, elements)
            if steep.all() and abs(float(np.mean(errors * errors)) / loss - 1.0) < _SQUARE_FITS:
                return way
    return next((way for way in (CLAMP, HARD_TANH) if _is_cut(way, output, gradient)), np.nan)


def _is_cut(way: float, output: Reals, gradient: Reals) -> bool:
    """Whether there is a gradient within the ends of a clamp, at all, and none beyond, at all."""
    inside = _BENDS[way](output.astype(np.float64))[1] > 0
    least = min(int(inside.sum()), int((~inside).sum()))
    return least >= _LEAST_CUT and bool(((gradient != 0) == inside).all())


def _errors(
    way: float, output: Reals, gradient: Reals, elements: int
) -> tuple[Doubles, Doubles, Mask]:
    """What is compared, how far it is off by the gradient, and of which rows that can be told."""
    values, slope = _BENDS[way](output.astype(np.float64))
    known = slope >= _LEAST_SLOPE
    errors = gradient.astype(np.float64) * elements / (2.0 * np.where(known, slope, 1.0))
    return values, errors, np.asarray(known.all(axis=1))


def _of_relu(z: Doubles) -> tuple[Doubles, Doubles]:
    open_ = z > 0
    return z * open_, open_.astype(np.float64)


def _of_clamp(low: float, high: float, z: Doubles) -> tuple[Doubles, Doubles]:
    inside = (z >= low) & (z <= high)  # torch passes a gradient at the bounds themselves
    return np.clip(z, low, high), inside.astype(np.float64)


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
    CLAMP: partial(_of_clamp, 0.0, 1.0),
    HARD_TANH: partial(_of_clamp, -1.0, 1.0),
}
"""Value and slope of each activation."""


__all__ = [
    "CLAMP",
    "HARD_TANH",
    "RELU",
    "SIGMOID",
    "SOFTMAX",
    "TANH",
    "WrittenOut",
    "between",
    "turned_targets",
]

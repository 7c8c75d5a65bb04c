"""The loss of a loop without autograd, from its value: it fits output and target or does not.

Such a loop shows its predictions and targets and gives its loss, but not the loss's name.
"""

from __future__ import annotations

import numpy as np

from deadband_monitor.statistics.values import Doubles

_FITS = 0.02
"""Relative difference: float32 leaves 1e-6, a small penalty on the weights some per cent."""
_TIMES = 3
"""Samples in a row that must fit: one may by chance."""
_LEAST_PROBABILITY = 1e-12
"""Where loops written by hand cut probabilities, or thereabouts."""


class LossGuess:
    """Collects what the losses of one model fit."""

    def __init__(self) -> None:
        self.kind = ""
        """`mse`, `bce`, or empty while nothing has fitted three times in a row."""
        self._last = ""
        self._times = 0

    def observe(self, output: Doubles, targets: Doubles, loss: float) -> None:
        """Take one sample of a whole batch; output, targets: (r, c)."""
        fit = _fitting(output, targets, loss)
        self._times = self._times + 1 if fit == self._last else 1
        self._last = fit
        if fit and self._times >= _TIMES:
            self.kind = fit


def _fitting(output: Doubles, targets: Doubles, loss: float) -> str:
    if not (np.isfinite(loss) and loss > 0):
        return ""
    square = float(((output - targets) ** 2).mean())
    size = float(output.size)
    if _near(loss, (square, square / 2, square * size, square * size / 2)):
        return "mse"
    inside = min(output.min(), targets.min()) >= 0 and max(output.max(), targets.max()) <= 1
    if not inside:
        return ""
    p = np.clip(output, _LEAST_PROBABILITY, 1.0 - _LEAST_PROBABILITY)
    entropy = -float((targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean())
    return "bce" if _near(loss, (entropy, entropy * size)) else ""


def _near(loss: float, candidates: tuple[float, ...]) -> bool:
    return any(abs(loss - candidate) <= _FITS * candidate for candidate in candidates)

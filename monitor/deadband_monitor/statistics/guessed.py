"""The loss of a loop without autograd, from its value: it fits output and target or does not.

Such a loop shows its predictions and targets and gives its loss, but not the loss's name.
"""

from __future__ import annotations

import numpy as np

from deadband_monitor.statistics.factors import mean_class_loss
from deadband_monitor.statistics.labels import Labels
from deadband_monitor.statistics.outputs import softmax
from deadband_monitor.statistics.values import Doubles, Reals

_FITS = 0.02
"""Relative difference: float32 leaves 1e-6, a small penalty on the weights some per cent."""
_TIMES = 3
"""Samples in a row that must fit: one may by chance."""
_FITS_IN_PART, _TIMES_IN_PART = 0.3, 8
"""The same where only some rows of the batch were copied: their loss is about that of the batch."""
_SUMS_TO_ONE = 1e-3
"""Rows of probabilities written by hand sum to 1 within this."""
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


class ClassGuess:
    """Collects whether the losses of one model are cross entropies of its outputs."""

    def __init__(self) -> None:
        self.found = False
        """Whether they have fitted some times in a row."""
        self.of_probabilities = False
        """So they have, and the outputs are a softmax already."""
        self._times = 0

    def observe(self, output: Doubles, labels: Labels, loss: float, rows: int) -> None:
        """Take one sample; output: (r, c), c > 1, of a batch of `rows`."""
        if self.found or not (np.isfinite(loss) and loss > 0):
            return
        sums = output.sum(axis=1)
        made = bool(output.min() >= 0 and np.abs(sums - 1).max() < _SUMS_TO_ONE)
        p = output if made else softmax(output)
        own = mean_class_loss(labels, np.maximum(p, _LEAST_PROBABILITY))
        whole = len(output) == rows
        fits = _near(loss, (own, own * rows), _FITS if whole else _FITS_IN_PART)
        self._times = self._times + 1 if fits else 0
        self.found = self._times >= (_TIMES if whole else _TIMES_IN_PART)
        self.of_probabilities = self.found and made

    def as_logits(self, output: Reals) -> Reals:
        """What a softmax turns into the probabilities that the outputs stand for."""
        return np.log(np.maximum(output, _LEAST_PROBABILITY)) if self.of_probabilities else output


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


def _near(loss: float, candidates: tuple[float, ...], within: float = _FITS) -> bool:
    return any(abs(loss - candidate) <= within * candidate for candidate in candidates)

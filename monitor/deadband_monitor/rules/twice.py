"""Probabilities that were squashed twice inside the model: what can be said has ends of its own.

A sigmoid of a sigmoid gives 0.5 to 0.73, a softmax of a softmax 1 / (e + C - 1) to e times that.
The loss, which wants 0 and 1, drives the answers against both ends and they never pass them.
"""

from __future__ import annotations

import math

from deadband_monitor.rules.clashes import Clash
from deadband_monitor.rules.misfit import SUMS, Reading

_NEAR = 0.06
"""How far from 0 and 1 a probability may be, before the second squashing, that lies at an end."""
_BLUR = 1.004
"""Factor by which bfloat16 may pass an end."""
_SAMPLES = 10
"""Samples that came to lie at each end, while none lay beyond: answers that are not held there
scatter to both sides of any number."""


class Twice:
    """Counts how often the answers of one model came to lie at the ends of a second squashing."""

    def __init__(self) -> None:
        self._at_least, self._at_most = 0, 0
        self._beyond = False

    def add(self, read: Reading) -> Clash | None:
        """Fold one sample in; what is found, if anything is."""
        if self._beyond or not math.isfinite(read.low):
            return None
        low, high, clash = read.low, read.high, Clash.SIGMOID_TWICE
        if read.loss == "bce":
            least, most = _sigmoid(0.0), _sigmoid(1.0)
            at_least, at_most = _sigmoid(_NEAR), _sigmoid(1 - _NEAR)
            wants = read.target_low <= SUMS and read.target_high >= 1 - SUMS
        elif read.loss == "nll" and read.units > 1 and read.rows <= SUMS:
            low, high = (math.exp(low), math.exp(high)) if high <= 0 else (low, high)
            least, clash = 1 / (math.e + read.units - 1), Clash.SOFTMAX_TWICE
            most, wants = math.e * least, True
            at_least, at_most = least * math.exp(_NEAR), most * math.exp(-_NEAR)
        else:
            return None
        self._beyond = low * _BLUR < least or high > most * _BLUR
        self._at_least += low <= at_least
        self._at_most += high >= at_most
        enough = min(self._at_least, self._at_most) >= _SAMPLES
        return clash if enough and wants and not self._beyond else None


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))

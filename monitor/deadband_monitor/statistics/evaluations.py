"""Losses of evaluation passes, from the scalars that travel with the frames."""

from __future__ import annotations

import math

import numpy as np

from deadband_monitor.statistics.values import RawFrame

_AUTOMATIC = "eval_loss"
_BY_HAND = frozenset({"val_loss", "valid_loss", "validation_loss", "test_loss"})


class EvaluationLosses:
    """Reads the evaluation losses of frames in order."""

    def __init__(self) -> None:
        self._by_hand = False

    def read(self, frame: RawFrame) -> float:
        """Mean evaluation loss since the frame before, NaN where there was none.

        What the user named is believed over what was seen under `no_grad`, from its first point on:
        the two may be means over different batches, and a series must not jump from one to the
        other. `val/loss` and `Val-Loss` are `val_loss`.
        """
        automatic: list[float] = []
        own: list[float] = []
        for name, points in frame.header.scalars.items():
            plain = name.lower().replace("/", "_").replace("-", "_").replace(" ", "_")
            if plain in _BY_HAND:
                own += [value for _, value in points]
            elif plain == _AUTOMATIC:
                automatic += [value for _, value in points]
        self._by_hand |= bool(own)
        values = [value for value in (own if self._by_hand else automatic) if math.isfinite(value)]
        return float(np.mean(values)) if values else np.nan

"""Where a run broke: what the first sample with NaN or infinity shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.state.series import Floats

SMALL_OUTPUT = 1e4
"""Outputs that no loss of finite targets makes infinite: half precision ends at 6.5e4, the squares
of float32 at 1.8e19."""

_NONFINITE, _OUT_RMS = LAYER_COLUMN["nonfinite"], LAYER_COLUMN["out_rms"]


class Break:
    """The first sample of a model with a value that is not finite."""

    def __init__(self) -> None:
        self.step: int | None = None
        """None while all is finite."""
        self.sound_outside = False
        """What its layers put out was finite and small all the same: the loss broke, not they."""
        self.first: int | None = None
        """Row of the first layer that put out NaN, where the step before left all finite."""
        self._last_step = 0
        self.only_gradients = False
        """Input, output and loss were finite at that sample; what came back from the loss was not.
        """

    def absorb(
        self,
        step: int,
        layers: Floats,
        rows: NDArray[np.int64],
        trained: NDArray[np.int64],
        *,
        outside: bool,
    ) -> None:
        """Fold one sample in.

        Args:
            step: of the sample.
            layers: all rows.
            rows: those of the model.
            trained: of them, those of layers with trained weights, which put something out.
            outside: whether input, output or loss hold such a value.
        """
        if self.step is not None:
            return
        if not (outside or np.count_nonzero(layers[rows, _NONFINITE] > 0)):
            self._last_step = step
            return
        self.step = step
        self.only_gradients = not outside
        sizes = layers[trained, _OUT_RMS]
        # What the step before left behind was sound, as far as it was copied.
        bad = rows[~np.isfinite(layers[rows, _OUT_RMS]) & (layers[rows, _NONFINITE] > 0)]
        if len(bad) and step == self._last_step + 1:
            self.first = int(bad[0])
        self.sound_outside = len(sizes) > 0 and bool((np.abs(sizes) < SMALL_OUTPUT).all())

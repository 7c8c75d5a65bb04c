"""What the statistics take and give, and the array types that they are written in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadband.wire import FrameHeader

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Reals = NDArray[np.floating[Any]]
"""float32 where the range allows it, float64 for the few slices that would overflow."""
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

EMPTY = -1
"""Number of a slot that a plan does not have."""


@dataclass(frozen=True, slots=True)
class RawFrame:
    """One sampled step as the client copied it."""

    header: FrameHeader
    payload: Floats
    """All slots of the plan, flat; where `Slot.offset` says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The statistics of one sampled step."""

    step: int
    time: float
    layers: Floats
    """(layers, LAYER_METRICS); NaN where a statistic does not apply or was not measured."""
    models: Floats
    """(models, MODEL_METRICS)"""
    scalars: dict[str, tuple[Ints, Floats]] = field(default_factory=dict)
    """Series name -> steps, values; `loss` has every step since the last frame."""

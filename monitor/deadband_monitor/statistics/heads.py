"""How far a model's output is from the bias of its last layer: is anything else still in it?"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deadband.wire import Plan, What
from deadband_monitor.statistics.layout import Batch, gather, present
from deadband_monitor.statistics.reader import ModelReader
from deadband_monitor.statistics.values import Doubles, Floats, Reals

_SHAPING = frozenset({"Identity", "Flatten", "Unflatten", "flatten", "identity"})
"""Layers that may follow the head without changing what it gives."""


@dataclass(slots=True)
class HeadMemory:
    """The head's bias after the last sampled step."""

    step: int = -1
    name: str = ""
    bias: Floats = field(default_factory=lambda: np.zeros(0, dtype=np.float32))


class Head:
    """The layer whose output is the model's, where it has a bias that the frames hold."""

    def __init__(self, reader: ModelReader, memory: HeadMemory) -> None:
        self._plan = reader.plan
        self._memory = memory
        self._layer = _head(reader.plan, reader.model.name)
        self._slot = _bias_slot(reader.plan, self._layer)

    def distances(self, frames: Batch, rows: Reals) -> Doubles:
        """rms(output - bias) / rms(output) of each frame, (frames, r, c units) -> (frames,).

        The bias is copied after the step, so that of the step before is the one that was in this
        output. Where that step was not sampled, the bias after this one stands in: it differs by
        one update, which can be far more than the output's own distance from it.
        """
        distances = np.full(len(frames), np.nan)
        if self._slot is None or self._plan.slots[self._slot].shape != rows.shape[2:]:
            return distances
        memory = self._memory
        name = self._plan.layers[self._layer].name
        here = present(frames, (self._slot,))[:, 0]
        biases = gather(frames, (self._slot,))
        used = biases.copy()
        for place, frame in enumerate(frames):
            if not here[place]:
                continue
            if memory.step == frame.header.step - 1 and memory.name == name:
                used[place] = memory.bias
            memory.step, memory.name = frame.header.step, name
            memory.bias = biases[place].copy()
        wide = rows.astype(np.float64)
        square = np.einsum("brc,brc->b", wide, wide)
        wide -= used.astype(np.float64)[:, None]
        apart = np.einsum("brc,brc->b", wide, wide)
        known = here & (square > 0) & np.isfinite(square) & np.isfinite(apart)
        return np.asarray(np.sqrt(np.divide(apart, square, out=distances, where=known)))


def _head(plan: Plan, model: str) -> int:
    """Index of the last layer with units and inputs, if nothing after it changes what it gives."""
    found = -1
    for index, layer in enumerate(plan.layers):
        if layer.model != model:
            continue
        if layer.fan_in > 0 and not layer.activation:
            found = index
        elif layer.kind not in _SHAPING:
            found = -1
    return found


def _bias_slot(plan: Plan, layer: int) -> int | None:
    for number, slot in enumerate(plan.slots):
        if slot.what is What.BIAS and slot.index == layer and slot.shape == slot.source:
            return number
    return None

"""Whether gradients and updates reach the weights: layer by layer, and as shares of a model.

A gradient that is missing is told from one that could not be there: of a frame without gradients,
of a layer that did not run, of a sparse one. Where that cannot be told, nothing is said.
"""

from __future__ import annotations

import numpy as np

from deadband.wire import Plan, What
from deadband_monitor.statistics import weights
from deadband_monitor.statistics.layout import Batch, present
from deadband_monitor.statistics.table import Table
from deadband_monitor.statistics.values import EMPTY, Ints, Mask


class Reach:
    """What ran, what got a gradient and what moved under one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._slots = {what: _slots_of(plan, what, len(plan.layers)) for what in _SHOWN}
        self._outputs = _slots_of(plan, What.OUTPUT, len(plan.models))
        layers = plan.layers
        self._watched = np.array([slot != EMPTY for slot in self._slots[What.ACTIVATION]], bool)
        self._trainable = np.array([layer.trainable for layer in layers], bool)
        optimised = [bool(plan.optimizers) and layer.optimised for layer in layers]
        self._optimised = np.array(optimised, bool)
        # Gradients of embeddings may be sparse, which are not copied.
        dense = [
            slot != EMPTY and not weights.is_embedding(layer)
            for slot, layer in zip(self._slots[What.WEIGHT_GRAD], layers, strict=True)
        ]
        self._dense = np.array(dense, bool)
        self._own = [
            np.array(
                [place for place, layer in enumerate(layers) if layer.model == model.name], int
            )
            for model in plan.models
        ]

    def measure(self, frames: Batch, layers: Table, models: Table, stepped: Mask) -> None:
        """Fill `has_grad` of layers, `grad_share` and `moved_share` of models.

        The layers' `update_ratio` must be there.
        """
        if not self._plan.layers:
            return
        here = {what: present(frames, slots) for what, slots in self._slots.items()}
        output = present(frames, self._outputs)
        weight, ran = here[What.WEIGHT], here[What.ACTIVATION]
        got = here[What.WEIGHT_GRAD] & stepped[:, None]
        missing = weight & ~here[What.WEIGHT_GRAD] & stepped[:, None]
        missing &= self._trainable & self._dense
        # Weights are copied ahead of an update only by an optimiser that is about to make it.
        updated = here[What.WEIGHT_BEFORE] & weight & self._optimised
        ratio = layers.get("update_ratio")
        moved = ratio > 0
        still = (ratio == 0) & self._trainable
        for index, own in enumerate(self._own):
            shown = (ran[:, own].any(axis=1) | output[:, index])[:, None]
            any_got = got[:, own].any(axis=1, keepdims=True)
            none = missing[:, own] & (any_got | updated[:, own])
            none &= self._took_part(own, ran, shown & ~any_got)
            any_moved = moved[:, own].any(axis=1, keepdims=True)
            rest = still[:, own] & self._took_part(own, ran, shown & ~any_moved)
            layers.put("has_grad", own, got[:, own].astype(np.float32), got[:, own] | none)
            _put_share(models, "grad_share", index, got[:, own], none)
            _put_share(models, "moved_share", index, moved[:, own] & self._trainable[own], rest)

    def _took_part(self, own: Ints, ran: Mask, all_alike: Mask) -> Mask:
        """Layers that ran.

        Of a model whose layers are never seen to run (a compiled one), all where all are alike.
        """
        if self._watched[own].any():
            return np.asarray(ran[:, own])
        return np.asarray(ran[:, own] | all_alike)


_SHOWN = (What.ACTIVATION, What.WEIGHT_BEFORE, What.WEIGHT, What.WEIGHT_GRAD)


def _slots_of(plan: Plan, what: What, count: int) -> tuple[int, ...]:
    numbers = [EMPTY] * count
    for number, slot in enumerate(plan.slots):
        if slot.what is what and slot.index < count:
            numbers[slot.index] = number
    return tuple(numbers)


def _put_share(models: Table, metric: str, index: int, yes: Mask, no: Mask) -> None:
    """The share of yes in yes and no, (frames, layers); where there are any."""
    count = yes.sum(axis=1) + no.sum(axis=1)
    share = yes.sum(axis=1) / np.maximum(count, 1)
    models.put(metric, slice(index, index + 1), share, (count > 0)[:, None])

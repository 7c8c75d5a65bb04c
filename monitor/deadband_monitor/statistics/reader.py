"""The slots of one model under one plan: slices out of frames, values into tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deadband.wire import Plan, Slot, What
from deadband_monitor.statistics.layout import Batch, gather, present
from deadband_monitor.statistics.table import Table
from deadband_monitor.statistics.values import Floats, Mask, Reals

_OF_MODELS = frozenset({What.INPUT, What.OUTPUT, What.OUTPUT_GRAD, What.TARGET})


@dataclass(frozen=True, slots=True)
class Taken:
    """The slices of one slot from many frames."""

    here: Mask
    """(frames,) which of them hold it"""
    flat: Floats
    """(frames, elements); garbage where it is not there"""
    slot: Slot

    @property
    def shaped(self) -> Floats:
        """The slices in their shape, (frames, *slot.shape)."""
        return self.flat.reshape(len(self.flat), *self.slot.shape)


class ModelReader:
    """Reads the slots of model `index` and writes its row of the model table."""

    def __init__(self, plan: Plan, index: int) -> None:
        self.plan = plan
        self.index = index
        self.model = plan.models[index]
        self.loss = _loss_of(plan, index)
        self.takes_data = _takes_data(plan, index)
        self._subject = slice(index, index + 1)
        self._number: dict[What, int] = {}
        for number, slot in enumerate(plan.slots):
            if slot.what in _OF_MODELS and slot.index == index:
                self._number.setdefault(slot.what, number)

    def slot(self, what: What) -> Slot | None:
        """The model's slot of this kind, if the plan has one."""
        number = self._number.get(what)
        return None if number is None else self.plan.slots[number]

    def take(self, frames: Batch, what: What) -> Taken | None:
        """The slices of one slot; None where no frame holds it."""
        number = self._number.get(what)
        if number is None:
            return None
        here = present(frames, (number,))[:, 0]
        if not here.any():
            return None
        flat = gather(frames, (number,)).reshape(len(frames), -1)
        return Taken(here, flat, self.plan.slots[number])

    def put(self, table: Table, metric: str, values: Reals, where: Mask) -> None:
        """Write one value a frame where `where` holds."""
        table.put(metric, self._subject, values, where[:, None])

    def put_one(self, table: Table, metric: str, frame: int, value: float) -> None:
        """Write the value of one frame."""
        table.put_one(metric, frame, self.index, value)

    def put_nonfinite(self, table: Table, share: Reals, where: Mask) -> None:
        """Raise the share of non-finite elements."""
        table.worst_nonfinite(self._subject, share, where[:, None])


def _takes_data(plan: Plan, index: int) -> bool:
    """Whether data enters here: other models of the run are given nothing larger.

    What a decoder is given comes from an encoder, and a generator's noise from nowhere.
    """
    sizes = {
        slot.index: int(np.prod((slot.source or slot.shape)[1:], dtype=np.int64))
        for slot in plan.slots
        if slot.what is What.INPUT
    }
    return index in sizes and sizes[index] == max(sizes.values())


def _loss_of(plan: Plan, index: int) -> str:
    """The loss that this model's output is the argument of; empty where it is another model's.

    Autograd finds the loss behind every model that it trains: a generator's is that of the
    discriminator, whose output was compared with labels. Where the calls of loss functions were
    seen for other models only, this one's output is not what they compared. What an output is
    compared with that is trained too, a second view, is no target to have skill at.
    """
    model = plan.models[index]
    if model.target_learns:
        return ""
    elsewhere = any(other.loss_input for other in plan.models)
    return "" if elsewhere and not model.loss_input else model.loss


def is_integer(slot: Slot) -> bool:
    """Whether the tensor held whole numbers: ids, not measurements."""
    return slot.dtype.startswith(("int", "uint", "bool"))

"""A tensor nearly whole, because somebody looks at it: copied once for each time that the hub asks.

Nothing here is on the way of other samples: the cell (or the tap of a weight) that is wished for
changes its class until its next copy, which then is told to us as well. Up to a million values are
copied in the step that is sampled next; of a larger tensor every so-manieth row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deadband import wire
from deadband.cells import Cell
from deadband.recorder import Entry, Recorder
from deadband.sender import Link
from deadband.wire import What

if TYPE_CHECKING:
    from torch import Tensor

    from deadband.weights import WeightTap

MOST_VALUES = 1 << 20
"""4 MiB: about a millisecond of copying."""
MOST_WANTED = 4
"""Tensors that may be waited for at a time."""

Subject = tuple[str, str, What]
Told = Callable[[Any], bool]
"""Is given what was copied; whether that was what it waited for."""


@dataclass(slots=True, eq=False)
class Closeup:
    """One tensor that was wished for."""

    subject: Subject
    restore: Callable[[], None] | None = None
    """What is to be undone where its copy never comes."""
    weight: WeightTap | None = None
    """A weight: it stands still from one optimiser step to the next, so it is copied at the end."""
    values: NDArray[np.float32] | None = None
    source: int = 0
    """Elements of the whole tensor."""
    landed: Callable[[], bool] | None = None
    """Whether the copy has come down from its device; None where it is here."""
    step: int = 0


class Closeups:
    """What is wished for, and what of it was copied.

    Args:
        recorder: knows the layers and their cells.
        link: takes what was copied.
    """

    def __init__(self, recorder: Recorder, link: Callable[[], Link]) -> None:
        self.taps: Callable[[Entry], Iterable[WeightTap]] = lambda _: ()
        """Of a layer's weight, where torch is."""
        self._recorder = recorder
        self._link = link
        self._wanted: list[Closeup] = []
        """Empty at nearly all times."""

    def wish(self, wish: wire.CloseWish) -> None:
        """Copy that tensor in the next step that is sampled."""
        subject = (wish.model, wish.layer, wish.what)
        if any(each.subject == subject for each in self._wanted):
            return
        for entry in self._recorder.entries:
            if (entry.model, entry.name) == subject[:2] and wish.what in entry.cells:
                break
        else:
            return
        if len(self._wanted) == MOST_WANTED:
            self._drop(self._wanted[0])
        closeup = Closeup(subject)
        tap = next(iter(self.taps(entry)), None)
        if tap is not None and wish.what is What.WEIGHT:
            closeup.weight = tap
        elif tap is not None and wish.what is What.WEIGHT_GRAD:
            closeup.restore = _tell_next(
                tap, "copy_gradient", lambda batch, parameter: _take(closeup, parameter.grad)
            )
        else:
            cell: Cell = entry.cells[wish.what]
            method = "take_array" if cell.device is None else "take"
            closeup.restore = _tell_next(cell, method, lambda value: _take(closeup, value))
        self._wanted.append(closeup)

    def sampled(self, step: int) -> None:
        """A sampled step has ended."""
        for closeup in self._wanted:
            if closeup.weight is not None:
                tap, closeup.weight = closeup.weight, None
                _take(closeup, tap.parameter)
            if closeup.values is not None and not closeup.step:
                closeup.step = step
        self.post()

    def post(self) -> None:
        """Send what is here."""
        for closeup in self._wanted[:]:
            if closeup.step and (closeup.landed is None or closeup.landed()):
                self._send(closeup)

    def _send(self, closeup: Closeup) -> None:
        self._wanted.remove(closeup)
        link = self._link()
        if closeup.values is None or not link.is_free:
            return
        model, layer, what = closeup.subject
        link.post(
            wire.Closeup(
                model=model,
                layer=layer,
                what=what,
                step=closeup.step,
                values=closeup.values.tobytes(),
                source=closeup.source,
            )
        )

    def _drop(self, closeup: Closeup) -> None:
        self._wanted.remove(closeup)
        if closeup.restore is not None:
            closeup.restore()


def thinned(value: Any) -> Any:
    """A view of at most `MOST_VALUES` of a tensor or array: every so-manieth row, features last."""
    for axis in range(value.ndim):
        every = -(-math.prod(value.shape) // MOST_VALUES)
        if every > 1:
            value = value[(*[slice(None)] * axis, slice(None, None, min(every, value.shape[axis])))]
    return value


def _take(closeup: Closeup, value: Any) -> bool:
    """Copy it; whether there was anything to copy."""
    if value is None or closeup.values is not None:
        return False
    if isinstance(value, np.ndarray):
        closeup.values = np.array(thinned(value), np.float32)
        closeup.source = value.size
        return True
    from deadband.shards import local_of
    from deadband.tensors import numbers

    found = numbers(local_of(value).detach())
    if found is None:
        return False
    closeup.source = found.numel()
    return _take_tensor(closeup, thinned(found))


def _take_tensor(closeup: Closeup, part: Tensor) -> bool:
    import torch

    from deadband import device

    if not device.is_device(part.device):
        closeup.values = np.empty(tuple(part.shape), np.float32)
        torch.from_numpy(closeup.values).copy_(part)
        return True
    runtime = device.RUNTIME
    if runtime.is_capturing():
        return False  # a CUDA graph would copy for good
    held = part.to(torch.float32, copy=True).reshape(-1)
    host = runtime.pinned(held.numel())
    behind, stream = runtime.mark(part.device), runtime.stream(part.device)
    done = runtime.copy_behind(behind, stream, host, held)

    def landed(held: Tensor = held) -> bool:
        """Asks only; `held` lives as long as it flies."""
        return not runtime.is_capturing() and done.query()

    closeup.values, closeup.landed = host.numpy(), landed
    return True


def _tell_next(target: Any, method: str, told: Callable[..., bool]) -> Callable[[], None]:
    """Tell of the next call of that method of one object; gives what ends the waiting for it.

    Its class is changed for so long: whoever calls it pays nothing at all other times.
    """
    plain = type(target)

    def restore() -> None:
        target.__class__ = plain

    def call(self: Any, *given: Any) -> Any:
        result = getattr(plain, method)(self, *given)
        if told(*given):
            restore()
        return result

    target.__class__ = type(plain.__name__, (plain,), {"__slots__": (), method: call})
    return restore

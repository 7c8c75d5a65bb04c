"""Frames of models on a CUDA device: slices fly to pinned memory, and nobody waits for them.

A hook's copy goes into pinned memory without blocking; an event behind the last of them says when
the frame has landed. Until then the next sample is left out. The one wait is for the first frame of
a plan, whose slices are moved once more. Written from torch's source and documentation; the tests
that need a device are marked `gpu`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def pinned(shape: tuple[int, ...]) -> Tensor:
    """Memory that a device can copy into while the processor goes on."""
    return torch.zeros(shape, dtype=torch.float32, pin_memory=True)


def on_host(values: list[Any]) -> list[Any]:
    """The same figures; those on a device are replaced by what will land in pinned memory."""
    places = [index for index, value in enumerate(values) if getattr(value, "is_cuda", False)]
    if places:
        host = pinned((len(places),))
        stacked = torch.stack([values[index].reshape(()).float() for index in places])
        host.copy_(stacked, non_blocking=True)
        values = list(values)
        for index, value in zip(places, host.unbind(), strict=True):
            values[index] = value
    return values


class Flight:
    """A frame whose copies were launched.

    Args:
        devices: where they come from.
        land: stores the frame; called once all have arrived.
    """

    def __init__(self, devices: Iterable[torch.device], land: Callable[[], None]) -> None:
        self._land = land
        self._events = []
        for device in devices:
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(device))
            self._events.append(event)

    def try_to_land(self, *, wait: bool = False) -> bool:
        """Store the frame if all is there; `wait` only when the watch is closed."""
        for event in self._events:
            if wait:
                event.synchronize()
            elif not event.query():
                return False
        self._land()
        return True


def wait_for(devices: Iterable[torch.device]) -> None:
    """Wait until everything launched so far has arrived: once a plan."""
    for device in devices:
        torch.cuda.current_stream(device).synchronize()

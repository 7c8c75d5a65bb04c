"""Frames of models on a CUDA device: nobody ever waits for them.

Hooks copy slices into an arena on the device, on the stream that the model runs on. At the end of a
sampled step a stream of our own takes the arena down to pinned memory behind an event; later steps
only ask whether it has arrived. There are two arenas: while one flies the other is filled, and
where both fly the sample is left out. Written from torch's source and documentation, and run on a
fake device only: the tests that need a real one are marked `gpu`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from deadband.cells import Cell

KINDS = {"cuda"}
"""Types of devices whose work goes on beside the processor's."""
RING = 2
"""Arenas on each device."""


class Event(Protocol):
    """A mark in the work of a device."""

    def record(self, stream: Any = None) -> None:
        """Set it behind all work that was given to the stream so far."""

    def query(self) -> bool:
        """Whether the device has come so far; never waits."""

    def synchronize(self) -> None:
        """Wait for it: at the end of a watch only."""

    def elapsed_time(self, end: Any) -> float:
        """Milliseconds from this mark to another; both are passed."""


class Cuda:
    """What is asked of torch's CUDA."""

    def event(self, *, timed: bool = False) -> Event:
        """A mark that is not set yet."""
        event: Event = torch.cuda.Event(enable_timing=timed)
        return event

    def mark(self, device: torch.device, *, timed: bool = False) -> Event:
        """A mark behind the work given to the device's current stream so far."""
        event = self.event(timed=timed)
        event.record(torch.cuda.current_stream(device))
        return event

    def stream(self, device: torch.device) -> Any:
        """A stream of our own."""
        return torch.cuda.Stream(device)

    def copy_behind(self, event: Event, stream: Any, host: Tensor, arena: Tensor) -> Event:
        """Take the arena down on that stream once the event is passed; marks the end of it."""
        stream.wait_event(event)
        done = self.event()
        with torch.cuda.stream(stream):
            host.copy_(arena, non_blocking=True)
            done.record(stream)
        return done

    def pinned(self, size: int) -> Tensor:
        """Memory that a device can copy into while the processor goes on."""
        return torch.zeros(size, dtype=torch.float32, pin_memory=True)

    def is_capturing(self) -> bool:
        """Whether a CUDA graph is being recorded: neither copies nor questions may go into it."""
        return torch.cuda.is_current_stream_capturing()


RUNTIME: Cuda = Cuda()


def is_device(device: torch.device | None) -> bool:
    """Whether tensors there are computed beside us."""
    return device is not None and device.type in KINDS


def on_host(values: list[Any]) -> list[Any]:
    """The same figures; those on a device are replaced by what will land in pinned memory."""
    places: dict[torch.device, list[int]] = {}
    for index, value in enumerate(values):
        if isinstance(value, Tensor) and is_device(value.device):
            places.setdefault(value.device, []).append(index)
    if places:
        values = list(values)
    for indices in places.values():
        host = RUNTIME.pinned(len(indices))
        stacked = torch.stack([values[index].reshape(-1)[0].float() for index in indices])
        host.copy_(stacked, non_blocking=True)
        for index, value in zip(indices, host.unbind(), strict=True):
            values[index] = value
    return values


@dataclass(slots=True, eq=False)
class Berth:
    """Where one cell lies in the arenas of its device, and in the memory they are taken down to."""

    cell: Cell
    arenas: tuple[Tensor, ...]
    hosts: tuple[Tensor, ...]


class Deck:
    """The arenas of one device, and the cells that are copied there.

    Args:
        device: all of the cells'.
        cells: what they hold now is carried over.
    """

    def __init__(self, device: torch.device, cells: Sequence[Cell]) -> None:
        size = sum(cell.region.size for cell in cells)
        self.device = device
        self.arenas = [torch.zeros(size, device=device) for _ in range(RING)]
        self.hosts = [RUNTIME.pinned(size) for _ in range(RING)]
        self.stream = RUNTIME.stream(device)
        self.berths: list[Berth] = []
        start = 0
        for cell in cells:
            end = start + cell.region.size
            self.berths.append(
                Berth(
                    cell,
                    tuple(arena[start:end] for arena in self.arenas),
                    tuple(host[start:end] for host in self.hosts),
                )
            )
            start = end
        for berth in self.berths:
            before, filled = berth.cell.dest, berth.cell.filled
            berth.cell.berth_at(berth.arenas[0])
            if filled:
                berth.cell.dest.copy_(before, non_blocking=True)

    def enter(self, place: int) -> None:
        """Cells are copied into this arena of the ring from now on."""
        for berth in self.berths:
            berth.cell.berth_at(berth.arenas[place])

    def launch(self, place: int) -> tuple[Event, list[Landing]]:
        """Take an arena down; the mark behind it, and what is in it for whom."""
        behind = RUNTIME.mark(self.device)
        done = RUNTIME.copy_behind(behind, self.stream, self.hosts[place], self.arenas[place])
        landings = [
            Landing(
                berth.cell.array,
                berth.hosts[place].view(berth.cell.picked).numpy(),
                berth.cell.region.swapped,
            )
            for berth in self.berths
            if berth.cell.filled and not berth.cell.recut
        ]
        return done, landings


@dataclass(slots=True, eq=False)
class Landing:
    """One slice on its way into the frame."""

    array: NDArray[np.float32]
    values: NDArray[np.float32]
    swapped: bool = False

    def land(self) -> None:
        """It is there: store it."""
        values = self.values.swapaxes(0, 1) if self.swapped else self.values
        self.array[...] = values.reshape(self.array.shape)


class Fleet:
    """The decks of all devices of a plan, and the frames that fly.

    Args:
        cells: of the plan; those that are not on a device are set aside while a frame flies.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        by_device: dict[torch.device, list[Cell]] = {}
        for cell in cells:
            if cell.on_device:
                by_device.setdefault(cell.device, []).append(cell)
        self._at_home = [cell for cell in cells if not cell.on_device]
        self._decks = [Deck(device, own) for device, own in by_device.items()]
        self._flights: list[tuple[list[Event], list[Landing], Callable[[], None]]] = []
        self._place = 0
        self.clock = DeviceClock(self._decks[0].device)

    @property
    def has_room(self) -> bool:
        """Whether an arena of the ring is free."""
        return len(self._flights) < RING

    @property
    def is_busy(self) -> bool:
        """Whether any frame flies."""
        return bool(self._flights)

    def enter(self) -> None:
        """A sampled step begins."""
        for deck in self._decks:
            deck.enter(self._place)

    def launch(self, store: Callable[[], None]) -> None:
        """The sampled step is over; `store` is called once all of its frame is here."""
        events, landings = [], []
        for deck in self._decks:
            event, own = deck.launch(self._place)
            events.append(event)
            landings += own
        at_home = [cell.held() for cell in self._at_home if cell.filled]
        landings += [Landing(array, array.copy()) for array in at_home]
        self._flights.append((events, landings, store))
        self._place = (self._place + 1) % RING

    def land(self, *, wait: bool = False) -> None:
        """Store what has arrived, in order; `wait` only when the watch is closed."""
        while self._flights:
            if not wait and RUNTIME.is_capturing():
                return
            events, landings, store = self._flights[0]
            for event in events:
                if wait:
                    event.synchronize()
                elif not event.query():
                    return
            del self._flights[0]
            for landing in landings:
                landing.land()
            store()


class DeviceClock:
    """What samples cost a device: how much longer it has a sampled step than the one behind it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._marks: list[Event] = []

    def begin(self) -> None:
        """A sampled step begins."""
        if len(self._marks) != 3:  # else one is still to be read
            self._marks = [RUNTIME.mark(self._device, timed=True)]

    def step(self) -> None:
        """The sampled step has ended; or the one behind it."""
        if 0 < len(self._marks) < 3:
            self._marks.append(RUNTIME.mark(self._device, timed=True))

    def cost_s(self) -> float | None:
        """What the last measured sample cost; None while that is not known, and once told."""
        if len(self._marks) != 3 or RUNTIME.is_capturing() or not self._marks[2].query():
            return None
        first, second, third = self._marks
        self._marks = []
        return (first.elapsed_time(second) - second.elapsed_time(third)) / 1000

"""Where the cells of a plan lie in each frame of the ring: slices are copied straight there.

A block of memory needs no more than the address of the frame. For all other slices targets are made
when a frame is used for the first time, and kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadband.arena import Arena
from deadband.cells import Cell, CurrentFrame

MOST_TARGETS = 8192
"""Targets that are kept, about 1 KiB each; a plan that would need more is copied to its frame."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """One frame of the ring."""

    address: int
    base: Any
    payload: NDArray[np.float32]
    targets: list[Any]
    """Of the loose cells."""


class Places:
    """The cells of one plan in every frame of its ring.

    Args:
        arena: the ring.
        cells: in the order of the plan.
        offsets: of their slots in a payload, in elements.
    """

    def __init__(self, arena: Arena, cells: Sequence[Cell], offsets: Sequence[int]) -> None:
        self._arena = arena
        self._cells = cells
        self._frames: list[_Frame | None] = [None] * arena.length
        self._current = CurrentFrame()
        self._loose: list[Cell] = []
        self._moves = -1
        for cell, offset in zip(cells, offsets, strict=True):
            cell.offset, cell.place = offset, 4 * offset

    @staticmethod
    def suit(arena: Arena, cells: Sequence[Cell]) -> bool:
        """Whether slices can be copied straight into the frames."""
        on_device = any(cell.on_device for cell in cells)  # theirs land later
        loose = sum(cell.is_loose for cell in cells)
        return not on_device and loose * arena.length <= MOST_TARGETS

    def enter(self) -> None:
        """Empty all cells, and lead them to the frame that is written next."""
        cells, current = self._cells, self._current
        for cell in cells:
            cell.filled = False
        if self._moves != Cell.moves:
            self._lead_anew()
        place = self._arena.place
        frame = self._frames[place]
        if frame is None:
            frame = self._frames[place] = self._made(place)
        current.address, current.base = frame.address, frame.base
        current.payload = frame.payload
        for cell, target in zip(self._loose, frame.targets):  # noqa: B905 - 50 ns, at each sample
            cell.made = target

    def _lead_anew(self) -> None:
        """Cells were cut for tensors of another shape; some of them with slices as large."""
        self._moves = Cell.moves
        strange = [
            cell for cell in self._cells if cell.frame is not self._current and not cell.recut
        ]
        for cell in strange:
            cell.frame = self._current
            if not cell.is_loose:
                cell.made = None
        loose = [cell for cell in self._cells if cell.frame is self._current and cell.is_loose]
        if loose != self._loose or any(cell.is_loose for cell in strange):
            self._loose = loose
            self._frames = [None] * self._arena.length

    def _made(self, place: int) -> _Frame:
        payload = self._arena.payload(place)
        base = base_of(payload, self._cells)
        return _Frame(
            base.data_ptr() if base is not None else payload.ctypes.data,
            base,
            payload,
            [cell.place_at(payload, base, cell.offset)[0] for cell in self._loose],
        )


def base_of(payload: NDArray[np.float32], cells: Iterable[Cell]) -> Any:
    """A payload as a tensor; None where nothing of torch is copied into it."""
    if all(cell.device is None for cell in cells):
        return None
    import torch

    return torch.from_numpy(payload)

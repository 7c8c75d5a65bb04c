"""Where the cells of a plan lie in each frame of the ring: slices are copied straight there.

Targets are made when a frame is used for the first time and kept: between samples a cell is only
led from one to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadband.arena import Arena
from deadband.cells import Cell

MOST_TARGETS = 8192
"""Targets that are kept, about 1 KiB each; a plan that would need more is copied to its frame."""


Target = tuple[Any, int, tuple[int, ...]]
"""Destination, address and shape of one cell in one frame."""


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
        self._offsets = offsets
        self._frames: list[list[Target] | None] = [None] * arena.length

    @staticmethod
    def suit(arena: Arena, cells: Sequence[Cell]) -> bool:
        """Whether slices can be copied straight into the frames."""
        on_device = any(cell.on_device for cell in cells)  # theirs land later
        return not on_device and len(cells) * arena.length <= MOST_TARGETS

    def enter(self) -> None:
        """Empty all cells, and lead them to the frame that is written next."""
        place = self._arena.place
        frame = self._frames[place]
        if frame is None:
            frame = self._frames[place] = self._targets(place, range(len(self._cells)))
        strange = False
        for cell, (dest, address, picked) in zip(self._cells, frame, strict=True):
            cell.filled = False
            if cell.picked is picked:
                cell.dest, cell.address = dest, address
            else:
                strange = True
        if strange:
            self._lead_anew(place, frame)

    def _lead_anew(self, place: int, frame: list[Target]) -> None:
        """Cells were cut for tensors of another shape; some of them with slices as large."""
        strange = [
            index
            for index, cell in enumerate(self._cells)
            if cell.picked is not frame[index][2] and not cell.recut
        ]
        for index, target in zip(strange, self._targets(place, strange), strict=True):
            cell = self._cells[index]
            frame[index] = target
            cell.dest, cell.address, _ = target

    def _targets(self, place: int, which: Iterable[int]) -> list[Target]:
        payload = self._arena.payload(place)
        base = base_of(payload, self._cells)
        targets = []
        for index in which:
            cell = self._cells[index]
            dest, address = cell.place_at(payload, base, self._offsets[index])
            targets.append((dest, address, cell.picked))
        return targets


def base_of(payload: NDArray[np.float32], cells: Iterable[Cell]) -> Any:
    """A payload as a tensor; None where nothing of torch is copied into it."""
    if all(cell.device is None for cell in cells):
        return None
    import torch

    return torch.from_numpy(payload)

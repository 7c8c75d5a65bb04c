"""Copies that are handed to torch together."""

from __future__ import annotations

from operator import attrgetter

import torch
from torch import Tensor

from deadband.cells import Cell
from deadband.device import RUNTIME


class Batch:
    """Copies that go to torch in one call: half the price of one call each."""

    __slots__ = ("cells", "sources")

    def __init__(
        self, cells: list[Cell] | None = None, sources: list[Tensor] | None = None
    ) -> None:
        self.cells: list[Cell] = [] if cells is None else cells
        self.sources: list[Tensor] = [] if sources is None else sources
        """The slice that goes to each cell, of its shape."""

    def add(self, cell: Cell | None, view: Tensor) -> None:
        """`view` is the slice, unless the cells were shrunk to let the frame fit its ring."""
        if cell is None or cell.filled:
            return
        part = fitting(cell, view)
        if part is not None:
            self.cells.append(cell)
            self.sources.append(part)

    def copy(self) -> None:
        """Copy all of them."""
        if self.cells:
            copy_together(self.cells, self.sources)


def fitting(cell: Cell, view: Tensor) -> Tensor | None:
    """What of the slice the cell holds; None where it is of another shape than the plan's."""
    picked = cell.picked
    if view.shape != picked:
        view = view[tuple(slice(size) for size in picked)]
    return view if view.shape == picked else None


_together = getattr(torch, "_foreach_copy_", None)
_made = attrgetter("made")


def copy_together(cells: list[Cell], sources: list[Tensor]) -> None:
    """Fill these cells: of the kinds that have their targets ready (see `Cell.is_loose`)."""
    targets = list(map(_made, cells))
    if cells[0].on_device and RUNTIME.is_capturing():
        return  # a CUDA graph would copy for good
    if _together is not None:
        _together(targets, sources, non_blocking=True)
    else:
        for target, source in zip(targets, sources, strict=True):
            target.copy_(source, non_blocking=True)
    for cell in cells:
        cell.filled = True

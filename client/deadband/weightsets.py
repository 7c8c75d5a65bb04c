"""The weights that one optimiser moves, copied with what was prepared once for all of them.

A loop of fast steps pays for every line of Python that a sample runs. So tables, names and slices
are kept as lists, and as long as every parameter lies where it lay, C alone walks them.
"""

from __future__ import annotations

from operator import attrgetter, getitem, is_
from typing import Any

import torch
from torch import Tensor, nn

from deadband.batches import Batch, copy_together
from deadband.cells import Cell
from deadband.weights import WeightTap, copy_after, copy_before

_PLAIN = frozenset({Tensor, nn.Parameter})
_filled = attrgetter("filled")


class WeightSet:
    """Weights and biases of some taps.

    Args:
        taps: of the parameters that are copied together.
    """

    def __init__(self, taps: list[WeightTap]) -> None:
        self.taps = taps
        with_bias = [tap for tap in taps if tap.bias is not None and tap.bias_cell is not None]
        self._with_bias = with_bias
        places = [(tap.table, tap.weight) for tap in taps]
        places += [tap.bias for tap in with_bias if tap.bias is not None]
        self._tables = [table for table, _ in places]
        self._names = [name for _, name in places]
        self._parameters: list[Tensor] = []
        self._pointers: list[int] = []
        self._cuts = -1
        self._before: tuple[list[Cell], list[Tensor]] = ([], [])
        self._after: tuple[list[Cell], list[Tensor]] = ([], [])

    def copy_before(self, *, gradients: bool) -> None:
        """Weights, and gradients as the optimiser is about to see them."""
        parameters = list(map(getitem, self._tables, self._names))
        cells, sources = self._before
        if not self._is_ready(parameters) or any(map(_filled, cells)):
            copy_before(self.taps, gradients=gradients)
            self._prepare(parameters)
            return
        if gradients:
            batch = Batch(cells.copy(), sources.copy())
            for tap, parameter in zip(self.taps, parameters, strict=False):
                if parameter.requires_grad is not tap.trains:
                    tap.turned()
                tap.copy_gradient(batch, parameter)
            batch.copy()
        else:
            copy_together(cells, sources)

    def copy_after(self, *, gradients: bool) -> None:
        """Weights and biases after the step."""
        cells, sources = self._after
        ready = not gradients and self._is_ready(list(map(getitem, self._tables, self._names)))
        if ready and not any(map(_filled, cells)):
            copy_together(cells, sources)
        else:
            copy_after(self.taps, gradients=gradients)

    def _is_ready(self, parameters: list[Any]) -> bool:
        """Whether everything lies where it lay when the slices were made."""
        return (
            self._cuts == Cell.cuts
            and all(map(is_, parameters, self._parameters))
            and list(map(Tensor.data_ptr, parameters)) == self._pointers
        )

    def _prepare(self, parameters: list[Any]) -> None:
        """Keep the slices that were just made, where all of them are views of plain parameters."""
        self._cuts = -1
        if not all(type(each) in _PLAIN and each.layout is torch.strided for each in parameters):
            return
        pointers = list(map(Tensor.data_ptr, parameters))
        count = len(self.taps)
        held = [tap.held_at(pointer) for tap, pointer in zip(self.taps, pointers, strict=False)]
        held += [
            tap.bias_held_at(pointer)
            for tap, pointer in zip(self._with_bias, pointers[count:], strict=True)
        ]
        before = [tap.before for tap in self.taps]
        after = [tap.after for tap in self.taps] + [tap.bias_cell for tap in self._with_bias]
        cells = [cell for cell in before + after if cell is not None and not cell.on_device]
        sources = [each for each in held[:count] + held if each is not None]
        if not cells or len(cells) < len(before + after) or len(sources) < len(cells):
            return
        if any(cell.picked != each.shape for cell, each in zip(cells, sources, strict=True)):
            return
        self._before = cells[:count], sources[:count]
        self._after = cells[count:], sources[count:]
        self._parameters, self._pointers, self._cuts = parameters, pointers, Cell.cuts

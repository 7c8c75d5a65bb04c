"""Weights and weight gradients of the layers: the same slice before and after an optimiser step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from deadband.cells import Cell, make_cell
from deadband.recorder import Entry
from deadband.regions import BIAS, WEIGHT, Layout
from deadband.wire import What


class WeightTap:
    """The weight and bias of one layer. Parameters are looked up anew: some loops replace them."""

    __slots__ = ("bias", "entry", "table", "transposed", "weight")

    def __init__(
        self,
        entry: Entry,
        table: dict[str, Any],
        weight: str,
        *,
        bias: tuple[dict[str, Any], str] | None = None,
        transposed: bool = False,
    ) -> None:
        self.entry = entry
        self.table = table
        self.weight = weight
        self.bias = bias
        self.transposed = transposed
        self._open()

    @property
    def parameter(self) -> Tensor:
        """The weight."""
        return self.table[self.weight]  # type: ignore[no-any-return]

    def view(self, tensor: Tensor) -> Tensor:
        """The first units as rows of inputs."""
        tensor = tensor.detach()
        if self.transposed:
            tensor = tensor.transpose(0, 1)
        if tensor.ndim == 0:
            return tensor.reshape(1, 1)
        tensor = tensor[: WEIGHT.rows]
        return tensor[:, None] if tensor.ndim == 1 else tensor.flatten(1)

    def _open(self) -> None:
        """Make the cells."""
        parameter = self.parameter
        view = self.view(parameter)
        wanted = [What.WEIGHT_BEFORE, What.WEIGHT]
        if parameter.requires_grad:
            wanted.append(What.WEIGHT_GRAD)
        for what in wanted:
            cell = make_cell(what, view, Layout.UNITS_LAST, WEIGHT)
            if cell is not None:
                self.entry.cells[what] = cell
                self.entry.sources[what] = tuple(parameter.shape)
        if self.bias is not None:
            table, name = self.bias
            cell = make_cell(What.BIAS, table[name], Layout.UNITS, BIAS)
            if cell is not None:
                self.entry.cells[What.BIAS] = cell


def copy_before(taps: Iterable[WeightTap], *, gradients: bool) -> None:
    """Weights, and gradients as the optimiser is about to see them."""
    batch = _Batch()
    for tap in taps:
        parameter = tap.parameter
        batch.add(tap.entry.cells.get(What.WEIGHT_BEFORE), tap.view(parameter))
        if gradients:
            _add_gradient(batch, tap, parameter)
    batch.copy()


def copy_after(taps: Iterable[WeightTap], *, gradients: bool) -> None:
    """Weights and biases after the step."""
    batch = _Batch()
    for tap in taps:
        if gradients:
            _add_gradient(batch, tap, tap.parameter)
        batch.add(tap.entry.cells.get(What.WEIGHT), tap.view(tap.parameter))
        if tap.bias is not None:
            table, name = tap.bias
            batch.add(tap.entry.cells.get(What.BIAS), table[name].detach())
    batch.copy()


def _add_gradient(batch: _Batch, tap: WeightTap, parameter: Tensor) -> None:
    gradient = parameter.grad
    if gradient is not None and gradient.layout is torch.strided:
        batch.add(tap.entry.cells.get(What.WEIGHT_GRAD), tap.view(gradient))


class _Batch:
    """Copies that go to torch in one call: half the price of one call each."""

    __slots__ = ("_cells", "_sources")

    def __init__(self) -> None:
        self._cells: list[Cell] = []
        self._sources: list[Tensor] = []

    def add(self, cell: Cell | None, view: Tensor) -> None:
        if cell is not None and not cell.filled and view.shape == cell.source:
            self._cells.append(cell)
            self._sources.append(view[cell.region.index])

    def copy(self) -> None:
        if not self._cells:
            return
        targets = [cell.dest for cell in self._cells]
        together = getattr(torch, "_foreach_copy_", None)
        if together is not None:
            together(targets, self._sources)
        else:
            for target, source in zip(targets, self._sources, strict=True):
                target.copy_(source)
        for cell in self._cells:
            cell.filled = True

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

    __slots__ = ("bias", "entry", "held", "pointer", "table", "transposed", "weight")

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
        self.pointer = 0
        """Where the parameter's data lay when `held` was made."""
        self.held: Tensor
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

    def sliced(self, parameter: Tensor) -> Tensor:
        """The slice of the weight that is copied; a view that lives as long as its storage."""
        pointer = parameter.data_ptr()
        if pointer == self.pointer:
            return self.held
        view = self.view(parameter)[:, : WEIGHT.features]
        if view.data_ptr() == pointer:  # other memory formats give a copy, good for once only
            self.held, self.pointer = view, pointer
        return view

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
        batch.add(tap.entry.cells.get(What.WEIGHT_BEFORE), tap.sliced(parameter))
        if gradients:
            _add_gradient(batch, tap, parameter)
    batch.copy()


def copy_after(taps: Iterable[WeightTap], *, gradients: bool) -> None:
    """Weights and biases after the step."""
    batch = _Batch()
    for tap in taps:
        if gradients:
            _add_gradient(batch, tap, tap.parameter)
        batch.add(tap.entry.cells.get(What.WEIGHT), tap.sliced(tap.parameter))
        if tap.bias is not None:
            table, name = tap.bias
            batch.add(tap.entry.cells.get(What.BIAS), table[name].detach()[: BIAS.features])
    batch.copy()


def _add_gradient(batch: _Batch, tap: WeightTap, parameter: Tensor) -> None:
    gradient = parameter.grad
    if gradient is not None and gradient.layout is torch.strided:
        batch.add(tap.entry.cells.get(What.WEIGHT_GRAD), tap.view(gradient)[:, : WEIGHT.features])


class _Batch:
    """Copies that go to torch in one call: half the price of one call each."""

    __slots__ = ("_cells", "_sources")

    def __init__(self) -> None:
        self._cells: list[Cell] = []
        self._sources: list[Tensor] = []

    def add(self, cell: Cell | None, view: Tensor) -> None:
        """`view` is the slice, unless the cells were shrunk to let the frame fit its ring."""
        if cell is None or cell.filled:
            return
        picked = cell.region.picked
        if view.shape != picked:
            view = view[tuple(slice(size) for size in picked)]
            if view.shape != picked:
                return  # another shape than the plan's
        self._cells.append(cell)
        self._sources.append(view)

    def copy(self) -> None:
        if not self._cells:
            return
        targets = [cell.dest for cell in self._cells]
        together = getattr(torch, "_foreach_copy_", None)
        if together is not None:
            together(targets, self._sources, non_blocking=True)
        else:
            for target, source in zip(targets, self._sources, strict=True):
                target.copy_(source, non_blocking=True)
        for cell in self._cells:
            cell.filled = True

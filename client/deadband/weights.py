"""Weights and weight gradients of the layers: the same slice before and after an optimiser step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from deadband.batches import Batch, fitting
from deadband.cells import Cell, make_cell
from deadband.recorder import Entry
from deadband.regions import BIAS, WEIGHT, Layout
from deadband.shards import local_of
from deadband.wire import What


class WeightTap:
    """The weight and bias of one layer. Parameters are looked up anew: some loops replace them."""

    __slots__ = (
        "after",
        "before",
        "bias",
        "bias_cell",
        "bias_held",
        "bias_pointer",
        "cut",
        "entry",
        "gradient",
        "held",
        "left",
        "outgrown",
        "place",
        "pointer",
        "shape",
        "table",
        "trains",
        "transposed",
        "weight",
    )

    def __init__(
        self,
        entry: Entry,
        table: dict[str, Any],
        weight: str,
        *,
        bias: tuple[dict[str, Any], str] | None = None,
        transposed: bool = False,
        outgrown: list[WeightTap] | None = None,
    ) -> None:
        self.entry = entry
        self.table = table
        self.weight = weight
        self.bias = bias
        self.transposed = transposed
        self.pointer = -1
        """Where the parameter's data lay when `held` was made."""
        self.held: Tensor
        self.outgrown = [] if outgrown is None else outgrown
        """Taps whose parameter has another shape by now put themselves here, or was frozen or
        thawed."""
        self.place: tuple[Any, ...] | None = None
        """Strides of the gradients that `cut` is good for."""
        self.cut: tuple[Any, ...] = ()
        self.bias_pointer = -1
        self.bias_held: Tensor
        parameter = self.parameter
        self.shape = parameter.shape
        view = self.view(parameter)
        self.before = self._cell(What.WEIGHT_BEFORE, view)
        self.after = self._cell(What.WEIGHT, view)
        self.gradient: Cell | None = None
        self.trains = parameter.requires_grad
        if self.trains:
            self.gradient = self._cell(What.WEIGHT_GRAD, view)
        self.left: Cell | None = None
        """Made when a gradient is first found lying there: most loops leave none."""
        self.bias_cell: Cell | None = None
        if bias is not None and (part := self._bias_part()) is not None:
            self.bias_cell = make_cell(What.BIAS, part, Layout.UNITS, BIAS)
            if self.bias_cell is not None:
                entry.cells[What.BIAS] = self.bias_cell

    @property
    def parameter(self) -> Tensor:
        """The weight."""
        return self.table[self.weight]  # type: ignore[no-any-return]

    def view(self, tensor: Tensor) -> Tensor:
        """The first units as rows of inputs; a complex input counts as two."""
        # A plain view of a frozen weight would ask for a gradient as soon as the weight does.
        tensor = local_of(tensor).detach()
        if tensor.is_complex():
            tensor = torch.view_as_real(tensor.resolve_conj())
        if self.transposed:
            tensor = tensor.transpose(0, 1)
        dimensions = tensor.ndim
        if dimensions == 0:
            return tensor.reshape(1, 1)
        tensor = tensor[: WEIGHT.rows]
        if dimensions == 2:
            return tensor
        return tensor[:, None] if dimensions == 1 else tensor.flatten(1)

    def sliced(self, parameter: Tensor, pointer: int) -> Tensor:
        """The slice of the weight that is copied; a view that lives as long as its storage."""
        if parameter.shape != self.shape:
            self.outgrown.append(self)
        view = self.view(parameter)[:, : WEIGHT.features]
        if view.data_ptr() == pointer:  # other memory formats give a copy, good for once only
            self.held, self.pointer = view, pointer
        return view

    def held_at(self, pointer: int) -> Tensor | None:
        """The slice of the weight that lies there; None where it is no view."""
        return self.held if pointer == self.pointer else None

    def bias_held_at(self, pointer: int) -> Tensor | None:
        """The same of the bias."""
        return self.bias_held if pointer == self.bias_pointer else None

    def turned(self) -> None:
        """The weight was frozen or thawed since the plan was made."""
        if self.entry.turns < _MOST_TURNS:
            self.entry.turns += 1
            self.outgrown.append(self)

    def copy_gradient(self, batch: Batch, parameter: Tensor) -> None:
        """Add the gradient to a batch, if there is one."""
        cell, gradient = self.gradient, parameter.grad
        if cell is None or gradient is None or cell.filled:
            return
        if (
            type(gradient) is Tensor
            and gradient.layout is torch.strided
            and gradient.shape == self.shape
            and gradient.stride() == self.place
            and not gradient.requires_grad
        ):
            size, strides = self.cut
            if size == cell.picked:
                if size != self.shape:
                    gradient = gradient.as_strided(size, strides)
                batch.cells.append(cell)
                batch.sources.append(gradient)
                return
        if gradient.layout is not torch.strided:
            if gradient.layout is torch.sparse_coo and gradient.sparse_dim() == 1:
                batch.add(cell, _first_rows(gradient))
            return
        gradient = local_of(gradient)
        view = fitting(cell, self.view(gradient)[:, : WEIGHT.features])
        if view is None:
            return  # another shape than the plan's
        # A view that starts where its tensor does is made in one call from the next time on.
        plain = view.data_ptr() == gradient.data_ptr() and view.dtype == gradient.dtype
        self.place = gradient.stride() if plain else None
        self.cut = (view.shape, view.stride())
        batch.cells.append(cell)
        batch.sources.append(view)

    def copy_left(self, batch: Batch, gradient: Tensor) -> None:
        """Add the gradient that lay there before this step's backward to a batch."""
        view = self.view(gradient)
        if self.left is None:
            self.left = self._cell(What.GRAD_LEFT, view)
        batch.add(self.left, view[:, : WEIGHT.features])

    def copy_bias(self, batch: Batch) -> None:
        """Add the bias to a batch."""
        if self.bias_cell is not None and (part := self._bias_part()) is not None:
            batch.add(self.bias_cell, part)

    def _bias_part(self) -> Tensor | None:
        assert self.bias is not None
        table, name = self.bias
        bias = local_of(table[name])
        pointer = bias.data_ptr()
        if pointer != self.bias_pointer:
            if bias.is_complex():
                return None
            self.bias_held, self.bias_pointer = bias.detach()[: BIAS.features], pointer
        return self.bias_held

    def _cell(self, what: What, view: Tensor) -> Cell | None:
        cell = make_cell(what, view, Layout.UNITS_LAST, WEIGHT)
        if cell is not None:
            self.entry.cells[what] = cell
            self.entry.sources[what] = tuple(self.parameter.shape)
        return cell


_MOST_TURNS = 6
"""Times that a weight may be frozen or thawed before the plan follows no more: some loops train one
half of a network in turn with the other, and each change is a new plan."""


def _first_rows(gradient: Tensor) -> Tensor:
    """The first rows of a sparse gradient; rows that it names twice add up. Nothing is waited for.

    All others go to one row more, which is cut off: a mask would have to be counted.
    """
    rows = min(gradient.shape[0], WEIGHT.rows)
    values = gradient._values().flatten(1)[:, : WEIGHT.features]
    held = values.new_zeros(rows + 1, values.shape[1])
    return held.index_add_(0, gradient._indices()[0].clamp(max=rows), values)[:rows]


def copy_before(taps: Iterable[WeightTap], *, gradients: bool) -> None:
    """Weights, and gradients as the optimiser is about to see them."""
    batch = Batch()
    for tap in taps:
        parameter = tap.table[tap.weight]
        pointer = local_of(parameter).data_ptr()
        held = tap.held if pointer == tap.pointer else tap.sliced(parameter, pointer)
        batch.add(tap.before, held)
        if parameter.requires_grad is not tap.trains:
            tap.turned()
        if gradients:
            tap.copy_gradient(batch, parameter)
    batch.copy()


def copy_after(taps: Iterable[WeightTap], *, gradients: bool) -> None:
    """Weights and biases after the step."""
    batch = Batch()
    for tap in taps:
        parameter = tap.table[tap.weight]
        if gradients:
            tap.copy_gradient(batch, parameter)
        pointer = local_of(parameter).data_ptr()
        held = tap.held if pointer == tap.pointer else tap.sliced(parameter, pointer)
        batch.add(tap.after, held)
        if tap.bias_cell is not None:
            tap.copy_bias(batch)
    batch.copy()

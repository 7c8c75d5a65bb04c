"""Batch normalisations: their running figures before a forward, and what they are given in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer

from deadband.batches import Batch
from deadband.cells import Cell, make_cell
from deadband.recorder import Entry
from deadband.regions import LAYER, Layout
from deadband.wire import What


def is_batch_norm(module: nn.Module) -> bool:
    """Whether the module normalises by the batch, and keeps running figures for evaluation."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and isinstance(
        module._buffers.get("running_mean"), Tensor
    )


def copy_running(norms: Iterable[tuple[Entry, nn.Module]]) -> None:
    """Running means and variances as they are now, all in one batch."""
    batch = Batch()
    for entry, module in norms:
        for what, name in ((What.RUNNING_MEAN, "running_mean"), (What.RUNNING_VAR, "running_var")):
            figures = module._buffers.get(name)
            if figures is None or isinstance(figures, UninitializedBuffer):
                continue  # a lazy module does not know its channels yet
            cell = entry.cells.get(what)
            if cell is None:
                cell = make_cell(what, figures, Layout.UNITS, LAYER)
                if cell is None:
                    continue
                entry.cells[what] = cell
            if cell.region.picked == cell.source:
                batch.add(cell, figures)
            else:
                batch.add(cell, figures[: cell.region.picked[0]])
    batch.copy()


def copy_tested(norms: Iterable[tuple[Entry, nn.Module]]) -> None:
    """Running means ahead of a forward that trains nothing, though it moves them.

    How far a forward moves them tells its batch's means. The first two of a step are copied: where
    there is no second, the training forward comes next.
    """
    batch = Batch()
    for entry, module in norms:
        means = module._buffers.get("running_mean")
        if not module.training or means is None or isinstance(means, UninitializedBuffer):
            continue
        for what in (What.TESTED_MEAN, What.TESTED_NEXT):
            cell = entry.cells.get(what)
            if cell is None:
                cell = make_cell(what, means, Layout.UNITS, LAYER)
                if cell is None:
                    break
                entry.cells[what] = cell
            if not cell.filled:
                batch.add(cell, means[: cell.region.picked[0]])
                break
    batch.copy()


def copy_input(entry: Entry, args: Any) -> None:
    """What the layer was given, with the axes of what it gave."""
    given = args[0] if args else None
    if not isinstance(given, Tensor):
        return
    cell: Cell | None = entry.cells.get(What.LAYER_INPUT)
    if cell is None:
        cell = make_cell(What.LAYER_INPUT, given, entry.layout, LAYER)
        if cell is None:
            return
        entry.cells[What.LAYER_INPUT] = cell
    if not cell.filled:
        cell.take(given)

"""Which modules a model is made of, remembered so that a change is noticed at little cost.

Layers are swapped, added and taken away between steps (a new head, a block more, a parametrisation
that is registered late): by attribute, by `add_module`, or in the table itself. So the tables are
looked at, 10 ns a leaf.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Structure:
    """The tree of a model as it is now."""

    __slots__ = ("_inner", "_leaves")

    def __init__(self, root: nn.Module) -> None:
        self._leaves: list[dict[str, Any]] = []
        """Tables of modules that hold none."""
        self._inner: list[tuple[dict[str, Any], list[int]]] = []
        for module in root.modules():
            table = module._modules
            if isinstance(module, torch.jit.ScriptModule):
                continue  # cannot be changed
            if table:
                self._inner.append((table, [*map(id, table.values())]))
            else:
                self._leaves.append(table)

    @property
    def changed(self) -> bool:
        """Whether a module came or went."""
        if any(self._leaves):
            return True
        return any([*map(id, table.values())] != ids for table, ids in self._inner)

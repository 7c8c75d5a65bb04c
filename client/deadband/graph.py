"""What autograd's graph says of how a tensor was made."""

from __future__ import annotations

from typing import Any


def kind_of(node: Any) -> str:
    """What a node undoes, as torch names it: `Mul` for `MulBackward0`; empty for no node."""
    return "" if node is None else node.name().rpartition("::")[2].partition("Backward")[0]


def before(node: Any) -> list[Any]:
    """The nodes whose results this one works on, in order; constants have none."""
    return [each for each, _ in node.next_functions if each is not None]


__all__ = ["before", "kind_of"]

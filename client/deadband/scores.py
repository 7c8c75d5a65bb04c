"""Scores of queries with keys, told from those of experts or classes by where they come from.

A softmax over a single query's keys has the shape of a router's over experts. But the keys of every
sample are its own, so its scores are products of two computed tensors, or one number for each of
many positions; a router's are a product with a weight.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from deadband.graph import before, kind_of

_SHAPED = frozenset({
    "View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Select", "Slice", "Transpose",
    "Permute", "Expand", "Clone", "ToCopy", "T",
})  # fmt: skip
_THROUGH = _SHAPED | {"Softmax", "Div", "Mul", "Add", "Sub", "MaskedFill", "Where"}
"""What scales, masks or reshapes scores on their way into the softmax."""
_DROPS = frozenset({"Squeeze", "Select"})
_MOST = 24
"""Operations that are looked at; a scale, a mask, a bias and their reshapings are a dozen."""


def are_of_keys(weights: Tensor) -> bool:
    """Whether a softmax over the last axis weighs what each sample brings itself."""
    ahead = [weights.grad_fn]
    for _ in range(_MOST):
        if not ahead:
            return False
        node = ahead.pop()
        kind = kind_of(node)
        if kind == "Bmm":
            return not any(_is_weight(each) for each in before(node))
        if kind in _DROPS and _one_for_each(node, weights.shape[-1]):
            return True
        if kind in _THROUGH:
            ahead += before(node)
    return False


def _one_for_each(node: Any, count: int) -> bool:
    """Whether it drops a last axis of size one behind one of so many positions."""
    sizes = tuple(getattr(node, "_saved_self_sym_sizes", ()))
    axis = getattr(node, "_saved_dim", None)
    if len(sizes) < 3 or not isinstance(axis, int):
        return False
    # A negative axis is kept as an unsigned number.
    last = axis in {len(sizes) - 1, -1} or axis >= 2**63
    return last and sizes[-1] == 1 and sizes[-2] == count


def _is_weight(node: Any) -> bool:
    """Whether a parameter itself comes in here, not what was computed by it."""
    for _ in range(_MOST):
        if kind_of(node) not in _SHAPED:
            break
        node = next(iter(before(node)), None)
    return kind_of(node).endswith("AccumulateGrad")


__all__ = ["are_of_keys"]

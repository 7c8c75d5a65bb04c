"""What autograd knows of the loss: its kind, from the names of its nodes, and its value.

Labels are never looked at; the hub infers what it needs from outputs and their gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from deadband.graph import before, kind_of
from deadband.written import written_loss

_KINDS = {
    "MseLoss": "mse",
    "BinaryCrossEntropyWithLogits": "bce_logits",
    "BinaryCrossEntropy": "bce",
    "SmoothL1Loss": "smooth_l1",
    "HuberLoss": "huber",
    "KlDiv": "kl_div",
    "CtcLoss": "ctc",
    "CudnnCtcLoss": "ctc",
    "SoftMarginLoss": "soft_margin",
    "MultiMarginLoss": "multi_margin",
}
_DEEPEST = 32
"""Nodes looked at: the loss is found at once or is not one of torch's own."""


def loss_kind(loss: Any) -> str:
    """Name of the loss function that made this tensor; empty where it is not known."""
    nodes = [getattr(loss, "grad_fn", None)]
    if _cosine(nodes[0]) is not None:
        return "cosine"
    written = written_loss(nodes[0])
    if written:
        return written
    for position in range(_DEEPEST):
        if position >= len(nodes):
            break
        node = nodes[position]
        if node is None:
            continue
        name = kind_of(node)
        if name in ("NllLoss", "NllLoss2D", "NLLLoss", "NLLLoss2D"):
            return "cross_entropy" if "LogSoftmax" in _below(node, 2) else "nll"
        if name in _KINDS:
            return _KINDS[name]
        below = _below(node, 2)
        if name in ("Mean", "Sum") and below[:1] == ["Abs"] and "Sub" in below:
            return "l1"
        if name in ("Mean", "Sum") and below[:1] == ["Pow"] and "Sub" in below:
            return "mse"
        nodes += [following for following, _ in node.next_functions]
    return ""


_SCALAR_WORK = ("Neg", "Rsub", "Add", "Sub", "Mul", "Div", "Mean")


def both_learn(loss: Any) -> bool:
    """Whether a cosine similarity sends a gradient both ways: its two sides are trained."""
    product = _cosine(getattr(loss, "grad_fn", None))
    return product is not None and len(before(product)) == 2


def squared_sides(loss: Any) -> list[Any]:
    """The nodes behind the two sides of a mean of squared differences, where both are trained.

    A leaf that is trained by itself is none of them: a parameter, inputs that are differentiated.
    """
    node = getattr(loss, "grad_fn", None)
    for _ in range(8):
        kind, below = kind_of(node), [] if node is None else before(node)
        if kind == "Pow" and [kind_of(each) for each in below] == ["Sub"]:
            sides = before(below[0])
            leaves = any(kind_of(each).endswith("AccumulateGrad") for each in sides)
            return sides if len(sides) == 2 and not leaves else []
        if kind not in (*_SCALAR_WORK, "Sum"):
            return []
        node = next(iter(below), None)
    return []


def _cosine(node: Any) -> Any:
    """The product of a loss that is a cosine similarity, but for sign, scale and offset; or None.

    `F.cosine_similarity` and a product of normalised vectors leave a sum of products of quotients
    by norms. Only scalar work may lie above it: a network may use cosines further inside.
    """
    for _ in range(8):
        if node is None:
            return None
        name = kind_of(node)
        if name == "Sum":
            below = _below(node, 5)
            if below[:1] != ["Sum"]:
                found = below[:2] == ["Mul", "Div"] and "LinalgVectorNorm" in below
                return before(node)[0] if found else None
        elif name not in _SCALAR_WORK:
            return None
        node = next(iter(before(node)), None)
    return None


def _below(node: Any, depth: int) -> list[str]:
    """Names of the nodes below, nearest first."""
    names: list[str] = []
    level = [node]
    for _ in range(depth):
        level = [following for each in level for following in before(each)]
        names += [kind_of(each) for each in level]
    return names


class BackwardListener:
    """Hears of every scalar that is back-propagated, by way of `torch.autograd.backward`.

    `Tensor.backward` looks the function up there at every call. The arguments are passed on as they
    came.
    """

    def __init__(self, heard: Callable[[Tensor], None]) -> None:
        self._heard = heard
        self._original: Callable[..., None] = torch.autograd.backward
        self._is_in = False

        def backward(tensors: Any, *args: Any, **kwargs: Any) -> None:
            root = tensors if isinstance(tensors, Tensor) else _first_scalar(tensors)
            if root is not None and root.numel() == 1:
                self._heard(root)
            self._original(tensors, *args, **kwargs)

        self._wrapper: Callable[..., None] = backward
        self.open()

    def open(self) -> None:
        """Listen from now on."""
        if not self._is_in:
            self._original = torch.autograd.backward
            torch.autograd.backward = self._wrapper
            self._is_in = True

    def close(self) -> None:
        """Put torch's own function back, unless somebody else has wrapped ours meanwhile."""
        if torch.autograd.backward is self._wrapper:
            torch.autograd.backward = self._original
            self._is_in = False


def _first_scalar(tensors: Any) -> Tensor | None:
    if isinstance(tensors, list | tuple):
        for each in tensors:
            if isinstance(each, Tensor) and each.numel() == 1:
                return each
    return None

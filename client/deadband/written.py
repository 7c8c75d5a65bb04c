"""Classifying losses written out by hand, known by the nodes that their formulas leave.

What they are taken for is not believed blindly: the hub reads labels from the gradient at the
output and gives them up where these do not fit.
"""

from __future__ import annotations

from typing import Any

from deadband.graph import before, kind_of

_WORK = frozenset(
    ("Neg", "Rsub", "Mean", "Sum", "Div", "Squeeze", "Select", "View", "UnsafeView", "Unsqueeze")
)
"""What lies between the whole and a row's loss. No product: rows that are multiplied by what they
were worth are the steps of a policy, and their labels are no labels."""
_PICKS = frozenset(("Gather", "Index"))
_LONGEST = 12
"""Nodes from the whole to the formula of a row."""


def written_loss(node: Any) -> str:
    """`cross_entropy`, `bce_logits` or `bce` where a formula of it made this node, or empty."""
    for _ in range(_LONGEST):
        if node is None:
            return ""
        kind = _formula(node)
        if kind:
            return kind
        # Of a sum the first is followed: penalties are added behind.
        if kind_of(node) not in _WORK | {"Add"}:
            return ""
        node = next(iter(before(node)), None)
    return ""


def _formula(node: Any) -> str:
    name, below = kind_of(node), [kind_of(each) for each in before(node)]
    if name in _PICKS and _logarithms_of_shares(before(node)[:1]):
        return "cross_entropy"  # log_softmax(out)[row, label]
    if name == "Mul" and _by_a_constant(node) and _logarithms_of_shares(before(node)):
        return "cross_entropy"  # one_hot * log_softmax(out)
    if name == "Sub" and below[:1] == ["Logsumexp"] and _picked(node):
        return "cross_entropy"  # logsumexp(out) - out[row, label]
    if name == "Sub" and below == ["Softplus", "Mul"] and _by_a_constant(before(node)[1]):
        return "bce_logits"  # softplus(out) - out * y
    if name == "Add" and below == ["Mul", "Mul"]:
        # y * log(p) + (1 - y) * log(1 - p)
        parts = {
            kind_of(each) for mul in before(node) if _by_a_constant(mul) for each in before(mul)
        }
        return {"Log": "bce", "LogSigmoid": "bce_logits"}.get("".join(parts), "")
    return ""


def _logarithms_of_shares(nodes: list[Any]) -> bool:
    """Whether it is a log_softmax, as torch's or as `logits - logits.logsumexp()`."""
    for each in nodes:
        if kind_of(each) == "LogSoftmax":
            return True
        if kind_of(each) == "Sub" and "Logsumexp" in [kind_of(part) for part in before(each)]:
            return True
    return False


def _picked(node: Any) -> bool:
    """Whether what is taken off is one element a row."""
    part = before(node)[1] if len(before(node)) == 2 else None
    while part is not None and kind_of(part) in _WORK:
        part = next(iter(before(part)), None)
    return part is not None and kind_of(part) in _PICKS


def _by_a_constant(node: Any) -> bool:
    """Whether one of two factors hangs on nothing that learns."""
    return len(before(node)) == 1

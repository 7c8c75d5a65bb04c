"""Attention that a custom forward computes by itself: its weights, or the queries and keys of it.

A softmax counts as attention where it goes over the last of four axes (samples, heads, queries,
keys), or of three with as many queries as keys. With fewer axes or queries, where a router's or a
classifier's end in experts or classes, it counts by what its scores were made of. A softmax over
the places of one number each is a pooling's. `nn.MultiheadAttention` calls everything inside one
function of torch's, which is looked into elsewhere.
"""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from deadband.cells import make_cell
from deadband.recorder import Entry
from deadband.regions import HEADS, Layout
from deadband.scores import are_of_keys
from deadband.wire import Layer, What

SCALED_DOT_PRODUCT = F.scaled_dot_product_attention
NAME = "scaled_dot_product_attention"


def is_attention(given: tuple[Any, ...], options: dict[str, Any], result: Tensor) -> bool:
    """Whether this call of softmax made attention weights."""
    axis = _axis(given, options, result)
    if result.ndim == 3 and result.shape[-1] == 1 < result.shape[1]:
        return axis == 1
    if axis != result.ndim - 1 or result.shape[-1] < 2:
        return False
    if result.ndim == 4 or (result.ndim == 3 and is_square(result)):
        return True
    return result.ndim in (2, 3) and are_of_keys(result)


def is_choice(given: tuple[Any, ...], options: dict[str, Any], result: Tensor) -> bool:
    """Whether this call of softmax, which is no attention, is a router's, or a classifier's.

    Of three axes with a single position there is no telling.
    """
    if result.ndim <= 2:
        return True
    if result.ndim != 3 or result.shape[-2] < 2:
        return False
    return _axis(given, options, result) == result.ndim - 1


def _axis(given: tuple[Any, ...], options: dict[str, Any], result: Tensor) -> int:
    """Where the softmax goes along; -1 where that was not said."""
    axis = given[1] if len(given) > 1 else options.get("dim", options.get("axis"))
    return axis % max(1, result.ndim) if isinstance(axis, int) else -1


def is_square(weights: Tensor) -> bool:
    """Whether there are as many queries as keys."""
    return weights.shape[-1] == weights.shape[-2] > 1


def copy_weights(entry: Entry, weights: Tensor) -> None:
    """Rows of attention weights."""
    if weights.ndim == 2:
        weights = weights[:, None]
    elif weights.ndim == 3 and weights.shape[-1] == 1:
        weights = weights.transpose(1, 2)
    _copy(entry, What.ATTENTION, weights, Layout.QUERIES)


def copy_queries(entry: Entry, query: Tensor, key: Tensor) -> None:
    """Some queries and the keys that they look at."""
    if query.ndim not in (3, 4) or query.ndim != key.ndim:
        return
    if query.ndim == 4 and query.shape[1] != key.shape[1]:
        # Several heads share one key: the first of each is a pair for certain.
        query, key = query[:, :1], key[:, :1]
    _copy(entry, What.QUERY, query, Layout.QUERIES)
    _copy(entry, What.KEY, key, Layout.KEYS)


class AttentionLayer:
    """Describes one."""

    def __init__(self, entry: Entry, kind: str, options: dict[str, float]) -> None:
        self._entry = entry
        self._kind = kind
        self._options = options

    def __call__(self) -> Layer:
        """What the plan says of it."""
        return Layer(
            name=self._entry.name, model=self._entry.model, kind=self._kind, options=self._options
        )


def options_of(given: tuple[Any, ...], options: dict[str, Any]) -> dict[str, float]:
    """What a call of `scaled_dot_product_attention` says of its scale and mask."""
    scale = options.get("scale")
    known = {"scale": float(scale) if scale else 1.0 / math.sqrt(max(1, given[0].shape[-1]))}
    mask = given[3] if len(given) > 3 else options.get("attn_mask")
    if mask is None:
        known["causal"] = float(given[5] if len(given) > 5 else options.get("is_causal", False))
    return known


def _copy(entry: Entry, what: What, tensor: Tensor, layout: Layout) -> None:
    cell = entry.cells.get(what)
    if cell is None:
        cell = make_cell(what, tensor, layout, HEADS)
        if cell is None:
            return
        entry.cells[what] = cell
    if not cell.filled:
        cell.take(tensor)

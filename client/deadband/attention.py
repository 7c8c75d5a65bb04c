"""Attention that a custom forward computes by itself: its weights, or the queries and keys of it.

A softmax counts as attention where it goes over the last of four axes (samples, heads, queries,
keys), or of three with as many queries as keys: a router's or a token classifier's three axes end
in experts or classes. `nn.MultiheadAttention` calls everything inside one function of torch's, so
nothing is seen of it but the weights that it returns when it is asked for them.
"""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from deadband.cells import make_cell
from deadband.recorder import Entry
from deadband.regions import HEADS, Layout
from deadband.wire import Layer, What

SCALED_DOT_PRODUCT = F.scaled_dot_product_attention
NAME = "scaled_dot_product_attention"


def is_attention(given: tuple[Any, ...], options: dict[str, Any], result: Tensor) -> bool:
    """Whether this call of softmax made attention weights."""
    if not _over_last_axis(given, options, result):
        return False
    return is_square(result) if result.ndim == 3 else result.ndim == 4


def is_choice(given: tuple[Any, ...], options: dict[str, Any], result: Tensor) -> bool:
    """Whether this call of softmax gave every position a choice: a router's, or a classifier's.

    One query over its keys has the same axes; with a single position there is no telling.
    """
    if result.ndim != 3 or result.shape[-2] < 2 or is_square(result):
        return False
    return _over_last_axis(given, options, result)


def _over_last_axis(given: tuple[Any, ...], options: dict[str, Any], result: Tensor) -> bool:
    axis = given[1] if len(given) > 1 else options.get("dim", options.get("axis"))
    return axis in (-1, result.ndim - 1)


def is_square(weights: Tensor) -> bool:
    """Whether there are as many queries as keys."""
    return weights.shape[-1] == weights.shape[-2] > 1


def copy_weights(entry: Entry, weights: Tensor) -> None:
    """Rows of attention weights."""
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

"""Attention: how sharply queries choose among the keys that they may see.

Rows come as weights, or as queries and keys. Rows that see one key have no choice; a key that a
mask hides is no choice either.
"""

from __future__ import annotations

import numpy as np

from deadband.wire import Plan, What
from deadband_monitor.statistics.layout import Batch, gather, groups, present
from deadband_monitor.statistics.table import Table
from deadband_monitor.statistics.values import Doubles, Floats, Mask, Reals

_MOST_KEYS = 128
"""Keys that the client copies at most."""
_LEAST_MASS = 0.01
"""A row with less of its weight among the keys copied is about other keys."""


class Attention:
    """The attention layers of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._rows = groups(plan, What.ATTENTION)
        keys = {
            slot.index: number for number, slot in enumerate(plan.slots) if slot.what is What.KEY
        }
        self._pairs = [
            (number, keys[slot.index])
            for number, slot in enumerate(plan.slots)
            if slot.what is What.QUERY and slot.index in keys
        ]

    def measure(self, frames: Batch, table: Table) -> None:
        """Fill `attention_entropy` and `attention_logit`."""
        plan = self._plan
        for group in self._rows:
            here = present(frames, group.slots)
            if not here.any() or len(group.shape) != 3:
                continue
            weight = gather(frames, group.slots)
            entropy = np.empty((len(frames), len(group.slots)))
            for column, number in enumerate(group.slots):
                slot = plan.slots[number]
                whole = slot.source[-2:] if len(slot.source) > 1 else slot.shape[1:]
                may_see = _sight(whole, slot.shape[1], slot.shape[2])
                options = plan.layers[slot.index].options
                causal = options.get("causal", np.nan if whole[0] == whole[1] else 0.0)
                entropy[:, column] = entropy_of_rows(
                    weight[column :: len(group.slots)], may_see, causal
                )
            table.put("attention_entropy", group.rows, entropy, here)
        for query, key in self._pairs:
            here = np.asarray(present(frames, (query, key)).all(axis=1, keepdims=True))
            if here.any():
                self._measure_pair(frames, query, key, here, table)

    def _measure_pair(self, frames: Batch, query: int, key: int, here: Mask, table: Table) -> None:
        plan = self._plan
        of_query, of_key = plan.slots[query], plan.slots[key]
        if len(of_query.shape) != 3 or len(of_key.shape) != 3:
            return
        options = plan.layers[of_query.index].options
        wide = of_query.source[-1] if of_query.source else of_query.shape[-1]
        scale = options.get("scale", 1.0 / np.sqrt(wide))
        q = gather(frames, (query,))
        k = gather(frames, (key,))
        count = min(q.shape[1], k.shape[1])
        whole = (
            of_query.source[-2] if len(of_query.source) > 1 else of_query.shape[1],
            of_key.source[-2] if len(of_key.source) > 1 else of_key.shape[1],
        )
        visible = np.ones((q.shape[2], k.shape[2]), dtype=np.bool_)
        if options.get("causal", 0.0):
            visible = _sight(whole, q.shape[2], k.shape[2])
        logits = logits_of(q[:, :count], k[:, :count], scale, visible)
        entropy = entropy_of_rows(softmax(logits), visible, 1.0)
        largest = np.abs(np.where(visible, logits, 0.0)).max(axis=(1, 2, 3))
        largest[~np.isfinite(largest)] = np.nan
        subject = np.array([of_query.index], dtype=np.int64)
        table.put("attention_entropy", subject, entropy, here)
        table.put("attention_logit", subject, largest, here)


def logits_of(query: Floats, key: Floats, scale: float, visible: Mask) -> Doubles:
    """Scaled products, (b, n, q, f) and (b, n, k, f) -> (b, n, q, k); -inf for hidden keys."""
    with np.errstate(all="ignore"):
        product = np.matmul(query, key.swapaxes(-1, -2)).astype(np.float64)
        if not np.isfinite(product).all():
            product = np.matmul(query.astype(np.float64), key.astype(np.float64).swapaxes(-1, -2))
        return np.where(visible, product * scale, -np.inf)


def softmax(logits: Doubles) -> Doubles:
    """Along the last axis; rows without any visible key are zero."""
    with np.errstate(all="ignore"):
        largest = logits.max(axis=-1, keepdims=True)
        weight = np.exp(logits - np.where(largest == -np.inf, 0.0, largest))
        total = weight.sum(axis=-1, keepdims=True)
        return np.asarray(weight / np.where(total == 0, 1.0, total))


def entropy_of_rows(weight: Reals, may_see: Mask, causal: float) -> Doubles:
    """Mean entropy of rows of attention over ln of the keys that they see: (b,).

    Args:
        weight: (b, n, q, k)
        may_see: (q, k) what a query sees under a causal mask.
        causal: 1 where there is such a mask, 0 where there is none, NaN where that is not known:
            then there is one if no weight lies on what it would hide. Without one, keys that no row
            of the slice looks at count as hidden, down to two: padding.
    """
    with np.errstate(all="ignore"):
        total = weight.sum(axis=-1, dtype=np.float64)
        seen = weight > 0
        masked = np.full(len(weight), causal == 1.0)
        if np.isnan(causal):
            masked = np.asarray(~(seen & ~may_see).any(axis=(1, 2, 3)))
        ever = np.maximum(seen.any(axis=(1, 2)).sum(axis=-1), min(2, weight.shape[-1]))
        keys = np.where(masked[:, None], may_see.sum(axis=1), ever[:, None])[:, None]
        share = weight / total[..., None]
        surprise = np.where(share > 0, share * np.log(np.where(share > 0, share, 1.0)), 0.0)
        entropy = -surprise.sum(axis=-1, dtype=np.float64) / np.log(keys)
        told = (keys > 1) & (total > _LEAST_MASS)
        count = told.sum(axis=(1, 2))
        mean = np.where(told, entropy, 0.0).sum(axis=(1, 2)) / np.maximum(count, 1)
        broken = ~np.isfinite(total).all(axis=(1, 2))
    return np.where((count > 0) & ~broken, np.clip(mean, 0.0, 1.0), np.nan)


def _sight(whole: tuple[int, ...], queries: int, keys: int) -> Mask:
    """Which of the copied keys each copied query sees under a causal mask, (queries, keys).

    Of (queries, keys) as a whole, the first keys were copied, and queries spread over the same part
    of the sequence.
    """
    part = min(whole[0], keys if whole[0] == whole[1] else _MOST_KEYS)
    stride = max(1, part // max(1, queries))
    places = np.arange(queries) * stride + stride // 2
    return np.asarray(np.arange(keys)[None] <= places[:, None])

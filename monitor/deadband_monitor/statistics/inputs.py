"""Statistics of what the model is fed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from deadband_monitor.statistics.values import Doubles, Floats, Mask, Reals
from deadband_monitor.statistics.windows import WINDOW

_FEWEST_ROWS = 8
"""Rows that must agree before a feature counts as constant: a rare one is 0 in most rows."""
_AT_ONCE = 1 << 16
"""Elements of frames that are measured together: small enough for the caches."""
_FEWEST_SEEN = 64
"""Rows before the share of different ones is given."""


def feature_scales(rows: Reals) -> tuple[float, float]:
    """Largest over median sd of the features that vary; largest feature's share of sum x^2.

    rows: (n, m features) of finite values. The first is NaN with fewer than 2 rows or no feature
    that varies: constant pixels of an image are harmless and left out.
    """
    spread, top = scales_of_frames(rows[None], np.ones(1, bool))
    return float(spread[0]), float(top[0])


def scales_of_frames(x: Reals, wanted: Mask) -> tuple[Doubles, Doubles]:
    """`feature_scales` of the wanted frames, NaN for the others; x: (b, n, m)."""
    spread, top = np.full(len(x), np.nan), np.full(len(x), np.nan)
    frames = np.flatnonzero(wanted)
    if not x.size:
        return spread, top
    at_once = max(1, _AT_ONCE // x[0].size)
    for first in range(0, len(frames), at_once):
        chosen = frames[first : first + at_once]
        spread[chosen], top[chosen] = _scales(x[chosen].astype(np.float64))
    return spread, top


def _scales(wide: Doubles) -> tuple[Doubles, Doubles]:
    power = np.einsum("bnm,bnm->bm", wide, wide)
    total = power.sum(axis=1)
    top = np.where(total > 0, power.max(axis=1) / np.where(total > 0, total, 1.0), np.nan)
    spread = np.full(len(wide), np.nan)
    if wide.shape[1] < 2:
        return spread, top
    wide -= wide[:, :1].copy()
    wide -= wide.mean(axis=1, keepdims=True)
    deviations = np.sqrt(np.einsum("bnm,bnm->bm", wide, wide) / wide.shape[1])
    deviations.sort(axis=1)
    for frame, ordered in enumerate(deviations):
        varying = ordered[int(np.searchsorted(ordered, 0.0, "right")) :]
        if len(varying):
            middle = (varying[(len(varying) - 1) // 2] + varying[len(varying) // 2]) / 2
            spread[frame] = varying[-1] / middle
    return spread, top


def row_keys(rows: Floats) -> list[int]:
    """A number for each row of (n, m) that only an equal row has too."""
    plain = rows + np.float32(0.0)  # -0.0 and 0.0 are one value
    size = plain[:1].nbytes
    if not size:
        return [hash(b"")] * len(rows)
    each: list[bytes] = np.ascontiguousarray(plain).view(f"V{size}")[:, 0].tolist()
    return list(map(hash, each))


def duplicate_share(keys: Sequence[int]) -> float:
    """Share of rows that repeat an earlier one exactly: 0 all differ, 1 - 1/n all equal."""
    return 1.0 - len(set(keys)) / len(keys) if keys else np.nan


def constant_share(x: Reals) -> Doubles:
    """Share of features that are the same in all rows of each slice, (b, n, m) -> (b,)."""
    if x.shape[1] < _FEWEST_ROWS or not x.shape[2]:
        return np.full(len(x), np.nan)
    return np.asarray((x == x[:, :1]).all(axis=1).mean(axis=1))


class SeenRows:
    """The rows that a model was given of late, by their keys."""

    def __init__(self) -> None:
        self._last: frozenset[int] = frozenset()
        self._batches: deque[list[int]] = deque()
        self._counts: dict[int, int] = {}
        self._size = 0

    def add(self, keys: list[int]) -> tuple[float, float, float]:
        """Take one sample's rows.

        Returns the share of them that the sample before held too, and the share and the number of
        different rows among the last 2000; NaN before the second sample, and below 64 rows.
        """
        if not keys:
            return np.nan, np.nan, np.nan
        repeated = np.nan
        if self._batches:
            repeated = sum(map(self._last.__contains__, keys)) / len(keys)
        self._last = frozenset(keys)
        self._batches.append(keys)
        counts = self._counts
        for key in keys:
            counts[key] = counts.get(key, 0) + 1
        self._size += len(keys)
        while self._size - len(self._batches[0]) >= WINDOW:
            gone = self._batches.popleft()
            self._size -= len(gone)
            for key in gone:
                if counts[key] > 1:
                    counts[key] -= 1
                else:
                    del counts[key]
        if self._size < _FEWEST_SEEN:
            return repeated, np.nan, np.nan
        return repeated, len(self._counts) / self._size, float(len(self._counts))


def largest_absolute(x: Reals) -> Doubles:
    """Largest |x| of each slice, (b, ...) -> (b,)."""
    flat = x.reshape(len(x), -1)
    if not flat.shape[1]:
        return np.full(len(x), np.nan)
    return np.asarray(np.maximum(flat.max(axis=1), -flat.min(axis=1)), dtype=np.float64)

"""How the values of a slice are spread: its outline (quantiles), or a histogram. Pure.

Quantiles and not bins: no range has to be known beforehand, so that the same forty numbers tell of
a bell, of two piles at the ends of a tanh, of a ReLU that gives zeros only and of a weight at 1e19;
whoever draws chooses range and bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.statistics.values import Doubles, Floats, Ints

LEVELS: tuple[float, ...] = (
    0.0,
    0.001,
    0.01,
    *(part / 32 for part in range(1, 32)),
    0.99,
    0.999,
    1.0,
)
"""Shares of the values below each figure of an outline: even steps, and the tails."""
WIDTH = len(LEVELS) + 3
"""Figures of an outline: one a level, then mean, standard deviation, share that is not finite."""
PACKED_BYTES = 2 * WIDTH
MOST_VALUES = 1024
"""Values that an outline is taken of: its levels then lie within 1.5 % of their place (the error of
a share p is sqrt(p (1 - p) / n)), less than a row of eighth blocks shows."""
MOST_BINS = 256


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts in bins of one width."""

    low: float
    high: float
    counts: Ints
    broken: int
    """Values that are not finite."""


def outlines(values: Floats, *, whole: bool = False) -> Floats:
    """An outline of each slice, (b, m) -> (b, WIDTH); NaN where no value is finite.

    Args:
        values: the slices, flat.
        whole: of all values, not of `MOST_VALUES` that are picked from them.
    """
    count, size = values.shape
    if not size or not count:
        return np.full((count, WIDTH), np.nan, np.float32)
    if not whole:
        values = values[:, picked(size)]
    known = np.isfinite(values)
    sound = known.all(axis=1)
    if sound.all():
        return _sound(values)
    made = np.empty((count, WIDTH), np.float32)
    made[sound] = _sound(values[sound])
    for row in np.flatnonzero(~sound):
        finite = values[row][known[row]]
        made[row] = _sound(finite[None])[0] if len(finite) else np.nan
        made[row, -1] = 1.0 - len(finite) / values.shape[1]
    return made


def histogram(values: Floats, bins: int = MOST_BINS) -> Histogram:
    """Counts of all finite values, in bins from the lowest to the highest."""
    flat = values.ravel()
    finite = flat[np.isfinite(flat)].astype(np.float64)
    broken = len(flat) - len(finite)
    bins = min(max(bins, 1), MOST_BINS)
    if not len(finite):
        return Histogram(np.nan, np.nan, np.zeros(bins, np.int64), broken)
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        reach = abs(low) or 1.0
        low, high = low - 0.1 * reach, high + 0.1 * reach
    # Not numpy's: it asks for a range that float64 can divide, and this one is given.
    places = np.clip((finite - low) * (bins / (high - low)), 0, bins - 1).astype(np.int64)
    return Histogram(low, high, np.bincount(places, minlength=bins), broken)


def shares(outline: Floats, edges: Doubles) -> Doubles:
    """What share of the values lies between each edge and the next, (bins,) for bins + 1 edges.

    Between two levels the values are taken to be spread evenly; equal levels are a pile in one
    place. What lies outside the edges is in no bin.
    """
    levels = outline[: len(LEVELS)].astype(np.float64)
    if not np.isfinite(levels).all():
        return np.zeros(len(edges) - 1)
    # A pile on the last edge, such as that of a tanh at 1, is in the last bin.
    closed = np.append(edges[:-1], np.nextafter(edges[-1], np.inf))
    return np.diff(_below(levels, closed)) * (1.0 - float(outline[-1]))


@lru_cache(maxsize=256)
def picked(size: int) -> NDArray[np.int64] | slice:
    """Which values of a slice an outline is taken of.

    Places at random, always the same: an even stride would fall into step with the features.
    """
    if size <= MOST_VALUES:
        return slice(None)
    return np.sort(np.random.default_rng(size).choice(size, MOST_VALUES, replace=False))


def packed(made: Floats) -> bytes:
    """Outlines as the upper halves of their float32: the whole range, and three digits."""
    bits = np.ascontiguousarray(made, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x8000) >> np.uint64(16)).astype("<u2").tobytes()


def unpacked(data: bytes) -> Floats:
    """What `packed` was given, (n, WIDTH).

    Raises:
        ValueError: it is something else, or of a version with other levels.
    """
    halves = np.frombuffer(data, "<u2").astype(np.uint32)
    if len(halves) % WIDTH:
        raise ValueError(f"{len(halves)} figures are no outlines of {WIDTH}")
    return (halves << np.uint32(16)).view(np.float32).reshape(-1, WIDTH)


def is_taken(data: bytes) -> bool:
    """Whether a packed outline was taken at all: its tensor may not have been there."""
    return bool(np.isfinite(unpacked(data)[0, -1]))


def _sound(values: Floats) -> Floats:
    ordered = np.sort(values, axis=1)
    at = np.array(LEVELS) * (ordered.shape[1] - 1)
    under = at.astype(np.int64)
    over = np.minimum(under + 1, ordered.shape[1] - 1)
    part = (at - under).astype(np.float32)
    made = np.zeros((len(values), WIDTH), np.float32)
    # Never a difference: that of the ends of float32 has no place in it.
    made[:, : len(LEVELS)] = ordered[:, under] * (1 - part) + ordered[:, over] * part
    # The squares neither: moments are taken of what is at most 1.
    largest = np.maximum(np.abs(ordered[:, 0]), np.abs(ordered[:, -1]))
    scale = np.where(largest > 0, largest, np.float32(1))[:, None]
    ordered /= scale
    mean = ordered.mean(axis=1, keepdims=True)
    ordered -= mean
    spread = np.sqrt(np.einsum("bm,bm->b", ordered, ordered) / ordered.shape[1])
    made[:, -3] = mean[:, 0] * scale[:, 0]
    made[:, -2] = spread * scale[:, 0]
    return made


def _below(levels: Doubles, edges: Doubles) -> Doubles:
    """The share of values below each edge; a value on an edge counts as above it."""
    right = np.searchsorted(levels, edges, side="left")
    inside = (right > 0) & (right < len(levels))
    upper = np.clip(right, 1, len(levels) - 1)
    lower = upper - 1
    gap = levels[upper] - levels[lower]
    part = np.divide(edges - levels[lower], gap, out=np.zeros(len(edges)), where=gap > 0)
    at = np.array(LEVELS)
    between = at[lower] + np.clip(part, 0.0, 1.0) * (at[upper] - at[lower])
    return np.where(inside, between, np.where(right == 0, 0.0, 1.0))

"""Which part of a tensor is copied, from its shape alone. Pure; torch and numpy index the same way.

Whole rows, one contiguous block of features, no stride over features: that is what a cold cache
forgives. Pixels come from the middle of the image (borders see padding), but for those of an
output: its loss is that of all of them, and what is sought lies in the middle of most pictures.
Positions are spread over the sequence, to near both its ends, and rows over a large batch: one that
is a whole set may lie in order, as x = torch.linspace(-3, 3, 2000) does, and its first rows are
alike.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from enum import Enum

Index = tuple[slice | int, ...]

SPREAD_ROWS = 64
"""Rows that a large batch is cut down to, by leaving out all but every so many. The same for
every tensor, whatever its limits: row by row, those of one lie beside those of another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that is copied along each kind of axis."""

    rows: int = 32
    features: int = 512
    channels: int = 128
    pixels: int = 16
    positions: int = 4
    spread: bool = True
    """Whether rows are samples, any of which will do, and not units."""
    spread_pixels: bool = False
    """Whether pixels stand for the whole image, and not for those that no border touches."""


LAYER = Limits()
INPUT = Limits(rows=64, pixels=256)
OUTPUT = Limits(rows=64, features=1024, channels=1024, spread_pixels=True)
WEIGHT = Limits(rows=64, features=64, spread=False)
BIAS = Limits(features=256, spread=False)
HEADS = Limits(rows=8, features=128, spread=False)


class Layout(Enum):
    """Which axis is which."""

    UNITS_LAST = "units last"  # (samples, ..., units)
    CHANNELS = "channels"  # (samples, units, pixels...)
    TIME_FIRST = "time first"  # (positions, samples, units)
    SAMPLES = "samples"  # (samples,)
    UNITS = "units"  # (units,)
    QUERIES = "queries"  # (samples, heads, queries, keys or features), or without heads
    KEYS = "keys"  # the same: whole rows of keys instead of some queries
    LABELS = "labels"  # (samples, ..., positions): class ids of rows that have their units last
    LABEL_MAP = "label map"  # (samples, pixels...): class ids of rows that are channels


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a tensor."""

    index: Index
    """What to index the tensor with."""
    picked: tuple[int, ...]
    """Shape of what comes out."""
    shape: tuple[int, ...]
    """The same in canonical order, as the slot stores it."""
    axes: str
    """One letter an axis of `shape`: `n` samples, `p` positions, `u` units."""
    swapped: bool = False
    """Whether `picked` has the first two axes of `shape` the other way round."""

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)


@functools.lru_cache(4096)
def region_of(shape: tuple[int, ...], layout: Layout, limits: Limits) -> Region | None:
    """The part of a tensor of this shape that is copied; None where there is nothing to copy."""
    if not shape or 0 in shape:
        return None
    if layout is Layout.LABELS or layout is Layout.LABEL_MAP:
        return _labels(shape, layout, limits)
    if layout is Layout.QUERIES or layout is Layout.KEYS:
        return _heads(shape, layout, limits)
    if len(shape) == 1:
        return _vector(shape[0], layout, limits)
    if layout is Layout.CHANNELS and len(shape) > 2:
        return _image(shape, limits)
    if layout is Layout.TIME_FIRST and len(shape) == 3:
        time, batch, width = shape
        rows, features = min(batch, limits.rows), min(width, limits.features)
        spread = _from_end_to_end(time, limits.positions)
        count = len(range(time)[spread])
        return Region(
            (spread, _rows(batch, limits), slice(features)),
            (count, rows, features),
            (rows, count, features),
            "npu",
            swapped=True,
        )
    rows, features = min(shape[0], limits.rows), min(shape[-1], limits.features)
    if len(shape) == 2:
        picked = (rows, features)
        return Region((_rows(shape[0], limits), slice(features)), picked, picked, "nu")
    spread = _from_end_to_end(shape[-2], limits.positions)
    count = len(range(shape[-2])[spread])
    middles = tuple(size // 2 for size in shape[1:-2])
    sizes = (rows, count, features)
    index: Index = (_rows(shape[0], limits), *middles, spread, slice(features))
    return Region(index, sizes, sizes, "npu")


def _heads(shape: tuple[int, ...], layout: Layout, limits: Limits) -> Region | None:
    """Heads of the first samples are rows.

    Queries come from among the first keys that are copied: in causal attention, where a query looks
    back, their rows are whole.
    """
    if len(shape) not in (3, 4):
        return None
    heads = min(shape[1], limits.rows) if len(shape) == 4 else 1
    samples = min(shape[0], max(1, limits.rows // heads))
    features = min(shape[-1], limits.features)
    first = min(shape[-2], limits.features)
    places = slice(first) if layout is Layout.KEYS else _spread(first, limits.positions)
    count = len(range(first)[places])
    block = (slice(heads),) if len(shape) == 4 else ()
    return Region(
        (slice(samples), *block, places, slice(features)),
        (samples, *([heads] if block else []), count, features),
        (samples * heads, count, features),
        "npu",
    )


def _labels(shape: tuple[int, ...], layout: Layout, limits: Limits) -> Region | None:
    """The rows and positions that an output with one unit more would have shown."""
    axis = 1 if layout is Layout.LABEL_MAP and len(shape) > 1 else len(shape)
    whole = (*shape[:axis], 1, *shape[axis:])
    region = region_of(whole, Layout.CHANNELS if axis == 1 else Layout.UNITS_LAST, limits)
    if region is None:
        return None
    place = region.axes.index("u")
    # Axes in the middle of a deep tensor are picked by number, and give no axis of `picked`.
    picked = list(region.picked)
    del picked[sum(isinstance(each, slice) for each in region.index[:axis])]
    return Region(
        (*region.index[:axis], *region.index[axis + 1 :]),
        tuple(picked),
        (*region.shape[:place], *region.shape[place + 1 :]),
        region.axes.replace("u", ""),
    )


def _vector(size: int, layout: Layout, limits: Limits) -> Region:
    if layout is Layout.SAMPLES:
        rows = min(size, limits.rows)
        return Region((_rows(size, limits),), (rows,), (rows,), "n")
    features = min(size, limits.features)
    if layout is Layout.UNITS:
        return Region((slice(features),), (features,), (features,), "u")
    return Region((slice(features),), (features,), (1, features), "nu")


def _image(shape: tuple[int, ...], limits: Limits) -> Region:
    rows, channels = min(shape[0], limits.rows), min(shape[1], limits.channels)
    block = _grid(shape[2:][-2:], limits.pixels) if limits.spread_pixels else _middle(shape, limits)
    sizes = [len(range(size)[part]) for size, part in zip(shape[-len(block) :], block, strict=True)]
    middles = tuple(size // 2 for size in shape[2:-2])
    return Region(
        (_rows(shape[0], limits), slice(channels), *middles, *block),
        (rows, channels, *sizes),
        (rows, channels, math.prod(sizes)),
        "nup",
    )


def _middle(shape: tuple[int, ...], limits: Limits) -> list[slice]:
    """As many whole lines of the middle as there may be, or the middle of one."""
    columns = min(shape[-1], limits.pixels)
    left = (shape[-1] - columns) // 2
    block = [slice(left, left + columns)]
    if len(shape) > 3:
        lines = min(shape[-2], max(1, limits.pixels // columns))
        top = (shape[-2] - lines) // 2
        block.insert(0, slice(top, top + lines))
    return block


def _grid(sizes: tuple[int, ...], most: int) -> list[slice]:
    """Lines and columns that lie as far from each other everywhere, as many of both if they can."""
    if len(sizes) == 1:
        return [_evenly(sizes[0], most)]
    lines = min(sizes[0], max(math.isqrt(most), most // sizes[1]))
    return [_evenly(sizes[0], lines), _evenly(sizes[1], most // lines)]


def _evenly(size: int, most: int) -> slice:
    count = min(size, most)
    stride = round(size / count)
    if stride * (count - 1) >= size:
        stride -= 1
    start = (size - 1 - stride * (count - 1)) // 2
    return slice(start, start + stride * (count - 1) + 1, stride)


def _rows(size: int, limits: Limits) -> slice:
    rows = min(size, limits.rows)
    stride = size // SPREAD_ROWS if limits.spread else 1
    if stride < 2 or rows > SPREAD_ROWS:
        return slice(rows)
    return slice(0, stride * (rows - 1) + 1, stride)


def _from_end_to_end(size: int, most: int) -> slice:
    """Some positions of a sequence, the second and nearly the last among them.

    Short rows are padded at one end: what is left of them lies at the other. The very first
    position has seen nothing yet, and may be a token that is the same in every row.
    """
    if size <= most:
        return slice(0, size, 1)
    stride = max(1, (size - 3) // (most - 1)) if most > 1 else size
    return slice(1, 2 + stride * (most - 1), stride)


def _spread(size: int, most: int) -> slice:
    count = min(size, most)
    stride = size // count
    start = stride // 2
    return slice(start, start + stride * (count - 1) + 1, stride)

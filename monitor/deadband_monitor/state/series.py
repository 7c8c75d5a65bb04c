"""A time series of whole matrices at bounded memory: min, mean and max per bucket of steps.

All metrics of all layers share one time base. When the buckets run out, neighbours are merged and
each bucket covers twice as many steps: a run of a million steps takes the same memory as one of a
thousand, and one wild step can never vanish from the picture.
"""

from __future__ import annotations

import math
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from deadband_monitor.state.figures import Floats, pack, unpack

__all__ = ["Figures", "Floats", "PackedSeries", "Pick", "Series", "SeriesPart", "Window"]

Pick = tuple[int | slice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of a series, ready to draw: one column a bucket."""

    steps: NDArray[np.int64]
    """First step of each column."""
    width: int
    """Steps a column covers."""
    low: Floats
    """(columns, *shape); NaN where nothing was measured."""
    mean: Floats
    high: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is known of some buckets: (buckets, *shape)."""

    low: Floats
    high: Floats
    total: NDArray[np.floating]
    """The sum of the values, of which there were `count`."""
    count: NDArray[np.int32]

    @property
    def mean(self) -> NDArray[np.floating]:
        """NaN where nothing was measured."""
        mean = self.total / np.maximum(self.count, 1)
        return np.where(self.count > 0, mean, np.nan)

    def at(self, buckets: NDArray[np.int64]) -> Figures:
        """Some of the buckets."""
        return Figures(
            low=self.low[buckets], high=self.high[buckets], total=self.total[buckets],
            count=self.count[buckets],
        )  # fmt: skip

    def of(self, *places: NDArray[np.int64] | int) -> Figures:
        """Some of the figures of each bucket."""
        at = (slice(None), *places)
        return Figures(
            low=self.low[at], high=self.high[at], total=self.total[at], count=self.count[at]
        )


class PackedSeries(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """The buckets of a series as bytes, little endian; those after the last used are left out."""

    shape: tuple[int, ...]
    capacity: int
    width: int
    last_step: int
    low: bytes
    """float32"""
    high: bytes
    """float32"""
    sum: bytes
    """float64"""
    count: bytes
    """int32"""


PIECE_BYTES = 4 << 20
_PACKED_HEAD = bytes([0x90 + len(PackedSeries.__struct_fields__)])
"""How msgpack begins an array of up to 15."""
_BYTES = struct.Struct(">BI")
"""How it begins bytes of any length, here 0xC6 and the length."""


class SeriesPart(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """Some buckets of a series, as exact as a screen shows them."""

    width: int
    last_step: int
    first: int
    """The first of them."""
    shape: tuple[int, ...]
    figures: list[bytes]
    """Lowest, mean, highest value, and how many there were: see `figures.pack`."""


class Series:
    """Buckets over steps of values of one fixed shape.

    Adding may skip steps and may come late for a step in a bucket that exists; steps start at 0.
    """

    def __init__(self, shape: tuple[int, ...], capacity: int = 512) -> None:
        assert capacity % 2 == 0, "buckets are merged in pairs"
        self.shape = shape
        self.capacity = capacity
        self.width = 1
        self.last_step = -1
        self.touched = 0
        """The lowest bucket that was changed since somebody set this."""
        self._low = np.full((capacity, *shape), np.nan, np.float32)
        self._high = np.full((capacity, *shape), np.nan, np.float32)
        self._sum = np.zeros((capacity, *shape), np.float64)
        self._count = np.zeros((capacity, *shape), np.int32)

    def add(self, step: int, values: Floats) -> None:
        """Fold the values of one step in; NaN means "not measured" and leaves a bucket alone."""
        while step // self.width >= self.capacity:
            self._halve()
        bucket = step // self.width
        self.last_step = max(self.last_step, step)
        self.touched = min(self.touched, bucket)
        if not self.shape:
            self._add_one(bucket, float(values))
            return
        known = np.isfinite(values)
        low, high = self._low[bucket, ...], self._high[bucket, ...]
        np.fmin(low, values, out=low)
        np.fmax(high, values, out=high)
        total = self._sum[bucket, ...]
        total += np.where(known, values, np.float32(0))  # five times as fast as `add(where=known)`
        self._count[bucket] += known

    def _add_one(self, bucket: int, value: float) -> None:
        """The same of a single number, which numpy takes ten times as long for."""
        if math.isnan(value):
            return
        if not self._low[bucket] <= value:
            self._low[bucket] = value
        if not self._high[bucket] >= value:
            self._high[bucket] = value
        if math.isfinite(value):
            self._sum[bucket] += value
            self._count[bucket] += 1

    def add_many(self, steps: NDArray[np.int64], values: Floats) -> None:
        """Fold a scalar series in: `values[i]` belongs to `steps[i]`. Only for shape ()."""
        assert self.shape == ()
        if not len(steps):
            return
        if len(steps) == 1:
            self.add(int(steps[0]), values[0])
            return
        while int(steps.max()) // self.width >= self.capacity:
            self._halve()
        buckets = steps // self.width
        known = np.isfinite(values)
        np.fmin.at(self._low, buckets, values)
        np.fmax.at(self._high, buckets, values)
        np.add.at(self._sum, buckets, np.where(known, values, 0))
        np.add.at(self._count, buckets, known)
        self.last_step = max(self.last_step, int(steps.max()))

    def window(
        self,
        columns: int,
        first_step: int = 0,
        last_step: int | None = None,
        pick: Pick = (),
    ) -> Window:
        """At most `columns` columns over the steps first .. last (to the newest by default).

        `pick` indexes the values: of all layers and metrics a picture needs few.
        """
        last = self.last_step if last_step is None else min(last_step, self.last_step)
        if last < first_step or columns < 1:
            return self._window(np.zeros((0, 1), np.int64), 0, pick)
        start, stop = first_step // self.width, last // self.width + 1
        per_column = max(1, -(-(stop - start) // columns))
        count = -(-(stop - start) // per_column)
        index = start + np.arange(count * per_column, dtype=np.int64).reshape(count, per_column)
        return self._window(index, stop, pick)

    def with_rows(self, rows: list[int | None]) -> Series:
        """The same series with its first axis re-arranged: `rows[i]` was there, None is new."""
        other = Series((len(rows), *self.shape[1:]), self.capacity)
        other.width, other.last_step = self.width, self.last_step
        new = [i for i, old in enumerate(rows) if old is not None]
        old = [row for row in rows if row is not None]
        for name in ("_low", "_high", "_sum", "_count"):
            getattr(other, name)[:, new] = getattr(self, name)[:, old]
        return other

    def coarse(self, capacity: int) -> Series:
        """One of at most `capacity` buckets, its neighbours merged until the run fits."""
        if capacity >= self.capacity:
            return self
        copy = self.with_capacity(self.capacity)
        while copy.capacity > capacity:
            while copy.last_step // copy.width >= copy.capacity // 2:
                copy._halve()
            copy = copy.with_capacity(copy.capacity // 2)
        return copy

    def with_capacity(self, capacity: int) -> Series:
        """A copy with another number of buckets; those beyond it must be empty."""
        other = Series(self.shape, capacity)
        other.width, other.last_step = self.width, self.last_step
        shared = min(capacity, self.capacity)
        for name in ("_low", "_high", "_sum", "_count"):
            getattr(other, name)[:shared] = getattr(self, name)[:shared]
        return other

    def pack(self) -> PackedSeries:
        """The used buckets, for `unpack`."""
        used = self.used
        return PackedSeries(
            shape=self.shape,
            capacity=self.capacity,
            width=self.width,
            last_step=self.last_step,
            low=self._low[:used].tobytes(),
            high=self._high[:used].tobytes(),
            sum=self._sum[:used].tobytes(),
            count=self._count[:used].tobytes(),
        )

    def pieces(self) -> Iterator[bytes | memoryview]:
        """What `pack` gives as msgpack has it, a few MiB at a time and without a copy."""
        yield _PACKED_HEAD
        for small in (self.shape, self.capacity, self.width, self.last_step):
            yield msgspec.msgpack.encode(small)
        at_once = max(1, PIECE_BYTES // max(1, self.bucket_bytes))
        for held in (self._low, self._high, self._sum, self._count):
            used = held[: self.used]
            yield _BYTES.pack(0xC6, used.nbytes)
            for first in range(0, self.used if used.nbytes else 0, at_once):
                yield used[first : first + at_once].data

    @classmethod
    def unpack(cls, packed: PackedSeries) -> Series:
        """Rebuild what `pack` gave."""
        series = cls(packed.shape, packed.capacity)
        series.width, series.last_step = packed.width, packed.last_step
        used = series.used
        for own, data in (
            (series._low, packed.low),
            (series._high, packed.high),
            (series._sum, packed.sum),
            (series._count, packed.count),
        ):
            own[:used] = np.frombuffer(data, own.dtype).reshape(used, *series.shape)
        return series

    @classmethod
    def laid(
        cls, shape: tuple[int, ...], capacity: int, width: int, last_step: int, figures: Figures
    ) -> Series:
        """One with these buckets, the first of them that of step 0."""
        series = cls(shape, capacity)
        series.width, series.last_step = width, last_step
        used = len(figures.count)
        series._low[:used], series._high[:used] = figures.low, figures.high
        series._sum[:used], series._count[:used] = figures.total, figures.count
        return series

    def buckets(self, stop: int) -> Figures:
        """The first of them, up to number `stop`; they are not to be changed."""
        stop = min(stop, self.used)
        return Figures(
            low=self._low[:stop], high=self._high[:stop], total=self._sum[:stop],
            count=self._count[:stop],
        )  # fmt: skip

    @classmethod
    def unfilled(cls, shape: tuple[int, ...], capacity: int) -> Series:
        """One whose buckets are still to be taken from another: nothing is in them, not even NaN.

        Filling those of 300 layers takes half a second.
        """
        series = cls(shape, 2)
        series.capacity = capacity
        series._low, series._high = (np.empty((capacity, *shape), np.float32) for _ in range(2))
        series._sum = np.empty((capacity, *shape), np.float64)
        series._count = np.empty((capacity, *shape), np.int32)
        return series

    def take_buckets(self, other: Series, first: int, stop: int) -> None:
        """Some buckets of another series of this shape, whose width and end are then ours."""
        self.width, self.last_step = other.width, other.last_step
        for name in ("_low", "_high", "_sum", "_count"):
            getattr(self, name)[first:stop] = getattr(other, name)[first:stop]
        rest = slice(stop, stop + 2)  # merging pairs looks one bucket beyond the last
        self._low[rest] = self._high[rest] = np.nan
        self._sum[rest] = self._count[rest] = 0

    @property
    def bucket_bytes(self) -> int:
        """What a bucket takes in memory."""
        return sum(held[:1].nbytes for held in (self._low, self._high, self._sum, self._count))

    @property
    def used(self) -> int:
        """Buckets up to that of the last step."""
        return self.last_step // self.width + 1 if self.last_step >= 0 else 0

    def part(self, first_step: int, columns: list[int] | None = None) -> SeriesPart:
        """The buckets from that of `first_step` on, in few bytes; of these columns only."""
        first = min(max(first_step, 0) // self.width, self.used)
        cut = (slice(first, self.used), ..., columns) if columns is not None else (
            slice(first, self.used),
        )  # fmt: skip
        count = self._count[cut]
        with np.errstate(invalid="ignore"):
            mean = np.where(count > 0, self._sum[cut] / np.maximum(count, 1), np.nan)
        # Time runs fastest, so that neighbours are alike.
        figures = [
            pack(np.moveaxis(values, 0, -1))
            for values in (self._low[cut], mean, self._high[cut], count.astype(np.float32))
        ]
        return SeriesPart(
            width=self.width, last_step=self.last_step, first=first, shape=count.shape,
            figures=figures,
        )  # fmt: skip

    def lay_over(self, part: SeriesPart, columns: list[int] | None = None) -> None:
        """Take the buckets of a part for what is there, and forget those after them."""
        while self.width < part.width:
            self._halve()
        last = part.first + part.shape[0]
        moved = (*part.shape[1:], part.shape[0])
        low, mean, high, count = (
            np.moveaxis(unpack(data, moved), -1, 0) for data in part.figures
        )  # fmt: skip
        for own, values, nothing in (
            (self._low, low, np.nan),
            (self._high, high, np.nan),
            (self._sum, np.where(count > 0, mean * np.maximum(count, 1), 0), 0),
            (self._count, np.nan_to_num(count), 0),
        ):
            own[last:] = nothing
            if columns is None:
                own[part.first : last] = values
            else:
                own[part.first : last, ..., columns] = values
        self.last_step = part.last_step

    def _window(self, index: NDArray[np.int64], stop: int, pick: Pick) -> Window:
        lows, highs, sums, counts = (
            held[(slice(None), *pick)] for held in (self._low, self._high, self._sum, self._count)
        )
        inside = (index < stop).reshape(*index.shape, *(1,) * (lows.ndim - 1))
        bucket = np.minimum(index, self.capacity - 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            low = np.fmin.reduce(np.where(inside, lows[bucket], np.nan), axis=1)
            high = np.fmax.reduce(np.where(inside, highs[bucket], np.nan), axis=1)
            count = np.where(inside, counts[bucket], 0).sum(axis=1)
            total = np.where(inside, sums[bucket], 0).sum(axis=1)
            mean = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
        per_column = index.shape[1] if len(index) else 1
        return Window(
            steps=index[:, 0] * self.width,
            width=self.width * per_column,
            low=low.astype(np.float32),
            mean=mean,
            high=high.astype(np.float32),
        )

    def _halve(self) -> None:
        # Only what is in use: a long run seen from its middle is halved ten times at first.
        used = min(self.last_step // self.width + 2, self.capacity) // 2
        ends, odds = slice(0, 2 * used, 2), slice(1, 2 * used, 2)
        self._low[:used] = np.fmin(self._low[ends], self._low[odds])
        self._high[:used] = np.fmax(self._high[ends], self._high[odds])
        self._sum[:used] = self._sum[ends] + self._sum[odds]
        self._count[:used] = self._count[ends] + self._count[odds]
        rest = slice(used, 2 * used)
        self._low[rest] = np.nan
        self._high[rest] = np.nan
        self._sum[rest] = 0
        self._count[rest] = 0
        self.width *= 2

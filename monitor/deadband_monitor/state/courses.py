"""The history of layers as a recording keeps it beside its samples: by metric, and by layer.

A picture shows one metric of all layers, or all metrics of one; of a long recording of a deep
network it then reads a hundredth, not everything. It is as exact as what a hub sends.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_METRICS
from deadband_monitor.state.figures import pack, unpack
from deadband_monitor.state.run_state import PackedState
from deadband_monitor.state.series import Figures, Series

ROWS = 16
"""Layers in a block: a picture of all layers reads a block a metric and sixteen layers, one of a
layer fifteen layers too many."""


class CoursesHead(msgspec.Struct, frozen=True, kw_only=True):
    """What the blocks of a recording stand for."""

    seq: int
    """The newest event in them."""
    lead: int
    """The rank that they are of."""
    capacity: int
    width: int
    last_step: int
    buckets: int
    rows: int
    layers: list[tuple[str, str]]
    """Model and name."""
    metrics: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One metric of some layers, of the whole run; without one nothing was measured."""

    metric: str
    first_row: int
    body: bytes


class _Body(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    low: bytes
    mean: bytes
    high: bytes
    count: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(CoursesHead).decode
_decode_body = msgspec.msgpack.Decoder(_Body).decode


def courses_of(state: PackedState) -> tuple[bytes, list[Block]]:
    """The head, encoded, and the blocks of a state."""
    series = Series.unpack(state.series)
    figures = series.buckets(series.capacity)
    layers = state.table.layers if state.table is not None else ()
    head = CoursesHead(
        seq=state.seq,
        lead=state.lead,
        capacity=series.capacity,
        width=series.width,
        last_step=series.last_step,
        buckets=len(figures.count),
        rows=ROWS,
        layers=[(layer.model, layer.name) for layer in layers],
        metrics=[metric.name for metric in LAYER_METRICS],
    )
    blocks = []
    for column, metric in enumerate(LAYER_METRICS):
        for first in range(0, len(layers), ROWS):
            places = np.arange(first, min(first + ROWS, len(layers)))
            some = figures.of(places, column)
            if np.isnan(some.low).all() and not some.count.any():
                continue
            # Time runs fastest, so that neighbours are alike.
            body = _Body(
                low=pack(some.low.T),
                mean=pack(np.asarray(some.mean.T, np.float32)),
                high=pack(some.high.T),
                count=pack(np.asarray(some.count.T, np.float32)),
            )
            packed = zlib.compress(_encode(body), 1)
            blocks.append(Block(metric=metric.name, first_row=first, body=packed))
    return _encode(head), blocks


def read_head(data: bytes) -> CoursesHead:
    """The head again.

    Raises:
        ValueError: it is something else.
    """
    return _decode_head(data)


def read_block(head: CoursesHead, first_row: int, body: bytes) -> Figures:
    """(buckets, layers of the block).

    Raises:
        ValueError: it is something else.
    """
    try:
        parts = _decode_body(zlib.decompress(body))
    except zlib.error as error:
        raise ValueError(f"not a block of a course: {error}") from error
    shape = (min(head.rows, len(head.layers) - first_row), head.buckets)
    low, mean, high, count = (
        unpack(each, shape).T for each in (parts.low, parts.mean, parts.high, parts.count)
    )
    known = np.nan_to_num(count)
    total = np.where(known > 0, mean * known, np.float32(0))
    return Figures(low=low, high=high, total=total, count=known.astype(np.int32))


def joined(
    head: CoursesHead, size: int, parts: Iterable[tuple[NDArray[np.int64], Figures]]
) -> Series:
    """A series of values of `size` figures: each part lies at its places among them."""
    whole = Figures(
        low=np.full((head.buckets, size), np.nan, np.float32),
        high=np.full((head.buckets, size), np.nan, np.float32),
        total=np.zeros((head.buckets, size), np.float32),
        count=np.zeros((head.buckets, size), np.int32),
    )
    for place, part in parts:
        for name in ("low", "high", "total", "count"):
            getattr(whole, name)[:, place] = getattr(part, name)
    return Series.laid((size,), head.capacity, head.width, head.last_step, whole)

"""Figures in few bytes: as exact as a screen shows them, and squeezable by zlib.

A figure of a chart keeps 11 bits of its mantissa (a part in 4096: three digits and a half), one
that is shown as a number 15. What goes out are the differences between neighbours, low bytes and
high bytes apart, so figures that change little take a byte each. NaN travels as one bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_MAGNITUDE = 0x7FFFFFFF
COARSE, FINE = 12, 8
"""Bits of a float32 that are left out."""
PRECISION = 2.0**-12
"""Largest relative error of a coarse figure."""


def pack(values: Floats, dropped: int = COARSE) -> bytes:
    """The figures in the order they lie in; neighbours should be alike."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    missing = np.isnan(flat)
    bits = flat[~missing].view(np.uint32)
    size = (((bits & _MAGNITUDE) + np.uint32(1 << (dropped - 1))) >> dropped).astype(np.int32)
    number = np.where(bits >> 31, -size, size)
    step = np.diff(number, prepend=np.int32(0))
    zigzag = ((step << 1) ^ (step >> 31)).astype(np.uint32)
    planes = [(zigzag >> shift).astype(np.uint8).tobytes() for shift in (0, 8, 16, 24)]
    return b"".join([np.packbits(missing).tobytes(), *planes])


def unpack(data: bytes, shape: tuple[int, ...], dropped: int = COARSE) -> Floats:
    """The figures again; `dropped` as they were packed.

    Raises:
        ValueError: there are more or fewer.
    """
    total = int(np.prod(shape))
    head = -(-total // 8)
    missing = np.unpackbits(np.frombuffer(data[:head], np.uint8), count=total).astype(bool)
    known = total - int(missing.sum())
    planes = np.frombuffer(data[head:], np.uint8).reshape(4, known).astype(np.uint32)
    zigzag = planes[0] | (planes[1] << 8) | (planes[2] << 16) | (planes[3] << 24)
    step = (zigzag >> 1).astype(np.int32) ^ -(zigzag & 1).astype(np.int32)
    number = np.cumsum(step, dtype=np.int32)
    bits = np.abs(number).astype(np.uint32) << dropped
    bits |= (number < 0).astype(np.uint32) << 31
    flat = np.full(total, np.nan, np.float32)
    flat[~missing] = bits.view(np.float32)
    return flat.reshape(shape)

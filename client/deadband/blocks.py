"""Copies a slice that is one piece of memory: a third of the price of a view and torch's `copy_`.

Only for tensors of which everything is known: whole rows of float32 in the processor's memory. The
caller has compared shape, strides and type, and holds the tensor. Nothing of the tensor is touched:
a numpy array of it, for one, would forbid its owner to resize it.
"""

from __future__ import annotations

import ctypes
import functools

from deadband.regions import Region

# With the interpreter's lock held: to let go of it costs more than the copy.
move = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)(
    ctypes.cast(ctypes.memmove, ctypes.c_void_p).value or 0
)
"""Copies so many bytes to the first address from the second."""


def is_block(region: Region, source: tuple[int, ...]) -> bool:
    """Whether the slice of a contiguous tensor is its first so many rows, whole."""
    first = region.index[0]
    return (
        isinstance(first, slice)
        and not first.start
        and first.step in (None, 1)
        and not region.swapped
        and region.picked[1:] == source[1:]
    )


@functools.lru_cache(4096)
def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a contiguous tensor, in elements."""
    strides = [1]
    for size in shape[:0:-1]:
        strides.append(strides[-1] * size)
    return tuple(reversed(strides))

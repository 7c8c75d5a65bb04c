"""Keeps what the statistics let go of for those of the next batch."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's malloc.h."""
KEPT_BYTES = 32 << 20
"""Free memory that stays with the process, and size of arrays from which on it does not (the most
that glibc takes for it)."""


def keep_freed_memory() -> None:
    """Give pages back only when there are many; nothing where the C library is another.

    By itself glibc returns the arrays of each batch and asks for them again, page by page: of a
    model of 300 layers 8,000 faults a second, a tenth of all that a hub does.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_MMAP_THRESHOLD, KEPT_BYTES)

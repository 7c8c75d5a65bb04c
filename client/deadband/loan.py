"""Memory for what is copied before the plan is made; all of it goes back to the system then.

From the heap it would not: small blocks that training has allocated meanwhile lie behind it, and
what the first samples took would stay with the process for good.
"""

from __future__ import annotations

import math
import mmap

import numpy as np
from numpy.typing import NDArray

LEAST_BYTES = 8 * mmap.PAGESIZE
"""Smaller arrays come from the heap: they would waste most of their pages."""


class Loan:
    """Zeroed arrays; those that are large go back as soon as nobody holds them."""

    def __init__(self) -> None:
        self.lent_bytes = 0
        """What is about, as far as the borrower has said what was let go."""

    def array(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """A new array."""
        size = 4 * math.prod(shape)
        self.lent_bytes += size
        if size < LEAST_BYTES or not hasattr(mmap, "MAP_PRIVATE"):
            return np.zeros(shape, np.float32)
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return np.frombuffer(pages, np.float32).reshape(shape)


LOAN = Loan()

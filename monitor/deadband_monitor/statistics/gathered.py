"""Runs with one row a step: the rows of the last samples stand in for a batch."""

from __future__ import annotations

import numpy as np

from deadband_monitor.statistics.moments import spread
from deadband_monitor.statistics.values import Doubles, Mask, Reals

MOST_ROWS = 32
"""Rows of as many samples that are kept."""
FEWEST_ROWS = 8
"""Rows of several steps that must have come together before anything is said of them."""


class GatheredRows:
    """The last rows of one column count."""

    def __init__(self) -> None:
        self._rows: Reals = np.zeros((0, 0), dtype=np.float32)

    def add(self, rows: Reals) -> Reals:
        """Take rows (n, m); returns the last 32, these included."""
        if self._rows.shape[1] == rows.shape[1]:
            rows = np.concatenate([self._rows, rows])
        self._rows = rows[-MOST_ROWS:]
        return self._rows

    def dependence(self, x: Reals, here: Mask) -> Doubles:
        """Spread of single rows over the last samples, (frames, 1, m) -> (frames,)."""
        rho = np.full(len(x), np.nan)
        for frame in np.flatnonzero(here):
            rows = self.add(x[frame])
            if len(rows) >= FEWEST_ROWS:
                rho[frame] = spread(rows[None], directions=False).dependence[0]
        return rho

"""Copies a state bit by bit, while it goes on growing, so that a thread can pack it.

Of 300 layers it holds a hundred megabytes: copied at once, let alone packed, frames would wait for
half a second. Buckets that are over do not change any more, so that they are copied a few at a
time, and only the newest ones in the end, together with all that is small.
"""

from __future__ import annotations

from deadband_monitor.state.run_state import RunState
from deadband_monitor.state.series import Series

PART_BYTES = 4 << 20
"""Copied at a time: a few milliseconds."""
MOST_BEGINNINGS = 3
"""So often buckets were merged or rows moved meanwhile; then all is copied at once."""


class Copying:
    """One copy of a state in the making; of a state there may be one at a time."""

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._begun = 0
        self._series = self._copy = Series(state.series.shape, 2)
        """What is copied, and as far as it is."""
        self._done = 0
        self._at_once = 1

    def go_on(self) -> bool:
        """Copy a part; whether the copy is whole, and as of now."""
        series, copy = self._state.series, self._copy
        if series is not self._series or series.width != copy.width:
            self._begin()
            if self._begun <= MOST_BEGINNINGS:
                return False
            copy = self._copy
        elif series.used - self._done > self._at_once + 1:
            copy.take_buckets(series, self._done, self._done + self._at_once)
            self._done += self._at_once
            return False
        copy.take_buckets(series, min(self._done, series.touched), series.used)
        return True

    def taken(self) -> RunState:
        """The copy, right after `go_on` has said that it is whole."""
        return self._state.still(self._copy)

    def _begin(self) -> None:
        series = self._series = self._state.series
        self._begun += 1
        self._done = 0
        self._copy = Series.unfilled(series.shape, series.capacity)
        self._copy.width = series.width
        self._at_once = max(1, PART_BYTES // max(1, series.bucket_bytes))
        series.touched = series.capacity

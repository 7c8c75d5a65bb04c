"""How often to draw: less often while the terminal is slow to take what is written.

Textual's writer blocks the event loop once 30 writes wait, so a slow link shows as late ticks.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

SLOW_RATIO = 1.5
"""A tick later than this many periods is late."""
PATIENCE_S = 3.0
"""Late ticks for this long halve the rate."""
RECOVERY_S = 10.0
"""Ticks in time for this long double it again."""


@dataclass(frozen=True, slots=True)
class Due:
    """What a picture may change beside the flags, which change at once."""

    numbers: bool
    """Headlines, map and state line: people cannot read figures that change faster than 2/s."""
    trends: bool
    """Charts, sparklines and tables: they show the past, and are half of what a picture writes."""


EVERYTHING = Due(numbers=True, trends=True)
NUMBERS_EVERY_S = 0.5
TRENDS_EVERY_S = 1.0
EARLY_S = 0.05
"""Ticks come a little early or late; what is all but due need not wait for the next."""


class Beats:
    """When numbers and trends were drawn last; time comes in as an argument."""

    def __init__(self) -> None:
        self._numbers_at = self._trends_at = 0.0

    def due(self, now: float, *, everything: bool) -> Due:
        """What a picture at `now` may change, which is then as good as drawn."""
        numbers = everything or now - self._numbers_at >= NUMBERS_EVERY_S - EARLY_S
        # Never trends alone: two small pictures cost more than a large one.
        trends = numbers and (everything or now - self._trends_at >= TRENDS_EVERY_S - EARLY_S)
        due = Due(numbers=numbers, trends=trends)
        if due.numbers:
            self._numbers_at = now
        if due.trends:
            self._trends_at = now
        return due


class Governor:
    """Picks the period of ticks from how late they come; time comes in as an argument."""

    def __init__(self, fps: float) -> None:
        self.fastest_s = 1.0 / fps
        self.period_s = self.fastest_s
        self._gaps: deque[tuple[float, bool]] = deque(maxlen=64)
        self._last: float | None = None
        self._since = 0.0

    @property
    def slow(self) -> bool:
        """Whether the rate is below what was asked for."""
        return self.period_s > self.fastest_s

    def beat(self, now: float) -> float:
        """A tick came at `now` (monotonic seconds); returns the wait until the next."""
        if self._last is None:
            self._since = now
        else:
            self._gaps.append((now, now - self._last > SLOW_RATIO * self.period_s))
        self._last = now
        late = [gap for at, gap in self._gaps if at > now - PATIENCE_S]
        if now - self._since >= PATIENCE_S and late and sum(late) * 2 > len(late):
            self._change(min(self.period_s * 2, 1.0), now)
        elif self.slow and now - self._since >= RECOVERY_S and not any(late):
            self._change(max(self.period_s / 2, self.fastest_s), now)
        return self.period_s

    def _change(self, period_s: float, now: float) -> None:
        self.period_s, self._since = period_s, now
        self._gaps.clear()

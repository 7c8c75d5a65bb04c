"""A key press whose picture is still to come: it is drawn when it comes, not at the next tick."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 1.0
EVERY_S = 0.015
"""So long, and so often."""


class Chase:
    """Draws once more as soon as nothing is lacking.

    Args:
        lacks: whether what was asked for has not come yet.
        draw: draw what has come; it may ask for more.
        later: call something after some seconds.
    """

    def __init__(
        self,
        lacks: Callable[[], bool],
        draw: Callable[[], None],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._lacks, self._draw, self._later = lacks, draw, later
        self._ends = 0.0
        self._running = False

    def begin(self, now: float) -> None:
        """A key was pressed."""
        self._ends = now + PATIENCE_S
        self._go_on()

    def _go_on(self) -> None:
        if not self._running and self._lacks():
            self._running = True
            self._later(EVERY_S, self._look)

    def _look(self) -> None:
        self._running = False
        if time.monotonic() >= self._ends:
            return
        if not self._lacks():
            self._draw()
        self._go_on()

"""A state on its way to who asked for it: copied between frames, worked on in a thread.

Squeezing that of 300 layers takes seconds, and copying it half a second; frames wait for neither.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

from deadband_monitor.state.copying import Copying
from deadband_monitor.state.run_state import RunState

Made = TypeVar("Made")


class Packing(Generic[Made]):
    """One state, and what a thread makes of it.

    Args:
        state: what is copied; it may go on growing.
        squeezer: where the thread is.
        work: what it does, with a copy that stays as it is.
    """

    def __init__(
        self, state: RunState, squeezer: Executor, work: Callable[[RunState], Made]
    ) -> None:
        self._copying: Copying | None = Copying(state)
        self._squeezer = squeezer
        self._work = work
        self._made: Future[Made] | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the copy is there: what happens from now on is not in it."""
        return self._made is not None

    @property
    def is_done(self) -> bool:
        """Whether `result` need not wait."""
        return self._made is not None and self._made.done()

    def go_on(self) -> None:
        """Copy a little more."""
        if self._copying is not None and self._copying.go_on():
            self._made = self._squeezer.submit(self._work, self._copying.taken())
            self._copying = None

    def result(self) -> Made:
        """What was made, once the copy is there."""
        assert self._made is not None, "nothing was copied yet"
        return self._made.result()

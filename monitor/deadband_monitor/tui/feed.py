"""The only place where threads meet the UI: one daemon thread keeps a source's state up to date.

The thread folds in what is new under a lock; the UI takes the lock when it wants to look, and
never waits for it. A slow terminal thus sees fewer pictures but never an old one, and a source
that stalls cannot stop the keys.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from deadband.wire import AskView
from deadband_monitor.errors import MonitorError
from deadband_monitor.source.base import Player, Selective, Source
from deadband_monitor.source.on_demand import Answering
from deadband_monitor.state.run_state import RunState

POLL_S = 0.05
"""Between two looks at a quiet source: below what the eye notices, 20 wake-ups a second."""
HURRY_S = 0.01
"""While a key press waits for its picture."""

TURN_S = 0.3
"""As long as the slowest usual picture takes to come round."""


class Feed:
    """Reads one source. `pump` by hand, or `start` the thread."""

    def __init__(self, source: Source) -> None:
        self.source = source
        # Asked once: to look up all that a protocol wants takes longer than to draw a row.
        self.player = source if isinstance(source, Player) else None
        """The source, where it is a recording."""
        self.answering = source if isinstance(source, Answering) else None
        """The source, where it can be asked for more than the news."""
        self.selective = source if isinstance(source, Selective) else None
        """The source, where it gives no more than is asked."""
        self.error = ""
        """Why the source cannot be read any more, for the user."""
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._missed = False
        """Somebody wanted to look while we read."""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Read in the background from now on."""
        self._thread = threading.Thread(target=self._run, name="deadband-feed", daemon=True)
        self._thread.start()

    def pump(self) -> bool:
        """Fold in what is there; True if anything changed."""
        with self._lock:
            return self._refresh()

    @contextmanager
    def look(self, patience_s: float = 0.0) -> Iterator[bool]:
        """Hold the state still for a look; gives False, and no right to look, when it is busy."""
        held = self._lock.acquire(timeout=patience_s)
        self._missed = not held
        try:
            yield held
        finally:
            if held:
                self._lock.release()

    def want(self, wish: AskView) -> None:
        """Tell the source what is looked at, where it gives no more than that."""
        source = self.selective
        if source is not None:
            source.want(wish)
            if self.lacks:
                self._wake.set()

    def ask(self, action: Callable[[], None]) -> None:
        """Run something that changes the source (a seek), between two refreshes."""
        with self._lock:
            action()
        self._wake.set()

    @property
    def lacks(self) -> bool:
        """Whether what was wanted last has not come yet."""
        return self.selective is not None and self.selective.lacks and not self.error

    def stop(self) -> None:
        """Stop reading; the source is whole and may be closed afterwards."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self.pump():
                self._wake.wait(HURRY_S if self.lacks else POLL_S)
                self._wake.clear()
            elif self._missed:
                # A source that always has more to read must not keep the picture for itself.
                self._stop.wait(TURN_S)

    def _refresh(self) -> bool:
        if self.error or self._stop.is_set():
            return False
        try:
            return self.source.refresh(0.0)
        except MonitorError as error:
            self.error = str(error)
            return True


class NoSource:
    """The source while no run is open."""

    def __init__(self) -> None:
        self.name = ""
        self.state = RunState()
        self.where = self.trouble = ""
        self.link = "ended"
        self.last_heard = 0.0

    def refresh(self, wait_s: float) -> bool:
        """Nothing new."""
        del wait_s
        return False

    def close(self) -> None:
        """Nothing to let go of."""

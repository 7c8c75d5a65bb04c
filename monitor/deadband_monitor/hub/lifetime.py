"""How long a hub lives: from its first client to the end of the run, and until viewers know of it.

Watches the processes of this machine whose end is the end of something.
"""

from __future__ import annotations

import time

import zmq

from deadband_monitor.hub.clients import LAST_WORDS_S, Life
from deadband_monitor.hub.crew import Crew
from deadband_monitor.hub.gate import LOCAL

FIRST_WORD_S = 60.0
"""How long a hub waits for its first client: importing torch can take tens of seconds."""
GRACE_S = 5.0
"""How long viewers are served after the end ..."""
QUIET_GRACE_S = 2.0
"""... and after which it is enough if none asked: longer than a viewer takes to ask again."""
STOP_GRACE_S = 1.0
"""How long a hub that was told to end waits for the run to end by itself."""
STRAGGLERS_S = 5.0
"""How long the run is kept open for other ranks once that which stands for it has ended."""


class Lifetime:
    """Of one hub.

    Args:
        poller: of the hub's loop; it is told of processes to wait for.
        started_by: the process that is expected to say hello; 0: not known.
    """

    def __init__(self, poller: zmq.Poller, started_by: int) -> None:
        self.born = time.monotonic()
        self.stop_after: float | None = None
        """Moment by which a signal wants the hub to end."""
        self.ended_at: float | None = None
        """When the run was seen to have ended."""
        self.refused = False
        """Whether somebody was turned away: a hub without a client need not wait for another."""
        self._poller = poller
        self._lives: dict[int, Life] = {}
        self._started_by = started_by
        self._orphan_since: float | None = None
        self._first_end: float | None = None
        """When the first rank was seen to have ended."""
        if started_by > 1:
            self.watch(started_by)

    def watch(self, pid: int) -> None:
        """Notice the end of this process."""
        if pid in self._lives:
            return
        life = self._lives[pid] = Life(pid)
        if life.handle is not None:
            self._poller.register(life.handle, zmq.POLLIN)

    def note_end_of_process(self, handle: int) -> None:
        """The poller has seen it."""
        for life in self._lives.values():
            if life.handle == handle:
                self._poller.unregister(handle)
                life.note_end()

    def note_gone(self, crew: Crew, now: float) -> None:
        """Tell clients whose process has ended from those that are silent."""
        for client in crew.by_rank:
            local = client.identity[:1] == LOCAL
            life = self._lives.get(client.hello.pid) if local else None
            if client.gone_since is None and life is not None and life.ended:
                client.gone_since = now

    def stop_soon(self) -> None:
        """End in a moment: where the whole job was told to end, training still says how it went."""
        if self.stop_after is None:
            self.stop_after = time.monotonic() + STOP_GRACE_S

    def run_is_over(self, crew: Crew, now: float) -> bool:
        """Whether every rank has ended, or the others do not follow one that has, or we must."""
        if self.stop_after is not None and now >= self.stop_after:
            return True
        ended = crew.ended(now)
        if not ended:
            return False
        if len(ended) == len(crew.by_rank):
            return True
        self._first_end = self._first_end or now
        return crew.primary in ended and now - self._first_end > STRAGGLERS_S

    def is_over(self, crew: Crew, last_ask: float, now: float) -> bool:
        """Whether the hub has nothing more to do; `last_ask`: when a viewer asked last."""
        if self.ended_at is not None:
            if self.stop_after is not None or now - self.ended_at > GRACE_S:
                return True
            return now - max(last_ask, self.ended_at) > QUIET_GRACE_S
        if crew.by_rank:
            return False
        if self.stop_after is not None or self.refused or now - self.born > FIRST_WORD_S:
            return True
        starter = self._lives.get(self._started_by)
        if starter is None or not starter.ended:
            return False
        # Its first words may still be under way, all of a very short run.
        self._orphan_since = self._orphan_since or now
        return now - self._orphan_since > LAST_WORDS_S

    def close(self) -> None:
        """Let go of the processes."""
        for life in self._lives.values():
            life.close()

"""All training processes of a run, in order of rank: who is there, who waits, how each one is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deadband import wire
from deadband.wire import Frame, RankStatus
from deadband_monitor.hub.clients import Client
from deadband_monitor.ranks.behind import Standing

LARGE = 16
"""From so many on the hub looks at what came in turns, and at each of them less often."""
MOST_FED_BYTES = 64 << 20
"""Of frames in messages that are taken before they are measured: the others stay where they are,
and the processes that send them drop and count what finds no room."""
STATUS_RANKS = 64
"""Ranks that are told of once a second; of more, so much more seldom."""


class Crew:
    """The clients of a hub."""

    def __init__(self) -> None:
        self.clients: dict[bytes, Client] = {}
        self.by_rank: list[Client] = []
        self.fed: dict[bytes, Client] = {}
        """Those that have sent frames in messages that nobody has taken."""
        self.fed_bytes = 0
        """What these frames take."""
        self.mapped: list[Client] = []
        """Those whose frames lie in shared memory."""
        self.is_many = False
        """Whether the run has several ranks, though only one may be here yet."""
        self._ranks: dict[int, Client] = {}

    def add(self, client: Client) -> None:
        """One more has said hello."""
        self.clients[client.identity] = client
        self._ranks[client.hello.rank] = client
        self.by_rank = [self._ranks[rank] for rank in sorted(self._ranks)]
        self.is_many = self.is_many or client.hello.world_size > 1

    def of_rank(self, rank: int) -> Client | None:
        """Who has this rank."""
        return self._ranks.get(rank)

    def note_arena(self, client: Client) -> None:
        """Its plan has changed, and with it the way that its frames take."""
        self.mapped = [each for each in self.by_rank if each.inbox.has_arena]
        if client.inbox.waiting and not client.inbox.has_arena:
            self.fed[client.identity] = client

    def feed(self, client: Client, frame: Frame) -> None:
        """It has sent a frame in a message."""
        client.inbox.put(frame)
        self.fed[client.identity] = client
        self.fed_bytes += len(frame.payload)

    @property
    def is_full(self) -> bool:
        """Whether frames are to be measured before more messages are taken."""
        return self.fed_bytes >= MOST_FED_BYTES

    @property
    def primary(self) -> Client | None:
        """The process that stands for the run: of the lowest rank that is here."""
        return self.by_rank[0] if self.by_rank else None

    @property
    def is_large(self) -> bool:
        """Whether there are so many that turns are taken."""
        return len(self.by_rank) > LARGE

    @property
    def frames_wait(self) -> bool:
        """Whether anything is to be measured."""
        return bool(self.fed) or any(client.inbox.waiting for client in self.mapped)

    @property
    def filled(self) -> float:
        """Share of the fullest arena that nobody has copied yet."""
        return max((client.inbox.filled for client in self.mapped), default=0.0)

    def gather(self) -> None:
        """Copy what has come out of the arenas."""
        for client in self.mapped:
            client.inbox.gather()

    @property
    def is_crowded(self) -> bool:
        """Whether somebody may soon find no room."""
        waiting = (*self.fed.values(), *self.mapped)
        return self.is_full or any(client.inbox.is_crowded for client in waiting)

    def with_frames(self) -> Iterator[Client]:
        """Those that something may be taken from now, in order of rank."""
        fed, self.fed, self.fed_bytes = self.fed, {}, 0
        waiting = {client.hello.rank: client for client in (*fed.values(), *self.mapped)}
        yield from (waiting[rank] for rank in sorted(waiting))

    def ended(self, now: float) -> list[Client]:
        """Those that nothing more can come from."""
        return [client for client in self.by_rank if client.over(now)]

    def goes_on(self, now: float) -> bool:
        """Whether anything more can come."""
        return any(not client.over(now) for client in self.by_rank)

    def loss(self, now: float) -> str:
        """What to say of a run that goes on without one of its ranks."""
        for client in self.by_rank:
            status, error = client.word(now)
            if status in ("failed", "killed"):
                return f"rank {client.hello.rank} {status}: {error}"
        return ""

    def last_word(self, now: float) -> tuple[str, str]:
        """How the run ended, and the error that ended it."""
        primary = self.primary
        assert primary is not None
        status, error = primary.word(now)
        for client in self.by_rank:
            # Where one rank failed the others are often killed: its error is the run's.
            told, why = client.word(now)
            if told == "failed" and status != "failed":
                status, error = told, f"rank {client.hello.rank}: {why}"
        if status in ("running", "silent"):
            return "lost", "the hub was told to end before the run"
        return status, error

    def standings(self, now: float, loss: Callable[[int], float | None]) -> list[RankStatus]:
        """How each rank is; nothing, of a run of one process."""
        if not self.is_many:
            return []
        return [client.standing(now, loss(client.hello.rank)) for client in self.by_rank]

    def paces(self, now: float) -> list[Standing]:
        """How far each has come that has not ended."""
        return [
            Standing(
                rank=client.hello.rank,
                step=client.step,
                mute_s=now - client.last_heard,
            )
            for client in self.by_rank
            if not client.over(now)
        ]

    @property
    def status_interval(self) -> float:
        """Seconds from one status to the next: many ranks make long ones."""
        return max(1.0, len(self.by_rank) / STATUS_RANKS)


def is_far(client: Client) -> bool:
    """Whether it sends summaries."""
    return client.hello.rank >= wire.FAR_RANK

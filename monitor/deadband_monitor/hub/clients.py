"""The training processes of a run, one `Client` a rank, and whether they are still there."""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress
from dataclasses import dataclass, field

from deadband.wire import Beat, Bye, Hello, RankStatus
from deadband_monitor.hub.intake import Inbox

SILENT_AFTER_S = 5.0
"""Five beats of the client: a long validation or a stopped process, not a hiccup."""
LAST_WORDS_S = 0.5
"""A process that ends in order says so first; its Bye may still be under way when it is gone."""


@dataclass(slots=True)
class Client:
    """One training process."""

    identity: bytes
    """Where the intake socket sends answers for it."""
    hello: Hello
    last_word: float
    """By the hub's own even clock."""
    last_heard: float
    """The same of messages alone: frames in shared memory may be old."""
    inbox: Inbox = field(default_factory=Inbox)
    beat: Beat | None = None
    bye: Bye | None = None
    samples: int = 0
    """Frames of it that were measured."""
    framed: int = 0
    """The newest step that a frame of it has told of."""
    gone_since: float | None = None
    """When its process was seen to have ended without a Bye."""

    @property
    def step(self) -> int:
        """How far it is known to have come: beats come once a second, frames between them."""
        said = self.bye or self.beat
        return max(said.step if said else 0, self.framed)

    @property
    def dropped(self) -> int:
        """Frames that found no room, there and here."""
        said = self.bye or self.beat
        return (said.dropped if said else 0) + self.inbox.dropped

    def silent(self, now: float) -> bool:
        """Whether it lives, has not ended, and has said nothing for too long."""
        return self.bye is None and now - self.last_word > SILENT_AFTER_S

    def over(self, now: float) -> bool:
        """Whether nothing more can come from it."""
        return self.bye is not None or (
            self.gone_since is not None and now - self.gone_since > LAST_WORDS_S
        )

    def word(self, now: float) -> tuple[str, str]:
        """How it is, as in `Status`, and the error that ended it."""
        if self.bye is not None:
            status = self.bye.status if self.bye.status in ("finished", "failed") else "failed"
            return status, self.bye.error
        if self.over(now):
            return "killed", "it ended without a word: by a signal, or no memory was left"
        return ("silent" if self.silent(now) else "running"), ""

    def standing(self, now: float, loss: float | None = None) -> RankStatus:
        """How it is as one of several; `loss`: its newest one."""
        said = self.bye or self.beat
        status, error = self.word(now)
        return RankStatus(
            rank=self.hello.rank,
            pid=self.hello.pid,
            host=self.hello.host,
            status=status,
            step=self.step,
            samples=max(said.samples if said else 0, self.samples),
            dropped=self.dropped,
            overhead=said.overhead if said else 0.0,
            interval=self.beat.interval if self.beat else 1,
            error=error,
            loss=loss,
            measured=self.samples,
        )


class Life:
    """Tells whether a process of this host lives; wakes a poller at its end where Linux can."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.handle: int | None = None
        """Becomes readable when the process ends; None where only asking helps."""
        self._ended = False
        try:
            self.handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self._ended = True
        except (AttributeError, OSError):
            pass  # not Linux, or a kernel before 5.3: ask with signal 0

    @property
    def ended(self) -> bool:
        """Whether it is gone. With a handle the caller's poller says so: see `note_end`."""
        if self.handle is None and not self._ended:
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                self._ended = True
            except PermissionError:
                pass
        return self._ended

    def is_over(self) -> bool:
        """The same for whoever has no poller: asks the handle."""
        if self.handle is not None and select.select([self.handle], [], [], 0)[0]:
            self._ended = True
        return self.ended

    def note_end(self) -> None:
        """The poller saw the handle become readable."""
        self._ended = True

    def close(self) -> None:
        """Let go of the handle."""
        if self.handle is not None:
            with suppress(OSError):
                os.close(self.handle)
            self.handle = None


def on_this_host(hello: Hello) -> bool:
    """Whether the client's process number means something here."""
    return hello.host in ("", socket.gethostname())

"""What the hub's rules have said, and what the user wants done about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from deadband import wire
from deadband.errors import Collapsed
from deadband.settings import SEVERITIES

OnFlag = Callable[[wire.Flag], object]


class Opinions:
    """Filled by the sender's thread, read by the training thread.

    Args:
        stop_on: severity at which `react` raises; None: never.
    """

    def __init__(self, stop_on: str | None) -> None:
        self.inbox: deque[wire.ToClient] = deque()
        self.now = wire.Opinion(verdict="healthy", flags=[], causes=[])
        self.fresh: list[wire.Flag] = []
        """Flags that nobody has reacted to yet."""
        self.grave = False
        """Whether the user wants to be stopped."""
        self.watched = False
        """Whether anybody looks at the run."""
        self.asked: int | None = None
        """Steps that a viewer wants sampled, each, until somebody takes this; 0: no more."""
        self.whole: bool | None = None
        """Whether the hub now wants whole frames or summaries, until somebody takes this."""
        self.close_wishes: list[wire.CloseWish] = []
        """Tensors that are to be copied nearly whole, until somebody takes this."""
        self.callbacks: list[OnFlag] = []
        self._stop_on = stop_on
        self._raised: set[int] = set()

    def hear(self) -> float | None:
        """Take in what came; the credit that is wished for, 0 for the usual one, None for none."""
        wished = None
        while self.inbox:
            message = self.inbox.popleft()
            if isinstance(message, wire.CaptureWish) and message.steps:
                self.asked = max(message.steps, 0)
            elif isinstance(message, wire.CaptureWish):
                wished = message.credit_s
            elif isinstance(message, wire.Detail):
                self.whole = message.whole
            elif isinstance(message, wire.CloseWish):
                self.close_wishes.append(message)
            elif isinstance(message, wire.Audience):
                self.watched = message.watching
            elif isinstance(message, wire.Opinion):
                known = {flag.id for flag in self.now.flags}
                fresh = [flag for flag in message.flags if flag.id not in known]
                self.now = message
                self.fresh += fresh
                self.grave = bool(self._grave())
                if fresh:
                    wished = 0.0
        return wished

    def react(self) -> None:
        """Tell the user's callbacks, and stop where that was asked for.

        Raises:
            Collapsed: a flag of the named severity stands.
        """
        fresh, self.fresh = self.fresh, []
        for flag in fresh:
            for callback in self.callbacks:
                callback(flag)
        standing = self._grave()
        self.grave = False
        if standing:
            self._raised.update(flag.id for flag in standing)
            raise Collapsed(standing)

    def _grave(self) -> list[wire.Flag]:
        """Standing flags at or above the user's limit that were not raised yet, worst first."""
        if self._stop_on is None:
            return []
        grave = SEVERITIES[SEVERITIES.index(self._stop_on) :]
        standing = [
            flag
            for flag in self.now.flags
            if flag.resolved_step is None and flag.severity in grave and flag.id not in self._raised
        ]
        return sorted(
            standing, key=lambda flag: (-SEVERITIES.index(flag.severity), flag.onset_step)
        )

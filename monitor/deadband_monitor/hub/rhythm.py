"""When the hub looks for frames, and when it measures them. Pure; the caller has the clock.

Frames in shared memory call nobody: they must be looked for before their ring is full. A look at
nothing takes 0.4 ms of a processor that had better things in its caches, so that fifty a second
cost more than the measuring of the ten samples that a governed run takes.
"""

from __future__ import annotations

BUSY_S = 0.02
"""From one look to the next where frames may come at any pace: at a start, or after a wish."""
IDLE_S = 0.1
"""The same where none have come for a while: messages and viewers are heard at once anyway."""
LOOK_S = 0.25
"""The most from one look to the next while frames come, and nobody looks on."""
GATHER_S = 1.0
"""While nobody looks on, frames of so long are measured together: ten of them for the price of
four. Of large ones fewer make a batch, and it is measured as soon as it is whole."""
WATCHED_GATHER_S = 0.1
"""The same while somebody does: no eye sees figures change more often than ten times a second."""
STAYS_BUSY_S = 2.0
"""How long after the last frame, or a wish for more of them, the hub goes on being busy."""
SHARE = 0.25
"""Of a ring that may fill between two looks, at the pace that frames were last seen to come."""
FORGETS_S = 1.0
"""In so long the pace that is reckoned with falls to half, if frames come more slowly."""


class Rhythm:
    """Of one hub.

    Args:
        now: its first moment, in seconds of the caller's clock.
    """

    def __init__(self, now: float) -> None:
        self._looked = self._paced = self._last_frame = now
        self._brisk_until = now + STAYS_BUSY_S
        self._filled = 0.0
        """Share of the fullest ring that was filled since `_paced`."""
        self._pace = 0.0
        """The same of a second."""
        self._since: float | None = None
        """Since when frames wait to be measured together."""

    def expect(self, now: float) -> None:
        """More frames may come from now on than before: a plan has come, a wish was sent."""
        self._brisk_until = now + STAYS_BUSY_S

    def wait_s(self, now: float, *, watched: bool) -> float:
        """How long to wait for messages until the next look."""
        if now < self._brisk_until:
            return BUSY_S
        if now - self._last_frame > STAYS_BUSY_S:
            return IDLE_S
        most = WATCHED_GATHER_S / 2 if watched else LOOK_S
        if self._pace:
            most = min(most, SHARE / self._pace)
        if self._since is not None:
            most = min(most, self._since + _gather_s(watched) - now)
        return max(BUSY_S, most)

    def look(
        self, now: float, *, filled: float, waiting: bool, crowded: bool, watched: bool
    ) -> bool:
        """Whether what waits is to be measured now.

        Args:
            now: the moment of the look.
            filled: share of the fullest ring that has been filled since the last look.
            waiting: whether frames wait, in the rings or out of them.
            crowded: whether somebody may soon find no room.
            watched: whether anybody looks on.
        """
        self._filled += filled
        passed = now - self._paced
        if passed >= BUSY_S:
            faded = self._pace * 0.5 ** (passed / FORGETS_S)
            self._pace = max(self._filled / passed, faded)
            self._filled, self._paced = 0.0, now
        before, self._looked = self._looked, now
        if not waiting:
            self._since = None
            return False
        self._last_frame = now
        if self._since is None:
            self._since = before  # they have come at some time since then
        due = crowded or now - self._since > _gather_s(watched) - BUSY_S / 2
        if due:
            self._since = None
        return due


def _gather_s(watched: bool) -> float:
    return WATCHED_GATHER_S if watched else GATHER_S

"""How far apart gists of the state lie in a recording."""

from __future__ import annotations

from deadband.wire import Event, Sample

GIST_EVENTS = 1024
GIST_BYTES = 8 << 20
"""From one gist to the next, of events and of samples: reading these takes 30 ms."""


class Spacing:
    """When the next gist is due."""

    def __init__(self) -> None:
        self._events = self._bytes = 0

    def count(self, event: Event) -> bool:
        """Whether one is due after this event."""
        self._events += 1
        if isinstance(event, Sample):
            self._bytes += len(event.layers)
        due = self._events >= GIST_EVENTS or self._bytes >= GIST_BYTES
        if due:
            self._events = self._bytes = 0
        return due

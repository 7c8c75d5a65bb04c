"""Serves viewers: each asks one thing at a time and gets one answer, so none builds a queue."""

from __future__ import annotations

import msgspec

from deadband import wire
from deadband.wire import AskHistory, AskNews, AskView, FromViewer, History, News, Refusal, ToViewer
from deadband_monitor.hub.demands import Demands
from deadband_monitor.hub.doors import Doors
from deadband_monitor.hub.history import Chronicle
from deadband_monitor.hub.packing import Packing

KEEPALIVE_S = 2.0
"""An ask without news is answered with none after this, so that a viewer knows the hub lives."""

AWAY_S = 15.0
"""A viewer that has not asked for so long looks no more; one on a poor link may be slow."""

_decode = msgspec.msgpack.Decoder(FromViewer).decode


class Viewers:
    """Everybody who looks at the run. `now` is the hub's own even clock."""

    def __init__(self, doors: Doors, run: str, now: float) -> None:
        self.last_ask = now
        self._seen: float | None = None
        self._doors = doors
        self._run = run
        self._asks: dict[bytes, tuple[AskNews | AskView, float]] = {}
        self._packings: dict[bytes, Packing[History]] = {}

    def take(self, chronicle: Chronicle, demands: Demands, now: float) -> None:
        """Hear what they ask; answer at once what needs no news."""
        for identity, body in self._doors.received():
            self.last_ask = self._seen = now
            try:
                ask = _decode(body)
            except msgspec.MsgspecError as error:
                self._doors.send(identity, Refusal(reason=f"unreadable question: {error}"))
                continue
            if isinstance(ask, AskNews):
                self._asks[identity] = (ask, now)
            elif not isinstance(ask, AskHistory | AskView):
                self._doors.send(identity, demands.answer(ask, now))
            elif ask.version != wire.VERSION:
                reason = (
                    f"the hub of {self._run} speaks version {wire.VERSION}, this viewer"
                    f" {ask.version}: use the deadband that the run was started with"
                )
                self._doors.send(identity, Refusal(reason=reason))
            elif isinstance(ask, AskView):
                self._asks[identity] = (ask, now)
            else:
                self._asks.pop(identity, None)
                self._packings[identity] = chronicle.history(ask)

    def watching(self, now: float) -> bool:
        """Whether anybody looks: a viewer asks again as soon as it is answered."""
        return self._seen is not None and now - self._seen < AWAY_S

    def answer(self, chronicle: Chronicle, now: float) -> None:
        """Give those who wait for news, or for all there is, what there is."""
        if self._packings:
            self.last_ask = now  # the hub stays for as long as it takes
        for identity, packing in list(self._packings.items()):
            if packing.is_done:
                del self._packings[identity]
                self._doors.send(identity, packing.result())
        for identity, (ask, asked_at) in list(self._asks.items()):
            answer: ToViewer | None
            if isinstance(ask, AskView):
                answer = chronicle.sight(ask, now - asked_at)
            else:
                answer = chronicle.news(ask)
            if answer is None and now - asked_at > KEEPALIVE_S:
                answer = News(events=[])
            if answer is not None:
                del self._asks[identity]
                self._doors.send(identity, answer)

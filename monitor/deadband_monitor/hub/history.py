"""The run as the hub knows it: numbers events, folds them, records them, gives them to viewers.

Memory stays flat however long the run is: the folded state is bounded, and of the events
themselves only the newest are kept. A viewer that fell further behind asks for the state again.
"""

from __future__ import annotations

import logging
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec

from deadband.wire import (
    AskHistory,
    AskNews,
    AskView,
    Event,
    History,
    News,
    Refusal,
    Sample,
    Sight,
)
from deadband_monitor.hub.packing import Packing
from deadband_monitor.hub.sights import Ledger, cut, unknown
from deadband_monitor.record.gists import Spacing
from deadband_monitor.record.writer import Recorder
from deadband_monitor.state.courses import courses_of
from deadband_monitor.state.run_state import GIST_LAYOUT, STATE_LAYOUT, RunState

KEPT_BYTES = 16 << 20
"""Of events for viewers that follow: at 20 samples/s of 60 kB a viewer may sleep for 13 s."""
KEPT_EVENTS = 8192
NEWS_BYTES = 2 << 20
"""One answer carries this much; a viewer on a poor link catches up in several."""
SNAPSHOT_EVENTS = 4096
"""From one packed state in the recording to the next: folding this many takes under a second."""
COURSES_BYTES = 16 << 20
"""Of samples, from which on a viewer is spared reading them all: half of what it reads at once."""

SomeEvent = TypeVar("SomeEvent", bound=Event)
_log = logging.getLogger(__name__)


class Chronicle:
    """All that has happened in the run, from event 1 on."""

    def __init__(self, recorder: Recorder) -> None:
        self.state = RunState()
        self.recorder = recorder
        self._ledger = Ledger()
        self._kept: deque[tuple[Event, int]] = deque()
        self._kept_bytes = 0
        self._snapshot_seq = 0
        self._squeezer = ThreadPoolExecutor(1, "deadband-squeeze")
        self._packings: deque[Packing[History] | Packing[Squeezed]] = deque()
        """Those that are being copied, one after another."""
        self._histories: dict[int, Packing[History]] = {}
        """The newest for viewers, by how many columns of time it has."""
        self._snapshot: Packing[Squeezed] | None = None
        self._gists: deque[tuple[int, Future[bytes]]] = deque()
        self._spacing = Spacing()
        self._layer_bytes = 0
        """Of samples that came since courses were written last."""

    @property
    def seq(self) -> int:
        """Number of the newest event."""
        return self.state.seq

    def add(self, event: SomeEvent) -> SomeEvent:
        """Give the event its number, fold it in and keep it."""
        numbered = msgspec.structs.replace(event, seq=self.seq + 1)
        self.state.apply(numbered)
        self._ledger.note(numbered, self.state)
        self.recorder.add(numbered)
        self._keep(numbered)
        if self._spacing.count(numbered):
            self._begin_gist()
        return numbered

    def commit(self, now: float, *, at_once: bool = False) -> None:
        """Let the recorder write if it is time to."""
        if not (at_once or self.recorder.due(now)):
            return
        self._take_gists()
        self._take_snapshot()
        if self.seq - self._snapshot_seq >= SNAPSHOT_EVENTS:
            self._begin_snapshot()
        before = self.recorder.error
        self.recorder.commit(now)
        if self.recorder.error and self.recorder.error != before:
            _log.error("%s", self.recorder.error)

    def close(self, now: float) -> None:
        """Finish the recording."""
        while self.go_on():
            pass
        self._take_snapshot(wait=True)
        many = self.seq - self._snapshot_seq >= SNAPSHOT_EVENTS // 4
        if many or self._layer_bytes >= COURSES_BYTES:
            self._begin_snapshot(many=many)
            while self.go_on():
                pass
            self._take_snapshot(wait=True)
        self._take_gists(wait=True)
        self._squeezer.shutdown()
        self.recorder.close(now)

    def history(self, ask: AskHistory) -> Packing[History]:
        """The state as of soon; whoever asks while it is being copied shares in it."""
        packing = self._histories.get(ask.columns)
        if packing is None or packing.is_taken:
            work = partial(_history, columns=ask.columns)
            packing = self._histories[ask.columns] = Packing(self.state, self._squeezer, work)
            self._packings.append(packing)
        return packing

    def go_on(self) -> bool:
        """Copy a little of what is to be packed; whether there is more of that to do."""
        if self._packings:
            self._packings[0].go_on()
            if self._packings[0].is_taken:
                self._packings.popleft()
                self._histories = {
                    columns: each for columns, each in self._histories.items() if not each.is_taken
                }
        return bool(self._packings)

    def news(self, ask: AskNews) -> News | Refusal | None:
        """What came after the asked event; None when nothing has come yet."""
        if ask.since > self.seq:
            return News(events=[], reset=True)
        if ask.since == self.seq:
            return None
        first_kept = self._kept[0][0].seq if self._kept else self.seq + 1
        if ask.since + 1 < first_kept:
            return News(events=[], reset=True)
        events: list[Event] = []
        size = 0
        for index in range(ask.since + 1 - first_kept, len(self._kept)):
            event, weight = self._kept[index]
            events.append(event)
            size += weight
            if len(events) >= max(ask.limit, 1) or size >= NEWS_BYTES:
                break
        return News(events=events)

    def sight(self, ask: AskView, waited_s: float) -> Sight | Refusal | None:
        """What one screen shows; None while nothing is new, or may wait."""
        if strange := unknown(ask):
            return Refusal(reason=f"no metric {strange!r}: use the deadband of the run")
        waits = ask.since == self.seq or (
            waited_s < ask.patience_s and not self._ledger.urgent(ask.since)
        )
        if waits and not ask.at_once:
            return None
        return cut(self.state, self._ledger, ask)

    def _keep(self, event: Event) -> None:
        size = 512
        if isinstance(event, Sample):
            self._layer_bytes += len(event.layers)
            size += len(event.layers) + len(event.models)
            size += sum(len(at.steps) + len(at.values) for at in event.scalars.values())
        self._kept.append((event, size))
        self._kept_bytes += size
        while len(self._kept) > 1 and (
            self._kept_bytes > KEPT_BYTES or len(self._kept) > KEPT_EVENTS
        ):
            self._kept_bytes -= self._kept.popleft()[1]

    def _begin_snapshot(self, *, many: bool = True) -> None:
        """Pack the state for the recording.

        Args:
            many: so much has happened since the last one that another is worth its room; else
                only the courses are wanted.
        """
        if self._snapshot is not None:
            return
        self._snapshot_seq, courses = self.seq, self._layer_bytes >= COURSES_BYTES
        if courses:
            self._layer_bytes = 0
        work = partial(_squeezed, whole=many, courses=courses)
        self._snapshot = Packing(self.state, self._squeezer, work)
        self._packings.append(self._snapshot)

    def _take_snapshot(self, *, wait: bool = False) -> None:
        snapshot = self._snapshot
        if snapshot is None or not (wait or snapshot.is_done):
            return
        self._snapshot, squeezed = None, snapshot.result()
        self._snapshot_seq = squeezed.seq
        if squeezed.state:
            self.recorder.add_snapshot(squeezed.seq, STATE_LAYOUT, squeezed.state)
        if squeezed.courses is not None:
            self.recorder.add_courses(*squeezed.courses)

    def _begin_gist(self) -> None:
        data = self.state.encoded(self.state.capacity, layers=False)
        self._gists.append((self.seq, self._squeezer.submit(zlib.compress, data, 1)))

    def _take_gists(self, *, wait: bool = False) -> None:
        while self._gists and (wait or self._gists[0][1].done()):
            seq, gist = self._gists.popleft()
            self.recorder.add_gist(seq, GIST_LAYOUT, gist.result())


@dataclass(frozen=True, slots=True, kw_only=True)
class Squeezed:
    """What a thread makes of a state for the recording."""

    seq: int
    state: bytes
    """Empty where it is not wanted."""
    courses: tuple[bytes, list[tuple[str, int, bytes]]] | None


def _squeezed(state: RunState, *, whole: bool, courses: bool) -> Squeezed:
    parts = None
    if courses:
        head, blocks = courses_of(state.parts(state.capacity))
        parts = head, [(block.metric, block.first_row, block.body) for block in blocks]
    packed = state.pack(state.capacity) if whole else b""
    return Squeezed(seq=state.seq, state=packed, courses=parts)


def _history(state: RunState, *, columns: int) -> History:
    return History(seq=state.seq, state=state.pack(columns))

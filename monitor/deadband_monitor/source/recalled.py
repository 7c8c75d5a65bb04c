"""What a recording has to say beside its events: how tensors were spread, room for notes."""

from __future__ import annotations

import time
from collections import deque

import numpy as np

from deadband.wire import AskDense, AskNote, Done
from deadband_monitor.errors import BadRecording, SourceError
from deadband_monitor.notes import note_step, note_text
from deadband_monitor.record.base import RecordingReader, Shelf
from deadband_monitor.source.on_demand import Spread, Subject, beside
from deadband_monitor.state.course import Course
from deadband_monitor.state.run_state import RunState

GROWTH_S = 1.0
"""A live hub adds a row of outlines as often at most; it may be on another host."""


class Recalled:
    """The answers of a recording to what a hub would be asked. A replayed source is one."""

    def __init__(self, recording: RecordingReader) -> None:
        self.spread: Spread | None = None
        self.answers = 0
        self.said: deque[Done] = deque()
        self._read_from = recording
        self._shelf = recording if isinstance(recording, Shelf) else None
        self._outlines: list[tuple[int, bytes]] = []
        """Of the tensor looked at, all that the recording holds."""
        self._shown = (-1, -1)
        """(newest row of outlines, step) that the spread is of."""
        self._read_at = 0.0

    def look_at(self, subject: Subject | None, *, finely: bool = False, rank: int = -1) -> None:
        """Show the spread of this tensor: a recording holds outlines, of the run's first rank."""
        del finely, rank
        if subject is None:
            self.spread = None
        elif self.spread is None or self.spread.subject != subject:
            self.spread, self._shown = beside(self.spread, subject), (-1, -1)

    def demand(self, demand: AskDense | AskNote) -> None:
        """A note is written into the recording of a run that is over; nothing else can be done."""
        self.answers += 1
        self.said.append(self._done(demand))

    def recall(self, state: RunState, *, complete: bool) -> None:
        """Bring the spread up to the step that is shown.

        Args:
            state: the run there.
            complete: whether nobody writes into the recording any more.
        """
        spread, shelf = self.spread, self._shelf
        if spread is None or shelf is None:
            return
        read, step = self._shown
        try:
            newest = self._read(spread, shelf, read, complete=complete)
        except SourceError:  # a host whose deadband is older and knows nothing of it
            self._shelf = None
            return
        if (newest, state.step) == (read, step):
            return
        self._shown = (newest, state.step)
        course = Course()
        for at, outline in self._outlines:
            if at <= state.step:
                try:
                    course.add_packed(np.int64(at).tobytes(), outline)
                except ValueError:
                    continue  # a version with other levels: no picture of it
        spread.course = course
        self.answers += 1

    def _read(self, spread: Spread, shelf: Shelf, read: int, *, complete: bool) -> int:
        """Read what is new of the tensor; the number of the newest row."""
        now = time.monotonic()
        if read >= 0 and (complete or now - self._read_at < GROWTH_S):
            return read
        self._read_at = now
        newest = shelf.newest_outline
        if newest != read:
            self._outlines = shelf.outlines(*spread.subject)
            spread.kinds = tuple(shelf.outlined(*spread.subject[:2]))
        return newest

    def _done(self, demand: AskDense | AskNote) -> Done:
        recording, shelf = self._read_from, self._shelf
        if shelf is None or recording.served or not isinstance(demand, AskNote):
            return Done(said="this is a recording: only the live run takes that", refused=True)
        text = note_text(demand.text)
        if not text:
            return Done(said="an empty note is none", refused=True)
        step = note_step(demand.step, recording.span().last_step)
        try:
            shelf.write_down(text, step)
        except BadRecording as error:
            return Done(said=str(error), refused=True)
        return Done(said=f"noted at step {step:,}")

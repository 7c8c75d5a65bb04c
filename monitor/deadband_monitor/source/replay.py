"""A recording, from its first step to its last, at any step and at any speed.

The hands of a screen (`seek`, `playing`, `speed`) only say where to go, from any thread; `refresh`
goes there.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from deadband.wire import AskDense, AskNote, AskView
from deadband_monitor.errors import LinkLost, NotCut
from deadband_monitor.record.base import RecordingReader, Scenic
from deadband_monitor.source.live import lost_status
from deadband_monitor.source.past_view import PastView
from deadband_monitor.source.recalled import Recalled
from deadband_monitor.source.reel import OwnRecording, Reel
from deadband_monitor.state.pictures import Pictures
from deadband_monitor.state.run_state import ENDED, RunState

GROWTH_CHECK_S = 0.5
"""A live hub writes as often."""
PLAYING_NAP_S = 0.05


class ReplaySource(Recalled):
    """The Source of a recording.

    It stands at the end unless `step` says otherwise. At the end of a recording that a live hub
    still writes, it follows.

    Args:
        recording: the file, or a recording elsewhere; closed with the source.
        step: where to stand.
        settled: stand there at once; otherwise the first `refresh` goes there.

    Raises:
        BadRecording: at construction, or from `refresh`.
        LinkLost: at construction, it lies on a host that does not answer.
    """

    def __init__(
        self, recording: Path | RecordingReader, step: int | None = None, *, settled: bool = True
    ) -> None:
        if isinstance(recording, Path):
            recording = OwnRecording(recording)
        self.name, self.where = recording.name, recording.where
        self.trouble = ""
        """Why the host of the recording does not answer."""
        super().__init__(recording)
        self._recording = recording
        self._reel = Reel(recording)
        self._view: PastView | None = None
        """What a screen shows, in the place of the whole state."""
        self._seq = -1
        """The event to stand at, once that is known."""
        self._placed = (-1, -1, 0)
        """A step, the end of the recording, and the last event of that step."""
        self._lock = threading.Condition()
        self._target: int | None = step
        """Step to stand at; None: the end."""
        self._moves = 0
        """Samples to go on from there."""
        self._playing = False
        self._speed = 1.0
        self._clock: tuple[float, float] | None = None
        """While playing: (recorded time, own time) of the moment when playing began."""
        self._hurry = False
        self._span = self._recording.span()
        self._span_read = time.monotonic()
        self._complete = False
        self._whole = False
        """The recording lies where nobody can cut pictures of it."""
        if settled:
            self._move()

    # --- the hands of a screen ---

    @property
    def position(self) -> int:
        """The step shown, or about to be."""
        with self._lock:
            return self._span.last_step if self._target is None else self._target

    @property
    def first_step(self) -> int:
        """The first sampled step."""
        return self._span.first_step

    @property
    def last_step(self) -> int:
        """The last step of the recording, as far as it is known now."""
        return self._span.last_step

    @property
    def playing(self) -> bool:
        """Whether `refresh` moves on by itself."""
        return self._playing

    @playing.setter
    def playing(self, on: bool) -> None:
        with self._lock:
            if on and self._target is None:
                self._target = self._span.first_step  # from the end: from the start again
            self._playing, self._clock = on, None
            self._wake()

    @property
    def speed(self) -> float:
        """Recorded seconds shown in one second while playing."""
        return self._speed

    @speed.setter
    def speed(self, value: float) -> None:
        if not value > 0:
            raise ValueError(f"speed must be above 0, not {value}")
        with self._lock:
            self._speed, self._clock = value, None
            self._wake()

    def seek(self, step: int) -> None:
        """Stand at `step`: everything up to it, nothing after it."""
        with self._lock:
            self._aim(step)
            self._moves, self._clock = 0, None
            self._wake()

    def step_by(self, samples: int) -> None:
        """Go `samples` samples on, or back where negative."""
        with self._lock:
            self._moves += samples
            self._clock = None
            self._wake()

    def demand(self, demand: AskDense | AskNote) -> None:
        """Have a note written down, and look for it."""
        super().demand(demand)
        self._complete, self._span_read = False, 0.0

    # --- the Source ---

    @property
    def state(self) -> RunState:
        """The run at the step that is shown."""
        if self._view is not None:
            return self._view.state
        return self._reel.state

    def want(self, wish: AskView) -> None:
        """Hold of the run only what one screen shows of it; see `LiveSource.want`."""
        if self._view is None and isinstance(self._recording, Scenic) and not self._whole:
            self._view = PastView(self._recording)
        if self._view is not None:
            self._view.wish = wish

    @property
    def reads_all(self) -> bool:
        """Whether the whole state was ever folded, which takes time and memory."""
        return self._reel.reached > 0

    def everything(self) -> Pictures | None:
        """Pictures of every metric on the axis shown; None where `state` has what there is."""
        return self._view.everything() if self._view is not None else None

    @property
    def lacks(self) -> bool:
        """Whether what was wanted last, or where the hands point to, is not there yet."""
        return self._hurry or (self._view is not None and self._view.lacks)

    @property
    def link(self) -> str:
        """Always `replay`."""
        return "replay"

    @property
    def last_heard(self) -> float:
        """When the newest sample shown was taken."""
        latest = self.state.latest
        return latest.time if latest else self._span.first_time

    def refresh(self, wait_s: float) -> bool:
        """Go where the hands have pointed to; True if the picture changed.

        Raises:
            BadRecording: the file is damaged there.
        """
        before = self._picture
        self._try_move()
        if self._picture == before and wait_s > 0:
            with self._lock:
                if not self._hurry:
                    self._lock.wait(self._nap(wait_s))
            self._try_move()
        return self._picture != before

    def close(self) -> None:
        """Let go of the file."""
        self._recording.close()

    @property
    def _picture(self) -> tuple[object, ...]:
        """Changes when there is something new to be drawn."""
        state = self._view.state if self._view is not None else self._reel.state
        answered = self._view.answers if self._view is not None else 0
        return state, state.seq, self.trouble, self.answers, answered

    def _wake(self) -> None:
        self._hurry = True
        self._lock.notify_all()

    def _aim(self, step: int) -> None:
        self._target = None if step >= self._span.last_step else max(step, 0)

    def _nap(self, wait_s: float) -> float:
        return min(wait_s, PLAYING_NAP_S) if self._playing else wait_s

    def _try_move(self) -> None:
        """Where the host does not answer, stay: it is asked again at the next look."""
        try:
            self._move()
            self.recall(self.state, complete=self._complete)
        except LinkLost as error:
            self.trouble = str(error)
        else:
            self.trouble = ""

    def _move(self) -> None:
        with self._lock:
            self._hurry = False
            self._note_growth()
            if self._moves:
                self._aim(self._recording.step_by(self.position, self._moves))
                self._moves = 0
            at_end = self._target is None
            seq = self._span.last_seq
            if self._target is not None:
                seq = min(seq, self._seq_at(self._target))
            if self._playing:
                seq = self._played_to(seq)
        self._seq = seq
        self._stand_at(seq)
        if at_end:
            self._note_loss()

    def _stand_at(self, seq: int) -> None:
        if self._view is not None:
            try:
                self._view.go(seq)
            except NotCut:
                self._view, self._whole = None, True
        if self._view is None:
            self._reel.go(seq)

    def _seq_at(self, step: int) -> int:
        """The last event of a step; asked anew only where that may have changed."""
        asked = step, self._span.last_seq
        if self._placed[:2] != asked:
            self._placed = *asked, self._recording.seq_at_step(step)
        return self._placed[2]

    def _played_to(self, seq: int) -> int:
        """The event that playing has reached; moves the target on to it."""
        own = time.monotonic()
        if self._clock is None:
            self._clock = (self._recording.time_at(seq), own)
        recorded, began = self._clock
        reached = self._recording.seq_at_time(recorded + (own - began) * self._speed, seq)
        if reached >= self._span.last_seq:
            self._target, self._playing, self._clock = None, False, None
        elif reached > seq:
            self._target = self._recording.step_at(reached)
        return max(min(reached, self._span.last_seq), seq)

    def _note_loss(self) -> None:
        """At the end of a recording whose hub died the run is lost, though nobody wrote so."""
        status = self.state.status
        over = status is not None and status.status in ENDED
        if not over and self._seq == self._span.last_seq and not self._recording.served:
            self.state.apply(lost_status(self.state))

    def _note_growth(self) -> None:
        now = time.monotonic()
        if self._complete or now - self._span_read < GROWTH_CHECK_S:
            return
        self._span_read = now
        status = self._recording.last_status
        self._complete = status is not None and status.status in ENDED
        self._span = self._recording.span()

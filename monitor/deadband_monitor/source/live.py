"""A run that a hub on this host serves: asks, folds the answer in, asks again.

The source has one question under way at most, so a viewer that sleeps misses nothing and nobody
waits for it. Where the hub has gone, the rest of the run is read from its recording.
"""

from __future__ import annotations

import time
from contextlib import suppress

import msgspec
import zmq

from deadband import wire
from deadband.wire import AskHistory, AskNews, FromViewer, History, News, Refusal, Status, ToViewer
from deadband_monitor.errors import BadRecording, SourceError
from deadband_monitor.hub.registry import live_hub
from deadband_monitor.record.reader import ENDED, UNFIT, Recording
from deadband_monitor.state.run_state import RunState

LOST_AFTER_S = 5.0
"""A hub answers within 2 s even when nothing happens; this allows for one slow answer."""
RETRY_S = 1.0
COLUMNS = 512
"""Buckets of history asked for: all that a hub keeps, so that every viewer sees the same."""

_decode = msgspec.msgpack.Decoder(ToViewer).decode
_encode = msgspec.msgpack.Encoder().encode


class LiveSource:
    """The Source of a live run. Retries a lost link for ever; see `link`."""

    def __init__(self, run: str) -> None:
        self.name = run
        self.state = RunState()
        self._run = run
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._link = "live"
        self._heard = time.time()
        self._asked_at: float | None = None
        self._heard_at = time.monotonic()
        self._closed = False

    @property
    def link(self) -> str:
        """`live`, `lost` or `ended`."""
        return self._link

    @property
    def last_heard(self) -> float:
        """When the hub last answered, seconds since the epoch."""
        return self._heard

    def refresh(self, wait_s: float) -> bool:
        """Fold in what the hub has to say, waiting at most `wait_s` for it.

        Raises:
            SourceError: the hub refuses, or speaks another version.
        """
        deadline = time.monotonic() + wait_s
        if self._link == "ended":
            time.sleep(max(wait_s, 0.0))
            return False
        before = (self.state.seq, self._link)
        while True:
            self._ask()
            left = max(deadline - time.monotonic(), 0.0)
            body = self._receive(left)
            if body is None:
                self._notice_silence()
                if (self.state.seq, self._link) != before or time.monotonic() >= deadline:
                    break
                continue
            self._fold(body)
            if self._link == "ended":
                break
            if self.state.seq != before[0]:
                deadline = min(deadline, time.monotonic())  # take what is there, wait no more
        return (self.state.seq, self._link) != before

    def close(self) -> None:
        """Let go of the socket."""
        if not self._closed:
            self._closed = True
            self._drop_socket()
            self._context.term()

    def _ask(self) -> None:
        if self._asked_at is not None:
            return
        if self._socket is None:
            self._socket = self._context.socket(zmq.DEALER)
            self._socket.setsockopt(zmq.LINGER, 0)
            self._socket.setsockopt(zmq.RECONNECT_IVL, 100)
            self._socket.connect(wire.viewer_address(self._run))
        question: FromViewer = (
            AskNews(since=self.state.seq)
            if self.state.seq
            else AskHistory(version=wire.VERSION, columns=COLUMNS)
        )
        self._send(question)

    def _send(self, question: FromViewer) -> None:
        assert self._socket is not None
        self._asked_at = time.monotonic()
        with suppress(zmq.Again):
            self._socket.send(_encode(question), zmq.NOBLOCK)

    def _receive(self, wait_s: float) -> bytes | None:
        assert self._socket is not None
        # In short turns, so that the end of the hub is noticed while a long wait goes on.
        if not self._socket.poll(int(min(wait_s, RETRY_S) * 1000)):
            return None
        return self._socket.recv()

    def _fold(self, body: bytes) -> None:
        try:
            answer = _decode(body)
            if isinstance(answer, History):
                self.state = RunState.unpack(answer.state)
        except (msgspec.MsgspecError, ValueError) as error:
            raise SourceError(
                f"cannot read what the hub of {self._run} says ({error}): use the deadband that"
                " the run was started with"
            ) from error
        self._asked_at = None
        self._heard, self._heard_at = time.time(), time.monotonic()
        self._link = "live"
        if isinstance(answer, Refusal):
            raise SourceError(answer.reason)
        if isinstance(answer, News):
            self._fold_news(answer)
        status = self.state.status
        if status is not None and status.status in ENDED:
            self._end()

    def _fold_news(self, news: News) -> None:
        gap = news.events and news.events[0].seq > self.state.seq + 1
        if news.reset or gap:
            self._send(AskHistory(version=wire.VERSION, columns=COLUMNS))
            return
        for event in news.events:
            self.state.apply(event)

    def _notice_silence(self) -> None:
        now = time.monotonic()
        quiet = now - max(self._heard_at, self._asked_at or 0.0)
        if quiet < RETRY_S or now - self._heard_at < RETRY_S:
            return
        if live_hub(self._run) is None and self._finish_from_recording():
            return
        if now - self._heard_at > LOST_AFTER_S:
            self._link = "lost"
            # A fresh socket: an answer to the old question can no longer come in between.
            self._drop_socket()
            self._asked_at = None

    def _finish_from_recording(self) -> bool:
        """The hub is gone: what it wrote after our last news is in the recording.

        One that was killed, or had a full disk, has told us more than it wrote.
        """
        try:
            with Recording(wire.recording_path(self._run)) as recording:
                if recording.hello.run != self._run:
                    return False
                for event in recording.events(after=self.state.seq):
                    self.state.apply(event)
        except (BadRecording, *UNFIT):
            if self.state.info is None:
                return False
        status = self.state.status
        if status is None or status.status not in ENDED:
            self.state.apply(lost_status(self.state))
        self._end()
        return True

    def _end(self) -> None:
        self._link = "ended"
        self._drop_socket()

    def _drop_socket(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None


def lost_status(state: RunState) -> Status:
    """What to say of a run whose hub died: nobody knows how it went on."""
    said, latest = state.status, state.latest
    return Status(
        seq=state.seq + 1,
        time=max(said.time if said else 0.0, latest.time if latest else 0.0),
        status="lost",
        step=state.step,
        samples=state.samples,
        dropped=said.dropped if said else 0,
        overhead=said.overhead if said else 0.0,
        interval=said.interval if said else 1,
        error="the hub of this run died, nothing is known of what came after",
    )

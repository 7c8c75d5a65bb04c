"""A live run, here or elsewhere: asks its hub, folds the answer in, asks again.

The source has one question under way at most, so a viewer that sleeps misses nothing and nobody
waits for it. Where the hub has gone, the rest of the run is read from its recording.
"""

from __future__ import annotations

import time
from contextlib import closing, suppress

import msgspec

from deadband import wire
from deadband.wire import (
    AskHistory,
    AskNews,
    AskView,
    Distributions,
    Done,
    FromViewer,
    Histogram,
    History,
    News,
    Refusal,
    Sight,
    Status,
    ToViewer,
)
from deadband_monitor.errors import BadRecording, LinkLost, SourceError
from deadband_monitor.record.base import RecordingReader
from deadband_monitor.record.reader import UNFIT
from deadband_monitor.source.channel import Channel, Health, LocalChannel
from deadband_monitor.source.on_demand import Demands
from deadband_monitor.source.reel import Reel
from deadband_monitor.source.viewing import Viewing
from deadband_monitor.state.run_state import ENDED, RunState

COLUMNS = 512
"""Buckets of history asked for: all that a hub keeps, so that every viewer sees the same."""
WHOLE_AGAIN_S = 10.0
"""A recording that cannot be had is asked for again after this."""

_decode = msgspec.msgpack.Decoder(ToViewer).decode
_encode = msgspec.msgpack.Encoder().encode


class LiveSource(Demands):
    """The Source of a live run. Retries a lost link for ever; see `link`.

    Args:
        run: its id.
        channel: the way to it; it is on this host by default. Closed with the source.
    """

    def __init__(self, run: str, channel: Channel | None = None) -> None:
        super().__init__()
        self.name = run
        self.state = RunState()
        self.channel = channel or LocalChannel(run)
        self._run = run
        self._link = "live"
        self._heard = time.time()
        self._asked = False
        self._whole_at = 0.0
        """Not before this is the recording elsewhere asked for again."""
        self._viewing: Viewing | None = None
        self._whole = False
        """Nobody cuts pictures for us: the hub is too old for it, or has gone."""

    @property
    def link(self) -> str:
        """`live`, `lost` or `ended`."""
        return self._link

    @property
    def last_heard(self) -> float:
        """When the hub last answered, seconds since the epoch."""
        return self._heard

    @property
    def where(self) -> str:
        """The host, where it is another one."""
        return self.channel.where

    @property
    def trouble(self) -> str:
        """Why the link is lost, where that is known."""
        return self.channel.trouble if self._link == "lost" else ""

    def retry(self) -> None:
        """Try a lost link again at once; from any thread."""
        self.channel.retry()

    def want(self, wish: AskView) -> None:
        """Hear of the run only what one screen shows of it, instead of everything.

        From the first wish on `state` holds a `Sight` in the place of the layers' history. May be
        called from any thread; the next `refresh` asks for what is lacking.
        """
        if self._whole:
            return
        if self._viewing is None:
            self._viewing = Viewing(far=bool(self.channel.where))
            self.state = self._viewing.state
        self._viewing.wish = wish

    @property
    def lacks(self) -> bool:
        """Whether what was wanted last has not come yet."""
        return self._viewing is not None and self._viewing.lacks_answer

    def refresh(self, wait_s: float) -> bool:
        """Fold in what the hub has to say, waiting at most `wait_s` for it.

        Raises:
            SourceError: the hub refuses, or speaks another version.
        """
        deadline = time.monotonic() + wait_s
        if self._link == "ended":
            if self._take_up_recording():
                return True
            time.sleep(max(wait_s, 0.0))
            return False
        before = self._standing
        while True:
            self._ask()
            left = max(deadline - time.monotonic(), 0.0)
            body = self.channel.receive(left)
            if body is None:
                self._notice_silence()
                if self._standing != before or time.monotonic() >= deadline:
                    break
                continue
            self._fold(body)
            if self._link == "ended":
                break
            if self._standing[1:] != before[1:]:
                deadline = min(deadline, time.monotonic())  # take what is there, wait no more
        return self._standing != before

    def close(self) -> None:
        """Let go of the way to the run."""
        self.channel.close()

    @property
    def _standing(self) -> tuple[str, int, int]:
        return self._link, self.state.seq, self.answers

    def _ask(self) -> None:
        lacks = self._viewing is not None and self._viewing.lacks
        if self._asked and not self.hurries and (not lacks or self.is_aside):
            return
        if not self.state.seq:
            if not self._asked or lacks:
                self._send(self._news())
            return
        # What is asked beside the news takes its place once; the news are asked for again.
        self._send((not lacks and self.question(time.monotonic())) or self._news())

    def _news(self) -> FromViewer:
        if self._viewing is not None:
            return self._viewing.question()
        if not self.state.seq:
            return AskHistory(version=wire.VERSION, columns=COLUMNS)
        return AskNews(since=self.state.seq)

    def _send(self, question: FromViewer) -> None:
        self._asked = True
        self.channel.send(_encode(question))

    def _fold(self, body: bytes) -> None:
        try:
            answer = _decode(body)
            if isinstance(answer, History) and self._viewing is None:
                self.state = RunState.unpack(answer.state)
            elif isinstance(answer, Distributions | Histogram | Done):
                self.take_answer(answer)
            elif isinstance(answer, Sight) and self._viewing is not None:
                self._viewing.take(answer)
                self.answers += 1
        except (msgspec.MsgspecError, ValueError) as error:
            raise SourceError(
                f"cannot read what the hub of {self._run} says ({error}): use the deadband that"
                " the run was started with"
            ) from error
        self._asked = False
        self._heard = time.time()
        self._link = "live"
        if isinstance(answer, Refusal) and not self.is_of_ours(answer):
            if self._viewing is not None and answer.reason.startswith("unreadable question"):
                self.state, self._viewing, self._whole = RunState(), None, True
                return
            raise SourceError(answer.reason)
        if isinstance(answer, News) and self._viewing is None:
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
        health = self.channel.health()
        if health is Health.LOST:
            self._link, self._asked = "lost", False
            self.give_up()
        elif health is Health.GONE and not self._finish_from_recording():
            self._link = "lost"

    def _finish_from_recording(self) -> bool:
        """The hub is gone: what it wrote after our last news is in the recording.

        One that was killed, or had a full disk, has told us more than it wrote.
        """
        try:
            with closing(self.channel.recording()) as recording:
                if recording.hello.run != self._run:
                    return False
                if self._viewing is not None and not self.channel.where:
                    self._take_up(recording)
                for event in recording.events(after=self.state.seq):
                    self.state.apply(event)
        except LinkLost:
            return False
        except (BadRecording, *UNFIT):
            if self.state.info is None:
                return False
        status = self.state.status
        if status is None or status.status not in ENDED:
            self.state.apply(lost_status(self.state))
        self._end()
        return True

    def _take_up_recording(self) -> bool:
        """After the end nobody cuts pictures any more: do it ourselves, from the whole state."""
        if self._viewing is None or not self._viewing.lacks:
            return False
        if time.monotonic() < self._whole_at:
            return False
        try:
            with suppress(BadRecording, *UNFIT), closing(self.channel.recording()) as recording:
                if recording.last_seq >= self.state.seq:
                    self._take_up(recording)
        except LinkLost:
            self._whole_at = time.monotonic() + WHOLE_AGAIN_S
            return False
        self._viewing, self._whole = None, True
        return True

    def _take_up(self, recording: RecordingReader) -> None:
        reel = Reel(recording)
        reel.go(recording.last_seq)
        self.state, self._viewing, self._whole = reel.state, None, True

    def _end(self) -> None:
        self._link = "ended"
        self.channel.close()


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

"""Runs on another host, through a link to it: the list of them, and each live or recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.msgpack import Decoder

from deadband.wire import AskView, Event, Hello, Note, Sight, Status, What
from deadband_monitor.errors import BadRecording, LinkLost, NotCut, SourceError
from deadband_monitor.hub.registry import RunEntry
from deadband_monitor.record.base import Span
from deadband_monitor.remote.link import Link
from deadband_monitor.remote.protocol import (
    AskHub,
    AskRecording,
    AskRun,
    AskRuns,
    Fault,
    HangUp,
    Reply,
    RunRow,
)
from deadband_monitor.source.channel import Health
from deadband_monitor.source.live import LiveSource
from deadband_monitor.source.replay import ReplaySource

FAR_EVENTS = 32
"""At 300 layers so many events are as many bytes as the state that they lead to."""
LOOK_S = 5.0
"""A look into a recording holds up the picture: after this the link counts as lost."""
REMEMBERED = 512

_T = TypeVar("_T")
_INT = Decoder(int)
_FLOAT = Decoder(float)
_BOOL = Decoder(bool)
_HELLO = Decoder(Hello)
_SPAN = Decoder(Span)
_ROW = Decoder(RunRow)
_ROWS = Decoder(list[RunRow])
_STATUS: Decoder[Status | None] = Decoder(Status | None)
_SNAPSHOT: Decoder[tuple[int, bytes] | None] = Decoder(tuple[int, bytes] | None)
_EVENTS: Decoder[list[Event]] = Decoder(list[Event])
_TENSORS = Decoder(list[What])
_SIGHT = Decoder(Sight)
_OUTLINES = Decoder(list[tuple[int, bytes]])


class RemoteHost:
    """The runs of a host. Owns its link."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._channel = link.channel()

    def runs(self) -> list[RunEntry]:
        """Every run there, as `registry.runs` gives those here.

        Raises:
            LinkLost: the host does not answer.
        """
        rows = _ROWS.decode(self.link.call(self._channel, AskRuns()))
        return [self._entry(row) for row in rows]

    def resolve(self, target: str) -> RunEntry:
        """The run that a word means there.

        Raises:
            UnknownRun, BadRecording: as `registry.resolve`, there.
            LinkLost: the host does not answer.
        """
        return self._entry(_ROW.decode(self.link.call(self._channel, AskRun(target))))

    def open(self, entry: RunEntry) -> LiveSource | ReplaySource:
        """The source of one of its runs."""
        if entry.live:
            return LiveSource(entry.run, RemoteChannel(self.link, entry.run, str(entry.path)))
        return ReplaySource(self.recording(entry), settled=False)

    def recording(self, entry: RunEntry) -> RemoteRecording:
        """The recording of one of its runs."""
        return RemoteRecording(self.link, str(entry.path))

    def close(self) -> None:
        """Let go of the host."""
        self.link.close()

    def _entry(self, row: RunRow) -> RunEntry:
        return RunEntry(
            run=row.run,
            name=row.name,
            path=Path(row.path),
            live=row.live,
            status=row.status,
            verdict=row.verdict,
            started=row.started,
            last_time=row.last_time,
            step=row.step,
            samples=row.samples,
            problem=row.problem,
            host=self.link.far.name,
        )


class RemoteChannel:
    """To the hub of a run on another host."""

    def __init__(self, link: Link, run: str, path: str) -> None:
        self._link = link
        self._run = run
        self._path = path
        self._channel = link.channel()
        self._number: int | None = None
        self._health = Health.WAITING
        self._silent = ""

    @property
    def where(self) -> str:
        """The host and how it is reached."""
        return self._link.far.where

    @property
    def trouble(self) -> str:
        """What is wrong with the link, else with the hub behind it."""
        return self._link.trouble or self._silent

    def send(self, question: bytes) -> None:
        """Ask; while the link is down that comes to nothing, and `health` says so."""
        if self._number is not None:
            self._link.forget(self._number)
        self._health = Health.WAITING
        self._number = self._link.post(self._channel, AskHub(self._run, question))

    def receive(self, wait_s: float) -> bytes | None:
        """The answer; where there is no link, it is waited for."""
        if self._number is None:
            self._link.wait(wait_s)
            self._health = Health.LOST
            return None
        answer = self._link.answer(self._number, wait_s)
        if answer is None:
            return None
        self._number = None
        if isinstance(answer, Reply):
            self._silent = ""
            return answer.body
        self._health = self._meaning(answer)
        return None

    def health(self) -> Health:
        """As the far side sees the hub; lost while there is no link."""
        return self._health

    def retry(self) -> None:
        """Start the command of the link anew, now."""
        self._link.retry()

    def recording(self) -> RemoteRecording:
        """The recording that the hub writes."""
        return RemoteRecording(self._link, self._path)

    def close(self) -> None:
        """Let the far side let go of the hub; the link stays."""
        self._link.post(self._channel, HangUp())

    def _meaning(self, fault: Fault) -> Health:
        if fault.kind == "gone":
            return Health.GONE
        if fault.kind == "silent":
            self._silent = fault.message
        elif fault.kind != "lost":
            raise SourceError(f"{self._link.far.name}: {fault.message}")
        return Health.LOST


class RemoteRecording:
    """A RecordingReader of a recording on another host; every look goes through the link."""

    far_events = FAR_EVENTS

    def __init__(self, link: Link, path: str) -> None:
        self.name = Path(path).stem
        self._link = link
        self._path = path
        self._channel = link.channel()
        self._uncut = ""
        """Why the far side cannot cut pictures."""
        # What lies before the end of a recording does not change any more.
        remember = lru_cache(REMEMBERED)
        self.seq_at_step = remember(self.seq_at_step)  # type: ignore[method-assign]
        self.step_at = remember(self.step_at)  # type: ignore[method-assign]
        self.time_at = remember(self.time_at)  # type: ignore[method-assign]

    @property
    def where(self) -> str:
        """The host and how it is reached."""
        return self._link.far.where

    @property
    def hello(self) -> Hello:
        """Who ran."""
        return self._look("hello", _HELLO)

    @property
    def last_status(self) -> Status | None:
        """The last that the hub wrote of the training process."""
        return self._look("last_status", _STATUS)

    @property
    def last_seq(self) -> int:
        """Number of the newest event."""
        return self._look("last_seq", _INT)

    @property
    def served(self) -> bool:
        """Whether a live hub there still writes it."""
        return self._look("served", _BOOL)

    def span(self) -> Span:
        """What is there now."""
        return self._look("span", _SPAN)

    def seq_at_step(self, step: int) -> int:
        """Number of the last event that belongs to steps up to `step`."""
        return self._look("seq_at_step", _INT, step)

    def step_by(self, step: int, samples: int) -> int:
        """The step of the sample that lies `samples` after (before, if negative) that of `step`."""
        return self._look("step_by", _INT, step, samples)

    def step_at(self, seq: int) -> int:
        """Step of the newest sample up to event `seq`; 0 before the first."""
        return self._look("step_at", _INT, seq)

    def time_at(self, seq: int) -> float:
        """When the newest sample up to event `seq` was taken."""
        return self._look("time_at", _FLOAT, seq)

    def seq_at_time(self, time: float, after: int = 0) -> int:
        """Number of the last event of the samples taken up to `time`; at least `after`."""
        return self._look("seq_at_time", _INT, time, after)

    def snapshot(self, seq: int, layout: int) -> tuple[int, bytes] | None:
        """The state at event `seq`, which the far side makes."""
        return self._look("snapshot", _SNAPSHOT, seq, layout)

    def events(self, after: int = 0, upto: int | None = None) -> Iterator[Event]:
        """Events `after` + 1 .. `upto` in order, in as many answers as they need."""
        last = self.last_seq if upto is None else upto
        while after < last:
            found = self._look("events", _EVENTS, after, last)
            if not found:
                return
            yield from found
            after = found[-1].seq

    def sight(self, ask: AskView, seq: int) -> Sight:
        """What a screen shows of the run at event `seq`, cut where the recording lies.

        Raises:
            NotCut: the deadband there is older.
        """
        if self._uncut:
            raise NotCut(self._uncut)
        question = msgspec.json.encode(ask).decode()
        try:
            return self._look("sight", _SIGHT, seq, words=[question])
        except LinkLost:
            raise
        except SourceError as error:
            if "does not know what" not in str(error):
                raise
            self._uncut = str(error)
            raise NotCut(self._uncut) from error

    @property
    def newest_outline(self) -> int:
        """Number of the newest row of outlines; 0 where there is none."""
        return self._look("newest_outline", _INT)

    def outlined(self, model: str, layer: str) -> list[What]:
        """The tensors of a layer that there are outlines of."""
        return self._look("outlined", _TENSORS, words=[model, layer])

    def outlines(self, model: str, layer: str, what: What) -> list[tuple[int, bytes]]:
        """Steps and packed outlines of one tensor, in order."""
        return self._look("outlines", _OUTLINES, words=[model, layer, what.value])

    def write_down(self, text: str, step: int) -> Note:
        """Never: the far side only reads.

        Raises:
            BadRecording: in any case.
        """
        del text, step
        raise BadRecording(
            f"a recording on {self._link.far.name} is only read from here; there:"
            f" deadband ask {self.name} --note TEXT"
        )

    def damaged(self, error: object) -> BadRecording:
        """What to raise where something in it is not as it was written."""
        return BadRecording(f"{self._link.far.name}: {self._path} is damaged ({error})")

    def close(self) -> None:
        """Let the far side close the file; the link stays."""
        self._link.post(self._channel, HangUp())

    def _look(
        self, what: str, decoder: Decoder[_T], *arguments: float | None, words: Sequence[str] = ()
    ) -> _T:
        ask = AskRecording(self._path, what, list(arguments), list(words))
        body = self._link.call(self._channel, ask, LOOK_S)
        try:
            return decoder.decode(body)
        except msgspec.MsgspecError as error:
            raise SourceError(
                f"cannot read what the deadband of {self._link.far.name} says ({error}): use the"
                " same version on both sides"
            ) from error

"""Reads a recording: of a finished run, of one that is live, or what a dead hub has left.

Never writes. SQLite itself leaves out a torn tail of the write-ahead log, so everything that a hub
had committed is read, however it ended.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from deadband.wire import (
    Diagnosis,
    Event,
    Flag,
    FlagChange,
    Hello,
    LayerTable,
    Note,
    Points,
    RunInfo,
    Sample,
    Status,
    What,
)
from deadband_monitor.errors import BadRecording
from deadband_monitor.record.base import Span
from deadband_monitor.record.format import APPLICATION_ID, USER_VERSION
from deadband_monitor.record.notes import add_note

FAR_EVENTS = 2048
"""From here on a snapshot is worth unpacking."""
CHUNK_EVENTS = 256
"""Events read in one short transaction: a long one would keep a live hub from tidying its log."""
UNFIT = (msgspec.MsgspecError, ValueError, TypeError, LookupError)
"""What a body that is not what was written raises when it is decoded or folded in."""

_T = TypeVar("_T")
_SQLITE_MAGIC = b"SQLite format 3\0"
_decode_event = msgspec.msgpack.Decoder(RunInfo | FlagChange | Diagnosis | Status).decode
_decode_run = msgspec.msgpack.Decoder(RunInfo).decode
_decode_table = msgspec.msgpack.Decoder(LayerTable).decode
_decode_flag = msgspec.msgpack.Decoder(FlagChange).decode
_decode_diagnosis = msgspec.msgpack.Decoder(Diagnosis).decode
_decode_subjects = msgspec.msgpack.Decoder(list[tuple[str, str, What]]).decode
_decode_status = msgspec.msgpack.Decoder(Status).decode


class Recording:
    """An open recording.

    Raises:
        BadRecording: at construction or from any method, with one line for the user.
    """

    where = ""
    far_events = FAR_EVENTS

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        self._has: dict[str, bool] = {}
        _check_head(path)
        try:
            self._database = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise BadRecording(f"cannot read {path}: {error}") from error
        try:
            self._check_version()
        except BadRecording:
            self._database.close()
            raise

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @property
    def hello(self) -> Hello:
        """Who ran; of several ranks the lowest, which the last word of this kind names.

        Raises:
            BadRecording: the run ended before it said so.
        """
        rows = self._rows("SELECT body FROM events WHERE kind = 'run' ORDER BY seq DESC LIMIT 1")
        if not rows:
            raise BadRecording(f"{self.path} is empty: the run ended before its first word")
        return self._decoded(_decode_run, rows[0][0]).hello

    @property
    def last_status(self) -> Status | None:
        """The last that the hub wrote of the training process."""
        return self._last_of("status", _decode_status)

    @property
    def diagnosis(self) -> Diagnosis | None:
        """The last verdict with its causes; None where nothing was ever wrong."""
        return self._last_of("diagnosis", _decode_diagnosis)

    @property
    def verdict(self) -> str:
        """`healthy`, `warning` or `failing`."""
        diagnosis = self.diagnosis
        return diagnosis.verdict if diagnosis else "healthy"

    @property
    def flags(self) -> list[Flag]:
        """The latest word on every flag, in order of their numbers."""
        latest: dict[int, Flag] = {}
        for (body,) in self._rows("SELECT body FROM events WHERE kind = 'flag' ORDER BY seq"):
            change = self._decoded(_decode_flag, body)
            latest[change.flag.id] = change.flag
        return [latest[number] for number in sorted(latest)]

    def span(self) -> Span:
        """What is there now; grows while a hub writes."""
        # Each of these is answered by an index or by one row: a look at a long recording is quick.
        (samples, first, last, first_time, last_time), *_ = self._rows(
            "SELECT (SELECT count(DISTINCT step) FROM samples),"
            " (SELECT min(step) FROM samples), (SELECT max(step) FROM samples),"
            " (SELECT time FROM samples ORDER BY seq LIMIT 1),"
            " (SELECT time FROM samples ORDER BY seq DESC LIMIT 1)"
        )
        status = self.last_status
        return Span(
            last_seq=self.last_seq,
            samples=samples,
            first_step=first or 0,
            last_step=max(last or 0, status.step if status else 0),
            first_time=first_time or self.hello.started,
            last_time=max(last_time or 0.0, status.time if status else 0.0),
        )

    @property
    def last_seq(self) -> int:
        """Number of the newest event."""
        rows = self._rows(
            "SELECT max(coalesce((SELECT max(seq) FROM samples), 0),"
            " coalesce((SELECT max(seq) FROM events), 0),"
            " coalesce((SELECT max(seq) FROM layer_tables), 0))"
        )
        return max(int(rows[0][0]), self._last_note)

    def seq_at_step(self, step: int) -> int:
        """Number of the last event that belongs to steps up to `step`."""
        rows = self._rows("SELECT min(seq) FROM samples WHERE step > ?", step)
        return int(rows[0][0]) - 1 if rows[0][0] is not None else self.last_seq

    def step_by(self, step: int, samples: int) -> int:
        """The step of the sample that lies `samples` after (before, if negative) that of `step`."""
        if samples >= 0:
            where, order, offset = "step > ?", "ASC", samples - 1
        else:
            where, order, offset = "step < ?", "DESC", -samples - 1
        if samples == 0:
            return step
        query = (
            f"SELECT DISTINCT step FROM samples WHERE {where}"
            f" ORDER BY step {order} LIMIT 1 OFFSET {offset}"
        )
        rows = self._rows(query, step)
        if rows:
            return int(rows[0][0])
        span = self.span()
        return span.last_step if samples > 0 else span.first_step

    def step_at(self, seq: int) -> int:
        """Step of the newest sample up to event `seq`; 0 before the first."""
        rows = self._rows("SELECT step FROM samples WHERE seq <= ? ORDER BY seq DESC LIMIT 1", seq)
        return int(rows[0][0]) if rows else 0

    def time_at(self, seq: int) -> float:
        """When the newest sample up to event `seq` was taken; the start of the run before it."""
        rows = self._rows("SELECT time FROM samples WHERE seq <= ? ORDER BY seq DESC LIMIT 1", seq)
        return float(rows[0][0]) if rows else self.hello.started

    def seq_at_time(self, time: float, after: int = 0) -> int:
        """Number of the last event of the samples taken up to `time`; at least `after`."""
        rows = self._rows(
            "SELECT seq FROM samples WHERE seq > ? AND time > ? ORDER BY seq LIMIT 1", after, time
        )
        return int(rows[0][0]) - 1 if rows else self.last_seq

    def snapshot(self, seq: int, layout: int) -> tuple[int, bytes] | None:
        """The newest packed state of this layout up to event `seq`, with its number."""
        rows = self._rows(
            "SELECT seq, state FROM snapshots WHERE seq <= ? AND format = ?"
            " ORDER BY seq DESC LIMIT 1",
            seq,
            layout,
        )
        return (int(rows[0][0]), bytes(rows[0][1])) if rows else None

    def events(self, after: int = 0, upto: int | None = None) -> Iterator[Event]:
        """Events `after` + 1 .. `upto` (the newest by default) in order, without gaps."""
        last = self.last_seq if upto is None else min(upto, self.last_seq)
        while after < last:
            stop = min(after + CHUNK_EVENTS, last)
            yield from self._chunk(after, stop)
            after = stop

    def _chunk(self, after: int, stop: int) -> list[Event]:
        found: list[Event] = []
        scalars: dict[int, dict[str, Points]] = {}
        where = "WHERE seq > ? AND seq <= ?"
        for seq, name, steps, values in self._rows(
            f"SELECT seq, name, steps, points FROM scalars {where} ORDER BY seq, name", after, stop
        ):
            scalars.setdefault(seq, {})[name] = Points(steps=steps, values=values)
        for seq, step, time, rank, table, layers, models in self._rows(
            f"SELECT seq, step, time, rank, layer_table, layers, models FROM samples {where}",
            after,
            stop,
        ):
            found.append(
                Sample(
                    seq=seq,
                    step=step,
                    time=time,
                    rank=rank,
                    table=table,
                    layers=layers,
                    models=models,
                    scalars=scalars.get(seq, {}),
                )
            )
        rows = self._rows(f"SELECT body FROM layer_tables {where}", after, stop)
        found.extend(self._decoded(_decode_table, body) for (body,) in rows)
        rows = self._rows(f"SELECT body FROM events {where}", after, stop)
        found.extend(self._decoded(_decode_event, body) for (body,) in rows)
        if self._holds("notes"):
            found += [
                Note(seq=seq, step=step, time=time, text=text)
                for seq, step, time, text in self._rows(
                    f"SELECT seq, step, time, text FROM notes {where}", after, stop
                )
            ]
        found.sort(key=lambda event: event.seq)
        return found

    def outlines(self, model: str, layer: str, what: What) -> list[tuple[int, bytes]]:
        """Steps and packed outlines of one tensor; none in a recording that was made without."""
        if not self._holds("outlines"):
            return []
        found: list[tuple[int, bytes]] = []
        for layout, subjects in self._layouts():
            if (model, layer, what) not in subjects:
                continue
            # Only this tensor's part of each row: all tensors of a large network are many.
            found += self._rows(
                "SELECT step, substr(body, 1 + ?1 * (length(body) / ?2), length(body) / ?2)"
                " FROM outlines WHERE layout = ?3",
                subjects.index((model, layer, what)),
                len(subjects),
                layout,
            )
        return sorted(found)

    def outlined(self, model: str, layer: str) -> list[What]:
        """The tensors of a layer that there are outlines of."""
        if not self._holds("outlines"):
            return []
        known = {subject for _, subjects in self._layouts() for subject in subjects}
        return [what for what in What if (model, layer, what) in known]

    @property
    def newest_outline(self) -> int:
        """Number of the newest row of outlines; 0 where there is none."""
        if not self._holds("outlines"):
            return 0
        return int(self._rows("SELECT coalesce(max(number), 0) FROM outlines")[0][0])

    def _layouts(self) -> list[tuple[int, list[tuple[str, str, What]]]]:
        rows = self._rows("SELECT id, subjects FROM outline_layouts")
        return [(number, self._decoded(_decode_subjects, body)) for number, body in rows]

    @property
    def _last_note(self) -> int:
        if not self._holds("notes"):
            return 0
        return int(self._rows("SELECT coalesce(max(seq), 0) FROM notes")[0][0])

    def _holds(self, table: str) -> bool:
        """Whether the recording has this table: older ones have fewer."""
        if table not in self._has:
            query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
            self._has[table] = bool(self._rows(query, table)[0][0])
        return self._has[table]

    def write_down(self, text: str, step: int) -> Note:
        """Write a note behind everything that is there, where no hub does.

        Raises:
            BadRecording: it cannot be written.
        """
        note = add_note(self.path, text, step, seq=self.last_seq)
        self._has.clear()
        return note

    def damaged(self, error: object) -> BadRecording:
        """What to raise where something in the file is not as it was written."""
        said = " ".join(str(error).split())  # SQLite quotes whole statements
        return BadRecording(
            f"{self.path} is damaged ({said}): copy it again, or look for an older copy"
        )

    def _last_of(self, kind: str, decode: Callable[[bytes], _T]) -> _T | None:
        rows = self._rows("SELECT body FROM events WHERE kind = ? ORDER BY seq DESC LIMIT 1", kind)
        return self._decoded(decode, rows[0][0]) if rows else None

    def _decoded(self, decode: Callable[[bytes], _T], body: bytes) -> _T:
        try:
            return decode(body)
        except UNFIT as error:
            raise self.damaged(error) from error

    def _rows(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._database.execute(query, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self.damaged(error) from error

    def _check_version(self) -> None:
        (application,), *_ = self._rows("PRAGMA application_id")
        (version,), *_ = self._rows("PRAGMA user_version")
        if application != APPLICATION_ID:
            raise BadRecording(
                f"{self.path} is an SQLite file of another program, not a recording of deadband"
            )
        if version > USER_VERSION:
            raise BadRecording(
                f"{self.path} was written by a newer deadband (format {version}, this one reads"
                f" {USER_VERSION}): upgrade deadband"
            )


def _check_head(path: Path) -> None:
    """What SQLite would say in no or in misleading words: absent, foreign, cut off."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
            size = file.seek(0, 2)
    except OSError as error:
        raise BadRecording(f"cannot read {path}: {error.strerror}") from error
    log = path.with_name(path.name + "-wal")
    if size == 0 and log.exists():
        return
    if not head.startswith(_SQLITE_MAGIC[: len(head)]) or not head:
        raise BadRecording(f"{path} is not a recording of deadband (recordings end in .dbr)")
    page = int.from_bytes(head[16:18], "big")
    pages = int.from_bytes(head[28:32], "big")
    expected = (65536 if page == 1 else page) * pages
    if len(head) < 100 or (size < expected and not (log.exists() and log.stat().st_size)):
        raise BadRecording(
            f"{path} is cut off: {size} of {expected or 'at least 100'} bytes are there;"
            " copy it again"
        )

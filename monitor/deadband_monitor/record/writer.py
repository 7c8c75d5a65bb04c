"""Writes a run to its recording. Only the hub does; a full disk must not end the hub.

Events wait in memory and go to the file in one transaction at most twice a second. What cannot be
written stays waiting and is tried again, so that a disk that was full for a minute leaves no hole;
when too much waits the recording ends there, and says so.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

import msgspec

from deadband.wire import Event, Flag, FlagChange, LayerTable, Note, RunInfo, Sample
from deadband_monitor.record.format import (
    APPLICATION_ID,
    COURSES_HEAD,
    SCHEMA,
    SUFFIX,
    USER_VERSION,
    OutlineRow,
)

COMMIT_INTERVAL_S = 0.5
"""A hub that is killed loses this much; a commit costs about a millisecond."""
RETRY_INTERVAL_S = 5.0
WAITING_LIMIT_BYTES = 32 << 20
"""What may wait for a disk with no room before the recording is given up."""


class Recorder:
    """The one writer of a recording. Never raises after construction; see `error`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error = ""
        """Why nothing is written at present; empty while all is well."""
        self._database: sqlite3.Connection | None = None
        self._waiting: list[Event] = []
        self._snapshots: list[tuple[int, int, bytes]] = []
        self._gists: list[tuple[int, int, bytes]] = []
        self._courses: tuple[bytes, list[tuple[str, int, bytes]]] | None = None
        self._outlines: dict[int, OutlineRow] = {}
        self._thinned: list[int] = []
        self._waiting_bytes = 0
        self._next_try = 0.0
        self._given_up = False

    def add(self, event: Event) -> None:
        """Take an event; it reaches the disk with the next commit."""
        if self._given_up:
            return
        self._waiting.append(event)
        self._waiting_bytes += 256
        if isinstance(event, Sample):
            self._waiting_bytes += len(event.layers) + len(event.models)
        if self._waiting_bytes > WAITING_LIMIT_BYTES:
            self._given_up = True
            self._waiting.clear()
            self._outlines.clear()
            self._snapshots.clear()
            self._gists.clear()
            self._courses = None
            self.error = f"the recording ends here: {self.error or 'the disk is too slow'}"

    def add_snapshot(self, seq: int, layout: int, state: bytes) -> None:
        """Take the packed state as of event `seq`, which must have been added."""
        if not self._given_up:
            self._snapshots.append((seq, layout, state))

    def add_gist(self, seq: int, layout: int, state: bytes) -> None:
        """Take the packed state without layers as of event `seq`, which must have been added."""
        if not self._given_up:
            self._gists.append((seq, layout, state))

    def add_courses(self, head: bytes, blocks: list[tuple[str, int, bytes]]) -> None:
        """Take the history of layers as of an event that has been added; the one before goes.

        Args:
            head: what the blocks stand for.
            blocks: metric, first row and body of each.
        """
        if not self._given_up:
            self._courses = head, blocks

    def add_outlines(self, row: OutlineRow) -> None:
        """Take the outlines of all tensors at one step."""
        if not self._given_up:
            self._outlines[row.number] = row

    def drop_outlines(self, number: int) -> None:
        """Those of another step are no longer wanted: they are thinned out as the run goes on."""
        if self._outlines.pop(number, None) is None:
            self._thinned.append(number)

    def due(self, now: float) -> bool:
        """Whether `commit` would do something at `now`."""
        return bool(self._waiting) and now >= self._next_try

    def commit(self, now: float) -> None:
        """Write what waits. `now` is any clock that goes on evenly."""
        waits = self._waiting or self._outlines or self._snapshots or self._gists or self._courses
        if self._given_up or not waits:
            return
        try:
            database = self._database or self._open()
            with database:
                for event in self._waiting:
                    _insert(database, event)
                database.executemany(
                    "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)", self._snapshots
                )
                database.executemany("INSERT OR REPLACE INTO gists VALUES (?, ?, ?)", self._gists)
                if self._courses is not None:
                    _insert_courses(database, *self._courses)
                for row in self._outlines.values():
                    _insert_outlines(database, row)
                database.executemany(
                    "DELETE FROM outlines WHERE number = ?", [(it,) for it in self._thinned]
                )
        except (sqlite3.Error, OSError) as error:
            self.error = (
                f"cannot write {self.path}: {_reason(error, self.path)};"
                " DEADBAND_HOME chooses another folder"
            )
            self._next_try = now + RETRY_INTERVAL_S
        else:
            self._waiting.clear()
            self._snapshots.clear()
            self._gists.clear()
            self._courses = None
            self._outlines.clear()
            self._thinned.clear()
            self._waiting_bytes = 0
            self.error = ""
            self._next_try = now + COMMIT_INTERVAL_S

    def close(self, now: float) -> None:
        """Write the rest and leave one plain file without side files, where that can be had."""
        self.commit(now)
        database, self._database = self._database, None
        if database is None:
            return
        with suppress(sqlite3.Error):
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        # Out of WAL the file can be read from a read-only folder and copied alone. It stays in WAL
        # when somebody reads it at this moment, which costs only that.
        with suppress(sqlite3.Error):
            database.execute("PRAGMA journal_mode=DELETE")
        with suppress(sqlite3.Error):
            database.close()

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.path.exists():
            _set_aside(self.path)
        database = sqlite3.connect(self.path, timeout=0.2)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute("PRAGMA journal_size_limit=8388608")
            database.execute(f"PRAGMA application_id={APPLICATION_ID}")
            database.execute(f"PRAGMA user_version={USER_VERSION}")
            database.executescript(SCHEMA)
        except sqlite3.Error:
            database.close()
            # An empty file would only stand in the way of the next try.
            with suppress(OSError):
                self.path.unlink()
            raise
        self._database = database
        return database


def _insert(database: sqlite3.Connection, event: Event) -> None:
    if isinstance(event, Sample):
        database.execute(
            "INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                event.seq,
                event.step,
                event.time,
                event.rank,
                event.table,
                event.layers,
                event.models,
            ),
        )
        database.executemany(
            "INSERT INTO scalars VALUES (?, ?, ?, ?)",
            [(event.seq, name, at.steps, at.values) for name, at in event.scalars.items()],
        )
        return
    if isinstance(event, Note):
        values = (event.seq, event.step, event.time, event.text)
        database.execute("INSERT INTO notes VALUES (?, ?, ?, ?)", values)
        return
    body = msgspec.msgpack.encode(event)
    if isinstance(event, LayerTable):
        database.execute("INSERT INTO layer_tables VALUES (?, ?, ?)", (event.seq, event.id, body))
        return
    step = 0 if isinstance(event, RunInfo) else event.step
    kind = str(type(event).__struct_config__.tag)
    database.execute("INSERT INTO events VALUES (?, ?, ?, ?)", (event.seq, kind, step, body))
    if isinstance(event, FlagChange):
        _insert_flag(database, event.flag)
    elif isinstance(event, RunInfo):
        hello = event.hello
        database.executemany(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            [("run", hello.run), ("name", hello.name), ("started", hello.started)],
        )


def _insert_outlines(database: sqlite3.Connection, row: OutlineRow) -> None:
    database.execute(
        "INSERT OR IGNORE INTO outline_layouts VALUES (?, ?)",
        (row.layout, msgspec.msgpack.encode(row.subjects)),
    )
    database.execute(
        "INSERT INTO outlines VALUES (?, ?, ?, ?, ?)",
        (row.number, row.step, row.time, row.layout, row.body),
    )


def _insert_courses(
    database: sqlite3.Connection, head: bytes, blocks: list[tuple[str, int, bytes]]
) -> None:
    database.execute("DELETE FROM courses")
    database.executemany("INSERT INTO courses VALUES (?, ?, ?)", blocks)
    database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (COURSES_HEAD, head))


def _insert_flag(database: sqlite3.Connection, flag: Flag) -> None:
    database.execute(
        "INSERT OR REPLACE INTO flags VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            flag.id,
            flag.kind,
            flag.severity,
            flag.model,
            flag.layer,
            flag.onset_step,
            flag.raised_step,
            flag.resolved_step,
            flag.message,
        ),
    )


def _set_aside(path: Path) -> None:
    """Move an older recording of the same run id away: it is never written into or lost."""
    number = 1
    while (kept := path.with_name(f"{path.stem}.{number}{SUFFIX}")).exists():
        number += 1
    path.rename(kept)
    for side in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + side).rename(kept.with_name(kept.name + side))


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return "no permission to write there"
    return str(error)

"""The layout of a recording: one SQLite file a run, readable with any SQLite shell.

Every event of the run lies in exactly one of `layer_tables`, `samples`, `events` and `notes` under
its number `seq`; `scalars` belong to their sample. `flags` repeats the latest word on each flag in
readable columns. Bodies are msgpack in the vocabulary of `deadband.wire`: unlike JSON it keeps NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

from deadband.wire import What

APPLICATION_ID = 0x64626472
"""`dbdr` in the header of the file: tells a recording from any other SQLite file."""
USER_VERSION = 1
"""Raised when an older reader would misread the tables; new tables and columns do not."""
SUFFIX = ".dbr"

SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (
    key TEXT PRIMARY KEY,
    value
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS layer_tables (
    seq INTEGER PRIMARY KEY,
    id INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS samples (
    seq INTEGER PRIMARY KEY,
    step INTEGER NOT NULL,
    time REAL NOT NULL,
    rank INTEGER NOT NULL,
    layer_table INTEGER NOT NULL,
    layers BLOB NOT NULL,
    models BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS samples_by_step ON samples (step);
CREATE TABLE IF NOT EXISTS scalars (
    seq INTEGER NOT NULL,
    name TEXT NOT NULL,
    steps BLOB NOT NULL,
    points BLOB NOT NULL,
    PRIMARY KEY (seq, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS flags (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    model TEXT NOT NULL,
    layer TEXT NOT NULL,
    onset_step INTEGER NOT NULL,
    raised_step INTEGER NOT NULL,
    resolved_step INTEGER,
    message TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    step INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS events_by_kind ON events (kind, seq);
CREATE TABLE IF NOT EXISTS snapshots (
    seq INTEGER PRIMARY KEY,
    format INTEGER NOT NULL,
    state BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS gists (
    seq INTEGER PRIMARY KEY,
    format INTEGER NOT NULL,
    state BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS notes (
    seq INTEGER PRIMARY KEY,
    step INTEGER NOT NULL,
    time REAL NOT NULL,
    text TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS outline_layouts (
    id INTEGER PRIMARY KEY,
    subjects BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS outlines (
    number INTEGER PRIMARY KEY,
    step INTEGER NOT NULL,
    time REAL NOT NULL,
    layout INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS courses (
    metric TEXT NOT NULL,
    first_row INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS courses_by_place ON courses (metric, first_row);
"""
"""`layers` and `models`: float32 rows as in `Sample`; `steps` int64, `points` float32.

`events` holds what is neither a sample nor a layer table: the run's head, changes of flags,
diagnoses, statuses. `snapshots` are packed `RunState`s, so that a long recording opens at any step
without folding all of it; they can be left out or ignored. `gists` are the same without anything of
layers, small and therefore many.

`outlines` holds how the values of tensors were spread, one row a look at all of them: rows are
thinned out as the run goes on, so they are not events and have no number among them. The `body` of
a row is one outline a subject of its layout, in order (see `statistics/outlines.py`).

`courses` holds the history of layers once more, thinned out and by metric, with its head in `meta`
(see `state/courses.py`): in a long recording a picture is cut from it without reading all samples.
It is written now and then, stands at an event, and can be left out or ignored.
"""
COURSES_HEAD = "courses"
"""The key of their head in `meta`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlineRow:
    """Outlines of all tensors at one step."""

    number: int
    step: int
    time: float
    layout: int
    subjects: tuple[tuple[str, str, What], ...]
    """What the layout stands for: model, layer, tensor."""
    body: bytes

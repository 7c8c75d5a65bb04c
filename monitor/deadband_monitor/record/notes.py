"""Writes a note into the recording of a run that is over; of a live one its hub does."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from deadband.wire import Note
from deadband_monitor.errors import BadRecording
from deadband_monitor.record.format import SCHEMA


def add_note(path: Path, text: str, step: int, *, seq: int) -> Note:
    """Append a note behind everything that is there.

    Args:
        path: the recording, of which nobody else is the writer.
        text: what it says.
        step: what step it is about.
        seq: number of the last event.

    Raises:
        BadRecording: it cannot be written.
    """
    note = Note(seq=seq + 1, step=step, time=time.time(), text=text)
    try:
        with closing(sqlite3.connect(path, timeout=1.0)) as database, database:
            database.executescript(SCHEMA)  # one that was made without notes has no table for them
            values = (note.seq, note.step, note.time, note.text)
            database.execute("INSERT INTO notes VALUES (?, ?, ?, ?)", values)
    except sqlite3.Error as error:
        raise BadRecording(f"cannot write into {path}: {error}") from error
    return note

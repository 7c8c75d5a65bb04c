"""What a person has seen of a run, kept by run: flags acknowledged, kinds muted.

It lies in the state folder and not in the recording: it says nothing of the run, and the recording
may be on another host, or not ours to write.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from deadband import wire

MOST_RUNS = 500
"""Of so many runs it is kept; older ones are forgotten."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What is quiet in one run."""

    acknowledged: list[int] = []
    """Ids of flags."""
    muted: list[str] = []
    """Kinds of flags."""


def read_seen(run: str) -> Seen:
    """What was kept of this run; nothing where it cannot be read."""
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(_path(run).read_bytes(), type=Seen)
    return Seen()


def keep_seen(run: str, seen: Seen) -> None:
    """Keep it for the next time; a folder that cannot be written is nobody's trouble."""
    path = _path(run)
    with suppress(OSError):
        if seen == Seen():
            path.unlink(missing_ok=True)
            return
        wire.ensure_private(path.parent)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(msgspec.json.encode(seen))
        fresh.replace(path)
        _forget_the_oldest(path.parent)


def _forget_the_oldest(folder: Path) -> None:
    kept = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
    for path in kept[:-MOST_RUNS]:
        path.unlink(missing_ok=True)


def _path(run: str) -> Path:
    # A recording may have been renamed or made by hand: its run id is no path.
    return wire.home() / "seen" / f"{run.replace('/', '_')}.json"

"""From a word on the command line to the source of that run."""

from __future__ import annotations

from deadband import wire
from deadband_monitor.errors import UnknownRun
from deadband_monitor.hub.registry import RunEntry, resolve
from deadband_monitor.source.base import Source
from deadband_monitor.source.live import LiveSource
from deadband_monitor.source.replay import ReplaySource


def open_source(target: str) -> Source:
    """The run that `target` means: live where a hub serves it, else its recording.

    Raises:
        UnknownRun: no run or several match.
        BadRecording: it is a file, and not a readable recording.
    """
    return open_entry(resolve(target))


def open_past(source: Source) -> ReplaySource:
    """The recording of a run that is live, to look back in.

    Raises:
        UnknownRun: it is not on this machine.
        BadRecording: it cannot be read.
    """
    path = wire.recording_path(source.name)
    if not path.exists():
        raise UnknownRun(f"no way back: the recording of {source.name} is not on this machine")
    return ReplaySource(path)


def open_entry(entry: RunEntry) -> Source:
    """The source of a run of `registry.runs()`."""
    return LiveSource(entry.run) if entry.live else ReplaySource(entry.path)

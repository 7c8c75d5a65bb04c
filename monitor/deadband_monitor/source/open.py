"""From a word on the command line to the source of that run."""

from __future__ import annotations

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
        UnknownRun: there is none.
        BadRecording: it cannot be read.
        LinkLost: the host of the run does not answer.
    """
    if not isinstance(source, LiveSource):
        raise UnknownRun(f"no way back: {source.name} has no recording")
    return ReplaySource(source.channel.recording())


def open_entry(entry: RunEntry) -> Source:
    """The source of a run of `registry.runs()`."""
    return LiveSource(entry.run) if entry.live else ReplaySource(entry.path)

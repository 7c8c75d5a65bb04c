"""From a word on the command line to the source of that run."""

from __future__ import annotations

import time
from collections.abc import Callable

from deadband_monitor.errors import LinkLost, MonitorError, UnknownRun
from deadband_monitor.hub.registry import RunEntry, resolve
from deadband_monitor.source.base import Source
from deadband_monitor.source.live import LiveSource
from deadband_monitor.source.replay import ReplaySource
from deadband_monitor.source.tcp_channel import TcpChannel

ANSWER_S = 5.0
"""How long a hub at an address may take to answer for the first time."""
TURN_S = 0.5


def open_source(target: str) -> Source:
    """The run that `target` means: live where a hub serves it, else its recording.

    Args:
        target: name, id, start of an id, a file, or the address of a hub, `tcp://host:port`.

    Raises:
        UnknownRun: no run or several match.
        BadRecording: it is a file, and not a readable recording.
        LinkLost: the hub at an address does not answer.
    """
    if target.startswith("tcp://"):
        return _open_tcp(target)
    entry = resolve(target)
    return LiveSource(entry.run) if entry.live else ReplaySource(entry.path)


def await_first_word(source: Source) -> float:
    """Wait until a run has said something of itself; the seconds that it took.

    Raises:
        LinkLost: it does not answer; the text says why, where that is known.
        SourceError: its answer cannot be read.
    """
    began = time.monotonic()
    while True:
        if source.state.seq:
            return time.monotonic() - began
        trouble = source.channel.trouble if isinstance(source, LiveSource) else source.trouble
        if trouble or time.monotonic() - began > ANSWER_S:
            raise LinkLost(trouble or f"{source.name} does not answer within {ANSWER_S:.0f} s")
        source.refresh(TURN_S)


def _open_tcp(address: str) -> LiveSource:
    source = LiveSource(address, TcpChannel(address))
    try:
        await_first_word(source)
    except BaseException:
        source.close()
        raise
    if source.state.info is not None:
        source.name = source.state.info.hello.run
    return source


def open_past(source: Source) -> ReplaySource:
    """The recording of a run that is live, to look back in; its first `refresh` takes it there.

    Raises:
        UnknownRun: there is none.
        BadRecording: it cannot be read.
        LinkLost: the host of the run does not answer.
    """
    if not isinstance(source, LiveSource):
        raise UnknownRun(f"no way back: {source.name} has no recording")
    return ReplaySource(source.channel.recording(), settled=False)


def open_entry(entry: RunEntry) -> Source:
    """The source of a run of `registry.runs()`; its first `refresh` takes it somewhere."""
    return LiveSource(entry.run) if entry.live else ReplaySource(entry.path, settled=False)


def open_both(
    entries: tuple[RunEntry, RunEntry], open_run: Callable[[RunEntry], Source]
) -> tuple[Source, Source]:
    """Two runs, or neither."""
    one = open_run(entries[0])
    try:
        return one, open_run(entries[1])
    except (MonitorError, OSError):
        one.close()
        raise

"""Looks into recordings for a viewer elsewhere: what a `RecordingReader` is asked, and the answer.

Where a viewer jumps, the far side folds the events and sends the state: at 300 layers a thousand
events are 50 MB, their state a fraction of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from deadband.wire import AskView, Event, Sample, Sight, What
from deadband_monitor.errors import MonitorError
from deadband_monitor.remote.protocol import AskRecording
from deadband_monitor.source.reel import OwnRecording, Reel
from deadband_monitor.state.run_state import STATE_LAYOUT

CHUNK_BYTES = 512 << 10
"""Events in one answer: a second of a link of 4 Mbit/s, so that other channels get their turn."""
COLUMNS = 256
"""Buckets of the state of a step in the past: as many as the widest screens show."""

_question = msgspec.json.Decoder(AskView).decode
_encode = msgspec.msgpack.Encoder().encode


class Looks:
    """The recordings that one channel has open."""

    def __init__(self) -> None:
        self._reels: dict[str, Reel] = {}

    def look(self, ask: AskRecording) -> bytes:
        """The encoded answer.

        Raises:
            BadRecording: there is none, or it is damaged.
            MonitorError: a question that we do not know: a newer viewer's.
        """
        answer, named = ANSWERS.get(ask.what), NAMED.get(ask.what)
        if answer is None and named is None and ask.what != "sight":
            raise MonitorError(f"this deadband does not know what {ask.what!r} of a recording is")
        reel = self._reels.get(ask.path)
        if reel is None:
            reel = self._reels[ask.path] = Reel(OwnRecording(Path(ask.path)))
        if ask.what == "sight":
            return _encode(_sight(reel, ask.arguments, *ask.words))
        if named is not None:
            return _encode(named(reel.recording, *ask.words))
        assert answer is not None
        return _encode(answer(reel, ask.arguments))

    def close(self) -> None:
        """Let go of the files."""
        for reel in self._reels.values():
            reel.recording.close()


Arguments = list[int | float | None]


def _whole(value: float | None) -> int:
    return int(value or 0)


def _events(reel: Reel, arguments: Arguments) -> list[Event]:
    after, upto = _whole(arguments[0]), arguments[1]
    found: list[Event] = []
    size = 0
    stop = None if upto is None else int(upto)
    for event in reel.recording.events(after, stop):
        found.append(event)
        size += 256
        if isinstance(event, Sample):
            size += len(event.layers) + len(event.models)
        if size >= CHUNK_BYTES:
            break
    return found


def _snapshot(reel: Reel, arguments: Arguments) -> tuple[int, bytes] | None:
    """The state at exactly that event."""
    seq, layout = _whole(arguments[0]), _whole(arguments[1])
    if layout != STATE_LAYOUT:
        return None
    reel.go(seq)
    return seq, reel.state.pack(COLUMNS)


def _sight(reel: Reel, arguments: Arguments, question: str) -> Sight:
    """What a screen shows at that event."""
    recording = reel.recording
    assert isinstance(recording, OwnRecording)
    return recording.sight(_question(question), _whole(arguments[0]), wholly=False)


ANSWERS: dict[str, Callable[[Reel, Arguments], object]] = {
    "hello": lambda reel, _: reel.recording.hello,
    "last_status": lambda reel, _: reel.recording.last_status,
    "last_seq": lambda reel, _: reel.recording.last_seq,
    "served": lambda reel, _: reel.recording.served,
    "span": lambda reel, _: reel.recording.span(),
    "seq_at_step": lambda reel, at: reel.recording.seq_at_step(_whole(at[0])),
    "step_by": lambda reel, at: reel.recording.step_by(_whole(at[0]), _whole(at[1])),
    "step_at": lambda reel, at: reel.recording.step_at(_whole(at[0])),
    "time_at": lambda reel, at: reel.recording.time_at(_whole(at[0])),
    "seq_at_time": lambda reel, at: reel.recording.seq_at_time(float(at[0] or 0.0), _whole(at[1])),
    "snapshot": _snapshot,
    "events": _events,
}
"""Name of the question -> its answer."""

NAMED: dict[str, Callable[..., object]] = {
    "newest_outline": lambda recording: recording.newest_outline,
    "outlined": lambda recording, model, layer: recording.outlined(model, layer),
    "outlines": lambda recording, model, layer, what: recording.outlines(model, layer, What(what)),
}
"""The same for those whose arguments are names, asked of the recording itself."""

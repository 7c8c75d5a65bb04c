"""What goes through the pipe between a viewer and `deadband pipe` on the host of the runs.

The far side greets in one line; after it both sides speak in frames: four bytes of length, one of
kind, and a message in msgpack. Calls carry a number, so any number of them may be under way.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import msgspec

from deadband_monitor.hub.registry import RunEntry

PROTOCOL = 1
"""Raised when either side would misread the other."""
MAGIC = b"#deadband-pipe "
"""Begins the line of the greeting: whatever a login shell has printed before it is skipped."""

PLAIN, PACKED = 0xD0, 0xD1
PACK_FROM = 512
"""Smaller messages gain nothing from being packed."""
LARGEST = 256 << 20
_HEAD = struct.Struct(">IB")


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    """First word of the far side, as JSON behind `MAGIC`."""

    protocol: int
    deadband: str
    """Version of the far side, for people."""
    host: str
    user: str = ""
    """Whose runs are shown; empty from an older far side."""


class Ping(msgspec.Struct, frozen=True, array_like=True, tag="ping"):
    """Are you there? Answered at once with a `Pong`."""


class AskHub(msgspec.Struct, frozen=True, array_like=True, tag="hub"):
    """A question for the hub of a run; the answer is the hub's, untouched."""

    run: str
    question: bytes


class AskRuns(msgspec.Struct, frozen=True, array_like=True, tag="runs"):
    """The runs there: a list of `RunRow`."""


class AskRun(msgspec.Struct, frozen=True, array_like=True, tag="run"):
    """The run that a word means there: a `RunRow`."""

    target: str


class AskRecording(msgspec.Struct, frozen=True, array_like=True, tag="recording"):
    """One look into a recording; `what` is a name of `record.base.RecordingReader` or `Shelf`."""

    path: str
    what: str
    arguments: list[int | float | None] = []
    words: list[str] = []
    """Arguments that are names."""


class HangUp(msgspec.Struct, frozen=True, array_like=True, tag="hang-up"):
    """Nothing more comes through this channel; there is no answer."""


Request = AskHub | AskRuns | AskRun | AskRecording | HangUp


class Call(msgspec.Struct, frozen=True, array_like=True, tag="call"):
    """A request; those of one channel are answered in turn, channels do not wait for each other.

    A question to a hub gives up the one that is still under way in the same channel.
    """

    number: int
    channel: int
    request: Request


class Pong(msgspec.Struct, frozen=True, array_like=True, tag="pong"):
    """Still there."""


class Reply(msgspec.Struct, frozen=True, array_like=True, tag="reply"):
    """The answer to a call."""

    number: int
    body: bytes


class Fault(msgspec.Struct, frozen=True, array_like=True, tag="fault"):
    """Why a call has no answer."""

    number: int
    kind: str
    """`gone`: the hub has ended; `silent`: it does not answer; `unknown-run`, `bad-recording`: as
    the errors of these names; `refused`: anything else."""
    message: str = ""


FromNear = Ping | Call
FromFar = Pong | Reply | Fault


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a host, as it goes through the pipe and as `deadband runs --json` writes it."""

    run: str
    name: str
    path: str
    live: bool
    status: str
    """`running`, `silent`, `finished`, `failed`, `killed`, `lost`, `unreadable`."""
    verdict: str
    """Empty where the recording cannot be read."""
    started: float
    """Seconds since the epoch."""
    last_time: float
    step: int
    samples: int
    problem: str
    host: str = ""
    """Where it runs; empty for this machine."""


def row_of(entry: RunEntry) -> RunRow:
    """A run as it goes through the pipe."""
    return RunRow(
        run=entry.run,
        name=entry.name,
        path=str(entry.path),
        live=entry.live,
        status=entry.status,
        verdict=entry.verdict,
        started=entry.started,
        last_time=entry.last_time,
        step=entry.step,
        samples=entry.samples,
        problem=entry.problem,
        host=entry.host,
    )


class BadFrame(Exception):  # noqa: N818 - a state of the stream
    """What came is no frame: something else writes into the pipe."""


_encode = msgspec.msgpack.Encoder().encode


def frame(message: FromNear | FromFar) -> bytes:
    """A message as it goes through the pipe."""
    body, kind = _encode(message), PLAIN
    if len(body) >= PACK_FROM:
        packed = zlib.compress(body, 1)
        if len(packed) < 0.9 * len(body):
            body, kind = packed, PACKED
    return _HEAD.pack(len(body), kind) + body


class Frames:
    """Bytes as they come in, frames as they are whole."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    @property
    def partial(self) -> bool:
        """Whether a part of a frame has come, and the rest is on its way."""
        return bool(self._bytes)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes; the messages that are whole now.

        Raises:
            BadFrame: the stream is not of frames.
        """
        self._bytes += data
        while len(self._bytes) >= _HEAD.size:
            length, kind = _HEAD.unpack_from(self._bytes)
            if kind not in (PLAIN, PACKED) or length > LARGEST:
                raise BadFrame("something else writes into the pipe")
            end = _HEAD.size + length
            if len(self._bytes) < end:
                return
            body = bytes(self._bytes[_HEAD.size : end])
            del self._bytes[:end]
            if kind == PACKED:
                try:
                    body = zlib.decompress(body)
                except zlib.error as error:
                    raise BadFrame("a frame came damaged through the pipe") from error
            yield body


def greeting_line(greeting: Greeting) -> bytes:
    """The first line of the far side, on a line of its own whatever was printed before it."""
    return b"\n" + MAGIC + msgspec.json.encode(greeting) + b"\n"

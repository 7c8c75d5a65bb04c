"""The far side: `deadband pipe` answers a viewer elsewhere through its own stdin and stdout.

One thread reads and answers pings, so that a slow look into a recording is not taken for a dead
link; every channel has a thread of its own. It only reads, and ends with its stdin.
"""

from __future__ import annotations

import os
import pwd
import select
import socket
import threading
from importlib.metadata import version
from queue import SimpleQueue
from typing import NoReturn

import msgspec

from deadband_monitor.errors import BadRecording, MonitorError, UnknownRun
from deadband_monitor.hub.registry import resolve, runs
from deadband_monitor.remote.looks import Looks
from deadband_monitor.remote.protocol import (
    PROTOCOL,
    AskHub,
    AskRecording,
    AskRun,
    AskRuns,
    BadFrame,
    Call,
    Fault,
    Frames,
    FromFar,
    FromNear,
    Greeting,
    HangUp,
    Ping,
    Pong,
    Reply,
    frame,
    greeting_line,
    row_of,
)
from deadband_monitor.source.channel import Health, LocalChannel

FORSAKEN_S = 600.0
"""A viewer pings every few seconds; one suspended for longer than this connects anew. Without it a
host that went away without a word would leave this process behind for hours."""
TURN_S = 0.25
"""A question that was given up is noticed after this."""
READ_BYTES = 1 << 16

_decode = msgspec.msgpack.Decoder(FromNear).decode
_encode = msgspec.msgpack.Encoder().encode


class Gone(Exception):  # noqa: N818 - a state of the hub
    """The hub has ended."""


class Silent(Exception):  # noqa: N818 - a state of the hub
    """The hub lives and does not answer."""


class Pipe:
    """Both ends of one viewer.

    Args:
        source: descriptor to read calls from.
        sink: descriptor to write answers to.
        only: the one run that may be seen; empty: all of this user.
    """

    def __init__(self, source: int, sink: int, only: str = "") -> None:
        self.only = only
        self._source = source
        self._sink = sink
        self._writing = threading.Lock()
        self._channels: dict[int, Worker] = {}

    def greet(self) -> None:
        """Say that we are here, and what we speak."""
        self._write(
            greeting_line(
                Greeting(
                    protocol=PROTOCOL,
                    deadband=version("deadband"),
                    host=socket.gethostname(),
                    user=_user(),
                )
            )
        )

    def serve(self) -> None:
        """Answer until the viewer has gone."""
        frames = Frames()
        while select.select([self._source], [], [], FORSAKEN_S)[0]:
            data = os.read(self._source, READ_BYTES)
            if not data:
                return
            try:
                for body in frames.feed(data):
                    self._take(_decode(body))
            except (BadFrame, msgspec.MsgspecError) as error:
                raise MonitorError(f"pipe: cannot read what the viewer says ({error})") from error

    def send(self, message: FromFar) -> None:
        """Write one message; a viewer that has gone ends this process."""
        self._write(frame(message))

    def _take(self, message: Ping | Call) -> None:
        if isinstance(message, Ping):
            self.send(Pong())
        elif isinstance(message.request, HangUp):
            worker = self._channels.pop(message.channel, None)
            if worker is not None:
                worker.calls.put(None)
        else:
            worker = self._channels.get(message.channel)
            if worker is None:
                worker = self._channels[message.channel] = Worker(self)
                threading.Thread(target=worker.work, daemon=True).start()
            worker.calls.put(message)

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        with self._writing:
            try:
                while left:
                    left = left[os.write(self._sink, left) :]
            except OSError:
                leave()


class Worker:
    """Answers the calls of one channel."""

    def __init__(self, pipe: Pipe) -> None:
        self.calls: SimpleQueue[Call | None] = SimpleQueue()
        self._pipe = pipe
        self._hubs: dict[str, LocalChannel] = {}
        self._looks = Looks()

    def work(self) -> None:
        """Until the viewer hangs up."""
        while (call := self.calls.get()) is not None:
            answer = self._answer(call)
            if answer is not None:
                self._pipe.send(answer)
        for hub in self._hubs.values():
            hub.close()
        self._looks.close()

    def _answer(self, call: Call) -> Reply | Fault | None:
        try:
            body = self._ask(call)
        except Gone:
            return Fault(call.number, "gone")
        except Silent:
            return Fault(call.number, "silent", "the hub there does not answer")
        except UnknownRun as error:
            return Fault(call.number, "unknown-run", str(error))
        except BadRecording as error:
            return Fault(call.number, "bad-recording", str(error))
        except (MonitorError, OSError) as error:
            return Fault(call.number, "refused", str(error))
        except Exception as error:  # the viewer is to hear of it, and other channels live on
            return Fault(call.number, "refused", f"{type(error).__name__} on the far side: {error}")
        return None if body is None else Reply(call.number, body)

    def _ask(self, call: Call) -> bytes | None:
        request = call.request
        if isinstance(request, AskHub):
            return self._ask_hub(request)
        if isinstance(request, AskRuns):
            return _encode([row_of(entry) for entry in runs() if self._shown(entry.run)])
        if isinstance(request, AskRun):
            entry = resolve(request.target or self._pipe.only)
            self._check(entry.run)
            return _encode(row_of(entry))
        assert isinstance(request, AskRecording)
        self._check(os.path.basename(request.path).rpartition(".")[0])  # noqa: PTH119 - a word
        return self._looks.look(request)

    def _ask_hub(self, ask: AskHub) -> bytes | None:
        """The hub's answer; None where the viewer has asked something else meanwhile."""
        self._check(ask.run)
        hub = self._hubs.get(ask.run)
        if hub is None:
            hub = self._hubs[ask.run] = LocalChannel(ask.run)
        hub.send(ask.question)
        while self.calls.empty():
            answer = hub.receive(TURN_S)
            if answer is not None:
                return answer
            health = hub.health()
            if health is Health.GONE:
                raise Gone
            if health is Health.LOST:
                raise Silent
        return None

    def _shown(self, run: str) -> bool:
        return self._pipe.only in ("", run)

    def _check(self, run: str) -> None:
        if not self._shown(run):
            raise UnknownRun(f"no run matches {run!r}: this pipe shows {self._pipe.only} only")


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # in a container most have no name
        return f"user {os.geteuid()}"


def leave() -> NoReturn:
    """End at once: threads that wait for a hub or a disk have nobody left to tell."""
    os._exit(0)


def serve_standard_streams(only: str = "") -> NoReturn:
    """Be the far side of whoever started us.

    Raises:
        MonitorError: a person has started us, or the stream is not a viewer's.
    """
    if os.isatty(0) or os.isatty(1):
        raise MonitorError(
            "pipe: this is the far side of deadband attach, and speaks to it through a pipe;"
            " where a terminal is asked for (-t, --tty), leave that out"
        )
    # Whatever else this process prints must not come in between.
    sink = os.dup(1)
    os.dup2(2, 1)
    os.set_blocking(0, True)
    pipe = Pipe(0, sink, only)
    pipe.greet()
    pipe.serve()
    leave()

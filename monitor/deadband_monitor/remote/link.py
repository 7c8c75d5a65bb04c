"""The near side: a link to a host that is kept up, and calls through it.

One thread starts the command, skips what a login shell prints, reads, pings, notices a link that
has died without a word, and starts anew: at once, then ever less often. Calls never outlive a
break: their owners ask again, and say by themselves from where on.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec

from deadband_monitor.errors import BadRecording, LinkLost, MonitorError, SourceError, UnknownRun
from deadband_monitor.remote.far import Far, Start
from deadband_monitor.remote.process import Carrier
from deadband_monitor.remote.protocol import (
    MAGIC,
    PROTOCOL,
    BadFrame,
    Call,
    Fault,
    Frames,
    FromFar,
    Greeting,
    HangUp,
    Ping,
    Reply,
    Request,
    frame,
)

PING_S = 1.5
"""After so long a silence we ask whether anybody is there."""
DEAD_S = 5.0
"""After so long a silence nobody is: ssh itself would take minutes to say so."""
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 10.0
GREETING_S = 30.0
"""For a connection that nobody is asked anything about; one that asks has the user's time."""
MOST_NOISE = 1 << 20
"""Of output before the greeting."""
CALL_S = 20.0
"""A look into a long recording on a slow disk comes within this."""
LATE_S = 1.0
"""A turn that comes later than this was ours to blame: we were stopped, not the link."""

_decode = msgspec.msgpack.Decoder(FromFar).decode


class Broken(Exception):  # noqa: N818 - a state of the link
    """The link is down; the text says why."""


class Link:
    """The way to one host. `open` it, call through it from any thread, `close` it.

    Args:
        far: the host.
        tell: called in our thread whenever the link goes up or down.
    """

    def __init__(self, far: Far, tell: Callable[[], None] = lambda: None) -> None:
        self.far = far
        self.breaks = 0
        """How often the link has gone down since it was first up."""
        self.pid = 0
        """The process that carries the stream; 0 where none does."""
        self._tell = tell
        self._lock = threading.Condition()
        self._up = False
        self._reason = ""
        self._retry_at = 0.0
        self._numbers = 0
        self._channels = 0
        self._answers: dict[int, Reply | Fault | None] = {}
        self._outgoing: list[bytes] = []
        self._closed = False
        self._asking = False
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    # --- for those who call ---

    @property
    def up(self) -> bool:
        """Whether calls get through."""
        return self._up

    @property
    def trouble(self) -> str:
        """Why the link is down and when it is tried again; empty while it is up."""
        with self._lock:
            if self._up:
                return ""
            left = self._retry_at - time.monotonic()
            if not self._reason:
                return "connecting"
            return f"{self._reason}; " + (f"retry in {left:.0f}s" if left > 0.5 else "trying now")

    def open(self, *, asking: bool = False) -> None:
        """Connect, and wait until the far side has greeted.

        Args:
            asking: ssh may ask on the terminal, and has the time that the user takes to answer.

        Raises:
            LinkLost: there is no connection; the text says why.
        """
        self.start(asking=asking)
        try:
            with self._lock:
                self._lock.wait_for(lambda: self._up or self._reason or self._closed)
                if self._up:
                    return
                reason = self._reason or "closed"
        except BaseException:
            self.close()  # Ctrl-C while ssh asks
            raise
        self.close()
        raise LinkLost(f"{self.far.name}: {reason}")

    def start(self, *, asking: bool = False) -> None:
        """Connect in the background."""
        self._asking = asking
        self._thread = threading.Thread(
            target=self._run, name=f"deadband-link-{self.far.name}", daemon=True
        )
        self._thread.start()

    def channel(self) -> int:
        """A number for a channel of one's own."""
        with self._lock:
            self._channels += 1
            return self._channels

    def post(self, channel: int, request: Request) -> int | None:
        """Call without waiting; the number to ask the answer by, None while the link is down."""
        with self._lock:
            if not self._up:
                return None
            self._numbers += 1
            number = self._numbers
            if not isinstance(request, HangUp):
                self._answers[number] = None
            self._outgoing.append(frame(Call(number, channel, request)))
        self._wake()
        return number

    def answer(self, number: int, wait_s: float) -> Reply | Fault | None:
        """What came of a call, once; None where nothing has yet."""
        with self._lock:
            self._lock.wait_for(
                lambda: self._answers.get(number, _BROKEN) is not None, max(wait_s, 0.0)
            )
            if self._answers.get(number, _BROKEN) is None:
                return None
            return self._answers.pop(number, None) or _BROKEN

    def forget(self, number: int) -> None:
        """Nobody waits for that answer any more."""
        with self._lock:
            self._answers.pop(number, None)

    def call(self, channel: int, request: Request, patience_s: float = CALL_S) -> bytes:
        """The answer to a request.

        Raises:
            LinkLost: the link is or goes down, or nothing comes in time.
            UnknownRun, BadRecording, SourceError: as the far side says.
        """
        number = self.post(channel, request)
        if number is None:
            raise LinkLost(f"{self.far.name}: {self.trouble or 'the link is down'}")
        answer = self.answer(number, patience_s)
        if answer is None:
            self.forget(number)
            raise LinkLost(f"{self.far.name}: no answer")
        if isinstance(answer, Reply):
            return answer.body
        raise self._error(answer)

    def wait(self, wait_s: float) -> bool:
        """Whether the link is up, after at most `wait_s`."""
        with self._lock:
            return self._lock.wait_for(lambda: self._up or self._closed, max(wait_s, 0.0))

    def retry(self) -> None:
        """Do not wait for the next try."""
        self._retry_at = 0.0
        self._wake()

    def close(self) -> None:
        """Let go; who still waits for an answer gets none."""
        with self._lock:
            if self._closed:
                return
            self._closed, self._up = True, False
            self._lock.notify_all()
        self._wake()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_write = -1

    def _error(self, fault: Fault) -> MonitorError:
        if fault.kind == "unknown-run":
            return UnknownRun(f"{self.far.name}: {fault.message}")
        if fault.kind == "bad-recording":
            return BadRecording(f"{self.far.name}: {fault.message}")
        if fault.kind == "lost":
            return LinkLost(self.trouble or fault.message)
        return SourceError(f"{self.far.name}: {fault.message}")

    # --- the thread ---

    def _run(self) -> None:
        pause, tries = FIRST_RETRY_S, 0
        while not self._closed:
            try:
                self._connect_and_carry(tries)
            except Broken as broken:
                was_up = self._down(str(broken))
                pause = FIRST_RETRY_S if was_up else min(2 * pause, LAST_RETRY_S)
                tries += 1
                with self._lock:
                    self._retry_at = time.monotonic() + pause
                    self._lock.notify_all()
                self._asking = False
                self._tell()
                self._rest()

    def _connect_and_carry(self, tries: int) -> None:
        asking = self._asking
        starts = self.far.starts(asking=asking, again=tries)
        for index, start in enumerate(starts):
            carrier = self._begin(start, asking=asking)
            frames = Frames()
            status: int | None = None
            why: Broken | None = None
            try:
                rest = self._hear_greeting(carrier, asking=asking)
                self._go_up()
                self._carry(carrier, frames, rest)
            except Broken as broken:
                why = broken
            finally:
                status = carrier.end()
                self.pid = 0
            if self._closed:
                return
            said = carrier.said.decode(errors="replace")
            lacking = not self._up and self.far.lacks_deadband(status, said)
            if lacking and index + 1 < len(starts):
                continue
            raise Broken(str(why) or self.far.explain(status, said, asking=asking))

    def _begin(self, start: Start, *, asking: bool) -> Carrier:
        try:
            carrier = Carrier(start, asking=asking)
        except OSError as error:
            command = start.argv[0]
            mend = ": install OpenSSH's client here" if command == "ssh" else ""
            raise Broken(f"cannot run {command} ({error.strerror}){mend}") from error
        self.pid = carrier.pid
        return carrier

    def _hear_greeting(self, carrier: Carrier, *, asking: bool) -> bytes:
        """Skip all up to the greeting; what came behind it."""
        heard = b""
        give_up_at = time.monotonic() + GREETING_S
        while not self._closed:
            data = carrier.turn(PING_S, self._wake_read)
            self._drain_wake()
            if data is None:
                raise Broken
            heard += data
            place = heard.find(MAGIC)
            end = heard.find(b"\n", place) if place >= 0 else -1
            if end >= 0:
                self._check(heard[place + len(MAGIC) : end])
                return heard[end + 1 :]
            if place < 0 and len(heard) > MOST_NOISE:
                raise Broken("something there writes without end, and is not deadband")
            if not asking and time.monotonic() > give_up_at:
                raise Broken(f"no greeting within {GREETING_S:.0f} s")
        raise Broken("closed")

    def _check(self, line: bytes) -> None:
        try:
            greeting = msgspec.json.decode(line, type=Greeting)
        except msgspec.MsgspecError as error:
            raise Broken(f"the deadband there greets in words of its own ({error})") from error
        if greeting.protocol != PROTOCOL:
            side = "here" if greeting.protocol > PROTOCOL else "there"
            raise Broken(
                f"deadband {greeting.deadband} there speaks version {greeting.protocol} of the"
                f" pipe, this one {PROTOCOL}: upgrade deadband {side}"
            )

    def _go_up(self) -> None:
        with self._lock:
            self._up, self._reason = True, ""
            self._outgoing.clear()
            self._lock.notify_all()
        self._tell()

    def _carry(self, carrier: Carrier, frames: Frames, first: bytes) -> None:
        heard_at = pinged_at = time.monotonic()
        data: bytes | None = first
        while not self._closed:
            if data is None:
                raise Broken
            try:
                for body in frames.feed(data):
                    self._take(body)
            except (BadFrame, msgspec.MsgspecError) as error:
                raise Broken(str(error)) from error
            with self._lock:
                for outgoing in self._outgoing:
                    carrier.write(outgoing)
                self._outgoing.clear()
            began = time.monotonic()
            data = carrier.turn(PING_S, self._wake_read)
            self._drain_wake()
            now = time.monotonic()
            if data or now - began > PING_S + LATE_S:
                heard_at = now
            elif now - heard_at > DEAD_S:
                raise Broken("no answer")
            if now - max(heard_at, pinged_at) >= PING_S:
                carrier.write(frame(Ping()))
                pinged_at = now

    def _take(self, body: bytes) -> None:
        message = _decode(body)
        if isinstance(message, Reply | Fault):
            with self._lock:
                if message.number in self._answers:
                    self._answers[message.number] = message
                    self._lock.notify_all()

    def _down(self, reason: str) -> bool:
        """Everybody who waits hears of it; whether the link was up."""
        with self._lock:
            was_up, self._up = self._up, False
            self.breaks += was_up
            self._reason = reason
            self._answers.clear()
            self._lock.notify_all()
        return was_up

    def _rest(self) -> None:
        while not self._closed and (left := self._retry_at - time.monotonic()) > 0:
            select.select([self._wake_read], [], [], left)
            self._drain_wake()

    def _wake(self) -> None:
        with self._lock:
            if self._wake_write >= 0:
                with suppress(BlockingIOError):  # full: it will wake anyway
                    os.write(self._wake_write, b".")

    def _drain_wake(self) -> None:
        if select.select([self._wake_read], [], [], 0)[0]:
            os.read(self._wake_read, 4096)


_BROKEN = Fault(0, "lost", "the link went down")
"""The answer to every call that was under way."""

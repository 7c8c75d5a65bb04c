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
from collections.abc import Sequence
from contextlib import suppress

from deadband_monitor.errors import BadRecording, LinkLost, MonitorError, SourceError, UnknownRun
from deadband_monitor.remote.far import WOULD_ASK, Far
from deadband_monitor.remote.protocol import Call, Fault, HangUp, Pong, Reply, Request, frame
from deadband_monitor.remote.stream import Attempt, Broken, Closed, Patience, Stream

BUSY_S = 1.0
CALL_S = 20.0
"""A look into a long recording on a slow disk comes within this."""
HELD_TURN_S = 0.05
"""While a new connection is made, the silent one is listened to as often."""


class Link:
    """The way to one host. `open` it, call through it from any thread, `close` it.

    Args:
        far: the host.
        patience: how long is waited for what.
    """

    def __init__(self, far: Far, patience: Patience = Patience()) -> None:  # noqa: B008 - frozen
        self.far = far
        self._patience = patience
        self.breaks = 0
        """How often the link has gone down since it was first up."""
        self.pid = 0
        """The process that carries the stream; 0 where none does."""
        self.user = ""
        """Whose runs the far side shows; empty where that is not known."""
        self._lock = threading.Condition()
        self._up = False
        self._reason = ""
        self._retry_at = 0.0
        self._pause = self._patience.first_retry_s
        self._numbers = 0
        self._channels = 0
        self._answers: dict[int, Reply | Fault | None] = {}
        self._outgoing: list[bytes] = []
        self._stream: Stream | None = None
        """What calls get through on; None while the link is down."""
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
        while (answer := self.answer(number, patience_s)) is None:
            stream = self._stream
            if stream is None or not stream.busy:
                self.forget(number)
                raise LinkLost(f"{self.far.name}: no answer")
            patience_s = BUSY_S  # a long answer on a narrow link: it is coming
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
        self.begin_close()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            if self._wake_write >= 0:
                os.close(self._wake_read)
                os.close(self._wake_write)
                self._wake_write = -1

    def begin_close(self) -> None:
        """Let go without waiting until the command has ended; `close` does."""
        with self._lock:
            self._closed, self._up = True, False
            self._answers.clear()
            self._lock.notify_all()
        self._wake()

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
        try:
            self._keep_up()
        finally:
            with self._lock:  # whatever ended us: nobody is to wait for ever
                self._up, self._reason = False, self._reason or "the link has ended"
                self._answers.clear()
                self._lock.notify_all()

    def _keep_up(self) -> None:
        stream: Stream | None = None
        held: Stream | None = None
        attempt: Attempt | None = None
        tries = 0
        while not self._over():
            if stream is not None:
                held, stream, tries = self._carry(stream), None, tries + 1
            elif attempt is None and time.monotonic() >= self._retry_at:
                try:
                    attempt = Attempt(self.far, self._patience, asking=self._asking, again=tries)
                except Broken as broken:
                    self._failed(str(broken))
            elif attempt is not None:
                try:
                    stream = attempt.turn(
                        HELD_TURN_S if held else self._patience.ping_s, self._wake_read
                    )
                except Broken as broken:
                    attempt.end()
                    attempt, tries = None, tries + 1
                    self._failed(str(broken))
            else:
                wait_s = max(self._retry_at - time.monotonic(), 0.0)
                select.select([self._wake_read], [], [], min(wait_s, HELD_TURN_S if held else 60.0))
            self._drain_wake()
            if self._over():
                break
            if held is not None and (stream is not None or self._has_ended(held)):
                held.end(self.far)
                held = None
            elif held is not None and not held.dead:
                stream, held = held, None  # it was not dead, only slow: better than any new one
                if attempt is not None:
                    attempt.end()
            if stream is not None:
                attempt = None
                self._go_up(stream)
        for left in (stream, held):
            if left is not None:
                left.end(self.far)
        if attempt is not None:
            attempt.end()

    def _over(self) -> bool:
        return self._closed

    def _carry(self, stream: Stream) -> Stream | None:
        """Until the link is down; one that is only silent is given back.

        It may speak again, and a user who had to type a password for it would have to once more.
        """
        wait_s = 0.0
        try:
            while not self._closed:
                with self._lock:
                    for outgoing in self._outgoing:
                        stream.write(outgoing)
                    self._outgoing.clear()
                self._take(stream.turn(wait_s, self._wake_read))
                self._drain_wake()
                if stream.dead:
                    break
                wait_s = self._patience.ping_s
        except Closed:
            self._down(stream.end(self.far), self._patience.first_retry_s)
            return None
        except Broken as broken:
            stream.end(self.far)
            self._down(str(broken), self._patience.first_retry_s)
            return None
        self._down("no answer", 0.0)
        return stream

    def _has_ended(self, held: Stream) -> bool:
        """Listen to a stream that was silent."""
        try:
            held.turn(0.0, self._wake_read)
        except Broken:
            return True
        return False

    def _go_up(self, stream: Stream) -> None:
        self._asking = False
        with self._lock:
            self._up, self._reason = not self._closed, ""
            self._pause = self._patience.first_retry_s
            self._outgoing.clear()
            self.pid, self._stream = stream.pid, stream
            self.user = stream.greeting.user
            self._lock.notify_all()

    def _failed(self, reason: str) -> None:
        """An attempt came to nothing: later ones come ever less often."""
        self._asking = False
        pause = self._patience.asking_retry_s if reason.startswith(WOULD_ASK) else self._pause
        self._pause = min(2 * self._pause, self._patience.last_retry_s)
        self._down(reason, pause)

    def _down(self, reason: str, pause_s: float) -> None:
        """Everybody who waits hears of it."""
        with self._lock:
            self.breaks += self._up
            self._up, self.pid, self._stream = False, 0, None
            self._reason = reason
            self._answers.clear()
            self._retry_at = time.monotonic() + pause_s
            self._lock.notify_all()

    def _take(self, messages: Sequence[Pong | Reply | Fault]) -> None:
        with self._lock:
            for message in messages:
                if not isinstance(message, Pong) and message.number in self._answers:
                    self._answers[message.number] = message
                    self._lock.notify_all()

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

"""A connection as it is made and used: the greeting behind a shell's noise, then frames."""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec

from deadband_monitor.remote.far import Far
from deadband_monitor.remote.process import Carrier
from deadband_monitor.remote.protocol import (
    MAGIC,
    PROTOCOL,
    BadFrame,
    Fault,
    Frames,
    FromFar,
    FromNear,
    Greeting,
    Ping,
    Pong,
    Reply,
    frame,
)

MOST_NOISE = 1 << 20
"""Of output before the greeting."""
LATE_S = 1.0
"""A turn that comes later than this was ours to blame: we were stopped, not the link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited for what, in seconds."""

    ping_s: float = 1.5
    """After so long a silence we ask whether anybody is there."""
    dead_s: float = 5.0
    """After so long a silence nobody is: ssh itself would take minutes to say so."""
    greeting_s: float = 30.0
    """For a connection that nobody is asked anything about; one that asks has the user's time."""
    first_retry_s: float = 0.5
    last_retry_s: float = 10.0
    asking_retry_s: float = 60.0
    """Where ssh would have to ask: hosts shut out those who are refused too often."""


_decode = msgspec.msgpack.Decoder(FromFar).decode


class Broken(Exception):  # noqa: N818 - a state of the link
    """There is no connection, or no longer; the text says why."""


class Closed(Broken):
    """The command has ended; why, it says itself."""


class Attempt:
    """A connection that is being made.

    Args:
        far: to where.
        patience: how long is waited.
        asking: ssh may ask on the terminal.
        again: how often it has been tried anew.

    Raises:
        Broken: the command cannot be run; from `turn`: it has failed.
    """

    def __init__(self, far: Far, patience: Patience, *, asking: bool, again: int) -> None:
        self._far = far
        self._patience = patience
        self._asking = asking
        self._starts = far.starts(asking=asking, again=again)
        self._carrier = self._begin()

    def turn(self, wait_s: float, wake: int) -> Stream | None:
        """The stream, once the far side has greeted."""
        data = self._carrier.turn(wait_s, wake)
        if data is None:
            status = self._carrier.end()
            said = self._carrier.said.decode(errors="replace")
            if not (self._starts and self._far.lacks_deadband(status, said)):
                raise Broken(self._far.explain(status, said, asking=self._asking))
            self._carrier = self._begin()
            return None
        self._heard += data
        place = self._heard.find(MAGIC)
        end = self._heard.find(b"\n", place) if place >= 0 else -1
        if end >= 0:
            greeting = _checked(self._heard[place + len(MAGIC) : end])
            return Stream(self._carrier, self._patience, greeting, self._heard[end + 1 :])
        if place < 0 and len(self._heard) > MOST_NOISE:
            raise Broken("something there writes without end, and is not deadband")
        if not self._asking and time.monotonic() > self._give_up_at:
            raise Broken(f"no greeting within {self._patience.greeting_s:.0f} s")
        return None

    def end(self) -> None:
        """Give it up."""
        self._carrier.end(at_once=True)

    def _begin(self) -> Carrier:
        start = self._starts.pop(0)
        self._heard = b""
        self._give_up_at = time.monotonic() + self._patience.greeting_s
        try:
            return Carrier(start, asking=self._asking)
        except OSError as error:
            command = start.argv[0]
            mend = ": install OpenSSH's client here" if command == "ssh" else ""
            raise Broken(f"cannot run {command} ({error.strerror}){mend}") from error


class Stream:
    """A connection that has greeted.

    Args:
        carrier: its command.
        patience: how long is waited.
        greeting: of the far side.
        first: what has come behind the greeting.
    """

    def __init__(
        self, carrier: Carrier, patience: Patience, greeting: Greeting, first: bytes
    ) -> None:
        self.greeting = greeting
        self._carrier = carrier
        self._patience = patience
        self._first = first
        self._frames = Frames()
        self._heard_at = self._pinged_at = time.monotonic()

    @property
    def pid(self) -> int:
        """The process that carries it."""
        return self._carrier.pid

    @property
    def dead(self) -> bool:
        """Whether it has been silent for too long, though asked."""
        return time.monotonic() - self._heard_at > self._patience.dead_s

    @property
    def busy(self) -> bool:
        """Whether a long answer is coming in."""
        return self._frames.partial

    def write(self, data: bytes) -> None:
        """Have a frame written at the next turn."""
        self._carrier.write(data)

    def turn(self, wait_s: float, wake: int) -> list[Pong | Reply | Fault]:
        """What has come, waiting at most `wait_s`; asks whether anybody is there when it is time.

        Raises:
            Broken: the connection has ended, or carries something else.
        """
        began = time.monotonic()
        data = self._first or self._carrier.turn(wait_s, wake)
        self._first = b""
        now = time.monotonic()
        if data is None:
            raise Closed("the connection was closed")
        if data or now - began > wait_s + LATE_S:
            self._heard_at = now
        elif now - max(self._heard_at, self._pinged_at) >= self._patience.ping_s:
            self._carrier.write(frame(_PING))
            self._pinged_at = now
        try:
            return [_decode(body) for body in self._frames.feed(data)]
        except (BadFrame, msgspec.MsgspecError) as error:
            raise Broken(str(error)) from error

    def end(self, far: Far) -> str:
        """End it; why it had ended, where it had by itself."""
        status = self._carrier.end()
        return far.explain(status, self._carrier.said.decode(errors="replace"), asking=False)


_PING: FromNear = Ping()


def _checked(line: bytes) -> Greeting:
    try:
        greeting = msgspec.json.decode(line, type=Greeting)
    except msgspec.MsgspecError as error:
        raise Broken(f"the deadband there greets in words of its own ({error})") from error
    if greeting.protocol != PROTOCOL:
        side = "here" if greeting.protocol > PROTOCOL else "there"
        raise Broken(
            f"deadband {greeting.deadband} there speaks version {greeting.protocol} of the pipe,"
            f" this one {PROTOCOL}: upgrade deadband {side}"
        )
    return greeting

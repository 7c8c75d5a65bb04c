"""The way from a viewer to one run: questions in bytes to its hub, and its recording afterwards.

A channel knows nothing of what is asked and answered, so a run on this host and one behind a pipe
are read by the same source.
"""

from __future__ import annotations

import time
from contextlib import suppress
from enum import Enum
from typing import Protocol

import zmq

from deadband import wire
from deadband_monitor.hub.registry import live_hub
from deadband_monitor.record.base import RecordingReader
from deadband_monitor.source.reel import OwnRecording

LOST_AFTER_S = 5.0
"""A hub answers within 2 s even when nothing happens; this allows for one slow answer."""
RETRY_S = 1.0


class Health(Enum):
    """What a channel knows of the other end while no answer comes."""

    WAITING = "waiting"
    """The answer may still come."""
    LOST = "lost"
    """It will not: ask again. Either the way or the hub does not answer."""
    GONE = "gone"
    """The hub has ended; what it wrote is in the recording."""


class Channel(Protocol):
    """One question at a time, one answer to it, both opaque.

    After a break the same question may reach the hub twice, from a peer that it does not know: a
    question must say by itself all that its answer depends on.
    """

    @property
    def where(self) -> str:
        """The host, and how it is reached, as the screen says it; empty for this one."""

    @property
    def trouble(self) -> str:
        """Why no answer comes, and when it is tried again; empty where that is not known."""

    def send(self, question: bytes) -> None:
        """Ask; a question under way is forgotten, and no answer to it will be received."""

    def receive(self, wait_s: float) -> bytes | None:
        """The answer, waiting at most `wait_s` for it; None where it has not come."""

    def health(self) -> Health:
        """What to make of an answer that does not come; after `LOST` nothing is under way."""

    def retry(self) -> None:
        """Do not wait for the next try, where the way is down; from any thread."""

    def recording(self) -> RecordingReader:
        """The recording of the run; the caller closes it.

        Raises:
            BadRecording: there is none, or it cannot be read.
            LinkLost: the host does not answer.
        """

    def close(self) -> None:
        """Let go of the way to the hub; recordings can be had all the same."""


class SocketChannel:
    """What channels to a hub's own socket have in common; each says how it is connected."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._asked_at = self._heard_at = time.monotonic()
        self._under_way = False
        self._closed = False

    def send(self, question: bytes) -> None:
        """Ask the hub."""
        if self._under_way:
            self._drop_socket()  # an answer to the old question can no longer come in between
        if self._socket is None:
            self._socket = self._context.socket(zmq.DEALER)
            self._connect(self._socket)
        self._under_way, self._asked_at = True, time.monotonic()
        with suppress(zmq.Again):
            self._socket.send(question, zmq.NOBLOCK)

    def receive(self, wait_s: float) -> bytes | None:
        """The hub's answer."""
        if self._socket is None:
            time.sleep(min(max(wait_s, 0.0), RETRY_S))
            return None
        # In short turns, so that the end of the hub is noticed while a long wait goes on.
        if not self._socket.poll(int(min(wait_s, RETRY_S) * 1000)):
            return None
        answer = self._socket.recv()
        self._under_way, self._heard_at = False, time.monotonic()
        return answer

    def close(self) -> None:
        """Let go of the socket."""
        if not self._closed:
            self._closed = True
            self._drop_socket()
            self._context.term()

    def retry(self) -> None:
        """A socket tries all the time."""

    @property
    def _silent_s(self) -> float:
        """Since the hub last spoke, or was last asked."""
        return time.monotonic() - max(self._heard_at, self._asked_at)

    def _connect(self, socket: zmq.Socket[bytes]) -> None:
        raise NotImplementedError

    def _drop_socket(self) -> None:
        self._under_way = False
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None


class LocalChannel(SocketChannel):
    """To a run on this host: the Unix socket of its hub, and the recording in our folder."""

    where = ""
    trouble = ""

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run

    def health(self) -> Health:
        """Whether the hub still lives, once it has been silent for a while."""
        silent_s = self._silent_s
        if silent_s < RETRY_S:
            return Health.WAITING
        if live_hub(self._run) is None:
            return Health.GONE
        if silent_s > LOST_AFTER_S:
            self._drop_socket()
            return Health.LOST
        return Health.WAITING

    def recording(self) -> OwnRecording:
        """The recording that the hub writes."""
        return OwnRecording(wire.recording_path(self._run))

    def _connect(self, socket: zmq.Socket[bytes]) -> None:
        socket.linger, socket.reconnect_ivl = 0, 100
        socket.connect(wire.viewer_address(self._run))

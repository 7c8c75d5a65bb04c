"""A socket of the hub that many peers talk to; answers go back by identity and never block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import zmq

from deadband.wire import ToClient, ToViewer

MOST_AT_ONCE = 4096
"""Messages that are taken in one turn: a flood must not keep the hub from its work."""
MOST_QUEUED = 16
"""Messages of one peer that may wait to be taken; then its own queue grows, and it drops frames."""
MOST_QUEUED_OF_ALL, FEWEST_QUEUED = 2048, 8
"""What all peers together may have waiting, and each of them whatever that comes to: a thousand
ranks that are 8 frames of 64 KiB behind take half a gigabyte. With room for 2 a tenth to a fifth of
their frames found none, though the hub was idle two thirds of the time."""

_encode = msgspec.msgpack.Encoder().encode


class Port:
    """One bound ROUTER socket.

    Args:
        context: of the socket.
        address: where it is bound.
        secret: the secret key of a CURVE server, in hexadecimal digits; empty where none is needed.

    Raises:
        zmq.ZMQError: at construction, it cannot be bound.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: str, secret: str = ""
    ) -> None:
        self.address = address
        self.socket = context.socket(zmq.ROUTER)
        if secret:
            self.socket.curve_server = True
            self.socket.curve_secretkey = bytes.fromhex(secret)
        self.socket.ipv6 = "[" in address
        self.socket.rcvhwm = MOST_QUEUED
        self.socket.bind(address)

    def share(self, peers: int) -> None:
        """There are so many now, who have less room each."""
        room = max(FEWEST_QUEUED, min(MOST_QUEUED, MOST_QUEUED_OF_ALL // max(1, peers)))
        if room != self.socket.rcvhwm:
            self.socket.rcvhwm = room

    def received(self) -> Iterator[tuple[bytes, bytes]]:
        """Identity and body of every message that has come."""
        for _ in range(MOST_AT_ONCE):
            try:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield parts[0], parts[-1]

    def send(self, identity: bytes, message: ToClient | ToViewer) -> None:
        """Send, or drop where the peer is gone or has no room."""
        with suppress(zmq.ZMQError):
            self.socket.send_multipart([identity, _encode(message)], zmq.NOBLOCK)

    def close(self) -> None:
        """Let the last words out and the address go."""
        self.socket.close(linger=200)
        if not self.address.startswith("ipc://"):
            return
        with suppress(OSError):
            Path(self.address.removeprefix("ipc://")).unlink()

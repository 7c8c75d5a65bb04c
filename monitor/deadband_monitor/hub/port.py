"""A socket of the hub that many peers talk to; answers go back by identity and never block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import zmq

from deadband.wire import ToClient, ToViewer

_encode = msgspec.msgpack.Encoder().encode


class Port:
    """One bound ROUTER socket.

    Raises:
        zmq.ZMQError: at construction, it cannot be bound.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        self.address = address
        self.socket = context.socket(zmq.ROUTER)
        self.socket.bind(address)

    def received(self) -> Iterator[tuple[bytes, bytes]]:
        """Identity and body of every message that has come."""
        while True:
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
        with suppress(OSError):
            Path(self.address.removeprefix("ipc://")).unlink()

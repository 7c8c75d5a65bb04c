"""Where frames come in: the Unix socket always, and from other nodes where that is wanted.

Other nodes come through forwarders, by TCP and CURVE: one pair of keys is let in, made for the run.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import zmq

from deadband import wire
from deadband.wire import ToClient, ToViewer
from deadband_monitor import keys
from deadband_monitor.errors import MonitorError
from deadband_monitor.hub.guard import Guard
from deadband_monitor.hub.port import MOST_AT_ONCE, MOST_QUEUED, Port

LOCAL, FAR = b"l", b"f"
_encode = msgspec.msgpack.Encoder().encode
_log = logging.getLogger(__name__)


class Intake:
    """The Unix socket and the gate as if they were one.

    Args:
        context: of the Unix socket.
        run: run id.
        gate: address of this machine where other nodes come in; empty: they do not. Where it cannot
            be opened, that is logged: the run is recorded all the same.

    Raises:
        zmq.ZMQError: the Unix socket cannot be bound.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], run: str, gate: str = "") -> None:
        self._port = Port(context, wire.intake_address(run))
        self._gate: Gate | None = None
        if gate:
            try:
                self._gate = Gate(run, gate)
            except (zmq.ZMQError, OSError, MonitorError) as error:
                _log.error("other nodes cannot come to %s: %s", gate, error)

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """What to poll."""
        return [self._port.socket, *([self._gate.socket] if self._gate else [])]

    def received(self) -> Iterator[tuple[bytes, bytes]]:
        """Identity and body of every message that has come."""
        for identity, body in self._port.received():
            yield LOCAL + identity, body
        if self._gate is not None:
            for identity, body in self._gate.received():
                yield FAR + identity, body

    def share(self, peers: int) -> None:
        """So many processes are here now."""
        self._port.share(peers)

    def send(self, identity: bytes, message: ToClient | ToViewer) -> None:
        """Send, or drop where the peer is gone or has no room."""
        if identity[:1] == LOCAL:
            self._port.send(identity[1:], message)
        elif self._gate is not None:
            self._gate.send(identity[1:], message)

    def close(self) -> None:
        """Let the last words out and the addresses go."""
        self._port.close()
        if self._gate is not None:
            self._gate.close()


class Gate:
    """A ROUTER socket that forwarders come to; an identity is the way to a client through them.

    Raises:
        zmq.ZMQError: at construction, it cannot be bound.
        OSError: its keys cannot be written.
        MonitorError: there are no keys to be had.
    """

    def __init__(self, run: str, address: str) -> None:
        ours, theirs = keys.fresh(), keys.fresh()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._guard = Guard(self._context, lambda key: key == theirs.public)
        self.socket = self._context.socket(zmq.ROUTER)
        self.socket.curve_server = True
        self.socket.curve_secretkey = bytes.fromhex(ours.secret)
        self.socket.rcvhwm = 8 * MOST_QUEUED  # all ranks of a node come by one connection
        self._path = wire.gate_path(run)
        try:
            self.socket.bind(f"tcp://{address}:*")
            gate = wire.Gate(
                endpoint=str(self.socket.get_string(zmq.LAST_ENDPOINT)).rstrip("\0"),
                server=ours.public,
                public=theirs.public,
                secret=theirs.secret,
            )
            self._path.unlink(missing_ok=True)
            with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(msgspec.json.encode(gate))
        except (zmq.ZMQError, OSError):
            self.close()
            raise
        _log.info("other nodes may come to %s", gate.endpoint)

    def received(self) -> Iterator[tuple[bytes, bytes]]:
        """Identity and body of every message that has come."""
        for _ in range(MOST_AT_ONCE):
            try:
                *route, body = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            yield b"".join(bytes([len(part)]) + part for part in route), body

    def send(self, identity: bytes, message: ToClient | ToViewer) -> None:
        """Send, or drop where the peer is gone or has no room."""
        route = []
        while identity:
            size = 1 + identity[0]
            route.append(identity[1:size])
            identity = identity[size:]
        with suppress(zmq.ZMQError):
            self.socket.send_multipart([*route, _encode(message)], zmq.NOBLOCK)

    def close(self) -> None:
        """Let the last words out; nobody comes in any more."""
        self.socket.close(linger=200)
        self._guard.close()
        self._context.term()
        self._path.unlink(missing_ok=True)

"""What stands for the hub on another node: passes messages on to rank 0's hub, both ways, unread.

It lives as long as a training process of this node that has said hello, or whoever started it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import msgspec
import zmq
from zmq.utils import z85

from deadband import wire
from deadband.wire import Gate, Hello, ToHub
from deadband_monitor.hub.clients import Life, on_this_host

POLL_MS = 200
LINGER_S = 1.0
"""Last words of a process that has ended may still be under way."""
QUEUED = 256
"""Messages either way: beyond, the clients' own queues grow, and they drop frames."""
_decode = msgspec.msgpack.Decoder(ToHub).decode


class Forwarder:
    """A ZeroMQ proxy from this node's Unix socket to the gate of the hub.

    Raises:
        zmq.ZMQError: at construction, the Unix socket cannot be bound.
        OSError: nothing says where the gate is.
        msgspec.MsgspecError: what says so cannot be read.
    """

    def __init__(self, run: str, *, started_by: int) -> None:
        self._gate = wire.gate_path(run)
        to = msgspec.json.decode(self._gate.read_bytes(), type=Gate)
        self._address = wire.intake_address(run)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._near = self._context.socket(zmq.ROUTER)
        self._near.rcvhwm = self._near.sndhwm = QUEUED
        self._near.bind(self._address)
        self._far = self._context.socket(zmq.DEALER)
        self._far.rcvhwm = self._far.sndhwm = QUEUED
        self._far.curve_serverkey = z85.encode(bytes.fromhex(to.server))
        self._far.curve_publickey = z85.encode(bytes.fromhex(to.public))
        self._far.curve_secretkey = z85.encode(bytes.fromhex(to.secret))
        self._far.connect(to.endpoint)
        self._lives = {started_by: Life(started_by)} if started_by > 1 else {}
        self._told_to_end = False

    def stop_soon(self) -> None:
        """End at the next turn."""
        self._told_to_end = True

    def serve(self) -> None:
        """Pass on until nobody is left here."""
        poller = zmq.Poller()
        poller.register(self._near, zmq.POLLIN)
        poller.register(self._far, zmq.POLLIN)
        alone_since: float | None = None
        while not self._told_to_end:
            with suppress(InterruptedError):
                poller.poll(POLL_MS)
            self._pass(self._near, self._far, ours=True)
            self._pass(self._far, self._near, ours=False)
            if any(not life.is_over() for life in self._lives.values()):
                alone_since = None
                continue
            alone_since = alone_since or time.monotonic()
            if time.monotonic() - alone_since > LINGER_S:
                return

    def close(self) -> None:
        """Let the last words out."""
        for life in self._lives.values():
            life.close()
        self._near.close(linger=200)
        self._far.close(linger=1000)
        self._context.term()
        for path in (self._gate, Path(self._address.removeprefix("ipc://"))):
            path.unlink(missing_ok=True)

    def _pass(self, source: zmq.Socket[bytes], target: zmq.Socket[bytes], *, ours: bool) -> None:
        for _ in range(QUEUED):
            try:
                parts = source.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if ours and len(parts[-1]) < 65536 and b"hello" in parts[-1][:16]:
                self._note(parts[-1])
            with suppress(zmq.ZMQError):
                target.send_multipart(parts, zmq.NOBLOCK)

    def _note(self, body: bytes) -> None:
        with suppress(msgspec.MsgspecError):
            hello = _decode(body)
            if isinstance(hello, Hello) and on_this_host(hello) and hello.pid not in self._lives:
                self._lives[hello.pid] = Life(hello.pid)

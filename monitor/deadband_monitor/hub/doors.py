"""Where viewers come in: the Unix socket always, and a TCP address where the user wants one.

Beyond this machine only viewers with a key that was allowed come in (CURVE, see `keys`); what they
say and are told is encrypted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import zmq

from deadband.wire import ToClient, ToViewer
from deadband_monitor import keys, tcp
from deadband_monitor.errors import MonitorError
from deadband_monitor.hub.guard import Guard
from deadband_monitor.hub.port import Port

_log = logging.getLogger(__name__)


class Doors:
    """Several ports as if they were one.

    Args:
        context: of the sockets.
        address: the Unix socket, which must open.
        listen: a TCP address, or empty. Where it cannot be opened, that is logged: the run is
            served all the same.

    Raises:
        zmq.ZMQError: the Unix socket cannot be bound.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], address: str, listen: str = ""
    ) -> None:
        self._ports = [Port(context, address)]
        self._guard: Guard | None = None
        self.listening = ""
        """The TCP address that is open."""
        if listen:
            try:
                self._open(context, listen)
            except (zmq.ZMQError, MonitorError) as error:
                _log.warning("cannot listen at %s: %s", listen, error)

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """What to poll."""
        return [port.socket for port in self._ports]

    def received(self) -> Iterator[tuple[bytes, bytes]]:
        """Who has asked, and what."""
        for number, port in enumerate(self._ports):
            for identity, body in port.received():
                yield bytes([number]) + identity, body

    def send(self, identity: bytes, message: ToClient | ToViewer) -> None:
        """Answer, or drop where the peer is gone or has no room."""
        self._ports[identity[0]].send(identity[1:], message)

    def close(self) -> None:
        """Let the last words out and the addresses go."""
        for port in self._ports:
            port.close()
        if self._guard is not None:
            self._guard.close()

    def _open(self, context: zmq.Context[zmq.Socket[bytes]], listen: str) -> None:
        secret = ""
        if not tcp.is_loopback(listen):
            secret = keys.own(keys.HUB).secret
            self._guard = Guard(context, lambda key: key in keys.allowed())
        self._ports.append(Port(context, listen, secret=secret))
        self.listening = listen
        _log.info("viewers may come to %s", listen)

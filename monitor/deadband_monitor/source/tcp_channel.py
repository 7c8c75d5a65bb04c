"""The way to a hub that listens at a TCP address: its questions and answers, with CURVE keys."""

from __future__ import annotations

import zmq
from zmq.utils.monitor import recv_monitor_message

from deadband_monitor import keys, tcp
from deadband_monitor.errors import LinkLost
from deadband_monitor.record.base import RecordingReader
from deadband_monitor.source.channel import LOST_AFTER_S, Health, SocketChannel


class TcpChannel(SocketChannel):
    """To the hub at `tcp://host:port`; see `Channel`.

    Args:
        address: of the hub.

    Raises:
        MonitorError: the address is none, its key is not known here, or our own cannot be read.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._host, _ = tcp.parsed(address)
        self._theirs = _key_of(address)
        self._ours = keys.own(keys.VIEWER) if self._theirs else None
        super().__init__()
        self._events: zmq.Socket[bytes] | None = None
        self._trouble = ""

    @property
    def where(self) -> str:
        """The host."""
        return f"{self._host} (tcp)"

    @property
    def trouble(self) -> str:
        """Why the hub does not answer, as far as the socket can tell."""
        self._note_events()
        return self._trouble

    def receive(self, wait_s: float) -> bytes | None:
        """The hub's answer."""
        answer = super().receive(wait_s)
        if answer is not None:
            self._trouble = ""
        return answer

    def health(self) -> Health:
        """Whether to ask again. Whether the hub has ended, nobody can tell from here."""
        if self._silent_s <= LOST_AFTER_S:
            return Health.WAITING
        self._note_events()
        self._drop_socket()
        return Health.LOST

    def recording(self) -> RecordingReader:
        """It is not served here.

        Raises:
            LinkLost: always.
        """
        raise LinkLost(
            f"the recording lies on {self._host}, and a TCP address shows the live run only;"
            f" over ssh all of it is in reach: deadband attach {self._host}"
        )

    def _connect(self, socket: zmq.Socket[bytes]) -> None:
        socket.linger, socket.ipv6 = 0, "[" in self._address
        socket.reconnect_ivl, socket.reconnect_ivl_max = 200, 5000
        if self._ours is not None:
            socket.curve_serverkey = bytes.fromhex(self._theirs)
            socket.curve_publickey = bytes.fromhex(self._ours.public)
            socket.curve_secretkey = bytes.fromhex(self._ours.secret)
        self._events = socket.get_monitor_socket(_TELLING)
        socket.connect(self._address)

    def _note_events(self) -> None:
        """What the socket has met since it was last asked."""
        while self._events is not None and self._events.poll(0):
            event = recv_monitor_message(self._events)["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._trouble = ""
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                mine = self._ours.public if self._ours else ""
                self._trouble = (
                    f"this viewer is not let in; on {self._host} run: deadband keys --allow {mine}"
                )
            elif event in _BROKEN:
                self._trouble = (
                    f"{self._address} answers, but not with the key that is known for it: compare"
                    f" with `deadband keys` on {self._host}"
                    if self._theirs
                    else f"{self._address} wants a key: on the machine of the run `deadband keys`"
                    f" shows it, then here: deadband attach {self._address} --key KEY"
                )
            elif event in _CLOSED and not self._trouble:
                self._trouble = (
                    f"nobody listens at {self._address}: the run has ended, or was started without"
                    f" --listen, or a firewall is in between"
                )

    def _drop_socket(self) -> None:
        if self._socket is not None:
            self._socket.disable_monitor()
        if self._events is not None:
            self._events.close(linger=0)
            self._events = None
        super()._drop_socket()


_BROKEN = frozenset({zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL})
_CLOSED = frozenset({zmq.EVENT_CLOSED, zmq.EVENT_CONNECT_RETRIED})
_TELLING = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_CLOSED
    | zmq.EVENT_CONNECT_RETRIED
)


def _key_of(address: str) -> str:
    """The hub's key; empty where none is needed."""
    key = keys.trusted(address)
    if key is None and tcp.is_loopback(address):
        return ""
    key = key or keys.shared()
    if key is None:
        host, _ = tcp.parsed(address)
        raise LinkLost(
            f"the key of {address} is not known here, and without it nobody can tell who answers:"
            f" on {host} run `deadband keys`, then here: deadband attach {address} --key KEY"
        )
    return key

"""Who may come in by TCP: those whose CURVE key is welcome at the moment they come."""

from __future__ import annotations

import logging
from collections.abc import Callable

import zmq
from zmq.utils import z85

from deadband_monitor.errors import MonitorError

_log = logging.getLogger(__name__)


class Guard:
    """Stands at every CURVE server of a context.

    Args:
        context: of the sockets.
        welcomes: whether the owner of a public key, in hexadecimal digits, may come in; it is
            called in a thread. A `MonitorError` keeps everybody out.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], welcomes: Callable[[str], bool]
    ) -> None:
        from zmq.auth.thread import ThreadAuthenticator  # it loads asyncio, and few need it

        self._welcomes = welcomes
        self._thread = ThreadAuthenticator(context)
        self._thread.start()
        self._thread.configure_curve_callback(domain="*", credentials_provider=self)

    def callback(self, domain: str, key: bytes) -> bool:
        """What the authenticator asks, with the key in Z85."""
        digits = z85.decode(key).hex()
        try:
            welcome = self._welcomes(digits)
        except MonitorError as error:
            _log.warning("nobody can be let in: %s", error)
            return False
        if not welcome:
            _log.warning("somebody with the key %s was turned away", digits)
        return welcome

    def close(self) -> None:
        """Stop asking."""
        self._thread.stop()

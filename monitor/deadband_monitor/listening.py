"""Whether a hub could listen at a TCP address: said before training starts, not hours later."""

from __future__ import annotations

import socket

from deadband_monitor import keys, tcp
from deadband_monitor.errors import MonitorError


def check(address: str) -> None:
    """Try it.

    Raises:
        MonitorError: it is no address, is taken, is not this machine's, or there is no key for it.
    """
    host, port = tcp.parsed(address)
    if not tcp.is_loopback(address):
        keys.own(keys.HUB)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("" if host == "*" else host, port))
        except OSError as error:
            raise MonitorError(
                f"cannot listen at {address}: {error.strerror or error}; another port, or * for"
                " every address of this machine"
            ) from error

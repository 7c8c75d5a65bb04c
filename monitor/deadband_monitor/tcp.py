"""TCP addresses of hubs: `tcp://host:port`, and whether only this machine can reach them."""

from __future__ import annotations

import ipaddress
import re

from deadband_monitor.errors import MonitorError

_FORM = re.compile(r"tcp://(?P<host>\[[0-9a-fA-F:.]+\]|[^\[\]:/\s]+):(?P<port>\d{1,5})")


def parsed(address: str) -> tuple[str, int]:
    """Host and port.

    Raises:
        MonitorError: it is no such address.
    """
    found = _FORM.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 65536:
        raise MonitorError(
            f"{address!r} is no address: write tcp://HOST:PORT, as tcp://gpu-07:7777"
        )
    return found["host"].strip("[]"), int(found["port"])


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach it; a name other than localhost may mean anything."""
    host, _ = parsed(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

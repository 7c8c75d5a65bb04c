"""Small pure words of the hub's loop: what it compares, and what it says to strangers."""

from __future__ import annotations

import msgspec

from deadband import wire
from deadband.wire import Status


def standings(status: Status) -> tuple[object, ...]:
    """What of a status is told at once."""
    ranks = tuple((rank.rank, rank.status) for rank in status.ranks)
    return status.status, status.error, ranks


def loosely(body: bytes) -> dict[str, object]:
    """A message of another version as far as it can be read."""
    try:
        said = msgspec.msgpack.decode(body)
    except msgspec.MsgspecError:
        return {}
    return said if isinstance(said, dict) else {}


def wrong_version(said: object) -> str:
    """What to tell a client of another version."""
    return (
        f"the hub speaks version {wire.VERSION} of the wire, the client {said}:"
        " install the same deadband in both environments"
    )

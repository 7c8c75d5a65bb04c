"""The CURVE keys of this machine: of its hubs and its viewers, whom it lets in, whom it trusts.

A viewer must know the hub's public key before it says a word, and a hub lets in viewers whose
public key it was told. Both lie in `$DEADBAND_HOME/keys`, so machines that share a home know each
other already. Keys are those of ZeroMQ's CURVE (rfc.zeromq.org/spec/25), in Z85: 40 characters.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.utils import z85

from deadband import wire
from deadband_monitor import tcp
from deadband_monitor.errors import MonitorError

HUB = "hub"
VIEWER = "viewer"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A public key and its secret half, both in hexadecimal digits."""

    public: str
    secret: str


def folder() -> Path:
    """Where keys lie."""
    return wire.home() / "keys"


def own(who: str) -> KeyPair:
    """The pair of this user's hubs or viewers; made on first use, readable by nobody else.

    Raises:
        MonitorError: it cannot be made or read, or others can read it.
    """
    path = folder() / f"{who}.key"
    try:
        wire.ensure_private(folder())
        if not path.exists():
            _make(path)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise MonitorError(f"others can read the key {path}: chmod 600 it, or remove it")
        public, secret = path.read_text(encoding="ascii").split()
    except OSError as error:
        raise MonitorError(f"no key at {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise MonitorError(f"{path} holds no pair of keys: remove it for a new one") from error
    return KeyPair(public=checked(public), secret=checked(secret))


def fresh() -> KeyPair:
    """A pair that nobody has had before.

    Raises:
        MonitorError: this ZeroMQ cannot make one.
    """
    if not zmq.has("curve"):
        raise MonitorError("this ZeroMQ was built without CURVE; pip install pyzmq brings one")
    public, secret = (z85.decode(key).hex() for key in zmq.curve_keypair())
    return KeyPair(public=public, secret=secret)


def _make(path: Path) -> None:
    pair = fresh()
    # Under another name first: a process that starts beside us never reads half a key.
    part = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(f"{pair.public}\n{pair.secret}\n".encode())
    try:
        path.hardlink_to(part)
    except FileExistsError:
        pass  # the other one was first, and is read
    finally:
        part.unlink()


def checked(key: str) -> str:
    """The key, if it is one.

    Raises:
        MonitorError: it is not.
    """
    if not re.fullmatch("[0-9a-f]{64}", key):
        raise MonitorError(
            f"{key!r} is no key: `deadband keys` on the other machine shows it (64 digits)"
        )
    return key


def allowed() -> frozenset[str]:
    """Public keys of the viewers that hubs of this machine let in; its own are among them."""
    return frozenset({own(VIEWER).public, *(words[0] for words in _lines(_allowed_path()))})


def allow(key: str, name: str = "") -> None:
    """Let a viewer in, from now on.

    Raises:
        MonitorError: that is no key, or it cannot be written.
    """
    if checked(key) not in allowed():
        _append(_allowed_path(), f"{key} {name}".rstrip())


def trusted(address: str) -> str | None:
    """The public key of the hub at an address, as it was told here once."""
    return _trusted().get(address)


def shared() -> str | None:
    """The public key of the hubs of all machines that share our home; None before the first."""
    return own(HUB).public if (folder() / f"{HUB}.key").exists() else None


def trust(address: str, key: str) -> None:
    """Remember the key of the hub at an address.

    Raises:
        MonitorError: that is no key, another one is known, or it cannot be written.
    """
    checked(key)
    tcp.parsed(address)
    known = _trusted()
    if address in known and known[address] != key:
        raise MonitorError(
            f"another key is known for {address}: if that machine made new ones, remove its line"
            f" from {_trusted_path()}; if not, somebody stands in between"
        )
    if address not in known:
        _append(_trusted_path(), f"{address} {key}")


def _trusted() -> dict[str, str]:
    return {words[0]: words[1] for words in _lines(_trusted_path()) if len(words) > 1}


def _allowed_path() -> Path:
    return folder() / "viewers.allowed"


def _trusted_path() -> Path:
    return folder() / "hubs.trusted"


def _lines(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise MonitorError(f"cannot read {path}: {error}") from error
    return [words for line in text.splitlines() if (words := line.split())]


def _append(path: Path, line: str) -> None:
    try:
        wire.ensure_private(folder())
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as file:
            file.write(line + "\n")
    except OSError as error:
        raise MonitorError(f"cannot write {path}: {error.strerror}") from error

"""Keys of viewers and hubs: made once, readable by nobody else, pinned where they were told."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from deadband_monitor import keys, listening, tcp
from deadband_monitor.errors import MonitorError


def test_a_pair_is_made_once_and_is_nobody_elses(home: Path) -> None:
    first = keys.own(keys.HUB)
    assert keys.own(keys.HUB) == first != keys.own(keys.VIEWER)
    for path in (home / "keys").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE((home / "keys").stat().st_mode) == 0o700
    assert sorted(path.name for path in (home / "keys").iterdir()) == ["hub.key", "viewer.key"]


def test_a_key_that_others_can_read_is_refused(home: Path) -> None:
    keys.own(keys.HUB)
    (home / "keys" / "hub.key").chmod(0o640)
    with pytest.raises(MonitorError, match="chmod 600"):
        keys.own(keys.HUB)


def test_a_broken_key_is_told_with_the_mend(home: Path) -> None:
    keys.own(keys.HUB)
    (home / "keys" / "hub.key").write_text("half")
    with pytest.raises(MonitorError, match="remove it for a new one"):
        keys.own(keys.HUB)


def test_own_viewers_are_allowed_and_others_once_they_were(home: Path) -> None:
    other = "a" * 64
    assert keys.allowed() == {keys.own(keys.VIEWER).public}
    keys.allow(other, "laptop")
    keys.allow(other, "laptop")
    assert keys.allowed() == {keys.own(keys.VIEWER).public, other}
    assert (home / "keys" / "viewers.allowed").read_text() == f"{other} laptop\n"


def test_another_key_at_a_known_address_is_refused(home: Path) -> None:
    keys.trust("tcp://gpu-07:7777", "a" * 64)
    keys.trust("tcp://gpu-07:7777", "a" * 64)
    assert keys.trusted("tcp://gpu-07:7777") == "a" * 64
    assert keys.trusted("tcp://gpu-08:7777") is None
    with pytest.raises(MonitorError, match="somebody stands in between"):
        keys.trust("tcp://gpu-07:7777", "b" * 64)


@pytest.mark.parametrize("text", ["", "short", "a" * 65, "ä" * 64, "a" * 63 + " "])
def test_what_is_no_key_is_told(text: str) -> None:
    with pytest.raises(MonitorError, match="deadband keys"):
        keys.checked(text)


@pytest.mark.parametrize(
    ("address", "alone"),
    [
        ("tcp://127.0.0.1:7777", True),
        ("tcp://[::1]:7777", True),
        ("tcp://localhost:7777", True),
        ("tcp://*:7777", False),
        ("tcp://0.0.0.0:7777", False),
        ("tcp://gpu-07:7777", False),
    ],
)
def test_which_addresses_only_this_machine_reaches(address: str, alone: bool) -> None:
    assert tcp.is_loopback(address) is alone


@pytest.mark.parametrize(
    "address", ["gpu-07:7777", "tcp://gpu-07", "tcp://gpu-07:0", "tcp://a b:1", "tcp://h:70000"]
)
def test_what_is_no_address_is_told(address: str) -> None:
    with pytest.raises(MonitorError, match="tcp://HOST:PORT"):
        tcp.parsed(address)


def test_a_port_that_is_taken_is_told_before_training_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MonitorError, match="cannot listen at"):
            listening.check(f"tcp://127.0.0.1:{port}")

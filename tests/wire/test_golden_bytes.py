"""What version 1 wrote once must be read for as long as `wire.VERSION` is 1.

A change that fails here breaks clients and recordings that exist: make the new field optional, or
raise the version. `golden/` holds the bytes; a new kind of message adds a file, none is rewritten.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from messages import FRAME_HEADER, MESSAGES

from deadband import wire

GOLDEN = Path(__file__).with_name("golden")
UNIONS = (wire.ToHub, wire.ToClient, wire.Event, wire.ToViewer, wire.FromViewer)


@pytest.mark.parametrize("kind", sorted(MESSAGES))
def test_a_message_written_by_version_1_is_still_read(kind: str) -> None:
    message = MESSAGES[kind]
    data = bytes.fromhex((GOLDEN / f"{kind}.hex").read_text())
    assert msgspec.msgpack.decode(data, type=type(message)) == message


@pytest.mark.parametrize("kind", sorted(MESSAGES))
def test_a_message_is_read_as_one_of_its_conversation(kind: str) -> None:
    message = MESSAGES[kind]
    (union,) = (union for union in UNIONS if type(message) in union.__args__)
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=union)
    assert decoded == message


def test_every_kind_of_message_has_its_bytes() -> None:
    kinds = {kind for union in UNIONS for kind in union.__args__}
    assert kinds == {type(message) for message in MESSAGES.values()}
    assert {path.stem for path in GOLDEN.iterdir()} == {*MESSAGES, "frame-header", "arena-head"}


def test_a_frame_header_written_by_version_1_is_still_read() -> None:
    data = bytes.fromhex((GOLDEN / "frame-header.hex").read_text())
    assert msgspec.msgpack.decode(data, type=wire.FrameHeader) == FRAME_HEADER


def test_fields_that_we_do_not_know_are_ignored() -> None:
    data = msgspec.msgpack.encode({"type": "capture-wish", "credit_s": 2.0, "colour": "red"})
    assert msgspec.msgpack.decode(data, type=wire.ToClient) == wire.CaptureWish(credit_s=2.0)


def test_the_arena_lies_where_version_1_has_put_it() -> None:
    head = bytes.fromhex((GOLDEN / "arena-head.hex").read_text())
    assert wire.ARENA_HEAD.pack(wire.ARENA_MAGIC, 1, 16, 20480) == head
    places = (
        wire.ARENA_HEAD_OFFSET,
        wire.ARENA_TAIL_OFFSET,
        wire.ARENA_FRAMES_OFFSET,
        wire.FRAME_HEADER_BYTES,
    )
    assert places == (64, 128, 4096, 16384)


def test_paths_of_a_run_lie_in_the_chosen_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEADBAND_HOME", "/srv/db")
    assert wire.recording_path("a-1") == Path("/srv/db/runs/a-1.dbr")
    assert wire.registry_path("a-1") == Path("/srv/db/live/a-1.json")
    assert wire.intake_address("a-1") == "ipc:///srv/db/live/a-1.in"
    monkeypatch.delenv("DEADBAND_HOME")
    monkeypatch.setenv("XDG_STATE_HOME", "/home/u/.state")
    assert wire.home() == Path("/home/u/.state/deadband")


def test_socket_paths_fit_however_long_the_home_and_the_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = wire.new_run_id("a very long name of a script that explains everything.py")
    for length in (20, 50, 55, 60, 200):
        monkeypatch.setenv("DEADBAND_HOME", "/" + "h" * length)
        path = wire.viewer_address(run).removeprefix("ipc://")
        assert len(path) <= 107, path


def test_run_ids_are_names_of_files() -> None:
    assert wire.new_run_id("../my net!.py").startswith("my-net-.py-")
    assert wire.new_run_id("///").startswith("run-")
    assert wire.new_run_id("a") != wire.new_run_id("a")


def test_a_private_folder_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    folder.mkdir(mode=0o755)
    assert wire.ensure_private(folder).stat().st_mode & 0o777 == 0o700

"""Folders that sockets and recordings lie in belong to the user alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from deadband import wire


def test_a_folder_is_made_private_or_made_so_again(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    assert wire.ensure_private(folder).stat().st_mode & 0o777 == 0o700
    assert wire.ensure_private(tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    with pytest.raises(PermissionError, match="belongs to another user"):
        wire.ensure_private(tmp_path)


def test_socket_paths_fit_however_long_the_home_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEADBAND_HOME", "/home/" + "x" * 200)
    path = wire.viewer_address("n" * 47).removeprefix("ipc://")
    assert len(path) <= 103
    assert wire.recording_path("a").is_relative_to(wire.home())

"""`deadband doctor` says of every link whether it holds, and of the first broken one the mend."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import closing
from pathlib import Path

import pytest
from far_side import COMMAND
from processes import RUN, ScriptedTraining, follow

from deadband_monitor import keys
from deadband_monitor.cli import main
from deadband_monitor.doctor import way
from deadband_monitor.source.live import LiveSource

Output = pytest.CaptureFixture[str]


def looked(capsys: Output, *arguments: str) -> tuple[int, dict[str, str], list[str]]:
    """Status, the state of each link, and all lines."""
    status = main(["doctor", *arguments])
    lines = capsys.readouterr().out.splitlines()
    links = [line for line in lines if not line.startswith(" ")]
    return status, {line[8:].split(":")[0]: line.split()[0] for line in links}, lines


def test_a_machine_where_all_is_well(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEADBAND_SETTINGS", os.devnull)
    status, links, lines = looked(capsys)
    assert status == 0, lines
    assert links["a trial run"] == links["folder of runs"] == links["settings"] == "ok"
    assert any("watched, recorded and judged 20 steps" in line for line in lines)


def test_a_folder_that_cannot_be_written_and_settings_that_are_wrong(
    capsys: Output, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "settings.toml").write_text("fps = 'many'")
    monkeypatch.setenv("DEADBAND_HOME", str(tmp_path / "file" / "home"))
    monkeypatch.setenv("DEADBAND_SETTINGS", str(tmp_path / "settings.toml"))
    status, links, lines = looked(capsys)
    assert status == 1
    assert links["folder of runs"] == links["settings"] == "broken"
    assert any("DEADBAND_HOME" in line for line in lines if line.startswith("  "))


def test_a_run_here(training: ScriptedTraining, capsys: Output) -> None:
    training.start()
    training.do("frames 5")
    assert looked(capsys, RUN)[:2] == (0, {"hub": "ok", "recording": "ok", "training": "ok"})


def test_training_that_says_nothing_is_no_link_that_holds(
    training: ScriptedTraining, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.start()
    training.do("frames 5")
    os.kill(training.pid, signal.SIGSTOP)
    with closing(LiveSource(RUN)) as source:
        follow(
            source, lambda it: it.state.status is not None and it.state.status.status == "silent"
        )
    status, links, lines = looked(capsys, RUN)
    assert (status, links["training"]) == (0, "note"), lines
    monkeypatch.setattr(way, "OLD_S", 1.0)
    status, links, lines = looked(capsys, RUN)
    assert (status, links["training"]) == (1, "broken"), lines
    assert "training has been silent for" in lines[-2]


def test_a_word_that_is_no_run_here_is_said_to_be_taken_for_a_host(
    capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEADBAND_SSH", "false")
    status, links, lines = looked(capsys, "nowhere")
    assert (status, links) == (1, {"target": "note", "command": "ok", "connection": "broken"})
    assert lines[-1].endswith("-> the same by hand: false nowhere true")


def test_a_run_behind_a_command(training: ScriptedTraining, capsys: Output) -> None:
    training.start()
    training.do("frames 5")
    status, links, lines = looked(capsys, "--via", "env", "--remote-command", COMMAND, RUN)
    assert (status, set(links.values())) == (0, {"ok"}), lines
    assert any(RUN in line for line in lines if "runs there" in line)


def test_the_chain_is_looked_at_up_to_the_first_broken_link(capsys: Output) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    status, links, lines = looked(capsys, f"tcp://127.0.0.1:{port}")
    assert (status, links) == (1, {"name": "ok", "port": "broken"})
    assert "without --listen" in lines[-1]
    status, links, _ = looked(capsys, "--via", "no-such-command here")
    assert (status, links) == (1, {"command": "broken"})


def test_a_hub_that_listens(
    training: ScriptedTraining, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    training.close()
    monkeypatch.setenv("DEADBAND_LISTEN", f"tcp://lo:{port}")
    listening = ScriptedTraining(RUN)
    try:
        listening.start()
        listening.do("frames 5")
        address = f"tcp://127.0.0.1:{port}"
        status, links, _ = looked(capsys, address)
        assert (status, links["port"], links["hub"]) == (1, "ok", "broken")
        keys.trust(address, keys.own(keys.HUB).public)
        assert looked(capsys, address)[:2] == (
            0,
            {"name": "ok", "port": "ok", "key": "ok", "training": "ok"},
        )
    finally:
        listening.close()

"""Viewers over TCP: with keys beyond this machine, and not at all where nobody asked for it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from processes import RUN, ScriptedTraining, follow, has_samples

from deadband import wire
from deadband_monitor import keys
from deadband_monitor.cli import main
from deadband_monitor.errors import LinkLost
from deadband_monitor.source.live import LiveSource
from deadband_monitor.source.open import open_source

Trainings = Callable[..., ScriptedTraining]


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
    return number


@pytest.fixture
def keyed(trainings: Trainings, port: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a run whose hub wants keys; `lo` is the name of the loopback interface."""
    monkeypatch.setenv("DEADBAND_LISTEN", f"tcp://lo:{port}")
    training = trainings()
    training.start()
    training.do("frames 5")
    return f"tcp://127.0.0.1:{port}"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes this process a viewer with a home of its own, as on another machine."""

    def move() -> None:
        monkeypatch.setenv("DEADBAND_HOME", str(tmp_path / "laptop"))

    return move


def test_on_this_machine_an_address_needs_no_key(
    trainings: Trainings, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"tcp://127.0.0.1:{port}"
    monkeypatch.setenv("DEADBAND_LISTEN", address)
    training = trainings()
    training.start()
    training.do("frames 5")
    with closing(open_source(address)) as source:
        assert source.name == RUN
        follow(source, has_samples(5))
        training.do("frames 3")
        follow(source, has_samples(8))


def test_at_an_address_a_live_run_is_reported_and_recordings_are_not_looked_for(
    trainings: Trainings,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    address = f"tcp://127.0.0.1:{port}"
    monkeypatch.setenv("DEADBAND_LISTEN", address)
    training = trainings()
    training.start()
    training.do("frames 5")
    with closing(open_source(address)) as source:
        follow(source, has_samples(5))
    assert main(["report", address]) == 0
    assert RUN in capsys.readouterr().out
    for arguments in (["replay", address], ["export", address, "--to", "csv"],
                      ["runs", "--host", address]):  # fmt: skip
        assert main(arguments) == 2
        assert "shows one run while it is live" in capsys.readouterr().err


def test_without_the_word_listen_nothing_listens(training: ScriptedTraining) -> None:
    hub = training.start()
    inodes = {
        link.removeprefix("socket:[").removesuffix("]")
        for each in Path(f"/proc/{hub}/fd").iterdir()
        if (link := str(each.readlink())).startswith("socket:")
    }
    listening = [
        line.split()
        for table in ("tcp", "tcp6", "udp", "udp6")
        if Path(f"/proc/{hub}/net/{table}").exists()
        for line in Path(f"/proc/{hub}/net/{table}").read_text().splitlines()[1:]
    ]
    assert inodes, "a hub has sockets"
    assert not [words for words in listening if words[9] in inodes]


def test_a_viewer_that_was_allowed_and_knows_the_key_sees_the_run(
    keyed: str, elsewhere: Callable[[], None], monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    theirs = keys.own(keys.HUB).public
    elsewhere()
    keys.trust(keyed, theirs)
    mine = keys.own(keys.VIEWER).public
    with pytest.raises(LinkLost, match="not let in") as refused:
        open_source(keyed)
    assert f"deadband keys --allow {mine}" in str(refused.value)
    monkeypatch.setenv("DEADBAND_HOME", str(home))
    keys.allow(mine)
    elsewhere()
    with closing(open_source(keyed)) as source:
        follow(source, has_samples(5))


def test_a_wrong_key_or_none_gets_nothing(keyed: str, elsewhere: Callable[[], None]) -> None:
    mine = keys.own(keys.VIEWER)
    elsewhere()
    with pytest.raises(LinkLost, match=r"wants a key|does not answer"):
        open_source(keyed)
    keys.trust(keyed, mine.public)  # a key, but another one
    with pytest.raises(LinkLost, match=r"not with the key|does not answer"):
        open_source(keyed)


def test_an_unknown_key_and_a_silent_address_are_told_with_the_mend(
    port: int, elsewhere: Callable[[], None]
) -> None:
    elsewhere()
    with pytest.raises(LinkLost, match="deadband attach tcp://gpu-07:7777 --key"):
        open_source("tcp://gpu-07:7777")
    with pytest.raises(LinkLost, match="nobody listens at"):
        open_source(f"tcp://127.0.0.1:{port}")


STRANGER = """
import os, sys
import zmq
os.setgid(65534); os.setuid(65534)
got = []
for path in sys.argv[2:]:
    try:
        open(path, "rb").read(1)
        got.append(path)
    except OSError:
        pass
socket = zmq.Context().socket(zmq.DEALER)
socket.linger = 0
socket.connect(sys.argv[1])
socket.send(b"x", zmq.NOBLOCK) if socket.poll(1500, zmq.POLLOUT) else None
if socket.poll(1500):
    got.append("an answer")
print(got)
"""


WATCHED = """
import sys
import numpy as np
import deadband

watch = deadband.watch(None, name="secret")
for step in range(20):
    watch.observe("gate", np.random.rand(32, 8).astype("float32"), activation="sigmoid")
    watch.step(loss=1.0)
print(watch.run, flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_stranger_on_this_machine_reads_nothing_and_is_not_heard(home: Path) -> None:
    training = subprocess.Popen(
        [sys.executable, "-c", WATCHED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert training.stdout is not None
        run = training.stdout.readline().strip()
        with closing(LiveSource(run)) as source:
            follow(source, has_samples(5))
        arenas = list(Path("/dev/shm").glob(f"deadband-{training.pid}-*"))
        paths = [*arenas, wire.recording_path(run), wire.registry_path(run)]
        assert arenas
        assert all(path.exists() for path in paths)
        home.chmod(0o711)  # what a test's own folder hides must not do the hiding
        asked = [sys.executable, "-c", STRANGER, wire.viewer_address(run), *map(str, paths)]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == "[]\n"
    finally:
        training.communicate("end\n", timeout=60)

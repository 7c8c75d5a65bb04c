"""Runs behind a real sshd on loopback that forbids forwarding, over the user's own ssh."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from far_side import COMMAND, QUICK, SshServer, connected, live_source
from processes import RUN, ScriptedTraining, ended, follow, has_samples

from deadband import wire
from deadband_monitor.cli import main
from deadband_monitor.errors import LinkLost
from deadband_monitor.remote.far import ssh_far
from deadband_monitor.remote.link import Link
from deadband_monitor.remote.stream import Patience
from deadband_monitor.source.replay import ReplaySource

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None,
        reason="needs OpenSSH's server: apt-get install openssh-server",
    ),
]


@pytest.fixture
def server(home: Path, tmp_path: Path) -> Iterator[SshServer]:
    made = SshServer(
        tmp_path, {"DEADBAND_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    yield made
    made.close()


def test_a_run_behind_ssh_survives_ten_cuts_without_a_gap(
    server: SshServer, training: ScriptedTraining
) -> None:
    training.start()
    training.do("frames 5")
    far = ssh_far("box", ssh=server.ssh, remote_command=COMMAND)
    with closing(connected(far, QUICK)) as host, closing(live_source(host, RUN)) as source:
        assert source.where == "box via ssh"
        follow(source, has_samples(5))
        for cut in range(1, 11):
            os.kill(host.link.pid, signal.SIGKILL)
            training.do("frames 3")
            follow(source, lambda it: it.link == "lost")
            follow(source, has_samples(5 + 3 * cut))
        training.do("bye finished")
        follow(source, ended)
        with closing(ReplaySource(wire.recording_path(RUN))) as replayed:
            assert source.state.pack() == replayed.state.pack()


def test_attach_finds_deadband_by_the_hub_and_needs_nothing_but_the_host(
    server: SshServer,
    training: ScriptedTraining,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    training.start()
    training.do("frames 4")
    training.do("bye finished")
    monkeypatch.setenv("DEADBAND_SSH", server.ssh)
    assert main(["runs", "--host", "box"]) == 0
    assert RUN in capsys.readouterr().out
    assert main(["attach", "box:train"]) == 0
    assert "finished" in capsys.readouterr().out
    assert main(["report", f"box:{RUN}"]) == 0
    assert RUN in capsys.readouterr().out


def test_a_server_that_is_gone_is_named_and_comes_back(
    server: SshServer,
) -> None:
    far = ssh_far("box", ssh=server.ssh, remote_command=COMMAND)
    server.process.send_signal(signal.SIGSTOP)  # accepts, and says nothing
    link = Link(far, Patience(greeting_s=1.0))
    with pytest.raises(LinkLost, match="no greeting within 1 s"):
        link.open()
    server.process.send_signal(signal.SIGCONT)
    server.process.terminate()
    server.process.wait()
    with pytest.raises(LinkLost, match="box: connection refused"):
        Link(far).open()


def test_a_key_that_is_not_taken_is_not_asked_about_in_the_background(server: SshServer) -> None:
    (server.folder / "authorized").write_text("")
    far = ssh_far("box", ssh=server.ssh, remote_command=COMMAND)
    with pytest.raises(LinkLost, match="box: needs a password: deadband attach box"):
        Link(far).open()
    (server.folder / "known").write_text("")
    with pytest.raises(LinkLost, match="ssh does not know the key of that host"):
        Link(far).open()

"""A network of its own between viewer and host, slow, and cut for seconds: packets are lost.

Whoever closes a laptop has this: no end of the connection is told of its end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from far_side import COMMAND, QUICK, SshServer, connected, live_source
from processes import RUN, ScriptedTraining, ended, follow, has_samples

from deadband import wire
from deadband_monitor.remote.far import ssh_far
from deadband_monitor.source.replay import ReplaySource

NEAR, FAR = "10.213.7.1", "10.213.7.2"
CUTS = int(os.environ.get("DEADBAND_TEST_CUTS", "3"))
CUT_S = float(os.environ.get("DEADBAND_TEST_CUT_S", "5"))
"""More than the patience of the link, so that each cut is noticed."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120 + CUTS * (CUT_S + 30)),
    pytest.mark.skipif(
        shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None,
        reason="needs OpenSSH's server: apt-get install openssh-server",
    ),
]


class Network:
    """Two ends of a wire; the far one lies in a namespace of its own."""

    def __init__(self) -> None:
        self.name = f"db{os.getpid()}"
        self._near, self._far = f"{self.name}a", f"{self.name}b"
        self._do("ip", "netns", "add", self.name)
        try:
            self._do("ip", "link", "add", self._near, "type", "veth", "peer", "name", self._far,
                     "netns", self.name)  # fmt: skip
            self._do("ip", "addr", "add", f"{NEAR}/30", "dev", self._near)
            self._do("ip", "link", "set", self._near, "up")
            self._do(*self.within, "ip", "addr", "add", f"{FAR}/30", "dev", self._far)
            self._do(*self.within, "ip", "link", "set", self._far, "up")
        except BaseException:
            self.close()
            raise

    @property
    def within(self) -> list[str]:
        """Runs a command at the far end."""
        return ["ip", "netns", "exec", self.name]

    def slow_down(self) -> bool:
        """1 Mbit/s from there to here; False where the kernel cannot."""
        shape = ["tbf", "rate", "1mbit", "burst", "8k", "latency", "200ms"]
        command = [*self.within, "tc", "qdisc", "add", "dev", self._far, "root", *shape]
        return not subprocess.run(command, capture_output=True, check=False).returncode

    def cut(self) -> None:
        """Nothing gets through any more, and nobody is told."""
        self._do(*self.within, "ip", "link", "set", self._far, "down")

    def mend(self) -> None:
        """As before."""
        self._do(*self.within, "ip", "link", "set", self._far, "up")

    def close(self) -> None:
        """Both ends go with the namespace."""
        self._do("ip", "netns", "del", self.name)

    def _do(self, *command: str) -> None:
        subprocess.run(command, capture_output=True, check=True)


@pytest.fixture
def network() -> Iterator[Network]:
    if os.geteuid():
        pytest.skip("only root can make a network of its own")
    try:
        made = Network()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network can be made here: {error}")
    yield made
    made.close()


@pytest.fixture
def server(home: Path, tmp_path: Path, network: Network) -> Iterator[SshServer]:
    environment = {"DEADBAND_HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    made = SshServer(tmp_path, environment, FAR, network.within)
    yield made
    made.close()


def test_a_network_that_is_cut_again_and_again_loses_doubles_and_reorders_nothing(
    server: SshServer, network: Network, training: ScriptedTraining
) -> None:
    training.start()
    training.do("frames 5")
    far = ssh_far("box", ssh=server.ssh, remote_command=COMMAND)
    network.slow_down()
    with closing(connected(far, QUICK)) as host, closing(live_source(host, RUN)) as source:
        follow(source, has_samples(5))
        samples = 5
        for _ in range(CUTS):
            network.cut()
            until = time.monotonic() + CUT_S
            while time.monotonic() < until:
                training.do("frames 2")  # which never waits for any viewer
                samples += 2
                source.refresh(0.5)
            assert source.link == "lost"
            assert source.trouble
            network.mend()
            follow(source, has_samples(samples), 60.0)
            assert source.link == "live"
        training.do("bye finished")
        follow(source, ended)
        assert source.state.samples == samples
        with closing(ReplaySource(wire.recording_path(RUN))) as replayed:
            assert source.state.pack() == replayed.state.pack()

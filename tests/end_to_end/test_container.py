"""A run in a container, seen from outside through the command that enters it; and by strangers."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from container import HOME, Container, NoContainer
from far_side import QUICK, connected, live_source
from processes import ended, follow, has_samples

from deadband_monitor.cli import main
from deadband_monitor.hub.registry import live_runs
from deadband_monitor.remote.far import via_far
from deadband_monitor.remote.looks import COLUMNS
from deadband_monitor.source.remote import RemoteHost
from deadband_monitor.source.replay import ReplaySource

LOOP = Path(__file__).with_name("observed_loop.py")

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux's"),
]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    folder = tmp_path / "root"
    folder.mkdir()
    try:
        made = Container(folder)
    except NoContainer as reason:
        pytest.skip(f"no container can be made here: {reason}")
    yield made
    made.close()


class Trainer:
    """The training in a container, by its standard streams."""

    def __init__(self, container: Container) -> None:
        self.process = container.start(sys.executable, str(LOOP))
        self.run = self._line()

    def train(self, steps: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"steps {steps}\n")
        self.process.stdin.flush()
        assert self._line() == str(steps)

    def end(self) -> None:
        out, err = self.process.communicate("end\n", timeout=60)
        assert (self.process.returncode, out, err) == (0, "", "")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate(timeout=60)

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture
def trainer(container: Container) -> Iterator[Trainer]:
    made = Trainer(container)
    yield made
    made.close()


@pytest.fixture
def inside(container: Container) -> Iterator[RemoteHost]:
    """The container as a host; nothing is known of it but the command that enters it."""
    made = connected(via_far(container.via, remote_command="", name="trainer"), QUICK)
    yield made
    made.close()


Output = pytest.CaptureFixture[str]


def test_a_run_in_a_container_is_seen_from_outside_with_nothing_but_the_command_that_enters_it(
    container: Container, trainer: Trainer, capsys: Output
) -> None:
    trainer.train(30)
    assert live_runs() == []  # nothing of it is to be seen from here
    assert main(["runs", "--via", container.via]) == 0
    assert trainer.run in capsys.readouterr().out
    assert main(["doctor", "--via", container.via, trainer.run]) == 0
    assert "at step 30, running" in capsys.readouterr().out
    trainer.end()
    assert main(["attach", "--via", container.via, "observed"]) == 0
    assert "step     30  finished" in capsys.readouterr().out
    assert main(["report", "--via", container.via, trainer.run]) == 0
    assert "30 steps" in capsys.readouterr().out
    # The hub stays a while for those who come late.
    left = 'while ls "$HOME"/.local/state/deadband/live/*.json; do sleep 0.05; done'
    container.run("sh", "-c", left)
    assert main(["attach", "--via", container.via]) == 2
    assert "is live on" in capsys.readouterr().err


def test_whose_runs_are_not_there_is_said_where_another_user_enters(
    container: Container, trainer: Trainer, capsys: Output
) -> None:
    if not container.user:
        pytest.skip("without root a container has one user only")
    trainer.train(5)
    via = shlex.join(container.enter(user=0))  # as docker does by default
    assert main(["runs", "--via", via]) == 0
    assert "no runs of root on" in capsys.readouterr().err
    assert main(["attach", "--via", via]) == 2
    assert "no run of root is live on" in capsys.readouterr().err


def test_the_far_side_in_a_container_may_be_killed_and_nothing_is_lost(
    trainer: Trainer, inside: RemoteHost
) -> None:
    trainer.train(10)
    with closing(live_source(inside, trainer.run)) as source:
        follow(source, has_samples(10))
        for cut in range(1, 4):
            entered = inside.link.pid  # nsenter itself waits outside for what it has started
            (there,) = Path(f"/proc/{entered}/task/{entered}/children").read_text().split()
            os.kill(int(there), signal.SIGKILL)
            trainer.train(10)
            follow(source, lambda it: it.link == "lost")
            follow(source, has_samples(10 + 10 * cut))
        trainer.end()
        follow(source, ended)
        assert source.state.status is not None
        assert (source.state.status.status, source.state.samples) == ("finished", 40)
        with closing(ReplaySource(inside.recording(inside.resolve(trainer.run)))) as replayed:
            assert source.state.pack(COLUMNS) == replayed.state.pack(COLUMNS)


SCAN = """
import socket
found = []
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    for port in range(1, 65536):
        with socket.socket(family) as probe:
            if not probe.connect_ex((host, port)) and probe.getsockname()[1] != port:
                found.append((host, port))  # and not itself, which TCP allows
for table in ("udp", "udp6", "raw", "raw6"):
    with open(f"/proc/net/{table}") as lines:
        found += lines.read().splitlines()[1:]
with open("/proc/net/unix") as lines:  # abstract ones have no file that could be private
    found += [line for line in lines if line.split()[-1].startswith("@")]
print(found)
"""


def test_a_scan_of_all_ports_beside_a_watched_run_finds_nothing(
    container: Container, trainer: Trainer, inside: RemoteHost
) -> None:
    trainer.train(5)
    with closing(live_source(inside, trainer.run)) as source:
        follow(source, has_samples(5))  # hub and viewer are at work
        assert container.run(sys.executable, "-c", SCAN).stdout == "[]\n"


STRANGER = """
import os, socket, sys
got = []
for folder, _, files in [*os.walk("/home/trainer/.local/state"), *os.walk("/dev/shm")]:
    for name in files:
        try:
            open(os.path.join(folder, name), "rb").read(1)
            got.append(name)
        except PermissionError:
            pass
for path in sys.argv[1:]:
    for how in (os.stat, socket.socket(socket.AF_UNIX).connect):
        try:
            how(path)
            got.append((how.__name__, path))
        except PermissionError:
            pass
print(got)
"""


def test_another_user_of_the_container_reads_nothing_and_reaches_no_socket(
    container: Container, trainer: Trainer
) -> None:
    if not container.user:
        pytest.skip("without root a container has one user only")
    trainer.train(5)
    live = f"{HOME}/.local/state/deadband/live"
    listed = container.run("ls", live).stdout.split()
    sockets = [f"{live}/{name}" for name in listed if name.endswith((".in", ".view"))]
    assert len(sockets) == 2
    assert container.run("ls", "/dev/shm").stdout
    done = container.run(sys.executable, "-c", STRANGER, *sockets, user=container.user + 1)
    assert done.stdout == "[]\n", done.stderr

"""Two nodes, simulated on this machine: two launchers, two homes; real torchrun, gloo and CURVE."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from processes import await_end, end_hubs, ended, follow
from test_ranks import LOOP
from zmq.utils import z85

from deadband import wire
from deadband_monitor.hub.gate import Gate
from deadband_monitor.hub.registry import live_hub
from deadband_monitor.record.reader import Recording
from deadband_monitor.source.live import LiveSource

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="gloo on the loopback")


def launch(folder: Path, how: str, steps: int, **environ: str) -> list[subprocess.Popen[str]]:
    """One launcher a node, each with a home of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    folder.mkdir(exist_ok=True)
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2"),
                *("--node-rank", str(node), "--nproc-per-node", "1", "--master-addr", "127.0.0.1"),
                *("--master-port", port, str(LOOP), how, str(steps)),
            ],
            cwd=folder,
            env={
                **os.environ, "GLOO_SOCKET_IFNAME": "lo",
                "DEADBAND_HOME": os.environ["DEADBAND_HOME"] + f"/{node}",
                "RANKS_PAUSE_S": "0.02", **environ,
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in range(2)
    ]  # fmt: skip


def finish(launchers: list[subprocess.Popen[str]], folder: Path) -> tuple[list[Any], list[str]]:
    said = [launcher.communicate(timeout=200)[1] for launcher in launchers]
    assert [launcher.returncode for launcher in launchers] == [0, 0], said
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)], said


@pytest.fixture
def homes(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    yield home
    for node in range(2):
        monkeypatch.setenv("DEADBAND_HOME", f"{home}/{node}")
        end_hubs()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ranks_of_another_node_come_to_the_hub_of_rank_0(
    homes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launchers = launch(tmp_path / "run", "ddp-scaled", 70, DEADBAND_NODES="1")
    ranks, said = finish(launchers, tmp_path / "run")
    assert "recorded" not in said[1], said[1]
    monkeypatch.setenv("DEADBAND_HOME", f"{homes}/0")
    viewer = LiveSource(ranks[0]["run"])
    follow(viewer, ended)
    state = viewer.state
    viewer.close()
    assert state.status is not None
    assert [(rank.rank, rank.status) for rank in state.status.ranks] == [
        (0, "finished"),
        (1, "finished"),
    ]
    assert state.others[1].samples + ranks[1]["dropped"] >= 70
    assert state.others[1].samples > 40
    flags = [flag for flag in state.flags.values() if flag.kind == "rank-divergence"]
    assert [flag.ranks for flag in flags] == [[1]], [flag.message for flag in flags]
    assert not list((homes / "1" / "runs").glob("*.dbr")), "that node has no recording of its own"
    for node in (0, 1):
        monkeypatch.setenv("DEADBAND_HOME", f"{homes}/{node}")
        for path in wire.live_folder().glob("*.json"):
            hub = live_hub(path.stem)
            if hub is not None:
                await_end(hub.hub_pid)
        assert not list((homes / str(node)).rglob("*.gate"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_without_being_told_each_node_has_its_own_hub_and_says_so(
    homes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks, said = finish(launch(tmp_path / "run", "ddp", 10), tmp_path / "run")
    assert "DEADBAND_NODES=1 on all nodes joins them" in said[1]
    assert "deadband" not in said[0].lower()
    for node in (0, 1):
        monkeypatch.setenv("DEADBAND_HOME", f"{homes}/{node}")
        viewer = LiveSource(ranks[node]["run"])
        follow(viewer, ended)
        viewer.close()
        with Recording(wire.recording_path(ranks[node]["run"])) as recording:
            assert recording.hello.rank == node


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ranks_that_were_started_by_hand_meet_through_the_store(home: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shells = [
        subprocess.Popen(
            ["bash", "-c", f"RANK={rank} {sys.executable} {LOOP} ddp 60; exit $?"],
            cwd=tmp_path,
            env={
                **os.environ, "GLOO_SOCKET_IFNAME": "lo",
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2",
                "RANKS_PAUSE_S": "0.02",
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip
    try:
        ranks, _ = finish(shells, tmp_path)
        assert ranks[0]["run"] != ranks[1]["run"], "by themselves they would not have met"
        viewer = LiveSource(ranks[0]["run"])
        follow(viewer, ended)
        assert viewer.state.others[1].samples == 60
        viewer.close()
    finally:
        end_hubs()
    assert len(list(wire.runs_folder().glob("*.dbr"))) == 1


def test_whoever_has_another_key_is_not_let_in(home: Path) -> None:
    wire.ensure_private(wire.live_folder())
    gate = Gate("train-aaaaaa", "127.0.0.1")
    path = wire.gate_path("train-aaaaaa")
    assert path.stat().st_mode & 0o777 == 0o600
    told = msgspec.json.decode(path.read_bytes(), type=wire.Gate)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    public, secret = zmq.curve_keypair()
    pairs = {
        "stranger": (public, secret),
        "ours": tuple(z85.encode(bytes.fromhex(k)) for k in (told.public, told.secret)),
    }
    sockets = []
    for who, (own, hidden) in pairs.items():
        client = context.socket(zmq.DEALER)
        client.linger = 0
        client.curve_serverkey = z85.encode(bytes.fromhex(told.server))
        client.curve_publickey, client.curve_secretkey = own, hidden
        client.connect(told.endpoint)
        client.send(who.encode())
        sockets.append(client)
    plain = context.socket(zmq.DEALER)
    plain.linger = 0
    plain.connect(told.endpoint)
    plain.send(b"plain")
    try:
        assert gate.socket.poll(5000)
        assert [body for _, body in gate.received()] == [b"ours"]
        assert not gate.socket.poll(500)
    finally:
        for client in (*sockets, plain):
            client.close()
        context.term()
        gate.close()
    assert not path.exists()

"""Several processes that train one model on gloo: watched as bare, and each of them is seen."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import end_hubs, ended, follow

from deadband import wire
from deadband_monitor.record.reader import Recording
from deadband_monitor.report.making import make_report
from deadband_monitor.report.words import format_report
from deadband_monitor.source.live import LiveSource

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),  # two interpreters load torch and its distributed half
    pytest.mark.skipif(sys.platform != "linux", reason="gloo on the loopback"),
]
LOOP = Path(__file__).with_name("ranks_loop.py")


def torchrun(
    folder: Path, how: str, steps: int, ranks: int = 2, **environ: str
) -> subprocess.Popen[str]:
    """Ranks that have just been started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)),
            *("--master-addr", "127.0.0.1", "--master-port", port, str(LOOP), how, str(steps)),
        ],
        cwd=folder,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def train(
    folder: Path, how: str, steps: int, ranks: int = 2, **environ: str
) -> list[dict[str, Any]]:
    """Ranks under torchrun; what each of them said."""
    return outcome(torchrun(folder, how, steps, ranks, **environ), folder, ranks)


def outcome(launcher: subprocess.Popen[str], folder: Path, ranks: int = 2) -> list[dict[str, Any]]:
    """What each rank said, once all have ended."""
    try:
        _, said = launcher.communicate(timeout=220)
    finally:
        launcher.kill()
    assert launcher.returncode == 0, said[-4000:]
    assert "Warning" not in said, said
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(ranks)]


@pytest.mark.parametrize("how", ["ddp", "fsdp"])
def test_ranks_train_as_without_deadband_and_talk_no_more(how: str, tmp_path: Path) -> None:
    bare = train(tmp_path / "bare", how, 8, DEADBAND="off")
    watched = train(tmp_path / "watched", how, 8, DEADBAND_HUB="off")
    for one, other in zip(bare, watched, strict=True):
        for same in ("weights", "random", "collectives"):
            assert one[same] == other[same], same
        assert other["collectives"]
        assert (other["samples"], other["fault"]) == (8, "")
        assert other["layers"] == ["0", "1", "2", "3", "4"]
        assert {"input", "output", "output_grad", "target"} <= set(other["slots"])
        for each in ("activation", "activation_grad"):
            assert other["slots"].count(each) == 5, each
        for each in ("weight", "weight_before", "weight_grad", "bias"):
            assert other["slots"].count(each) == 3, each
        assert other["shards"] == (2 if how == "fsdp" else 1)
    assert watched[0]["run"] == watched[1]["run"]
    assert bare[0]["run"] != watched[0]["run"]


def test_what_goes_wrong_on_one_rank_is_told_of_that_rank(home: Path, tmp_path: Path) -> None:
    try:
        ranks = train(tmp_path / "run", "ddp-bad", 80)
        run = ranks[0]["run"]
        viewer = LiveSource(run)
        follow(viewer, ended)
        state = viewer.state
        viewer.close()
    finally:
        end_hubs()
    report = make_report(state)
    assert report.verdict == "failing"
    assert [(rank.rank, rank.status, rank.samples) for rank in report.ranks] == [
        (0, "finished", 80),
        (1, "finished", 80),
    ]
    anomaly = next(flag for flag in report.flags if flag.kind == "input-anomaly")
    assert (anomaly.ranks, anomaly.onset_step) == ([1], 41)
    assert anomaly.message.endswith("(only on rank 1)")
    assert (report.causes[0].cause, report.causes[0].rank) == ("bad-data", 1)
    assert "only on rank 1" in format_report(report, "text")
    with Recording(wire.recording_path(run)) as recording:
        assert recording.hello.rank == 0
        assert recording.span().samples == 80
        held = [event for event in recording.events() if isinstance(event, wire.Sample)]
    assert {rank: sum(each.rank == rank for each in held) for rank in (0, 1)} == {0: 80, 1: 80}


def test_eight_ranks_come_to_one_hub_and_none_of_their_frames_is_dropped(
    home: Path, tmp_path: Path
) -> None:
    """At two samples a second each, which is what a run of many ranks is watched with."""
    try:
        told = train(tmp_path / "run", "ddp", 20, 8, RANKS_PAUSE_S="0.5")
        assert len({each["run"] for each in told}) == 1
        viewer = LiveSource(told[0]["run"])
        follow(viewer, ended)
        report = make_report(viewer.state)
        viewer.close()
    finally:
        end_hubs()
    assert [each["dropped"] for each in told] == [0] * 8
    assert [(rank.rank, rank.status, rank.samples) for rank in report.ranks] == [
        (rank, "finished", 20) for rank in range(8)
    ]
    assert not [flag.message for flag in report.flags if flag.kind == "rank-divergence"]

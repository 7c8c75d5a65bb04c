"""Ranks that differ where they should not, told by real processes on gloo; healthy ones are not."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from processes import end_hubs, ended, follow, has_samples
from test_ranks import outcome, torchrun, train

from deadband.wire import What
from deadband_monitor.hub.registry import live_runs
from deadband_monitor.narrator import Narrator
from deadband_monitor.ranks.behind import MUTE_S
from deadband_monitor.report.making import make_report
from deadband_monitor.report.parts import Report
from deadband_monitor.report.words import format_report
from deadband_monitor.source.base import Source
from deadband_monitor.source.live import LiveSource

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),  # two to four interpreters load torch and its distributed half
    pytest.mark.skipif(sys.platform != "linux", reason="gloo on the loopback"),
]


@pytest.fixture
def report_of(home: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Trains, and says what the hub holds of it at the end."""

    def trained(how: str, steps: int = 80, ranks: int = 2) -> Report:
        try:
            run = train(tmp_path / "run", how, steps, ranks)[0]["run"]
            viewer = LiveSource(run)
            follow(viewer, ended)
            state = viewer.state
            viewer.close()
        finally:
            end_hubs()
        return make_report(state)

    return trained


def divergence(report: Report):  # type: ignore[no-untyped-def]
    found = [flag for flag in report.flags if flag.kind == "rank-divergence"]
    assert found, [flag.message for flag in report.flags]
    return found[0]


@pytest.mark.parametrize(("how", "ranks"), [("ddp", 2), ("fsdp", 2), ("ddp-uneven", 3)])
def test_healthy_ranks_are_not_called_different(report_of, how: str, ranks: int) -> None:  # type: ignore[no-untyped-def]
    report = report_of(how, ranks=ranks)
    assert not [flag.message for flag in report.flags if flag.kind == "rank-divergence"]


def test_a_weight_that_is_changed_on_one_rank_is_found(report_of) -> None:  # type: ignore[no-untyped-def]
    flag = divergence(report_of("ddp-edit"))
    assert (flag.ranks, flag.onset_step, flag.raised_step) == ([1], 41, 42), flag.message
    assert flag.layer == "2"
    assert "not by the optimiser" in flag.message


def test_of_three_ranks_the_one_with_other_weights_is_named(report_of) -> None:  # type: ignore[no-untyped-def]
    flag = divergence(report_of("ddp-loaded", 40, 3))
    assert (flag.severity, flag.ranks) == ("critical", [1]), flag.message
    assert flag.raised_step <= 10


def test_inputs_of_another_scale_on_one_rank_are_its_shard(report_of) -> None:  # type: ignore[no-untyped-def]
    report = report_of("ddp-scaled", 80, 3)
    flag = divergence(report)
    assert (flag.ranks, flag.onset_step) == ([1], 41), flag.message
    assert flag.raised_step <= 50
    assert (report.causes[0].cause, report.causes[0].rank) == ("bad-data", 1)


def test_labels_by_lot_on_one_rank_show_in_its_loss(report_of) -> None:  # type: ignore[no-untyped-def]
    flag = divergence(report_of("ddp-labels", 80, 3))
    assert flag.ranks == [1], flag.message
    assert 41 <= flag.onset_step <= 46


def test_the_rank_that_was_nan_first_is_named(report_of) -> None:  # type: ignore[no-untyped-def]
    report = report_of("ddp-nan", 60)
    flag = divergence(report)
    assert (flag.severity, flag.ranks, flag.onset_step) == ("critical", [1], 41), flag.message
    assert report.verdict == "failing"
    assert (report.causes[0].cause, report.causes[0].rank) == ("bad-data", 1)


def test_a_process_that_was_stopped_is_told_of_and_so_is_its_return(
    home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    launcher = torchrun(folder, "ddp", 100, 2, RANKS_PAUSE_S="0.1")
    stopped = 0
    try:
        viewer = LiveSource(live_run())
        follow(viewer, has_samples(20), 60.0)
        assert viewer.state.status is not None
        viewer.look_at(("model", "2", What.WEIGHT), rank=1)
        follow(viewer, lambda _: viewer.spread is not None and len(viewer.spread.course) > 3)
        assert viewer.spread is not None
        assert viewer.spread.rank == 1
        viewer.look_at(None)
        (stopped,) = [each.pid for each in viewer.state.status.ranks if each.rank == 1]
        os.kill(stopped, signal.SIGSTOP)
        began = time.monotonic()
        follow(viewer, is_flagged, MUTE_S + 30.0)
        assert time.monotonic() - began > MUTE_S
        report = make_report(viewer.state)
        flag = divergence(report)
        assert (flag.severity, flag.ranks) == ("warning", [1])
        assert flag.message.startswith(f"rank 1 stopped at step {flag.onset_step}: not a word")
        assert "the others wait for it" in flag.message
        for told in (format_report(report, "text"), "\n".join(Narrator().lines(viewer.state))):
            assert "rank 1 stopped at step" in told
        statuses = {each.rank: each.status for each in viewer.state.status.ranks}
        assert statuses == {0: "running", 1: "silent"}
        os.kill(stopped, signal.SIGCONT)
        outcome(launcher, folder)
        follow(viewer, ended)
        state = viewer.state
        viewer.close()
    finally:
        if stopped:
            os.kill(stopped, signal.SIGCONT) if Path(f"/proc/{stopped}").exists() else None
        launcher.kill()
        launcher.communicate(timeout=60)
        end_hubs()
    flag = divergence(make_report(state))
    assert flag.resolved_step is not None
    assert state.status is not None
    assert [each.status for each in state.status.ranks] == ["finished", "finished"]


def is_flagged(source: Source) -> bool:
    return any(flag.kind == "rank-divergence" for flag in source.state.flags.values())


def live_run() -> str:
    """The one run that is live, once it is."""
    until = time.monotonic() + 90.0
    while not (live := live_runs()):
        assert time.monotonic() < until, "no hub has come"
        time.sleep(0.05)
    return live[0].run

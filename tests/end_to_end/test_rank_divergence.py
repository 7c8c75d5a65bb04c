"""Ranks that differ where they should not, told by real processes on gloo; healthy ones are not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from processes import end_hubs, ended, follow
from test_ranks import train

from deadband_monitor.report.making import make_report
from deadband_monitor.report.parts import Report
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

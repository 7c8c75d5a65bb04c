"""The report: the JSON contract, and how it reads."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from msgspec.structs import replace

from deadband.wire import Coverage, Flag, FlagChange, Status
from deadband_monitor.commands.reporting import say_report
from deadband_monitor.errors import MonitorError
from deadband_monitor.report.making import make_report
from deadband_monitor.report.words import FORMATS, format_for, format_report, headline
from deadband_monitor.source.fake import FakeSource
from deadband_monitor.source.scripted import collapsing_run, healthy_run
from deadband_monitor.state.run_state import RunState


def state_of(source: FakeSource) -> RunState:
    source.finish()
    return source.state


@pytest.fixture
def collapsed() -> RunState:
    return state_of(FakeSource(collapsing_run()))


@pytest.fixture
def healthy() -> RunState:
    return state_of(FakeSource(healthy_run()))


def as_json(state: RunState) -> Any:
    return json.loads(format_report(make_report(state), "json"))


def test_the_json_has_exactly_the_keys_of_the_contract(collapsed: RunState) -> None:
    report = as_json(collapsed)
    assert set(report) == {
        *("schema", "run", "verdict", "flags", "causes", "coverage", "ranks", "unseen", "notes")
    }
    assert set(report["run"]) == {
        *("name", "id", "started", "ended", "status", "steps", "samples", "dropped", "overhead"),
        *("interval", "pace", "error"),
    }
    assert report["flags"]
    for flag in report["flags"]:
        assert set(flag) == {
            *("kind", "severity", "model", "layer", "onset_step", "raised_step"),
            *("resolved_step", "evidence", "message", "ranks"),
        }
    assert report["causes"]
    for cause in report["causes"]:
        assert set(cause) == {"cause", "confidence", "evidence", "advice", "rank"}


def test_the_json_says_what_happened(collapsed: RunState) -> None:
    report = as_json(collapsed)
    assert report["schema"] == 1
    assert report["verdict"] == "failing"
    assert report["run"]["name"] == "collapsing"
    assert report["run"]["status"] == "finished"
    assert report["run"]["ended"] > report["run"]["started"]
    assert report["run"]["steps"] == report["run"]["samples"] == 160
    assert report["causes"][0]["cause"] == "learning-rate-too-high"
    assert [flag["kind"] for flag in report["flags"]] == ["output-collapse", "dead-units"]


def test_a_healthy_run_has_no_flags_and_no_causes(healthy: RunState) -> None:
    report = as_json(healthy)
    assert (report["verdict"], report["flags"], report["causes"]) == ("healthy", [], [])


def test_a_run_that_goes_on_has_no_end_yet() -> None:
    source = FakeSource(collapsing_run())
    source.advance(40)
    report = as_json(source.state)
    assert report["run"]["status"] == "running"
    assert report["run"]["ended"] is None


def test_a_silent_run_counts_as_running_and_one_without_a_hub_as_lost() -> None:
    for said, told in (("silent", "running"), ("lost", "lost"), ("killed", "killed")):
        source = FakeSource(healthy_run())
        source.advance(20)
        source.apply(
            Status(
                seq=source.state.seq + 1,
                time=1.7e9 + 99,
                status=said,
                step=20,
                samples=20,
                dropped=0,
                overhead=0.0,
            )
        )
        report = make_report(source.state)
        assert report.run.status == told
        assert (report.run.ended is None) == (told == "running")


def test_evidence_that_is_not_finite_becomes_null(healthy: RunState) -> None:
    flag = Flag(
        id=9,
        kind="non-finite",
        severity="critical",
        model="model",
        layer="net.0",
        onset_step=3,
        raised_step=3,
        evidence={"loss": float("nan"), "grad_norm": float("inf"), "nonfinite": 0.5},
    )
    healthy.apply(FlagChange(seq=healthy.seq + 1, step=3, flag=flag))
    (told,) = as_json(healthy)["flags"]
    assert told["evidence"] == {"loss": None, "grad_norm": None, "nonfinite": 0.5}
    assert "loss not finite" in format_report(make_report(healthy), "text")


def test_a_resolved_flag_comes_last_and_says_so(collapsed: RunState) -> None:
    (collapse, *_) = collapsed.open_flags
    collapse.resolved_step = 150
    report = make_report(collapsed)
    assert [flag.kind for flag in report.flags] == ["dead-units", "output-collapse"]
    assert "steps 62 to 150, called at 74, resolved" in format_report(report, "text")


def test_the_text_gives_verdict_cause_evidence_and_advice_in_that_order(
    collapsed: RunState,
) -> None:
    text = format_report(make_report(collapsed), "text")
    parts = [
        "FAILING: learning-rate-too-high (92 % sure)",
        "finished after 160 steps",
        "CAUSE 1   learning-rate-too-high",
        "  - the largest update was",
        "  Try: divide the learning rate by 10",
        "CRITICAL  output-collapse   whole model   since step 62, called at 74",
        "WARNING   dead-units   layer net.1   since step 61, called at 68",
        "Rests on 160 samples of 160 steps, none dropped; measuring cost 0.6 %",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize("width", [40, 80])
def test_no_line_of_the_text_is_wider_than_asked_and_no_word_is_lost(
    width: int, collapsed: RunState
) -> None:
    report = make_report(collapsed)
    narrow = format_report(report, "text", width=width)
    assert max(map(len, narrow.splitlines())) <= width
    assert narrow.split() == format_report(report, "text").split()


def test_a_report_is_as_wide_as_the_terminal(
    collapsed: RunState, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    say_report(make_report(collapsed))
    assert max(map(len, capsys.readouterr().out.splitlines())) > 60, "no terminal: its own width"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    say_report(make_report(collapsed))
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60


def test_markdown_has_a_row_for_each_flag(collapsed: RunState) -> None:
    text = format_report(make_report(collapsed), "markdown")
    assert text.startswith("# FAILING: learning-rate-too-high")
    assert "| critical | output-collapse | `whole model` | since step 62, called at 74 |" in text
    assert "**Try:** divide the learning rate by 10" in text


def test_every_format_ends_in_one_newline(collapsed: RunState, healthy: RunState) -> None:
    for state in (collapsed, healthy):
        for form in FORMATS:
            text = format_report(make_report(state), form)
            assert text.endswith("\n")
            assert not text.endswith("\n\n")


def test_the_exit_status_follows_the_verdict(collapsed: RunState, healthy: RunState) -> None:
    assert make_report(healthy).exit_status == 0
    assert make_report(collapsed).exit_status == 3
    collapsed.verdict = "warning"
    assert make_report(collapsed).exit_status == 1


def test_the_headline_names_flags_where_no_cause_is_known(collapsed: RunState) -> None:
    collapsed.causes = []
    assert headline(make_report(collapsed)) == "FAILING: output-collapse, dead-units"
    collapsed.verdict = "healthy"  # as where nothing but notes stands
    assert headline(make_report(collapsed)) == "HEALTHY; noted: output-collapse, dead-units"


def test_a_run_that_no_rule_could_judge_is_not_simply_healthy(healthy: RunState) -> None:
    report = make_report(healthy)
    blind = [
        Coverage(kind=kind, state="impossible", reason="no output seen")
        for kind in ("output-collapse", "saturation")
    ]
    judged = [*blind, Coverage(kind="loss-divergence", state="armed", reason="")]
    unjudged = replace(report, coverage=blind)
    assert headline(replace(report, coverage=judged)) == "HEALTHY"
    assert headline(unjudged) == "HEALTHY, but no rule had anything to judge by"
    assert "output-collapse, saturation (no output seen)." in format_report(unjudged, "text")


def test_a_run_whose_rules_failed_is_not_simply_healthy(healthy: RunState) -> None:
    report = make_report(healthy)
    broken = replace(report, run=replace(report.run, error="rules failed at step 3: KeyError: 'x'"))
    assert headline(broken) == "HEALTHY, but not all of it was judged"
    assert "error     rules failed at step 3: KeyError: 'x'" in format_report(broken, "text")


def test_a_state_that_knows_nothing_makes_no_report() -> None:
    with pytest.raises(MonitorError, match="nothing is known"):
        make_report(RunState())


def test_the_file_name_chooses_the_format() -> None:
    assert [format_for(name) for name in ("r.json", "r", "r.MD", "r.txt")] == [
        *("json", "json", "markdown", "text")
    ]

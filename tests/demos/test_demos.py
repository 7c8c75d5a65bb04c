"""The demos: their table, their size, and that deadband says of each what it should."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deadband import wire
from deadband_demos.catalog import CATALOG, Demo
from deadband_monitor import cli
from deadband_monitor.rules.catalog import CAUSES

FAILING = [demo for demo in CATALOG if demo.cause]
LINES_AT_MOST = 150
ONSET_SLACK_STEPS = 10
CHANCE = 0.1


def test_the_six_demos_of_the_main_line_are_there() -> None:
    assert [demo.name for demo in CATALOG] == [
        *("healthy", "lr-too-high", "saturated-sigmoid", "constant-init", "dying-relu"),
        "unnormalised-inputs",
    ]


@pytest.mark.parametrize("demo", CATALOG, ids=lambda demo: demo.name)
def test_a_demo_is_one_short_file(demo: Demo) -> None:
    text = demo.script.read_text(encoding="utf-8")
    assert text.count("\n") <= LINES_AT_MOST
    assert "torch.set_num_threads(1)" in text


def test_every_failing_demo_has_a_cause_that_deadband_knows_and_a_remedy() -> None:
    for demo in FAILING:
        assert demo.remedy
        assert demo.cause in {entry.word for entry in CAUSES}


def test_the_command_line_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["demo", "--list"]) == 0
    text = capsys.readouterr().out
    for demo in CATALOG:
        assert demo.name in text
        assert demo.summary in text
        assert demo.remedy in text


def run_demo(demo: Demo, *, healthy: bool) -> tuple[str, str, Any]:
    """Run it at full speed under `deadband demo`: the plain report, its own words, the JSON."""
    twin = ["--healthy"] if healthy else []
    done = subprocess.run(
        [sys.executable, "-m", "deadband_monitor", "demo", demo.name, *twin],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (log,) = wire.runs_folder().glob("*.log")
    told = subprocess.run(
        [sys.executable, "-m", "deadband_monitor", "report", log.stem, "--format", "json"],
        capture_output=True,
        check=False,
    )
    return done.stdout, log.read_text(encoding="utf-8"), json.loads(told.stdout)


def accuracy(words: str) -> float:
    (found,) = re.findall(r"test accuracy ([\d.]+)", words)
    return float(found)


@pytest.fixture(autouse=True)
def full_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEADBAND_DEMO_PACE", "0")


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("demo", FAILING, ids=lambda demo: demo.name)
def test_a_failing_demo_fails_and_deadband_names_the_cause(demo: Demo, home: Path) -> None:
    text, words, report = run_demo(demo, healthy=False)
    assert accuracy(words) < CHANCE + 0.05
    assert report["verdict"] == "failing"
    assert report["causes"][0]["cause"] == demo.cause
    onsets = [flag["onset_step"] for flag in report["flags"]]
    assert demo.from_step <= min(onsets) <= demo.from_step + ONSET_SLACK_STEPS
    assert "CRITICAL" in text
    assert f"FAILING: {demo.cause}" in text


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("demo", CATALOG, ids=lambda demo: demo.name)
def test_a_healthy_twin_learns_and_raises_no_flag(demo: Demo, home: Path) -> None:
    _, words, report = run_demo(demo, healthy=True)
    assert accuracy(words) >= 0.9
    assert report["verdict"] == "healthy"
    assert [flag for flag in report["flags"] if flag["severity"] != "info"] == []
    assert report["causes"] == []

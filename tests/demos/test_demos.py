"""The demos: their table, their size, and that deadband says of each what it should."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from deadband_demos.catalog import CATALOG, Demo
from deadband_monitor import cli
from deadband_monitor.rules.catalog import CAUSES

FAILING = [demo for demo in CATALOG if demo.cause]
NAMES = [demo.name for demo in CATALOG]
LINES_AT_MOST = 90
ONSET_SLACK_STEPS = 10


def test_the_six_demos_of_the_main_line_are_there() -> None:
    main_line = {
        *("healthy", "lr-too-high", "saturated-sigmoid", "constant-init", "dying-relu"),
        "unnormalised-inputs",
    }
    assert main_line <= set(NAMES)


def test_names_are_given_once_and_every_script_of_the_folder_is_in_the_table() -> None:
    assert len(set(NAMES)) == len(NAMES)
    folder = CATALOG[0].script.parent
    scripts = {path for path in folder.glob("*.py") if "def main()" in path.read_text()}
    assert {demo.script for demo in CATALOG} == scripts - {folder / "__main__.py"}


@pytest.mark.timeout(60)  # the first one imports torch and scikit-learn
@pytest.mark.parametrize("demo", CATALOG, ids=NAMES)
def test_a_demo_is_one_short_file_that_says_what_it_shows(
    demo: Demo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = demo.script.read_text(encoding="utf-8")
    assert text.count("\n") <= LINES_AT_MOST
    assert "torch.set_num_threads(1)" in text or "import torch" not in text
    assert ("the fault" in text or "the bug" in text) == bool(demo.cause)
    module = importlib.import_module(f"deadband_demos.{demo.script.stem}")
    monkeypatch.setattr(sys, "argv", [str(demo.script), "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    about, _, rest = (module.__doc__ or "").partition("\n")
    assert about in capsys.readouterr().out
    assert ("twin (`--healthy`)" in rest) == bool(demo.cause)


def test_every_failing_demo_has_a_cause_that_deadband_knows_and_a_remedy() -> None:
    for demo in FAILING:
        assert demo.remedy
        assert demo.cause in {entry.word for entry in CAUSES}
        assert demo.fails_below < demo.learns_above


def test_every_cause_that_deadband_names_has_a_demo() -> None:
    shown = {demo.cause for demo in FAILING}
    assert {entry.word for entry in CAUSES} - shown == {"local-minimum"}


def test_the_list_has_each_cause_once_and_a_line_for_each_demo(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["demo", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for cause, demos in groupby(FAILING, key=lambda demo: demo.cause):
        assert lines.count(cause) == 1
        below = lines[lines.index(cause) + 1 :]
        for demo, line in zip(demos, below, strict=False):
            assert line.split() == [demo.name, *demo.summary.split()]
    assert max(map(len, lines)) <= 100


def test_the_list_of_twins_says_what_each_does_differently(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["demo", "--list", "--healthy"]) == 0
    text = capsys.readouterr().out
    for demo in FAILING:
        assert re.search(rf"{demo.name} +{re.escape(demo.remedy)}\n", text)


def test_the_readme_lists_every_demo() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\|[^|]*\| `([a-z0-9-]+)`", readme, re.MULTILINE)
    assert listed == NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a demo said of itself, and what deadband said of it."""

    score: float
    """NaN where the run has no number to show."""
    report: Any

    @property
    def flags(self) -> list[Any]:
        """Those that are more than information."""
        return [flag for flag in self.report["flags"] if flag["severity"] != "info"]


def run_demo(demo: Demo, folder: Path, *, healthy: bool) -> Told:
    """Run it at full speed under `deadband run --report`."""
    report = folder / "report.json"
    twin = ["--healthy"] if healthy and demo.cause else []
    # At full speed one step in thirty is measured by then; at a person's pace, one in three.
    late = ["--every", "1"] if demo.from_step > 1 else []
    done = subprocess.run(
        [
            *(sys.executable, "-m", "deadband_monitor", "run", "--report", str(report)),
            *late,
            *(str(demo.script), "--pace", "0", *twin),
        ],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (score,) = re.findall(rf"^{demo.score} (\S+)$", done.stdout, re.MULTILINE)
    return Told(score=float(score), report=json.loads(report.read_text(encoding="utf-8")))


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("demo", FAILING, ids=lambda demo: demo.name)
def test_a_failing_demo_fails_and_deadband_names_the_cause(demo: Demo, home: Path) -> None:
    told = run_demo(demo, home, healthy=False)
    assert not told.score >= demo.fails_below  # NaN is failing too
    assert told.report["verdict"] != "healthy"
    assert demo.cause in [cause["cause"] for cause in told.report["causes"][:2]]
    if demo.from_step > 1:
        onset = min(flag["onset_step"] for flag in told.flags)
        # The step before may be the last that is known to have been right.
        assert demo.from_step - 1 <= onset <= demo.from_step + ONSET_SLACK_STEPS


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("demo", CATALOG, ids=NAMES)
def test_a_healthy_twin_learns_and_raises_no_flag(demo: Demo, home: Path) -> None:
    told = run_demo(demo, home, healthy=True)
    assert told.score >= demo.learns_above
    assert told.report["verdict"] == "healthy"
    assert told.flags == []
    assert told.report["causes"] == []

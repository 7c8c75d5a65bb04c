"""`deadband run` on real scripts: what python would have done, and a report beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deadband_monitor.commands.training import Training

WATCHED = """
import numpy as np

import deadband

rng = np.random.default_rng(0)
watch = deadband.watch(None)
for step in range(60):
    watch.observe("gate", rng.random((32, 8), dtype=np.float32), activation="sigmoid")
    watch.step(loss=1 / (step + 1))
"""
# Without torch a process starts ten times as fast; only the last tests here are about real models.
CNN = """
import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)
digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32).view(-1, 1, 8, 8) / 16
labels = torch.tensor(digits.target)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10),
)
optimizer = torch.optim.SGD(model.parameters(), lr=float(sys.argv[1]), momentum=0.9)
for step in range(300):
    rows = torch.randint(len(images), (64,))
    loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""

Script = Path


def deadband(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`deadband ...` as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "deadband_monitor", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def read(report: Path) -> Any:
    return json.loads(report.read_text(encoding="utf-8"))


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert "Traceback" not in done.stderr, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("deadband: ")]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    path = tmp_path / "train.py"
    path.write_text(WATCHED, encoding="utf-8")
    return path


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "r.json"


def written(tmp_path: Path, lines: Sequence[str] | str) -> Script:
    path = tmp_path / "other.py"
    path.write_text(lines if isinstance(lines, str) else "\n".join(lines), encoding="utf-8")
    return path


def test_a_run_leaves_a_report(script: Script, report: Path) -> None:
    done = deadband("run", "--report", report, script)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    found = read(report)
    assert found["run"]["name"] == "train"
    assert found["run"]["status"] == "finished"
    assert found["run"]["steps"] == 60
    assert complaints(done)[-1].startswith(f"deadband: {found['verdict'].upper()}")


def test_text_and_markdown_reports_follow_the_suffix(script: Script, tmp_path: Path) -> None:
    for name, opening in (("r.txt", "HEALTHY"), ("r.md", "# HEALTHY")):
        deadband("run", "--report", tmp_path / name, script)
        assert (tmp_path / name).read_text(encoding="utf-8").startswith(opening)


def test_the_script_gets_its_own_words_whatever_they_look_like(
    tmp_path: Path, report: Path
) -> None:
    echo = written(tmp_path, WATCHED + "\nimport sys; print(sys.argv[1:])")
    words = ["--report", "x", "--every", "--", "-m", "--live"]
    done = deadband("run", "--report", report, "--every", "2", echo, *words)
    assert done.stdout.strip() == str(words)
    assert read(report)["run"]["samples"] == 30


def test_a_module_runs_as_with_python_m(script: Script, report: Path) -> None:
    done = deadband("run", "--report", report, "-m", "train", cwd=script.parent)
    assert done.returncode == 0, done.stderr
    assert read(report)["run"]["steps"] == 60


def test_the_run_can_be_given_a_name(script: Script, report: Path) -> None:
    deadband("run", "--name", "try-7", "--report", report, script)
    found = read(report)["run"]
    assert found["name"] == "try-7"
    assert found["id"].startswith("try-7-")


def test_without_a_report_the_script_takes_our_place(tmp_path: Path) -> None:
    done = deadband("run", written(tmp_path, "import os; print(os.getppid())"))
    assert int(done.stdout) == os.getpid()


@pytest.mark.parametrize(("ending", "status"), [("raise SystemExit(7)", 7), ("1 / 0", 1)])
def test_the_exit_status_is_the_scripts_own(
    ending: str, status: int, tmp_path: Path, report: Path
) -> None:
    script = written(tmp_path, WATCHED + ending)
    assert deadband("run", script).returncode == status
    done = deadband("run", "--report", report, "--fail-on", "warning", script)
    assert done.returncode == status
    assert read(report)["run"]["status"] == "failed"


def test_a_script_that_is_killed_leaves_a_report_that_says_so(tmp_path: Path, report: Path) -> None:
    # It waits for its hub first: in a process that lives for milliseconds there is nothing to read.
    script = written(
        tmp_path,
        [
            "import os, signal, time",
            "from pathlib import Path",
            WATCHED,
            "runs = Path(os.environ['DEADBAND_HOME'], 'runs')",
            "while not list(runs.glob('*.dbr')): time.sleep(0.01)",
            "os.kill(os.getpid(), signal.SIGKILL)",
        ],
    )
    done = deadband("run", "--report", report, script)
    assert done.returncode == 128 + signal.SIGKILL
    found = read(report)["run"]
    assert found["status"] == "killed"
    assert found["steps"] == found["samples"] == 60


def test_an_interrupted_script_has_failed_it_was_not_killed(tmp_path: Path, report: Path) -> None:
    done = deadband(
        "run", "--report", report, written(tmp_path, WATCHED + "raise KeyboardInterrupt")
    )
    assert done.returncode in (-signal.SIGINT, 128 + signal.SIGINT)
    assert read(report)["run"]["status"] == "failed"
    assert "deadband: HEALTHY, but the run failed" in done.stderr


def test_a_termination_is_passed_on_and_the_end_waited_for(tmp_path: Path, report: Path) -> None:
    script = written(
        tmp_path,
        [
            "import signal, sys, time",
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9))",
            WATCHED,
            "print('trained', flush=True)",
            # Not signal.pause(): a signal that comes just before it would be slept through.
            "while True: time.sleep(0.05)",
        ],
    )
    command = [sys.executable, "-m", "deadband_monitor", "run", "--report", str(report)]
    process = subprocess.Popen([*command, str(script)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "trained\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 9
    finally:
        process.kill()
        process.communicate()
    assert read(report)["run"]["status"] == "failed"


def test_a_script_minds_ctrl_c_where_a_shell_has_its_background_jobs_ignore_it(
    tmp_path: Path,
) -> None:
    script = tmp_path / "endless.py"
    script.write_text("import time\nprint('up', flush=True)\ntime.sleep(60)\n")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        training = Training([str(script)], run="any", settings={}, output=tmp_path / "log")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        with training.taking_our_signals():
            while "up" not in (tmp_path / "log").read_text():
                assert training.wait_for(0.01) is None
            os.kill(os.getpid(), signal.SIGINT)
            assert training.wait() == 130
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_script_that_does_not_exist_is_one_line_with_pythons_status(report: Path) -> None:
    for options in ([], ["--report", str(report)]):
        done = deadband("run", *options, "no-such-script.py")
        assert done.returncode == 2
        (line,) = complaints(done)
        assert "no-such-script.py" in line
    assert not report.exists()


def test_a_script_that_is_not_python_is_told_as_python_would(tmp_path: Path) -> None:
    done = deadband("run", written(tmp_path, "for ("))
    assert done.returncode == 1
    assert "SyntaxError" in done.stderr
    assert "deadband" not in done.stderr.replace(str(tmp_path), "")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\x7fELF\0\0")
    (line,) = complaints(deadband("run", binary))
    assert "not a Python script" in line


def test_a_script_without_a_model_runs_and_is_told_how_to_call_watch(
    tmp_path: Path, report: Path
) -> None:
    script = written(tmp_path, "print('hello')")
    done = deadband("run", script)
    assert (done.returncode, done.stdout) == (0, "hello\n")
    (line,) = complaints(done)
    assert "no model found" in line
    assert "deadband.watch(model, optimizer)" in line
    done = deadband("run", "--report", report, script)
    assert done.returncode == 0
    assert "nothing was recorded" in complaints(done)[-1]
    assert not report.exists()
    # A gate that could not look must not let the run through.
    assert deadband("run", "--fail-on", "critical", script).returncode == 2


def test_where_runs_cannot_be_kept_training_runs_on_and_one_line_says_so(
    script: Script, home: Path
) -> None:
    (home / "runs").write_text("a file where the folder should be")
    (home / "live").write_text("a file where the folder should be")
    done = deadband("run", script)
    assert done.returncode == 0
    (line,) = complaints(done)
    assert str(home) in line


def test_live_without_a_terminal_tells_the_run_in_plain_lines(script: Script) -> None:
    done = deadband("run", "--live", script)
    assert done.returncode == 0
    lines = complaints(done)
    assert "no terminal to draw on" in lines[0]
    assert any("watching train-" in line for line in lines)
    assert any("finished" in line for line in lines)


@pytest.mark.timeout(60)
def test_a_cnn_that_learns_is_called_healthy(tmp_path: Path, report: Path) -> None:
    done = deadband("run", "--report", report, written(tmp_path, CNN), "0.05")
    assert done.returncode == 0, done.stderr
    found = read(report)
    assert found["verdict"] == "healthy"
    assert found["flags"] == []
    assert found["causes"] == []


@pytest.mark.timeout(60)
def test_the_same_cnn_with_a_learning_rate_of_50_is_called_failing_and_why(
    tmp_path: Path, report: Path
) -> None:
    done = deadband(
        *("run", "--fail-on", "critical", "--report", report, written(tmp_path, CNN), "50")
    )
    assert done.returncode == 3, done.stderr
    found = read(report)
    assert found["verdict"] == "failing"
    assert found["causes"][0]["cause"] == "learning-rate-too-high"
    assert min(flag["onset_step"] for flag in found["flags"]) <= 10

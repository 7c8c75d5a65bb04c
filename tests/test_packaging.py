"""The wheel: what is in it, and that it works where torch is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from deadband import wire
from deadband_monitor.record.writer import Recorder
from deadband_monitor.source.scripted import collapsing_run

ROOT = Path(__file__).parents[1]
PIP = ["-m", "pip", "--disable-pip-version-check", "--quiet"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that no build folder is left in the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, files)):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", folder, source], check=True
    )
    (built,) = folder.glob("deadband-*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with the wheel in it, and nothing else asked for."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [python, *PIP, "install", "-c", ROOT / "constraints.txt", wheel], check=True, cwd=folder
    )
    return python


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`deadband ...` from the fresh environment, far from the source tree."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [python.with_name("deadband"), *arguments],
        capture_output=True,
        text=True,
        cwd=python.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_the_wheel_has_the_three_packages_the_style_sheet_and_the_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        *("deadband/wire.py", "deadband/py.typed", "deadband_monitor/cli.py"),
        *("deadband_monitor/tui/deadband.tcss", "deadband_demos/lr_too_high.py"),
    ):
        assert wanted in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests", "client", "monitor/"))]


def test_it_works_without_torch(python: Path, home: Path) -> None:
    assert subprocess.run([python, "-c", "import torch"], stderr=subprocess.DEVNULL).returncode
    assert subprocess.run([python, "-c", "import deadband"]).returncode == 0
    events = list(collapsing_run())
    recorder = Recorder(wire.recording_path("collapsing-000001"))
    for event in events:
        recorder.add(event)
    recorder.close(0.0)

    assert "usage: deadband" in run(python, "--help").stdout
    assert "collapsing-000001" in run(python, "runs").stdout
    report = run(python, "report", "collapsing")
    assert report.returncode == 3
    assert report.stdout.startswith("FAILING: learning-rate-too-high")
    assert "lr-too-high" in run(python, "demo", "--list").stdout


def test_a_demo_without_torch_says_what_to_install(python: Path, home: Path) -> None:
    done = run(python, "demo", "healthy")
    assert done.returncode != 0
    assert "pip install 'deadband[demos]'" in done.stderr
    assert "Traceback" not in done.stderr

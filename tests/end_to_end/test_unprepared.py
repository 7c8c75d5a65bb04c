"""`deadband attach --pid`: a script that never heard of deadband is watched, and let go of."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import end_hubs, follow, has_samples

from deadband import wire
from deadband_monitor.commands.unprepared import leave_process, watch_process
from deadband_monitor.errors import MonitorError
from deadband_monitor.source.live import LiveSource
from deadband_monitor.source.replay import ReplaySource

PATIENCE_S = 60.0
LOOP = str(Path(__file__).with_name("unprepared_loop.py"))

pytestmark = [
    pytest.mark.timeout(150),
    pytest.mark.skipif(
        shutil.which("gdb") is None and sys.version_info < (3, 14), reason="gdb is not installed"
    ),
]


class Unprepared:
    """A script that trains until it is told to stop."""

    def __init__(self, folder: Path, rate: float, *rest: str) -> None:
        self._stop = folder / "stop"
        environ = {key: text for key, text in os.environ.items() if not key.startswith("DEADBAND_")}
        self.process = subprocess.Popen(
            [sys.executable, LOOP, str(rate), str(self._stop), *rest],
            stdout=subprocess.PIPE,
            text=True,
            env={**environ, "DEADBAND_HOME": os.environ["DEADBAND_HOME"]},
        )
        self.pid = self.process.pid
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "training\n"

    def end(self) -> dict[str, Any]:
        """What it says of itself at its end."""
        self._stop.touch()
        said, _ = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0
        found: dict[str, Any] = json.loads(said)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def scripts(home: Path, tmp_path: Path) -> Iterator[Callable[..., Unprepared]]:
    made: list[Unprepared] = []

    def make(rate: float, *rest: str) -> Unprepared:
        made.append(Unprepared(tmp_path, rate, *rest))
        return made[-1]

    yield make
    for each in made:
        each.close()
    end_hubs()


def bare(rate: float, steps: int) -> dict[str, Any]:
    command = [sys.executable, LOOP, str(rate), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_run_under_way_is_watched_and_let_go_of_and_never_knew(
    scripts: Callable[..., Unprepared],
) -> None:
    script = scripts(1e-3)
    run = watch_process(script.pid)
    source = LiveSource(run)
    try:
        follow(source, has_samples(20), PATIENCE_S)
        table = source.state.table
        assert table is not None
        assert [model.late for model in table.models] == [True]
        assert len(table.layers) == 5
        # Adam counts, so the numbers of the steps are those of the run, not of the watch.
        first = source.state.recent[0].step
        with pytest.raises(MonitorError, match="watched already"):
            watch_process(script.pid)
        leave_process(script.pid)
        follow(source, lambda source: source.link == "ended", PATIENCE_S)
        last = source.state.step
    finally:
        source.close()
    with pytest.raises(MonitorError, match="nothing to take out"):
        leave_process(script.pid)
    end = script.end()
    assert 1 < first < last < end["steps"]
    assert end["hooks"] == 0
    assert end["threads"] == 1
    assert end["names"] == []
    assert end["loss_function"] == "torch.nn.functional"
    alone = bare(1e-3, end["steps"])
    assert (end["weights"], end["random"]) == (alone["weights"], alone["random"])


@pytest.mark.slow
def test_a_process_without_deadband_is_lent_it_and_its_failure_is_flagged(
    scripts: Callable[..., Unprepared],
) -> None:
    script = scripts(3.0, "lend")
    source = LiveSource(watch_process(script.pid))
    try:
        follow(source, lambda source: bool(source.state.open_flags), PATIENCE_S)
        first, raised = source.state.recent[0].step, source.state.open_flags[0].raised_step
        follow(source, lambda source: source.state.verdict == "failing", PATIENCE_S)
        script.end()
        follow(source, lambda source: source.link == "ended", PATIENCE_S)
    finally:
        source.close()
    assert raised - first <= 100
    recording = ReplaySource(wire.recording_path(source.name))
    assert recording.state.verdict == "failing"
    # What is seen first is what the rate has made of the weights, not how they were drawn.
    words = [cause.cause for cause in recording.state.causes]
    assert "bad-initialisation-scale" not in words
    recording.close()


def test_what_cannot_be_watched_is_refused_in_one_line(home: Path) -> None:
    waits = "import sys; print('ready', flush=True); sys.stdin.readline(); print(len('bye'))"
    child = subprocess.Popen(
        [sys.executable, "-c", f"while True:\n {waits}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    shell = subprocess.Popen(["sleep", "60"])
    try:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "ready\n"
        with pytest.raises(MonitorError, match="not Python but"):
            watch_process(shell.pid)
        with pytest.raises(MonitorError, match="is this very command"):
            watch_process(os.getpid())
        with pytest.raises(MonitorError, match="there is no process"):
            watch_process(2**22 - 3)
    finally:
        for process in (child, shell):
            process.kill()
            process.communicate()

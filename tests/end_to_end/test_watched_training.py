"""The whole line with the real client: `deadband.watch` in a loop, hub, recording, viewers."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from processes import PATIENCE_S, await_end, end_hubs, ended, follow, has_samples

from deadband import wire
from deadband.wire import Flag, FlagChange, LayerTable, Sample
from deadband_monitor.hub.registry import live_hub
from deadband_monitor.record.reader import Recording
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.engine import Engine
from deadband_monitor.source.live import LiveSource
from deadband_monitor.source.open import open_source

RUN = "loop-000001"


class Loop:
    """A handle on `loop.py`."""

    def __init__(self, rate: float, steps: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("loop.py")), str(rate), str(steps)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "DEADBAND_RUN": RUN},
        )

    def says(self) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        assert ready, "the loop says nothing"
        return self.process.stdout.readline().strip()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def loops(home: Path) -> Iterator[list[Loop]]:
    made: list[Loop] = []
    yield made
    for loop in made:
        loop.close()
    end_hubs()


@pytest.fixture
def viewer(home: Path) -> Iterator[LiveSource]:
    source = LiveSource(RUN)
    yield source
    source.close()


def hub() -> int:
    """Its process, once a viewer has had an answer from it."""
    registration = live_hub(RUN)
    assert registration is not None
    return registration.hub_pid


def start(loops: list[Loop], rate: float, steps: int) -> Loop:
    loops.append(Loop(rate, steps))
    return loops[-1]


def rejudged(recording: Recording) -> list[Flag]:
    """The flags that the rules raise over the samples of a recording."""
    engine = Engine()
    tables: dict[int, LayerTable] = {}
    rates: dict[str, float] = {}
    for event in recording.events():
        if isinstance(event, LayerTable):
            tables[event.id] = event
            engine.adopt(event)
        elif isinstance(event, Sample):
            table = tables[event.table]
            for name, points in event.scalars.items():
                if name == "lr" or name.startswith("lr/"):
                    rates[name] = float(np.frombuffer(points.values, np.float32)[-1])
            loss = event.scalars["loss"]
            engine.observe(
                Observation(
                    step=event.step,
                    table=table,
                    layers=np.frombuffer(event.layers, np.float32).reshape(len(table.layers), -1),
                    models=np.frombuffer(event.models, np.float32).reshape(len(table.models), -1),
                    loss_steps=np.frombuffer(loss.steps, np.int64),
                    losses=np.frombuffer(loss.values, np.float32),
                    learning_rates=dict(rates),
                )
            )
    return engine.flags


@pytest.mark.slow
def test_a_late_viewer_sees_a_watched_loop_from_its_first_step(
    loops: list[Loop], viewer: LiveSource
) -> None:
    loop = start(loops, 0.1, 60)
    assert loop.says() == "at 20"
    follow(viewer, has_samples(20))
    assert [reading.step for reading in viewer.state.recent] == list(range(1, 21))
    assert [layer.kind for layer in viewer.state.layers][:2] == ["Linear", "ReLU"]
    process = hub()
    for said in ("at 40", "done healthy"):
        loop.go_on()
        assert loop.says() == said
    follow(viewer, ended)
    await_end(process)
    assert viewer.state.status is not None
    assert viewer.state.status.status == "finished"
    assert viewer.state.samples == 60
    assert viewer.state.scalars["loss"].last_step == 60
    assert viewer.state.verdict == "healthy"
    replayed = open_source("loop")
    assert replayed.state.pack() == viewer.state.pack()
    replayed.close()


SHORT = """
import numpy as np, deadband
watch = deadband.watch(None, every=1)
for step in range(1, 901):
    watch.observe("x", np.full((8, 4), step), role="input")
    watch.step(loss=step)
watch.close()
"""


@pytest.mark.slow
def test_of_a_run_that_is_over_before_its_hub_is_there_no_loss_is_lost(
    viewer: LiveSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEADBAND_RUN", RUN)
    subprocess.run([sys.executable, "-c", SHORT], check=True, timeout=60)
    follow(viewer, ended)
    with closing(Recording(wire.recording_path(RUN))) as recording:
        samples = [event for event in recording.events() if isinstance(event, Sample)]
    losses = [
        step for event in samples for step in np.frombuffer(event.scalars["loss"].steps, np.int64)
    ]
    assert losses == list(range(1, 901))
    measured = [event.step for event in samples if event.layers or event.models]
    assert measured[:50] == list(range(1, 51))
    assert measured[-1] > 800


def test_a_collapse_is_called_live_and_again_from_its_recording(
    loops: list[Loop], viewer: LiveSource
) -> None:
    loop = start(loops, 50.0, 100)
    for step in range(20, 80, 20):
        assert loop.says() == f"at {step}"
        loop.go_on()
    assert loop.says() == "at 80"
    follow(viewer, lambda source: source.state.verdict == "failing")
    loop.go_on()
    assert loop.says() == "done failing"
    follow(viewer, ended)
    with Recording(wire.recording_path(RUN)) as recording:
        changes = [event for event in recording.events() if isinstance(event, FlagChange)]
        assert recording.verdict == "failing"
        assert changes[0].flag.onset_step <= 10
        assert rejudged(recording) == recording.flags


def test_a_run_that_is_over_before_its_hub_has_begun_knows_what_it_came_to(
    loops: list[Loop], viewer: LiveSource
) -> None:
    assert start(loops, 50.0, 19).says() == "done failing"


def test_kill_9_on_a_watched_loop_leaves_every_step_that_it_took(
    loops: list[Loop], viewer: LiveSource
) -> None:
    loop = start(loops, 0.1, 60)
    assert loop.says() == "at 20"
    follow(viewer, has_samples(1))
    process = hub()
    loop.go_on()
    assert loop.says() == "at 40"
    loop.process.kill()
    await_end(process)
    with Recording(wire.recording_path(RUN)) as recording:
        steps = [event.step for event in recording.events() if isinstance(event, Sample)]
        assert steps == list(range(1, 41))
        assert recording.last_status is not None
        assert recording.last_status.status == "killed"


def test_kill_9_on_the_hub_leaves_a_watched_loop_running(
    loops: list[Loop], viewer: LiveSource
) -> None:
    loop = start(loops, 0.1, 60)
    assert loop.says() == "at 20"
    follow(viewer, has_samples(20))
    os.kill(hub(), signal.SIGKILL)
    for said in ("at 40", "done healthy"):
        loop.go_on()
        assert loop.says() == said
    assert loop.process.wait(PATIENCE_S) == 0
    follow(viewer, ended)
    assert viewer.state.status is not None
    assert viewer.state.status.status == "lost"

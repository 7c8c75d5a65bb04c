from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deadband import wire
from deadband.wire import Registration, Sample
from deadband_monitor.errors import BadRecording, UnknownRun
from deadband_monitor.hub import history
from deadband_monitor.hub.history import Chronicle
from deadband_monitor.hub.registry import Claim
from deadband_monitor.record.writer import Recorder
from deadband_monitor.source import replay
from deadband_monitor.source.base import Source
from deadband_monitor.source.fake import FakeSource
from deadband_monitor.source.open import open_source
from deadband_monitor.source.reel import OwnRecording
from deadband_monitor.source.replay import ReplaySource
from deadband_monitor.source.scripted import collapsing_run, healthy_run
from deadband_monitor.state.run_state import STATE_LAYOUT, RunState

EVENTS = list(collapsing_run(samples=200, every=2, onset=60))
RUN = "collapsing-000001"


def write(upto: int | None = None) -> Path:
    recorder = Recorder(wire.recording_path(RUN))
    for event in EVENTS[:upto]:
        recorder.add(event)
    recorder.close(0.0)
    return recorder.path


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    made = ReplaySource(write())
    yield made
    made.close()


def at_step(step: int) -> RunState:
    """The state after everything that belongs to steps up to this one."""
    state = RunState()
    for event in EVENTS:
        if isinstance(event, Sample) and event.step > step:
            break
        state.apply(event)
    return state


def test_a_recording_opens_at_its_end(source: ReplaySource) -> None:
    assert source.state.pack() == at_step(10**9).pack()
    assert (source.position, source.first_step, source.last_step) == (400, 2, 400)
    assert source.link == "replay"
    assert source.last_heard == source.state.recent[-1].time
    assert not source.refresh(0.0)


@pytest.mark.parametrize("near", [1, 64, 2048])
def test_any_step_shows_what_was_known_then(near: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OwnRecording, "far_events", near)
    monkeypatch.setattr(history, "SNAPSHOT_EVENTS", 40)
    chronicle = Chronicle(Recorder(wire.recording_path(RUN)))
    for now, event in enumerate(EVENTS):
        chronicle.add(event)
        chronicle.commit(float(now))
    chronicle.close(1e6)
    source = ReplaySource(wire.recording_path(RUN))
    choose = np.random.default_rng(5)
    for step in choose.integers(-5, 420, 40).tolist():
        source.seek(step)
        source.refresh(0.0)
        assert source.state.pack() == at_step(step).pack(), step
        assert source.position == min(max(step, 0), 400)
    source.close()


def test_a_snapshot_that_cannot_be_read_is_left_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OwnRecording, "far_events", 1)
    recorder = Recorder(wire.recording_path(RUN))
    for event in EVENTS:
        recorder.add(event)
    recorder.add_snapshot(len(EVENTS), STATE_LAYOUT, b"rubbish")
    recorder.close(0.0)
    source = ReplaySource(recorder.path)
    assert source.state.pack() == at_step(400).pack()
    source.close()


def test_a_recording_opens_at_a_step() -> None:
    source = ReplaySource(write(), step=100)
    assert source.state.step == 100
    assert source.state.verdict == "healthy"
    source.close()


def test_stepping_goes_from_sample_to_sample(source: ReplaySource) -> None:
    source.seek(100)
    for samples, step in ((1, 102), (3, 108), (-2, 104), (-1000, 2), (1000, 400)):
        source.step_by(samples)
        assert source.refresh(0.0)
        assert (source.position, source.state.series.last_step) == (step, step)


def test_steps_asked_in_a_hurry_add_up(source: ReplaySource) -> None:
    source.seek(100)
    source.step_by(1)
    source.step_by(1)
    source.step_by(-3)
    source.refresh(0.0)
    assert source.position == 98


def test_playing_goes_on_in_recorded_time_and_stops_at_the_end(
    source: ReplaySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    source.seek(100)
    source.playing = True
    source.refresh(0.0)
    assert source.position == 100
    now += 1.0  # four samples of the script, each two steps
    assert source.refresh(0.0)
    assert source.position == 108
    source.speed = 10.0
    source.refresh(0.0)
    now += 1.0
    source.refresh(0.0)
    assert source.position == 188
    source.playing = False
    now += 5.0
    assert not source.refresh(0.0)
    source.playing = True
    source.refresh(0.0)
    now += 1e6
    source.refresh(0.0)
    assert source.position == 400
    assert not source.playing
    assert source.state.pack() == at_step(400).pack()


def test_playing_from_the_end_begins_at_the_start(source: ReplaySource) -> None:
    source.playing = True
    source.refresh(0.0)
    assert source.position == 2


def test_a_speed_of_nothing_is_refused(source: ReplaySource) -> None:
    with pytest.raises(ValueError, match="speed must be above 0"):
        source.speed = 0.0


def test_a_waiting_refresh_wakes_when_a_hand_moves(source: ReplaySource) -> None:
    waiting = threading.Event()
    moved: list[bool] = []

    def wait() -> None:
        waiting.set()
        moved.append(source.refresh(15.0))

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait()
    source.seek(50)
    thread.join(10)
    assert not thread.is_alive()
    source.refresh(0.0)
    assert source.state.step == 50


def test_a_run_whose_hub_died_is_lost_at_its_end_only() -> None:
    source = ReplaySource(write(upto=100))
    for _ in range(3):
        source.refresh(0.0)
        assert source.state.status is not None
        assert source.state.status.status == "lost"
        assert source.state.seq == 101
    source.seek(20)
    source.refresh(0.0)
    assert source.state.status is not None
    assert source.state.status.status == "running"
    source.seek(10**6)
    source.refresh(0.0)
    assert source.state.status.status == "lost"
    source.close()


def test_a_recording_is_followed_while_its_hub_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "GROWTH_CHECK_S", 0.0)
    claim = Claim(RUN)
    claim.write(Registration(run=RUN, hub_pid=os.getpid(), training_pid=1, started=1.0))
    recorder = Recorder(wire.recording_path(RUN))
    for event in EVENTS[:50]:
        recorder.add(event)
    recorder.commit(0.0)
    source = ReplaySource(recorder.path)
    assert source.state.seq == 50
    for event in EVENTS[50:]:
        recorder.add(event)
    recorder.commit(1.0)
    assert source.refresh(0.0)
    assert source.state.pack() == at_step(10**9).pack()
    source.close()
    recorder.close(2.0)
    claim.release()


def test_open_source_finds_recordings_and_refuses_the_rest(tmp_path: Path) -> None:
    path = write()
    for target in (RUN, "collapsing", "coll", str(path)):
        source = open_source(target)
        assert source.name == RUN
        assert source.state.verdict == "failing"
        source.close()
    with pytest.raises(UnknownRun):
        open_source("nothing")
    with pytest.raises(BadRecording):
        open_source(str(tmp_path / "nothing.dbr"))


def test_the_fake_source_plays_a_script_at_its_owner_s_pace() -> None:
    source = FakeSource(healthy_run(layers=4, samples=10), pace=3)
    as_source: Source = source
    assert as_source.refresh(0.0)
    assert (source.state.samples, source.link) == (3, "live")
    source.advance(2)
    assert source.state.samples == 5
    source.finish()
    assert source.link == "ended"
    assert source.refresh(0.0)
    assert not source.refresh(0.0)
    assert source.last_heard == source.state.recent[-1].time
    source.close()
    assert source.closed

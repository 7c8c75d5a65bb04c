"""How the hub follows the spread of tensors: how often, how much it keeps, what it answers."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path

import msgspec
import numpy as np
import pytest
from statistics_frames import Bench

from deadband.wire import AskDistributions, AskHistogram, Closeup, Distributions, Layer, Note, What
from deadband_monitor.hub import distributions
from deadband_monitor.hub.distributions import AROUND_FLAG, OPEN_S, Spreads
from deadband_monitor.record.reader import Recording
from deadband_monitor.record.writer import Recorder
from deadband_monitor.source.replay import ReplaySource
from deadband_monitor.source.scripted import healthy_run
from deadband_monitor.state.course import MOST, deviation_of
from deadband_monitor.statistics.outlines import WIDTH, unpacked
from deadband_monitor.statistics.values import RawFrame

NOISE = np.random.default_rng(5)
ASK = AskDistributions(model="m", layer="b", what=What.WEIGHT)


def bench() -> Bench:
    made = Bench([Layer(name=name, model="m", kind="Linear") for name in ("a", "b")])
    for index in range(2):
        made.add(What.ACTIVATION, index, (8, 16), "nu", source=(64, 16))
        made.add(What.WEIGHT, index, (16, 16))
    return made


def frame(made: Bench, step: int, *, scale: float = 1.0, weights: bool = True) -> RawFrame:
    values = {
        (What.ACTIVATION, index): NOISE.standard_normal((8, 16)).astype(np.float32)
        for index in range(2)
    }
    if weights:
        for index in range(2):
            noise = NOISE.standard_normal((16, 16)).astype(np.float32)
            values[What.WEIGHT, index] = noise * np.float32(scale)
    return made.frame(step, values)


def at(taken: RawFrame, time: float) -> RawFrame:
    header = msgspec.structs.replace(taken.header, time=time)
    return RawFrame(header=header, payload=taken.payload)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if looking cost nothing: what is taken depends on the run's own clock only."""
    monkeypatch.setattr(distributions, "thread_time", lambda: 0.0)


def told(answer: Distributions) -> tuple[list[int], np.ndarray]:
    return np.frombuffer(answer.steps, np.int64).tolist(), unpacked(answer.outlines)


@pytest.mark.usefixtures("free")
def test_a_young_run_is_looked_at_often_and_an_old_one_once_a_second() -> None:
    made, spreads = bench(), Spreads()
    spreads.adopt(made.plan())
    one = frame(made, 1)
    for step in range(1, 2001):  # 20 steps a second, for a minute and a half
        spreads.take([at(one, step / 20)], 0.0)
    times = [row.time for row in spreads.added]
    assert len([time for time in times if time < 1.1]) >= 10
    gaps = np.diff(times)
    assert gaps.min() >= 0.049
    assert gaps[-1] == pytest.approx(gaps.max()) == pytest.approx(1.0)


@pytest.mark.usefixtures("free")
def test_what_is_kept_is_bounded_and_dense_around_a_flag(tmp_path: Path) -> None:
    made, spreads = bench(), Spreads()
    spreads.adopt(made.plan())
    recorder = Recorder(tmp_path / "run.dbr")
    events = list(healthy_run(samples=3))
    for event in events:
        recorder.add(event)
    for step in range(1, 2001):
        if step == 1000:
            spreads.keep()
        spreads.take([at(frame(made, step), float(step))], 0.0)
        for row in spreads.added:
            recorder.add_outlines(row)
        for number in spreads.dropped:
            recorder.drop_outlines(number)
        spreads.added.clear()
        spreads.dropped.clear()
        if step % 50 == 0:
            recorder.commit(0.0)
    recorder.close(0.0)
    assert recorder.error == ""
    steps = [row.step for row in spreads.rows]
    assert len(steps) == MOST
    assert steps[0] == 1
    around = set(range(1000 - AROUND_FLAG, 1000 + AROUND_FLAG))
    assert around <= set(steps)
    with Recording(recorder.path) as recording:
        kept = recording.outlines("m", "b", What.WEIGHT)
        assert [step for step, _ in kept] == steps
        assert {len(outline) for _, outline in kept} == {2 * WIDTH}
        assert recording.outlined("m", "a") == [What.ACTIVATION, What.WEIGHT]
        assert recording.outlines("m", "c", What.WEIGHT) == []
        assert len(list(recording.events())) == len(events)


def test_looking_takes_its_share_of_the_hub_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count(0.0, 0.05)  # a look at all of it takes 50 ms
    monkeypatch.setattr(distributions, "thread_time", lambda: next(now))
    made, spreads = bench(), Spreads()
    spreads.adopt(made.plan())
    for step in range(1, 1001):
        spreads.take([at(frame(made, step), step / 10)], 0.0)
    taken = len(spreads.added)
    assert 0.05 * taken <= distributions.CREDIT_S + 0.01 * 100 + 0.1
    assert taken >= 20


@pytest.mark.usefixtures("free")
def test_a_tensor_that_is_asked_for_is_taken_whole_at_every_sample_until_nobody_asks() -> None:
    made, spreads = bench(), Spreads()
    spreads.adopt(made.plan())
    assert told(spreads.answer(ASK, 0.0))[0] == []
    for step in range(1, 21):
        spreads.take([at(frame(made, step, scale=3.0), step / 1000)], 1.0)
    answer = spreads.answer(ASK, 1.0)
    steps, outlines = told(answer)
    assert steps == list(range(1, 21))
    assert answer.kinds == (What.ACTIVATION, What.WEIGHT)
    assert (answer.values, answer.source) == (256, 256)
    assert np.mean([deviation_of(each) for each in outlines]) == pytest.approx(3.0, rel=0.1)
    newer = AskDistributions(model="m", layer="b", what=What.WEIGHT, since=18)
    assert told(spreads.answer(newer, 1.0))[0] == [19, 20]
    made_of = spreads.histogram(AskHistogram(model="m", layer="b", what=What.WEIGHT), 1.0)
    assert (made_of.first_step, made_of.last_step, made_of.samples) == (13, 20, 8)
    assert np.frombuffer(made_of.counts, "<u4").sum() == 8 * 256

    spreads.take([at(frame(made, 21), 0.021)], 2.0 + OPEN_S)
    assert told(spreads.answer(newer, 3.0 + OPEN_S))[0] == []


def test_what_is_shown_finely_is_wished_for_whole_about_once_a_second() -> None:
    made, spreads = bench(), Spreads()
    spreads.adopt(made.plan())
    ask = AskHistogram(model="m", layer="b", what=What.ACTIVATION)
    whole = AskHistogram(model="m", layer="b", what=What.WEIGHT)
    wishes = 0
    for turn in range(50):
        for each in (ask, whole):
            spreads.histogram(each, turn / 10)
            wish = spreads.close_wish(each, turn / 10)
            if wish is not None:
                assert (wish.layer, wish.what) == ("b", What.ACTIVATION), (
                    "a slice that is all of it"
                )
                wishes += 1
    assert wishes == 6


def test_a_tensor_that_came_nearly_whole_is_shown_instead_of_its_slices() -> None:
    made, spreads = bench(), Spreads()
    spreads.adopt(made.plan())
    ask = AskHistogram(model="m", layer="b", what=What.ACTIVATION)
    spreads.histogram(ask, 0.0)
    spreads.take([at(frame(made, 1), 0.1)], 0.0)
    assert spreads.histogram(ask, 0.0).values == 8 * 16
    values = NOISE.standard_normal((64, 16)).astype(np.float32)
    values[0, 0] = np.nan
    closeup = Closeup(
        model="m", layer="b", what=What.ACTIVATION, step=9, values=values.tobytes(), source=2048
    )
    spreads.take_closeup(closeup)
    shown = spreads.histogram(ask, 0.0)
    assert (shown.first_step, shown.last_step, shown.samples) == (9, 9, 1)
    assert (shown.values, shown.source, shown.broken) == (1024, 2048, 1)
    assert np.frombuffer(shown.counts, "<u4").sum() == 1023
    assert shown.low == pytest.approx(np.nanmin(values))
    spreads.take_closeup(msgspec.structs.replace(closeup, layer="a"))  # nobody looks at it
    assert spreads.histogram(ask, 0.0) == shown


@pytest.mark.usefixtures("free")
def test_a_tensor_that_a_frame_does_not_hold_is_no_row_of_its_spread() -> None:
    made, spreads = bench(), Spreads()
    spreads.adopt(made.plan())
    spreads.take([at(frame(made, 1, weights=False), 1.0)], 0.0)
    spreads.take([at(frame(made, 2), 2.0)], 0.0)
    assert told(spreads.answer(ASK, 0.0))[0] == [2]


@pytest.mark.usefixtures("free")
def test_a_new_plan_goes_on_with_the_layers_that_stay() -> None:
    made, spreads = bench(), Spreads()
    spreads.adopt(made.plan(1))
    spreads.take([at(frame(made, 1), 1.0)], 0.0)
    more = bench()
    more.layers = (Layer(name="new", model="m", kind="x"), *reversed(made.layers))[:2]
    spreads.adopt(more.plan(2))  # b is the second layer still; a has gone
    spreads.take([at(frame(more, 2), 2.0)], 0.0)
    assert told(spreads.answer(ASK, 0.0))[0] == [1, 2]
    assert {row.layout for row in spreads.added} == {1, 2}


def test_a_recording_without_outlines_or_notes_is_read_as_before(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "old.dbr")
    for event in healthy_run(samples=20):
        recorder.add(event)
    recorder.close(0.0)
    with sqlite3.connect(recorder.path) as database:
        for table in ("outlines", "outline_layouts", "notes"):
            database.execute(f"DROP TABLE {table}")
    database.close()
    source = ReplaySource(recorder.path)
    source.look_at(("model", "net.0", What.ACTIVATION))
    source.refresh(0.0)
    assert source.spread is not None
    assert (len(source.spread.course), source.spread.kinds) == (0, ())
    assert source.state.samples == 20
    source.close()


def test_notes_lie_among_the_events_of_a_recording(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run.dbr")
    events = list(healthy_run(samples=5))
    note = Note(seq=events[-1].seq + 1, step=3, time=9.0, text="a thought")
    for event in (*events, note):
        recorder.add(event)
    recorder.close(0.0)
    with Recording(recorder.path) as recording:
        assert list(recording.events()) == [*events, note]
        assert recording.last_seq == note.seq

"""What is cut from a recording is what its samples say, wherever the run stands."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest

from deadband import wire
from deadband.wire import AskView, Event, LayerTable, Note, Sample
from deadband_monitor.errors import BadRecording, NotCut
from deadband_monitor.hub import history
from deadband_monitor.hub.history import Chronicle
from deadband_monitor.metrics import LAYER_COLUMN, LAYER_METRICS, MODEL_COLUMN
from deadband_monitor.record import gists
from deadband_monitor.record.writer import Recorder
from deadband_monitor.remote.looks import Looks
from deadband_monitor.remote.protocol import AskRecording
from deadband_monitor.source import courses, story
from deadband_monitor.source.base import Player
from deadband_monitor.source.past_view import PastView
from deadband_monitor.source.reel import OwnRecording
from deadband_monitor.source.replay import ReplaySource
from deadband_monitor.source.scripted import collapsing_run, layer_table
from deadband_monitor.state.figures import PRECISION
from deadband_monitor.state.rank_state import reading_of
from deadband_monitor.state.run_state import GIST_LAYOUT, RunState
from deadband_monitor.state.series import Floats, Series
from deadband_monitor.state.sight import Sight
from deadband_monitor.state.timeline import Axis

LAYERS = 20
LAST = 2100
WISH = AskView(
    version=wire.VERSION,
    columns=40,
    run_ends=LAST,
    metrics=("out_variance", "grad_rms"),
    trends=(("saturation", "dead_units"), ("weight_spread", "weight_spread")),
    readings=("out_variance", "saturation", "dead_units", "weight_spread"),
    layer=("model", "net.17"),
    course=True,
    model_metrics=("out_variance", "grad_norm"),
    scalars=("loss", "clock"),
)
EVENTS = list(collapsing_run(layers=LAYERS, samples=700, onset=350, every=3))


def write(folder: Path, events: list[Event], *, by_hub: bool) -> Path:
    """The recording of a run, with all that a hub puts into it or with nothing but events."""
    recorder = Recorder(folder / "collapsing-000001.dbr")
    if by_hub:
        chronicle = Chronicle(recorder)
        for now, event in enumerate(events):
            chronicle.add(event)
            chronicle.commit(float(now))
        chronicle.close(1e6)
    else:
        for event in events:
            recorder.add(event)
        recorder.close(0.0)
    return recorder.path


def at(seq: int, events: list[Event] = EVENTS) -> RunState:
    state = RunState()
    for event in events[:seq]:
        state.apply(event)
    return state


def said(seq: int, axis: Axis, events: list[Event] = EVENTS) -> list[list[Floats]]:
    """What the samples up to an event say of the layers, by column."""
    found: list[list[Floats]] = [[] for _ in range(axis.columns)]
    table: LayerTable | None = None
    for event in events[:seq]:
        if isinstance(event, LayerTable):
            table = event
        elif isinstance(event, Sample) and table is not None:
            column = axis.column(event.step)
            if 0 <= column < axis.columns:
                found[column].append(reading_of(event, table).layers)
    return found


def reduced(columns: list[list[Floats]], fold: Callable[[Floats], Floats]) -> Floats:
    shape = next(rows[0].shape for rows in columns if rows)
    found = np.full((len(columns), *shape), np.nan, np.float32)
    for column, rows in enumerate(columns):
        if rows:
            found[column] = fold(np.stack(rows))
    return found


def mean(rows: Floats) -> Floats:
    known = np.isfinite(rows)
    count = known.sum(axis=0)
    total = np.where(known, rows, 0).sum(axis=0, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def assert_alike(told: Floats, own: Floats) -> None:
    np.testing.assert_allclose(told, own, rtol=3 * PRECISION, equal_nan=True)


def assert_same_series(told: Series, own: Series, column: int | None) -> None:
    assert (told.width, told.last_step) == (own.width, own.last_step)
    pick = (slice(None), column) if column is not None else ()
    a, b = (each.window(own.capacity, pick=pick) for each in (told, own))
    for end in ("low", "mean", "high"):
        assert_alike(getattr(a, end), getattr(b, end))


def assert_as_it_was(view: PastView, seq: int, events: list[Event] = EVENTS) -> None:
    """The view of event `seq` shows what was known then, and the samples of then."""
    told, own, sight = view.state, at(seq, events), view.state.sight
    assert isinstance(sight, Sight)
    assert (told.seq, told.step, told.samples) == (own.seq, own.step, own.samples)
    assert (told.flags, told.verdict, told.causes) == (own.flags, own.verdict, own.causes)
    assert (told.coverage, told.layers) == (own.coverage, own.layers)
    assert told.status == own.status or (told.status and own.status), "one of them has none"
    if told.status is not None and own.status is not None:
        assert msgspec.structs.replace(told.status, seq=own.status.seq) == own.status
    assert [note.text for note in told.notes] == [note.text for note in own.notes]
    columns = said(seq, sight.axis, events)
    low, high = reduced(columns, np.fmin.reduce), reduced(columns, np.fmax.reduce)
    for name in view.wish.metrics:
        number = LAYER_COLUMN[name]
        assert_alike(sight.layers(number).low, low[:, :, number])
        assert_alike(sight.layers(number).high, high[:, :, number])
        assert_alike(sight.layers(number).mean, reduced(columns, mean)[:, :, number])
    row = [(it.model, it.name) for it in own.layers].index(view.wish.layer or ("", ""))
    for number in range(len(LAYER_METRICS)) if view.wish.course else ():
        assert_alike(sight.layer(row, number).low, low[:, row, number])
        assert_alike(sight.layer(row, number).high, high[:, row, number])
    for name in view.wish.model_metrics:
        assert_same_series(told.model_series, own.model_series, MODEL_COLUMN[name])
    for name in view.wish.scalars:
        series = (told.clock, own.clock) if name == "clock" else (told.scalars[name],) * 2
        assert_same_series(series[0], own.clock if name == "clock" else own.scalars[name], None)
    assert told.latest is not None
    assert own.latest is not None
    assert told.latest.step == own.latest.step
    assert_alike(told.latest.layers[row], own.latest.layers[row])


@pytest.fixture(params=["with courses", "events only"])
def path(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(history, "COURSES_BYTES", 1 << 10)
    monkeypatch.setattr(history, "SNAPSHOT_EVENTS", 300)
    monkeypatch.setattr(gists, "GIST_EVENTS", 60)
    monkeypatch.setattr(story, "NEAR_EVENTS", 8)
    return write(tmp_path, EVENTS, by_hub=request.param == "with courses")


@pytest.mark.parametrize("few", [4096, 24])
@pytest.mark.parametrize("zoom", [0, 1, 5])
def test_every_step_shows_what_was_known_then(
    path: Path, zoom: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courses, "FEW_SAMPLES", few if zoom < 5 else 4096)
    choose = np.random.default_rng(zoom)
    with closing(OwnRecording(path)) as recording:
        view = PastView(recording)
        view.wish = msgspec.structs.replace(WISH, zoom=zoom)
        # Before it, columns of half the run are finer than the buckets of all of it.
        early = 3 if (zoom, few) != (1, 24) else 300
        for seq in [len(EVENTS), early, *choose.integers(early, len(EVENTS), 6).tolist()]:
            view.go(seq)
            assert_as_it_was(view, seq)


def test_the_axis_of_the_whole_run_stays_as_one_moves(path: Path) -> None:
    with closing(OwnRecording(path)) as recording:
        view = PastView(recording)
        view.wish = WISH
        axes = set()
        for seq in (len(EVENTS), 40, 300, 600):
            view.go(seq)
            sight = view.state.sight
            assert isinstance(sight, Sight)
            axes.add(sight.axis)
    assert len(axes) == 1


def test_playing_goes_on_from_what_is_there(path: Path) -> None:
    with closing(OwnRecording(path)) as recording:
        view = PastView(recording)
        view.wish = WISH
        for seq in range(300, 420, 3):
            view.go(seq)
            assert_as_it_was(view, seq)


def test_columns_finer_than_buckets_show_the_newest_samples_one_by_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courses, "FEW_SAMPLES", 24)
    with closing(OwnRecording(path)) as recording:
        view = PastView(recording)
        view.wish = msgspec.structs.replace(WISH, zoom=4)
        view.go(len(EVENTS))
        sight = view.state.sight
        assert isinstance(sight, Sight)
        assert sight.axis.per_column < sight.bucket
        truth = reduced(said(len(EVENTS), sight.axis), np.fmin.reduce)
        number = LAYER_COLUMN["out_variance"]
        known = sight.layers(number).low
        newest = sight.axis.column(LAST - 3 * 22)
        assert_alike(known[newest:], truth[newest:, :, number])
        shown = np.isfinite(known[: sight.axis.column(LAST)]).all(axis=1)
        assert shown.all(), "the columns before them show their buckets"


def test_what_comes_into_view_comes_with_its_history(path: Path) -> None:
    with closing(OwnRecording(path)) as recording:
        view = PastView(recording)
        view.wish = WISH
        view.go(500)
        for change in (
            {"metrics": ("weight_rms",)},
            {"layer": ("model", "net.2")},
            {"columns": 73},
            {"model_metrics": ("skill",)},
        ):
            view.wish = msgspec.structs.replace(WISH, **change)
            lacked = view.lacks
            view.go(500)
            assert (lacked, view.lacks) == (True, False)
            assert_as_it_was(view, 500)


def test_layers_that_change_their_places_keep_their_readings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courses, "FEW_SAMPLES", 24)
    events = EVENTS[:300]
    table = layer_table(0, LAYERS)
    turned = msgspec.structs.replace(table, id=2, layers=table.layers[::-1])
    events += [turned, *(_of_table(event, 2) for event in EVENTS[300:400])]
    events = [msgspec.structs.replace(event, seq=at) for at, event in enumerate(events, 1)]
    with closing(OwnRecording(write(tmp_path, events, by_hub=False))) as recording:
        view = PastView(recording)
        view.wish = WISH
        for seq in (290, 400, 295, 350):
            view.go(seq)
            own, sight = at(seq, events), view.state.sight
            assert isinstance(sight, Sight)
            assert view.state.layers == own.layers
            number = LAYER_COLUMN["out_variance"]
            window = own.series.window(
                own.series.capacity, pick=(slice(None), number), last_step=own.step
            )
            lowest = np.fmin.reduce(window.low, axis=0)
            assert_alike(np.fmin.reduce(sight.layers(number).low, axis=0), lowest)


def _of_table(event: Event, number: int) -> Event:
    if isinstance(event, Sample):
        return msgspec.structs.replace(event, table=number)
    return event


def test_notes_are_shown_once_and_not_before_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gists, "GIST_EVENTS", 20)
    monkeypatch.setattr(story, "NEAR_EVENTS", 2)
    events = list(EVENTS[:200])
    for place in (40, 90, 150):
        events.insert(place, Note(seq=0, step=place, time=0.0, text=f"note {place}"))
    events = [msgspec.structs.replace(event, seq=at) for at, event in enumerate(events, 1)]
    with closing(OwnRecording(write(tmp_path, events, by_hub=False))) as recording:
        view = PastView(recording)
        view.wish = WISH
        for seq in (200, 41, 45, 100, 60, 160, 203):
            view.go(seq)
            assert_as_it_was(view, seq, events)


def test_gists_and_courses_that_cannot_be_read_are_told_or_left_aside(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run.dbr")
    for event in EVENTS:
        recorder.add(event)
    recorder.add_gist(400, GIST_LAYOUT, b"rubbish")
    recorder.add_courses(b"rubbish", [("out_variance", 0, b"rubbish")])
    recorder.close(0.0)
    with closing(OwnRecording(recorder.path)) as recording:
        view = PastView(recording)
        view.wish = WISH
        view.go(500)
        assert_as_it_was(view, 500)


def test_a_damaged_block_of_courses_is_one_line_for_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "COURSES_BYTES", 1 << 10)
    path = write(tmp_path, EVENTS, by_hub=True)
    with sqlite3.connect(path) as database:
        assert database.execute("UPDATE courses SET body = x'00'").rowcount > 0
    database.close()
    with closing(OwnRecording(path)) as recording:
        view = PastView(recording)
        view.wish = WISH
        with pytest.raises(BadRecording, match="is damaged"):
            view.go(len(EVENTS))


def test_an_older_recording_has_neither_gists_nor_courses(tmp_path: Path) -> None:
    path = write(tmp_path, EVENTS, by_hub=False)
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE gists")
        database.execute("DROP TABLE courses")
    database.close()
    with closing(OwnRecording(path)) as recording:
        view = PastView(recording)
        view.wish = WISH
        for seq in (len(EVENTS), 300):
            view.go(seq)
            assert_as_it_was(view, seq)


class Elsewhere:
    """The recording behind a pipe: questions and answers in bytes."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._looks = Looks()
        self.sent = 0

    def sight(self, ask: AskView, seq: int) -> wire.Sight:
        words = [msgspec.json.encode(ask).decode()]
        answer = self._looks.look(AskRecording(self._path, "sight", [seq], words))
        self.sent += len(answer)
        return msgspec.msgpack.decode(answer, type=wire.Sight)

    def close(self) -> None:
        self._looks.close()


def test_a_recording_elsewhere_is_cut_there(path: Path) -> None:
    with closing(Elsewhere(path)) as recording:
        view = PastView(recording)
        view.wish = msgspec.structs.replace(WISH, metrics=(), course=False)
        view.go(600)
        whole, recording.sent = recording.sent, 0
        view.go(601)
        assert_as_it_was(view, 601)
        assert recording.sent < whole / 2, "what is there is not sent again"
        view.go(200)
        assert_as_it_was(view, 200)


def test_where_nobody_can_cut_everything_is_read(path: Path) -> None:
    class Old(OwnRecording):
        def sight(self, ask: AskView, seq: int, *, wholly: bool = True) -> wire.Sight:
            raise NotCut("this deadband does not know what 'sight' is")

    with closing(ReplaySource(Old(path), settled=False)) as source:
        source.want(WISH)
        lacked = source.lacks
        assert source.refresh(0.0)
        assert (lacked, source.lacks) == (True, False)
        source.want(WISH)
        assert source.state.series.last_step == LAST
        source.seek(300)
        source.refresh(0.0)
        assert source.state.step == 300


def test_what_a_replay_can_do_is_asked_without_reading_it(path: Path) -> None:
    with closing(ReplaySource(path, settled=False)) as source:
        assert isinstance(source, Player)
        source.want(WISH)
        source.refresh(0.0)
        assert source.state.step == LAST
        assert not source.reads_all, "the pictures are cut"

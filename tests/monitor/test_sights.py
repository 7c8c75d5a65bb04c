"""What a hub cuts for one screen is what the screen would have made of everything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from deadband import wire
from deadband.wire import AskView, Event, LayerTable, Points, Refusal, Sample, Sight
from deadband_monitor.hub.history import Chronicle
from deadband_monitor.hub.sights import MARKS
from deadband_monitor.metrics import LAYER_COLUMN, LAYER_METRICS, MODEL_COLUMN
from deadband_monitor.record.writer import Recorder
from deadband_monitor.source.scripted import collapsing_run, layer_table
from deadband_monitor.source.viewing import Viewing
from deadband_monitor.state.figures import PRECISION, pack, unpack
from deadband_monitor.state.pictures import Envelope, OwnPictures, view_axis
from deadband_monitor.state.series import Series
from deadband_monitor.state.sight import Sight as Held

LAYERS = 12
WISH = AskView(
    version=wire.VERSION,
    columns=40,
    metrics=("out_variance", "grad_rms"),
    trends=(("saturation", "dead_units"), ("weight_spread", "weight_spread")),
    readings=("out_variance", "saturation", "dead_units", "weight_spread"),
    layer=("model", "net.3"),
    course=True,
    model_metrics=("out_variance", "grad_norm"),
    scalars=("loss", "clock"),
)


@pytest.fixture
def kept(tmp_path: Path) -> Chronicle:
    return Chronicle(Recorder(tmp_path / "run.dbr"))


def events(samples: int = 700, every: int = 3) -> Iterator[Event]:
    return collapsing_run(layers=LAYERS, samples=samples, onset=samples // 2, every=every)


def ask(viewer: Viewing, kept: Chronicle) -> Sight:
    answer = kept.sight(viewer.question(), waited_s=60.0)
    assert isinstance(answer, Sight)
    return answer


def assert_alike(told: np.ndarray, kept: np.ndarray) -> None:
    np.testing.assert_allclose(told, kept, rtol=2 * PRECISION, equal_nan=True)


def assert_same_course(told: Envelope, own: Envelope, *ends: str) -> None:
    for end in ends:
        assert_alike(getattr(told, end), getattr(own, end))


def assert_same_series(told: Series, own: Series, column: int | None) -> None:
    assert (told.width, told.last_step) == (own.width, own.last_step)
    pick = (slice(None), column) if column is not None else ()
    for columns in (own.capacity, 11):
        a, b = (each.window(columns, pick=pick) for each in (told, own))
        for end in ("low", "mean", "high"):
            assert_alike(getattr(a, end), getattr(b, end))


def assert_same_picture(viewer: Viewing, kept: Chronicle) -> None:
    told, own, wish = viewer.state, kept.state, viewer.wish
    sight, whole = told.sight, OwnPictures()
    assert isinstance(sight, Held)
    whole.update(own, view_axis(own, wish.columns, wish.zoom, wish.upto))
    assert sight.axis == whole.axis
    assert (told.seq, told.step, told.samples) == (own.seq, own.step, own.samples)
    assert (told.flags, told.verdict, told.causes) == (own.flags, own.verdict, own.causes)
    assert (told.status, told.table, told.coverage) == (own.status, own.table, own.coverage)
    for name in wish.metrics:
        metric = LAYER_METRICS[LAYER_COLUMN[name]]
        ends = {"low": ("low",), "high": ("high",), "both": ("low", "high")}[metric.worst]
        column = LAYER_COLUMN[name]
        assert_same_course(sight.layers(column), whole.layers(column), *ends)
    for name, other in wish.trends:
        pair = LAYER_COLUMN[name], LAYER_COLUMN[other]
        assert_alike(sight.network(*pair), whole.network(*pair))
    for name in wish.model_metrics:
        column = MODEL_COLUMN[name]
        assert_same_course(sight.model(column), whole.model(column), "low", "mean", "high")
        assert_same_series(told.model_series, own.model_series, column)
    assert wish.layer is not None
    row = [layer.name for layer in own.layers].index(wish.layer[1])
    np.testing.assert_array_equal(sight.measured(row), whole.measured(row))
    for column in range(len(LAYER_METRICS)) if wish.course else ():
        assert_same_course(sight.layer(row, column), whole.layer(row, column), "low", "high")
    newest = told.latest if wish.upto is None else sight.frozen
    expected = [it for it in own.recent if wish.upto is None or it.step <= wish.upto][-1]
    assert newest is not None
    assert newest.step == expected.step
    columns = [LAYER_COLUMN[name] for name in wish.readings]
    assert_alike(newest.layers[:, columns], expected.layers[:, columns])
    assert_alike(newest.layers[row], expected.layers[row])
    assert_alike(newest.models, expected.models)
    assert_same_series(told.scalars["loss"], own.scalars["loss"], None)
    assert told.last_scalar["loss"] == own.last_scalar["loss"]
    if "clock" in wish.scalars:
        assert_same_series(told.clock, own.clock, None)


@pytest.mark.parametrize("pace", [2, 7, 200])
def test_a_viewer_that_follows_sees_what_the_hub_has(kept: Chronicle, pace: int) -> None:
    viewer = Viewing(far=True)
    viewer.wish = WISH
    for number, event in enumerate(events(samples=300, every=6)):
        kept.add(event)
        if number % pace == pace - 1 and number > 3:
            viewer.take(ask(viewer, kept))
            if number % 50 > 50 - pace or pace > 50:
                assert_same_picture(viewer, kept)
    if viewer.state.seq < kept.seq:
        viewer.take(ask(viewer, kept))
    assert_same_picture(viewer, kept)


def test_answers_that_were_lost_leave_nothing_out(kept: Chronicle) -> None:
    viewer, random = Viewing(far=True), np.random.default_rng(5)
    viewer.wish = WISH
    for number, event in enumerate(events()):
        kept.add(event)
        if number > 3 and random.random() < 0.3:
            answer = ask(viewer, kept)
            if random.random() < 0.5:
                viewer.take(answer)
    viewer.take(ask(viewer, kept))
    assert_same_picture(viewer, kept)


def test_an_answer_that_comes_twice_counts_once(kept: Chronicle) -> None:
    viewer = Viewing(far=True)
    viewer.wish = WISH
    for number, event in enumerate(events(samples=200)):
        kept.add(event)
        if number > 3 and number % 9 == 0:
            answer = ask(viewer, kept)
            viewer.take(answer)
            viewer.take(answer)
            assert_same_picture(viewer, kept)


@pytest.mark.parametrize(
    "change",
    [
        {"zoom": 3},
        {"columns": 73},
        {"metrics": ("weight_rms",)},
        {"layer": ("model", "net.6")},
        {"layer": ("model", "net.6"), "course": False},
        {"course": False},
        {"readings": ("zero_share",)},
        {"model_metrics": ("skill", "grad_norm")},
        {"scalars": ("loss", "lr", "clock")},
        {"upto": 1100},
    ],
)
def test_what_comes_into_view_comes_with_its_history(
    kept: Chronicle, change: dict[str, object]
) -> None:
    viewer, script = Viewing(far=True), list(events())
    viewer.wish = WISH
    for event in script[:500]:
        kept.add(event)
    viewer.take(ask(viewer, kept))
    viewer.wish = msgspec.structs.replace(WISH, **change)
    answer = kept.sight(viewer.question(), waited_s=0.0)
    assert isinstance(answer, Sight), "at once, though nothing is new"
    viewer.take(answer)
    assert_same_picture(viewer, kept)
    for event in script[500:600]:
        kept.add(event)
    viewer.take(ask(viewer, kept))
    assert_same_picture(viewer, kept)


def test_zoomed_in_the_newest_readings_are_shown_one_by_one(kept: Chronicle) -> None:
    viewer = Viewing(far=True)
    viewer.wish = msgspec.structs.replace(WISH, zoom=9)
    for number, event in enumerate(events(samples=1200, every=1)):
        kept.add(event)
        if number > 1000 and number % 10 == 0:
            viewer.take(ask(viewer, kept))
            assert_same_picture(viewer, kept)
    assert kept.state.bucket > 1


def test_layers_that_change_their_places_are_drawn_afresh(kept: Chronicle) -> None:
    viewer, script = Viewing(far=True), list(events(samples=60))
    viewer.wish = WISH
    for event in script[:40]:
        kept.add(event)
    viewer.take(ask(viewer, kept))
    table = layer_table(0, LAYERS)
    kept.add(
        LayerTable(
            seq=0, id=2, layers=table.layers[::-1], models=table.models,
            optimizers=table.optimizers, layer_metrics=table.layer_metrics,
            model_metrics=table.model_metrics,
        )
    )  # fmt: skip
    samples = [event for event in script[40:] if isinstance(event, Sample)]
    kept.add(msgspec.structs.replace(samples[0], table=2))
    viewer.take(ask(viewer, kept))
    assert_same_picture(viewer, kept)


def test_losses_that_come_late_reach_their_place(kept: Chronicle) -> None:
    viewer, script = Viewing(far=True), list(events(samples=60))
    viewer.wish = WISH
    for event in script[:40]:
        kept.add(event)
    viewer.take(ask(viewer, kept))
    sample = next(event for event in script[40:] if isinstance(event, Sample))
    late = Points(
        steps=np.array([4], np.int64).tobytes(), values=np.array([77], np.float32).tobytes()
    )
    kept.add(msgspec.structs.replace(sample, scalars={"loss": late}))
    viewer.take(ask(viewer, kept))
    assert_same_picture(viewer, kept)
    assert np.nanmax(viewer.state.scalars["loss"].window(512).high) == pytest.approx(77, rel=1e-3)


def test_who_slept_for_long_gets_all_columns(kept: Chronicle) -> None:
    viewer, script = Viewing(far=True), list(events(samples=30))
    viewer.wish = WISH
    for event in script[:20]:
        kept.add(event)
    viewer.take(ask(viewer, kept))
    sample = next(event for event in script if isinstance(event, Sample))
    for number in range(MARKS + 10):
        kept.add(msgspec.structs.replace(sample, step=number + 30, scalars={}))
    viewer.take(ask(viewer, kept))
    assert_same_picture(viewer, kept)


def test_samples_may_wait_and_flags_may_not(kept: Chronicle) -> None:
    viewer, script = Viewing(far=True), list(events(samples=100))
    viewer.wish = WISH
    flagged = next(at for at, event in enumerate(script) if isinstance(event, wire.FlagChange))
    for event in script[: flagged - 1]:
        kept.add(event)
    viewer.take(ask(viewer, kept))
    question = viewer.question()
    assert question.patience_s > 0
    assert kept.sight(question, waited_s=60.0) is None, "nothing is new"
    kept.add(script[flagged - 1])
    assert kept.sight(question, waited_s=0.0) is None, "a sample waits"
    assert kept.sight(question, waited_s=question.patience_s) is not None
    kept.add(script[flagged])
    assert kept.sight(question, waited_s=0.0) is not None, "a flag does not"


def test_a_metric_that_the_hub_does_not_know_is_refused_in_words(kept: Chronicle) -> None:
    viewer = Viewing(far=True)
    viewer.wish = msgspec.structs.replace(WISH, metrics=("phase_of_the_moon",))
    answer = kept.sight(viewer.question(), waited_s=0.0)
    assert isinstance(answer, Refusal)
    assert "phase_of_the_moon" in answer.reason


def test_before_the_first_sample_there_is_an_answer(kept: Chronicle) -> None:
    viewer = Viewing(far=True)
    viewer.wish = WISH
    for event in list(events())[:1]:
        kept.add(event)
        viewer.take(ask(viewer, kept))
    assert viewer.state.info == kept.state.info
    assert viewer.state.latest is None


def test_figures_keep_three_digits_and_everything_that_is_not_a_number() -> None:
    random = np.random.default_rng(2)
    values = np.exp(20 * random.standard_normal((5, 70))).astype(np.float32)
    values[1] *= -1
    values[2, ::3] = np.nan
    values[3, :4] = [0.0, np.inf, -np.inf, -0.0]
    told = unpack(pack(values), values.shape)
    finite = np.isfinite(values)
    np.testing.assert_allclose(told[finite], values[finite], rtol=PRECISION)
    np.testing.assert_array_equal(told[~finite], values[~finite])


@pytest.mark.parametrize("shape", [(0,), (0, 4), (3, 0), ()])
def test_no_figures_travel_as_none(shape: tuple[int, ...]) -> None:
    values = np.zeros(shape, np.float32)
    np.testing.assert_array_equal(unpack(pack(values), shape), values)

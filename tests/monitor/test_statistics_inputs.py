"""Inputs over several samples: rows that repeat, features that do not vary, neighbours' labels."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_circles,
)
from statistics_frames import Bench, layer, of_model

from deadband.wire import What
from deadband_monitor.statistics import Statistician, inputs
from deadband_monitor.statistics.labels import Labels, Targets, YesNo
from deadband_monitor.statistics.neighbours import Neighbours
from deadband_monitor.statistics.recall import RareRecall


def test_rows_of_the_sample_before_and_of_the_window_are_counted() -> None:
    rng = np.random.default_rng(0)
    seen, kept = inputs.SeenRows(), []
    before: set[int] = set()
    for step in range(120):
        keys = rng.integers(0, 300, 30).tolist()
        repeated, distinct, _ = seen.add(keys)
        kept += keys
        if step:
            assert repeated == np.mean([key in before for key in keys])
        else:
            assert np.isnan(repeated)
        size = min(len(kept), 2010)  # whole batches, at least 2000
        if len(kept) < 64:
            assert np.isnan(distinct)
        else:
            assert distinct == pytest.approx(len(set(kept[-size:])) / size)
        before = set(keys)


def test_repeated_batches_show_in_the_columns() -> None:
    rng = np.random.default_rng(0)
    bench = Bench([])
    bench.add(What.INPUT, 0, (32, 6), "nu", dtype="int64")
    batches = rng.integers(0, 9, (6, 32, 6)).astype(np.float32)
    batches[3:] = batches[3]
    batches[3:, :, :2] = 4.0
    statistician = Statistician()
    statistician.adopt(bench.plan())
    frames = [bench.frame(k + 1, {(What.INPUT, 0): x}) for k, x in enumerate(batches)]
    found = statistician.measure(frames)
    assert of_model(found[1], "in_repeat") < 0.1
    assert [of_model(one, "in_repeat") for one in found[4:]] == [1.0, 1.0]
    rows = batches.reshape(-1, 6)
    assert of_model(found[5], "in_distinct") == pytest.approx(len(np.unique(rows, axis=0)) / 192)
    assert np.isnan(of_model(found[0], "in_distinct"))
    assert of_model(found[2], "in_constant") == 0.0
    assert of_model(found[5], "in_constant") == pytest.approx(2 / 6)
    assert np.isnan(inputs.constant_share(batches[:, :7])).all()


def test_rows_are_counted_and_set_against_the_features_of_measurements() -> None:
    rng = np.random.default_rng(0)
    measured = rng.normal(size=(12, 10)).astype(np.float32)
    places = np.eye(12, 10, dtype=np.float32)
    for batch, labels, known in (
        (measured, (12,), True),
        (measured, (48,), False),
        (places, (12,), False),
    ):
        bench = Bench([])
        bench.add(What.INPUT, 0, batch.shape, "nu", dtype="float32")
        plan = bench.plan()
        model = msgspec.structs.replace(plan.models[0], loss_target=labels)
        statistician = Statistician()
        statistician.adopt(msgspec.structs.replace(plan, models=(model,)))
        frames = [bench.frame(k + 1, {(What.INPUT, 0): batch}) for k in range(8)]
        found = statistician.measure(frames)
        assert of_model(found[-1], "in_rows") == len(np.unique(batch, axis=0))
        ratio = of_model(found[-1], "in_per_feature")
        assert ratio == pytest.approx(1.2) if known else np.isnan(ratio)


def test_a_part_of_the_rows_of_each_batch_does_not_tell_how_many_there_are() -> None:
    part = np.random.default_rng(0).normal(size=(12, 10)).astype(np.float32)
    bench = Bench([])
    bench.add(What.INPUT, 0, part.shape, "nu", source=(40, 10))
    bench.add(What.OUTPUT, 0, (12, 3), "nu", source=(40, 3))
    statistician = Statistician()
    statistician.adopt(bench.plan())
    given = {(What.INPUT, 0): part, (What.OUTPUT, 0): part[:, :3]}
    found = statistician.measure([bench.frame(k + 1, given) for k in range(8)])
    assert of_model(found[-1], "in_rows") == 12
    assert np.isnan(of_model(found[-1], "in_per_feature"))


@pytest.mark.parametrize(
    ("answers", "known"),
    [
        ((12, 3), True),
        ((12,), True),
        ((12, 10), False),  # the input again
        ((12, 3, 2), False),  # an answer a position
        ((6, 3), False),  # one answer for two rows
    ],
)
def test_behind_a_loss_written_by_hand_flat_outputs_are_answers(
    answers: tuple[int, ...], known: bool
) -> None:
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(12, 10)).astype(np.float32)
    said = rng.normal(size=answers).astype(np.float32)
    bench = Bench([])
    bench.add(What.INPUT, 0, batch.shape, "nu", dtype="float32")
    bench.add(What.OUTPUT, 0, said.shape, "nup"[: said.ndim], dtype="float32")
    statistician = Statistician()
    statistician.adopt(bench.plan())
    given = {(What.INPUT, 0): batch, (What.OUTPUT, 0): said}
    found = statistician.measure([bench.frame(k + 1, given) for k in range(8)])
    ratio = of_model(found[-1], "in_per_feature")
    assert ratio == pytest.approx(1.2) if known else np.isnan(ratio)


@pytest.mark.parametrize(
    ("kind", "fan_in", "answers", "loss", "known"),
    [
        ("Linear", 10, (12, 5), "bce_logits", True),
        ("Linear", 10, (12, 10), "mse", True),
        ("Linear", 1, (12, 10), "mse", False),
        ("Conv1d", 3, (12, 10), "mse", False),
        ("Conv1d", 3, (12, 5), "cross_entropy", True),
        ("Linear", 10, (12, 5, 4), "cross_entropy", False),
    ],
    ids=["tags", "a code", "position by position", "local", "classes", "a class each position"],
)
def test_a_row_of_several_answers_is_one_example_where_all_of_it_is_weighed(
    kind: str, fan_in: int, answers: tuple[int, ...], loss: str, known: bool
) -> None:
    batch = np.random.default_rng(0).normal(size=(12, 10)).astype(np.float32)
    bench = Bench([layer("first", kind=kind, fan_in=fan_in)], loss)
    bench.add(What.INPUT, 0, batch.shape, "nu", dtype="float32")
    bench.add(What.OUTPUT, 0, answers, "ntu" if len(answers) == 3 else "nu")
    statistician = Statistician()
    statistician.adopt(bench.plan())
    values = {(What.INPUT, 0): batch, (What.OUTPUT, 0): np.zeros(answers, np.float32)}
    found = statistician.measure([bench.frame(k + 1, values) for k in range(8)])
    assert np.isfinite(of_model(found[-1], "in_per_feature")) == known


def test_rare_rows_are_followed_class_by_class() -> None:
    rng = np.random.default_rng(0)
    recall, found = RareRecall(), np.nan
    for step in range(1, 60):
        labels = rng.choice(3, 64, p=(0.9, 0.07, 0.03))
        said = np.where(labels == 2, 0, labels)  # the third class is never named
        known = Labels(labels, np.ones(64, dtype=np.bool_), np.ones(64), 1.0)
        found = recall.observe(step, np.eye(3)[said], known, 0)
    assert found == pytest.approx(0.5)
    yes = (rng.random((64, 1)) < 0.3).astype(np.float64)
    for step in range(60, 90):
        found = recall.observe(step, 4 * yes - 2, YesNo(yes, np.nan, np.nan), 0)
    assert found == 1.0
    assert np.isnan(recall.observe(90, yes, Targets(yes, 1.0), 0))


def agreement(x: np.ndarray, y: np.ndarray, *, classes: bool, steps: int = 120) -> float:
    rng, neighbours = np.random.default_rng(0), Neighbours()
    found = np.nan
    for _ in range(steps):
        chosen = rng.choice(len(x), 32, replace=False)
        rows = x[chosen].astype(np.float32)
        if classes:
            labels: Labels | Targets = Labels(
                y[chosen].astype(np.int64), np.ones(32, np.bool_), np.ones(32), 1.0
            )
        else:
            labels = Targets(y[chosen][:, None].astype(np.float64), 1.0)
        found = neighbours.observe(rows, inputs.row_keys(rows), labels)
    return found


REAL: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "digits": lambda: load_digits(return_X_y=True),
    "iris": lambda: load_iris(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "cancer": lambda: load_breast_cancer(return_X_y=True),
    "circles": lambda: make_circles(1000, noise=0.05, factor=0.5, random_state=0),
    "diabetes": lambda: load_diabetes(return_X_y=True),
}


@pytest.mark.parametrize("name", list(REAL))
def test_neighbours_tell_true_labels_from_shuffled_and_noisy_ones(name: str) -> None:
    x, y = REAL[name]()
    classes = name != "diabetes"
    rng = np.random.default_rng(1)
    noisy = np.where(rng.random(len(y)) < 0.4, rng.permutation(y), y)
    true, shuffled = (
        agreement(x, y, classes=classes),
        agreement(x, rng.permutation(y), classes=classes),
    )
    assert true > (0.85 if classes else 0.4)
    assert abs(shuffled) < 2.5 / np.sqrt(len(x))  # chance alone leaves 1 / sqrt(rows)
    assert shuffled + 0.05 < agreement(x, noisy, classes=classes) < true - 0.15


def test_neighbours_agree_as_a_plain_search_finds() -> None:
    x, y = load_wine(return_X_y=True)
    rows = x.astype(np.float32)
    plain = np.clip((x - x.mean(axis=0)) / x.std(axis=0), -3, 3)
    apart = ((plain[:, None] - plain[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    agreed = (y[apart.argmin(axis=1)] == y).mean()
    chance = ((np.bincount(y) / len(y)) ** 2).sum()
    neighbours = Neighbours()
    labels = Labels(y, np.ones(len(y), np.bool_), np.ones(len(y)), 1.0)
    for _ in range(12):
        found = neighbours.observe(rows, inputs.row_keys(rows), labels)
    assert found == pytest.approx((agreed - chance) / (1 - chance), abs=0.01)


def test_copies_of_a_row_are_no_neighbours() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(400, 3)), 2, axis=0)
    y = np.repeat(rng.integers(0, 2, 400), 2)
    assert abs(agreement(x, y, classes=True)) < 0.12


def test_nothing_is_said_of_few_rows_equal_labels_or_other_counts() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3)).astype(np.float32)
    keys = inputs.row_keys(x)
    ones = YesNo(np.ones((64, 1)), 1.0, 1.0)
    neighbours = Neighbours()
    said = [neighbours.observe(x, keys, ones) for _ in range(12)]
    assert np.isnan(said).all()
    halves = YesNo((np.arange(64) % 2)[:, None].astype(np.float64), 1.0, 1.0)
    neighbours = Neighbours()
    said = [neighbours.observe(x, keys, halves) for _ in range(12)]
    assert np.isnan(said[:3]).all()
    assert np.isfinite(said[-1])
    assert np.isnan(neighbours.observe(x[:32], keys[:32], halves))


def test_few_rows_are_compared_however_many_features_they_have() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 3000))
    y = rng.integers(0, 5, 2000)
    x = centres[y] + rng.normal(size=(2000, 3000))
    assert agreement(x, y, classes=True, steps=60) > 0.9


def test_the_columns_of_a_run_hold_the_agreement() -> None:
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    for dtype, known in (("float32", True), ("int64", False)):
        bench = Bench([], "cross_entropy")
        bench.add(What.INPUT, 0, (64, 64), "nu", dtype=dtype)
        bench.add(What.OUTPUT, 0, (64, 10), "nu")
        bench.add(What.TARGET, 0, (64,), "n", dtype="int64")
        frames = []
        for step in range(1, 13):
            chosen = rng.choice(len(x), 64, replace=False)
            frames.append(
                bench.frame(
                    step,
                    {
                        (What.INPUT, 0): x[chosen].astype(np.float32),
                        (What.OUTPUT, 0): np.zeros((64, 10), dtype=np.float32),
                        (What.TARGET, 0): y[chosen].astype(np.float32),
                    },
                )
            )
        statistician = Statistician()
        statistician.adopt(bench.plan())
        found = [of_model(one, "neighbour_agreement") for one in statistician.measure(frames)]
        assert np.isnan(found[2])
        assert found[-1] > 0.85 if known else np.isnan(found[-1])


def test_what_a_decoder_is_given_is_no_data_to_find_neighbours_in() -> None:
    rng = np.random.default_rng(0)
    bench = Bench([], "mse", models=2)
    for index, width in enumerate((9, 2)):
        bench.add(What.INPUT, index, (64, width), "nu")
        bench.add(What.OUTPUT, index, (64, 1), "nu")
        bench.add(What.TARGET, index, (64, 1), "nu")
    frames = [
        bench.frame(
            step,
            {
                (slot.what, slot.index): rng.normal(size=slot.shape).astype(np.float32)
                for slot in bench.slots
            },
        )
        for step in range(1, 11)
    ]
    statistician = Statistician()
    statistician.adopt(bench.plan())
    one = statistician.measure(frames)[-1]
    assert np.isfinite(of_model(one, "neighbour_agreement", 0))
    assert np.isnan(of_model(one, "neighbour_agreement", 1))


@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("told", [True, False])
def test_neighbours_in_one_of_several_inputs_can_tell_the_answer_but_not_that_there_is_none(
    told: bool, inputs: int
) -> None:
    rng = np.random.default_rng(0)
    bench = Bench([], "mse")
    bench.models = (msgspec.structs.replace(bench.models[0], inputs=inputs),)
    bench.add(What.INPUT, 0, (64, 2), "nu")
    bench.add(What.OUTPUT, 0, (64, 1), "nu")
    bench.add(What.TARGET, 0, (64, 1), "nu")
    frames = []
    for step in range(1, 13):
        x, y = rng.normal(size=(64, 2)), rng.normal(size=(64, 1))
        shown = {What.INPUT: x, What.OUTPUT: 0 * y, What.TARGET: x[:, :1] if told else y}
        frames.append(
            bench.frame(
                step, {(what, 0): values.astype(np.float32) for what, values in shown.items()}
            )
        )
    statistician = Statistician()
    statistician.adopt(bench.plan())
    found = of_model(statistician.measure(frames)[-1], "neighbour_agreement")
    if told:
        assert found > 0.9
    else:
        assert abs(found) < 0.2 if inputs == 1 else np.isnan(found)

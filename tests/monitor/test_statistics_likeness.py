"""Likeness of outputs between samples, between tokens and unit by unit, against slow references."""

from __future__ import annotations

import numpy as np
import pytest
from statistics_frames import Bench, layer, of_layer

from deadband.wire import What
from deadband_monitor.statistics import Statistician
from deadband_monitor.statistics.likeness import active_units, mean_cosine, token_similarity
from deadband_monitor.statistics.moments import spread


def slow_cosine(rows: np.ndarray) -> float:
    wide = rows.astype(np.longdouble)
    pairs = [
        wide[i] @ wide[j] / np.sqrt((wide[i] @ wide[i]) * (wide[j] @ wide[j]))
        for i in range(len(wide))
        for j in range(i)
    ]
    return float(np.mean(pairs))


@pytest.mark.parametrize("shape", [(2, 1), (3, 7), (20, 1000)])
@pytest.mark.parametrize("scale", [1e-37, 1e-20, 1.0, 1e20, 1e38])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_cosine_is_the_mean_over_all_pairs(
    shape: tuple[int, int], scale: float, offset: float
) -> None:
    rng = np.random.default_rng(0)
    x = np.clip(rng.normal(offset, 0.5, size=(3, *shape)), -3, 3.3)
    x = (scale * x).astype(np.float32)
    found = mean_cosine(x)
    for rows, cosine in zip(x, found, strict=True):
        assert cosine == pytest.approx(slow_cosine(rows), abs=3e-6)


def test_cosine_of_rows_at_very_different_scales_counts_each_row_alike() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1, 12, 9)) * 10.0 ** rng.integers(-18, 18, size=(1, 12, 1))
    x = x.astype(np.float32)
    assert mean_cosine(x)[0] == pytest.approx(slow_cosine(x[0]), abs=1e-6)


def test_rows_that_point_the_same_way_have_cosine_one_and_opposite_ones_minus_one() -> None:
    row = np.random.default_rng(2).normal(size=40).astype(np.float32)
    same = np.outer(np.arange(1, 9), row).astype(np.float32)
    assert mean_cosine(same[None])[0] == pytest.approx(1.0, abs=1e-6)
    assert mean_cosine(np.stack([row, -row])[None])[0] == pytest.approx(-1.0, abs=1e-6)


def test_a_row_without_direction_leaves_no_cosine_to_its_slice_only() -> None:
    x = np.random.default_rng(3).normal(size=(5, 8, 6)).astype(np.float32)
    x[1, 3] = 0
    x[2, 0, 0] = np.nan
    x[3, 0, 0] = np.inf
    assert np.isnan(mean_cosine(x)).tolist() == [False, True, True, True, False]
    assert np.isnan(mean_cosine(x[:, :1])).all()
    assert np.isnan(mean_cosine(x[:, :, :0])).all()


def test_token_similarity_is_taken_inside_samples() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(0.4, 1.0, size=(3, 6, 4, 20)).astype(np.float32)
    found = token_similarity(x)
    for slice_, value in zip(x, found, strict=True):
        assert value == pytest.approx(np.mean([slow_cosine(one) for one in slice_]), abs=1e-6)
    alike = np.repeat(rng.normal(size=(1, 6, 1, 20)), 4, axis=2).astype(np.float32)
    assert token_similarity(alike)[0] == pytest.approx(1.0, abs=1e-6)
    assert abs(mean_cosine(alike[:, :, 0])[0]) < 0.3


def test_padded_samples_are_left_out_of_token_similarity() -> None:
    x = np.random.default_rng(5).normal(size=(2, 6, 4, 20)).astype(np.float32)
    x[0, 2, 3] = 0
    x[1, :, 0] = 0
    found = token_similarity(x)
    kept = [slow_cosine(one) for place, one in enumerate(x[0]) if place != 2]
    assert found[0] == pytest.approx(np.mean(kept), abs=1e-6)
    assert np.isnan(found[1])


def columns_of(x: np.ndarray, axes: str) -> np.ndarray:
    n = axes.index("n")
    rows = np.moveaxis(x, 1 + n, 1)
    return spread(rows.reshape(len(x), rows.shape[1], -1), columns=True).columns


@pytest.mark.parametrize(
    ("axes", "shape"), [("nu", (20, 30)), ("nup", (20, 30, 5)), ("npu", (20, 5, 30))]
)
def test_active_units_vary_by_more_than_a_hundredth_over_samples(
    axes: str, shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(6)
    unit = axes.index("u")
    sizes = [1] * len(shape)
    sizes[unit] = 30
    sd = np.where(np.arange(30) < 12, 0.3, 0.03).reshape(sizes)
    level = 50 * rng.normal(
        size=[1 if letter == "n" else size for letter, size in zip(axes, shape, strict=True)]
    )
    x = (level + sd * rng.normal(size=shape))[None].astype(np.float32)
    others = tuple(place for place, letter in enumerate(axes) if letter == "p")
    slow = x[0].astype(np.float64).var(axis=0, keepdims=True).mean(axis=others).reshape(-1)
    expected = float((slow > 0.01).mean())
    assert expected == 0.4
    assert active_units(columns_of(x, axes), shape, axes)[0] == expected


def test_active_units_need_eight_rows() -> None:
    x = np.random.default_rng(7).normal(size=(1, 7, 5)).astype(np.float32)
    assert np.isnan(active_units(columns_of(x, "nu"), (7, 5), "nu")[0])


def measured(
    bench: Bench, values: list[dict[tuple[What, int], np.ndarray]], metric: str
) -> list[float]:
    statistician = Statistician()
    statistician.adopt(bench.plan())
    frames = [bench.frame(step, value) for step, value in enumerate(values, start=1)]
    return [of_layer(one, metric) for one in statistician.measure(frames)]


def test_tokens_are_compared_in_sequences_and_pixels_are_not() -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(size=(16, 4, 10)).astype(np.float32)
    for axes, told in (("npu", True), ("nup", False)):
        bench = Bench([layer()])
        bench.add(What.ACTIVATION, 0, x.shape, axes)
        found = measured(bench, [{(What.ACTIVATION, 0): x}], "token_similarity")[0]
        assert np.isfinite(found) == told
        assert np.isfinite(measured(bench, [{(What.ACTIVATION, 0): x}], "cosine")[0])


def test_rows_of_single_sample_steps_are_gathered_for_cosine_and_active_units() -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(1.0, 1.0, size=(40, 1, 12)).astype(np.float32)
    x[:, :, :3] = 1.0
    bench = Bench([layer()])
    bench.add(What.ACTIVATION, 0, (1, 12), "nu")
    values = [{(What.ACTIVATION, 0): row} for row in x]
    cosines = measured(bench, values, "cosine")
    assert np.isnan(cosines[:7]).all()
    assert cosines[39] == pytest.approx(slow_cosine(x[8:, 0]), abs=1e-6)
    assert measured(bench, values, "active_units")[39] == 0.75

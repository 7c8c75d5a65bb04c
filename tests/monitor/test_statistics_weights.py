"""Weights, their growth and their steps against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deadband.wire import Layer
from deadband_monitor.statistics import weights
from deadband_monitor.statistics.moments import (
    mean_and_variance,
    mean_square,
    mean_square_difference,
)

RNG = np.random.default_rng(0)


def fan(value: float, many: int = 1) -> np.ndarray:
    return np.full(many, value, dtype=np.float32)


def spread(weight: np.ndarray, fan_in: float) -> float:
    _, variance = mean_and_variance(weight)
    return float(weights.weight_spread(variance, fan(fan_in, len(weight)))[0])


@pytest.mark.parametrize("inputs", [1, 8, 64])
def test_default_initialisation_has_a_spread_of_one(inputs: int) -> None:
    torch.manual_seed(0)
    weight = torch.nn.Linear(inputs, 4096).weight.detach().numpy()[None]
    assert spread(weight, inputs) == pytest.approx(1.0, rel=0.03)
    torch.nn.init.kaiming_normal_(he := torch.empty(512, inputs))
    assert spread(he.numpy()[None], inputs) == pytest.approx(np.sqrt(6), rel=0.1)


@pytest.mark.parametrize("scale", [1e-37, 1e-30, 1e-3, 1.0, 1e30, 3e38])
def test_spread_at_any_scale_and_zero_for_equal_weights(scale: float) -> None:
    weight = (scale * RNG.uniform(-1, 1, size=(2, 9, 13))).astype(np.float32)
    expected = weight[0].astype(np.float64).std() * np.sqrt(39)
    assert spread(weight, 13) == pytest.approx(expected, rel=1e-3)
    equal = np.full((1, 9, 13), scale / 3, dtype=np.float32)
    assert spread(equal, 13) == 0.0


def test_spread_needs_a_fan_in() -> None:
    assert np.isnan(spread(np.ones((1, 4, 1), dtype=np.float32), 0))


def slow_twins(rows: np.ndarray) -> float:
    wide = rows.astype(np.float64) / np.abs(rows).max()
    twin = 0
    for i, a in enumerate(wide):
        cosines = [
            a @ b / np.linalg.norm(a) / np.linalg.norm(b) for j, b in enumerate(wide) if j != i
        ]
        twin += max(cosines) > 0.999
    return twin / len(rows)


@pytest.mark.parametrize("scale", [1e-36, 1.0, 1e36])
def test_twins_agree_with_their_definition(scale: float) -> None:
    rows = RNG.normal(size=(1, 20, 12))
    rows[0, 3] = 2.5 * rows[0, 4]
    rows[0, 5] = rows[0, 6] * (1 + 1e-3 * RNG.normal(size=12))
    rows[0, 7] = -rows[0, 8]
    rows = (scale * rows).astype(np.float32)
    assert weights.twins(rows, zero_rows_count=True)[0] == pytest.approx(slow_twins(rows[0]))
    assert slow_twins(rows[0]) == 0.2


def test_zero_weights_are_all_alike_and_zero_gradients_say_nothing() -> None:
    zero = np.zeros((1, 8, 8), dtype=np.float32)
    assert weights.twins(zero, zero_rows_count=True)[0] == 1.0
    assert np.isnan(weights.twins(zero, zero_rows_count=False)[0])
    dead = RNG.normal(size=(1, 16, 8)).astype(np.float32)
    dead[0, 4:10] = 0
    assert weights.twins(dead, zero_rows_count=False)[0] == 0.0
    assert weights.twins(dead, zero_rows_count=True)[0] == 6 / 16
    dead[0, 3:] = 0
    assert np.isnan(weights.twins(dead, zero_rows_count=False)[0])


def test_twins_need_eight_inputs_and_four_units() -> None:
    for shape in [(1, 64, 7), (1, 3, 64), (1, 64, 1)]:
        assert np.isnan(weights.twins(np.ones(shape, dtype=np.float32), zero_rows_count=True))
    assert weights.twins(np.ones((1, 4, 8), dtype=np.float32), zero_rows_count=True)[0] == 1.0


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30, 3e38])
def test_growth_and_drift_agree_with_their_definitions(scale: float) -> None:
    first = (scale * RNG.uniform(-0.3, 0.3, size=(1, 6, 5))).astype(np.float32)
    weight = (scale * RNG.uniform(-1, 1, size=(1, 6, 5))).astype(np.float32)
    wide, wide_first = weight.astype(np.float64), first.astype(np.float64)
    square, first_square = mean_square(weight), mean_square(first)
    assert weights.growth(square, first_square)[0] == pytest.approx(
        np.linalg.norm(wide) / np.linalg.norm(wide_first), rel=1e-5
    )
    moved = mean_square_difference(weight, first)
    assert weights.drift(moved, first_square)[0] == pytest.approx(
        np.linalg.norm(wide - wide_first) / np.linalg.norm(wide_first), rel=1e-5
    )


def test_growth_from_zero_is_not_a_number() -> None:
    assert np.isnan(weights.growth(np.ones(1), np.zeros(1))[0])


def ratio_of(before: np.ndarray, after: np.ndarray) -> float:
    _, square = weights.changes(before, after)
    return float(weights.update_ratio(square, mean_square(before), fan(before.shape[2]))[0])


def test_update_ratio_agrees_with_its_definition_and_has_a_floor() -> None:
    before = RNG.normal(size=(1, 10, 20)).astype(np.float32)
    after = (before + 0.01 * RNG.normal(size=before.shape)).astype(np.float32)
    change = after.astype(np.float64) - before
    expected = np.sqrt((change**2).mean()) / np.sqrt((before.astype(np.float64) ** 2).mean())
    found = ratio_of(before, after)
    assert found == pytest.approx(expected, rel=1e-4)
    assert ratio_of(before, before) == 0.0

    zero = np.zeros_like(before)
    rms = np.sqrt((after.astype(np.float64) ** 2).mean())
    assert ratio_of(zero, after) == pytest.approx(rms * np.sqrt(60), rel=1e-4)


def test_a_change_that_float32_does_not_hold_still_has_a_size() -> None:
    large = np.full((1, 4, 5), 3e38, dtype=np.float32)
    _, square = weights.changes(-large, large)
    assert square[0] == pytest.approx(6e38**2, rel=1e-5)


def test_update_ratio_of_an_embedding_counts_the_rows_that_were_looked_up() -> None:
    before = RNG.normal(size=(1, 10, 20)).astype(np.float32)
    after = before.copy()
    after[0, 2] *= 1.5
    touched = np.zeros((1, 10), dtype=np.bool_)
    assert np.isnan(weights.update_ratio_of_rows(before, after, fan(20), touched)[0])
    touched[0, 2] = True
    found = weights.update_ratio_of_rows(before, after, fan(20), touched)
    assert found[0] == pytest.approx(0.5, rel=1e-5)


def test_norm_scales_are_not_matrices_but_one_input_still_is() -> None:
    norm = Layer(name="n", model="m", kind="LayerNorm")
    linear = Layer(name="l", model="m", kind="Linear")
    assert not weights.is_matrix(norm, (8, 1), (8,))
    assert weights.is_matrix(linear, (8, 1), (8, 1))
    assert weights.is_matrix(linear, (8, 4), ())
    assert not weights.is_matrix(linear, (8, 1), ())

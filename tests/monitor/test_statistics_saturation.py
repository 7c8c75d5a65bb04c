"""Flat ends of activation functions, dead units, and the axes that rows and units lie on."""

from __future__ import annotations

import numpy as np
import pytest

from deadband.wire import Layer
from deadband_monitor.statistics import arrange
from deadband_monitor.statistics.saturation import (
    ends,
    ever_positive,
    saturation,
    softmax_saturation,
)


def of(activation: str, kind: str = "x", **options: float) -> Layer:
    return Layer(name="a", model="m", kind=kind, activation=activation, options=options)


def measured(x: np.ndarray, layer: Layer) -> tuple[float, float]:
    found = ends(layer)
    assert found is not None
    low = np.array([found.low], dtype=np.float32)
    high = np.array([found.high], dtype=np.float32)
    share, stuck = saturation(x[None].astype(np.float32), low, high)
    return float(share[0]), float(stuck[0])


def slow_stuck(x: np.ndarray, low: float, high: float) -> float:
    stuck = 0
    for column in x.T:
        below, above = (column <= low).sum(), (column >= high).sum()
        flat = below + above
        stuck += bool(flat > 0.95 * len(column) and max(below, above) > 0.98 * flat)
    return float(stuck / x.shape[1])


@pytest.mark.parametrize(
    ("activation", "low", "high"),
    [
        ("tanh", -0.97, 0.97),
        ("sigmoid", 0.03, 0.97),
        ("hardsigmoid", 0, 1),
        ("hardtanh", -1, 1),
        ("relu6", -np.inf, 6),
    ],
)
def test_saturation_agrees_with_its_definition(activation: str, low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    middle = 3.0 if activation == "relu6" else (np.clip(low, -1, 1) + high) / 2
    x = rng.normal(middle, 1.0, size=(40, 30)) + rng.choice([-9, 0, 9], size=30)
    x = np.clip(x, -1 if activation in ("tanh", "hardtanh") else 0, 6 if high == 6 else 1)
    share, stuck = measured(x, of(activation))
    assert share == pytest.approx(float(((x <= low) | (x >= high)).mean()), abs=1e-3)
    assert stuck == pytest.approx(slow_stuck(x, low, high))
    assert 0.05 < stuck < 0.95


def test_hardtanh_takes_the_bounds_it_was_made_with() -> None:
    x = np.full((20, 4), 2.0)
    assert measured(x, of("hardtanh", min_val=-2.0, max_val=2.0)) == (1.0, 1.0)
    assert measured(x, of("hardtanh", min_val=-3.0, max_val=3.0)) == (0.0, 0.0)


def test_a_unit_that_flips_between_both_ends_carries_a_bit() -> None:
    x = np.where(np.arange(40)[:, None] % 2, 1.0, -1.0) * np.ones((40, 3))
    assert measured(x, of("tanh")) == (1.0, 0.0)


def test_few_rows_do_not_make_a_unit_stuck() -> None:
    share, stuck = measured(np.ones((4, 3)), of("tanh"))
    assert share == 1.0
    assert np.isnan(stuck)


def test_gates_and_smooth_functions_have_no_flat_ends() -> None:
    assert ends(of("tanh", kind="LSTM")) is None
    assert ends(of("sigmoid", kind="GRU")) is None
    assert ends(of("gelu")) is None
    assert ends(of("")) is None


def test_a_sure_softmax_is_saturated() -> None:
    p = np.array([[[0.9995, 0.0005], [0.5, 0.5], [0.0, 1.0], [0.99, 0.01]]], dtype=np.float32)
    assert softmax_saturation(p).tolist() == [0.5]


def test_a_unit_is_on_if_any_row_is_positive_whatever_else_is_not_a_number() -> None:
    x = np.zeros((1, 5, 4), dtype=np.float32)
    x[0, 2, 0] = 1e-30
    x[0, 1, 1] = np.nan
    x[0, :, 2] = -1
    x[0, 0, 3], x[0, 1, 3] = np.nan, 2.0
    assert ever_positive(x)[0].tolist() == [True, False, False, True]


def test_axes_put_samples_and_units_where_they_belong() -> None:
    x = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)  # 2 slices of 3 x 4 x 5
    assert arrange.by_sample(x, "nup").shape == (2, 3, 20)
    assert np.array_equal(arrange.by_unit(x, "nup")[1], x[1].transpose(0, 2, 1).reshape(15, 4))
    assert np.array_equal(arrange.by_unit(x, "npu")[1], x[1].reshape(12, 5))
    assert np.array_equal(arrange.by_sample(x, "pnu")[0], x[0].transpose(1, 0, 2).reshape(4, 15))
    assert np.array_equal(arrange.by_unit(x, "pnu")[0], x[0].transpose(1, 0, 2).reshape(12, 5))
    flat = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert arrange.by_sample(flat, "n").shape == (2, 3, 1)
    assert arrange.by_unit(flat, "n").shape == (2, 3, 1)
    assert arrange.by_unit(np.zeros((2, 0, 4), dtype=np.float32), "nu").shape == (2, 0, 4)
    assert arrange.by_unit(np.zeros((2, 4, 0), dtype=np.float32), "nu").shape == (2, 4, 0)

"""Flat ends of activation functions, dead units, and the axes that rows and units lie on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from statistics_frames import Bench, of_layer

from deadband.wire import Layer, What
from deadband_monitor.statistics import Statistician, arrange
from deadband_monitor.statistics.saturation import (
    choice_entropy,
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
    assert ever_positive(x, "nu")[0].tolist() == [True, False, False, True]


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


FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hardtanh": torch.nn.functional.hardtanh,
    "hardsigmoid": torch.nn.functional.hardsigmoid,
    "relu6": torch.nn.functional.relu6,
    "gelu": torch.nn.functional.gelu,
}
STEEPEST = {"tanh": 1.0, "sigmoid": 0.25, "hardtanh": 1.0, "hardsigmoid": 1 / 6, "relu6": 1.0}


def of_output(
    x: np.ndarray, activation: str, metric: str, axes: str = "nu", kind: str = "x"
) -> float:
    bench = Bench([of(activation, kind=kind)])
    bench.add(What.ACTIVATION, 0, x.shape, axes)
    statistician = Statistician()
    statistician.adopt(bench.plan())
    (found,) = statistician.measure([bench.frame(1, {(What.ACTIVATION, 0): x})])
    return of_layer(found, metric)


@pytest.mark.parametrize("activation", STEEPEST)
@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
def test_mean_slope_is_what_autograd_says(activation: str, scale: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = (scale * torch.randn(40, 30, generator=generator)).requires_grad_()
    y = FUNCTIONS[activation](x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    expected = float(slope.mean()) / STEEPEST[activation]
    found = of_output(y.detach().numpy(), activation, "mean_slope")
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_slopes_that_outputs_do_not_tell_are_not_guessed() -> None:
    x = np.random.default_rng(0).uniform(0, 1, size=(20, 5)).astype(np.float32)
    assert np.isnan(of_output(x, "gelu", "mean_slope"))
    assert np.isnan(of_output(x, "softmax", "mean_slope"))
    assert np.isnan(of_output(x, "tanh", "mean_slope", kind="LSTM"))


def slow_choices(x: np.ndarray) -> float:
    _, counts = np.unique(x.argmax(axis=1), return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum() / np.log(min(x.shape)))


@pytest.mark.parametrize("shape", [(8, 4), (32, 10), (10, 64)])
def test_choice_entropy_agrees_with_its_definition(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(1).normal(size=(3, *shape))
    x[:, :, 0] += 1.0
    x = (np.exp(x) / np.exp(x).sum(axis=2, keepdims=True)).astype(np.float32)
    assert choice_entropy(x) == pytest.approx([slow_choices(rows) for rows in x])
    x[1, :, 2] = 9.0
    assert choice_entropy(x)[1] == 0.0


def test_positions_choose_as_rows_do_and_a_cut_softmax_chooses_unseen() -> None:
    x = np.random.default_rng(2).uniform(size=(4, 3, 6)).astype(np.float32)
    found = of_output(x, "softmax", "choice_entropy", "npu")
    assert found == pytest.approx(slow_choices(x.reshape(12, 6)))
    bench = Bench([of("softmax")])
    bench.add(What.ACTIVATION, 0, x.shape, "npu", source=(4, 3, 700))
    statistician = Statistician()
    statistician.adopt(bench.plan())
    (cut,) = statistician.measure([bench.frame(1, {(What.ACTIVATION, 0): x})])
    assert np.isnan(of_layer(cut, "choice_entropy"))


def test_a_uniform_router_has_not_chosen() -> None:
    uniform = np.full((1, 32, 8), 1 / 8, dtype=np.float32)
    assert np.isnan(choice_entropy(uniform)[0])
    assert np.isnan(choice_entropy(np.eye(7, dtype=np.float32)[None])[0])

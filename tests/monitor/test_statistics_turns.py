"""Directions of gradients and updates against slow references, and what consecutive means."""

from __future__ import annotations

import numpy as np
import pytest
from statistics_frames import Bench, layer, of_layer

from deadband.wire import What
from deadband_monitor.statistics import Measured, RawFrame, Statistician
from deadband_monitor.statistics.moments import mean_square
from deadband_monitor.statistics.parameters import WeightMemory
from deadband_monitor.statistics.turns import cosine, share_left

RNG = np.random.default_rng(0)


def slow_cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.longdouble).reshape(-1), b.astype(np.longdouble).reshape(-1)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1.0, 1e18, 1e38])
def test_cosine_agrees_with_its_definition_at_any_scale(scale: float) -> None:
    a = (scale * RNG.uniform(-1, 1, size=(4, 8, 9))).astype(np.float32)
    b = (scale * RNG.uniform(-1, 1, size=(4, 8, 9)) + 0.5 * a).astype(np.float32)
    found = cosine(a, b, mean_square(a), mean_square(b))
    for index in range(4):
        assert found[index] == pytest.approx(slow_cosine(a[index], b[index]), abs=1e-5)


def test_zeros_have_no_direction() -> None:
    a = RNG.normal(size=(3, 4, 4)).astype(np.float32)
    b = a.copy()
    b[1] = 0
    b[2, 0, 0] = np.nan
    found = cosine(a, b, mean_square(a), mean_square(b))
    assert found[0] == pytest.approx(1.0)
    assert np.isnan(found[1:]).all()


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_a_gradient_on_top_of_the_old_one_still_holds_all_of_it(scale: float) -> None:
    old = (scale * RNG.normal(size=(1, 16, 16))).astype(np.float32)
    new = (scale * 0.1 * RNG.normal(size=(1, 16, 16))).astype(np.float32)
    wide, rest = (old + new).astype(np.longdouble), old.astype(np.longdouble)
    expected = float((wide * rest).sum() / (rest * rest).sum())
    assert share_left(old + new, old)[0] == pytest.approx(expected, rel=1e-5)
    assert expected == pytest.approx(1.0, abs=0.1)
    assert share_left(new, np.zeros_like(old))[0] == 0.0
    assert abs(share_left(new, old)[0]) < 0.1
    old[0, 0, 0] = np.inf
    assert np.isnan(share_left(new, old)[0])


class Loop:
    """Two layers of one shape and one of another, with whatever weights and gradients."""

    def __init__(self) -> None:
        self.layers = [layer(name, fan_in=6) for name in "abc"]
        self.shapes = [(5, 6), (5, 6), (4, 3)]
        self.bench = Bench(self.layers)
        self.weights: dict[int, list[np.ndarray]] = {}
        self.grads: dict[int, list[np.ndarray]] = {}
        for index, shape in enumerate(self.shapes):
            for what in (What.WEIGHT_BEFORE, What.WEIGHT, What.WEIGHT_GRAD, What.GRAD_LEFT):
                self.bench.add(what, index, shape)
            walk = np.cumsum(RNG.normal(size=(40, *shape)) + 0.3, axis=0)
            self.weights[index] = list(walk.astype(np.float32))
            self.grads[index] = list((RNG.normal(size=(40, *shape)) + 0.5).astype(np.float32))

    def frame(self, step: int, *, skipped: bool = False) -> RawFrame:
        values = {}
        for index in range(3):
            values[What.WEIGHT_BEFORE, index] = self.weights[index][step]
            values[What.WEIGHT, index] = self.weights[index][step + (not skipped)]
            if not skipped:
                values[What.WEIGHT_GRAD, index] = self.grads[index][step]
        return self.bench.frame(step, values, skipped=skipped)

    def change(self, index: int, step: int) -> np.ndarray:
        return np.asarray(self.weights[index][step + 1] - self.weights[index][step])


def measured(loop: Loop, batches: list[list[RawFrame]]) -> list[Measured]:
    statistician = Statistician()
    found = []
    for frames in batches:
        statistician.adopt(loop.bench.plan())
        found += statistician.measure(frames)
    return found


@pytest.mark.parametrize("at_once", [1, 3, 20])
def test_turns_are_told_between_consecutive_steps_across_batches_and_plans(at_once: int) -> None:
    loop = Loop()
    frames = [loop.frame(step) for step in range(20)]
    found = measured(loop, [frames[at : at + at_once] for at in range(0, 20, at_once)])
    for index in range(3):
        assert np.isnan(of_layer(found[0], "grad_cosine", index))
        assert np.isnan(of_layer(found[0], "update_cosine", index))
        for step in range(1, 20):
            grads = loop.grads[index]
            assert of_layer(found[step], "grad_cosine", index) == pytest.approx(
                slow_cosine(grads[step], grads[step - 1]), abs=1e-5
            )
            assert of_layer(found[step], "update_cosine", index) == pytest.approx(
                slow_cosine(loop.change(index, step), loop.change(index, step - 1)), abs=1e-5
            )
            assert of_layer(found[step], "pull_to_zero", index) == pytest.approx(
                slow_cosine(loop.change(index, step), -loop.weights[index][step]), abs=1e-5
            )


def test_samples_further_apart_than_a_step_are_not_compared() -> None:
    loop = Loop()
    found = measured(loop, [[loop.frame(0), loop.frame(2)], [loop.frame(4)], [loop.frame(5)]])
    for metric in ("grad_cosine", "update_cosine"):
        told = [bool(np.isfinite(of_layer(one, metric))) for one in found]
        assert told == [False, False, False, True]


def test_a_step_that_the_scaler_left_out_breaks_the_chain() -> None:
    loop = Loop()
    found = measured(loop, [[loop.frame(0), loop.frame(1, skipped=True), loop.frame(2)]])
    assert np.isnan([of_layer(one, "update_cosine") for one in found]).all()
    assert np.isnan([of_layer(one, "grad_cosine") for one in found]).all()


def test_only_the_last_sample_of_layers_that_exist_is_kept() -> None:
    loop = Loop()
    memory = WeightMemory()
    statistician = Statistician()
    statistician._weight_memory = memory
    statistician.adopt(loop.bench.plan())
    statistician.measure([loop.frame(step) for step in range(10)])
    assert {past.step for past in memory.gradients.values()} == {9}
    fewer = Bench([layer("a", fan_in=6)])
    for what in (What.WEIGHT_BEFORE, What.WEIGHT, What.WEIGHT_GRAD):
        fewer.add(what, 0, loop.shapes[0])
    statistician.adopt(fewer.plan())
    assert list(memory.gradients) == list(memory.changes) == [(("m", "a"),)]


def test_old_gradients_are_reported_only_where_some_were_lying_there() -> None:
    loop = Loop()
    grads = loop.grads[0]
    values = {(What.WEIGHT_GRAD, 0): grads[0] + grads[1], (What.GRAD_LEFT, 0): grads[0]}
    values[What.WEIGHT_GRAD, 1] = grads[1]
    values[What.WEIGHT_GRAD, 2] = loop.grads[2][1]
    values[What.GRAD_LEFT, 2] = np.zeros((4, 3), dtype=np.float32)
    (found,) = measured(loop, [[loop.bench.frame(1, values)]])
    both = (grads[0] + grads[1]).astype(np.float64)
    expected = (both * grads[0]).sum() / (grads[0].astype(np.float64) ** 2).sum()
    assert of_layer(found, "grad_left", 0) == pytest.approx(expected, rel=1e-5)
    assert np.isnan(of_layer(found, "grad_left", 1))
    assert of_layer(found, "grad_left", 2) == 0.0


def test_a_pull_to_zero_is_not_told_of_a_few_weights() -> None:
    for shape, told in (((1, 7), False), ((1, 8), True)):
        bench = Bench([layer(fan_in=shape[1])])
        bench.add(What.WEIGHT_BEFORE, 0, shape)
        bench.add(What.WEIGHT, 0, shape)
        weight = np.ones(shape, dtype=np.float32)
        values = {(What.WEIGHT_BEFORE, 0): weight, (What.WEIGHT, 0): 0.9 * weight}
        statistician = Statistician()
        statistician.adopt(bench.plan())
        (found,) = statistician.measure([bench.frame(1, values)])
        pull = of_layer(found, "pull_to_zero")
        assert pull == pytest.approx(1.0) if told else np.isnan(pull)

"""Loops without torch: what is shown by hand is in the frame, under the name of its role."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from frames import Floats, Frames
from numpy.typing import NDArray

import deadband
from deadband.watching import Watch
from deadband.wire import What

FramesOf = Callable[[Watch], Frames]
Doubles = NDArray[np.float64]


def sigmoid(x: Doubles) -> Doubles:
    return np.asarray(1 / (1 + np.exp(-x)))


class Regression:
    """Logistic regression by hand, and what it held at each step."""

    def __init__(self, watch: Watch, units: int = 0) -> None:
        random = np.random.default_rng(0)
        self.watch = watch
        self.w = random.normal(size=(5, units) if units else 5)
        self.b = np.zeros(units) if units else np.zeros(1)
        self.random = random
        self.weights: list[Doubles] = []
        self.gradients: list[Doubles] = []
        self.shown: list[tuple[Doubles, Doubles, Doubles, Doubles]] = []

    def step(self) -> None:
        x = self.random.normal(size=(20, 5))
        y = (x[:, 0] > 0).astype(np.float64)
        if self.w.ndim > 1:
            y = np.repeat(y[:, None], self.w.shape[1], axis=1)
        p = sigmoid(x @ self.w + self.b)
        slope = (p - y) / len(y)
        gradient = x.T @ slope
        self.w -= 0.5 * gradient  # in place: a kept weight must be a copy
        self.b -= 0.5 * slope.sum(0)
        watch = self.watch
        watch.observe("x", x, role="input")
        watch.observe("p", p, role="output")
        watch.observe("y", y, role="target")
        watch.observe("slope", slope, role="output_grad")
        watch.observe("layer", p, activation="sigmoid")
        watch.observe("layer", self.w, role="weight")
        watch.observe("layer", gradient, role="weight_grad")
        watch.observe("layer", self.b, role="bias")
        loss = float(-np.log(np.where(y > 0, p, 1 - p)).mean())
        watch.step(loss=loss, lr=0.5)
        self.weights.append(self.w.copy())
        self.gradients.append(gradient)
        self.shown.append((x, p, y, slope))


def close_to(shown: Floats | None, value: Doubles) -> None:
    assert shown is not None
    np.testing.assert_allclose(shown, value, rtol=1e-6)


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("units", [0, 3])
def test_every_role_of_a_numpy_loop_is_in_its_slot(
    every: int, units: int, frames_of: FramesOf
) -> None:
    watch = deadband.watch(None, every=every, loss="bce")
    loop = Regression(watch, units)
    for _ in range(9):
        loop.step()
    frames = frames_of(watch)
    assert set(frames.steps) <= set(range(1, 10, every))
    assert len(frames.steps) >= 2
    for frame, step in enumerate(frames.steps):
        x, p, y, slope = loop.shown[step - 1]
        close_to(frames.of(What.INPUT, "model", frame), x)
        close_to(frames.of(What.OUTPUT, "model", frame), p)
        close_to(frames.of(What.TARGET, "model", frame), y)
        close_to(frames.of(What.OUTPUT_GRAD, "model", frame), slope)
        close_to(frames.of(What.WEIGHT, "layer", frame), np.atleast_2d(loop.weights[step - 1].T))
        close_to(
            frames.of(What.WEIGHT_GRAD, "layer", frame),
            np.atleast_2d(loop.gradients[step - 1].T),
        )
        close_to(
            frames.of(What.WEIGHT_BEFORE, "layer", frame),
            np.atleast_2d(loop.weights[step - 2].T),
        )
        assert frames.of(What.BIAS, "layer", frame) is not None
        assert frames.headers[frame].scalars["lr"][-1] == (step, 0.5)
    [layer] = frames.plan.layers
    assert (layer.name, layer.kind, layer.activation) == ("layer", "observed", "sigmoid")
    assert (layer.fan_in, layer.units) == (5, units or 1)
    assert layer.parameters == 6 * (units or 1)
    assert frames.slot(What.WEIGHT, "layer").source == (units or 1, 5)
    assert frames.plan.models[0].loss == "bce"
    axes = "nu" if units else "n"
    assert frames.slot(What.OUTPUT, "model").axes == frames.slot(What.TARGET, "model").axes == axes


def test_class_numbers_are_labels_of_rows(frames_of: FramesOf) -> None:
    watch = deadband.watch(None, every=1, loss="cross_entropy")
    labels = np.arange(20, dtype=np.int32) % 3
    for _ in range(2):
        watch.observe("logits", np.zeros((20, 3)), role="output")
        watch.observe("labels", labels, role="target")
        watch.step(loss=1.1)
    frames = frames_of(watch)
    slot = frames.slot(What.TARGET, "model")
    assert (slot.axes, slot.dtype) == ("n", "int64")
    np.testing.assert_array_equal(frames.held(What.TARGET, "model"), labels)


def test_flat_targets_take_the_shape_of_the_output(frames_of: FramesOf) -> None:
    watch = deadband.watch(None, every=1, loss="mse")
    y = np.arange(20.0)
    watch.observe("out", y[:, None], role="output")
    watch.observe("y", y, role="target")
    watch.step(loss=1.1)
    close_to(frames_of(watch).of(What.TARGET, "model"), y[:, None])


def test_tensors_of_a_loop_by_hand_are_shown_alike(frames_of: FramesOf) -> None:
    watch = deadband.watch(None, every=1)
    w = torch.zeros(5, 3)
    for _ in range(3):
        w += 1.0
        watch.observe("layer", w, role="weight")
        watch.observe("y", torch.ones(8), role="target")
        watch.step(loss=1.0)
    frames = frames_of(watch)
    assert frames.plan.layers[0].fan_in == 5
    assert (frames.held(What.WEIGHT, "layer") == 3).all()
    assert (frames.held(What.WEIGHT_BEFORE, "layer") == 2).all()
    assert frames.held(What.WEIGHT, "layer").shape == (3, 5)


def test_a_role_that_does_not_exist_is_a_fault_and_no_error() -> None:
    watch = deadband.watch(None, every=1)
    watch.observe("x", np.zeros((3, 2)), role="entrance")
    watch.step(loss=1.0)
    assert watch._beat().fault.startswith("ValueError: role must be one of activation, input")


def test_a_loss_of_an_unknown_kind_is_named() -> None:
    with pytest.raises(ValueError, match="loss must be one of cross_entropy"):
        deadband.watch(None, loss="wrong")


def test_the_users_word_for_the_loss_counts_where_torch_does_not_tell(
    frames_of: FramesOf,
) -> None:
    model = torch.nn.Linear(4, 3)
    watch = deadband.watch(model, every=1, loss="cross_entropy")
    (model(torch.randn(6, 4)).exp().sum().log() * 2).backward()
    watch.step()
    assert frames_of(watch).plan.models[0].loss == "cross_entropy"


def test_a_numpy_loop_never_imports_torch() -> None:
    code = (
        "import sys, numpy as np, deadband\n"
        "watch = deadband.watch(None, every=1, loss='bce')\n"
        "watch.observe('x', np.ones((4, 2)), role='input')\n"
        "watch.observe('w', np.ones(2), role='weight')\n"
        "watch.step(loss=1.0, lr=0.1)\n"
        "watch.close()\n"
        "print('torch' in sys.modules, watch._beat().faults)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout == "False 0\n"

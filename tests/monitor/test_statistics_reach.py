"""Who got a gradient, who moved, how gradients change over depth: and when nothing can be said."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from statistics_frames import Bench, layer, of_layer, of_model

from deadband.wire import Layer, Plan, What
from deadband_monitor.statistics import Measured, RawFrame, Statistician
from deadband_monitor.statistics.summaries import slope_over_depth

RNG = np.random.default_rng(0)
SHAPE = (6, 10)
BEFORE = RNG.normal(size=SHAPE).astype(np.float32)
AFTER = (BEFORE + 0.01).astype(np.float32)
GRAD = RNG.normal(size=SHAPE).astype(np.float32)
OUT = RNG.normal(size=(16, 6)).astype(np.float32)


class Net:
    """Layers a, b, c, ... that ran, were updated and got gradients unless told otherwise."""

    def __init__(self, kinds: tuple[str, ...] = ("Linear",) * 3, unseen: str = "") -> None:
        self.names = "abcdef"[: len(kinds)]
        self.layers = [
            layer(name, kind, fan_in=10) for name, kind in zip(self.names, kinds, strict=True)
        ]
        self.bench = Bench(self.layers)
        self.bench.add(What.OUTPUT, 0, OUT.shape, "nu")
        for index, name in enumerate(self.names):
            if name not in unseen:
                self.bench.add(What.ACTIVATION, index, OUT.shape, "nu")
            for what in (What.WEIGHT_BEFORE, What.WEIGHT, What.WEIGHT_GRAD):
                self.bench.add(what, index, SHAPE)
        self.unseen = unseen

    def frame(
        self,
        *,
        no_grad: str = "",
        idle: str = "",
        still: str = "",
        not_updated: str = "",
        skipped: bool = False,
        output: bool = True,
    ) -> RawFrame:
        values: dict[tuple[What, int], np.ndarray] = {}
        if output:
            values[What.OUTPUT, 0] = OUT
        for index, name in enumerate(self.names):
            if name not in idle + self.unseen:
                values[What.ACTIVATION, index] = OUT
            if name not in not_updated:
                values[What.WEIGHT_BEFORE, index] = BEFORE
            values[What.WEIGHT, index] = BEFORE if name in still else AFTER
            if name not in no_grad:
                values[What.WEIGHT_GRAD, index] = GRAD
        return self.bench.frame(1, values, [1.0], skipped=skipped)

    def measured(self, frame: RawFrame, plan: Plan | None = None) -> Measured:
        statistician = Statistician()
        statistician.adopt(plan or self.bench.plan())
        return statistician.measure([frame])[0]

    def has_grad(self, frame: RawFrame, plan: Plan | None = None) -> list[float]:
        found = self.measured(frame, plan)
        return [of_layer(found, "has_grad", index) for index in range(len(self.names))]


def same(found: list[float], expected: list[float]) -> bool:
    return bool(np.array_equal(found, expected, equal_nan=True))


NAN = float("nan")


def test_a_layer_that_ran_without_a_gradient_is_told_from_those_that_got_one() -> None:
    net = Net()
    assert net.has_grad(net.frame()) == [1, 1, 1]
    assert net.has_grad(net.frame(no_grad="a")) == [0, 1, 1]
    found = net.measured(net.frame(no_grad="ab"))
    assert of_model(found, "grad_share") == pytest.approx(1 / 3)


def test_an_update_without_any_gradient_is_a_detached_graph() -> None:
    net = Net()
    assert net.has_grad(net.frame(no_grad="abc")) == [0, 0, 0]
    assert of_model(net.measured(net.frame(no_grad="abc")), "grad_share") == 0
    compiled = Net(unseen="abc")
    assert compiled.has_grad(compiled.frame(no_grad="abc")) == [0, 0, 0]
    assert compiled.has_grad(compiled.frame()) == [1, 1, 1]


def test_without_a_known_optimiser_a_frame_without_gradients_says_nothing() -> None:
    net = Net()
    by_hand = msgspec.structs.replace(net.bench.plan(), optimizers=())
    assert same(net.has_grad(net.frame(no_grad="abc"), by_hand), [NAN] * 3)
    assert net.has_grad(net.frame(no_grad="b"), by_hand) == [1, 0, 1]


def test_an_optimiser_that_did_not_step_leaves_missing_gradients_unsaid() -> None:
    net = Net()
    assert same(net.has_grad(net.frame(no_grad="abc", not_updated="abc")), [NAN] * 3)


def test_weights_that_the_optimiser_does_not_hold_are_no_sign_of_a_detached_graph() -> None:
    net = Net()
    plan = net.bench.plan()
    foreign = tuple(msgspec.structs.replace(each, optimised=False) for each in plan.layers)
    plan = msgspec.structs.replace(plan, layers=foreign)
    assert same(net.has_grad(net.frame(no_grad="abc"), plan), [NAN] * 3)
    assert net.has_grad(net.frame(no_grad="a"), plan) == [0, 1, 1]


def test_layers_that_did_not_run_and_sparse_embeddings_and_frozen_ones_are_exempt() -> None:
    net = Net()
    assert same(net.has_grad(net.frame(no_grad="b", idle="b")), [1, NAN, 1])
    unused = Net(unseen="c")
    assert same(unused.has_grad(unused.frame(no_grad="c")), [1, 1, NAN])
    assert same(unused.has_grad(unused.frame(no_grad="abc")), [0, 0, NAN])
    words = Net(("Embedding", "Linear", "Linear"))
    assert same(words.has_grad(words.frame(no_grad="a")), [NAN, 1, 1])
    frozen = net.bench.plan()
    first = Layer(name="a", model="m", kind="Linear", fan_in=10, trainable=False)
    frozen = msgspec.structs.replace(frozen, layers=(first, *frozen.layers[1:]))
    assert same(net.has_grad(net.frame(no_grad="a"), frozen), [NAN, 1, 1])


def test_a_skipped_step_and_a_frame_of_losses_alone_say_nothing() -> None:
    net = Net()
    assert same(net.has_grad(net.frame(no_grad="abc", skipped=True)), [NAN] * 3)
    found = net.measured(net.bench.frame(1, {}, [1.0]))
    assert np.isnan([of_layer(found, "has_grad", index) for index in range(3)]).all()
    assert np.isnan([of_model(found, name) for name in ("grad_share", "moved_share")]).all()


def test_moved_share_counts_weights_that_should_have_moved() -> None:
    net = Net()

    def moved(frame: RawFrame) -> float:
        return of_model(net.measured(frame), "moved_share")

    assert moved(net.frame()) == 1
    assert moved(net.frame(still="a")) == pytest.approx(2 / 3)
    assert moved(net.frame(still="abc")) == 0
    assert moved(net.frame(still="a", idle="a")) == 1
    assert np.isnan(moved(net.frame(still="abc", skipped=True)))
    unused = Net(unseen="c")
    assert of_model(unused.measured(unused.frame(still="c")), "moved_share") == 1
    compiled = Net(unseen="abc")
    assert of_model(compiled.measured(compiled.frame(still="abc")), "moved_share") == 0


def test_two_models_are_judged_each_for_itself() -> None:
    layers = [
        layer("a", fan_in=10),
        Layer(name="b", model="m1", kind="Linear", fan_in=10),
    ]
    bench = Bench(layers, models=2)
    values: dict[tuple[What, int], np.ndarray] = {}
    for index in range(2):
        bench.add(What.ACTIVATION, index, OUT.shape, "nu")
        values[What.ACTIVATION, index] = OUT
        for what, value in (
            (What.WEIGHT_BEFORE, BEFORE), (What.WEIGHT, AFTER), (What.WEIGHT_GRAD, GRAD)
        ):  # fmt: skip
            bench.add(what, index, SHAPE)
            if what is not What.WEIGHT_GRAD or index:
                values[what, index] = value
    statistician = Statistician()
    statistician.adopt(bench.plan())
    (found,) = statistician.measure([bench.frame(1, values)])
    assert [of_model(found, "grad_share", index) for index in range(2)] == [0, 1]


def test_slope_over_depth_is_a_least_squares_line() -> None:
    rms = 10.0 ** RNG.normal(-4, 2, size=(5, 7))
    rms[1, 2:4] = np.nan
    rms[2, 0] = 0.0
    rms[3, 2:] = np.nan
    found = slope_over_depth(rms)
    for row, slope in zip(rms, found, strict=True):
        there = np.flatnonzero(row > 0)
        if len(there) < 3:
            assert np.isnan(slope)
        else:
            assert slope == pytest.approx(np.polyfit(there, np.log10(row[there]), 1)[0])
    assert np.isnan(found).sum() == 1


def test_gradients_that_fade_towards_the_input_slope_upwards_over_matrices_only() -> None:
    net = Net(("Embedding", "Linear", "LayerNorm", "Linear", "Linear", "Parameter"))
    scales = [1e3, 1e-6, 1e5, 1e-4, 1e-2, 1e4]
    values = {(What.WEIGHT_GRAD, index): GRAD * scale for index, scale in enumerate(scales)}
    found = net.measured(net.bench.frame(1, {k: v.astype(np.float32) for k, v in values.items()}))
    assert of_model(found, "grad_slope") == pytest.approx(2.0, abs=1e-4)

"""What is lost or blown up on its way: in depth, in loops, behind gates; and what only looks so."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rules_builds import layer, linear, nothing_is_learnt, scene_of
from rules_scene import Scene, SceneSample


def test_a_layer_shut_by_its_bias_is_not_lost_in_depth() -> None:
    def shut(sample: SceneSample, bias: float) -> None:
        sample.no_better_than_constant()
        for name in ("fc1", "act1", "fc2", "act2", "fc3", "act3", "fc4", "act4", "fc5"):
            sample.layer(name, out_variance=0.3, weight_drift=0)
        sample.layer("fc4", bias_mean=bias, out_variance=1e-9)
        sample.layer("act4", dead_units=1, zero_share=1, out_variance=0)
        sample.layer("fc5", out_variance=0)
        sample.model(out_variance=0, out_sd=0, information=0)

    names = ("fc1", "act1", "fc2", "act2", "fc3", "act3", "fc4", "act4", "fc5")
    by_bias = Scene(names).run(40, lambda sample: shut(sample, -12.0))
    by_depth = Scene(names).run(40, lambda sample: shut(sample, 0.0))
    assert by_bias.causes[0] == "dying-relu"
    assert by_depth.causes[0] == "depth-vanishing"


def series(kind: str) -> Scene:
    build = [
        layer("cell", kind, units=24, fan_in=2, parameters=720),
        linear("head", 24, 2),
    ]
    model: dict[str, object] = {
        "loss": "cross_entropy",
        "loss_input": (32, 2),
        "loss_target": (32,),
    }
    return scene_of(build, model=model)


def test_of_a_plain_recurrent_layer_forgetting_is_likelier_than_noise_and_both_are_said() -> None:
    causes = series("RNN").run(200, nothing_is_learnt).causes
    assert causes[:2] == ["depth-vanishing", "label-noise"]


def test_a_stack_of_gates_whose_states_are_all_alike_as_drawn_forgets() -> None:
    def alike(sample: SceneSample) -> None:
        nothing_is_learnt(sample)
        sample.layer("cell", out_variance=3e-5)
        sample.model(in_variance=0.9, out_variance=3e-8, out_sd=1e-4, information=0)

    assert series("LSTM").run(200, alike).causes[0] == "depth-vanishing"


@pytest.mark.parametrize(
    ("sizes", "grew"), [((40, 14, 13, 2e12, 6e11), False), ((40, 1e4, 3e6, 1e9, 2e11), True)]
)
def test_what_one_exp_makes_of_large_inputs_did_not_grow_with_depth(
    sizes: tuple[float, ...], grew: bool
) -> None:
    names = [f"fc{place}" for place in range(1, 6)]

    def blown_up(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(in_rms=124, in_max=255, in_variance=0.3, grad_norm=1e11, skill=-300)
        sample.layer("fc4", update_ratio=0.5)
        for name, size in zip(names, sizes, strict=True):
            sample.layer(name, out_rms=size, out_variance=1.0)

    causes = Scene(names).run(260, blown_up).causes
    assert causes[0] == "unnormalised-inputs"
    assert ("depth-exploding" in causes) == grew


def test_a_bias_that_dwarfs_all_outputs_is_no_signal_that_grew_with_depth() -> None:
    def shut(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        for name in ("fc1", "act1", "fc2", "act2", "fc3", "act3", "fc4", "act4", "fc5"):
            sample.layer(name, out_rms=0.05, out_variance=0.3, weight_drift=0)
        sample.layer("fc4", bias_mean=-30, out_rms=30, out_variance=1e-8)
        sample.layer("act4", dead_units=1, zero_share=1, out_variance=0)
        sample.layer("fc5", out_variance=0)
        sample.model(out_variance=0, out_sd=0, information=0)

    names = ("fc1", "act1", "fc2", "act2", "fc3", "act3", "fc4", "act4", "fc5")
    assert Scene(names).run(40, shut).causes == ["dying-relu"]


def test_gates_hold_on_and_a_row_of_features_has_nothing_to_forget() -> None:
    assert series("LSTM").run(200, nothing_is_learnt).causes[0] == "label-noise"
    assert Scene().run(200, nothing_is_learnt).causes == ["label-noise"]


def recurrent() -> Scene:
    """A recurrent layer whose second matrix has a row of its own, and no output."""
    again = layer("rnn.weight_hh_l0", "Parameter", units=256, fan_in=64, parameters=9)
    return scene_of([linear("rnn", 64, 64), again, linear("head", 64, 4)])


@pytest.mark.parametrize(
    ("size", "named"), [(0.5, "numerical-overflow"), (2e5, "learning-rate-too-high")]
)
def test_a_matrix_that_puts_nothing_out_does_not_hide_that_all_outputs_were_small(
    size: float, named: str
) -> None:
    def broken(sample: SceneSample) -> None:
        if sample.step == 1:
            sample.layer("rnn", update_ratio=0.7)
        sample.layer("rnn.weight_hh_l0", out_rms=np.nan, out_variance=np.nan)
        sample.loss = 16.0
        if sample.step > 1:
            sample.loss = math.nan
            sample.layer("head", nonfinite=1, out_rms=size)
            sample.model(nonfinite=1, out_rms=size)
        sample.model(
            loss=sample.loss, skill=np.nan, information=np.nan, label_entropy=np.nan,
            loss_constant=np.nan,
        )  # fmt: skip

    causes = recurrent().run(4, broken).causes
    assert causes[0] == named


def called_again(*sizes: float) -> Scene:
    """A layer whose first four calls are watched, between two others."""
    again = ["w", "w@w", "w@w#3", "w@w#4"]
    names = ["i", *again[: len(sizes)], "o"]
    return scene_of([linear(name, 48, 48) for name in names], model={"loss": "cross_entropy"})


@pytest.mark.parametrize(("calls", "cause"), [(4, "depth-vanishing"), (3, "")])
def test_what_is_lost_behind_the_last_call_that_is_watched_is_lost_in_depth(
    calls: int, cause: str
) -> None:
    made = called_again(*[1.0] * calls)
    names = [each.name for each in made.table.layers]

    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(out_variance=0, out_sd=0)
        for place, name in enumerate(names):
            sample.layer(name, out_grad_rms=10.0 ** (place / 3 - 16), out_variance=0.3)
        sample.layer("o", out_grad_rms=5e-3)

    found = made.run(60, bend).causes
    assert ("depth-vanishing" in found) == bool(cause)


@pytest.mark.parametrize(("arrives", "called"), [(1e-9, True), (1e-4, False)])
def test_a_loop_by_hand_forgets_what_no_gradient_comes_back_to(
    arrives: float, called: bool
) -> None:
    made = called_again(*[1.0] * 4)

    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        for each in made.table.layers:
            sample.layer(each.name, out_grad_rms=3e-3 if each.name in "io" else 3e-3 * arrives)

    found = made.run(260, bend).causes
    assert (found[:1] == ["depth-vanishing"]) == called


def test_gates_that_a_bias_holds_shut_are_no_loss_in_depth() -> None:
    """Squeezed and excited by nothing: what passes is 1e-13 of it, in shallow layers."""
    body = [linear(name, 32, 32) for name in ("a", "b", "c", "d")]
    gate = layer("gate:sigmoid", "sigmoid", "sigmoid", units=32)
    made = scene_of(
        [*body, linear("gate", 32, 32), gate, linear("o", 32, 10), linear("unused", 32, 32)],
        model={"loss": "cross_entropy"},
    )

    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(out_variance=0, out_sd=0)
        sample.layer("gate", bias_mean=-30)
        sample.layer("gate:sigmoid", saturation=1, saturated_units=1, out_variance=2e-4, out_rms=0)
        sample.layer("o", out_variance=0)
        sample.layer("unused", out_variance=np.nan, out_rms=np.nan, out_grad_rms=np.nan)

    assert made.run(60, bend).causes[0] == "saturating-activation"


def test_outputs_behind_the_last_call_that_is_watched_count_as_deep() -> None:
    made = called_again(*[1.0] * 4)

    def bend(sample: SceneSample) -> None:
        sample.loss = 1e6 if sample.step == 1 else math.nan
        broken = float(sample.step > 1)
        sample.model(loss=sample.loss, out_rms=2400, skill=np.nan, nonfinite=broken)
        sample.layer("i", update_ratio=1e6, weight_growth=1e6, nonfinite=broken)

    assert made.run(20, bend).causes[0] == "depth-exploding"


@pytest.mark.parametrize(("factor", "called"), [(1e7, True), (500.0, False)])
def test_a_loop_between_two_layers_that_enlarges_is_depth(factor: float, called: bool) -> None:
    made = scene_of(
        [linear("b", 1, 32), linear("c", 32, 32), linear("o", 32, 3)],
        model={"loss": "cross_entropy"},
    )

    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(skill=-300)
        sample.layer("b", out_rms=1, out_grad_rms=1e-3 * factor)
        sample.layer("c", out_rms=factor, out_grad_rms=1e-3)
        sample.layer("o", out_rms=factor)

    found = made.run(260, bend).causes
    assert (found[:1] == ["depth-exploding"]) == called

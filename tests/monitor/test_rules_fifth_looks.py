"""Runs of kinds that no rule was written by: loops, graphs, experts, losses between rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rules_builds import label_free, layer, linear, of_loss, scene_of, trained_by
from rules_scene import Scene, SceneSample

from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.room import bottleneck


def test_a_loss_that_was_below_zero_stays_wrong_when_it_is_above() -> None:
    """Scores in place of logarithms, which an alignment learns to make dear."""

    def bend(sample: SceneSample) -> None:
        sample.loss = -4.0 if sample.step < 10 else 0.5
        sample.model(
            loss=sample.loss, skill=np.nan, loss_constant=np.nan, label_entropy=np.nan,
            information=np.nan,
        )  # fmt: skip

    made = trained_by("ctc", prediction=(), target=()).run(40, bend)
    cause = made.engine.causes()[0]
    assert cause.cause == "loss-mismatch"
    assert "was -4" in cause.evidence[0]


@pytest.mark.parametrize("routed", [True, False])
def test_experts_of_one_unit_are_no_waist(routed: bool) -> None:
    experts = [
        part for n in range(3) for part in (linear(f"x.{n}.0", 24, 1), linear(f"x.{n}.2", 1, 24))
    ]
    gate = [linear("gate", 24, 3), layer("gate:softmax", "softmax", "softmax", units=3)]
    built = [*(gate if routed else []), *experts, linear("head", 24, 16)]
    narrow = bottleneck(Layout(scene_of(built).table), "model")
    assert (narrow is None) == routed


@pytest.mark.parametrize(("low", "called"), [(0.001, True), (0.1, False)])
def test_an_output_that_comes_to_lie_just_above_zero_cannot_fall_below(
    low: float, called: bool
) -> None:
    def bend(sample: SceneSample) -> None:
        sample.loss = 2.0
        sample.model(
            loss=2.0, loss_constant=3.4, skill=0.4, label_entropy=np.nan, information=np.nan,
            out_min=low, out_max=5, out_sd=0.9, target_min=-5.8, target_max=5.8, target_mean=0,
            target_sd=1.85, sigma_share=0.5,
        )  # fmt: skip

    scene = of_loss("mse").run(60, bend)
    assert ("loss-plateau" in scene.standing) == called
    assert (scene.causes[:1] == ["output-activation-mismatch"]) == called


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


def test_answers_that_began_far_too_sure_tell_how_wide_the_first_weights_were() -> None:
    """Tables whose rows meet in products, of which no spread is known."""
    tables = [layer(n, "Embedding", units=8, fan_in=8, parameters=960) for n in ("e", "w")]
    made = scene_of(tables, model={"loss": "bce_logits"})

    def bend(sample: SceneSample) -> None:
        sample.loss = 700 - sample.step
        sample.model(
            loss=sample.loss, skill=-300 if sample.step > 10 else np.nan, loss_constant=np.nan,
            out_sd=1700, information=0.99, label_entropy=0.69,
        )  # fmt: skip

    found = made.run(300, bend).engine.causes()
    assert found[0].cause == "bad-initialisation-scale"
    assert "1.7e+03" in found[0].evidence[0]


def test_rows_that_are_all_one_compare_to_nothing_whatever_the_loss() -> None:
    """Triplets behind layers that are dead: their distances are zero, and have no slope."""

    def bend(sample: SceneSample) -> None:
        sample.loss = 0.5
        sample.model(
            loss=0.5, out_variance=0, out_sd=0, skill=np.nan, loss_constant=np.nan,
            information=np.nan, label_entropy=np.nan, out_min=-0.2, out_max=0.2,
        )  # fmt: skip
        for name in ("fc1", "act1", "fc2", "act2", "fc3"):
            sample.layer(name, out_grad_rms=0.0, grad_rms=0.0, update_ratio=0.0)
        sample.layer("act1", dead_units=1, out_rms=0, out_variance=0)

    made = trained_by("", prediction=(), target=()).run(60, bend)
    assert made.causes[0] == "dying-relu"


def test_an_evaluation_loss_that_begins_at_nought_is_no_measure() -> None:
    def bend(sample: SceneSample) -> None:
        sample.model(loss_constant=np.nan)
        if sample.step % 10 == 0:
            sample.model(eval_loss=0.0 if sample.step == 10 else 0.01)

    assert "overfitting" not in Scene().run(120, bend).standing
    assert math.isfinite(Scene().run(1).step)


@pytest.mark.parametrize(("left", "apart"), [(0.0, 0.003), (0.0, 0.9), (1e-3, 0.003)])
def test_a_loss_that_is_spent_to_the_last_digit_compares_answers_with_themselves(
    left: float, apart: float
) -> None:
    """Classes of a student and of a teacher that is taught as well; triplets all held apart."""
    parts = [linear("enc.0", 64, 64), linear("enc.2", 64, 32), linear("head", 32, 20)]
    scene = scene_of(parts, model={"loss": ""})

    def bend(sample: SceneSample) -> None:
        label_free(sample)
        early = sample.step < 20
        sample.loss = 2.4 if early else left
        sample.model(loss=sample.loss, grad_norm=1.0 if early else left)
        for each in ("enc.0", "enc.2", "head"):
            sample.layer(each, cosine=0.5 if early else 1 - apart, participation=6)

    scene.run(200, bend)
    called = left == 0 and apart < 0.1
    assert ("representation-collapse" in scene.standing) == called
    assert (scene.causes[:1] == ["missing-stop-gradient"]) == called

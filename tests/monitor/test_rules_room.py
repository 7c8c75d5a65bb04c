"""What a network has room for, and what its parts are told by: one cell, gates, weights alone."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from rules_builds import layer, linear, scene_of
from rules_scene import Scene, SceneSample

from deadband.wire import Layer
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.room import bottleneck, is_linear, is_shallow


def layout(*layers: Layer) -> Layout:
    return Layout(scene_of(list(layers)).table)


def recurrent(kind: str, fan_in: int, units: int) -> Layer:
    return layer("rnn", kind, units=units, fan_in=fan_in, parameters=12 * units)


def own(name: str) -> Layer:
    return layer(name, "Parameter", units=1, fan_in=1, parameters=1)


def test_what_is_made_of_a_weight_of_the_model_itself_is_not_known_to_be_linear() -> None:
    head = linear("head", 2, 1)
    assert is_linear(layout(head), "model")
    assert not is_linear(layout(head, own("pace")), "model")
    frozen = msgspec.structs.replace(own("scale"), trainable=False)
    assert is_linear(layout(head, frozen), "model")
    assert is_linear(layout(head, own("head.more")), "model")  # the layer's, not the model's


def test_only_one_layer_makes_a_shallow_model() -> None:
    table = layer("table", "Embedding", units=16, fan_in=100, parameters=1600)
    assert is_shallow(layout(linear("head", 4, 4), own("at")), "model")
    assert not is_shallow(layout(linear("fc1", 4, 8), linear("head", 8, 4)), "model")
    assert not is_shallow(layout(table, linear("head", 16, 4)), "model")


def test_one_cell_is_narrow_for_a_series_of_single_values() -> None:
    assert bottleneck(layout(recurrent("GRU", 1, 1), linear("head", 1, 4)), "model") == (
        "rnn",
        1,
        True,
    )
    narrow = bottleneck(layout(linear("fc1", 1, 1), linear("head", 1, 4)), "model")
    assert narrow == ("fc1", 1, False)


def test_kernels_of_one_channel_one_behind_the_other_are_no_experts() -> None:
    convs = [layer(f"conv{n}", "Conv1d", units=1, fan_in=3, parameters=4) for n in range(3)]
    assert bottleneck(layout(*convs, linear("head", 1, 4)), "model") == ("conv2", 1, True)
    towers = [layer(f"tower{n}", "Conv1d", units=2, fan_in=9, parameters=20) for n in range(2)]
    stem = layer("stem", "Conv1d", units=5, fan_in=3, parameters=20)
    assert bottleneck(layout(stem, *towers, linear("head", 2, 4)), "model") is None


def test_an_expert_of_two_units_is_no_bottleneck_beside_others_of_its_shape() -> None:
    router = linear("router", 64, 12)
    first, second = (
        (linear(f"experts.{n}.0", 64, 2), linear(f"experts.{n}.2", 2, 10)) for n in (0, 1)
    )
    assert bottleneck(layout(router, *first, *second), "model") is None
    assert bottleneck(layout(*first), "model") == ("experts.0.0", 2, True)


def test_a_chain_that_is_narrow_twice_is_narrow() -> None:
    chain = linear("a", 8, 2), linear("b", 2, 8), linear("c", 8, 2), linear("d", 2, 8)
    assert bottleneck(layout(*chain), "model") == ("a", 2, True)


def of_values(*layers: Layer) -> Scene:
    return scene_of(
        list(layers), model={"loss": "mse", "loss_input": (32, 1), "loss_target": (32, 1)}
    )


SCATTER = np.random.default_rng(3).gamma(4, 1 / 4, 400)


def scattered(sample: SceneSample) -> None:
    """Products of two normal values: a mean loss of 1, single batches from 0.3 to 2."""
    sample.lost = lambda step: float(SCATTER[step])
    sample.model(
        loss=sample.lost(sample.step),
        loss_constant=1,
        skill=0.04,
        neighbour_agreement=0.74,
        sigma_share=0.08,
        target_kurtosis=7,
        target_mean=0,
        target_sd=1,
    )
    sample.layer("fc2", out_grad_rms=0.1)
    for name in ("information", "label_entropy", "batch_label_entropy", "top_share"):
        sample.model(0, **{name: float("nan")})


def test_lucky_batches_do_not_clear_a_model_whose_mean_loss_is_that_of_a_constant() -> None:
    made = of_values(linear("fc1", 6, 64), linear("fc2", 64, 1)).run(350, scattered)
    assert "constant-predictor" in made.standing
    assert made.standing["constant-predictor"].raised_step < 300
    assert made.causes[0] == "insufficient-capacity"


@pytest.mark.parametrize(("bias", "named"), [(5.0, True), (1.33, False)])
def test_gates_that_their_biases_hold_shut_are_named(bias: float, named: bool) -> None:
    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(out_variance=1e-13, information=1e-15)
        sample.layer("rnn", bias_mean=bias, weight_rms=0.1, weight_spread=1, weight_growth=1)

    made = scene_of(
        [recurrent("GRU", 24, 24), linear("head", 24, 4)],
        model={"loss": "cross_entropy", "loss_input": (64, 4), "loss_target": (64,)},
    ).run(60, bend)
    assert "output-collapse" in made.standing
    assert ("saturating-activation" in made.causes) is named


def test_an_output_that_wakes_without_a_word_on_the_labels_stays_collapsed() -> None:
    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        woken = sample.step > 300
        sample.model(out_variance=3e-6 if woken else 1e-14, information=1e-8 if woken else 0)

    assert "output-collapse" in Scene().run(340, bend).standing


def wide(sample: SceneSample) -> None:
    """Hidden weights of 25 times the usual spread; the last layer takes in what they put out."""
    sample.layer("fc1", weight_spread=25, weight_rms=3, weight_growth=1, out_rms=14)
    sample.layer("fc2", weight_spread=25, weight_rms=3, weight_growth=1, out_rms=144)
    sample.layer("fc3", weight_growth=22, update_ratio=21 if sample.step == 1 else 0.09)
    sample.loss = 20.0
    sample.model(loss=sample.loss, skill=-8, information=1e-4)
    sample.model(update_ratio=21 if sample.step == 1 else 0.09)


def test_steps_that_wide_weights_make_large_are_blamed_on_the_weights() -> None:
    made = Scene().run(130, wide)
    assert "update-too-large" in made.standing
    assert made.causes[0] == "bad-initialisation-scale"


@pytest.mark.parametrize("agreement", [0.99, 0.5])
def test_flat_units_count_while_neighbours_know_far_more(agreement: float) -> None:
    def bend(sample: SceneSample) -> None:
        sample.loss = 2.3 * 0.7
        sample.model(loss=sample.loss, skill=0.3, information=0.3, neighbour_agreement=agreement)
        for name in ("act1", "act2"):
            sample.layer(name, saturation=0.99, saturated_units=0.0)

    assert ("saturation" in Scene().run(200, bend).standing) is (agreement > 0.9)


@pytest.mark.parametrize(("pace", "rests"), [(25.0, True), (250.0, False)])
def test_a_loss_over_all_rows_that_comes_to_rest_is_called_before_five_hundred_steps(
    pace: float, rests: bool
) -> None:
    def bend(sample: SceneSample) -> None:
        sample.lost = lambda step: 0.75 + 0.25 * 2.0 ** (-step / pace)
        sample.model(
            loss=sample.lost(sample.step),
            loss_constant=1,
            skill=1 - sample.lost(sample.step),
            in_rows=8,
            in_distinct=0.004,
            information=0.2,
            neighbour_agreement=float("nan"),
        )

    made = Scene().run(400, bend)
    assert ("loss-plateau" in made.standing) is rests


@pytest.mark.parametrize(("widest", "spread", "linear_one"), [(1.0, 0.7, False), (14, 7.0, True)])
def test_what_bends_behind_the_last_layer_makes_no_line(
    widest: float, spread: float, linear_one: bool
) -> None:
    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.layer("lin", out_rms=7.0)
        sample.model(out_min=-widest, out_max=widest, out_rms=spread, neighbour_agreement=0.95)

    causes = of_values(linear("lin", 1, 1)).run(400, bend).causes
    assert causes[0] == ("insufficient-capacity" if linear_one else "local-minimum")


def test_layers_that_the_forward_pass_goes_round_leave_too_little_room() -> None:
    build = [
        layer("wide", "EmbeddingBag", units=2, fan_in=2, parameters=80),
        linear("deep.0", 28, 32),
        linear("deep.2", 32, 2),
    ]
    model: dict[str, object] = {
        "loss": "cross_entropy",
        "loss_input": (32, 2),
        "loss_target": (32,),
    }

    def round_them(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.layer("wide", update_ratio=0.01)
        for name in ("deep.0", "deep.2"):
            still = {"update_ratio": 0.0, "weight_drift": 0.0, "weight_rms": 0.1}
            sample.layer(name, out_rms=np.nan, out_variance=np.nan, grad_rms=np.nan, **still)

    cause = scene_of(build, model=model).run(200, round_them).engine.causes()[0]
    assert cause.cause == "insufficient-capacity"
    assert "deep.0" in cause.advice


@pytest.mark.parametrize("routed", [True, False])
def test_experts_of_one_unit_are_no_waist(routed: bool) -> None:
    experts = [
        part for n in range(3) for part in (linear(f"x.{n}.0", 24, 1), linear(f"x.{n}.2", 1, 24))
    ]
    gate = [linear("gate", 24, 3), layer("gate:softmax", "softmax", "softmax", units=3)]
    built = [*(gate if routed else []), *experts, linear("head", 24, 16)]
    narrow = bottleneck(Layout(scene_of(built).table), "model")
    assert (narrow is None) == routed


def test_a_line_comes_to_the_constant_that_is_its_best_answer_and_lacks_room() -> None:
    """Exclusive or."""

    def settles(sample: SceneSample) -> None:
        sample.loss = 0.693
        sample.model(loss=0.693, loss_constant=0.693, skill=0, information=1e-6, in_rows=4)
        sample.model(0, in_distinct=4 / (4 * sample.step), neighbour_agreement=np.nan)
        if sample.step > 600:
            sample.layer("only", out_variance=0)
            sample.model(out_variance=0, out_sd=0)

    scene = scene_of([linear("only", 10, 3)]).run(700, settles)
    assert scene.standing["output-collapse"].raised_step > 600
    assert scene.causes[0] == "insufficient-capacity"


@pytest.mark.parametrize("constant", [True, False])
def test_a_line_whose_answers_are_all_the_same_does_not_lack_room(constant: bool) -> None:
    def stuck(sample: SceneSample) -> None:
        sample.loss = 2.0
        sample.model(loss=2.0, skill=0.13, information=0.1, neighbour_agreement=0.9)
        if constant and sample.step > 20:
            sample.layer("only", out_variance=0)
            sample.model(out_variance=0, out_sd=0, skill=0, information=0)

    scene = scene_of([linear("only", 10, 3)]).run(400, stuck)
    assert ("output-collapse" in scene.standing) is constant
    assert ("insufficient-capacity" in scene.causes) is not constant


@pytest.mark.parametrize("since", [1, 30])
def test_one_unit_that_lets_nothing_pass_from_the_start_is_too_few(since: int) -> None:
    def shut(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        if sample.step >= since:
            sample.layer("last", out_variance=1e-11)
            sample.model(out_variance=1e-11, out_sd=0, information=0)

    made = scene_of([linear("one", 3, 1), linear("last", 1, 4)], model={"loss": "cross_entropy"})
    assert ("insufficient-capacity" in made.run(60, shut).causes) is (since == 1)

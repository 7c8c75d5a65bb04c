"""A loss that does not fit what it is given: found by values and shapes, said within ten steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from rules_builds import layer, linear, scene_of, trained_by
from rules_scene import Scene, SceneSample

from deadband.wire import Cause
from deadband_monitor.rules.clashes import Clash, crosses, floor, stretched

Bend = Callable[[SceneSample], None]


def shows(**values: float) -> Bend:
    """A run whose output statistics are these; the last layer is the output."""

    def bend(sample: SceneSample) -> None:
        sample.model(
            row_sum_error=3.0, column_sum_error=3.0, out_min=-2, out_max=2, target_mean=0.4
        )
        sample.model(0, **values)
        sample.layer("out", out_rms=float(sample.models[0, 1]), out_variance=0.4)

    return bend


def regression(**values: float) -> Bend:
    usual = {
        "information": np.nan, "top_share": np.nan, "label_entropy": np.nan,
        "batch_label_entropy": np.nan, "target_mean": 0.0, "target_sd": 1.0, "target_min": -2.5,
        "target_max": 2.5, "target_kurtosis": 3.0, "sigma_share": 0.8, "coupling": 0.2,
    }  # fmt: skip
    return shows(**(usual | values))


def top(made: Scene) -> Cause:
    return made.engine.causes()[0]


PROBABILITIES = {"out_min": 0.0, "out_max": 0.9, "row_sum_error": 1e-7, "out_rms": 0.3}
BINARY: dict[str, Any] = {"prediction": (64, 1), "target": (64, 1)}

FLOORED = {
    "softmax, cross entropy": (trained_by(last="softmax"), shows(**PROBABILITIES), 1.461),
    "sigmoid, cross entropy": (
        trained_by(last="sigmoid"), shows(out_min=0.1, out_max=0.9, row_sum_error=4.0), 1.461,
    ),
    "tanh, cross entropy": (
        trained_by(last="tanh"), shows(out_min=-0.9, out_max=0.9, row_sum_error=2.0),
        math.log(1 + 9 * math.exp(-2)),
    ),
    "sigmoid, logits": (
        trained_by("bce_logits", "sigmoid", **BINARY),
        shows(out_min=0.1, out_max=0.9, target_mean=0.5),
        0.503,
    ),
    "sigmoid, logits, nine in ten": (
        trained_by("bce_logits", "sigmoid", **BINARY),
        shows(out_min=0.1, out_max=0.9, target_mean=0.9),
        0.351,
    ),
    "softmax behind the model": (trained_by(), shows(squashed=1.0), 1.461),
    "sigmoid behind the model": (
        trained_by("bce_logits", **BINARY), shows(squashed=1.0, target_mean=0.5), 0.503,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FLOORED)
def test_a_loss_that_squashes_again_has_a_floor(case: str) -> None:
    made, bend, least = FLOORED[case]
    made.run(10, bend)
    flag = made.standing["loss-plateau"]
    assert flag.severity == "warning"
    assert flag.onset_step == 1
    assert flag.evidence["floor"] == pytest.approx(least, abs=1e-3)
    assert top(made).cause == "loss-mismatch"
    assert top(made).confidence > 0.9
    where = (
        "between the model and the loss" if "behind" in case else "at the end of the model (out)"
    )
    assert where in top(made).advice


@pytest.mark.parametrize("loss", ["cross_entropy", "nll"])
def test_a_loop_by_hand_takes_the_logarithm_of_what_its_softmax_gave(loss: str) -> None:
    made = trained_by(loss, last="softmax", prediction=(), target=())
    by_hand = msgspec.structs.replace(made.table.models[0], kind="")
    made.table = msgspec.structs.replace(made.table, models=(by_hand,))
    made.run(100, shows(**PROBABILITIES))
    assert made.engine.flags == []


def behind_relu(dead: float) -> Bend:
    """Ten classes behind a ReLU, a share of whose units fires for no row."""

    def bend(sample: SceneSample) -> None:
        shows(out_min=0.0, out_max=6.0, label_entropy=math.log(10))(sample)
        sample.layer("out", dead_units=dead)

    return bend


def test_classes_whose_unit_never_rises_above_zero_cannot_be_told() -> None:
    made = trained_by(last="relu").run(40, behind_relu(0.3))
    assert made.standing["loss-plateau"].severity == "warning"
    assert top(made).cause == "output-activation-mismatch"
    assert "remove the ReLU at the end of the model (out)" in top(made).advice
    assert trained_by(last="relu").run(200, behind_relu(0.0)).engine.flags == []


@pytest.mark.parametrize(("before", "called"), [("relu", True), ("tanh", False)])
def test_behind_a_relu_a_sigmoid_says_yes_or_does_not_know(before: str, *, called: bool) -> None:
    layers = [linear("fc1", 64, 1), layer("act", "Act", before, 1)]
    layers.append(layer("out", "Sigmoid", "sigmoid", 1))
    told = {"loss": "bce", "loss_input": (64,), "loss_target": (64,)}
    yes_no = shows(out_min=0.5, out_max=0.8, target_mean=0.4, target_min=0.0, target_max=1.0)
    made = scene_of(layers, model=told).run(60, yes_no)
    assert ("loss-plateau" in made.standing) is called
    if called:
        assert top(made).cause == "output-activation-mismatch"
        assert "remove the ReLU before out" in top(made).advice


def test_units_of_classes_that_do_not_occur_may_stay_at_zero() -> None:
    def bend(sample: SceneSample) -> None:
        behind_relu(0.3)(sample)
        sample.model(label_entropy=math.log(7))

    assert "loss-plateau" not in trained_by(last="relu").run(100, bend).standing


def of_a_pulse(loss: float) -> Bend:
    """Values that never fall below zero, by whatever makes them, for targets with noise there."""

    def bend(sample: SceneSample) -> None:
        regression(out_min=0.0, out_max=2.0, target_min=-0.3, target_mean=0.2, target_sd=0.5)(
            sample
        )
        sample.loss = loss
        sample.model(loss=loss, skill=1 - loss / 0.25, loss_constant=0.25)

    return bend


def test_noise_below_zero_is_no_target_that_must_be_reached() -> None:
    met = trained_by("mse", prediction=(64, 1), target=(64, 1)).run(60, of_a_pulse(0.01))
    assert "loss-plateau" not in met.standing
    missed = trained_by("mse", prediction=(64, 1), target=(64, 1)).run(60, of_a_pulse(0.04))
    assert missed.standing["loss-plateau"].onset_step == 1
    assert top(missed).cause == "output-activation-mismatch"


@pytest.mark.parametrize(("highest", "called"), [(1.0, True), (0.97, False)])
def test_an_output_between_nought_and_one_exactly_was_clamped(highest: float, called: bool) -> None:
    def bend(sample: SceneSample) -> None:
        ends = {"out_min": 0.0, "out_max": highest, "target_min": -1.0, "target_max": 1.0}
        regression(target_mean=-0.4, target_sd=0.5, **ends)(sample)
        sample.loss = 0.65
        sample.model(loss=0.65, skill=-1.2, loss_constant=0.3)

    made = trained_by("mse", prediction=(64, 64), target=(64, 64)).run(60, bend)
    assert ("output-activation-mismatch" in made.causes) is called


@pytest.mark.parametrize(("loss", "called"), [(0.3, True), (1e-12, False)])
def test_of_targets_that_are_met_no_gradient_tells_that_they_are_out_of_reach(
    loss: float, called: bool
) -> None:
    def bend(sample: SceneSample) -> None:
        ends = {"out_min": -0.7, "out_max": -0.1, "target_min": -0.7, "target_max": -0.1}
        regression(target_mean=-0.4, target_sd=0.3, squashed=6.0, **ends)(sample)
        sample.loss = loss
        sample.model(loss=loss, skill=1 - loss, loss_constant=0.3)

    made = trained_by("mse", prediction=(2, 1), target=(2, 1)).run(60, bend)
    assert ("loss-plateau" in made.standing) is called


def test_an_alignment_that_costs_less_than_nothing_was_given_no_logarithms() -> None:
    def bend(sample: SceneSample) -> None:
        regression(target_mean=np.nan, target_sd=np.nan)(sample)
        sample.loss = -3.4 - sample.step / 100
        sample.model(loss=sample.loss, skill=np.nan, loss_constant=np.nan)

    made = trained_by("ctc", prediction=(), target=()).run(20, bend)
    assert made.standing["loss-divergence"].severity == "critical"
    assert top(made).cause == "loss-mismatch"
    assert "log_softmax" in top(made).advice


def test_the_floors_are_those_of_plain_arithmetic() -> None:
    assert floor(Clash.SOFTMAX_CE, 2, math.nan) == pytest.approx(0.3133, abs=1e-4)
    assert floor(Clash.SOFTMAX_CE, 1000, math.nan) == pytest.approx(5.91, abs=1e-2)
    assert floor(Clash.RELU_LOGITS, 1, 0.5) == pytest.approx(0.5 * math.log(2))
    assert math.isnan(floor(Clash.BROADCAST, 1, 0.5))


def test_a_relu_can_never_say_no() -> None:
    made = trained_by("bce_logits", "relu", **BINARY).run(8, shows(out_min=0, out_max=3))
    assert top(made).cause == "loss-mismatch"
    assert "remove the ReLU" in top(made).advice


def test_nll_of_the_logarithm_of_a_softmax_is_what_it_should_be() -> None:
    """`F.nll_loss((model(x) + 1e-9).log(), y)`: a loss above zero is none of probabilities."""
    made = trained_by("nll", "softmax").run(100, shows(**PROBABILITIES))
    assert made.engine.flags == []


def test_probabilities_and_logits_under_nll_are_told_apart() -> None:
    def probabilities(sample: SceneSample) -> None:
        shows(**PROBABILITIES)(sample)
        sample.loss = -0.3
        sample.model(loss=sample.loss)

    given = trained_by("nll", "softmax").run(8, probabilities)
    assert "log_softmax(dim=1)" in top(given).advice

    def logits(sample: SceneSample) -> None:
        shows(out_max=4.0)(sample)
        sample.loss = -0.5 * sample.step
        sample.model(loss=sample.loss)

    raw = trained_by("nll").run(10, logits)
    assert raw.standing["loss-divergence"].severity == "critical"
    assert top(raw).cause == "loss-mismatch"


def test_what_ruined_a_run_is_still_named_when_nothing_is_finite_any_more() -> None:
    def logits(sample: SceneSample) -> None:
        shows(out_max=4.0)(sample)
        sample.loss = -10.0 * sample.step
        sample.model(loss=sample.loss)
        if sample.step > 20:
            sample.model(out_min=np.nan, out_max=np.nan, out_rms=np.nan, nonfinite=1)
            sample.layer("fc3", nonfinite=1)

    assert top(trained_by("nll").run(30, logits)).cause == "loss-mismatch"


@pytest.mark.parametrize("columns", [1e-6, np.nan])
def test_a_softmax_over_the_batch_is_seen_with_and_without_the_whole_batch(columns: float) -> None:
    bend = shows(
        out_min=0.0, out_max=0.1, row_sum_error=0.9, column_sum_error=columns, out_rms=0.02
    )
    made = trained_by(last="softmax").run(8, bend)
    assert top(made).cause == "loss-mismatch"
    assert "dim=-1" in top(made).advice


def test_a_softmax_behind_the_model_that_leaves_no_gradient_is_called() -> None:
    def silent(sample: SceneSample) -> None:
        shows(out_min=-2.0, out_max=3.0, row_sum_error=4.0)(sample)
        sample.layer("out", out_grad_rms=0.0)
        sample.layer("fc3", out_grad_rms=0.0)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, has_grad=1, grad_rms=0.0, out_grad_rms=0.0)
        for name in ("act1", "act2"):
            sample.layer(name, out_grad_rms=0.0)
        sample.no_better_than_constant()

    made = trained_by("bce", "identity", **BINARY)
    table = made.table
    layers = (*table.layers[:-1], msgspec.structs.replace(table.layers[-1], units=1))
    made.table = msgspec.structs.replace(table, layers=layers)
    made.run(130, silent)
    assert made.engine.past.models["model"].objective.clash is Clash.ONE_SOFTMAX


def test_a_log_softmax_over_the_batch_behind_the_model_is_called() -> None:
    made = trained_by().run(10, shows(squashed=2.0))
    assert top(made).cause == "loss-mismatch"
    assert "not over the batch" in top(made).advice


@pytest.mark.parametrize("loss", ["bce", "mse"])
def test_a_softmax_over_one_unit_learns_nothing(loss: str) -> None:
    def constant(sample: SceneSample) -> None:
        shows(out_min=1.0, out_max=1.0, out_rms=1.0, row_sum_error=0.0, out_variance=0, out_sd=0)(
            sample
        )
        sample.no_better_than_constant()
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, grad_rms=0)

    made = trained_by(loss, "softmax", **BINARY).run(30, constant)
    assert {"output-collapse", "vanishing-gradient"} <= set(made.standing)
    assert "binary_cross_entropy_with_logits" in top(made).advice


def test_a_single_logit_learns_nothing() -> None:
    def nothing(sample: SceneSample) -> None:
        shows()(sample)
        sample.loss = 0.0
        sample.model(loss=0, skill=np.nan, loss_constant=np.nan, label_entropy=np.nan)
        sample.model(information=np.nan)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, grad_rms=0)

    made = trained_by(prediction=(64, 1)).run(20, nothing)
    assert made.standing["vanishing-gradient"].severity == "critical"
    assert top(made).cause == "loss-mismatch"


@pytest.mark.parametrize("loss", ["mse", "l1", "smooth_l1"])
def test_shapes_that_cross_are_called_at_once(loss: str) -> None:
    made = trained_by(loss, prediction=(64, 1), target=(64,)).run(10, regression(sigma_share=0.05))
    assert "constant-predictor" in made.standing
    assert top(made).cause == "loss-mismatch"
    assert "prediction.squeeze(-1)" in top(made).advice
    assert "(64, 1) and (64,)" in top(made).evidence[0]
    made.run(20, regression(sigma_share=0.03))
    assert made.standing["constant-predictor"].severity == "critical"


def test_one_target_for_ten_units_is_called_at_once() -> None:
    made = trained_by("mse", prediction=(64, 10), target=(64, 1))
    made.run(5, regression(target_mean=np.nan, target_sd=np.nan, skill=np.nan))
    assert "loss-plateau" in made.standing
    assert top(made).cause == "loss-mismatch"
    assert "cross_entropy" in top(made).advice
    for target in ((64, 10), (1, 1), (64,)):
        assert not stretched((64, 10), target)


def test_one_target_for_ten_units_of_a_loss_by_hand_is_told_by_its_gradient() -> None:
    made = trained_by("mse", prediction=(), target=())
    # The numbers' own size is no scale that could be mended.
    numbers = {"target_min": 0, "target_max": 25, "target_mean": 12.5, "target_sd": 8.0}
    made.run(5, regression(squashed=10.0, **numbers))
    assert "loss-plateau" in made.standing
    assert made.causes == ["loss-mismatch"]
    assert top(made).evidence[0] == "every unit of a row is drawn to the same number"


MISFITS: dict[str, tuple[str, dict[str, float], str]] = {
    "kl_div on logits": ("kl_div", {"squashed": 3.0}, "log_softmax"),
    "kl_div on probabilities": ("kl_div", {"squashed": 4.0}, "log_softmax"),
    "a margin of 0 and 1": ("soft_margin", {"target_min": 0, "target_max": 1}, "2 * y - 1"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_loss_whose_least_value_is_not_wanted_is_called(case: str) -> None:
    loss, values, advice = MISFITS[case]
    made = trained_by(loss, prediction=(64, 2), target=(64, 2)).run(10, regression(**values))
    assert "loss-plateau" in made.standing
    assert top(made).cause == "loss-mismatch"
    assert advice in top(made).advice
    fits = {"squashed": 0.0, "target_min": -1.0, "target_max": 1.0}
    right = trained_by(loss, prediction=(64, 2), target=(64, 2)).run(60, regression(**fits))
    assert right.standing == {}


def test_a_softmax_over_labels_that_hold_together_is_called() -> None:
    shared = PROBABILITIES | {"target_mean": 0.3, "label_entropy": 0.6}
    shapes: dict[str, Any] = {"prediction": (64, 10), "target": (64, 10)}
    made = trained_by("bce", "softmax", **shapes).run(10, shows(**shared))
    assert "loss-plateau" in made.standing
    assert top(made).cause == "loss-mismatch"
    assert "remove the softmax" in top(made).advice
    one_hot = shows(**shared | {"target_mean": 0.1})
    assert "loss-plateau" not in trained_by("bce", "softmax", **shapes).run(60, one_hot).standing


def test_a_loss_that_stands_without_any_gradient_does_not_depend_on_the_output() -> None:
    def silent(sample: SceneSample, loss: float) -> None:
        shows(out_min=-2.0, out_max=3.0)(sample)
        sample.loss = loss if sample.step > 5 else 1.0
        sample.model(loss=sample.loss)
        if sample.step > 20:
            for name in ("fc1", "act1", "fc2", "act2", "fc3", "out"):
                sample.layer(name, out_grad_rms=0.0)

    made = trained_by("", "identity").run(60, lambda sample: silent(sample, 0.5))
    assert made.engine.past.models["model"].objective.clash is Clash.SILENT
    kept = trained_by("", "identity").run(60, lambda sample: silent(sample, 0.1))
    assert kept.engine.past.models["model"].objective.clash is None


@pytest.mark.parametrize(
    ("least", "most", "cause"),
    [(0.0, 0.0, "output-activation-mismatch"), (1.0, 1.0, "loss-mismatch")],
    ids=["clamped", "a softmax over one unit"],
)
def test_an_output_that_is_held_at_an_end_though_its_last_layer_is_not(
    least: float, most: float, cause: str
) -> None:
    def held(sample: SceneSample) -> None:
        shows(out_min=least, out_max=most, out_variance=0.0)(sample)
        sample.loss = 0.5
        sample.model(loss=0.5)
        for name in ("fc1", "act1", "fc2", "act2", "fc3", "out"):
            sample.layer(name, out_grad_rms=0.0)

    made = trained_by("", "identity").run(60, held)
    assert made.engine.past.models["model"].objective.clash is Clash.SILENT
    assert top(made).cause == cause


def test_class_numbers_under_a_squared_error_are_called() -> None:
    values = {"target_min": 0.0, "target_max": 9.0, "target_mean": 4.5, "target_sd": 2.9}

    def told(sample: SceneSample, numbers: float) -> None:
        known = numbers if sample.step > 40 else np.nan
        regression(skill=0.7, class_numbers=known, **values)(sample)

    one = BINARY
    made = trained_by("mse", **one).run(120, lambda sample: told(sample, 1.1))
    assert made.standing["loss-plateau"].onset_step == 1
    assert top(made).cause == "loss-mismatch"
    assert "10 output units" in top(made).advice
    ordered = trained_by("mse", **one).run(120, lambda sample: told(sample, 0.02))
    assert ordered.standing == {}


def test_class_numbers_as_values_may_throw_the_weights() -> None:
    values = {"target_min": 0.0, "target_max": 81.0, "target_mean": 28.0, "target_sd": 26.0}

    def thrown(sample: SceneSample) -> None:
        regression(skill=-1.0, class_numbers=1.1, **values)(sample)
        sample.layer("fc1", update_ratio=3.0 if 9 <= sample.step < 14 else 0.01)
        if sample.step >= 14:
            sample.loss = np.nan
            sample.model(loss=np.nan, nonfinite=1.0, out_sd=np.nan, out_min=np.nan, out_max=np.nan)
            sample.layer("fc1", nonfinite=1.0)

    made = trained_by("mse", **BINARY).run(40, thrown)
    assert made.standing["non-finite"].severity == "critical"
    assert made.causes[0] == "loss-mismatch"


def test_shapes_cross_only_where_more_comes_out() -> None:
    assert crosses((64, 1), (64,))
    assert crosses((64,), (64, 1))
    assert not crosses((64, 1), (64, 1))
    assert not crosses((64, 1), (1,))
    assert not crosses((64, 3), (3,))
    assert not crosses((), (64,))
    assert not crosses((1, 1), (1,))


def test_a_hand_written_loss_that_compares_all_with_all_is_called_when_it_stands() -> None:
    def coupled(sample: SceneSample) -> None:
        regression(
            sigma_share=np.nan, target_sd=np.nan, target_mean=np.nan, target_min=np.nan,
            target_max=np.nan, target_kurtosis=np.nan, skill=np.nan, loss_constant=np.nan,
            coupling=1.0, out_sd=0.05,
        )(sample)  # fmt: skip
        sample.loss = 1.0 + 0.05 * math.sin(7 * sample.step)
        sample.model(loss=sample.loss)

    made = trained_by("mse", prediction=(), target=()).run(130, coupled)
    assert "constant-predictor" in made.standing
    assert top(made).cause == "loss-mismatch"

    def stands(sample: SceneSample) -> None:
        coupled(sample)
        sample.loss = 1.0

    seldom = trained_by("mse", prediction=(), target=()).run(350, stands, every=50)
    assert top(seldom).cause == "loss-mismatch"

    def between(sample: SceneSample) -> None:
        """Two times in three all answers lie between two neighbouring targets."""
        coupled(sample)
        sample.model(coupling=1.0 if sample.step % 3 == 0 else np.nan)

    for name in ("l1", ""):
        absolute = trained_by(name, prediction=(), target=()).run(150, between)
        assert top(absolute).cause == "loss-mismatch"
        assert top(absolute).onset_step == 1

    def one_target(sample: SceneSample) -> None:
        coupled(sample)
        sample.loss = math.exp(-sample.step / 20)
        sample.model(loss=sample.loss)

    learnt = trained_by("mse", prediction=(), target=()).run(300, one_target)
    assert "constant-predictor" not in learnt.standing


@pytest.mark.parametrize(("furthest", "called"), [(5.0, True), (1.0, False)])
def test_a_softmax_that_a_loss_of_values_is_given_is_called_where_targets_lie_beyond(
    furthest: float, called: bool
) -> None:
    spread = {"target_sd": 0.4 * furthest, "target_min": 1 - furthest, "target_max": furthest}
    made = trained_by("mse", prediction=(64, 3), target=(64, 3))
    made.run(10, regression(out_min=-4, out_max=4, squashed=11.0, **spread))
    assert bool(made.standing) is called
    if called:
        assert top(made).cause == "output-activation-mismatch"
        assert "that of a softmax behind the output" in " ".join(top(made).evidence)


REACH: dict[str, dict[str, float]] = {
    "relu": {"out_min": 0, "out_max": 2},
    "sigmoid": {"out_min": 0.1, "out_max": 0.9},
    "tanh": {"out_min": -0.9, "out_max": 0.9},
    "softmax": {"out_min": 0, "out_max": 0.9, "row_sum_error": 1e-7},
}


@pytest.mark.parametrize("last", REACH)
def test_targets_out_of_reach_are_called_within_ten_steps(last: str) -> None:
    spread = {"target_sd": 2.0, "target_min": -5.0, "target_max": 5.0}
    made = trained_by("mse", last, (64, 1), (64, 1)).run(10, regression(**REACH[last], **spread))
    assert made.standing["loss-plateau"].severity == "warning"
    assert top(made).cause == "output-activation-mismatch"
    assert "-5..5" in top(made).advice


HEALTHY = {
    "cross entropy": (trained_by(), shows()),
    "squashing not yet to be told": (trained_by(), shows(squashed=np.nan)),
    "log-probabilities": (
        trained_by("nll", "log_softmax"), shows(out_max=-0.01, out_min=-5),
    ),
    "log-probabilities into cross entropy": (
        trained_by(last="log_softmax"), shows(out_max=-0.01, out_min=-5),
    ),
    "sigmoid and bce": (trained_by("bce", "sigmoid", **BINARY), shows(out_min=0.1, out_max=0.9)),
    "positive logits": (
        trained_by("bce_logits", **BINARY), shows(out_min=0.2, out_max=0.8, target_mean=0.65),
    ),
    "soft cap": (trained_by(last="tanh"), shows(out_min=-25, out_max=25, out_rms=9)),
    "relu, positive targets": (
        trained_by("mse", "relu", (64, 1), (64, 1)),
        regression(out_min=0, target_min=0.1, target_mean=2.0),
    ),
    "relu, one odd target": (
        trained_by("mse", "relu", (64, 1), (64, 1)),
        regression(out_min=0, target_min=-3, target_mean=4.0),
    ),
    "sigmoid, yes and no as numbers": (
        trained_by("mse", "sigmoid", (64, 1), (64, 1)),
        regression(out_min=0.1, out_max=0.9, target_min=0, target_max=1, target_mean=0.5,
                   target_sd=0.5),
    ),
    "brier score": (
        trained_by("mse", "softmax", (64, 10), (64, 10)),
        regression(**PROBABILITIES, target_min=0, target_max=1, target_mean=0.1, target_sd=0.3),
    ),
    "one scalar target": (trained_by("mse", "", (64, 1), (1,)), regression()),
    "output that dwarfs the targets": (
        trained_by("mse", "", (64, 1), (64, 1)), regression(coupling=1.0, out_sd=1.5),
    ),
    "the same target for all rows": (
        trained_by("mse", "", (64, 1), (64, 1)),
        regression(coupling=1.0, out_sd=0.05, target_sd=0, target_min=2, target_max=2,
                   target_mean=2, target_kurtosis=np.nan, loss_constant=np.nan, skill=np.nan,
                   sigma_share=np.nan),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HEALTHY)
def test_a_loss_that_fits_is_silent(case: str) -> None:
    made, bend = HEALTHY[case]
    made.run(150, bend)
    assert [(flag.kind, flag.severity) for flag in made.engine.flags] == []


@pytest.mark.parametrize(("lowest", "fits"), [(0.02, True), (0.5, False)])
def test_a_loss_below_what_squashed_logits_allow_is_not_of_such(
    lowest: float, *, fits: bool
) -> None:
    """Cross entropy and dice: the gradient of the latter goes through a sigmoid, too."""

    def masks(sample: SceneSample) -> None:
        shows(squashed=1.0, target_mean=0.05, out_min=-20.0, out_max=8.0)(sample)
        sample.loss = lowest + 1.4 * math.exp(-sample.step / 30)
        sample.model(loss=sample.loss, loss_constant=0.2, skill=0.9 if fits else -2.0)

    made = trained_by("bce_logits", **BINARY).run(300, masks)
    assert ("loss-plateau" not in made.standing) is fits


def blown_up(sample: SceneSample) -> None:
    regression(target_mean=152, target_sd=77, target_min=25, target_max=346)(sample)
    if sample.step <= 2:
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=8.0, weight_growth=8)
    if sample.step > 2:
        sample.loss = math.nan
        sample.model(nonfinite=1, loss=np.nan)
        sample.layer("fc1", nonfinite=1)


def test_targets_far_from_zero_come_before_the_rate() -> None:
    made = trained_by("mse", "", (64, 1), (64, 1)).run(20, blown_up)
    assert top(made).cause == "unscaled-targets"
    assert "(y - 152) / 77" in top(made).advice
    assert "152" in top(made).evidence[0]


def test_a_squared_error_tells_how_far_off_targets_lie_that_no_output_shows() -> None:
    def one_action(sample: SceneSample) -> None:
        sample.loss = 3e6
        blown_up(sample)
        sample.model(
            loss=sample.loss, skill=np.nan, loss_constant=np.nan, out_rms=0.2,
            target_mean=np.nan, target_sd=np.nan, target_min=np.nan, target_max=np.nan,
        )  # fmt: skip

    made = trained_by("mse", "", (32,), (32,)).run(20, one_action)
    cause = top(made)
    assert cause.cause == "unscaled-targets"
    assert "1.73e+03" in cause.evidence[0]


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_task_beside_one_that_costs_a_million_times_as_much_is_not_trained(
    *, from_the_start: bool
) -> None:
    def drowned(sample: SceneSample) -> None:
        sample.loss = 1e6 if from_the_start or sample.step > 1 else 2.3
        sample.layer("fc3", weight_growth=2 + sample.step / 5, weight_spread=15)
        sample.model(
            loss=sample.loss, further_loss=1e6, loss_constant=np.nan, skill=-0.2, information=1e-4
        )

    made = trained_by("cross_entropy", "", (64, 10), (64,)).run(300, drowned)
    found = [cause.cause for cause in made.engine.causes()]
    assert ("unscaled-targets" in found[:1]) is from_the_start


def test_targets_far_from_zero_that_are_learnt_are_silent() -> None:
    bend = regression(target_mean=152, target_sd=77, target_min=25, target_max=346)
    assert trained_by("mse", "", (64, 1), (64, 1)).run(150, bend).engine.flags == []


def stands(sample: SceneSample, skill: float, agreement: float) -> None:
    shows()(sample)
    sample.loss = 2.3 * (1 - skill) * (1 + 0.03 * math.sin(11 * sample.step))
    sample.model(loss=sample.loss, skill=skill, information=skill, neighbour_agreement=agreement)


def test_a_loss_that_rests_far_above_what_neighbours_know_is_a_plateau() -> None:
    made = trained_by().run(600, lambda sample: stands(sample, 0.25, 0.95), every=5)
    assert made.standing["loss-plateau"].severity == "warning"


@pytest.mark.parametrize(("pace", "rests"), [(1.0, False), (0.0, True)])
def test_few_samples_do_not_hide_that_every_loss_falls_at_its_pace(
    pace: float, rests: bool
) -> None:
    def level(step: int) -> float:
        return 2.3 * (0.98 - 0.36 * (pace * step / 400 + (1 - pace) * min(1, step / 20)))

    def probed(sample: SceneSample) -> None:
        stands(sample, 1 - level(sample.step) / 2.3, 0.96)
        sample.loss, sample.lost = level(sample.step), level

    probe = scene_of(
        [linear("head", 64, 10)],
        model={"loss": "cross_entropy", "loss_input": (64, 10), "loss_target": (64,)},
    )
    made = probe.run(400, probed, every=50)
    assert ("loss-plateau" in {flag.kind for flag in made.engine.flags}) is rests


@pytest.mark.parametrize(
    ("skill", "agreement"), [(0.9, 0.95), (0.55, 0.9), (0.25, 0.4), (0.25, np.nan), (0.35, 0.7)]
)
def test_a_loss_that_rests_where_the_data_leave_it_is_silent(
    skill: float, agreement: float
) -> None:
    made = trained_by().run(1000, lambda sample: stands(sample, skill, agreement), every=5)
    assert "loss-plateau" not in made.standing


def test_a_run_that_gathers_speed_far_below_its_neighbours_is_silent() -> None:
    def speeds_up(sample: SceneSample) -> None:
        skill = 0.001 * math.exp(sample.step / 150)
        sample.loss = 2.3 * (1 - skill)
        sample.model(loss=sample.loss, skill=skill, information=skill, neighbour_agreement=0.96)

    made = trained_by().run(760, speeds_up)
    assert "loss-plateau" not in made.standing


def test_a_step_of_a_staircase_is_silent() -> None:
    def stairs(sample: SceneSample) -> None:
        stands(sample, min(0.95, 0.15 * (1 + sample.step // 180)), 0.97)

    made = trained_by().run(1200, stairs, every=5)
    assert "loss-plateau" not in {flag.kind for flag in made.engine.flags}


def test_positions_read_as_classes_are_a_loss_mismatch_that_says_transpose() -> None:
    made = trained_by(prediction=(32, 26, 24), target=(32, 24)).run(20, shows(squashed=9.0))
    assert top(made).cause == "loss-mismatch"
    assert "transpose(1, 2)" in top(made).advice


def test_a_loss_that_counts_no_row_is_named() -> None:
    """A mask upside down, an ignore_index that is every target."""

    def masked(sample: SceneSample) -> None:
        sample.loss = 0.0
        sample.model(loss=0.0, skill=np.nan, information=1e-4, loss_constant=np.nan)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, grad_rms=0.0, out_grad_rms=0.0)

    made = Scene().run(60, masked)
    assert "vanishing-gradient" in made.standing
    assert made.causes[0] == "loss-mismatch"
    assert "ignore_index" in made.engine.causes()[0].advice


def test_shapes_that_spread_tell_where_no_output_is_known() -> None:
    def unseen(sample: SceneSample) -> None:
        regression(sigma_share=np.nan)(sample)
        sample.model(
            out_min=np.nan, out_max=np.nan, out_sd=np.nan, out_rms=np.nan, out_variance=np.nan
        )

    made = trained_by("mse", prediction=(64, 1), target=(64,)).run(25, unseen)
    assert made.standing["constant-predictor"].severity == "critical"
    assert top(made).cause == "loss-mismatch"


def test_what_the_output_cannot_reach_is_told_at_the_end_of_a_run_too() -> None:
    """Its last sample measures nothing."""
    made = trained_by("mse", "tanh", prediction=(64, 10), target=(64, 10))
    far = regression(target_mean=90.0, target_sd=60.0, target_max=255.0, target_min=0.0)
    ends = {"out_min": -1.0, "out_max": 1.0}

    def nothing(sample: SceneSample) -> None:
        far(sample)
        sample.model(0, **ends)
        if sample.step == 40:
            sample.models[:], sample.layers[:] = np.nan, np.nan

    made.run(40, nothing)
    assert top(made).cause == "output-activation-mismatch"
    assert "nan" not in " ".join([top(made).advice, *top(made).evidence])


@pytest.mark.parametrize(("prediction", "told"), [((), False), ((64, 1), True)])
def test_scores_that_are_gathered_to_lists_are_no_cross_entropy_of_one_class(
    prediction: tuple[int, ...], told: bool
) -> None:
    """A ranker's last layer has one unit, and its loss a class for each document."""

    def of_lists(sample: SceneSample) -> None:
        shows()(sample)
        sample.no_better_than_constant()
        sample.model(neighbour_agreement=0.0)

    made = trained_by(prediction=prediction)
    layers = made.table.layers
    head = msgspec.structs.replace(layers[-1], units=1)
    made.table = msgspec.structs.replace(made.table, layers=(*layers[:-1], head))
    made.run(200, of_lists)
    assert ("loss-mismatch" in made.causes) is told

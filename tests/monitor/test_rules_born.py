"""Obstacles that a network is born with: one unit on the way, depth, weights drawn too wide."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from rules_builds import block, layer, linear, scene_of
from rules_scene import Scene, SceneSample

from deadband.wire import Layer
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.room import bottleneck

NAN = float("nan")
CONSTANT = math.log(2)


def gate(units: int) -> Layer:
    return layer("body:sigmoid", "sigmoid", "sigmoid", units=units)


def test_a_layer_of_which_one_half_gates_the_other_hands_on_half_of_its_units() -> None:
    def narrow(*layers: Layer) -> object:
        return bottleneck(Layout(scene_of(list(layers)).table), "model")

    assert narrow(linear("body", 16, 2), gate(1), linear("head", 1, 5)) == ("body", 1, True)
    assert narrow(linear("body", 16, 2), linear("head", 1, 5)) is None  # one of two is taken
    assert narrow(linear("body", 16, 64), gate(32), linear("head", 32, 5)) is None


def falling(by: Callable[[float], float], agreement: float) -> Callable[[SceneSample], None]:
    """Yes/no labels; the loss starts at a constant answer's and falls by `by(step)`."""

    def bend(sample: SceneSample) -> None:
        sample.lost = lambda step: CONSTANT - by(step)
        sample.loss = sample.lost(sample.step)
        sample.model(
            loss=sample.loss,
            loss_constant=CONSTANT,
            skill=by(sample.step) / CONSTANT,
            information=by(sample.step) / CONSTANT,
            label_entropy=CONSTANT,
            neighbour_agreement=agreement,
        )

    return bend


def answering(columns: int) -> Scene:
    """One unit, and so many yes/no answers that hang on it."""
    told = {"loss": "bce_logits", "loss_input": (32, columns), "loss_target": (32, columns)}
    return scene_of([linear("body", 16, 1), linear("head", 1, columns)], model=told)


def slackening(step: float) -> float:
    return 0.015 * math.log1p(step / 10)


def steady(step: float) -> float:
    return 0.0004 * step


@pytest.mark.parametrize(
    ("columns", "course", "called"),
    [(5, slackening, True), (5, steady, True), (1, slackening, True), (1, steady, False)],
)
def test_one_number_may_be_enough_for_one_answer_and_not_for_five(
    columns: int, course: Callable[[float], float], called: bool
) -> None:
    made = answering(columns).run(240, falling(course, 0.6))
    assert ("loss-plateau" in made.standing) is called
    if called:
        assert made.causes[0] == "insufficient-capacity"


def test_answers_in_one_column_for_each_row_are_not_as_many_as_rows() -> None:
    told = {"loss": "bce_logits", "loss_input": (32,), "loss_target": (32,)}
    made = scene_of([linear("body", 16, 1), linear("head", 1, 1)], model=told)
    assert "loss-plateau" not in made.run(240, falling(steady, 0.6)).standing


def test_a_frozen_layer_of_one_unit_lacks_width_before_training() -> None:
    body = linear("body", 16, 1, trainable=False, optimised=False)
    told = {"loss": "bce_logits", "loss_input": (32, 1), "loss_target": (32, 1)}
    made = scene_of([body, linear("head", 1, 1)], model=told)
    causes = made.run(300, falling(lambda step: 0.01, 0.9)).causes
    assert causes.index("insufficient-capacity") < causes.index("detached-graph")


DEEP = [linear(f"fc{n}", 64, 64) for n in range(7)]
TELLS = {"loss": "cross_entropy", "loss_input": (32, 10), "loss_target": (32,)}


def deep_with(
    growth: float, skill: float, spread: float = 5.0, jump: bool = False
) -> Callable[[SceneSample], None]:
    """The gradient grows by `growth` in all from the last layer to the first."""

    def bend(sample: SceneSample) -> None:
        sample.loss = 2.3 * (1 - skill)
        sample.model(loss=sample.loss, skill=skill, information=skill, neighbour_agreement=0.5)
        for n in range(7):
            power = (6 - n) / 6 if not jump else float(n == 0)
            sample.layer(
                f"fc{n}", out_grad_rms=1e-4 * growth**power, weight_spread=spread, weight_growth=1
            )

    return bend


def test_a_gradient_that_depth_makes_explode_is_called_and_named() -> None:
    made = scene_of(DEEP, model=TELLS).run(80, deep_with(1e5, 0.1))
    assert made.standing["exploding-gradient"].layer == "fc0"
    assert made.causes[0] == "depth-exploding"


@pytest.mark.parametrize(
    "bend", [deep_with(50, 0.1), deep_with(1e5, 0.8), deep_with(1e5, 0.1, jump=True)]
)
def test_neither_growth_that_serves_nor_one_norm_behind_small_weights_is_called(
    bend: Callable[[SceneSample], None],
) -> None:
    assert "exploding-gradient" not in scene_of(DEEP, model=TELLS).run(80, bend).standing


def resting(sample: SceneSample, skill: float) -> None:
    """Tokens: whether neighbours agree is not known; the loss fell at first and rests."""
    sample.lost = lambda step: 2.3 * (1 - skill * (1 - math.exp(-step / 30)))
    known = 1 - sample.lost(sample.step) / 2.3
    sample.loss = sample.lost(sample.step)
    sample.model(loss=sample.loss, skill=known, information=known, neighbour_agreement=NAN)


@pytest.mark.parametrize(("skill", "called"), [(0.15, True), (0.7, False)])
def test_a_recurrent_layer_born_with_gates_that_cannot_move_is_a_reason_to_rest(
    skill: float, called: bool
) -> None:
    def bend(sample: SceneSample) -> None:
        resting(sample, skill)
        sample.layer("rnn", weight_rms=10, weight_spread=98, weight_growth=1, update_ratio=1e-5)

    gru = layer("rnn", "GRU", units=24, fan_in=24, parameters=3600)
    made = scene_of([gru, linear("head", 24, 10)], model=TELLS).run(260, bend)
    assert ("loss-plateau" in made.standing) is called
    if called:
        assert made.causes[0] == "bad-initialisation-scale"


@pytest.mark.parametrize(("left", "called"), [(0.2, True), (0.8, False)])
def test_what_depth_left_of_the_inputs_is_a_reason_to_rest(left: float, called: bool) -> None:
    """`left` of a layer's variance and twice as much of its gradient is handed on."""

    def bend(sample: SceneSample) -> None:
        resting(sample, 0.2)
        for n in range(7):
            sample.layer(f"fc{n}", out_variance=0.9 * left**n, out_grad_rms=1e-3 * left ** (6 - n))
        sample.layer("fc5", out_variance=0.9 * left**6)

    made = scene_of(DEEP, model=TELLS).run(260, bend)
    assert ("loss-plateau" in made.standing) is called
    if called:
        assert made.causes[0] == "depth-vanishing"


@pytest.mark.parametrize(("left", "lost"), [(0.2, True), (0.8, False)])
def test_what_depth_left_of_the_inputs_is_why_nothing_is_learnt(left: float, lost: bool) -> None:
    """Six layers leave 6e-5 of the variance: more than ten of torch's ReLU layers, and too little.

    Steps as large as an adaptive optimiser makes them hide how small the gradient was.
    """

    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        share, way = 0.9 * left, 1e-3 * left**6
        if sample.step > 5:
            way = 1e-3
        for n in range(7):
            sample.layer(f"fc{n}", out_variance=share * left**n, out_grad_rms=way / left**n)
        sample.layer("fc5", out_variance=share * left**6)

    made = scene_of(DEEP, model=TELLS).run(260, bend)
    assert (made.causes[:1] == ["depth-vanishing"]) is lost


@pytest.mark.parametrize(("agreement", "called"), [(0.96, True), (0.6, False)])
def test_weights_that_decay_holds_at_a_twentieth_count_while_more_could_be_learnt(
    agreement: float, called: bool
) -> None:
    def bend(sample: SceneSample) -> None:
        sample.loss = 2.3 * 0.53
        sample.model(loss=sample.loss, skill=0.47, information=0.47, neighbour_agreement=agreement)
        for n in range(5):
            sample.layer(f"fc{n}", weight_growth=0.04 if n else 0.9, weight_rms=0.004)

    made = scene_of(DEEP[:5], model=TELLS).run(130, bend)
    assert ("weight-collapse" in made.standing) is called
    if called:
        assert made.causes[0] == "over-regularisation"


def test_weights_of_twice_the_usual_spread_are_blamed_for_flat_ends_that_they_were_born_on() -> (
    None
):
    layers = []
    for n in range(4):
        layers += [linear(f"fc{n}", 64, 64), layer(f"act{n}", "Tanh", "tanh", units=64)]
    layers.append(linear("head", 64, 10))

    def bend(sample: SceneSample) -> None:
        sample.loss = 2.3 * 0.95
        sample.model(loss=sample.loss, skill=0.05, information=0.05, neighbour_agreement=0.9)
        for n in range(4):
            sample.layer(f"fc{n}", weight_spread=4.9, weight_rms=0.35, weight_growth=1)
            sample.layer(f"act{n}", saturation=0.92, saturated_units=0.1)

    made = scene_of(layers, model=TELLS).run(120, bend)
    assert "saturation" in made.standing
    assert made.causes[0] == "bad-initialisation-scale"


@pytest.mark.parametrize(
    ("depth", "flat", "skill", "called"),
    [(8, 0.45, 0.25, True), (4, 0.45, 0.25, False), (8, 0.3, 0.25, False), (8, 0.45, 0.7, False)],
    ids=["deep and flat", "few layers", "less flat", "learnt all the same"],
)
def test_deep_nets_that_are_born_flat_tell_no_input_from_another(
    depth: int, flat: float, skill: float, called: bool
) -> None:
    tanh = [layer(f"act{row}", "Tanh", "tanh") for row in range(depth)]
    body = [each for row in range(depth) for each in (linear(f"fc{row}", 32, 32), tanh[row])]

    def born(sample: SceneSample) -> None:
        grown = skill * (1 - math.exp(-sample.step / 100))
        sample.loss = 1 - grown
        sample.model(
            loss=sample.loss, loss_constant=1.0, skill=grown, information=grown,
            neighbour_agreement=0.78,
        )  # fmt: skip
        for each in tanh:
            sample.layer(each.name, saturation=flat, saturated_units=0.0)

    made = scene_of([*body, linear("head", 32, 1)]).run(400, born)
    assert ("saturation" in made.standing) is called


@pytest.mark.parametrize(
    ("spread", "turned", "called"), [(4.0, 0.4, True), (8.0, 0.4, False), (4.0, 3, False)]
)
def test_weights_that_all_lie_to_one_side_of_zero_were_drawn_badly(
    spread: float, turned: float, called: bool
) -> None:
    """torch.rand has a mean of 1.7 standard deviations; drawn around zero it is none."""

    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, weight_rms=0.58, weight_spread=spread, weight_drift=turned)

    made = Scene().run(200, bend)
    assert "constant-predictor" in made.standing
    evidence = [line for cause in made.engine.causes() for line in cause.evidence]
    assert any("to one side of zero" in line for line in evidence) is called
    assert (made.causes[:1] == ["bad-initialisation-scale"]) is (called or spread == 8.0)


@pytest.mark.parametrize(("second", "called"), [(0.0, True), (0.4, False)])
def test_a_first_step_that_dwarfs_the_weights_makes_no_one_number_of_what_was_drawn(
    second: float, called: bool
) -> None:
    def bend(sample: SceneSample) -> None:
        sample.loss = 2.3 * 0.95
        sample.model(loss=sample.loss, skill=0.05, information=0.05)
        for name in ("fc1", "fc2", "fc3"):
            alike = {"duplicate_units": 1, "duplicate_grads": 1, "participation": 1.0}
            sample.layer(name, weight_rms=0.02, weight_drift=1.6, weight_spread=0.4, **alike)
        sample.layer("fc2", weight_spread=second)

    made = Scene().run(60, bend)
    assert "duplicate-units" in made.standing
    assert ("constant-initialisation" in made.causes) is called


@pytest.mark.parametrize(("spread", "called"), [(0.011, True), (0.03, False)])
def test_a_first_step_may_have_made_all_the_spread_of_what_began_as_one_number(
    spread: float, called: bool
) -> None:
    def bend(sample: SceneSample) -> None:
        sample.loss = 2.3 * 0.85
        sample.model(loss=sample.loss, skill=0.15, information=0.15)
        few = {"participation": 1.0, "duplicate_units": NAN, "duplicate_grads": NAN}
        sample.layer("one", weight_rms=1 / 3, weight_spread=spread, update_ratio=0.012, **few)
        sample.layer("two", weight_rms=0.1, weight_spread=0, **few)

    made = scene_of([linear("one", 3, 16), linear("two", 16, 1)]).run(60, bend)
    assert ("duplicate-units" in made.standing) is called
    assert ("constant-initialisation" in made.causes) is called


@pytest.mark.parametrize(("heard", "called"), [(0.01, True), (0.0, False)])
def test_a_first_layer_whose_weights_never_have_a_gradient_is_given_nothing(
    heard: float, called: bool
) -> None:
    """Of a long row only a part is copied: where that is blank, no statistic of inputs tells."""

    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(out_variance=0, out_sd=0, in_variance=NAN, in_rms=NAN, in_max=NAN)
        for name in ("fc1", "act1", "fc2", "act2", "fc3"):
            sample.layer(name, out_variance=0)
        sample.layer("fc1", grad_rms=0, update_ratio=0, out_grad_rms=heard)

    made = Scene().run(60, bend)
    assert "output-collapse" in made.standing
    assert ("low-data-diversity" in made.causes) is called


@pytest.mark.parametrize(("before", "called"), [(0.5, True), (0.0, False)])
def test_a_further_input_that_is_all_zeros_is_told_from_what_a_shut_layer_hands_on(
    before: float, called: bool
) -> None:
    """As a decoder is given torch.zeros in place of its targets."""

    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(out_variance=0, out_sd=0)
        for name in ("fc2", "act2", "fc3"):
            sample.layer(name, out_variance=0)
        sample.layer("act1", out_rms=before)
        sample.layer("fc2", grad_rms=0, update_ratio=0, out_grad_rms=0.01)

    found = Scene().run(60, bend).causes
    assert ("low-data-diversity" in found[:1]) is called


def test_attention_that_looked_at_one_key_before_any_step_was_born_so() -> None:
    build = [
        linear("q", 32, 96),
        layer("q:attention", "softmax", units=0),
        linear("head", 32, 4),
    ]
    model: dict[str, object] = {
        "loss": "cross_entropy",
        "loss_input": (32, 4),
        "loss_target": (32,),
    }

    def stuck(sample: SceneSample, entropy: float) -> None:
        sample.no_better_than_constant()
        sample.model(neighbour_agreement=0.3)
        sample.layer("q:attention", attention_entropy=entropy)

    sharp = scene_of(build, model=model).run(200, lambda sample: stuck(sample, 0.02))
    even = scene_of(build, model=model).run(200, lambda sample: stuck(sample, 0.9))
    assert sharp.causes[0] == "attention-collapse"
    assert "attention-collapse" not in even.causes


def test_twins_since_birth_that_hold_a_network_back_are_a_warning_for_all_it_has_learnt() -> None:
    def twins(sample: SceneSample, told: float, born: float) -> None:
        sample.loss = 2.3 * 0.4
        sample.model(loss=sample.loss, skill=0.6, neighbour_agreement=told, information=0.6)
        share = 1.0 if sample.step > 1 else born
        sample.layer("fc1", duplicate_units=share, duplicate_grads=0.95, weight_drift=0.1)

    held_back = Scene().run(120, lambda sample: twins(sample, 0.95, 1.0))
    as_good = Scene().run(120, lambda sample: twins(sample, 0.7, 1.0))
    aligned = Scene().run(120, lambda sample: twins(sample, 0.95, 0.0))
    assert held_back.standing["duplicate-units"].severity == "warning"
    assert held_back.causes == ["constant-initialisation"]
    assert as_good.standing["duplicate-units"].severity == "info"
    assert aligned.standing["duplicate-units"].severity == "info"


def test_attention_drawn_far_too_wide_is_called_though_its_scores_are_not_shown() -> None:
    scene, bend = block(106.0)
    scene.run(70, bend)
    flag = scene.standing["attention-collapse"]
    assert (flag.severity, flag.layer) == ("warning", "attend")
    assert flag.evidence["drawn_logit"] == pytest.approx(106**2 / 3, rel=0.01)
    assert scene.causes[0] == "attention-collapse"


@pytest.mark.parametrize(("spread", "growth"), [(1.22, 1.0), (2.45, 3.0), (106.0, 0.3)])
def test_attention_of_usual_weights_or_of_such_as_shrink_is_not(
    spread: float, growth: float
) -> None:
    scene, bend = block(spread, growth)
    assert "attention-collapse" not in scene.run(120, bend).standing

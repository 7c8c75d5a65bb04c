"""Learning by heart, too little room, stuck on the way: scenes made by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from rules_scene import Scene, SceneSample


def evaluated(loss: Callable[[int], float], every: int = 20) -> Callable[[SceneSample], None]:
    """An evaluation pass each `every` steps."""

    def bend(sample: SceneSample) -> None:
        if sample.step % every == 0:
            sample.model(eval_loss=loss(sample.step))

    return bend


def healthy(step: int) -> float:
    return 2.3 * math.exp(-step / 60) + 0.2


def test_a_loss_that_rises_where_it_is_not_trained_is_overfitting() -> None:
    scene = Scene().run(500, evaluated(lambda step: healthy(min(step, 120)) + step / 400))
    flag = scene.standing["overfitting"]
    assert flag.severity == "warning"
    assert 60 <= flag.onset_step <= 160
    cause = scene.engine.causes()[0]
    assert cause.cause == "overfitting"
    assert f"step {flag.onset_step}" in cause.advice


def test_answers_that_are_wrong_on_new_data_from_the_start_are_overfitting() -> None:
    scene = Scene().run(300, evaluated(lambda step: 2.1))
    assert scene.standing["overfitting"].severity == "warning"


@pytest.mark.parametrize(("first", "told"), [(2.33, True), (2.1, False)])
def test_what_never_held_for_other_rows_is_learnt_by_heart_however_slowly(
    first: float, told: bool
) -> None:
    """Smoothed random labels behind a dropout: 2.3 to 1.9 in training, 2.33 to 2.63 on others."""

    def slowly(sample: SceneSample) -> None:
        evaluated(lambda step: first + 0.0005 * step)(sample)
        sample.loss = 2.3 - 0.0007 * sample.step
        sample.model(loss=sample.loss, loss_constant=2.3, skill=1 - sample.loss / 2.3)

    def last(sample: SceneSample) -> None:
        slowly(sample)  # a run ends with a sample that measures next to nothing
        sample.model(loss_constant=math.nan, skill=math.nan)

    scene = Scene().run(599, slowly).run(1, last)
    assert ("overfitting" in scene.standing) is told
    if told:
        assert "label-noise" in scene.causes


def test_one_answer_to_all_is_not_learnt_by_heart_though_other_rows_price_it() -> None:
    """Hardly a yes in training, half of them yes in evaluation: always no costs much there."""

    def always_no(sample: SceneSample) -> None:
        evaluated(lambda step: 2.0)(sample)
        sample.loss = 0.04 + 0.01 * math.sin(sample.step)
        sample.model(
            loss=sample.loss, loss_constant=0.06, label_entropy=0.06, majority_share=0.989,
            majority_predicted=1.0, information=0.02, skill=0.2,
        )  # fmt: skip

    assert Scene().run(300, always_no).engine.causes()[0].cause == "class-imbalance"


def test_four_evaluations_say_nothing() -> None:
    assert not Scene().run(99, evaluated(lambda step: 2.1)).standing


def test_one_wild_evaluation_says_nothing() -> None:
    scene = Scene().run(1000, evaluated(lambda step: 30.0 if step == 600 else healthy(step)))
    assert not scene.engine.flags


def test_evaluations_of_a_dozen_rows_are_noisy_and_no_alarm() -> None:
    random = np.random.default_rng(1)
    scene = Scene().run(
        800, evaluated(lambda step: healthy(step) * float(random.exponential() ** 2), every=10)
    )
    assert all(flag.severity == "info" for flag in scene.engine.flags)


def test_a_slight_rise_at_the_end_is_a_note() -> None:
    scene = Scene().run(1000, evaluated(lambda step: healthy(min(step, 400)) + step / 8000))
    assert scene.engine.verdict() == "healthy"


def test_new_data_that_lag_behind_but_catch_up_are_fine() -> None:
    scene = Scene().run(260, evaluated(lambda step: 2.3 * math.exp(-step / 300) + 0.2))
    assert all(flag.severity == "info" for flag in scene.engine.flags)


@pytest.mark.parametrize(("train", "said"), [(1.27, None), (0.4, "warning")])
def test_a_noisy_table_half_learnt_by_heart_has_lost_nothing_on_new_data(
    train: float, said: str | None
) -> None:
    """The other data stay at their best, a third of a constant answer's loss above training."""

    def bend(sample: SceneSample) -> None:
        sample.loss = train + (2.3 - train) * math.exp(-sample.step / 40)
        sample.model(loss=sample.loss, loss_constant=2.3, skill=1 - sample.loss / 2.3)
        if sample.step % 20 == 0:
            sample.model(eval_loss=1.95 + max(0.0, 0.35 - sample.step / 200))

    flag = Scene().run(300, bend).standing.get("overfitting")
    assert (flag.severity if flag is not None and flag.severity != "info" else None) == said


def without_activations(scene: Scene, units: int = 32) -> Scene:
    layers = tuple(
        msgspec.structs.replace(layer, units=units if layer.name == "fc2" else 32)
        for layer in scene.table.layers
        if layer.kind == "Linear"
    )
    scene.table = msgspec.structs.replace(scene.table, layers=layers)
    return scene


def neighbours_know(sample: SceneSample) -> None:
    sample.no_better_than_constant()
    sample.model(neighbour_agreement=0.95)


def test_a_linear_model_that_learns_nothing_of_a_plain_task_lacks_capacity() -> None:
    scene = without_activations(Scene(("fc1", "fc2", "fc3"))).run(300, neighbours_know)
    cause = scene.engine.causes()[0]
    assert cause.cause == "insufficient-capacity"
    assert cause.confidence > 0.8
    assert "ReLU" in cause.advice


def test_a_linear_model_whose_inputs_lie_far_off_zero_was_not_tried_for_room() -> None:
    def far(sample: SceneSample) -> None:
        neighbours_know(sample)
        sample.model(in_variance=0.01, in_max=1000, in_rms=600, information=0.0)

    scene = without_activations(Scene(("fc1", "fc2", "fc3"))).run(300, far)
    assert scene.engine.causes()[0].cause == "unnormalised-inputs"


@pytest.mark.parametrize(("per_feature", "cause"), [(0.2, "overfitting"), (20.0, "label-noise")])
def test_of_fewer_rows_than_dimensions_none_is_near_another(per_feature: float, cause: str) -> None:
    """What is learnt of them by heart says nothing of their labels."""

    def bend(sample: SceneSample) -> None:
        evaluated(lambda step: 0.67)(sample)
        sample.loss = 0.7 * math.exp(-sample.step / 60)
        sample.model(
            loss=sample.loss, loss_constant=0.693, label_entropy=0.693, skill=1 - sample.loss / 0.7,
            neighbour_agreement=-0.22, in_rows=400, in_distinct=0.2, in_per_feature=per_feature,
        )  # fmt: skip

    assert Scene().run(300, bend).engine.causes()[0].cause == cause


def test_a_linear_model_of_random_labels_is_less_sure_to_lack_capacity() -> None:
    def random_labels(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(neighbour_agreement=0.0)

    scene = without_activations(Scene(("fc1", "fc2", "fc3"))).run(300, random_labels)
    found = [c.confidence for c in scene.engine.causes() if c.cause == "insufficient-capacity"]
    assert not found or found[0] < 0.5


def test_everything_through_one_unit_is_too_narrow() -> None:
    cause = three_layers(1).run(300, neighbours_know).engine.causes()[0]
    assert (cause.cause, cause.layer) == ("insufficient-capacity", "fc2")


def test_a_network_with_room_is_not_said_to_lack_it() -> None:
    assert "insufficient-capacity" not in Scene().run(300, neighbours_know).causes


def test_stuck_on_the_way_with_nothing_else_found_is_a_guess() -> None:
    def stuck(sample: SceneSample) -> None:
        sample.loss = 1.6
        sample.model(loss=1.6, skill=0.3, information=0.3, neighbour_agreement=0.95)

    scene = Scene().run(900, stuck)
    assert "loss-plateau" in scene.standing
    cause = scene.engine.causes()[0]
    assert cause.cause == "local-minimum"
    assert cause.confidence <= 0.5


def test_what_was_learnt_and_lost_is_no_local_minimum() -> None:
    def lost(sample: SceneSample) -> None:
        sample.loss = 2.4
        sample.model(loss=2.4, skill=-0.04, information=0.05, neighbour_agreement=0.95)

    scene = Scene().run(400, every=50).run(150, lost, every=50)
    assert {"loss-divergence", "constant-predictor"} <= scene.standing.keys()
    assert scene.causes[0] == "bad-data"
    assert "local-minimum" not in scene.causes


def three_layers(units: int, *, passes: bool = True) -> Scene:
    scene = Scene()
    changed = {"fc2": {"units": units}, "fc3": {"fan_in": units if passes else 64}}
    layers = tuple(
        msgspec.structs.replace(layer, **changed.get(layer.name, {}))
        for layer in scene.table.layers
    )
    scene.table = msgspec.structs.replace(scene.table, layers=layers)
    return scene


def creeps(sample: SceneSample, agreement: float = 0.96) -> None:
    skill = 0.13 * math.log(1 + sample.step / 25)
    sample.loss = 2.3 * (1 - skill)
    sample.model(loss=sample.loss, skill=skill, information=skill, neighbour_agreement=agreement)


def test_ten_classes_that_creep_through_one_unit_lack_room() -> None:
    cause = three_layers(1).run(900, creeps, every=5).engine.causes()[0]
    assert (cause.cause, cause.layer) == ("insufficient-capacity", "fc2")


def test_the_same_creep_through_thirty_units_is_not_the_width() -> None:
    assert not three_layers(30).run(900, creeps, every=5).causes


def test_a_score_of_one_unit_beside_the_whole_width_is_no_narrow_place() -> None:
    assert (
        "insufficient-capacity"
        not in three_layers(1, passes=False).run(900, creeps, every=5).causes
    )


def test_classes_of_tokens_on_one_unit_lack_room_though_no_neighbours_are_known() -> None:
    scene = three_layers(1).run(900, lambda sample: creeps(sample, math.nan), every=5)
    assert "one unit" in scene.standing["loss-plateau"].message
    assert scene.causes[0] == "insufficient-capacity"


def test_a_picture_through_one_unit_lacks_room_by_the_variance_it_leaves() -> None:
    def drawn(sample: SceneSample, known: float) -> None:
        sample.loss = 1.0 * (1 - 0.28)
        sample.model(
            loss=sample.loss, loss_constant=1.0, skill=0.28, information=math.nan,
            label_entropy=math.nan, batch_label_entropy=math.nan, sigma_share=0.6, target_sd=1.0,
            neighbour_agreement=known,
        )  # fmt: skip

    def seen(units: int, known: float) -> Scene:
        scene = three_layers(units)
        model = msgspec.structs.replace(scene.table.models[0], loss="mse")
        scene.table = msgspec.structs.replace(scene.table, models=(model,))
        return scene.run(600, lambda sample: drawn(sample, known), every=5)

    assert seen(1, 0.53).causes[0] == "insufficient-capacity"
    assert not seen(30, 0.53).causes
    assert not seen(1, 0.4).causes


def noise_hides_it(sample: SceneSample, knows: float) -> None:
    """Behind a dropout of 0.95: the loss swings, now and then eight in a row look learnt."""
    wave = 0.17 * math.sin(sample.step / 3) + 0.1 * math.sin(sample.step * 1.7)
    sample.loss = 1.0 * (0.98 - wave) + math.exp(-sample.step / 80)
    sample.model(
        loss=sample.loss,
        loss_constant=1.0,
        skill=0.02 + wave,
        information=math.nan,
        sigma_share=0.15 + 0.08 * math.sin(sample.step / 5),
        neighbour_agreement=knows,
    )


def test_a_loss_whose_noise_hides_that_nothing_is_learnt_is_a_plateau() -> None:
    scene = Scene().run(900, lambda sample: noise_hides_it(sample, 0.67))
    assert scene.engine.verdict() == "warning"


def test_the_same_noise_over_data_that_tell_little_is_none() -> None:
    scene = Scene().run(900, lambda sample: noise_hides_it(sample, 0.3))
    assert "loss-plateau" not in scene.standing


def four_rows(sample: SceneSample, fades: bool) -> None:
    """A linear model of an exclusive or, all rows in each batch."""
    sample.no_better_than_constant()
    sample.model(skill=-1e-6 * math.exp(-sample.step / 100), in_distinct=4 / 2000)
    gone = sample.step > 100
    faint = 0.01 * math.exp(-sample.step / 10) if fades else 0.01
    for name in ("fc1", "fc2", "fc3"):
        grad = 0.0 if gone else faint
        sample.layer(name, grad_rms=grad, has_grad=1, update_ratio=grad, out_grad_rms=0.1)


def test_a_gradient_that_fades_to_zero_at_an_optimum_was_not_cleared() -> None:
    scene = without_activations(Scene(("fc1", "fc2", "fc3")))
    scene.run(400, lambda sample: four_rows(sample, fades=True))
    assert "vanishing-gradient" not in scene.standing
    assert scene.causes[0] == "insufficient-capacity"


def test_a_gradient_that_is_zero_from_one_step_to_the_next_was_cleared() -> None:
    scene = without_activations(Scene(("fc1", "fc2", "fc3")))
    scene.run(400, lambda sample: four_rows(sample, fades=False))
    assert "vanishing-gradient" in scene.standing
    assert scene.causes[0] == "detached-graph"


def resting(sample: SceneSample, drift: float, agreement: float = 0.9) -> None:
    """A constant answer; the head has found the mean, the layers before it lie where they began."""
    sample.no_better_than_constant()
    sample.model(neighbour_agreement=agreement)
    for name in ("fc1", "fc2"):
        sample.layer(name, weight_drift=drift, update_ratio=3e-5)
    sample.layer("fc3", weight_drift=0.3, update_ratio=4e-4)


def test_hidden_weights_that_never_left_their_start_want_a_higher_rate() -> None:
    scene = Scene().run(600, lambda sample: resting(sample, 0.01), every=5)
    assert scene.causes[0] == "learning-rate-too-low"
    assert "Adam" in scene.engine.causes()[0].advice


@pytest.mark.parametrize(("drift", "agreement"), [(0.3, 0.9), (0.01, 0.1)])
def test_weights_that_moved_or_had_nothing_to_move_for_do_not(
    drift: float, agreement: float
) -> None:
    scene = Scene().run(600, lambda sample: resting(sample, drift, agreement), every=5)
    assert "learning-rate-too-low" not in scene.causes


def unlearns_its_noise(sample: SceneSample) -> None:
    """What comes out is noise that shrinks: the loss falls to a constant answer's, from above."""
    excess = 2.0 * math.exp(-sample.step / 120)
    sample.loss = 2.3 * (1 + excess)
    sample.model(
        loss=sample.loss, skill=-excess, information=0.15 * excess, neighbour_agreement=0.9
    )


@pytest.mark.parametrize(("dropout", "named"), [(0.95, ["over-regularisation"]), (0.3, [])])
def test_a_loss_that_falls_because_the_noise_of_dropout_does_is_no_learning(
    dropout: float, named: list[str]
) -> None:
    scene = Scene()
    models = tuple(msgspec.structs.replace(m, dropout=dropout) for m in scene.table.models)
    scene.table = msgspec.structs.replace(scene.table, models=models)
    assert scene.run(250, unlearns_its_noise).causes == named


def test_an_evaluation_loss_that_begins_at_nought_is_no_measure() -> None:
    def bend(sample: SceneSample) -> None:
        sample.model(loss_constant=np.nan)
        if sample.step % 10 == 0:
            sample.model(eval_loss=0.0 if sample.step == 10 else 0.01)

    assert "overfitting" not in Scene().run(120, bend).standing
    assert math.isfinite(Scene().run(1).step)

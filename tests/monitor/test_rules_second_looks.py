"""Causes that look alike: what tells a turned sign, a shut layer or a lost series from the rest."""

from __future__ import annotations

import numpy as np
from rules_builds import layer, linear, scene_of, trained_by
from rules_scene import Scene, SceneSample

from deadband_monitor.rules.bottomless import Descent


def of_loss(loss: str) -> Scene:
    return trained_by(loss, prediction=(32, 10), target=(32,))


def goes(sample: SceneSample, loss: float, **values: float) -> None:
    sample.loss = loss
    sample.model(
        loss=loss, skill=np.nan, loss_constant=np.nan, out_min=-9, out_max=9, row_sum_error=9
    )
    sample.model(0, **values)


def test_minus_a_cross_entropy_is_a_turned_sign_from_its_first_steps() -> None:
    def turned(sample: SceneSample) -> None:
        goes(sample, -2.3 - 0.1 * sample.step)

    scene = of_loss("cross_entropy").run(12, turned)
    cause = scene.engine.causes()[0]
    assert scene.standing["loss-divergence"].severity == "critical"
    assert (cause.cause, cause.onset_step) == ("loss-mismatch", 1)
    assert "drop the minus" in cause.advice


def test_a_small_share_that_is_subtracted_is_no_turned_sign() -> None:
    def learns(sample: SceneSample) -> None:
        goes(sample, 2.3 * float(np.exp(-sample.step / 30)) - 0.2, information=0.3)

    scene = of_loss("cross_entropy").run(120, learns)
    cause = scene.engine.causes()[0]
    assert cause.cause == "loss-mismatch"
    assert "outweighs" in cause.evidence[0]
    assert cause.confidence < 0.7


def test_a_loss_that_fell_below_its_least_value_made_the_large_steps_that_followed() -> None:
    def turns(sample: SceneSample) -> None:
        late = sample.step - 150
        if late >= 0:
            goes(sample, -0.1 - 1.5 ** (late / 2), information=0.3)
        if late > 15:
            sample.layer("fc1", update_ratio=0.05 * 1.5 ** (late / 2))

    scene = of_loss("cross_entropy").run(190, turns)
    assert "update-too-large" in scene.standing
    assert scene.engine.causes()[0].cause == "loss-mismatch"


def test_a_squared_error_below_zero_is_called_whatever_it_is_called_with() -> None:
    def turned(sample: SceneSample) -> None:
        goes(sample, -1.0 - 0.1 * sample.step, target_sd=1.0, target_mean=0.0)
        sample.model(information=np.nan, label_entropy=np.nan, sigma_share=2.0)

    assert of_loss("mse").run(12, turned).causes == ["loss-mismatch"]


def test_a_density_that_is_learnt_falls_below_zero_ever_more_slowly() -> None:
    fit, flight = Descent(), Descent()
    for step in range(1, 600):
        fit.add(step, 1.0 - 20 * float(np.log(step)), 1.0 + step)
        flight.add(step, -0.5 * step, 1.0 + step)
    assert not fit.endless
    assert flight.endless


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


def nothing_is_learnt(sample: SceneSample) -> None:
    sample.no_better_than_constant()
    sample.model(neighbour_agreement=0.0, in_distinct=0.5, majority_share=0.5)


def test_a_large_first_step_that_was_got_over_is_no_reason_to_doubt_shuffled_labels() -> None:
    """Adagrad's first step is as large as its rate."""

    def large(sample: SceneSample) -> None:
        nothing_is_learnt(sample)
        ratio = 0.85 if sample.step == 1 else 0.01
        sample.model(update_ratio=ratio, neighbour_agreement=0.1)
        sample.layer("fc1", update_ratio=ratio)

    made = Scene().run(400, large)
    assert "update-too-large" not in made.standing
    assert made.causes == ["label-noise"]


def test_of_a_plain_recurrent_layer_forgetting_is_likelier_than_noise_and_both_are_said() -> None:
    causes = series("RNN").run(200, nothing_is_learnt).causes
    assert causes[:2] == ["depth-vanishing", "label-noise"]


def test_gates_hold_on_and_a_row_of_features_has_nothing_to_forget() -> None:
    assert series("LSTM").run(200, nothing_is_learnt).causes[0] == "label-noise"
    assert Scene().run(200, nothing_is_learnt).causes == ["label-noise"]


def test_weights_that_are_written_back_after_each_step_are_told_from_slow_ones() -> None:
    def moves(sample: SceneSample, drift: float) -> None:
        sample.no_better_than_constant()
        sample.model(neighbour_agreement=0.9, in_distinct=0.5)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=0.01, weight_drift=drift, weight_growth=1)

    back = Scene().run(320, lambda sample: moves(sample, 0.01))
    slow = Scene().run(320, lambda sample: moves(sample, 0.025))
    assert back.causes[0] == "detached-graph"
    assert slow.causes[0] == "learning-rate-too-low"


def test_a_first_layer_that_gives_the_same_for_every_row_is_fed_the_same() -> None:
    def stuck(sample: SceneSample) -> None:
        if sample.step < 60:
            return
        for name in ("fc1", "act1", "fc2", "act2", "fc3"):
            sample.layer(name, out_variance=0)
        sample.no_better_than_constant()
        sample.model(out_variance=0, out_sd=0, in_variance=np.nan, in_rms=np.nan, in_max=np.nan)

    cause = Scene().run(90, stuck).engine.causes()[0]
    assert (cause.cause, cause.onset_step) == ("bad-data", 60)


def test_yes_and_no_with_hardly_a_yes_are_uneven_not_full_of_outliers() -> None:
    scene = of_loss("bce_logits")

    def never(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(target_kurtosis=120, target_mean=0.008, target_sd=0.09)
        sample.model(out_min=-9, out_max=-3, majority_share=np.nan, information=np.nan)

    assert scene.run(200, never).causes[0] == "class-imbalance"


def test_a_rate_raised_before_the_first_broken_sample_is_named_where_no_update_was_seen() -> None:
    def broke(sample: SceneSample) -> None:
        sample.model(lr=0.1 if sample.step < 180 else 0.5)
        if sample.step >= 200:
            sample.model(nonfinite=1, out_variance=np.nan, out_rms=np.nan, loss=np.nan)
            for name in ("fc1", "fc2", "fc3"):
                sample.layer(name, nonfinite=1, out_rms=np.nan, update_ratio=np.nan)

    cause = Scene().run(260, broke, every=20).engine.causes()[0]
    assert cause.cause == "learning-rate-too-high"
    assert "lr 0.5 -> 0.1" in cause.advice


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


def test_a_loss_that_jumps_at_an_unchanged_rate_was_fed_something_else() -> None:
    def jumps(sample: SceneSample, rate: float) -> None:
        sample.model(lr=0.1)
        if sample.step >= 300:
            sample.loss = 3.5
            sample.model(loss=3.5, skill=-0.5, information=1e-4, lr=rate)

    same = Scene().run(420, lambda sample: jumps(sample, 0.1), every=20)
    raised = Scene().run(420, lambda sample: jumps(sample, 0.5), every=20)
    assert same.causes == ["bad-data"]
    assert same.engine.causes()[0].onset_step == 281  # first loss after the last good sample
    assert "bad-data" not in raised.causes


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


def test_ids_that_teach_a_sound_network_nothing_leave_the_labels_as_a_last_word() -> None:
    build = [
        layer("words", "Embedding", units=24, fan_in=24, parameters=480),
        linear("head", 24, 2),
    ]
    model: dict[str, object] = {
        "loss": "cross_entropy",
        "loss_input": (32, 2),
        "loss_target": (32,),
    }

    def nothing(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(neighbour_agreement=np.nan, in_distinct=0.5)

    cause = scene_of(build, model=model).run(200, nothing).engine.causes()[0]
    assert cause.cause == "label-noise"
    assert cause.confidence < 0.5


def test_steps_too_small_to_reach_a_constant_answer_are_named_without_neighbours() -> None:
    def crawls(sample: SceneSample, drift: float) -> None:
        sample.loss = 2.3 * (1.4 - 2e-4 * sample.step)
        sample.model(loss=sample.loss, skill=1 - sample.loss / 2.3, information=0.005)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=2e-4, weight_drift=drift, weight_growth=1)

    slow = Scene().run(340, lambda sample: crawls(sample, 0.01))
    far = Scene().run(340, lambda sample: crawls(sample, 0.3))
    assert slow.causes[0] == "learning-rate-too-low"
    assert "learning-rate-too-low" not in far.causes


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

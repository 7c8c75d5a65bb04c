"""Faults that were named for their neighbours, and what tells the two apart."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from rules_builds import SGD, layer, linear, of_loss, scene_of
from rules_scene import Scene, SceneSample


# --- signs
def test_a_term_that_was_seen_once_does_not_make_a_loss_negative() -> None:
    def turned(sample: SceneSample) -> None:
        late = sample.step - 100
        if 50 < sample.step < 60:
            sample.model(further_loss=0.03)
        if late >= 0:
            sample.loss = -0.5 - late
            sample.model(loss=sample.loss, skill=np.nan, information=1e-9)
        if late >= 0 and sample.step % 10 == 0:
            sample.model(eval_loss=0.4 + late)
        elif sample.step % 10 == 0:
            sample.model(eval_loss=0.4)

    scene = of_loss("bce_logits").run(200, turned)
    assert scene.standing["loss-divergence"].severity == "critical"
    assert scene.standing["overfitting"]
    cause = scene.engine.causes()[0]
    assert cause.cause == "loss-mismatch"
    assert cause.onset_step == pytest.approx(100, abs=2)


def test_a_little_that_is_taken_from_a_loss_beside_a_known_term_is_not_called() -> None:
    def rewarded(sample: SceneSample) -> None:
        sample.loss -= 0.2
        sample.model(loss=sample.loss, information=0.3)
        if sample.step < 60:
            sample.model(further_loss=0.1)

    assert "loss-divergence" not in of_loss("cross_entropy").run(200, rewarded).standing


def test_a_squared_error_that_falls_for_ever_was_turned_where_it_fell_below_zero() -> None:
    def turned(sample: SceneSample) -> None:
        sample.model(
            information=np.nan,
            label_entropy=np.nan,
            target_sd=1.0,
            target_mean=0.0,
            target_min=-2.0,
            target_max=2.0,
            out_min=-2.0,
            out_max=2.0,
            out_rms=1.0,
            out_sd=1.0,
            loss_constant=1.0,
        )
        late = sample.step - 150
        sample.loss = 0.1 + float(np.exp(-sample.step / 30)) if late < 0 else -0.1 - late**2 / 10
        if late >= 0:
            # Nothing can be read of the targets any more.
            gone = dict.fromkeys(("target_sd", "target_mean", "loss_constant", "skill"), np.nan)
            sample.model(0, **gone, out_rms=1.0 + late, target_min=np.nan, target_max=np.nan)
        sample.model(loss=sample.loss)

    scene = of_loss("mse").run(260, turned)
    assert scene.standing["loss-divergence"].onset_step == pytest.approx(150, abs=2)
    cause = scene.engine.causes()[0]
    assert (cause.cause, cause.onset_step) == ("loss-mismatch", 150)


# --- steps that are too small
def at_nothing(sample: SceneSample) -> None:
    sample.no_better_than_constant()
    sample.model(neighbour_agreement=0.9)


def test_decay_that_alone_moves_the_weights_is_no_small_rate() -> None:
    def unasked(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, grad_rms=0.0, update_ratio=5e-5, out_grad_rms=0.0)

    def asked(sample: SceneSample) -> None:
        unasked(sample)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, grad_rms=1e-6)

    assert "learning-rate-too-low" not in of_loss("cross_entropy").run(150, unasked).causes[:1]
    assert of_loss("cross_entropy").run(150, asked).causes[0] == "learning-rate-too-low"


def test_weights_that_went_nowhere_after_a_first_step_of_some_size_learn_too_slowly() -> None:
    def ever_shorter(sample: SceneSample) -> None:
        at_nothing(sample)
        step = 2e-4 / np.sqrt(sample.step)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=step, weight_drift=step * sample.step)

    assert Scene().run(220, ever_shorter).causes[0] == "learning-rate-too-low"


def test_gradients_clipped_away_leave_the_steps_to_decay_which_is_not_too_strong() -> None:
    def clipped(sample: SceneSample) -> None:
        at_nothing(sample)
        sample.model(grad_norm=1e-5)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=3e-4, weight_growth=0.995, pull_to_zero=1.0)

    scene = of_loss("cross_entropy", SGD).run(150, clipped)
    assert scene.causes[0] == "learning-rate-too-low"
    assert "clipped" in scene.engine.causes()[0].evidence[1]
    assert "over-regularisation" not in scene.causes


def test_a_pull_that_shrinks_the_weights_is_still_too_strong() -> None:
    def pulled(sample: SceneSample) -> None:
        at_nothing(sample)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, weight_growth=0.8, pull_to_zero=0.9)

    assert Scene().run(150, pulled).causes[0] == "over-regularisation"


# --- labels
@pytest.mark.parametrize(
    ("agreement", "rows", "named"),
    [(-0.02, 134, "label-noise"), (0.4, 134, "overfitting"), (-0.02, 24, "overfitting")],
)
def test_what_is_learnt_by_heart_for_want_of_anything_else_is_noise(
    agreement: float, rows: int, named: str
) -> None:
    def by_heart(sample: SceneSample) -> None:
        sample.model(
            neighbour_agreement=agreement, in_rows=rows, in_distinct=0.3, label_entropy=1.09
        )
        if sample.step % 10 == 0:
            sample.model(eval_loss=2.3 if sample.step < 50 else 2.3 + sample.step / 100)

    scene = Scene().run(200, by_heart)
    assert scene.standing["overfitting"]
    assert scene.causes[0] == named


def test_a_sound_network_that_learns_nothing_of_too_few_samples_leaves_the_labels() -> None:
    def nothing(sample: SceneSample) -> None:
        sample.no_better_than_constant()

    assert Scene().run(300, nothing, every=50).causes == ["label-noise"]


# --- attention
def block(spread: float, growth: float = 1.0) -> tuple[Scene, Callable[[SceneSample], None]]:
    scene = scene_of(
        [
            layer("norm", "LayerNorm", units=24),
            layer("attend", "MultiheadAttention", units=24, fan_in=24, parameters=1728),
            linear("up", 24, 48),
            linear("head", 48, 10),
        ]
    )

    def bend(sample: SceneSample) -> None:
        sample.layer("norm", token_similarity=0.3)
        sample.layer("attend", weight_spread=spread, weight_rms=spread / 8, weight_growth=growth)
        known = min(0.3, sample.step / 200)
        sample.model(skill=known, information=known)
        sample.loss = 2.3 * (1 - known)

    return scene, bend


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


# --- outputs
def test_what_is_forgotten_for_some_steps_and_known_again_is_no_collapse() -> None:
    def stumbles(sample: SceneSample) -> None:
        if 90 <= sample.step < 96:
            sample.no_better_than_constant()
            sample.model(information=0.006)

    def falls(sample: SceneSample) -> None:
        if sample.step >= 90:
            sample.no_better_than_constant()
            sample.model(information=0.006)

    assert not [f for f in Scene().run(200, stumbles).changes if f.kind == "output-collapse"]
    assert Scene().run(130, falls).standing["output-collapse"].severity == "critical"


def test_values_answered_orders_of_magnitude_too_wide_are_called_while_they_still_shrink() -> None:
    def wild(sample: SceneSample) -> None:
        sample.loss = 1e12 / sample.step
        sample.model(
            loss=sample.loss,
            loss_constant=1.0,
            skill=1 - sample.loss,
            out_sd=1e6,
            target_sd=1.0,
            target_mean=0.0,
            information=np.nan,
            label_entropy=np.nan,
        )
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, weight_spread=80, weight_growth=1.0)

    scene = of_loss("mse").run(110, wild)
    assert scene.standing["loss-divergence"].severity == "warning"
    assert scene.causes[0] == "bad-initialisation-scale"

    def far(sample: SceneSample) -> None:
        wild(sample)
        sample.model(out_sd=0.1, target_mean=1000.0)

    assert "loss-divergence" not in of_loss("mse").run(110, far).standing


# --- losses written out by hand, whose shapes nobody tells
def by_hand() -> Scene:
    scene = Scene()
    model = msgspec.structs.replace(scene.table.models[0], loss_input=(), loss_target=())
    scene.table = msgspec.structs.replace(scene.table, models=(model,))
    return scene


@pytest.mark.parametrize(("share", "shows"), [(0.05, True), (0.97, False)])
def test_rows_in_order_of_class_are_seen_under_a_loss_written_by_hand(
    share: float, shows: bool
) -> None:
    def in_order(sample: SceneSample) -> None:
        sample.model(
            batch_label_entropy=share,
            majority_share=0.3,
            majority_predicted=0.3,
            in_rows=16 * sample.step,
            in_distinct=1.0,
        )

    assert ("input-anomaly" in by_hand().run(30, in_order).standing) is shows


def test_without_the_number_of_rows_an_odd_mixture_says_nothing() -> None:
    def in_order(sample: SceneSample) -> None:
        sample.model(batch_label_entropy=0.05, majority_share=0.3, majority_predicted=0.3)

    assert "input-anomaly" not in by_hand().run(30, in_order).standing


# --- what evaluation asks for
@pytest.mark.parametrize(
    ("recall", "said", "named"),
    [
        (0.27, 0.97, "class-imbalance"),
        (0.9, 0.97, "overfitting"),
        (np.nan, 0.98, "class-imbalance"),
        (np.nan, 0.93, "overfitting"),
    ],
)
def test_rare_classes_that_are_not_even_learnt_by_heart_are_missed_by_evaluation(
    recall: float, said: float, named: str
) -> None:
    def uneven(sample: SceneSample) -> None:
        sample.loss *= 0.15
        sample.model(
            loss=sample.loss,
            loss_constant=0.35,
            majority_share=0.93,
            majority_predicted=said,
            rare_recall=recall,
            label_entropy=0.35,
            batch_label_entropy=1.0,
            information=0.2,
        )
        if sample.step % 10 == 0:
            sample.model(eval_loss=0.9)

    scene = of_loss("cross_entropy").run(200, uneven)
    assert scene.standing["overfitting"]
    assert scene.causes[0] == named


# --- steps in which nothing ran
def test_a_step_in_which_nothing_ran_broke_nothing() -> None:
    def rests(sample: SceneSample) -> None:
        if sample.step == 2:
            sample.layers[:], sample.models[:], sample.loss = np.nan, np.nan, np.nan
        if sample.step == 1:
            sample.layer("fc1", update_ratio=0.36)

    assert Scene().run(20, rests).engine.past.models["model"].broken.step is None


def test_a_loss_that_is_no_number_broke_the_run() -> None:
    def breaks(sample: SceneSample) -> None:
        if sample.step == 12:
            sample.loss = np.nan

    assert Scene().run(20, breaks).engine.past.models["model"].broken.step == 12


# --- targets
def values(sample: SceneSample, **more: float) -> None:
    sample.model(0, information=np.nan, label_entropy=np.nan, out_sd=1.0, sigma_share=0.8, **more)


@pytest.mark.parametrize(("sd", "called"), [(250.0, True), (1.0, False)])
def test_targets_off_scale_are_a_reason_to_be_stuck_for_which_half_the_patience_will_do(
    sd: float, called: bool
) -> None:
    def stands(sample: SceneSample) -> None:
        constant = sd * sd
        sample.loss = constant * (0.5 + float(np.exp(-sample.step / 5)))
        values(
            sample,
            loss=sample.loss,
            loss_constant=constant,
            skill=0.5,
            target_sd=sd,
            target_mean=0.0,
            neighbour_agreement=0.97,
        )

    assert ("loss-plateau" in of_loss("mse").run(350, stands).standing) is called


@pytest.mark.parametrize(("kurtosis", "called"), [(180.0, True), (40.0, False)])
def test_a_few_extreme_targets_among_several_a_row_leave_a_little_agreement(
    kurtosis: float, called: bool
) -> None:
    def ruled(sample: SceneSample) -> None:
        sample.loss = 70.0
        values(
            sample,
            loss=70.0,
            loss_constant=100.0,
            skill=0.3,
            target_sd=10.0,
            target_mean=0.0,
            target_kurtosis=kurtosis,
            neighbour_agreement=0.15,
        )

    assert ("constant-predictor" in of_loss("mse").run(260, ruled).standing) is called

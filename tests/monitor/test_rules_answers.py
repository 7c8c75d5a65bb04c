"""Answers out of reach, on one line, far too wide or all alike, and what the loss makes of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rules_builds import label_free, layer, linear, of_loss, scene_of, trained_by, values
from rules_scene import Scene, SceneSample


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


def never_negative(level: float) -> object:
    """Positive outputs, targets of which the lowest lie a little below zero."""

    def bend(sample: SceneSample) -> None:
        skill = 1 - level - 0.4 * math.exp(-sample.step / 60)
        sample.loss = 0.05 * (1 - skill)
        sample.model(
            loss=sample.loss, loss_constant=0.05, skill=skill, label_entropy=np.nan,
            information=np.nan, sigma_share=0.9, out_min=0.0, out_max=1.0, out_sd=0.2,
            target_min=-0.16 if level < 0.3 else -0.6, target_max=1.0, target_mean=0.08,
            target_sd=0.23,
        )  # fmt: skip

    return bend


@pytest.mark.parametrize(("level", "called"), [(0.12, False), (0.5, True)])
def test_a_model_that_comes_to_its_targets_is_not_kept_from_them(
    level: float, called: bool
) -> None:
    scene = of_loss("mse").run(90, never_negative(level))  # type: ignore[arg-type]
    assert ("loss-plateau" in {flag.kind for flag in scene.changes}) == called


@pytest.mark.parametrize(("share", "named"), [(0.98, True), (0.75, False)])
def test_labels_that_are_nearly_all_of_one_class_leave_outputs_that_are_all_alike(
    share: float, named: bool
) -> None:
    def alike(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(
            information=1e-5, out_variance=5e-6, label_entropy=0.12, majority_share=share,
            majority_predicted=1.0, rare_recall=0.0, neighbour_agreement=0.8,
        )  # fmt: skip

    causes = of_loss("cross_entropy").run(200, alike).causes
    assert ("class-imbalance" in causes[:1]) == named


@pytest.mark.parametrize(("directions", "called"), [(1.0, True), (3.0, False)])
def test_answers_that_all_lie_on_one_line_can_only_rank_the_classes(
    directions: float, called: bool
) -> None:
    def ranked(sample: SceneSample) -> None:
        sample.loss = 1.36 + 0.25 * math.exp(-sample.step / 40)
        sample.model(
            loss=sample.loss, loss_constant=1.61, label_entropy=1.61, information=0.13,
            skill=1 - sample.loss / 1.61, neighbour_agreement=0.57, participation=directions,
        )  # fmt: skip

    scene = of_loss("cross_entropy").run(300, ranked)
    assert ("loss-plateau" in scene.standing) == called


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

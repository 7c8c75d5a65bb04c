"""Alarms that came too soon on runs that learn, and causes that hid behind their neighbours."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rules_builds import SGD, layer, linear, of_loss, scene_of
from rules_scene import Scene, SceneSample

LINEAR = ("fc1", "fc2", "fc3")


# --- alarms
@pytest.mark.parametrize("every", [1, 50])
def test_a_long_first_step_that_is_being_made_good_did_no_harm(every: int) -> None:
    def on_its_way(sample: SceneSample) -> None:
        if sample.step == 1:
            sample.layer("fc1", update_ratio=1.4)
        skill = 0.6 - 2.6 * math.exp(-sample.step / 60)
        sample.loss = 0.28 * (1 - skill)
        sample.lost = lambda step: 0.28 * (0.4 + 2.6 * math.exp(-step / 60))
        sample.model(
            loss=sample.loss, loss_constant=0.28, skill=skill, information=np.nan,
            label_entropy=np.nan, sigma_share=1 - math.exp(-sample.step / 60),
        )  # fmt: skip

    scene = of_loss("mse").run(400, on_its_way, every=every)
    assert "critical" not in {flag.severity for flag in scene.changes}


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


# --- causes
def test_a_clipped_gradient_of_which_a_part_is_measured_leaves_decay_to_shrink_the_weights() -> (
    None
):
    def clipped(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(neighbour_agreement=0.9, grad_norm=1e-5 * (1 - 0.05 * (sample.step % 3)))
        for name in LINEAR:
            shrunk = math.exp(-3e-4 * sample.step)
            sample.layer(name, update_ratio=3e-4, weight_growth=shrunk, pull_to_zero=1.0)

    scene = of_loss("cross_entropy", SGD).run(250, clipped)
    assert scene.causes[0] == "learning-rate-too-low"
    assert "over-regularisation" not in scene.causes


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


@pytest.mark.parametrize(("agreement", "named"), [(0.25, True), (0.9, False)])
def test_what_a_sound_network_cannot_learn_may_lie_in_the_labels(
    agreement: float, named: bool
) -> None:
    def nothing_learnt(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(neighbour_agreement=agreement, information=0.005)

    causes = of_loss("cross_entropy").run(250, nothing_learnt).engine.causes()
    assert any(c.cause == "label-noise" and c.confidence < 0.6 for c in causes) == named


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

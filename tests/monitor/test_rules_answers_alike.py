"""What batches are to be answered with: all the same from some step on, or ruled by a few."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from rules_scene import Scene, SceneSample
from test_rules_data import fed, scene, top

Bend = Callable[[SceneSample], None]


def of_values(sample: SceneSample, **more: float) -> None:
    unknown = (
        "information", "label_entropy", "batch_label_entropy", "top_share", "majority_share",
        "majority_predicted",
    )  # fmt: skip
    nothing = dict.fromkeys(unknown, math.nan)
    usual = {"target_sd": 1.0, "target_mean": 0.0, "target_kurtosis": 3.0, "sigma_share": 0.8}
    fed(**(nothing | usual | more))(sample)


def of_tags(sample: SceneSample, **more: float) -> None:
    """Six yes/no answers a row: no class is the largest."""
    nothing = dict.fromkeys(("top_share", "majority_share", "majority_predicted"), math.nan)
    fed(**(nothing | {"target_mean": 0.36, "label_entropy": 0.64} | more))(sample)


def tagging() -> Scene:
    return scene(rows=32, classes=6, loss="bce_logits")


@pytest.mark.parametrize("every", [1, 10])
def test_tags_that_are_all_off_from_some_step_on_are_bad_data(every: int) -> None:
    def off(sample: SceneSample) -> None:
        of_tags(sample, batch_label_entropy=0.0)

    made = tagging().run(160, of_tags, every=every)
    assert "input-anomaly" not in made.standing
    made.run(3 * every, off, every=every)
    assert "all labels of a batch are the same" in made.standing["input-anomaly"].message
    assert top(made).cause == "bad-data"


def test_a_batch_without_a_rare_tag_is_no_change() -> None:
    def rare(sample: SceneSample) -> None:
        of_tags(sample, target_mean=0.03, label_entropy=0.31, batch_label_entropy=1.0)

    def none(sample: SceneSample) -> None:
        rare(sample)
        sample.model(batch_label_entropy=0.0)

    assert "input-anomaly" not in tagging().run(160, rare).run(5, none).standing


def values_stick(startling: bool) -> Scene:
    """Targets that vary for 170 steps and are one figure from there on."""

    def alike(sample: SceneSample) -> None:
        of_values(sample, batch_label_entropy=0.0)
        learnt = 9.0 * 0.8 ** (sample.step - 171) if startling else 0.01
        sample.loss = max(learnt, 1e-3)
        sample.model(loss=sample.loss, skill=0.5, loss_constant=1.0)

    def varied(sample: SceneSample) -> None:
        of_values(sample)
        sample.loss = 0.05
        sample.model(loss=0.05, skill=0.95, loss_constant=1.0)

    return scene(classes=1, loss="mse").run(170, varied).run(20, alike)


def test_targets_that_stick_at_one_figure_are_bad_data_from_that_step_on() -> None:
    made = values_stick(startling=True)
    flag = made.standing["input-anomaly"]
    assert (flag.onset_step, flag.raised_step) == (171, 173)
    assert top(made).cause == "bad-data"


def test_targets_that_the_model_saw_come_may_be_all_the_same() -> None:
    assert "input-anomaly" not in values_stick(startling=False).standing


def ruled(agreement: float, kurtosis: float = 90.0) -> Bend:
    """One target in thirty is far out; what falls of the loss is learnt of those by heart."""

    def bend(sample: SceneSample) -> None:
        of_values(sample, target_kurtosis=kurtosis, target_sd=27.0, neighbour_agreement=agreement)
        left = 0.8 - sample.step / 1500
        level = 700 * (2 * left if sample.step % 2 else 0.01)
        sample.loss, sample.lost = level, lambda step: 700 * (2 * left if step % 2 else 0.01)
        sample.model(loss=level, skill=1 - left, loss_constant=700.0, sigma_share=0.05)

    return bend


@pytest.mark.parametrize("every", [1, 10, 50])
def test_targets_far_out_that_no_input_tells_of_are_noise_however_well_they_are_learnt(
    every: int,
) -> None:
    made = scene(classes=1, loss="mse").run(300, ruled(0.02), every=every)
    assert "a few targets far out" in made.standing["constant-predictor"].message
    assert top(made).cause == "label-noise"


@pytest.mark.parametrize(
    ("loss", "bend"),
    [("huber", ruled(0.02)), ("mse", ruled(0.4)), ("mse", ruled(0.02, kurtosis=6.0))],
    ids=["a loss chosen for them", "inputs that tell", "tails that are usual"],
)
def test_far_targets_that_are_told_or_cost_little_are_silent(loss: str, bend: Bend) -> None:
    assert "constant-predictor" not in scene(classes=1, loss=loss).run(300, bend).standing


@pytest.mark.parametrize(("loss", "noise"), [("mse", True), ("huber", False), ("l1", False)])
def test_far_targets_rule_the_losses_that_square_them(loss: str, noise: bool) -> None:
    """Daily returns: 7 % of the loss is all that can be explained, and it was found."""

    def returns(sample: SceneSample) -> None:
        of_values(sample, target_kurtosis=48.0, neighbour_agreement=0.03, sigma_share=0.3)
        sample.loss, sample.lost = 0.93, lambda step: 0.93
        sample.model(loss=0.93, skill=0.07, loss_constant=1.0)

    made = scene(classes=1, loss=loss).run(400, returns)
    assert ("constant-predictor" in made.standing) is noise
    assert ("label-noise" in [each.cause for each in made.engine.causes()]) is noise

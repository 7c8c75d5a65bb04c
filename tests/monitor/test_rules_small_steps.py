"""Steps too small or undone: what made them so, and decay that takes their place."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rules_builds import SGD, of_loss
from rules_scene import Scene, SceneSample


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

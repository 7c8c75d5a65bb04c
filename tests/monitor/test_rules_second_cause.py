"""Which cause is named beside the first, and what must not stand in the way of the first."""

from __future__ import annotations

import math

import pytest
from rules_builds import label_free, layer, linear, scene_of, trained_by
from rules_scene import Scene, SceneSample

WEIGHTS = ("fc1", "fc2", "fc3")


def _weights(sample: SceneSample, **values: float) -> None:
    for name in WEIGHTS:
        sample.layer(name, **values)


def _broken(sample: SceneSample) -> None:
    sample.loss = math.nan
    sample.model(loss=math.nan, nonfinite=1, grad_norm=math.nan)
    for name in (*WEIGHTS, "act1", "act2"):
        sample.layer(name, nonfinite=1, out_variance=math.nan, out_rms=math.nan)
    _weights(sample, weight_growth=math.nan, grad_rms=math.nan, update_ratio=math.nan)


def test_a_first_step_that_nothing_followed_takes_no_later_break_for_its_work() -> None:
    # As Adagrad's first step is, whose size is the rate's whatever the gradient.
    def breaks(sample: SceneSample) -> None:
        if sample.step == 1:
            _weights(sample, update_ratio=0.4)
        if sample.step >= 130:
            _broken(sample)

    scene = Scene().run(200, breaks, every=10)
    assert "non-finite" in scene.standing
    assert scene.causes[:2] == ["numerical-overflow", "bad-data"]


def test_large_steps_after_gradients_that_pile_up_are_no_second_cause() -> None:
    def piles(sample: SceneSample) -> None:
        for name in WEIGHTS:
            sample.layer(name, grad_left=1.0 if sample.step > 1 else 0.0, grad_cosine=0.99)
        if sample.step > 50:
            sample.loss = 20.0
            sample.model(loss=20.0, skill=-8, grad_norm=50)
            _weights(sample, update_ratio=0.5, weight_growth=9)

    assert Scene().run(150, piles).causes == ["missing-zero-grad"]


def test_gradients_that_piled_up_until_all_was_dead_are_remembered() -> None:
    def dies(sample: SceneSample) -> None:
        kept = 1.0 if sample.step > 1 else 0.0
        _weights(sample, grad_left=kept, update_ratio=0.1, weight_growth=1 + sample.step)
        if sample.step > 60:
            # Somebody clears every hundred steps; then there is nothing left to clear.
            sample.no_better_than_constant()
            sample.model(out_variance=0.0, information=0.0)
            sample.layer("act2", dead_units=1.0, zero_share=1.0, out_variance=0.0, out_rms=0.0)
            sample.layer("fc3", out_variance=0.0)
            _weights(sample, grad_rms=0.0, grad_left=math.nan, has_grad=1.0, update_ratio=1e-9)

    assert Scene().run(300, dies).causes[0] == "missing-zero-grad"


@pytest.mark.parametrize(
    ("kept", "wanted"), [(1.0, "missing-zero-grad"), (0.0, "learning-rate-too-high")]
)
def test_old_gradients_at_two_samples_far_apart_before_a_break(kept: float, wanted: str) -> None:
    def second_phase(sample: SceneSample) -> None:
        sample.lost = lambda step: 0.6 if step <= 200 else 0.6 * 1.2 ** (step - 200)
        _weights(sample, grad_left=kept if 200 < sample.step <= 300 else 0.0, has_grad=1.0)
        if 200 < sample.step <= 300:
            _weights(sample, update_ratio=0.35, weight_growth=100)
            sample.model(loss=sample.lost(sample.step), skill=-9, grad_norm=60)
        if sample.step > 300:
            _broken(sample)
            sample.lost = lambda step: math.nan

    assert Scene().run(400, second_phase, every=50).causes[0] == wanted


def test_weights_that_leapt_between_two_samples() -> None:
    def leaps(sample: SceneSample) -> None:
        sample.lost = lambda step: 1e6 if 20 < step < 40 else 2.31
        if sample.step >= 50:
            sample.no_better_than_constant()
            sample.lost = lambda step: 1e6 if 20 < step < 40 else 2.31
            sample.model(out_variance=0.0, information=0.0, grad_norm=1e-3)
            _weights(sample, weight_growth=4e4, grad_rms=1e-9, update_ratio=1e-8)
            for name in ("act1", "fc2", "act2", "fc3"):
                sample.layer(name, out_variance=0.0)

    scene = Scene().run(300, leaps, every=50)
    assert "output-collapse" in scene.standing
    assert scene.causes == ["learning-rate-too-high"]
    assert "lie between two samples" in scene.engine.causes()[0].evidence[0]


def test_a_rate_raised_between_two_samples_is_dated_by_the_first_loss_that_broke() -> None:
    def spike(sample: SceneSample) -> None:
        sample.lost = lambda step: 0.5 if step <= 221 else 500.0
        sample.model(lr=1e-3, loss=sample.lost(sample.step))
        if sample.step > 221:
            sample.model(lr=1.0, skill=-200)
            _weights(sample, update_ratio=5.0, weight_growth=100)

    cause = Scene().run(400, spike, every=50).engine.causes()[0]
    assert (cause.cause, cause.onset_step) == ("learning-rate-too-high", 221)


def test_weights_that_grew_a_hundredfold_by_steps_none_of_which_is_large() -> None:
    def runs_away(sample: SceneSample) -> None:
        sample.lost = lambda step: 2.3 * 1.1 ** min(step, 100)
        sample.model(loss=sample.lost(sample.step), skill=-9, information=math.nan)
        _weights(sample, weight_growth=1.1 ** min(sample.step, 60), update_ratio=0.1)

    causes = Scene().run(150, runs_away).engine.causes()
    assert causes[0].cause == "learning-rate-too-high"
    assert any("one after the other" in line for line in causes[0].evidence)


def test_a_signal_that_was_lost_at_birth_is_told_beside_a_step_that_was_too_large() -> None:
    names = [
        each
        for i in range(6)
        for each in (linear(f"fc{i}", 32, 32), layer(f"act{i}", "ReLU", "relu"))
    ]

    def deep(sample: SceneSample, faint: float) -> None:
        if sample.step == 1:
            for i in range(6):
                lost = 0.5 * faint ** (i / 5)
                sample.layer(f"fc{i}", update_ratio=0.5, out_variance=lost)
                sample.layer(f"act{i}", out_variance=lost)
            sample.model(update_ratio=0.5)
        sample.loss = 2.3 if sample.step == 1 else 6.0
        sample.model(loss=sample.loss, skill=-1.6)

    def causes(faint: float) -> list[str]:
        scene = scene_of([*names, linear("head", 32, 10)], model={"loss": "cross_entropy"})
        return scene.run(60, lambda sample: deep(sample, faint)).causes

    assert causes(1.0) == causes(1e-3)
    assert "depth-vanishing" not in causes(1.0)
    assert causes(1e-10)[:2] == ["learning-rate-too-high", "depth-vanishing"]


def test_a_scaler_that_left_out_most_steps_is_no_matter_of_the_rate() -> None:
    def skips(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(
            skipped=min(0.7, sample.step / 20), neighbour_agreement=0.9, update_ratio=math.nan
        )
        _weights(sample, weight_drift=0.0, weight_growth=1.0, update_ratio=math.nan)

    scene = Scene().run(300, skips, every=50)
    assert scene.causes[0] == "detached-graph"
    assert "learning-rate-too-low" not in scene.causes
    assert "GradScaler" in scene.engine.causes()[0].advice


@pytest.mark.parametrize(("best", "named"), [(2.5, True), (1.2, False)])
def test_what_held_for_no_other_row_may_be_labels_at_random(best: float, named: bool) -> None:
    def by_heart(sample: SceneSample) -> None:
        sample.model(eval_loss=best + max(0, sample.step - 60) / 60)

    scene = trained_by().run(500, by_heart, every=5)
    assert scene.causes[0] == "overfitting"
    assert ("label-noise" in scene.causes) == named


def test_a_majority_that_is_named_more_often_than_it_comes_is_told_beside_overfitting() -> None:
    def uneven(sample: SceneSample) -> None:
        sample.model(
            eval_loss=3.0 + sample.step / 100, majority_share=0.86, majority_predicted=0.90
        )

    scene = trained_by(prediction=(16, 10), target=(16,)).run(250, uneven, every=50)
    assert scene.causes[0] == "overfitting"
    assert "class-imbalance" in scene.causes


def test_a_generator_whose_samples_were_all_the_same_has_lost_its_modes() -> None:
    scene = scene_of(
        [
            linear("g1", 16, 64, "generator"),
            linear("g2", 64, 64, "generator"),
            linear("d1", 64, 64, "discriminator"),
            linear("d2", 64, 1, "discriminator"),
        ]
    )

    def wild(sample: SceneSample, one: bool) -> None:
        for row in (0, 1):
            sample.model(row, information=1e-3, skill=math.nan, label_entropy=math.nan)
        sample.model(0, diversity=9.0, out_variance=0.0 if one else 0.3)
        sample.loss = 0.7

    scene.run(200, lambda s: wild(s, one=False)).run(60, lambda s: wild(s, one=True))
    assert "output-collapse" in scene.standing
    assert scene.causes[0] == "adversarial-mode-collapse"


@pytest.mark.parametrize("shrinks", [True, False])
def test_targets_that_a_second_view_makes_are_no_noisy_labels(shrinks: bool) -> None:
    def views(sample: SceneSample) -> None:
        label_free(sample)
        left = 0.5 ** (sample.step / 10) if shrinks else 1.0
        sample.loss = max(left, 0.3)
        sample.model(out_sd=0.7 * left)
        sample.model(out_variance=0.0, target_mean=0.0, target_sd=0.05 * left, target_kurtosis=40.0)
        sample.layer("fc3", out_variance=0.0)

    scene = trained_by("mse", prediction=(64, 10), target=(64, 10)).run(60, views)
    assert "output-collapse" in scene.standing
    blamed = {"label-noise", "unscaled-targets"} & set(scene.causes)
    assert bool(blamed) != shrinks

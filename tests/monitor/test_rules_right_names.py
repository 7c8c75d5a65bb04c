"""Which of several causes is named: what could have made the symptoms, not what came with them."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from rules_builds import label_free, layer, linear, scene_of
from rules_scene import Scene, SceneSample

from deadband.wire import Layer
from deadband_monitor.rules.feed import Change, Feed
from deadband_monitor.rules.layout import Layout


def net(loss: str, rows: int = 64, units: int = 1, *more: Layer) -> Scene:
    classes = loss == "cross_entropy"
    return scene_of(
        [
            linear("fc1", 64, 32),
            layer("act1", "ReLU", "relu"),
            linear("fc2", 32, 32),
            layer("act2", "ReLU", "relu"),
            linear("fc3", 32, units),
            *more,
        ],
        model={
            "loss": loss,
            "loss_input": (rows, units),
            "loss_target": (rows,) if classes else (rows, units),
        },
    )


def thrown(sample: SceneSample) -> None:
    """What a ruinous first step leaves behind."""
    sample.loss = 50.0 + sample.step % 7
    sample.model(loss=sample.loss, skill=-20, information=1e-4, grad_norm=100)
    for name in ("fc1", "fc2", "fc3"):
        sample.layer(name, update_ratio=6.0 if sample.step < 3 else 0.05, weight_growth=9)


def test_a_faint_doubt_about_the_labels_does_not_excuse_a_ruinous_rate() -> None:
    def bend(sample: SceneSample) -> None:
        thrown(sample)
        if sample.step == 1:
            sample.model(grad_norm=0.5)
        sample.model(neighbour_agreement=0.09, majority_share=0.5)

    made = net("cross_entropy", units=10).run(120, bend)
    assert "update-too-large" in made.standing
    assert made.causes[0] == "learning-rate-too-high"


def values(sample: SceneSample, **more: float) -> None:
    label_free(sample)
    usual = {"target_mean": 0.2, "target_sd": 0.3, "target_min": -0.2, "target_max": 1.1}
    sample.model(0, target_kurtosis=3.0, sigma_share=0.3, coupling=0.2, out_max=0.9)
    sample.model(0, **(usual | more))


@pytest.mark.parametrize(("loss", "named"), [(0.1, False), (0.015, True), (0.005, False)])
def test_what_lies_out_of_reach_is_blamed_for_no_more_than_it_can_cost(
    loss: float, named: bool
) -> None:
    def bumps(sample: SceneSample) -> None:
        # Never below zero, like a sum of bumps; the noise of the targets is.
        values(sample, out_min=0.0)
        sample.loss = loss
        sample.model(loss=loss)

    made = net("mse").run(60, bumps)
    assert ("output-activation-mismatch" in made.causes) is named
    assert all(cause.confidence <= 0.85 for cause in made.engine.causes())


def test_an_output_that_stays_above_zero_is_told_by_samples_that_lie_apart() -> None:
    def out_of_reach(sample: SceneSample) -> None:
        values(sample, out_min=0.0, target_min=-2.7, target_mean=-1.0, target_sd=1.0)
        sample.loss = 1.9
        sample.model(loss=1.9)

    made = net("mse").run(360, out_of_reach, every=50)
    assert made.causes[0] == "output-activation-mismatch"


def test_a_parameter_behind_the_last_layer_does_not_hide_what_makes_the_output() -> None:
    def stars(sample: SceneSample) -> None:
        values(sample, out_min=-0.9, target_min=1.0, target_max=5.0, target_mean=3.0, target_sd=1.1)
        sample.loss = 9.0
        sample.model(loss=9.0, out_rms=0.8)
        sample.layer("end", out_rms=0.8, out_variance=0.4)
        sample.layer("usual", weight_rms=0.5, out_rms=np.nan, out_variance=np.nan)

    end = layer("end", "Tanh", "tanh", 1)
    usual = msgspec.structs.replace(layer("usual", "Parameter", "", 1), parameters=1)
    made = net("mse", 64, 1, end, usual).run(12, stars)
    assert made.causes[0] == "output-activation-mismatch"
    assert made.engine.causes()[0].layer == "end"


@pytest.mark.parametrize(("rows", "named"), [(12, "low-data-diversity"), (30, "overfitting")])
def test_a_batch_of_less_than_two_rows_a_class_is_no_data_set(rows: int, named: str) -> None:
    def by_heart(sample: SceneSample) -> None:
        sample.model(
            in_rows=rows, in_distinct=rows / (rows * sample.step), in_per_feature=rows / 64,
            in_repeat=1.0, eval_loss=1.0 if sample.step < 60 else 1.0 + sample.step / 20,
        )  # fmt: skip
        sample.loss = 2.3 * math.exp(-sample.step / 15)
        sample.model(loss=sample.loss)

    made = net("cross_entropy", rows, 10).run(200, by_heart)
    assert {"input-anomaly", "overfitting"} <= set(made.standing)
    assert made.causes[0] == named


def repeated_every_tenth(floor: float) -> Change | None:
    """One batch from step 60 on, seen every tenth step, until its loss swings about a floor."""
    feed, layout = Feed(), Layout(net("cross_entropy", units=10).table)
    chance = np.random.default_rng(5)
    for step in [*range(1, 11), *range(20, 400, 10)]:
        sample = SceneSample(net("cross_entropy", units=10), step)
        sample.model(in_repeat=1.0 if step >= 60 else 0.05, in_distinct=0.6)
        steps = range(step - 9 if step > 10 else step, step + 1)
        losses = [2 * math.exp(-max(0, k - 60) / 20) + floor * chance.random() for k in steps]
        feed.absorb(step, sample.models[0].tolist(), losses, layout, 0)
    return feed.change


def test_a_batch_that_was_learnt_by_heart_stays_the_same_one() -> None:
    assert repeated_every_tenth(0.01) is Change.REPEATED
    assert repeated_every_tenth(2.0) is None


def after(step: int, first: bool) -> Scene:
    """Two models, the second fed by the first, which breaks at `step` if it is said to."""
    names = ("fc1", "act1", "fc2")
    scene = Scene(names, ("codes", "head"))
    head = len(names)

    def bend(sample: SceneSample) -> None:
        sample.model(0, in_repeat=0.05)
        sample.model(1, in_repeat=0.05)
        if sample.step < step:
            return
        sample.loss = math.nan
        sample.model(1, nonfinite=1, in_rms=np.nan, loss=np.nan, in_constant=0.1, in_repeat=1.0)
        sample.layers[head:, :] = np.nan
        sample.layers[head:, 2] = 1
        if first:
            sample.model(0, nonfinite=1, loss=np.nan)
            sample.layers[:head, :] = np.nan
        for name in names:
            sample.layer(name, nonfinite=1.0)

    return scene.run(step + 8, bend)


def test_inputs_that_a_broken_model_handed_on_are_not_bad_data() -> None:
    causes = [cause for cause in after(30, first=True).engine.causes() if cause.model == "head"]
    assert [cause.cause for cause in causes] == ["numerical-overflow"]


def test_inputs_that_broke_before_any_model_did_are_bad_data() -> None:
    # The first model's outputs stay finite: what is not comes back to it as a gradient.
    causes = [cause for cause in after(30, first=False).engine.causes() if cause.model == "head"]
    assert causes[0].cause == "bad-data"


@pytest.mark.parametrize(("rate", "named"), [(0.9, True), (0.1, False)])
def test_answers_that_are_lost_after_the_rate_rose_are_blamed_on_it(
    rate: float, named: bool
) -> None:
    def lost(sample: SceneSample) -> None:
        sample.loss = 2.3
        sample.model(lr=rate, skill=-0.01, information=0, out_variance=0, out_sd=0, loss=2.3)

    made = net("cross_entropy", units=10).run(200).run(60, lost)
    assert "output-collapse" in made.standing
    assert ("learning-rate-too-high" in made.causes) is named


@pytest.mark.parametrize(("large", "spread"), [(True, 4.0), (True, 27.0), (False, 4.0)])
def test_targets_far_out_break_a_run_by_large_updates_or_not_at_all(
    large: bool, spread: float
) -> None:
    def ruled(sample: SceneSample) -> None:
        label_free(sample)
        if large:
            thrown(sample)
        sample.model(
            target_kurtosis=60.0, target_sd=spread, target_mean=0.0, target_min=-300, target_max=300
        )
        if sample.step > 40:
            sample.loss = math.nan
            sample.model(
                nonfinite=1, loss=np.nan, target_kurtosis=np.nan, target_sd=np.nan, out_rms=np.nan
            )
            for name in ("fc1", "fc2", "fc3"):
                sample.layer(name, nonfinite=1, out_rms=np.nan, update_ratio=np.nan)

    made = net("mse", units=6).run(60, ruled)
    assert "non-finite" in made.standing
    assert ("label-noise" in made.causes[:1]) is large


@pytest.mark.parametrize(
    ("alive", "update", "named"), [(0.4, 0.2, True), (0.001, 0.2, False), (0.4, 0.02, False)]
)
def test_what_told_the_inputs_apart_until_some_wide_steps_was_lost_by_the_rate(
    alive: float, update: float, named: bool
) -> None:
    def lost(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(out_variance=alive if sample.step < 8 else 0, update_ratio=update)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=update)
        variance = alive if sample.step == 1 else 1e-12
        sample.layer("fc3", out_variance=variance if sample.step < 8 else 0)

    made = Scene().run(200, lost)
    assert "output-collapse" in made.standing
    assert ("learning-rate-too-high" in made.causes) == named


@pytest.mark.parametrize(("skill", "named"), [(0.97, False), (0.4, True)])
def test_inputs_that_training_answers_by_are_not_what_fails_in_evaluation(
    skill: float, named: bool
) -> None:
    def apart(sample: SceneSample) -> None:
        sample.loss = 2.3 * (1 - skill)
        sample.model(loss=sample.loss, skill=skill, in_variance=0.01, in_rms=2.7, in_max=3.0)
        if sample.step % 20 == 0:
            sample.model(eval_loss=2.0 + sample.step / 20)

    made = Scene().run(240, apart)
    assert "overfitting" in made.standing
    assert ("unnormalised-inputs" in made.causes) == named


@pytest.mark.parametrize(("positions", "named"), [(1.0, True), (0.2, False)])
def test_tokens_beside_positions_twenty_times_as_large_are_not_heard(
    positions: float, named: bool
) -> None:
    def drowned(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.layer("tokens", out_rms=0.05)
        sample.layer("positions", out_rms=positions)

    made = scene_of(
        [layer("tokens", "Embedding"), layer("positions", "Embedding"), linear("head", 32, 10)],
        model={"loss": "cross_entropy"},
    )
    made.run(240, drowned)
    assert "constant-predictor" in made.standing
    assert ("bad-initialisation-scale" in made.causes) == named


@pytest.mark.parametrize(
    ("units", "behind", "named"), [(64, 64, True), (8, 8, False), (64, 32, False)]
)
def test_a_softmax_between_two_layers_is_named(units: int, behind: int, named: bool) -> None:
    def faint(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.layer("soft", out_rms=1 / units)

    made = scene_of(
        [
            linear("fc1", 32, units),
            layer("soft", "Softmax", "softmax", units),
            linear("fc2", behind, 10),
        ],
        model={"loss": "cross_entropy"},
    )
    made.run(240, faint)
    assert "constant-predictor" in made.standing
    assert ("saturating-activation" in made.causes) == named


def test_steps_that_threw_a_linear_model_are_not_its_lack_of_room() -> None:
    """A bounded gradient (smooth L1) does not rise tenfold, and weights and loss do."""

    def bend(sample: SceneSample) -> None:
        if sample.step > 1:
            thrown(sample)
        sample.model(grad_norm=0.5, neighbour_agreement=0.99)
        sample.layer("fc", update_ratio=2.0, weight_growth=3.0 * sample.step)

    told = {"loss": "smooth_l1", "loss_input": (64, 1), "loss_target": (64, 1)}
    assert scene_of([linear("fc", 4, 1)], model=told).run(200, bend).causes[0] == (
        "learning-rate-too-high"
    )


def test_weights_shown_before_each_step_had_not_grown_yet_when_first_seen() -> None:
    """Loops without an optimiser show them so: growth is told by the second sample."""

    def bend(sample: SceneSample) -> None:
        sample.model(in_max=1000, in_rms=490, in_variance=0.3)
        if sample.step > 1:
            thrown(sample)
            sample.layer("fc1", update_ratio=400.0)
        for name in ("fc1", "fc2", "fc3"):
            grown = math.nan if sample.step == 1 else 400.0
            rms, spread = (0.17, 2.4) if sample.step == 1 else (68.0, 960.0)
            sample.layer(name, weight_growth=grown, weight_rms=rms, weight_spread=spread)

    causes = net("cross_entropy", 64, 10).run(60, bend).causes
    assert causes[0] == "unnormalised-inputs"
    assert "bad-initialisation-scale" not in causes

"""Causes that the values themselves give away, and what looks like them and is not."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from rules_scene import Scene, SceneSample

from deadband.wire import Layer, Model
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.trend import LossTrend

Bend = Callable[[SceneSample], None]


def of(loss: str, names: tuple[str, ...] = ("fc1", "act1", "fc2", "act2", "fc3")) -> Scene:
    scene = Scene(names)
    model = msgspec.structs.replace(
        scene.table.models[0], loss=loss, loss_input=(32, 1), loss_target=(32, 1)
    )
    scene.table = msgspec.structs.replace(scene.table, models=(model,))
    assert isinstance(model, Model)
    return scene


@pytest.mark.parametrize(("loss", "cause"), [(0.7, "numerical-overflow"), (np.nan, "bad-data")])
def test_a_target_that_is_no_number_makes_the_loss_so_too(loss: float, cause: str) -> None:
    def broken(sample: SceneSample) -> None:
        # From the second step on the weights are what the first one's gradient made of them.
        now = loss if sample.step == 61 else np.nan
        sample.loss = now
        sample.model(loss=now, nonfinite=0.0 if now > 0 else 0.01)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, nonfinite=0.5, grad_rms=np.nan, update_ratio=np.nan)

    assert of("mse").run(60).run(3, broken).causes[0] == cause


@pytest.mark.parametrize(("sign", "cause"), [(-1, "loss-mismatch"), (1, "learning-rate-too-high")])
def test_a_loss_that_broke_on_its_way_down_has_no_least_value(sign: int, cause: str) -> None:
    begun: list[int] = []

    def runs_away(sample: SceneSample) -> None:
        begun.append(sample.step)
        sample.loss = sign * 2.0 * 4 ** len(begun)
        sample.model(loss=sample.loss, update_ratio=1.0, skill=-9.0)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=1.0, weight_growth=9.0, out_rms=1e6)

    def broken(sample: SceneSample) -> None:
        sample.loss = np.nan
        sample.model(loss=np.nan, nonfinite=1.0, out_rms=np.nan)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, nonfinite=1.0, out_rms=np.nan, update_ratio=np.nan)

    assert of("").run(20).run(12, runs_away).run(3, broken).causes[0] == cause


def no_gradient_before_the_head(sample: SceneSample) -> None:
    sample.no_better_than_constant()
    for name in ("fc1", "fc2"):
        sample.layer(name, out_grad_rms=0.0, grad_rms=0.0, update_ratio=0.0)


def test_a_gradient_that_ends_between_two_live_layers_was_cut_there() -> None:
    scene = of("cross_entropy", ("fc1", "fc2", "fc3")).run(150, no_gradient_before_the_head)
    assert scene.causes[0] == "detached-graph"
    assert scene.engine.causes()[0].layer == "fc2"


def test_a_gradient_that_ends_at_dead_units_was_not_cut() -> None:
    def dead(sample: SceneSample) -> None:
        no_gradient_before_the_head(sample)
        for name in ("act1", "act2"):
            sample.layer(name, dead_units=1.0, zero_share=1.0, out_rms=0.0, out_variance=0.0)

    assert "detached-graph" not in of("cross_entropy").run(150, dead).causes


def test_where_the_losses_left_their_level_is_remembered_when_they_sink_again() -> None:
    trend = LossTrend()
    losses = np.concatenate([np.linspace(2.0, 0.5, 100), np.full(20, 3.0), np.full(150, 0.9)])
    for step, loss in enumerate(losses, start=1):
        trend.add([float(loss)], [step])
    assert trend.jumped == 101
    sparse = LossTrend()
    for first in range(0, 250, 50):
        part = np.arange(first, first + 50)
        sparse.add(losses[part].tolist(), (part + 1).tolist())
    assert sparse.jumped == 101


def test_of_many_classes_a_jump_back_to_chance_is_less_than_twofold() -> None:
    trend = LossTrend()
    losses = [*np.linspace(3.2, 1.9, 150).tolist(), *([3.0] * 60)]
    for step, loss in enumerate(losses, start=1):
        trend.add([loss], [step])
    assert trend.jumped == 151
    halfway = LossTrend()
    for step, loss in enumerate([*losses[:150], *([2.6] * 60)], start=1):
        halfway.add([loss], [step])
    assert halfway.jumped is None


def test_single_bad_batches_are_no_jump() -> None:
    trend = LossTrend()
    for step in range(1, 300):
        loss = 3.0 if step % 20 < 3 and step > 100 else 0.5
        trend.add([float(loss)], [step])
    assert trend.jumped is None


def codes_rounded(sample: SceneSample, shut: bool, skill: float) -> None:
    """The decoder learns what it can of codes that stay as they were drawn."""
    sample.loss = 2.3 * (1 - skill * min(1.0, sample.step / 60))
    sample.model(loss=sample.loss, skill=1 - sample.loss / 2.3, information=0.4)
    for name in ("fc1", "fc2"):
        sample.layer(name, out_grad_rms=0.0, grad_rms=0.0, update_ratio=0.0)
    sample.layer("act1", out_grad_rms=0.0)
    if shut:
        sample.layer("act2", out_grad_rms=0.0, zero_share=1.0, out_rms=0.0, out_variance=0.0)


@pytest.mark.parametrize(
    ("shut", "skill", "called"), [(False, 0.4, True), (True, 0.4, False), (False, 0.95, False)]
)
def test_layers_behind_a_step_without_slope_are_told_though_the_loss_falls(
    shut: bool, skill: float, called: bool
) -> None:
    scene = Scene().run(60, lambda sample: codes_rounded(sample, shut, skill))
    flag = scene.standing.get("vanishing-gradient")
    assert (flag is not None and flag.severity == "warning") is called
    if called:
        assert scene.causes[0] == "detached-graph"
        assert flag is not None
        assert flag.raised_step < 20


def word_by_word(reached: float, varies: float) -> Scene:
    """A cell in a loop, of whose earlier words the gradient is `reached`."""
    scene = Scene()
    words = Layer(name="words", model="model", kind="Embedding", fan_in=12, units=12, parameters=9)
    cell = Layer(name="cell", model="model", kind="GRUCell", fan_in=12, units=72, parameters=9)
    again = msgspec.structs.replace(cell, name="cell@cell", parameters=0)
    layers = (words, cell, again, scene.table.layers[-1])
    scene.table = msgspec.structs.replace(scene.table, layers=layers)

    def told(sample: SceneSample) -> None:
        sample.loss = 1.5
        sample.model(loss=1.5, skill=0.3, information=0.3)
        sample.layer("words", out_grad_rms=reached, out_variance=varies, grad_rms=1e-3,
                     update_ratio=0.01)  # fmt: skip
        sample.layer("cell", out_grad_rms=np.nan, grad_rms=1e-3, update_ratio=0.01)
        sample.layer("cell@cell", out_grad_rms=np.nan)

    return scene.run(40, told)


def test_a_state_that_is_cut_from_its_past_is_told_by_the_words_before_the_last() -> None:
    scene = word_by_word(0.0, 0.8)
    assert scene.standing["vanishing-gradient"].layer == "cell"
    assert scene.causes[0] == "detached-graph"


@pytest.mark.parametrize(("reached", "varies"), [(1e-30, 0.8), (0.0, 0.0)])
def test_a_state_that_forgets_fast_or_is_masked_over_padding_is_not_cut(
    reached: float, varies: float
) -> None:
    scene = word_by_word(reached, varies)
    assert "vanishing-gradient" not in scene.standing
    assert "detached-graph" not in scene.causes


BEHIND = {"ReLU": 6.0, "sigmoid": 7.0, "tanh": 8.0, "clamp to 0..1": 13.0, "clamp to -1..1": 14.0}


def values(squashed: float, *, low: float, high: float) -> Bend:
    """Outputs far to both sides of zero, and targets in that range."""

    def bend(sample: SceneSample) -> None:
        sample.model(
            information=np.nan, top_share=np.nan, label_entropy=np.nan, batch_label_entropy=np.nan,
            out_min=-8, out_max=8, sigma_share=0.8, coupling=0.2, squashed=squashed,
            target_min=low, target_max=high, target_mean=(low + high) / 2,
            target_sd=(high - low) / 4,
        )  # fmt: skip

    return bend


@pytest.mark.parametrize("bend", BEHIND)
def test_an_activation_behind_the_model_cannot_reach_targets_either(bend: str) -> None:
    scene = of("mse").run(6, values(BEHIND[bend], low=-5, high=5))
    assert scene.standing["loss-plateau"].severity == "warning"
    cause = scene.engine.causes()[0]
    assert cause.cause == "output-activation-mismatch"
    assert f"{bend} behind the output" in cause.evidence[0]
    assert "between the model and the loss" in cause.advice


@pytest.mark.parametrize(("bend", "low"), [("ReLU", 0.0), ("sigmoid", 0.0), ("tanh", -1.0)])
def test_an_activation_behind_the_model_that_reaches_its_targets_is_sound(
    bend: str, low: float
) -> None:
    scene = of("mse").run(150, values(BEHIND[bend], low=low, high=1.0))
    assert not scene.standing


def test_a_loss_without_a_gradient_for_some_steps_is_no_relu_yet() -> None:
    scene = of("mse")

    def unweighted(sample: SceneSample) -> None:
        values(BEHIND["ReLU"], low=-5, high=5)(sample)
        sample.model(out_max=-0.1)
        sample.layers[:, LAYER_COLUMN["out_grad_rms"]] = 0.0
        sample.model(loss=1.0)

    scene.run(10, unweighted)
    assert "loss-plateau" not in scene.standing
    scene.run(30, unweighted)
    assert scene.causes[0] == "output-activation-mismatch"

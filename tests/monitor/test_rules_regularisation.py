"""Regularisation that is stronger than the data: scenes made by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import pytest
from rules_builds import linear, scene_of
from rules_scene import Scene, SceneSample

from deadband.wire import Cause, OptimizerGroup

MATRICES = ("fc1", "fc2", "fc3")


def decayed(scene: Scene, optimizer: str, lr: float, decay: float) -> Scene:
    group = OptimizerGroup(optimizer=optimizer, lr=lr, weight_decay=decay)
    scene.table = msgspec.structs.replace(scene.table, optimizers=(group,))
    return scene


def shrinking(sample: SceneSample) -> None:
    sample.no_better_than_constant()
    for name in MATRICES:
        sample.layer(name, weight_growth=0.9**sample.step, pull_to_zero=0.95)


def test_decay_that_rules_the_run_is_named_with_the_half_life_of_a_weight() -> None:
    scene = decayed(Scene(), "SGD", 0.1, 1.0).run(60, shrinking)
    assert "weight-collapse" in scene.standing
    cause = scene.engine.causes()[0]
    assert cause.cause == "over-regularisation"
    assert "weight_decay 1 -> 0.1 or less: half-life of a weight is 6.9 steps" in cause.advice


def test_a_penalty_in_the_loss_is_told_from_weight_decay() -> None:
    cause = decayed(Scene(), "SGD", 0.1, 0.0).run(60, shrinking).engine.causes()[0]
    assert cause.cause == "over-regularisation"
    assert "L1/L2 penalty" in cause.advice


def test_a_part_of_the_weights_that_decays_to_nothing_is_named() -> None:
    def part(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        for name in MATRICES[:2]:
            sample.layer(name, weight_growth=0.95**sample.step)

    scene = decayed(Scene(), "Adam", 3e-3, 0.3).run(120, part)
    assert "2 of 3 weight matrices" in scene.standing["weight-collapse"].message
    assert scene.causes[0] == "over-regularisation"


def test_one_weight_that_decays_to_nothing_is_spared() -> None:
    def one(sample: SceneSample) -> None:
        sample.layer("fc1", weight_growth=0.95**sample.step)

    assert "weight-collapse" not in decayed(Scene(), "Adam", 3e-3, 0.3).run(200, one).standing


def test_a_penalty_far_above_the_loss_is_named_where_the_weights_shrink() -> None:
    def outweighed(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        left = 0.99**sample.step
        sample.loss = 2.31 + 300 * left
        sample.model(loss=sample.loss, further_loss=300 * left)
        for name in MATRICES:
            sample.layer(name, weight_growth=max(0.3, left), pull_to_zero=0.2)

    cause = decayed(Scene(), "Adam", 1e-3, 0.0).run(240, outweighed).engine.causes()[0]
    assert cause.cause == "over-regularisation"
    assert "times the loss at first" in " ".join(cause.evidence)


@pytest.mark.parametrize(("added", "cause"), [(40, "over-regularisation"), (2, "dying-relu")])
def test_units_that_a_penalty_on_them_silenced_did_not_die_by_themselves(
    added: float, cause: str
) -> None:
    def silenced(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        further = added * 0.96**sample.step
        sample.loss = 2.31 + further
        sample.model(loss=sample.loss, further_loss=further)
        if sample.step > 80:
            for name in ("act1", "act2"):
                sample.layer(name, dead_units=1, out_variance=0, out_rms=0, zero_share=1)
            sample.model(out_variance=0, out_sd=0)

    assert decayed(Scene(), "Adam", 1e-3, 0.0).run(240, silenced).causes[0] == cause


def test_what_was_added_is_held_against_what_a_constant_answer_costs() -> None:
    # By the tenth sample, when the shares are told, much of the penalty is gone already.
    def outweighed(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        added = 3 + 31 * 0.96**sample.step
        sample.loss = 2.3 + added
        told = added if sample.step >= 10 else math.nan
        sample.model(loss=sample.loss, skill=-0.001, further_loss=told)
        for name in MATRICES:
            sample.layer(name, weight_growth=max(0.7, 0.99**sample.step), pull_to_zero=0.2)

    causes = decayed(Scene(), "Adam", 2e-3, 0.0).run(500, outweighed).causes
    assert causes[0] == "over-regularisation"


def test_steps_that_only_shrink_are_named_before_half_the_weights_are_gone() -> None:
    def pulled(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        for name in MATRICES:
            sample.layer(name, weight_growth=0.7, pull_to_zero=0.8)

    scene = Scene().run(200, pulled)
    assert "weight-collapse" not in scene.standing
    cause = scene.engine.causes()[0]
    assert cause.cause == "over-regularisation"
    assert any("towards zero" in line for line in cause.evidence)


def test_dropout_that_leaves_nothing_is_named_with_its_figure() -> None:
    scene = Scene()
    models = tuple(msgspec.structs.replace(m, dropout=0.95) for m in scene.table.models)
    scene.table = msgspec.structs.replace(scene.table, models=models)
    scene.run(200, lambda sample: sample.no_better_than_constant())
    cause = scene.engine.causes()[0]
    assert cause.cause == "over-regularisation"
    assert "dropout 0.95 -> 0.5 or less" in cause.advice


def forgets(sample: SceneSample) -> None:
    """Learns well, until at step 301 the loss jumps above a constant answer's and stays."""
    if sample.step > 300:
        sample.no_better_than_constant()
        sample.loss = 6.0
        sample.model(loss=6.0, skill=-1.6)


def test_dropout_that_is_raised_in_mid_run_is_named_from_that_step_on() -> None:
    scene = Scene().run(300, forgets)
    models = tuple(msgspec.structs.replace(m, dropout=0.85) for m in scene.table.models)
    scene.table = msgspec.structs.replace(scene.table, models=models)
    cause = scene.run(60, forgets).engine.causes()[0]
    assert (cause.cause, cause.onset_step) == ("over-regularisation", 301)
    assert any("it was 0 until it was raised" in line for line in cause.evidence)


@pytest.mark.parametrize(("decay", "called"), [(3.0, True), (0.03, False)])
def test_decay_that_is_raised_in_mid_run_is_named_from_that_step_on(
    decay: float, *, called: bool
) -> None:
    def throws(sample: SceneSample) -> None:
        """Momentum throws the weights past zero: no update is larger than these."""
        forgets(sample)
        if sample.step > 300:
            for name in MATRICES:
                sample.layer(name, update_ratio=0.8)

    scene = decayed(Scene(), "SGD", 0.1, 1e-4).run(300, throws)
    cause = decayed(scene, "SGD", 0.1, decay).run(60, throws).engine.causes()[0]
    assert (cause.cause == "over-regularisation") == called
    if called:
        assert cause.onset_step == 301
        assert cause.advice == "weight_decay 3 -> 0.0001, as it was"


@pytest.mark.parametrize(("since", "pull"), [(300, 0.5), (300, 0.0), (0, 0.5)])
def test_a_penalty_that_outweighs_the_loss_from_mid_run_on_made_the_large_steps(
    since: int, pull: float
) -> None:
    def throws(sample: SceneSample) -> None:
        if sample.step > since:
            sample.model(0, further_loss=60.0)
            sample.loss += 60.0
        if sample.step > 300:
            sample.loss = 70.0
            sample.model(loss=70.0, skill=-1.0)
            for name in MATRICES:
                sample.layer(name, update_ratio=0.8, pull_to_zero=pull)

    scene = decayed(Scene(), "SGD", 0.1, 1e-4).run(360, throws)
    assert scene.standing
    named = [cause for cause in scene.engine.causes() if "was added to" in cause.evidence[0]]
    assert bool(named) == (since > 0 and pull > 0)
    assert all((each.cause, each.onset_step) == ("over-regularisation", 301) for each in named)


def test_decay_of_an_optimiser_that_is_found_late_was_not_raised() -> None:
    scene = decayed(Scene().run(1, shrinking), "SGD", 0.1, 1.0).run(60, shrinking)
    cause = scene.engine.causes()[0]
    assert cause.cause == "over-regularisation"
    assert "weight_decay 1 -> 0.1 or less" in cause.advice


def test_usual_dropout_and_decay_are_not_blamed() -> None:
    scene = decayed(Scene(), "AdamW", 1e-3, 0.1)
    models = tuple(msgspec.structs.replace(m, dropout=0.5) for m in scene.table.models)
    scene.table = msgspec.structs.replace(scene.table, models=models)
    scene.run(200, lambda sample: sample.no_better_than_constant())
    assert "over-regularisation" not in scene.causes


def test_answers_that_say_less_and_less_are_not_learning() -> None:
    # Behind dropout of 0.9 the loss falls from 2.9 to that of a constant answer, and no further.
    def unlearning(sample: SceneSample) -> None:
        sample.loss = 2.32 + 0.6 * 0.99**sample.step
        skill = 1 - sample.loss / 2.3
        sample.model(loss=sample.loss, skill=skill, information=0.2 * 0.99**sample.step)

    assert "constant-predictor" in Scene().run(400, unlearning).standing


def test_behind_a_strong_dropout_noise_that_sinks_is_no_progress_however_seldom_it_is_seen() -> (
    None
):
    def sinking(sample: SceneSample, grows: float) -> None:
        sample.loss = 2.35 + 3.0 * 0.99**sample.step
        told = 0.1 + grows * sample.step
        sample.model(loss=sample.loss, skill=1 - sample.loss / 2.3, information=told)

    def strong() -> Scene:
        scene = Scene()
        models = tuple(msgspec.structs.replace(m, dropout=0.95) for m in scene.table.models)
        scene.table = msgspec.structs.replace(scene.table, models=models)
        return scene

    for every in (1, 10, 50):
        scene = strong().run(320, lambda sample: sinking(sample, 0.0), every=every)
        assert "constant-predictor" in scene.standing
        assert scene.causes[0] == "over-regularisation"
        learns = strong().run(320, lambda sample: sinking(sample, 2e-3), every=every)
        assert "constant-predictor" not in learns.standing


def deep(left: Sequence[float]) -> Cause:
    """Eight layers whose gradients are these at the first sample; all but the last decay."""
    names = [f"l{place}" for place in range(len(left))]
    made = scene_of([linear(name, 64, 64) for name in names], model={"loss": "cross_entropy"})

    def bend(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        for name, gradient in zip(names, left, strict=True):
            sample.layer(name, out_grad_rms=gradient, grad_rms=gradient)
        for name in names[:-1]:
            sample.layer(name, weight_growth=0.95**sample.step, pull_to_zero=0.9)

    return decayed(made, "Adam", 0.01, 5e-4).run(120, bend).engine.causes()[0]


def test_weights_that_decay_for_want_of_a_gradient_are_a_matter_of_depth() -> None:
    assert deep([10.0 ** (2 * place - 18) for place in range(8)]).cause == "depth-vanishing"
    assert deep([10.0 ** (place / 4 - 4) for place in range(8)]).cause == "over-regularisation"


def test_a_branch_that_is_left_out_at_once_is_no_matter_of_depth() -> None:
    assert deep([1e-14, *[1e-3] * 7]).cause == "over-regularisation"


def jumping(sample: SceneSample, pull: float) -> None:
    """What was learnt in 149 steps is outweighed from step 150 on."""
    late = sample.step >= 150
    if late:
        sample.loss += 160
        sample.model(loss=sample.loss, skill=-60.0, grad_norm=15.0)
    for name in MATRICES:
        sample.layer(name, pull_to_zero=pull if late else -0.1)


def test_a_penalty_that_sets_in_is_named_by_the_jump_and_by_where_the_steps_turn() -> None:
    # A scene's losses in between are those of the sample that brings them.
    for every, since in ((1, 150), (50, 101)):
        scene = Scene().run(250, lambda sample: jumping(sample, 0.8), every)
        assert "loss-divergence" in scene.standing
        cause = scene.engine.causes()[0]
        assert (cause.cause, cause.onset_step) == ("over-regularisation", since)


def test_a_penalty_that_sets_in_came_before_what_its_steps_do_to_the_weights() -> None:
    def swept(sample: SceneSample) -> None:
        jumping(sample, 0.8)
        left = 0.9 ** max(0, sample.step - 155)
        for name in MATRICES:
            large = 0.31 if sample.step == 160 else 0.05
            sample.layer(name, weight_growth=3.2 * left, update_ratio=large)

    scene = Scene().run(250, swept)
    assert {"weight-collapse", "update-too-large"} <= scene.standing.keys()
    cause = scene.engine.causes()[0]
    assert (cause.cause, cause.onset_step) == ("over-regularisation", 150)


def test_decay_is_what_is_left_to_units_that_died_with_the_jump() -> None:
    def shut(sample: SceneSample) -> None:
        jumping(sample, 0.8)
        if sample.step >= 150:
            sample.layer("act1", dead_units=1, out_variance=0, out_rms=0, zero_share=1)

    scene = Scene().run(250, shut)
    assert "dead-units" in scene.standing
    assert "over-regularisation" not in scene.causes


def test_a_loss_that_jumps_while_the_steps_go_on_as_before_is_no_penalty() -> None:
    scene = Scene().run(250, lambda sample: jumping(sample, 0.1))
    assert "loss-divergence" in scene.standing
    assert "over-regularisation" not in scene.causes


def test_what_two_models_make_of_one_loss_is_no_penalty_of_either() -> None:
    def at_odds(sample: SceneSample) -> None:
        jumping(sample, 0.8 if sample.step < 160 else 0.1)
        if sample.step >= 150:
            sample.model(0, out_variance=0.0, out_sd=0.0, information=0.0, skill=math.nan)

    assert "over-regularisation" in Scene().run(250, at_odds).causes
    scene = Scene(models=("generator", "critic")).run(250, at_odds)
    assert "output-collapse" in scene.standing
    assert "over-regularisation" not in scene.causes


def test_a_penalty_that_holds_the_logits_is_named_by_its_gradient() -> None:
    def held(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(squashed=12.0, neighbour_agreement=0.95)

    cause = Scene().run(250, held).engine.causes()[0]
    assert cause.cause == "over-regularisation"
    assert "no logit gets beyond 1" in cause.evidence[0]


@pytest.mark.parametrize(("said", "named"), [(0.0, False), (0.5, True)])
def test_decay_took_nothing_from_an_output_that_was_the_same_before_the_first_update(
    said: float, named: bool
) -> None:
    def silent(sample: SceneSample) -> None:
        shrinking(sample)
        apart = said if sample.step < 10 else 0.0
        sample.model(out_variance=apart, information=apart)
        sample.layer("fc3", out_variance=apart)

    scene = decayed(Scene(), "SGD", 0.1, 1.0).run(60, silent)
    assert "output-collapse" in scene.standing
    assert ("over-regularisation" in scene.causes) is named

"""Losses that jump, weights that grow, rates that are too low and why: scenes made by hand."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from rules_builds import label_free, trained_by
from rules_scene import Scene, SceneSample

from deadband.wire import OptimizerGroup


def optimised_by(scene: Scene, optimizer: str = "SGD", **settings: float) -> Scene:
    betas = (0.9, 0.999) if optimizer.startswith("Adam") else (0.0, 0.0)
    group = OptimizerGroup(optimizer=optimizer, lr=0.1, betas=betas, **settings)
    scene.table = msgspec.structs.replace(scene.table, optimizers=(group,))
    return scene


def back_to_the_start(sample: SceneSample) -> None:
    sample.loss = 2.2
    sample.model(loss=2.2, skill=0.04)


def test_a_loss_that_jumps_back_to_its_start_is_flagged_within_twenty_steps() -> None:
    scene = Scene().run(600)
    assert not scene.standing
    scene.run(25, back_to_the_start)
    flag = scene.standing["loss-divergence"]
    assert flag.severity == "warning"
    assert flag.raised_step <= 620
    assert abs(flag.onset_step - 601) <= 2
    scene.run(60, back_to_the_start)
    assert scene.standing["loss-divergence"].severity == "critical"


def test_a_loss_that_comes_back_within_ten_steps_is_a_note_at_most() -> None:
    scene = Scene().run(500)
    scene.run(10, back_to_the_start).run(200)
    assert all(flag.severity == "info" for flag in scene.engine.flags)
    assert scene.engine.verdict() == "healthy"


def test_a_solved_loss_may_rise_tenfold() -> None:
    def solved(sample: SceneSample) -> None:
        sample.loss = 1e-3
        sample.model(loss=1e-3, skill=0.999)

    def less_solved(sample: SceneSample) -> None:
        sample.loss = 2e-2
        sample.model(loss=2e-2, skill=0.99)

    scene = Scene().run(400, solved).run(100, less_solved)
    assert all(flag.severity == "info" for flag in scene.engine.flags)


def test_what_is_left_of_a_memorised_task_may_come_and_go() -> None:
    def rests(level: float, sample: SceneSample) -> None:
        sample.loss = level * (1 + 0.1 * math.sin(sample.step))
        sample.model(loss=sample.loss, skill=1.0)

    scene = Scene().run(100).run(400, lambda sample: rests(1e-8, sample))
    assert scene.run(100, lambda sample: rests(1e-5, sample)).engine.flags == []
    scene.run(100, lambda sample: rests(0.05, sample))
    assert scene.standing["loss-divergence"].severity == "info"


def test_batches_of_one_are_no_divergence() -> None:
    random = np.random.default_rng(0)

    def single(sample: SceneSample) -> None:
        sample.loss = float(sample.loss * random.exponential() ** 3 / 6)
        sample.model(loss=sample.loss)

    scene = Scene().run(800, single)
    assert all(flag.severity == "info" for flag in scene.engine.flags)


def test_a_likelihood_loss_below_zero_is_flagged_and_ruinous_below_minus_one() -> None:
    def below(level: float, sample: SceneSample) -> None:
        sample.loss = level
        sample.model(loss=level, skill=float("nan"))

    scene = Scene().run(20, lambda sample: below(-0.3, sample))
    assert scene.standing["loss-divergence"].severity == "warning"
    assert scene.standing["loss-divergence"].onset_step == 1
    scene.run(20, lambda sample: below(-40.0, sample))
    assert scene.standing["loss-divergence"].severity == "critical"


@pytest.mark.parametrize(("swings", "called"), [(True, False), (False, True)])
def test_a_loss_that_swings_about_zero_has_no_start_to_be_measured_by(
    swings: bool, called: bool
) -> None:
    """A policy's: the longer the episodes become, the wider it swings."""
    random, scene = np.random.default_rng(1), Scene()
    scene.table = msgspec.structs.replace(
        scene.table, models=(msgspec.structs.replace(scene.table.models[0], loss=""),)
    )

    def step(sample: SceneSample) -> None:
        width = 0.2 if sample.step < 20 else 5.0
        sample.loss = float(width * random.normal()) if swings else width + 0.1 * random.random()
        sample.loss = abs(sample.loss) if sample.step > 100 else sample.loss
        label_free(sample)
        sample.model(loss=sample.loss)

    scene.run(130, step)
    assert ("loss-divergence" in scene.standing) is called


@pytest.mark.parametrize(("widest", "called"), [(0.15, True), (0.7, False), (90.0, True)])
def test_a_loss_that_rises_with_its_targets_is_no_skill_lost(widest: float, called: bool) -> None:
    """A slow copy's outputs widen, and are answered as well as ever; what runs away is, too."""

    def follows(sample: SceneSample) -> None:
        share = min(1.0, max(0.0, sample.step / 60 - 5))
        fallen = 0.087 * math.exp(-sample.step / 20) + 0.007
        sample.loss = fallen + 0.04 * share
        spread = 0.15 + (widest - 0.15) * share
        skill = 0.93 if widest > 0.15 else 1 - sample.loss / 0.1
        label_free(sample)
        sample.model(
            loss=sample.loss, target_sd=spread, skill=skill, loss_constant=sample.loss / (1 - skill)
        )

    scene = trained_by("mse").run(600, follows)
    assert ("loss-divergence" in {f.kind for f in scene.changes if f.severity != "info"}) is called


@pytest.mark.parametrize(("grows", "called"), [(1.0, False), (0.0, True), (-1.0, True)])
def test_a_loss_that_rises_with_the_answers_is_no_skill_lost(grows: float, called: bool) -> None:
    """Values of the actions that are taken grow with the return; 0: they do not, -1: run away."""

    def follows(sample: SceneSample) -> None:
        later = max(0, sample.step - 300)
        size = (1 + later / 100) ** grows if grows >= 0 else 2.0 ** (later / 20)
        error = (0.3 + math.exp(-sample.step / 30)) * (1 + later / 100 if grows >= 0 else size)
        sample.loss = error**2 / 2 if error < 1 else error - 0.5
        label_free(sample)
        sample.model(loss=sample.loss, out_rms=size)

    scene = trained_by("smooth_l1").run(800, follows)
    assert ("loss-divergence" in {f.kind for f in scene.changes if f.severity != "info"}) is called


@pytest.mark.parametrize("acts", [True, False])
def test_the_loss_of_an_agent_rises_as_it_plays_longer(acts: bool) -> None:
    scene = Scene()
    model = msgspec.structs.replace(scene.table.models[0], loss="mse", acts=acts)
    scene.table = msgspec.structs.replace(scene.table, models=(model,))

    def plays(sample: SceneSample) -> None:
        sample.loss = 30 - sample.step / 4 if sample.step < 100 else 100
        label_free(sample)
        sample.model(loss=sample.loss)

    scene.run(200, plays)
    called = [f.kind for f in scene.changes if f.severity != "info"]
    assert ("loss-divergence" in called) is not acts


@pytest.mark.parametrize(("begins", "called"), [(-4.2, True), (0.3, False)])
def test_a_divergence_is_below_zero_by_rounding_or_by_a_turned_sign(
    begins: float, called: bool
) -> None:
    scene = Scene()
    model = msgspec.structs.replace(scene.table.models[0], loss="kl_div")
    scene.table = msgspec.structs.replace(scene.table, models=(model,))

    def apart(sample: SceneSample) -> None:
        sample.loss = begins - sample.step / 2 if called else begins * 0.5**sample.step - 1e-3
        label_free(sample)
        sample.model(loss=sample.loss)

    scene.run(40, apart)
    assert ("loss-divergence" in scene.standing) is called
    if called:
        assert scene.standing["loss-divergence"].severity == "critical"
        assert scene.causes[0] == "loss-mismatch"
        assert "began at -4.7" in " ".join(scene.engine.causes()[0].evidence)


def test_an_error_of_the_wrong_sign_is_told_by_its_gradient() -> None:
    scene = Scene()
    model = msgspec.structs.replace(scene.table.models[0], loss="mse")
    scene.table = msgspec.structs.replace(scene.table, models=(model,))

    def driven(sample: SceneSample) -> None:
        sample.model(
            information=math.nan, skill=math.nan, loss_constant=math.nan, label_entropy=math.nan,
            target_sd=1.0, sigma_share=sample.step / 20, coupling=-0.9,
        )  # fmt: skip
        sample.loss = -0.01 * sample.step**2

    scene.run(29, driven)
    assert not scene.standing
    scene.run(10, driven)
    assert scene.standing["loss-divergence"].severity == "critical"
    assert scene.standing["loss-divergence"].onset_step == 1


def test_other_losses_may_be_negative() -> None:
    scene = Scene()
    models = tuple(msgspec.structs.replace(m, loss="sub") for m in scene.table.models)
    scene.table = msgspec.structs.replace(scene.table, models=models)

    def negative(sample: SceneSample) -> None:
        sample.loss = -40.0
        sample.model(loss=-40, skill=float("nan"), loss_constant=float("nan"))

    assert "loss-divergence" not in scene.run(100, negative).standing


def grown(sample: SceneSample, factor: float) -> None:
    for name in ("fc1", "fc2", "fc3"):
        sample.layer(name, weight_growth=factor, weight_spread=factor, weight_drift=factor)


def test_weights_that_grow_for_ever_while_nothing_is_learnt_are_flagged() -> None:
    def growing(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        grown(sample, 1 + sample.step / 2)

    flag = Scene().run(200, growing).standing["weight-divergence"]
    assert flag.severity in {"warning", "critical"}
    assert flag.raised_step < 120


@pytest.mark.parametrize(("layer", "severity"), [("fc3", "info"), ("fc2", "warning")])
def test_a_head_may_grow_to_where_its_unknown_targets_are(layer: str, severity: str) -> None:
    """Returns of hundreds, by an actor and critic's loss that tells of no skill."""

    def growing(sample: SceneSample) -> None:
        sample.loss = 2.3
        label_free(sample)
        sample.model(loss=2.3)
        factor = 1 + sample.step / 2
        sample.layer(layer, weight_growth=factor, weight_spread=factor, weight_drift=factor)

    assert Scene().run(200, growing).standing["weight-divergence"].severity == severity


@pytest.mark.parametrize(("momentum", "named"), [(0.999, True), (0.9, False)])
def test_momentum_that_carries_the_weights_away_counts_as_a_rate(
    momentum: float, *, named: bool
) -> None:
    def growing(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        grown(sample, 1 + sample.step / 2)
        sample.layer("act1", saturation=min(1.0, sample.step / 50))

    scene = optimised_by(Scene(), momentum=momentum).run(200, growing)
    assert "weight-divergence" in scene.standing
    assert ("learning-rate-too-high" in scene.causes) is named


@pytest.mark.parametrize(("low", "stands"), [(1.9, True), (1.2, False)])
def test_growth_without_use_is_taken_back_by_a_loss_lower_than_any_before(
    low: float, *, stands: bool
) -> None:
    """The loss falls for a hundred steps from a height of its own: to where it was, or below."""

    def swings(sample: SceneSample) -> None:
        step = sample.step
        sample.loss = 1.8 if step < 60 else 2.2
        if step > 200:
            sample.loss = 2.2 - (2.2 - low) * (step - 200) / 100
        skill = 1 - sample.loss / 2.3
        sample.model(loss=sample.loss, skill=skill, information=0.2, grad_norm=0.5)
        grown(sample, 1 + step / 2)

    scene = Scene().run(200, swings)
    assert "weight-divergence" in scene.standing
    assert ("weight-divergence" in scene.run(100, swings).standing) is stands


def test_weights_that_grow_with_the_skill_are_fine() -> None:
    scene = Scene().run(300, lambda sample: grown(sample, 1 + sample.step / 2))
    assert "weight-divergence" not in scene.standing


def test_weights_that_were_blown_up_once_do_not_diverge() -> None:
    def blown(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        grown(sample, 80.0)

    assert "weight-divergence" not in Scene().run(300, blown).standing


def crawling(sample: SceneSample) -> None:
    sample.no_better_than_constant()
    sample.model(update_ratio=1e-6)
    for name in ("fc1", "fc2", "fc3"):
        sample.layer(name, update_ratio=1e-6, weight_growth=1)


def advice_for(scene: Scene) -> str:
    cause = scene.engine.causes()[0]
    assert cause.cause == "learning-rate-too-low"
    return cause.advice


def test_a_rate_that_is_too_low_comes_with_a_rate_that_is_not() -> None:
    assert "lr 0.1 -> about 1000" in advice_for(Scene().run(200, crawling))


def test_an_epsilon_that_swamps_the_gradients_is_told_from_a_low_rate() -> None:
    scene = optimised_by(Scene(), "Adam", eps=10.0)
    assert "eps 10 -> 1e-8" in advice_for(scene.run(200, crawling))


@pytest.mark.parametrize(("eps", "called"), [(10.0, True), (1e-8, False)])
def test_decay_is_all_that_moves_weights_whose_steps_are_divided_away(
    eps: float, called: bool
) -> None:
    def pulled(sample: SceneSample) -> None:
        crawling(sample)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, pull_to_zero=0.999)

    made = optimised_by(Scene(), "AdamW", eps=eps).run(200, pulled)
    assert ("learning-rate-too-low" in made.causes) is called


def test_a_gradient_that_is_clipped_to_nothing_is_told_from_a_low_rate() -> None:
    def clipped(sample: SceneSample) -> None:
        crawling(sample)
        sample.model(grad_norm=1e-4)

    assert "max_norm 0.0001" in advice_for(optimised_by(Scene()).run(200, clipped))


def test_a_warm_up_without_end_is_told_from_a_low_rate() -> None:
    def warming(sample: SceneSample) -> None:
        crawling(sample)
        sample.model(lr=1e-6 * sample.step, update_ratio=5e-6)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=5e-6)

    scene = Scene().run(299, warming)
    assert not scene.standing
    assert "end the warm-up" in advice_for(scene.run(100, warming))


@pytest.mark.parametrize("every", [1, 50])
def test_a_warm_up_that_needs_millions_of_steps_is_called_at_once(every: int) -> None:
    def warming(sample: SceneSample) -> None:
        crawling(sample)
        sample.model(lr=3e-10 * sample.step)

    assert "end the warm-up" in advice_for(Scene().run(160, warming, every=every))


def test_a_rate_that_is_multiplied_at_each_step_gets_anywhere_soon() -> None:
    def searching(sample: SceneSample) -> None:
        crawling(sample)
        sample.model(lr=1e-8 * 1.02**sample.step)

    assert not Scene().run(200, searching).standing


def test_a_schedule_that_ran_out_is_named_with_the_step() -> None:
    def ran_out(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        rate = 0.1 * 0.8**sample.step
        sample.model(lr=rate)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=0.1 * rate)

    cause = Scene().run(200, ran_out).engine.causes()[0]
    assert cause.cause == "learning-rate-too-low"
    assert 20 <= cause.onset_step <= 22
    assert "schedule" in cause.advice


@pytest.mark.parametrize("skill", [0.17, 0.45])
def test_a_schedule_that_ran_out_half_way_to_the_answer_leaves_the_weights_at_rest(
    skill: float,
) -> None:
    def ran_out(sample: SceneSample) -> None:
        sample.loss = 2.3 * (1 - skill)
        sample.model(loss=sample.loss, skill=skill, information=0.1, neighbour_agreement=0.9)
        rate = 0.1 * 0.5**sample.step
        sample.model(lr=rate)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=0.1 * rate)

    scene = Scene().run(100, ran_out)
    assert not scene.standing
    scene.run(20, ran_out)
    assert scene.standing["frozen-weights"].severity == "warning"
    assert scene.causes[0] == "learning-rate-too-low"

    def ended(sample: SceneSample) -> None:
        sample.loss = 2.3 * (1 - skill)
        sample.nothing_measured(lr=0)

    scene.run(1, ended)
    assert scene.standing["frozen-weights"].severity == "warning"
    assert scene.causes[0] == "learning-rate-too-low"


def test_a_rate_of_zero_from_the_first_step_is_named_and_over_once_it_rises() -> None:
    def unstarted(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(lr=0)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=0)

    scene = Scene().run(90, unstarted)
    assert not scene.standing
    scene.run(200, unstarted)
    assert set(scene.standing) == {"frozen-weights"}
    assert scene.standing["frozen-weights"].severity == "warning"
    cause = scene.engine.causes()[0]
    assert (cause.cause, cause.onset_step) == ("learning-rate-too-low", 1)
    assert "0 since the first step" in cause.evidence[0]
    scene.run(50, lambda sample: sample.model(lr=0.1))
    assert not scene.standing


def test_weights_that_move_without_a_rate_are_moved_by_hand() -> None:
    def by_hand(sample: SceneSample) -> None:
        sample.model(lr=0)

    assert "learning-rate-too-low" not in Scene().run(300, by_hand).causes


def test_a_converged_network_that_rests_has_learnt_also_where_a_batch_is_short() -> None:
    def done(sample: SceneSample) -> None:
        sample.loss = 0.002
        sample.model(loss=0.002, skill=0.99, information=0.99)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=4e-5)
        if sample.step % 7 == 0:  # the last of each pass
            sample.model(skill=np.nan, loss_constant=np.nan, information=np.nan)

    assert not Scene().run(300, done).changes


def test_a_schedule_that_ran_out_where_no_more_can_be_learnt_is_fine() -> None:
    def ran_out(sample: SceneSample) -> None:
        sample.loss = 1.9
        sample.model(loss=1.9, skill=0.17, information=0.1, neighbour_agreement=0.2)
        sample.model(lr=0.1 * 0.5**sample.step)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=0.01 * 0.5**sample.step)

    assert "frozen-weights" not in Scene().run(200, ran_out).standing


def test_a_schedule_that_ran_out_is_not_taken_back_by_what_scatters() -> None:
    def ran_out(sample: SceneSample) -> None:
        sample.loss = 1.9
        knows = 0.52 if sample.step < 130 or sample.step % 20 < 10 else 0.43
        sample.model(loss=1.9, skill=0.17, information=0.1, neighbour_agreement=knows)
        sample.model(lr=0.1 * 0.5**sample.step)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=0.01 * 0.5**sample.step)

    scene = Scene().run(300, ran_out)
    assert [flag.kind for flag in scene.changes].count("frozen-weights") == 1
    assert "frozen-weights" in scene.standing


def test_modest_steps_that_only_make_it_worse_go_up_the_slope() -> None:
    def up(sample: SceneSample) -> None:
        sample.loss = 2.3 * math.exp(sample.step / 40)
        sample.model(loss=sample.loss, skill=1 - sample.loss / 2.3, information=1e-3)

    cause = Scene().run(120, up).engine.causes()[0]
    assert cause.cause == "loss-mismatch"
    assert "maximize=False" in cause.advice


def test_a_loss_that_fell_before_it_rose_had_steps_down_the_slope() -> None:
    def back(sample: SceneSample) -> None:
        sample.loss = 2.3 * math.exp(abs(sample.step - 30) / 30 - 1)
        sample.model(loss=sample.loss, skill=1 - sample.loss / 2.3, information=1e-3)

    assert "loss-mismatch" not in Scene().run(120, back).causes


def test_answers_that_are_sure_before_anything_was_learnt_are_a_matter_of_the_weights() -> None:
    def sure(sample: SceneSample) -> None:
        sample.loss = 5 + 25 * math.exp(-sample.step / 60)
        sample.model(loss=sample.loss, skill=1 - sample.loss / 2.3, information=0.5, out_sd=13)

    cause = Scene().run(150, sure).engine.causes()[0]
    assert cause.cause == "bad-initialisation-scale"
    assert "divide the weights of the last layer by 26" in cause.advice


def test_a_signal_that_doubles_from_layer_to_layer_is_named_before_the_rate() -> None:
    names = [f"fc{i}" for i in range(12)]
    scene = Scene(names)

    def doubling(sample: SceneSample) -> None:
        sample.loss = 1e4
        sample.model(loss=1e4, skill=-4e3, information=1e-4, grad_norm=1e6)
        for place, name in enumerate(names):
            sample.layer(
                name,
                out_rms=2.0**place,
                out_grad_rms=10 * 2.0 ** (12 - place),
                weight_spread=3.6,
                update_ratio=3 if sample.step < 10 else 0.01,
            )

    scene.run(60, doubling)
    assert scene.standing["exploding-gradient"].severity in {"warning", "critical"}
    assert scene.causes[0] == "depth-exploding"
    assert "1.0" in scene.engine.causes()[0].advice


def test_answers_that_are_sure_and_wrong_are_flagged_while_the_loss_still_falls() -> None:
    def overconfident(spread: float, sample: SceneSample) -> None:
        sample.loss = 4 + 30 * 0.98**sample.step
        sample.model(loss=sample.loss, skill=1 - sample.loss / 2.3, information=0.8, out_sd=spread)

    scene = Scene().run(160, lambda sample: overconfident(50.0, sample))
    assert scene.standing["loss-divergence"].severity == "warning"
    # A penalty on the weights lifts the loss as well, and is nobody's fault.
    scene = Scene().run(160, lambda sample: overconfident(0.7, sample))
    assert "loss-divergence" not in scene.standing


def test_losses_of_single_rows_may_lie_far_apart() -> None:
    """One in four is more than half above a constant answer's loss; their mean is below it."""

    def single(sample: SceneSample) -> None:
        sample.loss = 4.0 if sample.step % 4 == 0 else 0.8
        sample.model(loss=sample.loss, skill=0.3, information=0.4)

    assert "loss-divergence" not in {f.kind for f in Scene().run(400, single).engine.flags}

    def worse(sample: SceneSample) -> None:
        single(sample)
        sample.loss *= 3

    assert "loss-divergence" in Scene().run(400, worse).standing


def test_a_mean_of_advantages_goes_back_to_zero_as_the_policy_gets_sure() -> None:
    def surrogate(sample: SceneSample) -> None:
        step = sample.step
        sample.loss = 0.02 if step == 1 else -0.22 * math.exp(-max(0, step - 30) / 200)
        unknown = dict.fromkeys(("skill", "information", "loss_constant", "label_entropy"), np.nan)
        sample.model(0, loss=sample.loss, **unknown)

    made = trained_by("", prediction=(), target=()).run(700, surrogate)
    assert "loss-divergence" not in {flag.kind for flag in made.engine.flags}


@pytest.mark.parametrize(("rate", "named"), [(2.0, True), (0.2, False)])
def test_a_loss_that_left_when_the_rate_was_raised_tells_of_steps_that_nobody_measured(
    rate: float, named: bool
) -> None:
    def leaves(sample: SceneSample) -> None:
        sample.model(lr=0.2)
        if sample.step > 200:
            sample.loss = 500.0
            sample.model(loss=500.0, skill=-200.0, lr=rate)

    scene = Scene().run(400, leaves, every=50)
    assert "loss-divergence" in scene.standing
    assert ("learning-rate-too-high" in scene.causes) is named

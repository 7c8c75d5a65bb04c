"""What ruined a run, where several things could have: scenes made by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest
from rules_scene import Scene, SceneSample

from deadband.wire import Layer
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.crawl import _by_skill
from deadband_monitor.rules.past import ModelPast


def named(scene: Scene) -> list[str]:
    return [cause.cause for cause in scene.engine.causes()]


def overwritten(sample: SceneSample) -> None:
    """The first step was five times the weights; since then the loss swings about a constant's."""
    if sample.step == 1:
        sample.layer("fc1", update_ratio=4.9)
    swing = 0.1 * math.sin(sample.step)
    sample.loss = 2.4 + swing
    sample.layer("fc1", weight_growth=30)
    sample.model(loss=sample.loss, skill=-0.05 - swing, information=0.15 + swing)


def test_overwritten_weights_that_stay_of_no_use_are_ruined_by_the_rate() -> None:
    scene = Scene().run(90, overwritten)
    assert "update-too-large" not in {
        flag.kind for flag in scene.standing.values() if flag.severity == "critical"
    }
    scene.run(40, overwritten)
    assert scene.standing["update-too-large"].severity == "critical"
    assert named(scene)[0] == "learning-rate-too-high"


def test_overwritten_weights_of_no_use_are_told_by_the_losses_between_few_samples() -> None:
    scene = Scene().run(150, overwritten, every=50)
    flag = scene.standing["update-too-large"]
    assert (flag.severity, flag.raised_step) == ("critical", 1)


def test_overwritten_weights_that_learn_are_a_note() -> None:
    def large_once(sample: SceneSample) -> None:
        if sample.step == 1:
            sample.layer("fc1", update_ratio=4.9)

    scene = Scene().run(400, large_once)
    assert scene.engine.verdict() == "healthy"


def flat(sample: SceneSample) -> None:
    """Units swing from end to end from the first sample on; nothing is learnt."""
    sample.layer("act1", saturation=0.97, saturated_units=0.1 if sample.step < 30 else 0.9)
    sample.layer("fc1", update_ratio=1.5 if sample.step == 1 else 0.01, weight_growth=3)
    sample.loss = 4.0
    sample.model(loss=4.0, skill=-0.7, information=0.001, grad_norm=0.5 + sample.step)


def test_a_layer_that_was_flat_before_the_first_step_was_not_made_so_by_it() -> None:
    assert named(Scene().run(120, flat))[0] == "saturating-activation"


def test_a_layer_that_went_flat_after_a_ruinous_step_was_made_so_by_it() -> None:
    def later(sample: SceneSample) -> None:
        flat(sample)
        if sample.step < 10:
            sample.layer("act1", saturation=0.1, saturated_units=0)

    assert named(Scene().run(120, later))[0] == "learning-rate-too-high"


def thrown_off(rate: float, sample: SceneSample) -> None:
    sample.loss = 2.35
    sample.layer("act1", dead_units=1, zero_share=1, out_variance=0, out_rms=0)
    sample.model(loss=2.35, skill=-0.02, information=0, out_variance=0, out_sd=0, lr=rate)


def test_units_that_served_and_died_as_the_rate_climbed_were_killed_by_it() -> None:
    def climbing(sample: SceneSample) -> None:
        sample.model(lr=0.1 * 1.005**sample.step)

    scene = Scene().run(400, climbing).run(40, lambda sample: thrown_off(5.0, sample))
    cause = scene.engine.causes()[0]
    assert cause.cause == "learning-rate-too-high"
    assert "that of step" in cause.advice


@pytest.mark.parametrize(("until", "called"), [(10_000, True), (100, False)])
def test_units_that_were_best_shortly_before_they_died_were_killed_by_a_rate_that_climbs_still(
    until: int, called: bool
) -> None:
    def warms_up(sample: SceneSample) -> None:
        sample.model(lr=1e-3 * min(sample.step, until))

    def die(sample: SceneSample) -> None:
        thrown_off(1e-3 * min(sample.step, until), sample)

    assert ("learning-rate-too-high" in named(Scene().run(200, warms_up).run(40, die))) is called


def test_units_that_told_the_labels_at_some_cost_served_as_well() -> None:
    def climbing(sample: SceneSample) -> None:
        sample.loss = 2.0 + 0.25 * (sample.step % 2)
        told = min(0.6, 0.02 * sample.step)
        sample.model(lr=0.1 * 1.005**sample.step, loss=sample.loss, skill=0.08, information=told)

    scene = Scene().run(400, climbing).run(40, lambda sample: thrown_off(5.0, sample))
    cause = scene.engine.causes()[0]
    assert cause.cause == "learning-rate-too-high"
    assert "the information was" in cause.evidence[0]


def test_what_killed_units_is_known_long_after() -> None:
    scene = Scene().run(200).run(3000, lambda sample: thrown_off(5.0, sample))
    assert scene.engine.causes()[0].cause == "learning-rate-too-high"


def test_units_that_die_at_an_even_rate_are_not_blamed_on_it() -> None:
    scene = Scene().run(400).run(40, lambda sample: thrown_off(0.1, sample))
    assert "learning-rate-too-high" not in named(scene)


def test_a_loss_that_breaks_behind_small_outputs_broke_by_its_own_operations() -> None:
    def broken(sample: SceneSample) -> None:
        sample.loss = math.nan
        sample.layer("fc3", nonfinite=1)
        sample.model(loss=math.nan, nonfinite=1, skill=math.nan)

    (cause,) = Scene().run(60).run(5, broken).engine.causes()
    assert cause.cause == "numerical-overflow"
    assert cause.confidence >= 0.8
    assert "logsumexp" in cause.advice


@pytest.mark.parametrize(("low", "cause"), [(-0.4, "loss-mismatch"), (0.1, "numerical-overflow")])
def test_a_poisson_loss_that_breaks_over_outputs_below_zero_takes_their_logarithm(
    low: float, cause: str
) -> None:
    def broken(sample: SceneSample) -> None:
        sample.loss = math.nan
        sample.layer("fc3", nonfinite=1)
        sample.model(loss=math.nan, nonfinite=1, skill=math.nan, out_min=low, out_max=3.0)

    scene = Scene()
    (model,) = scene.table.models
    counted = msgspec.structs.replace(model, loss="poisson_nll", loss_input=(32,))
    scene.table = msgspec.structs.replace(scene.table, models=(counted,))
    assert scene.run(5, broken).engine.causes()[0].cause == cause


@pytest.mark.parametrize(("further", "cause"), [(0.0, "bad-data"), (0.3, "numerical-overflow")])
def test_a_squared_error_of_small_outputs_only_breaks_by_its_targets(
    further: float, cause: str
) -> None:
    def broken(sample: SceneSample) -> None:
        sample.loss = math.nan
        sample.layer("fc3", nonfinite=1)
        sample.model(loss=math.nan, nonfinite=1, skill=math.nan)

    scene = Scene()
    (model,) = scene.table.models
    valued = msgspec.structs.replace(model, loss="mse", loss_target=(32, 1))
    scene.table = msgspec.structs.replace(scene.table, models=(valued,))
    scene.run(60, lambda sample: sample.model(further_loss=further)).run(5, broken)
    assert scene.engine.causes()[0].cause == cause


def test_outputs_that_grew_without_bound_do_not_blame_the_loss() -> None:
    def grown(sample: SceneSample) -> None:
        sample.loss = math.nan
        sample.layer("fc3", nonfinite=1, out_rms=1e20)
        sample.model(loss=math.nan, nonfinite=1, skill=math.nan)

    causes = Scene().run(60).run(5, grown).engine.causes()
    assert all(cause.confidence <= 0.5 for cause in causes)


def test_a_run_that_breaks_right_after_a_large_update_had_no_time_to_show_more() -> None:
    def ruined(sample: SceneSample) -> None:
        if sample.step == 1:
            sample.layer("fc1", update_ratio=8.0)
        else:
            sample.loss = math.inf
            sample.layer("fc1", nonfinite=1, out_rms=math.nan)
            sample.model(loss=math.inf, nonfinite=1, skill=math.nan)

    assert named(Scene().run(8, ruined))[0] == "learning-rate-too-high"


def with_a_table() -> Scene:
    scene = Scene()
    ids = Layer(name="ids", model="model", kind="Embedding", fan_in=16, units=16, parameters=400)
    scene.table = msgspec.structs.replace(scene.table, layers=(ids, *scene.table.layers))
    return scene


def look_alike(share: float, sample: SceneSample) -> None:
    sample.layer(
        "ids", duplicate_units=share, weight_rms=1, weight_growth=1, update_ratio=1e-4, has_grad=1
    )
    sample.loss = 2.3
    sample.model(loss=2.3, skill=0.0, information=1e-6, out_variance=1e-4)


def test_a_table_of_equal_rows_is_flagged_and_its_fill_named() -> None:
    scene = with_a_table().run(60, lambda sample: look_alike(1.0, sample))
    assert scene.standing["duplicate-units"].layer == "ids"
    assert "ids" in scene.standing["duplicate-units"].message
    assert named(scene)[0] == "constant-initialisation"


def test_rows_that_part_within_twenty_steps_are_fine() -> None:
    def parting(sample: SceneSample) -> None:
        look_alike(1.0 if sample.step < 15 else 0.2, sample)

    assert "duplicate-units" not in with_a_table().run(60, parting).standing


def routed(sure: float, sample: SceneSample) -> None:
    # The root mean square of four probabilities, the likeliest of which is `sure`.
    sample.layer("router:softmax", choice_entropy=0.0, out_rms=sure / 2)


def with_a_router() -> Scene:
    scene = Scene()
    router = Layer(
        name="router:softmax", model="model", kind="softmax", activation="softmax", units=4
    )
    rows = scene.table.layers
    scene.table = msgspec.structs.replace(scene.table, layers=(*rows[:2], router, *rows[2:]))
    return scene


def test_a_router_that_is_sure_of_one_expert_is_named_within_thirty_steps() -> None:
    scene = with_a_router().run(30, lambda sample: routed(1.0, sample))
    assert named(scene) == ["router-collapse"]


def test_a_router_that_wavers_gets_a_hundred_steps() -> None:
    scene = with_a_router().run(90, lambda sample: routed(0.6, sample))
    assert not named(scene)
    scene.run(30, lambda sample: routed(0.6, sample))
    assert named(scene) == ["router-collapse"]


def test_a_router_has_recovered_when_its_load_has_been_even_for_long() -> None:
    scene = with_a_router().run(30, lambda sample: routed(1.0, sample))

    def uneven(sample: SceneSample) -> None:
        sample.layer("router:softmax", choice_entropy=0.55, out_rms=0.4)

    assert named(scene.run(200, uneven)) == ["router-collapse"]

    def even(sample: SceneSample) -> None:
        sample.layer("router:softmax", choice_entropy=0.9, out_rms=0.4)

    assert not named(scene.run(120, even))


def crept(update: float, sample: SceneSample) -> None:
    for name in ("fc1", "fc2", "fc3"):
        sample.layer(name, update_ratio=update, weight_growth=1)
    swing = 0.1 * math.sin(7 * sample.step)
    sample.loss = 2.0 + swing
    sample.model(loss=sample.loss, skill=0.13 - swing / 2, information=0.1, update_ratio=update)


def test_steps_that_crept_for_two_hundred_steps_and_learnt_nothing_are_too_small() -> None:
    scene = Scene().run(190, lambda sample: crept(3e-5, sample))
    assert "frozen-weights" not in scene.standing
    scene.run(60, lambda sample: crept(3e-5, sample))
    assert named(scene)[0] == "learning-rate-too-low"


def test_usual_steps_that_learn_little_are_not_too_small() -> None:
    scene = Scene().run(250, lambda sample: crept(3e-3, sample))
    assert "learning-rate-too-low" not in named(scene)


def thrown(sample: SceneSample) -> None:
    sample.loss = 1.5
    sample.model(loss=1.5, skill=0.3, grad_norm=50.0)


def test_a_run_that_is_thrown_off_for_ten_steps_is_at_the_edge_of_stability() -> None:
    scene = Scene().run(300).run(10, thrown).run(40)
    assert all(flag.severity == "info" for flag in scene.engine.flags)


def test_a_gradient_that_jumped_and_stays_up_with_the_loss_is_flagged() -> None:
    scene = Scene().run(300).run(20, thrown)
    assert "exploding-gradient" in scene.standing
    assert abs(scene.standing["exploding-gradient"].onset_step - 301) <= 2


def without_gradient(sample: SceneSample) -> None:
    for name in ("fc1", "fc2", "fc3"):
        sample.layer(name, grad_rms=0, update_ratio=0, weight_growth=1)


def test_gradients_of_zero_while_the_loss_falls_are_those_of_a_slice() -> None:
    def shown(sample: SceneSample) -> None:
        without_gradient(sample)
        sample.layer("fc3", update_ratio=0.01)

    scene = Scene().run(60, shown)
    assert "vanishing-gradient" not in {f.kind for f in scene.engine.flags if f.severity != "info"}


def test_gradients_of_zero_while_nothing_falls_are_critical() -> None:
    def dead(sample: SceneSample) -> None:
        without_gradient(sample)
        sample.no_better_than_constant()

    scene = Scene().run(60, dead)
    assert any(flag.severity == "critical" for flag in scene.standing.values())


def test_a_second_stage_with_a_loss_of_its_own_is_no_setback() -> None:
    scene = Scene().run(300)
    first, second = scene.table, Scene(models=("tuned",)).table
    frozen = msgspec.structs.replace(first.models[0], trainable=0)
    held = tuple(msgspec.structs.replace(layer, trainable=False) for layer in first.layers)
    scene.table = msgspec.structs.replace(
        first, layers=held + second.layers, models=(frozen, *second.models)
    )

    def tuned(sample: SceneSample) -> None:
        skill = 1 - math.exp(-(sample.step - 300) / 60)
        sample.loss = 4.0 * (1 - skill) + 0.02
        for row in (0, 1):
            sample.model(row, skill=skill, loss=sample.loss, information=0.9 * skill)

    scene.run(200, tuned)
    assert all(flag.severity == "info" for flag in scene.engine.flags)


def test_a_recurrence_that_blows_its_state_up_is_named_before_the_rate() -> None:
    scene = Scene(("rnn", "fc3"))
    rnn = msgspec.structs.replace(
        scene.table.layers[0], kind="RNN", activation="relu", fan_in=8, name="rnn"
    )
    scene.table = msgspec.structs.replace(scene.table, layers=(rnn, *scene.table.layers[1:]))

    def blown(sample: SceneSample) -> None:
        sample.layer("rnn", out_rms=1e6, update_ratio=40.0, weight_growth=30)
        sample.layer("fc3", out_rms=1e6, update_ratio=40.0, weight_growth=30)
        sample.loss = 1e6
        sample.model(loss=1e6, skill=-1e5, information=0.001, grad_norm=1e5)

    causes = scene.run(150, blown).engine.causes()
    assert causes[0].cause == "depth-exploding"
    assert "weight_hh" in causes[0].advice


def test_weights_that_were_never_stepped_are_not_zero() -> None:
    def still(sample: SceneSample) -> None:
        for layer in ("fc1", "fc2", "fc3"):
            sample.layer(layer, update_ratio=math.nan, weight_growth=math.nan)
            sample.layer(layer, weight_rms=0.1)
        sample.model(moved_share=0)

    assert "constant-initialisation" not in named(Scene().run(60, still))


def test_a_loss_that_is_decades_away_falls_by_decades() -> None:
    """A thousandth of a per cent is left after 400 steps, and the way is still long."""

    def far(sample: SceneSample) -> None:
        skill = -1e9 * 10 ** (-3 * min(sample.step / 100, 1) - sample.step / 1000)
        sample.loss = 1e-12 * (1 - skill)
        sample.model(loss=sample.loss, loss_constant=1e-12, skill=skill, target_sd=1e-6)

    scene = Scene().run(400, far)
    assert "constant-predictor" in {flag.kind for flag in scene.engine.flags}


def test_a_loss_that_left_for_good_is_not_on_its_way_to_a_constant_answers() -> None:
    halves = SimpleNamespace(halves=lambda step: ([0.5] * 5, [-1e4] * 5))
    model = cast("ModelPast", SimpleNamespace(skill=halves))
    seen = cast("Observation", SimpleNamespace(step=400))
    assert _by_skill(seen, model)


@pytest.mark.parametrize("late", [False, True])
def test_wide_weights_are_how_they_were_drawn_only_if_the_start_was_seen(late: bool) -> None:
    def wide(sample: SceneSample) -> None:
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, weight_spread=12, weight_growth=1, out_variance=1e-7)
        sample.no_better_than_constant()
        sample.model(out_variance=1e-9, information=0, skill=0, sigma_share=1e-6)

    scene = Scene()
    models = tuple(msgspec.structs.replace(each, late=late) for each in scene.table.models)
    scene.table = msgspec.structs.replace(scene.table, models=models)
    words = named(scene.run(80, wide))
    assert ("bad-initialisation-scale" in words) is not late


def test_updates_at_a_rate_on_its_way_up_began_before_the_sample_that_shows_them() -> None:
    def climbing(sample: SceneSample) -> None:
        sample.model(lr=1e-3 * 1.05**sample.step)
        if sample.step >= 100:
            sample.model(update_ratio=0.6)
            for name in ("fc1", "fc2", "fc3"):
                sample.layer(name, update_ratio=0.6)

    model = Scene().run(150, climbing, every=50).engine.past.models["model"]
    assert (model.large_update_from, model.large_update_step) == (51, 100)
    model = Scene().run(150, climbing).engine.past.models["model"]
    assert (model.large_update_from, model.large_update_step) == (100, 100)


@pytest.mark.parametrize("climbs", [True, False])
def test_units_that_stop_on_a_rate_s_way_up_were_stopped_by_it(climbs: bool) -> None:
    """The mark of a large step is passed a few steps later."""

    def warms_up(sample: SceneSample) -> None:
        rate = 0.004 * sample.step if climbs else 0.2
        sample.model(lr=rate)
        sample.layer("fc3", update_ratio=0.006 * sample.step)
        if sample.step >= 45:
            sample.layer("act1", dead_units=1, out_variance=0)
            sample.no_better_than_constant()

    scene = Scene().run(80, warms_up)
    assert (named(scene)[0] == "learning-rate-too-high") is climbs


@pytest.mark.parametrize("rate", [0.03, 0.003])
def test_what_is_lost_at_the_rate_of_a_large_first_step_was_not_made_good(rate: float) -> None:
    def loses(sample: SceneSample) -> None:
        sample.model(lr=0.03 if sample.step < 100 else rate)
        sample.layer("fc1", update_ratio=0.41 if sample.step == 1 else 0.01, weight_growth=4)
        if sample.step > 340:
            sample.no_better_than_constant()
            sample.model(out_variance=1e-10, information=1e-4, top_share=1)

    scene = Scene().run(420, loses)
    assert "output-collapse" in scene.standing
    assert ("learning-rate-too-high" in named(scene)) is (rate == 0.03)

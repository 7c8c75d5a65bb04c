"""Each symptom rule on a small network made by hand: what raises it, and what must not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rules_builds import linear, scene_of
from rules_scene import Scene, SceneSample


def useless(sample: SceneSample) -> None:
    sample.no_better_than_constant()


def test_a_zero_head_at_the_first_step_is_no_collapse() -> None:
    def zero(sample: SceneSample) -> None:
        if sample.step <= 2:
            sample.model(out_variance=0, out_sd=0, information=0)

    assert Scene().run(50, zero).engine.flags == []


def test_a_zero_head_under_a_warm_up_from_zero_is_no_collapse() -> None:
    def zero(sample: SceneSample) -> None:
        if sample.step <= 4:
            for layer in ("fc1", "fc2", "fc3"):
                sample.layer(layer, update_ratio=0)
            sample.model(out_variance=0, out_sd=0, information=0)

    assert Scene().run(50, zero).engine.flags == []


def test_targets_with_a_large_offset_leave_little_variance_and_no_flag() -> None:
    def offset(sample: SceneSample) -> None:
        sample.model(out_variance=1e-11, information=np.nan, sigma_share=0.8)

    assert Scene().run(100, offset).engine.flags == []


def test_a_network_that_forgets_what_it_knew_has_collapsed() -> None:
    scene = Scene().run(200).run(20, useless)
    flag = scene.standing["output-collapse"]
    assert flag.severity == "critical"
    assert 200 < flag.onset_step <= 209
    assert flag.evidence["peak_information"] > 0.5


def test_a_frozen_teacher_is_not_judged() -> None:
    scene = Scene()
    import msgspec

    scene.table = msgspec.structs.replace(
        scene.table,
        models=(msgspec.structs.replace(scene.table.models[0], trainable=0),),
    )
    scene.run(40, lambda s: s.model(out_variance=0, out_sd=0))
    assert not scene.standing


def test_a_model_that_stays_at_the_constant_answer_becomes_a_failure() -> None:
    scene = Scene().run(99, useless)
    assert not scene.standing
    scene.run(60, useless)
    assert scene.standing["constant-predictor"].severity == "warning"
    scene.run(1200, useless)
    assert scene.standing["constant-predictor"].severity == "critical"
    # Its weights have trebled by now, as they do in sound runs: the labels are what is left.
    assert scene.causes == ["label-noise"]


def test_a_slow_start_that_rises_is_no_constant_predictor() -> None:
    def slow(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(information=1e-5 * np.exp(sample.step / 150))

    assert Scene().run(800, slow).engine.flags == []


def test_warming_up_the_rate_is_waited_for() -> None:
    def warming(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(lr=1e-6 * sample.step)

    assert Scene().run(400, warming).engine.flags == []


def test_batches_of_one_label_say_nothing_about_the_predictor() -> None:
    def one_label(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(batch_label_entropy=0.05)

    assert "constant-predictor" not in Scene().run(400, one_label).standing


def test_units_stuck_on_one_end_are_a_warning_and_critical_once_nothing_is_learnt() -> None:
    def stuck(sample: SceneSample) -> None:
        useless(sample)
        sample.layer("act1", saturation=0.99, saturated_units=0.95)

    scene = Scene().run(20, stuck)
    assert (scene.standing["saturation"].severity, scene.standing["saturation"].layer) == (
        "warning",
        "act1",
    )
    scene.run(200, stuck)
    assert scene.standing["saturation"].severity == "critical"
    assert scene.causes == ["saturating-activation"]


def test_saturated_elements_alone_are_the_use_of_a_sigmoid() -> None:
    scene = Scene().run(300, lambda s: s.layer("act1", saturation=0.35, saturated_units=0.0))
    assert scene.engine.flags == []


def test_a_dead_branch_beside_a_living_path_is_a_note() -> None:
    def branch(sample: SceneSample) -> None:
        if sample.step > 150:
            sample.layer("act1", dead_units=1, out_variance=0, out_rms=0)

    scene = Scene().run(300, branch)
    assert scene.standing["dead-units"].severity == "info"
    assert scene.engine.verdict() == "healthy"


def test_a_gate_that_is_shut_in_the_first_steps_is_a_note() -> None:
    def shut(sample: SceneSample) -> None:
        sample.layer("act1", dead_units=1, zero_share=1, out_rms=0, out_variance=0)
        sample.model(skill=0.01, information=0.005)
        sample.loss = 2.28

    scene = Scene().run(30, shut)
    assert scene.standing["dead-units"].severity == "info"
    assert not scene.causes


def test_a_dead_expert_beside_others_that_learn_slowly_is_a_note() -> None:
    def slow(sample: SceneSample, pace: float) -> None:
        skill = pace * sample.step
        sample.loss = 2.3 * (1 - skill)
        sample.model(loss=sample.loss, skill=skill, information=skill / 2)
        if sample.step > 53:
            sample.layer("act1", dead_units=1, zero_share=1, out_variance=0, out_rms=0)

    slowly = Scene().run(300, lambda s: slow(s, 3e-4))
    assert {f.severity for f in slowly.changes if f.kind == "dead-units"} == {"info"}
    still = Scene().run(300, lambda s: slow(s, 0.0))
    assert "warning" in {f.severity for f in still.changes if f.kind == "dead-units"}


def test_sparse_units_are_not_dead_ones() -> None:
    scene = Scene().run(300, lambda s: s.layer("act1", dead_units=0.64, zero_share=0.83))
    assert scene.engine.flags == []


def test_dead_units_report_the_step_since_which_nothing_passes() -> None:
    def born_dead(sample: SceneSample) -> None:
        sample.layer(
            "act1", dead_units=float(sample.step >= 10), out_variance=0, out_rms=0, zero_share=1
        )
        useless(sample)
        sample.model(out_variance=0, out_sd=0)

    scene = Scene().run(20, born_dead)
    flag = scene.standing["dead-units"]
    assert (flag.onset_step, flag.severity) == (1, "critical")
    assert scene.causes == ["dying-relu"]


def test_twins_are_flagged_at_birth_but_not_where_they_part_ways() -> None:
    def twins(sample: SceneSample) -> None:
        useless(sample)
        for layer in ("fc1", "fc2"):
            sample.layer(
                layer, duplicate_units=1, duplicate_grads=1, participation=1.0, weight_drift=0.01
            )

    def zero_branch(sample: SceneSample) -> None:
        if sample.step == 1:
            sample.layer("fc2", duplicate_units=1, duplicate_grads=np.nan)

    scene = Scene().run(5, twins)
    assert scene.standing["duplicate-units"].severity == "warning"
    scene.run(60, twins)
    assert scene.standing["duplicate-units"].severity == "critical"
    assert scene.causes == ["constant-initialisation"]
    assert Scene().run(50, zero_branch).engine.flags == []


def test_units_that_become_twins_out_of_weights_near_zero_were_drawn_too_small() -> None:
    def grow_alike(sample: SceneSample) -> None:
        useless(sample)
        for layer in ("fc1", "fc2", "fc3"):
            grown = 1.03 ** min(sample.step, 80)
            sample.layer(
                layer, weight_rms=1e-3 * grown, weight_spread=0.01 * grown, weight_growth=grown
            )
        if sample.step > 30:
            sample.layer(
                "fc2", duplicate_units=0.96, duplicate_grads=1, participation=1.0, weight_drift=3
            )

    scene = Scene().run(90, grow_alike)
    assert set(scene.standing) == {"duplicate-units"}
    assert scene.causes[0] == "bad-initialisation-scale"


@pytest.mark.parametrize(("spread", "told"), [(1e-4, True), (0.2, False)])
def test_weights_of_two_inputs_that_are_all_one_number_are_one_unit(
    spread: float, told: bool
) -> None:
    def filled(sample: SceneSample) -> None:
        useless(sample)
        for name in ("one", "two"):
            sample.layer(
                name,
                weight_spread=spread,
                weight_rms=0.1,
                participation=1.0,
                duplicate_units=math.nan,
                duplicate_grads=math.nan,
            )

    scene = scene_of([linear("one", 2, 16), linear("two", 16, 1)]).run(60, filled)
    assert ("duplicate-units" in scene.standing) == told
    assert ("constant-initialisation" in scene.causes) == told


@pytest.mark.parametrize(("later", "severity"), [(1.2, "critical"), (0.5, "info")])
def test_where_no_weight_ever_moved_a_lower_batch_is_no_fall(later: float, severity: str) -> None:
    def still(sample: SceneSample) -> None:
        sample.model(0, skill=0.4, information=0.5)
        sample.loss = 1.4 if sample.step < 5 else later
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, grad_rms=0, has_grad=1, update_ratio=0)

    scene = Scene().run(200, still)
    assert scene.standing["vanishing-gradient"].severity == severity


@pytest.mark.parametrize(("passed", "cause"), [(0.005, True), (0.5, False)])
def test_weights_that_are_narrow_together_are_drawn_too_small(passed: float, cause: bool) -> None:
    def faint(sample: SceneSample) -> None:
        useless(sample)
        for place, layer in enumerate(("fc1", "fc2", "fc3")):
            sample.layer(layer, weight_spread=0.3, weight_rms=0.02, out_rms=0.1 * passed**place)

    causes = Scene().run(200, faint).causes
    assert ("bad-initialisation-scale" in causes) == cause


def test_a_head_that_is_born_as_one_unit_and_stays_so_is_all_twins() -> None:
    def tied(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.layer("fc3", duplicate_units=1, duplicate_grads=1, participation=1.0)

    scene = Scene().run(60, tied)
    assert scene.standing["duplicate-units"].layer == "fc3"
    assert scene.causes[0] == "constant-initialisation"


def test_a_head_of_one_constant_whose_rows_part_by_their_labels_is_fine() -> None:
    def parts(sample: SceneSample) -> None:
        if sample.step < 5:
            sample.layer("fc3", duplicate_units=1, duplicate_grads=0.2)

    assert "duplicate-units" not in Scene().run(60, parts).standing


def test_a_loss_no_step_can_follow_is_flagged_at_the_start() -> None:
    scene = Scene().run(40, lambda s: s.layer("fc1", weight_rms=5, grad_rms=1e5))
    flag = scene.standing["exploding-gradient"]
    assert (flag.severity, flag.onset_step, flag.raised_step) == ("warning", 1, 3)
    scene.run(20)
    assert not scene.standing


def test_a_steep_spell_in_mid_run_is_another_matter() -> None:
    scene = Scene().run(40).run(40, lambda s: s.layer("fc1", weight_rms=5, grad_rms=1e5))
    assert "exploding-gradient" not in scene.standing


def test_no_gradient_at_all_is_critical_and_none_for_a_solved_task_is_not() -> None:
    def blocked(sample: SceneSample) -> None:
        useless(sample)
        for layer in ("fc1", "fc2", "fc3"):
            sample.layer(layer, grad_rms=0, update_ratio=0)

    def solved(sample: SceneSample) -> None:
        for layer in ("fc1", "fc2", "fc3"):
            sample.layer(layer, grad_rms=0, update_ratio=0)
        sample.loss = 0.0
        sample.model(loss=0, skill=1)

    scene = Scene().run(40).run(30, blocked)
    flag = scene.standing["vanishing-gradient"]
    assert (flag.layer, flag.followers, flag.severity) == ("fc3", ["fc2", "fc1"], "critical")
    assert Scene().run(200).run(100, solved).engine.flags == []


def test_a_frozen_first_layer_has_no_gradient_by_intent() -> None:
    import msgspec

    scene = Scene()
    first, *rest = scene.table.layers
    scene.table = msgspec.structs.replace(
        scene.table, layers=(msgspec.structs.replace(first, trainable=False), *rest)
    )
    scene.run(300, lambda s: s.layer("fc1", grad_rms=0, update_ratio=0))
    assert scene.engine.flags == []


def test_a_gradient_that_fades_with_depth_is_seen_by_the_updates() -> None:
    names = [f"fc{i}" for i in range(8)]

    def fading(sample: SceneSample) -> None:
        useless(sample)
        for i, name in enumerate(names):
            faint = 10.0 ** (1.5 * (i - 7))
            sample.layer(
                name,
                grad_rms=0.01 * faint,
                update_ratio=0.01 * faint,
                out_variance=10.0 ** (-1 - 1.7 * i),
            )
        sample.model(out_variance=1e-8)

    scene = Scene(names=names).run(250, fading)
    assert scene.standing["vanishing-gradient"].layer != "fc0"
    assert scene.causes[0] == "depth-vanishing"


def test_a_gradient_jump_counts_only_with_the_loss() -> None:
    def jump(sample: SceneSample) -> None:
        sample.model(grad_norm=40)

    def jump_and_loss(sample: SceneSample) -> None:
        sample.model(grad_norm=40, loss=9)
        sample.loss = 9.0

    assert "exploding-gradient" not in Scene().run(100).run(20, jump).standing
    scene = Scene().run(100).run(20, jump_and_loss)
    assert scene.standing["exploding-gradient"].severity == "critical"
    assert scene.standing["exploding-gradient"].onset_step == 101


def test_a_leap_out_of_a_slow_rise_of_the_gradient_begins_by_itself() -> None:
    def risen(sample: SceneSample) -> None:
        sample.model(grad_norm=2.5)

    def leapt(sample: SceneSample) -> None:
        sample.model(grad_norm=4000, loss=9)
        sample.loss = 9.0

    scene = Scene().run(100).run(10, risen).run(20, leapt)
    assert scene.standing["exploding-gradient"].onset_step == 111


@pytest.mark.parametrize(("update", "severity"), [(0.01, "info"), (0.9, "critical")])
def test_where_no_targets_are_known_an_explosion_shows_in_the_steps(
    update: float, severity: str
) -> None:
    """An agent finds its first reward: loss and gradient rise, and the steps are as ever."""

    def agent(sample: SceneSample) -> None:
        sample.model(loss_constant=np.nan, skill=np.nan, information=np.nan)

    def rewarded(sample: SceneSample) -> None:
        agent(sample)
        sample.model(grad_norm=40)
        sample.layer("fc1", update_ratio=update)
        sample.loss = 9.0

    scene = Scene().run(100, agent).run(20, rewarded)
    assert scene.standing["exploding-gradient"].severity == severity


def test_steps_that_a_gradient_scaler_leaves_out_are_no_failure() -> None:
    def skipped(sample: SceneSample) -> None:
        if sample.step in {1, 2, 3, 150}:
            for layer in ("fc1", "fc2", "fc3"):
                sample.layer(layer, nonfinite=1, grad_rms=np.nan, update_ratio=0)
            sample.model(grad_norm=np.nan)

    assert Scene().run(200, skipped).engine.flags == []


@pytest.mark.parametrize("every", [1, 10, 50])
def test_a_nan_is_critical_at_once(every: int) -> None:
    def nan(sample: SceneSample) -> None:
        sample.layer("fc2", nonfinite=0.5, weight_rms=np.nan, out_rms=np.nan)
        sample.model(nonfinite=1, grad_norm=np.nan)
        sample.loss = np.nan

    scene = Scene().run(200, every=every).run(every, nan, every=every)
    assert scene.standing["non-finite"].severity == "critical"
    # One batch that holds a NaN leaves the same, and is named after it.
    assert scene.causes == ["numerical-overflow", "bad-data"]


def test_a_large_update_is_a_note_until_the_loss_says_otherwise() -> None:
    def large(sample: SceneSample) -> None:
        if sample.step in {1, 2}:
            sample.layer("fc2", update_ratio=1.3)

    def ruinous(sample: SceneSample) -> None:
        large(sample)
        if sample.step > 1:
            sample.loss = 20.0
            sample.model(loss=20, skill=-8, information=0.1)

    calm = Scene().run(60, large)
    assert not [flag for flag in calm.changes if flag.severity != "info"]
    scene = Scene().run(30, ruinous)
    flag = scene.standing["update-too-large"]
    assert (flag.severity, flag.onset_step, flag.layer) == ("critical", 1, "fc2")
    assert scene.causes == ["learning-rate-too-high"]
    cause = scene.engine.causes()[0]
    assert cause.advice.startswith("lr 0.1 -> about 0.00077 (0.00023-0.0023)")
    assert any("1.3 of itself" in line for line in cause.evidence)


def test_a_catapult_is_over_before_it_counts() -> None:
    def catapult(sample: SceneSample) -> None:
        if sample.step <= 3:
            sample.layer("fc3", update_ratio=2.0)
        if 1 < sample.step < 10:
            sample.loss = 200.0 / sample.step**2
            sample.model(loss=sample.loss, skill=1 - sample.loss / 2.3)

    assert not [f for f in Scene().run(200, catapult).changes if f.severity != "info"]


def test_a_catapult_that_rebounds_once_is_on_its_way_down_all_the_same() -> None:
    # A tower with skips at its first steps: eleven losses in a row above the level, and one later.
    losses = [4.0, 8.3, 32.4, 29.1, 35.0, 24.9, 24.0, 18.0, 17.7, 18.0, 13.6, 6.8, 4.9, 4.0]
    losses += [1.7, 2.5, 6.7, 4.3, 2.3, 1.9]

    def catapult(sample: SceneSample) -> None:
        if sample.step <= 5:
            sample.layer("fc3", update_ratio=0.6)
        if sample.step <= len(losses):
            sample.loss = losses[sample.step - 1]
            sample.model(loss=sample.loss, skill=1 - sample.loss / 2.3)

    assert not [f for f in Scene().run(200, catapult).changes if f.severity != "info"]


def test_odd_inputs_are_a_note_until_something_goes_wrong() -> None:
    def raw(sample: SceneSample) -> None:
        sample.model(in_max=4254, in_rms=300, in_variance=0.01, in_top_share=0.97)

    def raw_and_stuck(sample: SceneSample) -> None:
        raw(sample)
        useless(sample)
        sample.layer("act1", saturated_units=0.97, saturation=0.98)

    fine = Scene().run(300, raw)
    assert fine.standing["input-anomaly"].severity == "info"
    assert fine.engine.verdict() == "healthy"
    assert fine.causes == []
    scene = Scene().run(150, raw_and_stuck)
    assert scene.standing["input-anomaly"].severity == "warning"
    assert scene.causes[0] == "unnormalised-inputs"
    assert "4.25e+03" in scene.engine.causes()[0].advice


def test_inputs_that_are_all_the_same_explain_a_constant_output() -> None:
    def same(sample: SceneSample) -> None:
        useless(sample)
        sample.model(in_variance=0, out_variance=0, out_sd=0)

    scene = Scene().run(30, same)
    assert scene.standing["input-anomaly"].severity == "critical"
    assert scene.causes == ["low-data-diversity"]


def test_shrinking_weights_are_critical_once_the_output_is_gone() -> None:
    def shrinking(sample: SceneSample) -> None:
        for layer in ("fc1", "fc2", "fc3"):
            sample.layer(layer, weight_growth=np.exp(-sample.step / 20))
        if sample.step > 60:
            useless(sample)
            sample.model(out_variance=0, out_sd=0)

    scene = Scene().run(40, shrinking)
    assert scene.standing["weight-collapse"].severity != "critical"
    scene.run(60, shrinking)
    assert scene.standing["weight-collapse"].severity == "critical"
    assert scene.causes == ["over-regularisation"]


def test_a_rate_raised_between_two_samples_is_still_the_cause() -> None:
    def dead(sample: SceneSample) -> None:
        useless(sample)
        sample.model(lr=20.0, out_variance=0, out_sd=0)
        sample.layer("act2", dead_units=1, out_variance=0, out_rms=0)
        for layer in ("fc1", "fc2", "fc3"):
            sample.layer(layer, update_ratio=0, grad_rms=0)

    scene = Scene().run(200, every=50).run(200, dead, every=50)
    assert scene.causes[0] == "learning-rate-too-high"
    assert "-> 0.1, as it was until step" in scene.engine.causes()[0].advice


@pytest.mark.parametrize(("step_size", "flat", "called"), [(34.0, 0.98, True), (0.1, 0.98, False),
                                                           (34.0, 0.6, False)])  # fmt: skip
def test_what_one_step_drove_to_flat_ends_is_told_though_the_rest_learns(
    step_size: float, flat: float, called: bool
) -> None:
    def driven(sample: SceneSample) -> None:
        sample.loss = 1.3
        sample.model(loss=1.3, skill=0.4, information=0.4)
        first = sample.step == 1
        sample.layer("fc1", update_ratio=step_size if first else 0.01)
        sample.layer("act1", saturation=0.0 if first else flat, saturated_units=0.1)

    scene = Scene().run(120, driven)
    assert ("saturation" in scene.standing) is called
    if called:
        assert scene.standing["saturation"].severity == "warning"
        assert scene.causes[0] == "learning-rate-too-high"


def test_values_that_were_learnt_and_lost_are_told_by_how_far_they_spread() -> None:
    def lost(sample: SceneSample) -> None:
        gone = sample.step > 200
        sample.model(information=np.nan, sigma_share=0.05 if gone else 0.9)
        if gone:
            sample.loss = 2.3
            sample.model(loss=2.3, skill=0.0)

    flag = Scene().run(230, lost).standing["output-collapse"]
    assert "spreads 0.05 times as wide as the targets after 0.9" in flag.message
    assert "information" not in flag.evidence


@pytest.mark.parametrize(
    ("handed_on", "steps", "severity"),
    [(0.01, 60, "warning"), (0.0, 60, "critical"), (0.01, 200, "critical")],
    ids=["a quantiser's first codes", "dead units", "codes that stay one"],
)
def test_codes_that_are_all_one_for_some_first_steps_are_not_critical(
    handed_on: float, steps: int, severity: str
) -> None:
    def one_code(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(out_variance=1e-15)
        sample.layer("fc1", out_variance=0.02, out_grad_rms=handed_on)
        for name in ("fc2", "fc3"):
            sample.layer(name, out_variance=1e-15)

    flag = Scene().run(steps, one_code).standing["output-collapse"]
    assert flag.severity == severity

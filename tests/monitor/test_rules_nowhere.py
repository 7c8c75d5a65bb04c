"""Runs that get nowhere, or have to begin anew, and those that only look so."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from rules_builds import layer, linear, scene_of
from rules_scene import Scene, SceneSample

from deadband_monitor.rules.thrown import Thrown

CONSTANT = 2.3
AT = 200
"""The step from which the rows are others."""


def relearns(sample: SceneSample) -> None:
    """What was known at step 200 is worth nothing, and is learnt again within fifty steps."""
    if sample.step < AT:
        return
    skill = 0.9 * (1 - math.exp(-(sample.step - AT) / 20)) - 0.2 * math.exp(-(sample.step - AT) / 5)
    sample.loss = CONSTANT * (1 - skill)
    sample.model(loss=sample.loss, skill=skill, information=max(0.02, skill))


def test_what_was_thrown_back_stands_as_a_warning_while_it_is_learnt_anew() -> None:
    scene = Scene().run(300, relearns)
    flag = scene.standing["loss-divergence"]
    assert flag.severity == "warning"
    assert flag.onset_step == AT
    assert scene.causes[0] == "bad-data"


@pytest.mark.parametrize("steps", [100, 600])
def test_ids_of_another_dictionary_are_told_though_the_loss_was_not_doubled(steps: int) -> None:
    """Of twenty letters a constant answer costs 3.0; 1.9 had been reached when they changed."""

    def letters(sample: SceneSample) -> None:
        knows = sample.step < AT
        sample.loss = 3.2 - 1.3 * sample.step / AT if knows else 2.98
        said = 0.3 if knows else 0.001
        sample.model(loss=sample.loss, loss_constant=3.0, skill=1 - sample.loss / 3.0)
        sample.model(information=said, label_entropy=3.0, neighbour_agreement=math.nan)
        if not knows:
            sample.model(out_variance=0.003, out_sd=0.05)

    scene = Scene().run(AT - 1, letters).run(steps, letters)
    cause = scene.engine.causes()[0]
    assert (cause.cause, cause.onset_step) == ("bad-data", AT)
    assert "label-noise" not in scene.causes


def test_a_run_that_made_up_for_it_is_well_again() -> None:
    def in_full(sample: SceneSample) -> None:
        relearns(sample)
        if sample.step > AT + 150:
            sample.loss = 0.02

    scene = Scene().run(2 * AT + 20, in_full)
    assert "loss-divergence" not in scene.standing


def test_a_short_spell_of_foul_batches_is_nothing_that_lasts() -> None:
    def spell(sample: SceneSample) -> None:
        if AT <= sample.step < AT + 6:
            sample.loss = 3.0

    assert "loss-divergence" not in Scene().run(300, spell).standing


def losses(after: np.ndarray) -> tuple[list[float], list[int]]:
    series = [0.3] * 60 + after.tolist()
    return series, list(range(1, len(series) + 1))


def test_the_step_is_found_however_many_losses_come_at_once() -> None:
    thrown = Thrown()
    thrown.add(*losses(np.geomspace(3.0, 0.9, 40)), CONSTANT)
    assert thrown.since == 61
    assert thrown.level == pytest.approx(0.3)


def test_a_loss_that_climbs_over_many_steps_was_not_thrown() -> None:
    thrown = Thrown()
    thrown.add(*losses(np.geomspace(0.4, 3.0, 60)), CONSTANT)
    assert thrown.since is None


@pytest.mark.parametrize(("joined", "since"), [(0.0, 61), (0.5, None)])
def test_classes_that_join_later_are_more_to_learn_and_throw_nothing_away(
    joined: float, since: int | None
) -> None:
    thrown = Thrown()
    series, steps = losses(np.geomspace(3.0, 0.9, 40))
    for loss, step in zip(series, steps, strict=True):
        met = joined * min(1.0, max(0, step - 60) / 30)  # some rows of them at a time
        thrown.add([loss], [step], CONSTANT, 1.79 + met)
    assert thrown.since == since


def test_losses_of_another_task_are_held_against_nothing() -> None:
    thrown = Thrown()
    series, steps = losses(np.full(40, 3.0))
    thrown.add(series[:60], steps[:60], CONSTANT)
    thrown.pause()
    thrown.add(series[60:], steps[60:], CONSTANT)
    assert thrown.since is None


def sinks(pace: float, information: float = 0.02) -> Scene:
    """The loss sinks steadily by `pace` of a constant answer's a step."""

    def bend(sample: SceneSample) -> None:
        skill = pace * sample.step
        sample.loss = CONSTANT * (1 - skill)
        sample.model(loss=sample.loss, skill=skill, information=information)

    return Scene().run(300, bend)


def test_a_loss_that_sinks_by_hundredths_is_no_progress() -> None:
    assert sinks(5e-5).standing["constant-predictor"].severity == "warning"


def test_a_slow_run_that_will_be_somewhere_in_good_time_is_let_be() -> None:
    assert "constant-predictor" not in sinks(3e-4).standing


def test_answers_that_are_right_and_too_sure_are_no_constant() -> None:
    assert "constant-predictor" not in sinks(5e-5, information=0.7).standing


def rare(share: float, skill: float, every: int = 50) -> Scene:
    """Batches of 64, most of them of one class alone, at a sample every fiftieth step."""

    def bend(sample: SceneSample) -> None:
        sample.loss = 0.04 * (1 - skill)
        sample.model(
            majority_share=share,
            majority_predicted=1.0,
            label_entropy=0.04,
            loss_constant=0.04,
            batch_label_entropy=0.0,
            loss=sample.loss,
            skill=skill,
            information=0.1,
            top_share=1.0,
        )

    scene = Scene()
    seen = msgspec.structs.replace(scene.table.models[0], loss_target=(64,))
    scene.table = msgspec.structs.replace(scene.table, models=(seen,))
    return scene.run(400, bend, every)


def test_rare_rows_that_no_sample_held_are_told_by_the_losses_between() -> None:
    scene = rare(0.993, 0.05)
    assert scene.standing["constant-predictor"].evidence["majority_share"] == pytest.approx(0.993)
    assert scene.causes[0] == "class-imbalance"


def test_rare_rows_that_the_losses_know_are_no_matter() -> None:
    assert not rare(0.993, 0.7).standing


def test_little_skill_after_an_update_that_replaced_the_weights_is_none() -> None:
    def left(sample: SceneSample, first: float) -> None:
        sample.loss = CONSTANT * 0.93
        sample.model(loss=sample.loss, skill=0.07, information=0.06)
        if sample.step == 1:
            sample.layer("fc1", update_ratio=first)
        sample.layer("fc1", weight_growth=1 + first)

    ruined = Scene().run(260, lambda sample: left(sample, 4.0))
    hard = Scene().run(260, lambda sample: left(sample, 0.05))
    assert ruined.standing["constant-predictor"].severity == "warning"
    assert ruined.causes[0] == "learning-rate-too-high"
    assert "constant-predictor" not in hard.standing


def test_a_first_stage_whose_targets_nobody_saw_is_no_level_for_the_next() -> None:
    def stages(sample: SceneSample) -> None:
        sample.lost = lambda step: 0.05 if step < 250 else 0.02 + 2.3 * math.exp(-(step - 250) / 30)
        sample.loss = sample.lost(sample.step)
        if sample.step < 250:
            sample.model(skill=math.nan, loss_constant=math.nan, information=math.nan)

    standing = Scene().run(450, stages, 50).standing
    assert all(flag.severity == "info" for flag in standing.values())


@pytest.mark.parametrize(
    ("kind", "classes", "steps", "called"),
    [
        ("LSTM", 24, 280, False),
        ("LSTM", 24, 400, True),
        ("LSTM", 10, 200, True),
        ("Linear", 24, 200, True),
    ],
)
def test_a_series_of_words_stands_long_at_how_often_each_comes(
    kind: str, classes: int, steps: int, called: bool
) -> None:
    def stands(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(label_entropy=math.log(classes))

    told = {"loss": "cross_entropy", "loss_input": (64, 60), "loss_target": (64,)}
    layers = [layer("table", "Embedding"), layer("rnn", kind, parameters=99), linear("out", 64, 60)]
    scene = scene_of(layers, model=told).run(steps, stands)
    assert ("constant-predictor" in scene.standing) is called

"""Rare answers, few rows and faint inputs: told in short runs, and where samples are far apart."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from rules_builds import layer, trained_by
from rules_scene import SceneSample

from deadband_monitor.rules.handful import OUTNUMBERED
from deadband_monitor.rules.trend import History

Bend = Callable[[SceneSample], None]


def majority(agreement: float) -> Bend:
    """Nothing but the majority is named, at the loss of a constant answer."""

    def bend(sample: SceneSample) -> None:
        sample.loss = 0.2 * (0.97 + 0.1 * math.sin(5 * sample.step))
        sample.model(
            majority_share=0.95, majority_predicted=1.0, label_entropy=0.2, loss_constant=0.2,
            top_share=1.0, information=0.03, neighbour_agreement=agreement, loss=sample.loss,
            skill=0.03,
        )  # fmt: skip

    return bend


@pytest.mark.parametrize(("agreement", "called"), [(0.3, True), (0.98, False)])
def test_rare_rows_among_the_others_are_called_in_a_short_run(
    agreement: float, called: bool
) -> None:
    made = trained_by().run(180, majority(agreement))
    assert ("class-imbalance" in made.causes) is called


def test_rare_rows_stay_unlearnt_while_few_samples_name_none_though_the_loss_sinks() -> None:
    made = trained_by().run(200, majority(0.3), every=50)
    assert "class-imbalance" in made.causes

    def ranked(sample: SceneSample) -> None:
        majority(0.3)(sample)
        sample.loss *= 0.46
        sample.model(loss=sample.loss, skill=0.54, information=0.3, rare_recall=math.nan)

    assert "class-imbalance" in made.run(250, ranked, every=50).causes


def test_rare_rows_that_lie_apart_are_given_more_time_and_no_more() -> None:
    assert "class-imbalance" in trained_by().run(330, majority(0.98)).causes


@pytest.mark.parametrize(
    ("rows", "outnumbered", "called"),
    [(5.0, 120.0, True), (1.0, 80.0, True), (20.0, 120.0, False), (5.0, 20.0, False)],
)
def test_a_class_of_a_handful_of_rows_is_learnt_by_heart_and_told(
    rows: float, outnumbered: float, called: bool
) -> None:
    def known(sample: SceneSample) -> None:
        sample.model(
            majority_share=0.99, majority_predicted=0.99, rare_recall=1.0, information=0.9,
            rare_rows=rows, outnumbered=outnumbered,
        )  # fmt: skip

    made = trained_by().run(120, known)
    assert ("input-anomaly" in made.standing) is called
    assert made.causes[:1] == (["class-imbalance"] if called else [])

    def on_the_edge(sample: SceneSample) -> None:
        known(sample)
        edge = OUTNUMBERED * (0.9 if sample.step % 2 else 1.1)
        sample.model(outnumbered=edge if called else 20.0)

    before = len(made.run(20, on_the_edge).engine.flags)
    assert len(made.run(60, on_the_edge).engine.flags) == before


def pixels(step: int) -> float:
    """The loss comes down to that of the frequencies, and stays."""
    return 0.075 * (1.02 + 6 * math.exp(-step / 15))


@pytest.mark.parametrize(("highest", "called"), [(-2.5, True), (0.5, False)])
def test_a_yes_in_seventy_that_is_never_given_is_called_while_the_loss_still_sinks(
    highest: float, called: bool
) -> None:
    def bend(sample: SceneSample) -> None:
        sample.loss = pixels(sample.step) - 1e-5 * sample.step
        sample.model(
            loss=sample.loss, loss_constant=0.075, skill=1 - sample.loss / 0.075,
            information=0.03, target_mean=0.015, majority_share=np.nan, out_max=highest,
            out_min=-6.0, label_entropy=np.nan, neighbour_agreement=0.06,
        )  # fmt: skip

    made = trained_by("bce_logits", "", (8, 1, 16, 16), (8, 1, 16, 16)).run(200, bend)
    assert ("class-imbalance" in made.causes) is called
    if called:
        assert "no answer is ever yes" in made.standing["constant-predictor"].message


@pytest.mark.parametrize(("spread", "named"), [(0.0995, True), (0.05, False)])
def test_few_ones_among_zeros_are_rare_answers_under_a_squared_error_too(
    spread: float, named: bool
) -> None:
    def bend(sample: SceneSample) -> None:
        sample.loss = 0.01
        sample.model(
            loss=0.01, skill=-0.01, loss_constant=0.0099, information=np.nan, sigma_share=0.02,
            top_share=np.nan, label_entropy=np.nan, batch_label_entropy=np.nan,
            majority_share=np.nan, target_mean=0.01, target_sd=spread, target_min=0.0,
            target_max=1.0, out_min=-5.0, out_max=-1.0, neighbour_agreement=0.08,
        )  # fmt: skip

    made = trained_by("mse", "", (8, 1, 16, 16), (8, 1, 16, 16)).run(240, bend)
    assert "constant-predictor" in made.standing
    assert ("class-imbalance" in made.causes) == named


@pytest.mark.parametrize("repeat", [1.0, 0.6])
def test_eight_rows_for_ever_are_told_by_the_steps_between_the_samples_too(repeat: float) -> None:
    taken = [0]

    def bend(sample: SceneSample) -> None:
        taken[0] += 1
        sample.model(
            in_rows=8, in_distinct=1 / taken[0], in_per_feature=8 / 64, in_repeat=repeat,
            in_constant=0.1, majority_share=0.2, neighbour_agreement=np.nan,
        )  # fmt: skip

    made = trained_by(target=(8,)).run(200, bend, every=50)
    assert made.standing["input-anomaly"].severity == "warning"
    assert made.causes == ["low-data-diversity", "overfitting"]


def test_two_rows_are_why_a_batch_norm_has_no_more_to_go_by() -> None:
    def bend(sample: SceneSample) -> None:
        sample.loss = 1 / sample.step
        sample.layer("bn", norm_ratio=1.0, norm_shift=0.01, norm_values=2.0)
        sample.model(
            in_rows=2, in_distinct=1 / sample.step, in_per_feature=2 / 64, in_repeat=0.7,
            in_constant=0.1, neighbour_agreement=np.nan, skill=0.9, loss=sample.loss,
            eval_loss=2.0 + sample.step / 20 if sample.step % 10 == 0 else np.nan,
        )  # fmt: skip

    made = trained_by(target=(2,))
    bn = layer("bn", "BatchNorm1d")
    made.table = msgspec.structs.replace(made.table, layers=(*made.table.layers, bn))
    made.run(120, bend)
    assert {"batchnorm-mismatch", "overfitting", "input-anomaly"} <= set(made.standing)
    assert made.causes[0] == "low-data-diversity"


def test_rows_that_a_sample_has_not_met_twice_are_not_all_that_there_are() -> None:
    def bend(sample: SceneSample) -> None:
        sample.model(
            in_rows=40, in_distinct=0.7, in_per_feature=0.5, in_repeat=0.1, in_constant=0.1,
            majority_share=0.2, neighbour_agreement=np.nan,
        )  # fmt: skip

    assert trained_by(target=(8,)).run(300, bend, every=50).standing == {}


@pytest.mark.parametrize(("skill", "said"), [(0.0, "warning"), (0.6, "info")])
def test_tiny_inputs_are_called_where_nothing_is_learnt_of_them(skill: float, said: str) -> None:
    def bend(sample: SceneSample) -> None:
        sample.loss = 2.3 * (1 - skill)
        sample.model(
            in_rms=2e-5, in_max=1e-4, loss=sample.loss, skill=skill,
            # Dust that doubles all the time looks like a slow start.
            information=max(0.8 * skill, 1e-11 * 2 ** (sample.step / 50)),
        )  # fmt: skip

    made = trained_by().run(260, bend, every=50)
    assert made.standing["input-anomaly"].severity == said
    assert made.causes[:1] == (["unnormalised-inputs"] if skill == 0 else [])


def unrelated(distinct: float, rows: float) -> Bend:
    """Labels by the dice; what the answers say grows out of dust."""

    def bend(sample: SceneSample) -> None:
        sample.loss = 2.3
        sample.lost = lambda step: sample.loss * (1 + 1e-5 * (step % 2))  # as batches differ
        sample.model(
            loss=2.3, skill=0.0, information=1e-6 * 2 ** (sample.step / 60), in_repeat=0.0,
            in_distinct=distinct, in_rows=rows, neighbour_agreement=0.01, majority_share=0.12,
            out_variance=1e-3 * 2 ** (sample.step / 60), in_constant=0.1,
        )  # fmt: skip

    return bend


def test_rows_met_again_after_fifty_steps_were_shown_many_times_between() -> None:
    # Of 400 sampled rows 38 were met before: 2100 rows, of which 300 steps of 64 show 9 rounds.
    made = trained_by().run(300, unrelated(0.905, 362), every=50)
    assert made.causes[:1] == ["label-noise"]


@pytest.mark.parametrize(("slope", "called"), [(0.03, False), (0.001, True)])
def test_what_is_found_within_a_round_is_not_learnt_by_heart(slope: float, called: bool) -> None:
    """1200 rows, 32 a step: after 37 steps a row is met again."""

    def bend(sample: SceneSample) -> None:
        skill = min(0.42, max(0.0, slope * (sample.step - 200)))
        unrelated(0.58, 1200)(sample)
        sample.loss = 2.3 * (1 - skill)
        sample.model(
            loss=sample.loss, skill=skill, information=max(0.003, skill), neighbour_agreement=-0.02
        )

    made = trained_by(target=(32,)).run(199, bend)
    assert made.causes[:1] == ["label-noise"]
    made.run(300, bend)
    assert ("constant-predictor" in made.standing) is called


def test_an_output_that_cannot_reach_its_targets_comes_before_what_these_mean() -> None:
    def bend(sample: SceneSample) -> None:
        sample.model(
            label_entropy=np.nan, batch_label_entropy=np.nan, information=np.nan,
            top_share=np.nan, class_numbers=1.1, target_min=0, target_max=9, target_mean=4.5,
            target_sd=2.9, out_min=0.2, out_max=0.99, sigma_share=0.05,
        )  # fmt: skip
        sample.layer("out", out_variance=0.4, out_rms=1, nonfinite=0, out_grad_rms=0.01)

    made = trained_by("l1", "sigmoid", (32, 1), (32, 1)).run(60, bend)
    assert made.causes[0] == "output-activation-mismatch"


def test_sinking_to_the_loss_of_the_frequencies_is_no_knowledge_of_rare_rows() -> None:
    def bend(sample: SceneSample) -> None:
        majority(0.2)(sample)
        sample.loss = 0.2 * (1 + 8 * math.exp(-sample.step / 60))
        sample.model(loss=sample.loss, skill=1 - sample.loss / 0.2)

    assert trained_by().run(200, bend, every=50).causes[:1] == ["class-imbalance"]


def test_of_few_rows_the_neighbours_may_disagree_by_chance() -> None:
    def bend(sample: SceneSample) -> None:
        unrelated(0.5, 130)(sample)
        sample.model(neighbour_agreement=-0.14, label_entropy=math.log(2))

    assert trained_by().run(300, bend, every=10).causes[:1] == ["label-noise"]


def test_neighbours_that_never_agree_differ_by_design() -> None:
    """Sums modulo seven: one digit more is always another class."""

    def bend(sample: SceneSample) -> None:
        unrelated(0.5, 230)(sample)
        sample.model(neighbour_agreement=-1 / 6, label_entropy=math.log(7))

    assert "label-noise" not in trained_by().run(300, bend, every=10).causes


def test_rare_rows_that_are_half_known_are_given_time_and_no_more() -> None:
    def half(sample: SceneSample) -> None:
        majority(0.45)(sample)
        sample.loss *= 0.65
        sample.model(loss=sample.loss, skill=0.35, information=0.3)

    made = trained_by().run(190, half)
    assert "class-imbalance" not in made.causes
    assert "class-imbalance" in made.run(30, half).causes


def half_known(recall: float, sinks: float = 0.0, said: float = 1.0) -> Bend:
    """It is learnt which rows may be rare ones, hardly which of them are."""

    def bend(sample: SceneSample) -> None:
        sample.loss = 0.1 * (0.36 + 0.6 * math.exp(-sample.step / 40) - sinks * sample.step)
        sample.model(
            majority_share=0.98, majority_predicted=said, label_entropy=0.1, loss_constant=0.1,
            top_share=1.0, information=0.5, rare_recall=recall, loss=sample.loss,
            skill=1 - sample.loss / 0.1, batch_label_entropy=1.0, neighbour_agreement=math.nan,
        )  # fmt: skip

    return bend


@pytest.mark.parametrize(
    ("bend", "called"),
    [
        (half_known(0.03, said=0.99), True),
        (half_known(0.4, said=0.99), False),
        (half_known(0.03, sinks=8e-4, said=0.99), False),
    ],
    ids=["hardly ever found", "found now and then", "still learning"],
)
def test_rare_rows_that_stay_unfound_are_called_however_good_the_guesses(
    bend: Bend, called: bool
) -> None:
    made = trained_by("cross_entropy", "", (448, 2), (448,)).run(290, bend)
    assert ("class-imbalance" in made.causes) is called


@pytest.mark.parametrize(("said", "called"), [(1.0, True), (0.985, False)])
def test_of_a_picture_four_pixels_count_as_rows(said: float, called: bool) -> None:
    def bend(sample: SceneSample) -> None:
        half_known(math.nan, said=said)(sample)
        sample.loss = 0.1 * (0.68 + 0.02 * math.sin(5 * sample.step))
        sample.model(loss=sample.loss, skill=0.32, information=0.05)

    made = trained_by("cross_entropy", "", (8, 2, 16, 16), (8, 16, 16)).run(300, bend, every=10)
    assert ("class-imbalance" in made.causes) is called


@pytest.mark.parametrize(
    ("values", "rises"), [((3e-5, 2e-4, 5e-4), None), ((3e-5, 1.2e-4, 5e-4), True)]
)
def test_a_start_that_slackens_in_dust_is_no_slow_start(
    values: tuple[float, ...], rises: bool | None
) -> None:
    history = History()
    for step, value in zip((150, 200, 250), values, strict=True):
        history.add(step, value)
    assert history.rising(100, 0.01) is rises


def test_a_history_keeps_its_start_and_what_came_after_a_gap() -> None:
    history = History()
    for step in [*range(1, 70), *range(246, 5000)]:
        history.add(step, float(step))
    assert len(history) <= 240
    assert history.at(1) == 1
    assert history.at(246) == 246
    assert history.best_before(100) == (61, 61.0)
    assert history.halves(100)[1][-1] == 4999


def test_what_breaks_a_run_is_named_before_the_few_rows_of_a_warning() -> None:
    def bend(sample: SceneSample) -> None:
        sample.model(
            in_rows=2, in_distinct=1 / (2 * sample.step), in_per_feature=2 / 64, in_repeat=1.0,
            in_constant=0.1, neighbour_agreement=np.nan, coupling=np.nan,
        )  # fmt: skip

    def broken(sample: SceneSample) -> None:
        bend(sample)
        sample.loss = math.nan
        sample.model(loss=math.nan, nonfinite=1.0)

    made = trained_by(target=(2,)).run(60, bend)
    assert made.causes[0] == "low-data-diversity"
    made.run(61, broken)
    assert made.standing["non-finite"].severity == "critical"
    assert made.causes[0] == "numerical-overflow"

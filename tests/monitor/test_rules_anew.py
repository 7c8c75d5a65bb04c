"""Runs that begin anew by design, and those that have learnt the little there is to learn."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest
from rules_scene import Scene, SceneSample

from deadband_monitor.rules.past import Past

Bend = Callable[[SceneSample], None]
FOLD = 200
"""Steps from one draw of the weights to the next."""


def folds(growth: float, drift: float, *, trained: float = 0.8) -> Bend:
    """Every fold trains the weights; the second begins with what is given of the first ones."""

    def bend(sample: SceneSample) -> None:
        fold, step = divmod(sample.step - 1, FOLD)
        sample.layers, sample.models, sample.loss = Scene().healthy(step + 1)
        sample.model(neighbour_agreement=0.95)
        sample.lost = lambda step: Scene().healthy((step - 1) % FOLD + 1)[2]
        far = trained * (1 - math.exp(-step / 60))
        for name in ("fc1", "fc2", "fc3"):
            if fold:
                now = growth * (1 + far / 3)
                sample.layer(name, weight_growth=now, weight_drift=math.hypot(drift, far))
            else:
                sample.layer(name, weight_growth=1 + far / 3, weight_drift=far)

    return bend


def alarms(scene: Scene) -> list[tuple[str, str]]:
    return [(flag.kind, flag.severity) for flag in scene.changes if flag.severity != "info"]


@pytest.mark.parametrize(
    ("growth", "drift", "every"),
    [
        *((1.0, 1.414, every) for every in (1, 10, 50)),
        *((0.97, 1.39, every) for every in (1, 10, 50)),
        *((1.0, 0.0, every) for every in (1, 10, 50)),
    ],
)
def test_weights_drawn_anew_or_rewound_begin_another_run(
    growth: float, drift: float, every: int
) -> None:
    scene = Scene().run(3 * FOLD, folds(growth, drift), every=every)
    assert alarms(scene) == []
    assert scene.engine.past.anew.drawn


@pytest.mark.parametrize("every", [1, 10])
def test_a_loss_that_is_back_where_it_began_with_the_same_weights_is_a_setback(every: int) -> None:
    scene = Scene().run(2 * FOLD - 100, folds(1.3, 0.7), every=every)
    assert ("loss-divergence", "warning") in alarms(scene)
    assert not scene.engine.past.anew.drawn


def test_weights_that_came_back_some_of_the_way_are_not_as_they_had_been_at_that_age() -> None:
    scene = Scene().run(2 * FOLD - 100, folds(1.0, 0.4), every=50)
    assert not scene.engine.past.anew.drawn


@pytest.mark.parametrize("growth", [8.0, 0.1])
def test_weights_that_blew_up_or_shrank_away_were_not_drawn_anew(growth: float) -> None:
    bend = folds(growth, math.sqrt(1 + growth * growth))
    scene = Scene().run(2 * FOLD - 100, bend)
    assert not scene.engine.past.anew.drawn
    assert alarms(scene) != []


def test_the_loss_of_another_draw_is_forgotten_where_it_began() -> None:
    past = Scene().run(FOLD + 50, folds(1.0, 1.414), every=50).engine.past
    assert past.models["model"].born == FOLD
    assert past.loss.first == pytest.approx(Scene().healthy(1)[2])


def little(
    *, share: float = 0.04, held: float = math.nan, distinct: float = 0.97, agreement: float = 0.03
) -> Bend:
    """A coin that is nearly fair: a few hundredths of it can be known."""

    def bend(sample: SceneSample) -> None:
        skill = share * (1 - math.exp(-sample.step / 40))
        noise = 0.03 * math.sin(2.3 * sample.step)
        sample.loss = 0.693 * (1 - skill + noise)
        evaluated = (
            0.693 * (1 - held) if sample.step % 20 == 0 or sample.step % 50 == 0 else math.nan
        )
        sample.model(
            loss=sample.loss, skill=skill, loss_constant=0.693, label_entropy=0.693,
            information=skill, top_share=0.55, neighbour_agreement=agreement,
            in_distinct=distinct, majority_share=0.51, majority_predicted=0.5, eval_loss=evaluated,
        )  # fmt: skip

    return bend


@pytest.mark.parametrize("every", [1, 10, 50])
@pytest.mark.parametrize("bend", [little(), little(held=0.035, distinct=0.4)])
def test_the_little_there_is_to_know_is_no_constant_answer(bend: Bend, every: int) -> None:
    assert alarms(Scene().run(600, bend, every=every)) == []


@pytest.mark.parametrize(
    "bend",
    [little(held=-0.03), little(distinct=0.4), little(share=0.002), little(agreement=0.9)],
    ids=["other rows are not answered", "learnt by heart", "nothing", "more to learn"],
)
def test_no_more_than_that_is_called_where_it_is_not_sure_or_not_all(bend: Bend) -> None:
    assert ("constant-predictor", "warning") in alarms(Scene().run(600, bend))


def test_the_little_that_is_still_being_learnt_of_other_rows_is_not_by_heart() -> None:
    def bend(sample: SceneSample) -> None:
        little(distinct=0.4)(sample)
        if sample.step % 40 == 0:
            sample.model(eval_loss=0.693 * (0.975 + 0.025 * math.exp(-sample.step / 80)))

    assert alarms(Scene().run(600, bend)) == []


def test_a_term_that_is_added_may_take_logits_and_classes_below_zero() -> None:
    def weighed(sample: SceneSample) -> None:
        sample.loss = 2.3 - sample.step / 60  # the logarithm of a spread that is learnt beside it
        sample.model(loss=sample.loss)

    scene = Scene()
    model = msgspec.structs.replace(scene.table.models[0], loss_input=(64, 10), loss_target=(64,))
    scene.table = msgspec.structs.replace(scene.table, models=(model,))
    assert alarms(scene.run(250, weighed)) == []


def test_shares_of_a_yes_out_of_range_are_still_told_by_a_negative_loss() -> None:
    def beyond(low: float) -> Scene:
        def bend(sample: SceneSample) -> None:
            sample.loss = -0.5
            sample.model(loss=-0.5, skill=math.nan, target_min=low, target_max=1.0, information=0.9)

        scene = Scene()
        model = msgspec.structs.replace(scene.table.models[0], loss="bce_logits")
        scene.table = msgspec.structs.replace(scene.table, models=(model,))
        return scene.run(60, bend)

    assert "loss-divergence" in beyond(-1.0).standing
    assert "loss-divergence" not in beyond(0.0).standing


def test_classes_that_join_are_seen_in_the_first_batch_of_a_sparse_cadence() -> None:
    past: list[Past] = []

    def joined(sample: SceneSample) -> None:
        if sample.step < 200:
            sample.model(label_entropy=1.609, batch_label_entropy=0.97)
        else:  # one batch of ten classes among fifteen of five: 2.25 nats of 1.78
            sample.model(label_entropy=1.78, batch_label_entropy=1.264)

    scene = Scene().run(199, joined, every=50)
    assert scene.engine.past.loss.best < math.inf
    past.append(scene.run(1, joined, every=50).engine.past)
    assert past[0].loss.best == math.inf

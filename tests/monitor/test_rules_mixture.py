"""Rows as they come: in order of class, all the same, hardly a yes among them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from rules_builds import of_loss
from rules_scene import Scene, SceneSample


@pytest.mark.parametrize(("seen", "fed"), [(np.nan, True), (0.5, False)])
def test_a_first_layer_that_gives_the_same_for_every_row_is_fed_the_same(
    seen: float, fed: bool
) -> None:
    def stuck(sample: SceneSample) -> None:
        if sample.step < 60:
            return
        for name in ("fc1", "act1", "fc2", "act2", "fc3"):
            sample.layer(name, out_variance=0)
        sample.no_better_than_constant()
        sample.model(out_variance=0, out_sd=0, in_variance=seen, in_rms=np.nan, in_max=np.nan)

    cause = Scene().run(90, stuck).engine.causes()[0]
    assert (cause.cause, cause.onset_step) == ("bad-data", 60)
    assert ("fc1, which sees the inputs first" in cause.evidence[0]) is fed


def test_yes_and_no_with_hardly_a_yes_are_uneven_not_full_of_outliers() -> None:
    scene = of_loss("bce_logits")

    def never(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(target_kurtosis=120, target_mean=0.008, target_sd=0.09)
        sample.model(out_min=-9, out_max=-3, majority_share=np.nan, information=np.nan)

    assert scene.run(200, never).causes[0] == "class-imbalance"


# --- losses written out by hand, whose shapes nobody tells
def by_hand() -> Scene:
    scene = Scene()
    model = msgspec.structs.replace(scene.table.models[0], loss_input=(), loss_target=())
    scene.table = msgspec.structs.replace(scene.table, models=(model,))
    return scene


@pytest.mark.parametrize(("share", "shows"), [(0.05, True), (0.97, False)])
def test_rows_in_order_of_class_are_seen_under_a_loss_written_by_hand(
    share: float, shows: bool
) -> None:
    def in_order(sample: SceneSample) -> None:
        sample.model(
            batch_label_entropy=share,
            majority_share=0.3,
            majority_predicted=0.3,
            in_rows=16 * sample.step,
            in_distinct=1.0,
        )

    assert ("input-anomaly" in by_hand().run(30, in_order).standing) is shows


def test_without_the_number_of_rows_an_odd_mixture_says_nothing() -> None:
    def in_order(sample: SceneSample) -> None:
        sample.model(batch_label_entropy=0.05, majority_share=0.3, majority_predicted=0.3)

    assert "input-anomaly" not in by_hand().run(30, in_order).standing


# --- what evaluation asks for
@pytest.mark.parametrize(
    ("recall", "said", "named"),
    [
        (0.27, 0.97, "class-imbalance"),
        (0.9, 0.97, "overfitting"),
        (np.nan, 0.98, "class-imbalance"),
        (np.nan, 0.93, "overfitting"),
    ],
)
def test_rare_classes_that_are_not_even_learnt_by_heart_are_missed_by_evaluation(
    recall: float, said: float, named: str
) -> None:
    def uneven(sample: SceneSample) -> None:
        sample.loss *= 0.15
        sample.model(
            loss=sample.loss,
            loss_constant=0.35,
            majority_share=0.93,
            majority_predicted=said,
            rare_recall=recall,
            label_entropy=0.35,
            batch_label_entropy=1.0,
            information=0.2,
        )
        if sample.step % 10 == 0:
            sample.model(eval_loss=0.9)

    scene = of_loss("cross_entropy").run(200, uneven)
    assert scene.standing["overfitting"]
    assert scene.causes[0] == named

"""Labels that cannot be learnt, and what else leaves a sound network without skill."""

from __future__ import annotations

import numpy as np
import pytest
from rules_builds import layer, linear, nothing_is_learnt, of_loss, scene_of, values
from rules_scene import Scene, SceneSample


def test_a_large_first_step_that_was_got_over_is_no_reason_to_doubt_shuffled_labels() -> None:
    """Adagrad's first step is as large as its rate."""

    def large(sample: SceneSample) -> None:
        nothing_is_learnt(sample)
        ratio = 0.85 if sample.step == 1 else 0.01
        sample.model(update_ratio=ratio, neighbour_agreement=0.1)
        sample.layer("fc1", update_ratio=ratio)

    made = Scene().run(400, large)
    assert "update-too-large" not in made.standing
    assert made.causes == ["label-noise"]


def test_ids_that_teach_a_sound_network_nothing_leave_the_labels_as_a_last_word() -> None:
    build = [
        layer("words", "Embedding", units=24, fan_in=24, parameters=480),
        linear("head", 24, 2),
    ]
    model: dict[str, object] = {
        "loss": "cross_entropy",
        "loss_input": (32, 2),
        "loss_target": (32,),
    }

    def nothing(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(neighbour_agreement=np.nan, in_distinct=0.5)

    cause = scene_of(build, model=model).run(200, nothing).engine.causes()[0]
    assert cause.cause == "label-noise"
    assert cause.confidence < 0.5


# --- labels
@pytest.mark.parametrize(
    ("agreement", "rows", "named"),
    [(-0.02, 134, "label-noise"), (0.4, 134, "overfitting"), (-0.02, 24, "overfitting")],
)
def test_what_is_learnt_by_heart_for_want_of_anything_else_is_noise(
    agreement: float, rows: int, named: str
) -> None:
    def by_heart(sample: SceneSample) -> None:
        sample.model(
            neighbour_agreement=agreement, in_rows=rows, in_distinct=0.3, label_entropy=1.09
        )
        if sample.step % 10 == 0:
            sample.model(eval_loss=2.3 if sample.step < 50 else 2.3 + sample.step / 100)

    scene = Scene().run(200, by_heart)
    assert scene.standing["overfitting"]
    assert scene.causes[0] == named


def test_a_sound_network_that_learns_nothing_of_too_few_samples_leaves_the_labels() -> None:
    def nothing(sample: SceneSample) -> None:
        sample.no_better_than_constant()

    assert Scene().run(300, nothing, every=50).causes == ["label-noise"]


# --- attention


@pytest.mark.parametrize(("kurtosis", "called"), [(180.0, True), (40.0, False)])
def test_a_few_extreme_targets_among_several_a_row_leave_a_little_agreement(
    kurtosis: float, called: bool
) -> None:
    def ruled(sample: SceneSample) -> None:
        sample.loss = 70.0
        values(
            sample,
            loss=70.0,
            loss_constant=100.0,
            skill=0.3,
            target_sd=10.0,
            target_mean=0.0,
            target_kurtosis=kurtosis,
            neighbour_agreement=0.15,
        )

    assert ("constant-predictor" in of_loss("mse").run(260, ruled).standing) is called


@pytest.mark.parametrize(("agreement", "named"), [(0.25, True), (0.9, False)])
def test_what_a_sound_network_cannot_learn_may_lie_in_the_labels(
    agreement: float, named: bool
) -> None:
    def nothing_learnt(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        sample.model(neighbour_agreement=agreement, information=0.005)

    causes = of_loss("cross_entropy").run(250, nothing_learnt).engine.causes()
    assert any(c.cause == "label-noise" and c.confidence < 0.6 for c in causes) == named

"""What was called stands until it is made good; and faults that were taken for their likeness."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from rules_builds import label_free, layer, linear, scene_of, trained_by
from rules_scene import Scene, SceneSample

from deadband.wire import OptimizerGroup
from deadband_monitor.rules.bottomless import Descent
from deadband_monitor.rules.causes.facts import made_good

Bend = Callable[[SceneSample], None]
MATRICES = ("fc1", "fc2", "fc3")
GAN = [
    linear("g1", 16, 64, "generator"),
    linear("g2", 64, 64, "generator"),
    linear("d1", 64, 64, "discriminator"),
    linear("d2", 64, 1, "discriminator"),
]


def of_loss(loss: str, given: tuple[tuple[int, ...], ...] = ((32, 10), (32,))) -> Scene:
    return trained_by(loss, prediction=given[0], target=given[1])


def told(scene: Scene) -> set[str]:
    """All that was ever called, but for notes."""
    return {flag.kind for flag in scene.changes if flag.severity != "info"}


# --- taken back ---------------------------------------------------------------------------
def knows(skill: float, information: float) -> Bend:
    def bend(sample: SceneSample) -> None:
        sample.loss = 2.3 * (1 - skill)
        sample.model(loss=sample.loss, skill=skill, information=information)

    return bend


@pytest.mark.parametrize(("skill", "stands"), [(0.1, True), (0.4, False)])
def test_what_little_is_learnt_by_heart_is_no_recovery(skill: float, stands: bool) -> None:
    scene = Scene().run(300, knows(0.0, 1e-4))
    assert "constant-predictor" in scene.standing
    scene.run(300, knows(skill, 0.1))
    assert ("constant-predictor" in scene.standing) is stands


@pytest.mark.parametrize(("found", "stands"), [(0.4, True), (0.8, False)])
def test_rare_rows_half_learnt_by_heart_are_no_recovery_however_good_the_losses(
    found: float, stands: bool
) -> None:
    def uneven(sample: SceneSample, recall: float, skill: float, said: float) -> None:
        sample.loss = 0.6 * (1 - skill)
        sample.model(
            loss=sample.loss, loss_constant=0.6, label_entropy=0.6, skill=skill, information=0.1,
            majority_share=0.88, majority_predicted=said, rare_recall=recall, top_share=said,
        )  # fmt: skip

    scene = of_loss("cross_entropy").run(300, lambda s: uneven(s, 0.0, 0.1, 1.0))
    assert "constant-predictor" in scene.standing
    scene.run(200, lambda s: uneven(s, found, 0.7, 1 - 0.12 * found))
    assert ("constant-predictor" in scene.standing) is stands


@pytest.mark.parametrize(("back_at", "stands"), [(0.5, True), (0.95, False)])
def test_samples_that_come_back_from_far_out_have_to_be_as_different_as_the_real(
    back_at: float, stands: bool
) -> None:
    def bend(sample: SceneSample, diversity: float) -> None:
        for row in (0, 1):
            sample.model(row, information=1e-3, skill=math.nan, label_entropy=math.nan)
        sample.model(0, diversity=diversity)
        sample.loss = 0.7

    scene = scene_of(GAN).run(200, lambda s: bend(s, 0.8)).run(300, lambda s: bend(s, 0.1))
    assert "representation-collapse" in scene.standing
    scene.run(300, lambda s: bend(s, back_at))
    assert ("representation-collapse" in scene.standing) is stands


def test_a_pile_of_gradients_that_kills_the_units_was_not_cleared() -> None:
    def dies(sample: SceneSample) -> None:
        dead = sample.step > 60
        for name in MATRICES:
            sample.layer(
                name, has_grad=1, weight_drift=sample.step / 400, grad_cosine=0.9,
                grad_left=0.0 if dead else 1.0 if sample.step > 1 else np.nan,
                grad_rms=0.0 if dead else 0.01,
            )  # fmt: skip
        sample.model(grad_share=1, moved_share=1, skipped=0)

    assert Scene().run(200, dies).causes[0] == "missing-zero-grad"


# --- called too soon ----------------------------------------------------------------------
def test_targets_a_little_below_zero_keep_no_young_run_from_its_best() -> None:
    """Samples whose loss is not half of what the lowest target could cost, and falls fast."""

    def comes_near(sample: SceneSample) -> None:
        skill = 0.6 + 0.008 * sample.step
        sample.loss = 0.05 * (1 - skill)
        sample.model(
            loss=sample.loss, loss_constant=0.05, skill=skill, label_entropy=np.nan,
            information=np.nan, sigma_share=0.7, out_variance=0.7, out_min=0.0, out_max=0.8,
            out_sd=0.2, target_min=-0.16, target_max=1.0, target_mean=0.08, target_sd=0.23,
        )  # fmt: skip

    assert "loss-plateau" not in told(of_loss("mse", ((32, 1), (32, 1))).run(35, comes_near))


def test_what_is_taken_from_an_error_turns_no_sign() -> None:
    """While outputs are small all of the target is missing, and gradients go against them."""
    turned, paid, by_size = Descent(), Descent(), Descent()
    for step in range(1, 40):
        by_size.add(step, -1.0 - 0.3 * step, 0.1 * step, -0.1)
        turned.add(step, -1.0 - 0.3 * step, 0.1 * step, -0.9 if step > 5 else 0.1)
        paid.add(step, -1.0 - 0.1 * step, min(1.0, 0.1 * step), -0.9 if step < 8 else -0.1)
        if step == 5:
            assert not paid.turned(1.0, 1.0)
    assert turned.turned(1.0, 1.0)
    assert by_size.turned(1.0, 1.0)
    assert not paid.turned(1.0, 1.0)


# --- called too late ----------------------------------------------------------------------
@pytest.mark.parametrize(("pull", "called"), [(0.9, True), (0.1, False)])
def test_a_loss_that_decay_holds_up_is_given_half_the_patience(pull: float, called: bool) -> None:
    def held(sample: SceneSample) -> None:
        skill = 0.15 + 0.02 * math.sin(sample.step)
        sample.loss = 0.8 * (1 - skill)
        sample.model(
            loss=sample.loss, loss_constant=0.8, skill=skill, information=np.nan,
            label_entropy=np.nan, sigma_share=0.2, neighbour_agreement=0.97,
        )  # fmt: skip
        for name in MATRICES:
            sample.layer(name, pull_to_zero=pull, weight_growth=max(0.3, 1 - sample.step / 100))

    scene = of_loss("l1", ((32, 1), (32, 1))).run(300, held)
    assert ("loss-plateau" in scene.standing) is called
    if called:
        assert scene.causes[0] == "over-regularisation"


def of_one_class(said: float) -> Bend:
    """Labels of one class, by a loss that is written out by hand."""

    def bend(sample: SceneSample) -> None:
        sample.loss = 1.1 * math.exp(-sample.step / 20)
        shown = min(2000, 16 * sample.step)
        rows = min(42, shown)
        sample.model(
            loss=sample.loss, label_entropy=0.0, batch_label_entropy=np.nan, skill=np.nan,
            loss_constant=np.nan, information=np.nan, majority_share=1.0, top_share=said,
            majority_predicted=said, in_rows=rows, in_distinct=rows / shown,
        )  # fmt: skip

    return bend


@pytest.mark.parametrize(("said", "called"), [(1.0, True), (0.1, False)])
@pytest.mark.parametrize(("every", "steps"), [(1, 100), (10, 300)])
def test_data_of_one_class_are_told_without_shapes_by_what_is_answered(
    said: float, called: bool, every: int, steps: int
) -> None:
    scene = of_loss("cross_entropy", ((), ())).run(steps, of_one_class(said), every=every)
    assert ("input-anomaly" in scene.standing) is called
    if called:
        assert scene.causes[0] == "low-data-diversity"


@pytest.mark.parametrize(("rows", "features", "called"), [(2, 2, True), (2, 1, False)])
def test_two_rows_are_fewer_than_the_smallest_table_of_two_columns(
    rows: int, features: int, called: bool
) -> None:
    def again(sample: SceneSample) -> None:
        shown = min(2000, 32 * sample.step)
        sample.model(
            in_rows=rows, in_distinct=rows / shown, in_per_feature=rows / features, in_repeat=1.0
        )

    scene = of_loss("cross_entropy").run(100, again)
    assert ("input-anomaly" in scene.standing) is called


# --- taken for their likeness -------------------------------------------------------------
@pytest.mark.parametrize(("size", "named"), [(1.0, True), (1e-9, False)])
def test_answers_that_are_next_to_nothing_are_lost_in_the_loss_and_do_not_cancel(
    size: float, named: bool
) -> None:
    def stands(sample: SceneSample) -> None:
        label_free(sample)
        sample.lost = lambda step: 0.6931472 + 1e-8 * (step % 5)
        sample.model(loss=0.6931472, out_variance=0.9, out_rms=size, in_repeat=0.0)

    scene = scene_of([linear("fc1", 8, 32), linear("fc2", 32, 32), linear("fc3", 32, 1)])
    cause = scene.run(200, stands).engine.causes()[0]
    assert ((cause.cause, cause.confidence > 0.9) == ("detached-graph", True)) is named


def test_a_gate_that_stands_open_on_nothing_hands_nothing_on() -> None:
    """All weights begin at zero: half of nought reaches the head, and no gradient was cleared."""

    def nought(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(
                name, weight_rms=0, weight_spread=0, weight_growth=np.nan, duplicate_units=1,
                duplicate_grads=np.nan, grad_rms=0, update_ratio=0, has_grad=1, out_rms=0,
                out_variance=0, weight_drift=np.nan,
            )  # fmt: skip
        for name in ("gate1", "gate2"):
            sample.layer(name, out_rms=0.5, out_variance=0, saturation=0, out_grad_rms=0.01)
        sample.model(out_variance=0, out_sd=0, grad_norm=0, update_ratio=0)

    scene = scene_of(
        [
            linear("fc1", 24, 96),
            layer("gate1", "sigmoid", "sigmoid", units=48),
            linear("fc2", 48, 96),
            layer("gate2", "sigmoid", "sigmoid", units=48),
            linear("fc3", 48, 5),
        ],
        model={"loss": "cross_entropy", "loss_input": (32, 5), "loss_target": (32,)},
    )
    assert scene.run(60, nought).causes[0] == "constant-initialisation"


@pytest.mark.parametrize(("priced", "cause"), [(1.8, "class-imbalance"), (0.45, "overfitting")])
def test_other_classes_asked_in_evaluation_are_told_by_the_price_of_its_best_pass(
    priced: float, cause: str
) -> None:
    """Nearly all rows are of one class, and by heart they are all known."""

    def by_heart(sample: SceneSample) -> None:
        skill = 1 - math.exp(-sample.step / 60)
        sample.loss = 0.33 * (1 - skill) + 0.002
        sample.model(
            loss=sample.loss, loss_constant=0.33, label_entropy=0.33, skill=skill,
            information=skill, majority_share=0.93, majority_predicted=0.93,
            rare_recall=min(1.0, sample.step / 100), in_distinct=0.11,
        )  # fmt: skip
        if sample.step % 20 == 0:
            sample.model(eval_loss=priced + sample.step / 250)

    scene = of_loss("cross_entropy").run(300, by_heart)
    assert "overfitting" in scene.standing
    assert scene.causes[0] == cause


@pytest.mark.parametrize(("skill", "stands"), [(0.05, True), (0.4, False)])
def test_answers_that_were_sure_and_wrong_are_made_good_by_some_skill(
    skill: float, stands: bool
) -> None:
    def learns(sample: SceneSample) -> None:
        below = skill if sample.step > 200 else -3.0
        sample.loss = 0.65 * (1 - below)
        sample.model(
            loss=sample.loss, loss_constant=0.65, skill=below, information=0.2, out_sd=180.0
        )

    scene = of_loss("bce_logits", ((64, 1), (64, 1))).run(150, learns)
    assert "loss-divergence" in scene.standing
    assert ("loss-divergence" in scene.run(200, learns).standing) is stands


@pytest.mark.parametrize(
    ("served", "cause"), [(0.7, "dying-relu"), (0.0, "learning-rate-too-high")]
)
def test_a_large_first_step_after_which_much_was_learnt_did_not_kill_the_units_later(
    served: float, cause: str
) -> None:
    def dies(sample: SceneSample) -> None:
        skill = served if sample.step < 150 else 0.0
        sample.loss = 2.3 * (1 - skill)
        sample.model(loss=sample.loss, skill=skill, information=max(1e-4, skill))
        if sample.step == 1:
            sample.layer("fc1", update_ratio=0.7)
        if sample.step >= 150:
            sample.layer("act2", dead_units=1, zero_share=1, out_variance=0)
            sample.layer("fc3", out_variance=0)
            sample.model(out_variance=0)

    assert Scene().run(260, dies).causes[0] == cause


@pytest.mark.parametrize(("kind", "good"), [("dead-units", True), ("weight-divergence", False)])
def test_a_large_first_step_is_not_made_good_while_weights_grow_without_end(
    kind: str, *, good: bool
) -> None:
    scene = Scene().run(200)
    (model,) = scene.engine.past.models.values()
    model.large_update_step = 1
    scene.engine.past.standing[kind, "model"] = ("critical", 180, 182)
    assert made_good(scene.engine.past, model) is good


def same_weights(sample: SceneSample, twins: bool) -> None:
    """Nothing of the input is left behind the first layer from the first sample on."""
    sample.no_better_than_constant()
    for place in range(1, 7):
        faded = 1e-2 if place == 1 else 1e-16
        sample.layer(f"fc{place}", out_variance=faded, weight_drift=0.01)
        if twins:
            sample.layer(f"fc{place}", duplicate_units=1, duplicate_grads=1, weight_spread=1e-6)
    sample.model(out_variance=1e-16)


@pytest.mark.parametrize(
    ("twins", "cause"), [(True, "constant-initialisation"), (False, "depth-vanishing")]
)
def test_what_units_of_one_weight_let_through_is_not_lost_in_depth(twins: bool, cause: str) -> None:
    scene = scene_of(
        [linear(f"fc{place}", 64, 32) for place in range(1, 6)] + [linear("fc6", 64, 10)],
        model={"loss": "cross_entropy", "loss_input": (32, 10), "loss_target": (32,)},
    )
    assert scene.run(60, lambda sample: same_weights(sample, twins)).causes[0] == cause


def test_weights_that_are_forgotten_within_some_steps_end_alike() -> None:
    def shrink(sample: SceneSample) -> None:
        knows(0.3, 0.2)(sample)
        for name in MATRICES:
            left = max(0.33, math.exp(-sample.step / 20))
            sample.layer(name, pull_to_zero=0.7, weight_growth=left)
        if sample.step > 60:
            sample.layer("fc1", duplicate_units=0.97, duplicate_grads=0.97, participation=1.02)

    scene = of_loss("cross_entropy")
    groups = (OptimizerGroup(optimizer="AdamW", lr=0.004, weight_decay=25.0),)
    scene.table = msgspec.structs.replace(scene.table, optimizers=groups)
    assert scene.run(200, shrink).causes[0] == "over-regularisation"


@pytest.mark.parametrize(
    ("size", "varies", "cleared"), [(1.0, 0.4, True), (1e12, 0.4, False), (1.0, 0.0, False)]
)
def test_gradients_of_zero_that_overflowed_or_add_up_to_nothing_were_not_cleared(
    size: float, varies: float, cleared: bool
) -> None:
    def zero(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        for name in MATRICES:
            sample.layer(name, grad_rms=0, has_grad=1, update_ratio=0, duplicate_grads=np.nan)
        sample.layer("fc2", out_rms=size)
        sample.layer("act2", out_rms=size, out_variance=varies)
        sample.layer("fc3", out_grad_rms=0.01 * size)
        sample.model(grad_norm=0)

    causes = Scene().run(40, zero).engine.causes()
    sure = [cause.cause for cause in causes if cause.confidence > 0.9]
    assert ("detached-graph" in sure) is cleared

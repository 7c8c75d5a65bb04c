"""Losses below what they can be: a sign that is turned, a term too much, a density."""

from __future__ import annotations

import numpy as np
import pytest
from rules_builds import of_loss, trained_by
from rules_scene import Scene, SceneSample

from deadband_monitor.rules.bottomless import Descent


def by_classes(loss: str) -> Scene:
    return trained_by(loss, prediction=(32, 10), target=(32,))


def goes(sample: SceneSample, loss: float, **values: float) -> None:
    sample.loss = loss
    sample.model(
        loss=loss, skill=np.nan, loss_constant=np.nan, out_min=-9, out_max=9, row_sum_error=9
    )
    sample.model(0, **values)


def test_minus_a_cross_entropy_is_a_turned_sign_from_its_first_steps() -> None:
    def turned(sample: SceneSample) -> None:
        goes(sample, -2.3 - 0.1 * sample.step)

    scene = by_classes("cross_entropy").run(12, turned)
    cause = scene.engine.causes()[0]
    assert scene.standing["loss-divergence"].severity == "critical"
    assert (cause.cause, cause.onset_step) == ("loss-mismatch", 1)
    assert "drop the minus" in cause.advice


def test_a_small_share_that_is_subtracted_is_no_turned_sign() -> None:
    def learns(sample: SceneSample) -> None:
        goes(sample, 2.3 * float(np.exp(-sample.step / 30)) - 0.2, information=0.3)

    scene = by_classes("cross_entropy").run(120, learns)
    cause = scene.engine.causes()[0]
    assert cause.cause == "loss-mismatch"
    assert "outweighs" in cause.evidence[0]
    assert cause.confidence < 0.7


def test_a_loss_that_fell_below_its_least_value_made_the_large_steps_that_followed() -> None:
    def turns(sample: SceneSample) -> None:
        late = sample.step - 150
        if late >= 0:
            goes(sample, -0.1 - 1.5 ** (late / 2), information=0.3)
        if late > 15:
            sample.layer("fc1", update_ratio=0.05 * 1.5 ** (late / 2))

    scene = by_classes("cross_entropy").run(190, turns)
    assert "update-too-large" in scene.standing
    assert scene.engine.causes()[0].cause == "loss-mismatch"


def test_a_squared_error_below_zero_is_called_whatever_it_is_called_with() -> None:
    def turned(sample: SceneSample) -> None:
        goes(sample, -1.0 - 0.1 * sample.step, target_sd=1.0, target_mean=0.0)
        sample.model(information=np.nan, label_entropy=np.nan, sigma_share=2.0)

    assert by_classes("mse").run(12, turned).causes == ["loss-mismatch"]


def test_a_sign_that_turns_in_mid_run_is_told_by_the_gradient() -> None:
    """The loss has not fallen far yet; its cause is named however long ago it turned."""

    def turns(sample: SceneSample) -> None:
        late = sample.step > 150
        goes(sample, -0.1 if late else 0.1, target_sd=1.0, target_mean=0.0)
        sample.model(information=np.nan, label_entropy=np.nan, sigma_share=1.0)
        sample.model(0, squashed=15.0 if late else np.nan)

    scene = of_loss("mse").run(160, turns)
    flag = scene.standing["loss-divergence"]
    assert (flag.severity, flag.onset_step) == ("critical", 151)
    scene.run(300, turns)
    cause = scene.engine.causes()[0]
    assert (cause.cause, cause.onset_step) == ("loss-mismatch", 151)


@pytest.mark.parametrize("loss", ["multi_margin", "soft_margin"])
def test_minus_what_a_margin_is_missed_by_is_called(loss: str) -> None:
    def turns(sample: SceneSample) -> None:
        goes(sample, 0.4 if sample.step < 50 else -0.2 * (sample.step - 45))

    scene = by_classes(loss).run(80, turns)
    flag, cause = scene.standing["loss-divergence"], scene.engine.causes()[0]
    assert (flag.severity, flag.onset_step) == ("critical", 50)
    assert cause.cause == "loss-mismatch"


def test_answers_that_tell_the_labels_may_be_the_wrong_way_round() -> None:
    """A loss of two classes below zero tells as much of them as one above."""

    def turned(sample: SceneSample) -> None:
        late = max(0, sample.step - 100)
        goes(sample, 0.2 - 0.5 * late, information=0.9, target_min=0.0, target_max=1.0)

    made = trained_by("bce_logits", prediction=(32, 1), target=(32, 1)).run(300, turned)
    assert made.causes == ["loss-mismatch"]


def test_an_adversary_that_drives_up_an_error_while_the_loss_is_above_zero_is_not_called() -> None:
    def beside(sample: SceneSample) -> None:
        goes(sample, 0.5, target_sd=1.0, target_mean=0.0)
        sample.model(information=np.nan, label_entropy=np.nan, sigma_share=1.0)
        sample.model(0, squashed=15.0)

    assert "loss-divergence" not in of_loss("mse").run(60, beside).standing


def test_a_density_that_is_learnt_falls_below_zero_ever_more_slowly() -> None:
    fit, flight = Descent(), Descent()
    for step in range(1, 600):
        fit.add(step, 1.0 - 20 * float(np.log(step)), 1.0 + step)
        flight.add(step, -0.5 * step, 1.0 + step)
    assert not fit.endless
    assert flight.endless


# --- signs
def test_a_term_that_was_seen_once_does_not_make_a_loss_negative() -> None:
    def turned(sample: SceneSample) -> None:
        late = sample.step - 100
        if 50 < sample.step < 60:
            sample.model(further_loss=0.03)
        if late >= 0:
            sample.loss = -0.5 - late
            sample.model(loss=sample.loss, skill=np.nan, information=1e-9)
        if late >= 0 and sample.step % 10 == 0:
            sample.model(eval_loss=0.4 + late)
        elif sample.step % 10 == 0:
            sample.model(eval_loss=0.4)

    scene = of_loss("bce_logits").run(200, turned)
    assert scene.standing["loss-divergence"].severity == "critical"
    assert scene.standing["overfitting"]
    cause = scene.engine.causes()[0]
    assert cause.cause == "loss-mismatch"
    assert cause.onset_step == pytest.approx(100, abs=2)


def test_a_little_that_is_taken_from_a_loss_beside_a_known_term_is_not_called() -> None:
    def rewarded(sample: SceneSample) -> None:
        sample.loss -= 0.2
        sample.model(loss=sample.loss, information=0.3)
        if sample.step < 60:
            sample.model(further_loss=0.1)

    assert "loss-divergence" not in of_loss("cross_entropy").run(200, rewarded).standing


def test_a_squared_error_that_falls_for_ever_was_turned_where_it_fell_below_zero() -> None:
    def turned(sample: SceneSample) -> None:
        sample.model(
            information=np.nan,
            label_entropy=np.nan,
            target_sd=1.0,
            target_mean=0.0,
            target_min=-2.0,
            target_max=2.0,
            out_min=-2.0,
            out_max=2.0,
            out_rms=1.0,
            out_sd=1.0,
            loss_constant=1.0,
        )
        late = sample.step - 150
        sample.loss = 0.1 + float(np.exp(-sample.step / 30)) if late < 0 else -0.1 - late**2 / 10
        if late >= 0:
            # Nothing can be read of the targets any more.
            gone = dict.fromkeys(("target_sd", "target_mean", "loss_constant", "skill"), np.nan)
            sample.model(0, **gone, out_rms=1.0 + late, target_min=np.nan, target_max=np.nan)
        sample.model(loss=sample.loss)

    scene = of_loss("mse").run(260, turned)
    assert scene.standing["loss-divergence"].onset_step == pytest.approx(150, abs=2)
    cause = scene.engine.causes()[0]
    assert (cause.cause, cause.onset_step) == ("loss-mismatch", 150)


def test_a_loss_that_was_below_zero_stays_wrong_when_it_is_above() -> None:
    """Scores in place of logarithms, which an alignment learns to make dear."""

    def bend(sample: SceneSample) -> None:
        sample.loss = -4.0 if sample.step < 10 else 0.5
        sample.model(
            loss=sample.loss, skill=np.nan, loss_constant=np.nan, label_entropy=np.nan,
            information=np.nan,
        )  # fmt: skip

    made = trained_by("ctc", prediction=(), target=()).run(40, bend)
    cause = made.engine.causes()[0]
    assert cause.cause == "loss-mismatch"
    assert "was -4" in cause.evidence[0]


@pytest.mark.parametrize(
    ("cosine", "cause"), [(0.9, "loss-mismatch"), (-0.4, "learning-rate-too-high")]
)
def test_a_loss_that_rises_before_any_large_step_is_driven_up(cosine: float, cause: str) -> None:
    """The slope gets steeper on the way up; what overshoots is thrown from side to side."""

    def rises(sample: SceneSample) -> None:
        sample.lost = lambda step: 2.3 * min(1e4, 1.2**step)
        sample.loss = sample.lost(sample.step)
        large = 0.02 if sample.step < 12 else 0.9
        sample.model(
            loss=sample.loss, skill=1 - sample.loss / 2.3, information=1e-4, grad_norm=1 / large
        )
        for name in ("fc1", "fc2", "fc3"):
            growth = 1 + max(0, sample.step - 10)
            sample.layer(name, grad_cosine=cosine, update_ratio=large, weight_growth=growth)

    assert Scene().run(150, rises).causes[0] == cause


@pytest.mark.parametrize(("still", "cause"), [(True, True), (False, False)])
def test_one_wrong_answer_for_all_inputs_that_is_made_ever_surer_goes_up_the_slope(
    still: bool, cause: bool
) -> None:
    """A rate that threw the output together leaves the loss near a constant answer's."""

    def rises(sample: SceneSample) -> None:
        sample.loss = 2.3 + 0.5 * (sample.step if still or sample.step < 30 else 8)
        sample.model(loss=sample.loss, skill=1 - sample.loss / 2.3, information=1e-4)
        if sample.step > 8:
            sample.model(out_variance=1e-13, information=1e-13)
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, grad_cosine=0.9, update_ratio=0.05)

    scene = Scene().run(150, rises)
    assert "output-collapse" in scene.standing
    assert (scene.causes[:1] == ["loss-mismatch"]) is cause


def test_a_loss_below_all_densities_had_no_least_value_though_it_falls_no_more() -> None:
    def falls(sample: SceneSample) -> None:
        far = min(sample.step, 130)
        goes(sample, -3.0 - far**3, out_rms=1.0 + far, label_entropy=np.nan, information=np.nan)

    scene = of_loss("").run(130, falls)
    assert "loss-divergence" in scene.standing
    scene.run(150, falls)
    assert scene.causes[:1] == ["loss-mismatch"]


@pytest.mark.parametrize(("first", "cause"), [(0.2, "loss-mismatch"), (9.0, "rate")])
def test_gradients_that_are_alike_where_a_first_step_landed_do_not_lead_up_the_slope(
    first: float, cause: str
) -> None:
    def thrown(sample: SceneSample) -> None:
        sample.loss = 2.3 if sample.step == 1 else 4000.0 + sample.step
        large = first if sample.step == 1 else 0.4
        sample.model(
            loss=sample.loss, skill=1 - sample.loss / 2.3, information=1e-4, update_ratio=large
        )
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, grad_cosine=0.9, update_ratio=large, weight_growth=1 + large)

    causes = Scene().run(150, thrown).causes
    assert ("loss-mismatch" in causes[:1]) is (cause == "loss-mismatch")

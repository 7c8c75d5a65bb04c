"""Losses far above a constant answer's: on their way down in good time, or no health at all."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from rules_builds import label_free, trained_by
from rules_scene import Scene, SceneSample

from deadband_monitor.rules.course import Course

Bend = Callable[[SceneSample], None]


def falls(loss: Callable[[float], float], *, mean: float = 0.0) -> Bend:
    """Targets of unit spread about `mean`, and a squared error that goes as given."""

    def bend(sample: SceneSample) -> None:
        def noisy(step: int) -> float:
            return loss(step) * (1 + 0.2 * math.sin(2.3 * step))

        sample.loss, sample.lost = noisy(sample.step), noisy
        sample.model(
            loss=sample.loss, loss_constant=1.0, skill=1 - loss(sample.step), target_sd=1.0,
            target_mean=mean, information=math.nan, sigma_share=3.0, label_entropy=math.nan,
            batch_label_entropy=math.nan, top_share=math.nan, neighbour_agreement=0.7,
        )  # fmt: skip

    return bend


def called(bend: Bend, every: int, steps: int = 300) -> bool:
    scene = Scene().run(steps, bend, every=every)
    return "constant-predictor" in scene.standing


@pytest.mark.parametrize("every", [1, 10, 50])
@pytest.mark.parametrize(
    "loss",
    [lambda k: 1 + 1e5 / k**2, lambda k: 8 + 1e4 / k**2, lambda k: 10 + 2e5 * 0.9**k],
    ids=["by a power of the steps", "to a rest", "at once, and no further"],
)
def test_a_loss_far_above_a_constant_answers_is_called_at_any_cadence(
    loss: Callable[[float], float], every: int
) -> None:
    scale = 100.0 if loss(1000) < 2 else 1.0
    assert called(falls(lambda k: scale * loss(k)), every)


@pytest.mark.parametrize("every", [1, 10, 50])
def test_a_loss_that_comes_down_steadily_is_given_the_time(every: int) -> None:
    assert not called(falls(lambda k: 0.1 + 1e4 * 0.97**k), every)


@pytest.mark.parametrize("every", [1, 10, 50])
def test_the_way_down_from_an_offset_of_the_targets_is_long_and_may_be(every: int) -> None:
    settled: Bend = falls(lambda k: 0.2 + (11 - 2 * min(k, 10) / 10 - k / 60) ** 2, mean=20.0)
    assert not called(settled, every)


@pytest.mark.parametrize("every", [1, 10, 50])
def test_an_offset_that_is_hardly_come_nearer_to_is_called(every: int) -> None:
    assert called(falls(lambda k: (100 - k / 60) ** 2, mean=100.0), every)


@pytest.mark.parametrize("every", [1, 10, 50])
@pytest.mark.parametrize(("pace", "sooner"), [(3e-6, True), (3e-3, False)])
def test_an_offset_that_is_not_come_nearer_to_at_all_is_called_sooner(
    pace: float, sooner: bool, every: int
) -> None:
    """Targets of 3e5 and an output of 18; and one that grows with the steps squared."""
    still: Bend = falls(lambda k: 1 + (3 - pace * k * k / 60) ** 2, mean=3.0)

    def grows(sample: SceneSample) -> None:
        still(sample)
        sample.model(sigma_share=2e-7 * sample.step)

    assert called(grows, every, steps=230) is sooner


def counts(loss: Callable[[float], float], most: float) -> Bend:
    """A Poisson loss over counts of mean 6 and standard deviation 5; the highest logarithm given.

    A constant answer's loss is -4.75.
    """

    def bend(sample: SceneSample) -> None:
        label_free(sample)
        sample.loss, sample.lost = loss(sample.step), loss
        sample.model(
            loss=sample.loss, target_mean=6.0, target_sd=5.0, out_max=most, update_ratio=1e-4
        )
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, update_ratio=1e-4, weight_drift=2e-4 * sample.step, weight_growth=1)

    return bend


@pytest.mark.parametrize(
    ("bend", "called"),
    [
        (counts(lambda k: 1 - k / 1000, 0.1), True),
        (counts(lambda k: -4.5 + 5.5 * 0.98**k, 0.1), False),
        (counts(lambda k: 1 - k / 100, 0.9), False),
        (counts(lambda k: -2.9 - k / 1e4, 2.3), False),
    ],
    ids=["hardly nearer", "there by its loss", "at a good pace", "full: the answers are there"],
)
def test_rates_far_below_the_mean_count_that_hardly_grow_are_called(
    bend: Bend, called: bool
) -> None:
    scene = trained_by("poisson_nll").run(600, bend)
    assert ("constant-predictor" in scene.standing) is called
    if called:
        assert scene.causes[0] == "learning-rate-too-low"


def washes(sample: SceneSample, *, spread: float, loss: float, cosine: float) -> None:
    label_free(sample)
    far = 1 + 0.3 * sample.step
    sample.loss = loss
    sample.model(
        loss=loss, out_rms=far, out_sd=spread, out_variance=(spread / far) ** 2,
        sigma_share=math.nan, cosine=cosine,
    )  # fmt: skip


def test_outputs_that_draw_together_on_their_way_to_far_targets_are_called() -> None:
    def draws_together(sample: SceneSample) -> None:
        spread = max(0.01, 0.7 * 0.95**sample.step)
        washes(sample, spread=spread, loss=7500 - sample.step / 10, cosine=0.999)

    scene = trained_by("").run(400, draws_together)
    assert scene.standing["output-collapse"].severity == "critical"
    assert scene.causes[0] == "unscaled-targets"


@pytest.mark.parametrize(
    ("spread", "fall"),
    [(lambda k: 0.1, 0.1), (lambda k: max(0.01, 0.7 * 0.95**k), 8.0)],
    ids=["it spreads as it did", "the loss falls"],
)
def test_an_offset_that_grows_beside_a_spread_or_to_some_use_is_none(
    spread: Callable[[int], float], fall: float
) -> None:
    def grows(sample: SceneSample) -> None:
        washes(sample, spread=spread(sample.step), loss=7500 - fall * sample.step, cosine=0.999)

    assert "output-collapse" not in trained_by("").run(400, grows).standing


def test_the_course_of_the_losses_is_the_same_however_they_come() -> None:
    losses = [100 / (k + 1) for k in range(5000)]
    at_once, one_by_one = Course(), Course()
    at_once.add(losses)
    for loss in losses:
        one_by_one.add([loss])
    assert at_once.quarters == one_by_one.quarters
    quarters = at_once.quarters
    assert quarters is not None
    assert quarters == pytest.approx([100 / k for k in (625, 1875, 3125, 4375)], rel=0.05)
    assert Course().quarters is None


def test_a_wild_batch_leaves_the_course_as_it_is() -> None:
    course = Course()
    course.add([1e9 if k % 9 == 0 else 1.0 for k in range(400)])
    assert course.quarters == (1.0, 1.0, 1.0, 1.0)


@pytest.mark.parametrize("every", [1, 10, 50])
def test_answers_that_stray_by_a_hundred_deviations_are_called_though_they_fall(every: int) -> None:
    """Up from zero to targets of nine hundred by the inputs: then rows differ by as much."""
    assert called(falls(lambda k: 1e4 + 8e5 * 0.97**k, mean=900.0), every)
    assert not called(falls(lambda k: 40 + 1e4 * 0.97**k - k / 20, mean=100.0), every)

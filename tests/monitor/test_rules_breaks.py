"""What a run broke of: a rate, a batch, a step in which nothing ran, a loss that is no number."""

from __future__ import annotations

import numpy as np
import pytest
from rules_scene import NAMES, Scene, SceneSample

MATRICES = ("fc1", "fc2", "fc3")


def test_a_rate_raised_before_the_first_broken_sample_is_named_where_no_update_was_seen() -> None:
    def broke(sample: SceneSample) -> None:
        sample.model(lr=0.1 if sample.step < 180 else 0.5)
        if sample.step >= 200:
            sample.model(nonfinite=1, out_variance=np.nan, out_rms=np.nan, loss=np.nan)
            for name in ("fc1", "fc2", "fc3"):
                sample.layer(name, nonfinite=1, out_rms=np.nan, update_ratio=np.nan)

    cause = Scene().run(260, broke, every=20).engine.causes()[0]
    assert cause.cause == "learning-rate-too-high"
    assert "lr 0.5 -> 0.1" in cause.advice


def test_a_loss_that_jumps_at_an_unchanged_rate_was_fed_something_else() -> None:
    def jumps(sample: SceneSample, rate: float) -> None:
        sample.model(lr=0.1)
        if sample.step >= 300:
            sample.loss = 3.5
            sample.model(loss=3.5, skill=-0.5, information=1e-4, lr=rate)

    same = Scene().run(420, lambda sample: jumps(sample, 0.1), every=20)
    raised = Scene().run(420, lambda sample: jumps(sample, 0.5), every=20)
    assert same.causes == ["bad-data"]
    assert same.engine.causes()[0].onset_step == 281  # first loss after the last good sample
    assert "bad-data" not in raised.causes


# --- steps in which nothing ran
def test_a_step_in_which_nothing_ran_broke_nothing() -> None:
    def rests(sample: SceneSample) -> None:
        if sample.step == 2:
            sample.layers[:], sample.models[:], sample.loss = np.nan, np.nan, np.nan
        if sample.step == 1:
            sample.layer("fc1", update_ratio=0.36)

    assert Scene().run(20, rests).engine.past.models["model"].broken.step is None


def test_a_loss_that_is_no_number_broke_the_run() -> None:
    def breaks(sample: SceneSample) -> None:
        if sample.step == 12:
            sample.loss = np.nan

    assert Scene().run(20, breaks).engine.past.models["model"].broken.step == 12


@pytest.mark.parametrize(
    ("first", "every", "wanted"),
    [("fc1", 1, "bad-data"), ("fc2", 1, "numerical-overflow"), ("fc1", 7, "numerical-overflow")],
    ids=["at the entrance", "further in", "after a gap"],
)
def test_the_layer_next_to_the_input_can_break_by_what_comes_in_alone(
    first: str, every: int, wanted: str
) -> None:
    def breaks(sample: SceneSample) -> None:
        if sample.step < 21:
            return
        sample.model(nonfinite=1, out_variance=np.nan, out_rms=np.nan, loss=np.nan)
        for name in NAMES[NAMES.index(first) :]:
            sample.layer(name, nonfinite=1, out_rms=np.nan)
        for name in MATRICES:  # the step that followed
            sample.layer(name, nonfinite=1, update_ratio=np.nan)

    cause = Scene().run(28, breaks, every=every).engine.causes()[0]
    assert cause.cause == wanted
    assert wanted != "bad-data" or cause.layer == first

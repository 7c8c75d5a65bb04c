"""The engine: flags open, join, rise, hold, close, and never flap."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from rules_scene import Scene, SceneSample

from deadband_monitor.rules.activations import DeadUnits
from deadband_monitor.rules.base import Finding, Observation
from deadband_monitor.rules.engine import Engine
from deadband_monitor.rules.past import Past


def constant_output(sample: SceneSample) -> None:
    sample.no_better_than_constant()
    sample.model(out_variance=0, out_sd=0)


def test_a_healthy_run_raises_nothing() -> None:
    for every in (1, 10, 50):
        scene = Scene().run(600, every=every)
        assert scene.engine.flags == []
        assert scene.engine.verdict() == "healthy"
        assert scene.engine.causes() == []


def test_a_constant_output_is_flagged_after_three_samples_with_its_onset() -> None:
    scene = Scene().run(40).run(2, constant_output)
    assert not scene.standing
    scene.run(1, constant_output)
    flag = scene.standing["output-collapse"]
    assert (flag.severity, flag.onset_step, flag.raised_step) == ("critical", 41, 43)
    assert scene.engine.verdict() == "failing"


def test_a_flag_holds_through_one_good_sample_and_closes_after_three() -> None:
    scene = Scene().run(40).run(10, constant_output).run(1)
    assert "output-collapse" in scene.standing
    scene.run(5, constant_output).run(2)
    assert "output-collapse" in scene.standing
    scene.run(1)
    assert not scene.standing
    closed = scene.engine.flags[0]
    assert closed.resolved_step == 59
    assert "recovered at step 59" in closed.message
    assert scene.engine.verdict() == "healthy"


def test_a_symptom_that_comes_back_soon_is_the_same_incident() -> None:
    scene = Scene().run(40).run(10, constant_output).run(5).run(10, constant_output)
    assert len(scene.engine.flags) == 1
    assert scene.engine.flags[0].resolved_step is None
    scene.run(200).run(10, constant_output)
    assert len(scene.engine.flags) == 2


def test_layers_downstream_join_as_followers_of_the_first() -> None:
    def dead(sample: SceneSample) -> None:
        constant_output(sample)
        for layer in ("act1", "act2"):
            sample.layer(layer, dead_units=1, out_variance=0, out_rms=0)

    scene = Scene().run(40).run(10, dead)
    flag = scene.standing["dead-units"]
    assert (flag.layer, flag.followers, flag.severity) == ("act1", ["act2"], "critical")
    assert sum(f.kind == "dead-units" for f in scene.engine.flags) == 1


def test_words_are_of_the_sample_at_which_a_flag_changes() -> None:
    def stuck(sample: SceneSample) -> None:
        sample.layer("act1", saturated_units=0.8 + sample.step / 1000)

    def stuck_and_constant(sample: SceneSample) -> None:
        stuck(sample)
        constant_output(sample)

    scene = Scene().run(20).run(15, stuck)
    opened = scene.standing["saturation"]
    assert opened.severity == "warning"
    assert opened.raised_step == 23
    assert opened.evidence["saturated_units"] == pytest.approx(0.823)
    scene.run(5, stuck_and_constant)  # the output is known to be gone from step 38 on
    changed = scene.standing["saturation"]
    assert changed.severity == "critical"
    assert changed.evidence["saturated_units"] == pytest.approx(0.839)
    assert "84%" in changed.message
    while scene.standing["saturation"].severity == "critical":
        scene.run(1, stuck)  # it turns milder some twenty steps after it was
    milder = scene.standing["saturation"].evidence["saturated_units"]
    assert milder == pytest.approx(0.8 + scene.step / 1000)


class Listening(DeadUnits):
    """Keeps what it told at each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[list[Finding]] = []

    def judge(self, seen: Observation, past: Past) -> Iterator[Finding]:
        self.told.append(list(super().judge(seen, past)))
        yield from self.told[-1]


def test_layers_that_go_on_showing_the_same_are_told_of_in_one_finding() -> None:
    names = [f"act{number}" for number in range(20)] + ["fc1"]
    rule = Listening()
    scene = Scene(names)
    scene.engine = Engine([rule])

    def dead(count: int) -> Callable[[SceneSample], None]:
        def bend(sample: SceneSample) -> None:
            sample.no_better_than_constant()
            sample.model(out_variance=0, out_sd=0)
            for name in names[:count]:
                sample.layer(name, dead_units=1, out_variance=0, out_rms=0)

        return bend

    scene.run(20).run(10, dead(10))
    assert [finding.still for finding in rule.told[-1]] == [True]
    scene.run(1, dead(12))
    assert [finding.layer for finding in rule.told[-1]] == names[:12]
    scene.run(9, dead(12))
    assert [finding.still for finding in rule.told[-1]] == [True]
    flag = scene.standing["dead-units"]
    assert [flag.layer, *flag.followers] == names[:12]
    scene.run(1).run(2, dead(12)).run(2)
    assert "dead-units" in scene.standing
    scene.run(1)
    assert not scene.standing


def test_what_follows_from_a_nan_is_not_said_as_well() -> None:
    def nan(sample: SceneSample) -> None:
        sample.layers[:] = np.nan
        sample.loss = np.nan
        for name in ("fc1", "fc2", "fc3"):
            sample.layer(name, nonfinite=1)
        sample.model(nonfinite=1, loss=np.nan, grad_norm=np.nan, out_variance=0, out_sd=0)

    scene = Scene().run(40).run(30, nan)
    assert set(scene.standing) == {"non-finite"}
    assert scene.standing["non-finite"].layer == "fc1"
    assert scene.standing["non-finite"].raised_step == 41


def test_two_models_are_judged_each_for_itself() -> None:
    def second_gone(sample: SceneSample) -> None:
        sample.model(row=1, out_variance=0, out_sd=0, information=0, skill=0)

    scene = Scene(models=("generator", "critic")).run(40).run(5, second_gone)
    assert [flag.model for flag in scene.standing.values()] == ["critic"]


def test_the_same_samples_give_the_same_flags() -> None:
    first = Scene().run(40).run(10, constant_output).run(20)
    again = Scene().run(40).run(10, constant_output).run(20)
    assert first.changes == again.changes
    assert first.engine.causes() == again.engine.causes()


def test_flags_stay_with_their_layers_when_the_layer_table_changes() -> None:
    def dead(sample: SceneSample) -> None:
        sample.layer("act2", dead_units=1, out_variance=0, out_rms=0)
        constant_output(sample)

    scene = Scene().run(40).run(4, dead)
    other = Scene(names=("fc0", "act0", "fc1", "act1", "fc2", "act2", "fc3"))
    scene.table = other.table
    scene.run(30, dead)
    flags = [flag for flag in scene.engine.flags if flag.kind == "dead-units"]
    assert [(f.layer, f.resolved_step) for f in flags] == [("act2", None)]


def test_coverage_says_what_can_be_judged_and_why_not() -> None:
    def no_labels(sample: SceneSample) -> None:
        for name in ("information", "sigma_share", "skill"):
            sample.model(0, **{name: np.nan})

    scene = Scene().run(120, no_labels)
    states = {cover.kind: cover for cover in scene.engine.coverage()}
    assert states["constant-predictor"].state == "impossible"
    assert states["constant-predictor"].reason == "no labels or class probabilities seen, " + (
        "no targets seen, no labels seen"
    )
    assert states["dead-units"].state == "armed"
    assert Engine().coverage()[0].state == "warming up"


@pytest.mark.parametrize(
    ("share", "reason"),
    [(0.4, "a saturating activation, of too few rows"), (np.nan, "no saturating activation")],
)
def test_a_neuron_of_three_rows_has_a_saturating_activation_all_the_same(
    share: float, reason: str
) -> None:
    scene = Scene()

    def few(sample: SceneSample) -> None:
        for layer in scene.table.layers:
            sample.layer(layer.name, saturation=share, saturated_units=np.nan)

    states = {cover.kind: cover for cover in scene.run(120, few).engine.coverage()}
    assert states["saturation"].state == "impossible"
    assert states["saturation"].reason == reason


@pytest.mark.parametrize(("broken", "kind"), [(np.nan, "non-finite"), (2.4, "output-collapse")])
def test_an_onset_between_two_samples_is_dated_by_the_losses(broken: float, kind: str) -> None:
    def breaks(sample: SceneSample) -> None:
        learnt = sample.loss
        sample.lost = lambda step: learnt if step < 1217 else broken
        if sample.step >= 1217:
            sample.model(
                loss=broken, out_variance=0, skill=0, information=0, distinct_predictions=1
            )
            sample.layer("fc2", out_variance=0, nonfinite=0.5 if np.isnan(broken) else 0)

    scene = Scene().run(1200, every=10).run(1000, breaks, every=250)
    flag = scene.standing[kind]
    assert (flag.onset_step, flag.raised_step >= 1250) == (1217, True)
    assert all(cause.onset_step != 1250 for cause in scene.engine.causes())


def test_what_shows_long_after_the_losses_broke_is_not_dated_by_them() -> None:
    def worse(sample: SceneSample) -> None:
        sample.loss = 1.5
        if sample.step > 800:
            sample.layer("act1", dead_units=1.0, zero_share=1.0)

    scene = Scene().run(600, every=10).run(400, worse, every=50)
    assert scene.standing["dead-units"].onset_step == 850

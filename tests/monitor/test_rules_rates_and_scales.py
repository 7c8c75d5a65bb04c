"""A rate that climbs, steps that are cut short, inputs scaled twice, tables that decay."""

from __future__ import annotations

import math

import msgspec
from rules_builds import layer, scene_of, trained_by
from rules_scene import Scene, SceneSample

from deadband.wire import OptimizerGroup


def test_a_loss_that_leaves_while_the_rate_climbs_was_fed_nothing_else() -> None:
    def climbing(sample: SceneSample) -> None:
        sample.model(lr=1e-3 * 10 ** (sample.step / 150))
        if sample.step > 250:
            skill = 0.97 if sample.step < 350 else -12.0
            sample.loss = 2.3 * (1 - skill)
            sample.model(loss=sample.loss, skill=skill)

    scene = Scene().run(400, climbing)
    assert "loss-divergence" in scene.standing
    assert scene.causes == ["learning-rate-too-high"]


def test_inputs_that_were_divided_by_255_twice_are_tiny() -> None:
    def bend(sample: SceneSample) -> None:
        sample.loss = 2.3
        sample.model(in_rms=0.0019, in_max=0.0039, loss=2.3, skill=0, information=1e-10)

    made = trained_by().run(260, bend)
    assert made.standing["input-anomaly"].severity == "warning"
    assert made.causes[0] == "unnormalised-inputs"


def test_tables_that_decay_to_nothing_in_a_model_of_tables_are_named() -> None:
    tables = [layer(name, "Embedding", fan_in=16, parameters=900) for name in ("users", "items")]
    scene = scene_of(tables, model={"loss": "mse"})
    group = OptimizerGroup(optimizer="Adam", lr=0.01, weight_decay=0.3)
    scene.table = msgspec.structs.replace(scene.table, optimizers=(group,))

    def decaying(sample: SceneSample) -> None:
        sample.no_better_than_constant()
        for name in ("users", "items"):
            sample.layer(
                name, weight_rms=0.95**sample.step, weight_growth=0.95**sample.step, grad_rms=1e-3
            )

    scene.run(120, decaying)
    assert "weight-collapse" in scene.standing
    assert scene.causes[0] == "over-regularisation"


def cut(sample: SceneSample) -> None:
    """Every step is as short as the last, and leads downhill."""
    sample.loss = 2.7 - 0.001 * sample.step
    skill = 1 - sample.loss / 2.3
    sample.model(
        loss=sample.loss, skill=skill, information=0.003, grad_norm=1e-3, update_ratio=3e-4
    )
    for name in ("fc1", "fc2", "fc3"):
        sample.layer(name, update_ratio=3e-4, weight_growth=1)


def test_steps_that_are_cut_to_next_to_nothing_are_too_small_even_downhill() -> None:
    scene = Scene()
    group = OptimizerGroup(optimizer="SGD", lr=0.1)
    scene.table = msgspec.structs.replace(scene.table, optimizers=(group,))
    assert "frozen-weights" not in scene.run(150, cut).standing
    assert "frozen-weights" in scene.run(100, cut).standing
    assert scene.causes == ["learning-rate-too-low"]


def test_steps_of_usual_length_downhill_are_not_called_cut() -> None:
    def free(sample: SceneSample) -> None:
        cut(sample)
        sample.model(grad_norm=1e-3 * (1.5 + math.sin(sample.step)))

    assert "frozen-weights" not in Scene().run(250, free).standing

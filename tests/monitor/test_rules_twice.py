"""Answers squashed twice inside the model, and others that lie between the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from rules_scene import Scene, SceneSample

Bend = Callable[[SceneSample], None]


def of(loss: str, units: int) -> Scene:
    scene = Scene()
    shape = (32, units)
    model = msgspec.structs.replace(scene.table.models[0], loss=loss, loss_input=shape)
    scene.table = msgspec.structs.replace(scene.table, models=(model,))
    return scene


def between(low: float, high: float, scatter: float = 0.0, targets: float = 1.0) -> Bend:
    """Answers that spread, in a hundred steps, to two ends or to about there."""
    rng = np.random.default_rng(0)

    def bend(sample: SceneSample) -> None:
        way, middle = min(1.0, sample.step / 100), (low + high) / 2
        off = scatter * rng.normal(size=2)
        sample.loss = 0.69 - 0.2 * way
        sample.model(
            loss=sample.loss, skill=0.25 * way, information=0.2 * way, row_sum_error=1e-7,
            out_min=middle + (low - middle) * way + off[0],
            out_max=middle + (high - middle) * way + off[1],
            target_min=1 - targets, target_max=targets, target_mean=0.6, loss_constant=0.67,
        )  # fmt: skip

    return bend


ENDS = (0.5005, 0.7305)


def test_a_sigmoid_of_a_sigmoid_is_told_by_the_ends_that_it_cannot_pass() -> None:
    made = of("bce", 1).run(150, between(*ENDS))
    assert made.causes[0] == "loss-mismatch"
    assert "sigmoid of a sigmoid" in made.standing["loss-plateau"].message
    assert "one sigmoid" in made.engine.causes()[0].advice


def test_a_softmax_of_a_softmax_is_told_alike() -> None:
    least = -math.log(math.e + 9)
    made = of("nll", 10).run(150, between(least + 1e-3, least + 0.999))
    assert made.causes[0] == "loss-mismatch"
    assert "softmax of a softmax" in made.standing["loss-plateau"].message


@pytest.mark.parametrize(
    "bend",
    [
        between(*ENDS, scatter=0.01),
        between(0.54, 0.70, scatter=0.005),
        between(0.5005, 0.66),
        between(*ENDS, targets=0.731),
    ],
    ids=["about the ends", "within", "one end", "targets between the ends"],
)
def test_answers_that_happen_to_lie_between_these_numbers_are_left_alone(bend: Bend) -> None:
    made = of("bce", 1).run(150, bend)
    assert "loss-mismatch" not in made.causes
    assert "loss-plateau" not in made.standing

"""Each of the rules at its documented threshold: fires just beyond it, and not before."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scoreboard.loops import fit
from scoreboard.nets import mlp
from scoreboard.peers import sagemaker
from scoreboard.peers.hearing import Compared
from scoreboard.peers.peer import Listening
from scoreboard.peers.sagemaker_rules import RULES, Saved
from scoreboard.scenario import Scenario, train


def fires(rule: str, **tensors: Any) -> bool:
    return RULES[rule]().fires(Saved(step=tensors.pop("step", 1), loss=1.0, **tensors))


def series(rule: str, losses: list[float], evals: list[float] | None = None) -> list[bool]:
    watching = RULES[rule]()
    held: list[float | None] = [*evals] if evals else [None] * len(losses)
    return [
        watching.fires(Saved(step=1 + 10 * i, loss=loss, eval_loss=at))
        for i, (loss, at) in enumerate(zip(losses, held, strict=True))
    ]


def columns(active: list[int], of: int = 200) -> Tensor:
    """One unit a column, positive on so many rows."""
    return torch.stack([(torch.arange(of) < count).float() for count in active], 1)


def test_a_gradient_vanishes_below_1e_7() -> None:
    assert fires("VanishingGradient", gradients={"w": torch.full((5,), -0.9e-7)})
    assert not fires("VanishingGradient", gradients={"w": torch.full((5,), -1.1e-7)})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_has_exploded(value: float) -> None:
    assert fires("ExplodingTensor", gradients={"w": torch.tensor([0.0, value])})
    assert not fires("ExplodingTensor", gradients={"w": torch.tensor([0.0, 1e30])})
    assert RULES["ExplodingTensor"]().fires(Saved(step=1, loss=value))


def test_all_values_must_be_zero() -> None:
    assert fires("AllZero", weights={"w": torch.zeros(4)})
    assert not fires("AllZero", weights={"w": torch.tensor([0.0, 1e-9])})


@pytest.mark.parametrize(
    ("update", "found"), [(10.5, True), (9.5, False), (1e-7, False), (0, True)]
)
def test_an_update_is_too_large_over_ten_and_too_small_under_1e_8(
    update: float, found: bool
) -> None:
    before = torch.ones(8, dtype=torch.float64)
    assert (
        fires("WeightUpdateRatio", previous={"w": before}, weights={"w": before + update}) is found
    )


def test_a_relu_layer_is_dead_where_over_half_of_its_units_are() -> None:
    assert fires("DeadRelu", relu_outputs={"r": columns([1, 1, 1, 200])})
    assert not fires("DeadRelu", relu_outputs={"r": columns([1, 1, 200, 200])})
    assert not fires("DeadRelu", relu_outputs={"r": columns([2, 2, 2, 200])})


def test_a_channel_of_images_is_one_unit() -> None:
    out = torch.zeros(10, 4, 5, 5)
    out[:, 0] = 1.0
    assert fires("DeadRelu", relu_outputs={"r": out})
    out[:, 1, 0, 0] = 1.0
    assert not fires("DeadRelu", relu_outputs={"r": out})


def test_saturation_is_asked_of_the_inputs() -> None:
    assert fires("SaturatedActivation", tanh_inputs={"t": torch.full((20, 3), -9.6)})
    assert not fires("SaturatedActivation", tanh_inputs={"t": torch.full((20, 3), -9.4)})
    assert fires("SaturatedActivation", sigmoid_inputs={"s": torch.full((20, 3), 17.1)})
    assert not fires("SaturatedActivation", sigmoid_inputs={"s": torch.full((20, 3), -22.0)})


def test_an_initialisation_is_poor_by_variances_or_by_gradients_in_the_first_ten_steps() -> None:
    torch.manual_seed(0)
    unit = torch.randn(200, 10)
    spread = {"w": torch.linspace(-1, 1, 100)}
    far = {"a": unit, "b": 4 * unit}
    assert fires("PoorWeightInitialization", relu_inputs=far, gradients=spread)
    assert not fires("PoorWeightInitialization", relu_inputs=far, gradients=spread, step=11)
    near = {"a": unit, "b": 3 * unit}
    assert not fires("PoorWeightInitialization", relu_inputs=near, gradients=spread)
    small = {"w": 5e-4 * torch.linspace(-1, 1, 100)}
    assert fires("PoorWeightInitialization", gradients=small)


def compared(labels: list[int], predicted: list[int]) -> Compared:
    return Compared(
        loss="cross_entropy",
        predictions=nn.functional.one_hot(torch.tensor(predicted), 3).float(),
        labels=torch.tensor(labels),
    )


def test_classes_are_judged_after_500_labels() -> None:
    rare = [0] * 460 + [1] * 40
    assert fires("ClassImbalance", compared=compared(rare, rare))
    even = [0] * 450 + [1] * 50
    assert not fires("ClassImbalance", compared=compared(even, even))
    assert not fires("ClassImbalance", compared=compared(rare[1:], rare[1:]))


def test_a_class_that_is_mostly_mistaken_counts_as_imbalance() -> None:
    labels = [0] * 250 + [1] * 250
    assert fires("ClassImbalance", compared=compared(labels, [0] * 430 + [1] * 70))
    assert not fires("ClassImbalance", compared=compared(labels, [0] * 420 + [1] * 80))


def test_a_loss_must_fall_within_ten_steps() -> None:
    assert series("LossNotDecreasing", [3.0, 2.0, 2.0, 1.0]) == [False, False, True, False]


def test_evaluation_losses_go_before_training_losses() -> None:
    assert series("LossNotDecreasing", [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == [False] * 3


def test_a_validation_loss_over_a_tenth_above_is_overfit() -> None:
    assert series("Overfit", [1.0, 1.0], [1.09, 1.11]) == [False, True]


def test_a_loss_that_stays_three_times_is_unchanged() -> None:
    assert series("UnchangedTensor", [1.0, 1.0, 1.0, 1.1]) == [False, False, True, False]


def test_images_are_judged_by_channel_after_500() -> None:
    image = torch.zeros(500, 3, 2, 2)
    image[:, 2] = 0.21
    assert fires("CheckInputImages", images=image)
    assert not fires("CheckInputImages", images=image[:499])
    assert not fires("CheckInputImages", images=image - 0.05)


@pytest.mark.parametrize("evaluates", [True, False])
def test_training_losses_are_asked_only_where_nothing_is_evaluated(evaluates: bool) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(90, 4), torch.randint(3, (90,))
    x[:, 0] += 3.0 * y
    held = (x, y) if evaluates else None
    run = Scenario(
        name="held",
        build=lambda: fit(mlp(4, 3), (x, y), batch=4, held=held, each=20),
        steps=60,
    )
    listening = Listening(sagemaker.PEER)
    train(run, listening)
    assert any(f.what == "LossNotDecreasing" for f in listening.findings) is not evaluates


def test_a_run_at_a_rate_of_zero_is_found_by_its_updates() -> None:
    listening = Listening(sagemaker.PEER)
    torch.manual_seed(0)
    run = Scenario(name="still", build=lambda: fit(mlp(4, 3), "iris", lr=0.0), steps=25)
    verdict, _ = train(run, listening)
    found = {f.what: f.step for f in listening.findings}
    assert found["WeightUpdateRatio"] == 11
    assert verdict.verdict == "warning"
    assert "learning-rate-too-low" in verdict.causes

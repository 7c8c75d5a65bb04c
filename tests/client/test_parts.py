"""Models that are called by their parts: what stands for their output, and how often they run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from frames import Frames
from torch import Tensor, nn

import deadband
from deadband.watching import Watch
from deadband.wire import What

FramesOf = Callable[[Watch], Frames]
LossOf = Callable[[nn.ModuleDict, Tensor], Tensor]


def pair(heads: int = 1) -> nn.ModuleDict:
    parts: dict[str, nn.Module] = {"body": nn.Sequential(nn.Linear(4, 6), nn.ReLU())}
    return nn.ModuleDict(parts | {f"head{k}": nn.Linear(6, 1) for k in range(heads)})


def trained(model: nn.ModuleDict, loss_of: LossOf, steps: int = 4, *, clears: bool = True) -> Watch:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(steps):
        if clears:
            optimizer.zero_grad()
        loss = loss_of(model, torch.randn(8, 4))
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    return watch


@pytest.mark.parametrize("squeezed", [True, False])
def test_what_a_part_gave_to_the_loss_is_the_models_output(
    squeezed: bool, frames_of: FramesOf
) -> None:
    seen: dict[str, Tensor] = {}

    def loss_of(model: nn.ModuleDict, x: Tensor) -> Tensor:
        said = model["head0"](model["body"](x))
        said = said.squeeze(1) if squeezed else said
        said.register_hook(lambda gradient: seen.update(gradient=gradient.clone()))
        seen["said"], seen["truth"] = said.detach().clone(), torch.randn(said.shape)
        return F.mse_loss(said, seen["truth"])

    frames = frames_of(trained(pair(), loss_of))
    (model,) = frames.plan.models
    shape = (8,) if squeezed else (8, 1)
    assert (model.loss, model.loss_input, model.loss_target) == ("mse", shape, shape)
    for what, name in (
        (What.OUTPUT, "said"),
        (What.TARGET, "truth"),
        (What.OUTPUT_GRAD, "gradient"),
    ):
        np.testing.assert_allclose(frames.held(what, "model").reshape(8), seen[name].reshape(8))


def test_what_was_made_of_the_parts_is_no_output(frames_of: FramesOf) -> None:
    """Likenesses of all rows with each other, as a contrastive loss takes them."""

    def loss_of(model: nn.ModuleDict, x: Tensor) -> Tensor:
        one, other = model["body"](x), model["body"](x + 0.1)
        return F.cross_entropy(one @ other.T, torch.arange(8))

    frames = frames_of(trained(pair(), loss_of))
    assert frames.of(What.OUTPUT, "model") is None
    assert frames.of(What.TARGET, "model") is None


@pytest.mark.parametrize("besides", ["a loss", "a penalty", "a backward", "a share"])
def test_an_output_is_the_models_only_where_its_loss_is_all_that_is_trained_by(
    besides: str, frames_of: FramesOf
) -> None:
    """A code that is compared with something too, an actor beside its critic."""

    def loss_of(model: nn.ModuleDict, x: Tensor) -> Tensor:
        inside = model["body"](x)
        own = F.mse_loss(model["head0"](inside), torch.randn(8, 1))
        other: Tensor = model["head1"](inside)
        if besides == "a loss":
            return own + F.l1_loss(other, torch.ones(8, 1))
        if besides == "a penalty":
            return own + 0.1 * other.square().mean()
        if besides == "a backward":
            other.mean().backward(retain_graph=True)
        return own / 4

    frames = frames_of(trained(pair(heads=2), loss_of))
    assert frames.plan.id == 1
    if besides == "a share":
        assert frames.of(What.OUTPUT, "model") is not None
        return
    assert frames.of(What.OUTPUT, "model") is None
    assert frames.of(What.TARGET, "model") is None
    assert frames.plan.models[0].loss_input == ()


@pytest.mark.parametrize("calls", [1, 3])
def test_calls_of_the_part_that_feeds_the_loss_are_counted(calls: int, frames_of: FramesOf) -> None:
    def loss_of(model: nn.ModuleDict, x: Tensor) -> Tensor:
        said = [model["head0"](model["body"](x)) for _ in range(calls)]
        loss = F.mse_loss(said[0], torch.randn(8, 1))
        model.eval()
        with torch.no_grad():
            model["head0"](model["body"](x))
        model.train()
        return loss

    assert frames_of(trained(pair(), loss_of)).plan.models[0].calls == calls


def test_gradients_that_nobody_cleared_are_shown_beside_the_output(frames_of: FramesOf) -> None:
    def loss_of(model: nn.ModuleDict, x: Tensor) -> Tensor:
        return F.mse_loss(model["head0"](model["body"](x)), torch.randn(8, 1))

    piled = frames_of(trained(pair(), loss_of, clears=False))
    assert piled.of(What.GRAD_LEFT, "head0") is not None
    assert piled.of(What.OUTPUT, "model") is not None
    assert frames_of(trained(pair(), loss_of)).of(What.GRAD_LEFT, "head0") is None


def test_evaluation_losses_of_a_model_called_by_its_parts_are_heard(frames_of: FramesOf) -> None:
    held = torch.randn(8, 4)

    def loss_of(model: nn.ModuleDict, x: Tensor) -> Tensor:
        model.eval()
        with torch.no_grad():
            F.mse_loss(model["head0"](model["body"](held)), torch.ones(8, 1))
        model.train()
        return F.mse_loss(model["head0"](model["body"](x)), torch.randn(8, 1))

    frames = frames_of(trained(pair(), loss_of))
    assert all("eval_loss" in header.scalars for header in frames.headers[1:])


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_loss_that_spreads_what_it_is_given_tells_its_shapes_whoever_gave_it(
    frames_of: FramesOf,
) -> None:
    """A critic beside another head: no output of the model is known."""

    def loss_of(model: nn.ModuleDict, x: Tensor) -> Tensor:
        hidden = model["body"](x)
        worth = F.mse_loss(model["head0"](hidden), torch.randn(8))
        other: Tensor = model["head1"](hidden).mean()
        return worth + other

    (model,) = frames_of(trained(pair(2), loss_of)).plan.models
    assert (model.loss, model.loss_input, model.loss_target) == ("mse", (8, 1), (8,))

"""What a frame says of gradients that nobody cleared: what `.grad` held when backward began."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from frames import Frames, grad_of, linear_of
from torch import Tensor, nn

import deadband
from deadband.watching import Watch
from deadband.wire import What

FramesOf = Callable[[Watch], Frames]


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 40), nn.Tanh(), nn.Linear(40, 3))


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(20, 8), torch.randint(0, 3, (20,))


def one_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    x, y = batch()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss


@pytest.mark.parametrize("given", [True, False])
def test_without_zero_grad_the_old_gradient_is_in_the_frame(
    given: bool, frames_of: FramesOf
) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    first = linear_of(model[0]).weight
    left = []
    for _ in range(5):
        left.append(None if first.grad is None else first.grad.clone())
        loss = one_step(model, optimizer)
        watch.step(loss=loss if given else None)
    frames = frames_of(watch)
    assert frames.plan.id == 2  # the slot comes once, with the second step
    assert frames.steps == [2, 3, 4, 5]
    for frame in range(4):
        expected = left[frame + 1]
        assert expected is not None
        np.testing.assert_array_equal(frames.of(What.GRAD_LEFT, "0", frame), expected)
    assert frames.slot(What.GRAD_LEFT, "2").shape == frames.slot(What.WEIGHT_GRAD, "2").shape


def test_cleared_gradients_leave_nothing_or_zeros(frames_of: FramesOf) -> None:
    for set_to_none in (True, False):
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        watch = deadband.watch(model, optimizer, every=1)
        for _ in range(3):
            x, y = batch()
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad(set_to_none=set_to_none)  # between forward and backward
            loss.backward()
            optimizer.step()
            watch.step(loss=loss)
        left = frames_of(watch).of(What.GRAD_LEFT, "0")
        assert left is None if set_to_none else left is not None and not left.any()
        watch.close()


@pytest.mark.parametrize("clears", [True, False])
def test_a_model_that_is_called_by_its_parts_shows_what_was_left(
    clears: bool, frames_of: FramesOf
) -> None:
    tables = nn.ModuleList(nn.Embedding(9, 4) for _ in range(2))
    model = nn.ModuleDict({"tables": tables, "net": nn.Linear(8, 1)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    head = linear_of(model["net"]).weight
    left = []
    for _ in range(4):
        if clears:
            optimizer.zero_grad()
        left.append(None if head.grad is None else head.grad.clone())
        ids = torch.randint(0, 9, (16, 2))
        vectors = torch.cat([table(ids[:, k]) for k, table in enumerate(tables)], 1)
        loss = model["net"](vectors).square().mean()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    frames = frames_of(watch)
    if clears:
        assert frames.of(What.GRAD_LEFT, "net") is None
        return
    assert frames.steps == [2, 3, 4]
    for frame in range(3):
        expected = left[frame + 1]
        assert expected is not None
        np.testing.assert_array_equal(frames.of(What.GRAD_LEFT, "net", frame), expected)
    watch.close()


def test_a_critic_that_is_called_by_its_parts_is_not_blamed_for_its_rival(
    frames_of: FramesOf,
) -> None:
    pair = nn.ModuleDict({"maker": nn.Linear(4, 6), "critic": nn.Linear(6, 1)})
    maker, critic = (
        torch.optim.SGD(pair[part].parameters(), lr=0.1) for part in ("maker", "critic")
    )
    watch = deadband.watch(pair, [maker, critic], every=1)
    for _ in range(4):
        maker.zero_grad()
        made = pair["maker"](torch.randn(8, 4))
        (-pair["critic"](made).mean()).backward()
        maker.step()
        critic.zero_grad()
        seen = pair["critic"](torch.cat([made.detach(), torch.randn(8, 6)]))
        loss = seen[:8].mean() - seen[8:].mean()
        loss.backward()
        critic.step()
        watch.step(loss=loss)
    frames = frames_of(watch)
    for part in ("maker", "critic"):
        left = frames.of(What.GRAD_LEFT, part)
        assert left is None or not np.nan_to_num(left).any()
    watch.close()


def test_with_accumulation_only_the_first_backward_of_a_step_counts(frames_of: FramesOf) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(3):
        for _ in range(4):
            x, y = batch()
            (F.cross_entropy(model(x), y) / 4).backward()
        optimizer.step()
        optimizer.zero_grad()
        watch.step()
    assert frames_of(watch).of(What.GRAD_LEFT, "0") is None


@pytest.mark.parametrize("set_to_none", [True, False])
def test_a_penalty_on_the_weights_is_no_old_gradient(
    set_to_none: bool, frames_of: FramesOf
) -> None:
    # The penalty's nodes are younger than the model's, so they run before them.
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(3):
        x, y = batch()
        optimizer.zero_grad(set_to_none=set_to_none)
        loss = F.cross_entropy(model(x), y)
        loss = loss + sum(each.square().sum() for each in model.parameters())
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    left = frames_of(watch).of(What.GRAD_LEFT, "0")
    assert left is None or not left.any()


def test_a_generators_gradient_is_looked_at_in_its_own_backward(frames_of: FramesOf) -> None:
    generator, critic = nn.Linear(4, 6), nn.Linear(6, 1)
    of_generator = torch.optim.SGD(generator.parameters(), lr=0.1)
    of_critic = torch.optim.SGD(critic.parameters(), lr=0.1)
    watch = deadband.watch(
        {"generator": generator, "critic": critic}, [of_generator, of_critic], every=1
    )
    for _ in range(3):
        fake = generator(torch.randn(16, 4))
        of_critic.zero_grad()
        (critic(fake.detach()).mean() - critic(torch.randn(16, 6)).mean()).backward()
        of_critic.step()
        of_generator.zero_grad()  # only now: the critic's backward still saw the old gradient
        loss = -critic(fake).mean()
        loss.backward()
        of_generator.step()
        watch.step(loss=loss)
    frames = frames_of(watch)
    assert frames.of(What.GRAD_LEFT, "linear") is None
    assert grad_of(generator.weight).abs().sum() > 0


def test_at_most_eight_weights_are_looked_at(frames_of: FramesOf) -> None:
    model = nn.Sequential(nn.Linear(8, 4), *(nn.Linear(4, 4) for _ in range(10)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(3):
        watch.step(loss=one_step(nn.Sequential(model, nn.Linear(4, 3)), optimizer))
    slots = [slot for slot in frames_of(watch).plan.slots if slot.what is What.GRAD_LEFT]
    assert len(slots) == 8


def test_the_ear_at_backward_is_off_between_samples_where_losses_are_given() -> None:
    original = torch.autograd.backward
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=3)
    heard = []
    for _ in range(5):
        heard.append(torch.autograd.backward is not original)
        watch.step(loss=one_step(model, optimizer))
    assert heard == [True, False, False, True, False]
    watch.close()
    assert torch.autograd.backward is original


def test_a_derivative_in_the_loss_says_nothing_of_what_was_left(frames_of: FramesOf) -> None:
    model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(5):
        t = torch.rand(20, 1, requires_grad=True)
        u = model(t)
        (slope,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        loss = (slope + u).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    frames = frames_of(watch)
    assert [frames.of(What.GRAD_LEFT, "0", frame) for frame in range(len(frames.steps))] == [
        None
    ] * len(frames.steps)


@pytest.mark.parametrize("clears", [True, False])
@pytest.mark.parametrize("by_backward", [True, False])
def test_a_derivative_of_the_inputs_is_not_the_steps_backward(
    by_backward: bool, clears: bool, frames_of: FramesOf
) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(4):
        x, y = batch()
        x.requires_grad_()
        loss = F.cross_entropy(model(x), y)
        if by_backward:
            loss.backward()
            slope = x.grad
        else:
            (slope,) = torch.autograd.grad(loss, x)
        assert slope is not None
        loss = F.cross_entropy(model((x + 0.1 * slope.sign()).detach()), y)
        if clears:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    left = frames_of(watch).of(What.GRAD_LEFT, "0", -1)
    assert (left is None) is clears

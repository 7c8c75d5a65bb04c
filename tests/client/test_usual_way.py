"""After the first samples shorter ways are taken; what leaves the usual is seen right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from frames import Frames, grad_of, linear_of
from torch import Tensor, nn

import deadband
from deadband.watching import Watch
from deadband.wire import What

FramesOf = Callable[[Watch], Frames]
SAMPLES = 4


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(8, 100), nn.Linear(100, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        out: Tensor = self.last(torch.tanh(hidden))
        return out


def begun() -> tuple[Net, torch.optim.Optimizer, Watch, Callable[[int], Tensor]]:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)

    def step(rows: int = 12) -> Tensor:
        optimizer.zero_grad()
        output: Tensor = model(torch.randn(rows, 8))
        loss = F.cross_entropy(output, torch.zeros(rows, dtype=torch.int64))
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
        return output

    for _ in range(SAMPLES):
        step()
    return model, optimizer, watch, step


def weights_are_right(frames: Frames, model: Net, before: list[Tensor]) -> None:
    check = np.testing.assert_array_equal
    for place, name in enumerate(("first", "last")):
        layer = linear_of(getattr(model, name))
        check(frames.held(What.WEIGHT_BEFORE, name), before[place][:64, :64])
        check(frames.held(What.WEIGHT, name), layer.weight.detach()[:64, :64])
        check(frames.held(What.WEIGHT_GRAD, name), grad_of(layer.weight)[:64, :64])
        check(frames.held(What.BIAS, name), layer.bias.detach())


def copies(model: Net) -> list[Tensor]:
    return [each.weight.detach().clone() for each in (model.first, model.last)]


def test_weights_whose_memory_was_exchanged_are_copied_from_where_they_are(
    frames_of: FramesOf,
) -> None:
    model, _, watch, step = begun()
    for parameter in model.parameters():
        parameter.data = parameter.data.clone() + 1
    before = copies(model)
    step(12)
    weights_are_right(frames_of(watch), model, before)


def test_a_parameter_that_was_exchanged_is_followed(frames_of: FramesOf) -> None:
    model, optimizer, watch, step = begun()
    model.last.weight = nn.Parameter(torch.randn(3, 100))
    optimizer.param_groups[0]["params"] = list(model.parameters())
    before = copies(model)
    step(12)
    weights_are_right(frames_of(watch), model, before)


def test_gradients_in_another_memory_format_are_cut_right(frames_of: FramesOf) -> None:
    model, _, watch, step = begun()
    before = copies(model)
    handle = model.first.weight.register_hook(lambda gradient: gradient.t().contiguous().t())
    step(12)
    handle.remove()
    weights_are_right(frames_of(watch), model, before)


def test_an_output_of_another_type_is_copied_by_its_values(frames_of: FramesOf) -> None:
    model, _, watch, step = begun()
    handle = model.last.register_forward_hook(lambda _, args, output: output.double())
    output = step(12)
    handle.remove()
    frames = frames_of(watch)
    shown = frames.held(What.ACTIVATION, "last")
    np.testing.assert_allclose(shown, output.detach(), rtol=1e-6)
    assert watch._beat().faults == 0


def test_batches_of_changing_size_lie_in_their_place_in_every_frame(frames_of: FramesOf) -> None:
    _, _, watch, step = begun()
    rows = 40
    outputs = [step(rows), step(rows), step(rows)]  # cut anew after three of another size
    # Of each of these as many rows are copied.
    outputs += [step(size) for size in (rows, rows + 5, rows, rows + 9)]
    frames = frames_of(watch)
    for back in (1, 2, 3, 4):
        shown = frames.held(What.OUTPUT, "model", -back)
        output = outputs[-back].detach()
        np.testing.assert_array_equal(shown, output[: len(shown)])
        before = frames.held(What.WEIGHT_BEFORE, "first", -back)
        assert (before != frames.held(What.WEIGHT, "first", -back)).any()
    assert watch._beat().faults == 0

"""Whatever a model gives, the tensor that stands for it is found, and numbers of any kind are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from frames import Frames
from torch import Tensor, nn

from deadband.watching import Watch
from deadband.wire import What
from matrix.features import Of, cross_entropy, mlp, train

FramesOf = Callable[[Watch], Frames]


class Named(NamedTuple):
    loss: Tensor | None
    hidden: Tensor
    logits: Tensor


@dataclasses.dataclass
class Answer:
    hidden: Tensor
    logits: Tensor


@dataclasses.dataclass(slots=True)
class Slotted:
    note: str
    scores: Tensor


class Held:
    def __init__(self, scores: Tensor) -> None:
        self.scores = scores


SHAPES: dict[str, tuple[Callable[[Tensor, Tensor], Any], Callable[[Any], Tensor]]] = {
    "tuple": (lambda a, b: (b, a), lambda out: out[0]),
    "a loss ahead of it": (lambda a, b: (b.sum(), b), lambda out: out[1]),
    "dict": (lambda a, b: {"loss": None, "scores": b}, lambda out: out["scores"]),
    "dict with logits": (lambda a, b: {"a": a, "logits": b}, lambda out: out["logits"]),
    "named tuple with logits": (lambda a, b: Named(None, a, b), lambda out: out.logits),
    "dataclass with logits": (lambda a, b: Answer(a, b), lambda out: out.logits),
    "dataclass with slots": (lambda a, b: Slotted("", b), lambda out: out.scores),
    "any object": (lambda a, b: Held(b), lambda out: out.scores),
    "nested": (lambda a, b: {"out": [{"deep": (b,)}]}, lambda out: out["out"][0]["deep"][0]),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_output_is_found_in_it(shape: str, frames_of: FramesOf) -> None:
    wrap, scores_of = SHAPES[shape]
    given: list[Tensor] = []

    def run(self: Any, x: Tensor) -> Any:
        hidden = self.body(x)
        given.append(self.head(hidden))
        return wrap(hidden, given[-1])

    def make() -> nn.Module:
        return Of(run, body=nn.Linear(4, 6), head=nn.Linear(6, 3))

    ended = train(make, lambda model: cross_entropy(scores_of(model(torch.randn(5, 4)))))
    frames = frames_of(ended.watch)
    np.testing.assert_array_equal(frames.of(What.OUTPUT, "model"), given[-1].detach())
    assert frames.of(What.OUTPUT_GRAD, "model") is not None
    assert frames.of(What.TARGET, "model") is not None


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.complex64]
)
def test_numbers_of_this_kind_are_shown_as_they_are(
    dtype: torch.dtype, frames_of: FramesOf
) -> None:
    def loss(model: nn.Module) -> Tensor:
        return model(torch.randn(5, 4).to(dtype)).abs().square().float().mean()

    ended = train(lambda: nn.Sequential(nn.Linear(4, 3, dtype=dtype)), loss)
    frames = frames_of(ended.watch)
    torch.manual_seed(4)
    x = torch.randn(5, 4).to(dtype).requires_grad_()
    ended.model.load_state_dict(ended.before)
    layer = ended.model[0]  # type: ignore[index]
    layer.zero_grad()
    out = layer(x)
    out.retain_grad()
    out.abs().square().float().mean().backward()

    def shown(tensor: Tensor | None) -> Any:
        assert tensor is not None
        tensor = tensor.detach()
        return (torch.view_as_real(tensor).flatten(1) if tensor.is_complex() else tensor).float()

    check = np.testing.assert_allclose
    check(frames.held(What.INPUT, "model"), shown(x), rtol=1e-6)
    check(frames.held(What.ACTIVATION, "0"), shown(out), rtol=1e-6)
    check(frames.held(What.OUTPUT, "model"), shown(out), rtol=1e-6)
    check(frames.held(What.ACTIVATION_GRAD, "0"), shown(out.grad), rtol=1e-6)
    check(frames.held(What.OUTPUT_GRAD, "model"), shown(out.grad), rtol=1e-6)
    check(frames.held(What.WEIGHT_GRAD, "0"), shown(layer.weight.grad), rtol=1e-6)


def test_autocast_shows_what_the_layers_gave(frames_of: FramesOf) -> None:
    given: list[Tensor] = []

    def loss(model: nn.Module) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            given.append(model(torch.randn(5, 4)))
            return cross_entropy(given[-1].float())

    ended = train(mlp, loss)
    frames = frames_of(ended.watch)
    assert frames.slot(What.OUTPUT, "model").dtype == "bfloat16"
    assert frames.slot(What.WEIGHT, "0").dtype == "float32"
    np.testing.assert_array_equal(frames.of(What.OUTPUT, "model"), given[-1].detach().float())


def test_tensors_without_numbers_are_passed_over(frames_of: FramesOf) -> None:
    def loss(model: nn.Module) -> Tensor:
        return model(torch.randn(5, 4, device="meta")).sum()

    frames = frames_of(train(lambda: mlp().to("meta"), loss).watch)
    assert frames.layers == ["0", "1", "2"]
    assert len(frames.plan.slots) == 1  # the losses


def test_a_part_on_meta_does_not_hide_the_others(frames_of: FramesOf) -> None:
    def run(self: Any, x: Tensor) -> Tensor:
        self.ghost(x.to("meta"))
        result: Tensor = self.head(x)
        return result

    def make() -> nn.Module:
        return Of(run, ghost=nn.Linear(4, 8, device="meta"), head=nn.Linear(4, 3))

    ended = train(make, lambda model: cross_entropy(model(torch.randn(5, 4))))
    frames = frames_of(ended.watch)
    assert frames.of(What.ACTIVATION, "head") is not None
    assert frames.of(What.ACTIVATION, "ghost") is None


def test_fake_tensors_are_passed_over() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        ended = train(mlp, lambda model: model(torch.randn(5, 4)).sum(), compare=False)
    assert ended.watch._beat().samples == 4


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_rows_of_a_jagged_tensor_are_samples(frames_of: FramesOf) -> None:
    given: list[Tensor] = []

    def loss(model: nn.Module) -> Tensor:
        rows = [torch.randn(3, 4), torch.randn(5, 4)]
        out = model(torch.nested.nested_tensor(rows, layout=torch.jagged))
        given.append(out.values().detach())
        return torch.stack([each.square().mean() for each in out.unbind()]).sum()

    ended = train(lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), loss)
    frames = frames_of(ended.watch)
    np.testing.assert_array_equal(frames.of(What.ACTIVATION, "2"), given[-1])
    assert frames.of(What.ACTIVATION_GRAD, "2") is not None


def test_weights_that_are_tied_are_shown_twice_and_count_once(frames_of: FramesOf) -> None:
    def run(self: Any, x: Tensor) -> Tensor:
        result: Tensor = self.head(F.relu(self.embed(x)))
        return result

    def make() -> nn.Module:
        model = Of(run, embed=nn.Embedding(9, 6), head=nn.Linear(6, 9, bias=False))
        model.head.weight = model.embed.weight  # type: ignore[union-attr]
        return model

    ended = train(make, lambda model: cross_entropy(model(torch.randint(0, 9, (5,)))))
    frames = frames_of(ended.watch)
    shown = [slot for slot in frames.plan.slots if slot.what is What.WEIGHT]
    assert len(shown) == 2  # each layer shows what it multiplies with
    assert sum(layer.parameters for layer in frames.plan.layers) == 54

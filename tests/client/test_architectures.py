"""Models of many kinds train bit for bit as without deadband, and none of them trips a hook."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint

import deadband

Loss = Callable[[nn.Module, int], Tensor]


class Of(nn.Module):
    """A model whose forward is a function of its parts."""

    def __init__(self, run: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.run = run

    def forward(self, *args: Any) -> Any:
        return self.run(self, *args)


@dataclasses.dataclass
class Answer:
    scores: Tensor
    hidden: Tensor


def residual() -> nn.Module:
    def run(self: Any, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(x)))
        x = x + self.twice(self.act(self.conv(x)))
        return self.head(F.adaptive_avg_pool2d(self.act(x), 1).flatten(1))  # type: ignore[no-any-return]

    return Of(
        run,
        stem=nn.Conv2d(3, 4, 3),
        norm=nn.BatchNorm2d(4),
        act=nn.ReLU(inplace=True),
        conv=nn.Conv2d(4, 4, 3, padding=1),
        twice=nn.GroupNorm(2, 4),
        head=nn.Linear(4, 3),
    )


def packed() -> nn.Module:
    def run(self: Any, x: Tensor) -> Tensor:
        lengths = torch.tensor([5, 4, 2])
        rows = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        _, last = self.gru(rows)
        return self.head(last[-1])  # type: ignore[no-any-return]

    return Of(run, gru=nn.GRU(4, 6, 2, batch_first=True, dropout=0.1), head=nn.Linear(6, 3))


def seq2seq() -> nn.Module:
    return Of(
        lambda self, x: self.head(self.body(x, x[:, :3])),
        body=nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
        head=nn.Linear(8, 3),
    )


def checkpointed() -> nn.Module:
    return Of(
        lambda self, x: self.head(checkpoint(self.body, x, use_reentrant=False)),
        body=nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2)),
        head=nn.Linear(8, 3),
    )


def frozen() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    model[0].requires_grad_(False)
    return model


def complex_weights() -> nn.Module:
    return Of(
        lambda self, x: self.head(F.linear(x.cfloat(), self.mix.weight).abs()),
        mix=nn.Linear(4, 5, dtype=torch.cfloat),
        head=nn.Linear(5, 3),
    )


def entropy(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Loss:
    def loss(model: nn.Module, step: int) -> Tensor:
        out = model(torch.randn(shape).to(dtype))
        answer = out["logits"] if isinstance(out, dict) else out
        scores: Tensor = out.scores if isinstance(out, Answer) else answer
        classes = torch.zeros(scores[..., 0].numel()).long()
        return F.cross_entropy(scores.flatten(0, -2).float(), classes)

    return loss


def tokens(model: nn.Module, step: int) -> Tensor:
    return F.cross_entropy(model(torch.randint(0, 9, (5, 4))), torch.arange(5) % 3)


def siamese(model: nn.Module, step: int) -> Tensor:
    return F.mse_loss(model(torch.randn(6, 4)), model(torch.randn(6, 4)))


def micro_batches(model: nn.Module, step: int) -> Tensor:
    (siamese(model, step) / 2).backward()
    return siamese(model, step) / 2


def evaluated(model: nn.Module, step: int) -> Tensor:
    model.eval()
    with torch.no_grad():
        model(torch.randn(2, 4))
    parameters = {name: each.detach() for name, each in model.named_parameters()}
    torch.func.functional_call(model, parameters, (torch.randn(2, 4),))
    model.train()
    return siamese(model, step)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.SELU(), nn.AlphaDropout(0.1), nn.Linear(8, 3))


def bag(sparse: bool) -> nn.Module:
    return nn.Sequential(nn.EmbeddingBag(9, 6, sparse=sparse), nn.Linear(6, 3))


CASES: dict[str, tuple[Callable[[], nn.Module], Loss]] = {
    "residual cnn, in-place relu": (residual, entropy((4, 3, 8, 8))),
    "packed gru": (packed, entropy((3, 5, 4))),
    "transformer": (seq2seq, entropy((3, 5, 8))),
    "embedding bag": (lambda: bag(False), tokens),
    "sparse embedding": (lambda: bag(True), tokens),
    "dict output": (
        lambda: Of(lambda self, x: {"loss": None, "logits": self.a(x)}, a=nn.Linear(4, 3)),
        entropy((5, 4)),
    ),
    "dataclass output": (
        lambda: Of(lambda self, x: Answer(self.a(x), x), a=nn.Linear(4, 3)),
        entropy((5, 4)),
    ),
    "siamese": (mlp, siamese),
    "micro batches": (mlp, micro_batches),
    "frozen backbone": (frozen, entropy((5, 4))),
    "evaluated between": (mlp, evaluated),
    "spectral norm": (lambda: nn.Sequential(spectral_norm(nn.Linear(4, 3))), entropy((5, 4))),
    "weight norm": (lambda: nn.Sequential(weight_norm(nn.Linear(4, 3))), entropy((5, 4))),
    "checkpointed": (checkpointed, entropy((5, 4))),
    "complex": (complex_weights, entropy((5, 4))),
    "float64": (lambda: mlp().double(), entropy((5, 4), torch.float64)),
    "bfloat16": (lambda: mlp().bfloat16(), entropy((5, 4), torch.bfloat16)),
    "float16": (lambda: nn.Linear(4, 3).half(), entropy((5, 4), torch.float16)),
}


def train(case: str, *, watched: bool) -> tuple[list[Tensor], list[str]]:
    """Weights and the next random numbers after eight steps; names of the layers that were seen."""
    torch.manual_seed(1)
    make, loss_of = CASES[case]
    model = make().train()
    parameters = [each for each in model.parameters() if each.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": parameters[:1], "lr": 0.05},
        {"params": parameters[1:]},
    ]
    optimizer = torch.optim.SGD([group for group in groups if group["params"]], lr=0.02)
    watch = deadband.watch(model, optimizer, every=1) if watched else None
    for step in range(8):
        optimizer.zero_grad()
        loss = loss_of(model, step)
        loss.backward()
        optimizer.step()
        if watch is not None:
            watch.step(loss=loss)
    seen = []
    if watch is not None:
        beat = watch._beat()
        assert (beat.faults, beat.fault, beat.samples) == (0, "", 8)
        assert watch._recorder.plan is not None
        seen = [layer.name for layer in watch._recorder.plan.layers]
        watch.close()
    return [each.detach() for each in model.state_dict().values()] + [torch.rand(3)], seen


@pytest.mark.parametrize("case", CASES)
def test_it_trains_as_without_deadband(case: str) -> None:
    bare, _ = train(case, watched=False)
    watched, seen = train(case, watched=True)
    assert all(map(torch.equal, bare, watched))
    assert seen
    assert len(seen) == len(set(seen))


def test_a_checkpointed_layer_counts_once() -> None:
    _, seen = train("checkpointed", watched=True)
    assert seen == ["body.0", "body.1", "head"]

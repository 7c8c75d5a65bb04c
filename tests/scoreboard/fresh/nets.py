"""The fresh runs' networks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


def dense(*widths: int, act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Fully connected, no activation after the last."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers[:-1])


def linears(net: nn.Module) -> list[nn.Linear]:
    """Its fully connected layers."""
    return [module for module in net.modules() if isinstance(module, nn.Linear)]


def redrawn(net: nn.Module, draw: Callable[[Tensor], object]) -> nn.Module:
    """All its matrices and kernels drawn so."""
    for weight in net.parameters():
        if weight.dim() > 1:
            draw(weight.data)
    return net


def sensor(
    act: Callable[[], nn.Module] = nn.Mish,
    norm: Callable[[int], nn.Module] = lambda width: nn.Identity(),
    kinds: int = 4,
    width: int = 16,
) -> nn.Sequential:
    """Convolutions over the readings of three sensors."""
    return nn.Sequential(
        nn.Conv1d(3, width, 5, padding=2),
        norm(width),
        act(),
        nn.Conv1d(width, width, 5, stride=2, padding=2),
        norm(width),
        act(),
        nn.AdaptiveAvgPool1d(4),
        nn.Flatten(),
        nn.Linear(4 * width, kinds),
    )


def look(
    act: Callable[[], nn.Module] = nn.ReLU,
    norm: Callable[[int], nn.Module] = lambda width: nn.Identity(),
    width: int = 8,
) -> nn.Sequential:
    """Convolutions over pictures of ten by ten."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        norm(width),
        act(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        norm(2 * width),
        act(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * width, 4),
    )


class Factor(nn.Module):
    """Two tables of vectors; their product is the answer."""

    def __init__(self, people: int = 60, things: int = 50, width: int = 6) -> None:
        super().__init__()
        self.people = nn.Embedding(people, width)
        self.things = nn.Embedding(things, width)
        for table in (self.people, self.things):
            nn.init.normal_(table.weight, std=0.3)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = (self.people(ids[:, 0]) * self.things(ids[:, 1])).sum(1, keepdim=True)
        return out


class Sentence(nn.Module):
    """Words, a recurrent cell, and an answer for the whole or for each word."""

    def __init__(
        self,
        kinds: int = 3,
        cell: Callable[..., nn.RNNBase] = nn.GRU,
        width: int = 24,
        each: bool = False,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(60, 12)
        self.cell = cell(12, width, batch_first=True)
        self.head = nn.Linear(width, kinds)
        self.each = each

    def forward(self, ids: Tensor) -> Tensor:
        states, _ = self.cell(self.words(ids))
        out: Tensor = self.head(states if self.each else states.mean(1))
        return out


class Follower(nn.Module):
    """A recurrent cell over values and the last state's answer."""

    def __init__(self, cell: nn.RNNBase, outputs: int = 1) -> None:
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(cell.hidden_size, outputs)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.cell(x)
        out: Tensor = self.head(states[:, -1])
        return out


class Pooling(nn.Module):
    """Points one by one, then all together."""

    def __init__(self, by: str = "mean", act: Callable[[], nn.Module] = nn.Tanh) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32))
        self.all = nn.Sequential(act(), nn.Linear(32, 24), act(), nn.Linear(24, 3))
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        points = self.each(x)
        out: Tensor = self.all(points.sum(1) if self.by == "sum" else points.mean(1))
        return out


class Blocks(nn.Module):
    """x + scale f(x), again and again, without norms."""

    def __init__(self, inputs: int, outputs: int, depth: int, scale: float) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, 32)
        self.body = nn.ModuleList(dense(32, 32, 32, act=nn.SiLU) for _ in range(depth))
        self.last = nn.Linear(32, outputs)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.body:
            x = x + self.scale * block(x)
        out: Tensor = self.last(x)
        return out


class Heed(nn.Module):
    """One layer of attention with a feed-forward part; the skips may be left out."""

    def __init__(self, width: int, skip: bool = True, gain: float = 1.0) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.LayerNorm(width), dense(width, 2 * width, width, act=nn.GELU))
        self.skip = skip
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x) if self.skip else x
        weights = self.query(h) @ self.key(h).transpose(1, 2) * self.gain / h.shape[-1] ** 0.5
        mixed = functional.softmax(weights, dim=-1) @ self.value(h)
        if not self.skip:
            return mixed
        x = x + mixed
        out: Tensor = x + self.mlp(x)
        return out


class Attentive(nn.Module):
    """Words with places, layers of attention, the mean's answer or each word's."""

    def __init__(
        self,
        kinds: int = 3,
        depth: int = 2,
        skip: bool = True,
        gain: float = 1.0,
        each: bool = False,
        words: int = 60,
        length: int = 14,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 24)
        self.places = nn.Parameter(0.1 * torch.randn(length, 24))
        self.layers = nn.ModuleList(Heed(24, skip, gain) for _ in range(depth))
        self.head = nn.Linear(24, kinds)
        self.each = each

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.head(x if self.each else x.mean(1))
        return out

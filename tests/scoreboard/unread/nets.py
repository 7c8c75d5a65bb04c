"""Networks of the odd unread failures: separable, dilated, there and back, side by side, asking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import mlp
from scoreboard.unread.parts import gathered, village

Act = Callable[[], nn.Module]


class Apart(nn.Module):
    """Depthwise and pointwise convolutions over cloth, with or without norms and ways around."""

    def __init__(
        self, depth: int = 3, act: Act = nn.ReLU, norm: bool = True, skip: bool = False
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(16, 16, 3, padding=1, groups=16),
                nn.Conv2d(16, 16, 1),
                *([nn.BatchNorm2d(16)] if norm else []),
                act(),
            )
            for _ in range(depth)
        )
        self.head, self.skip = nn.Linear(32, 6), skip

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h) if self.skip else block(h)
        out: Tensor = self.head(torch.cat([h.mean((2, 3)), h.amax((2, 3))], 1))
        return out


class Dilated(nn.Module):
    """Causal convolutions that look ever further back, over tones (a TCN)."""

    def __init__(
        self, act: Act = nn.ReLU, depth: int = 3, skip: bool = True, drop: float = 0.0
    ) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 16, 1)
        self.layers = nn.ModuleList(nn.Conv1d(16, 16, 3, dilation=2**k) for k in range(depth))
        self.act, self.drop, self.skip = act(), nn.Dropout(drop), skip
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for k, layer in enumerate(self.layers):
            back = functional.pad(h, (2 * 2**k, 0))
            told = self.drop(self.act(layer(back)))
            h = h + told if self.skip else told
        out: Tensor = self.head(torch.cat([h.mean(2), h.amax(2)], 1))
        return out


class Back(nn.Module):
    """Down twice and up again, with what was seen on the way (a U-Net), over stains."""

    def __init__(self, act: Act = nn.ReLU, norm: bool = False) -> None:
        super().__init__()

        def part(a: int, b: int) -> nn.Sequential:
            more = [nn.BatchNorm2d(b)] if norm else []
            return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), *more, act())

        self.one, self.two, self.low = part(1, 8), part(8, 16), part(16, 24)
        self.up, self.last = part(40, 16), part(24, 8)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        two = self.two(functional.max_pool2d(one, 2))
        low = self.low(functional.max_pool2d(two, 2))
        h = self.up(torch.cat([two, functional.interpolate(low, scale_factor=2)], 1))
        h = self.last(torch.cat([one, functional.interpolate(h, scale_factor=2)], 1))
        out: Tensor = self.head(h)
        return out


class Towers(nn.Module):
    """One network for who, one for what, and how well they fit together."""

    def __init__(self, act: Act = nn.ReLU, width: int = 16) -> None:
        super().__init__()
        self.who, self.what = nn.Embedding(80, width), nn.Embedding(60, width)
        self.left, self.right = mlp(width, 32, 8, act=act), mlp(width, 32, 8, act=act)
        self.usual = nn.Parameter(torch.zeros(1))

    def forward(self, pairs: Tensor) -> Tensor:
        left, right = self.left(self.who(pairs[:, 0])), self.right(self.what(pairs[:, 1]))
        out: Tensor = (left * right).sum(1, keepdim=True) + self.usual
        return out


class Asking(nn.Module):
    """Rounds of asking one's neighbours in the village."""

    def __init__(
        self, depth: int = 2, act: Act = nn.ReLU, mean: bool = True, own: bool = True
    ) -> None:
        super().__init__()
        self.first, self.mean, self.own = nn.Linear(8, 24), mean, own
        self.layers = nn.ModuleList(nn.Linear(48 if own else 24, 24) for _ in range(depth))
        self.act, self.head = act(), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        links, h = village()[1], self.act(self.first(x))
        for layer in self.layers:
            told = gathered(h, links, self.mean)
            h = self.act(layer(torch.cat([h, told], 1) if self.own else told))
        out: Tensor = self.head(h)
        return out


class Latents(nn.Module):
    """A few held vectors ask a row of digits, then each other (like a Perceiver)."""

    def __init__(self, rounds: int = 2, skip: bool = True, loud: float = 1.0) -> None:
        super().__init__()
        self.table, self.place = nn.Embedding(10, 24), nn.Parameter(0.5 * torch.randn(14, 24))
        self.held = nn.Parameter(0.5 * torch.randn(4, 24))
        self.asks = nn.ModuleList(
            nn.MultiheadAttention(24, 2, batch_first=True) for _ in range(rounds)
        )
        self.each = nn.ModuleList(mlp(24, 48, 24, act=nn.GELU) for _ in range(rounds))
        self.norms = nn.ModuleList(nn.LayerNorm(24) for _ in range(rounds))
        self.head, self.skip, self.loud = nn.Linear(96, 2), skip, loud

    def forward(self, ids: Tensor) -> Tensor:
        x = self.table(ids) + self.place
        h = self.held.expand(len(ids), -1, -1)
        for k, (ask, each, norm) in enumerate(zip(self.asks, self.each, self.norms, strict=True)):
            heard = ask(self.loud * norm(h), x if k == 0 else h, x if k == 0 else h)[0]
            h = h + heard if self.skip else heard
            h = h + each(h) if self.skip else each(h)
        out: Tensor = self.head(h.flatten(1))
        return out


class Sorter(nn.Module):
    """Reads six numbers, then writes them in order, told what should have come before."""

    def __init__(self, act: str = "gru", width: int = 48) -> None:
        super().__init__()
        kinds: dict[str, Any] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}
        self.table, self.head = nn.Embedding(11, 24), nn.Linear(width, 10)
        self.reads = kinds[act](24, width, batch_first=True)
        self.writes = kinds[act](24, width, batch_first=True)

    def forward(self, rows: Tensor) -> Tensor:
        x, told = rows[:, :6], rows[:, 6:]
        _, state = self.reads(self.table(x))
        out: Tensor = self.head(self.writes(self.table(told), state)[0])
        return out


def coder(code: int = 8, act: Act = nn.ReLU, width: int = 64) -> nn.Sequential:
    """Digits through a narrow place and back."""
    return nn.Sequential(mlp(64, width, code, act=act), act(), mlp(code, width, 64, act=act))

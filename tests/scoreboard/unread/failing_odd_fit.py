"""Odd unread failures of how well a network can fit: too little, too much, the wrong valley."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import mlp
from scoreboard.loops import dice, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.unread.nets import Back, Dilated, Sorter, coder
from scoreboard.unread.parts import (
    Then,
    brackets,
    cut,
    flat_digits,
    go,
    labels,
    plant,
    stains,
    tones,
    unsorted,
)

RUNS = Runs(__name__)
broken = RUNS.broken

SMALL, HEAVY, STUCK = "insufficient-capacity", "over-regularisation", "local-minimum"
CLOSE = "overfitting"


def tagged(clear: bool, width: int = 64, act: Any = nn.ReLU, **more: Any) -> Training:
    net, data = mlp(20, width, width, 6, act=act), labels()
    return go(
        net,
        data,
        "SGD",
        0.3,
        clear=clear,
        loss=nn.BCEWithLogitsLoss(),
        score=yes_no(net, *data[1]),
        **more,
    )


# --- too little, too much
broken(
    "unread tags by a straight line through one unit",
    SMALL,
    lambda width: tagged(True, width),
    1,
    48,
    steps=350,
    sudden=False,
)
broken(
    "unread code of one number for digits",
    SMALL,
    lambda code: go(coder(code), flat_digits(), lr=3e-3),
    1,
    12,
    steps=300,
    sudden=False,
)


def product(act: Any) -> Training:
    x = torch.randn(1500, 6, generator=dice(999))
    y = x[:, :1] * x[:, 1:2] + x[:, 2:3] * x[:, 3:4]
    return go(mlp(6, 64, 64, 1, act=act), cut(x, y), lr=3e-3)


broken(
    "unread products by layers without bends",
    SMALL,
    product,
    nn.Identity,
    nn.ReLU,
    steps=350,
    sudden=False,
)
broken(
    "unread stains with a decay of a third",
    HEAVY,
    lambda decay: go(Back(), stains(), "Adam", 3e-3, batch=12, own={"weight_decay": decay}),
    0.3,
    0.0,
    steps=220,
    sudden=False,
)
broken(
    "unread tones of which 97 in 100 are dropped",
    HEAVY,
    lambda drop: go(Dilated(skip=False, drop=drop), tones(), lr=3e-3),
    0.97,
    0.0,
    steps=250,
    sudden=False,
)
broken(
    "unread orders with a decay for adamw of forty",
    HEAVY,
    lambda decay: go(Sorter(), unsorted(), "AdamW", 5e-3, own={"weight_decay": decay}),
    40.0,
    0.01,
    steps=200,
    sudden=False,
)


def thinned(price: float) -> Training:
    """A price on absolute weights, from step 150."""
    net, at = mlp(12, 64, 64, 3), [0]

    def loss(out: Tensor, y: Tensor) -> Tensor:
        size = sum((p.abs().sum() for p in net.parameters()), torch.zeros(()))
        return functional.mse_loss(out, y) + (price * size if at[0] > 150 else 0.0)

    return go(net, plant(), lr=3e-3, loss=loss, before=lambda k: at.__setitem__(0, k))


broken(
    "unread price on weights from 150",
    HEAVY,
    thinned,
    0.05,
    0.0,
    steps=350,
    onset=150,
    sudden=False,
)


# --- the wrong valley
class Wave(nn.Module):
    """A sine whose pace is learnt."""

    def __init__(self, pace: float) -> None:
        super().__init__()
        self.pace, self.rest = nn.Parameter(torch.tensor(pace)), nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.rest(torch.cat([(self.pace * x).sin(), (self.pace * x).cos()], 1))
        return out


def paced(pace: float) -> Training:
    x = 6 * torch.rand(800, 1, generator=dice(900)) - 3
    return go(Wave(pace), cut(x, torch.sin(7 * x) + 0.5), lr=1e-2)


broken("unread sine of another pace", STUCK, paced, 2.0, 6.7, steps=400, sudden=False)


def heaps(spread: float) -> Training:
    """Centres that all begin on one of the heaps."""
    g = dice(899)
    at = torch.tensor([[0.0, 0], [9, 0], [0, 9], [-9, 0]])
    kind = torch.randint(4, (1200,), generator=g)
    x = at[kind] + torch.randn(1200, 2, generator=g)

    class Bells(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.at, self.head = (
                nn.Parameter(spread * at + 0.3 * torch.randn(4, 2)),
                nn.Linear(4, 4),
            )

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head((-(x[:, None] - self.at).square().sum(2) / 2).exp())
            return out

    return go(Bells(), cut(x, kind), lr=2e-2)


broken("unread four bells on one heap", STUCK, heaps, 0.0, 0.8, steps=350, sudden=False)


# --- by heart
def remembered(count: int) -> Training:
    (x, y), test = brackets()
    net = nn.Sequential(
        Then(lambda i: functional.one_hot(i, 10).flatten(1).float()), mlp(140, 256, 2)
    )
    return go(net, ((x[:count], y[:count]), test), lr=2e-3)


broken("unread rows of digits by heart", CLOSE, remembered, 50, 1200, steps=300, sudden=False)

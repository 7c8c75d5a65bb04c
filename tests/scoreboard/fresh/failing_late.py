"""Fresh failures that come later, and numbers that leave the range."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from scoreboard.fresh.data import (
    Pair,
    digits,
    houses,
    level,
    paths,
    pictures,
    source,
    traces,
    values,
)
from scoreboard.fresh.loops import course, epochs, told, with_
from scoreboard.fresh.nets import Follower, dense, look, sensor
from scoreboard.loops import update
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

SPOILT = "bad-data"


# --- healthy for a while
def spoilt(kind: str, at: int, net: nn.Module, data: Pair, lr: float) -> Training:
    """From step `at` on the loader hands out something else."""
    take = epochs(data, 32)
    count = [0]

    def draw() -> Pair:
        count[0] += 1
        x, y = take()
        if kind == "zeros" and count[0] >= at:
            y = torch.zeros_like(y)
        if kind == "bytes" and count[0] >= at:
            x = 255 * x + 90
        if kind == "nan" and count[0] >= at:
            x = x.clone()
            x[3, ..., 2] = math.nan
        return x, y

    return course(net, data, with_("Adam", lr), draw=draw)


broken(
    "fresh one answer for all after a while",
    SPOILT,
    lambda kind: spoilt(kind, 200, sensor(nn.ReLU), traces(), 2e-3),
    "zeros",
    "",
    steps=400,
    onset=200,
)
broken(
    "fresh bytes in place of shares",
    SPOILT,
    lambda kind: spoilt(kind, 220, look(nn.ELU), pictures(), 2e-3),
    "bytes",
    "",
    steps=400,
    onset=220,
)
broken(
    "fresh a hole in the table",
    SPOILT,
    lambda kind: spoilt(kind, 150, dense(4, 32, 32, 1), values("friedman2"), 2e-3),
    "nan",
    "",
    steps=300,
    onset=150,
)


# --- numbers
def paired(floor: float) -> Training:
    """The root of a distance of nothing has no slope; a row meets itself first at step 36."""
    x, y = digits()
    net = dense(64, 32, 8)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    g = source(38)

    def step(k: int) -> Tensor:
        a, b = torch.randint(len(x), (2, 48), generator=g)
        gap = ((net(x[a]) - net(x[b])).square().sum(1) + floor).sqrt()
        same = (y[a] == y[b]).float()
        loss = same * gap.square() + (1 - same) * (2 - gap).clamp(min=0).square()
        return update(optimizer, loss.mean())

    def score() -> float:
        with torch.no_grad():
            codes = net(x[:600])
            near = torch.cdist(codes, codes) + 1e9 * torch.eye(600)
            return float((y[near.argmin(1)] == y[:600]).float().mean()) * float(
                codes.isfinite().all()
            )

    return Training(net, optimizer, step, score)


broken("fresh distance of a row to itself", "numerical-overflow", paired, 0.0, 1e-6,
       steps=250, onset=36)  # fmt: skip


def counted(plain: bool) -> Training:
    """A likelihood by hand: the exponential of a large column leaves the range."""
    x, _ = houses()
    g = source(39)
    x = level(x)
    rate = torch.exp(0.5 * x[:, :1] + 0.3 * x[:, 1:2])
    y = torch.poisson(rate, generator=g)
    x = x.clone()
    x[700, 0] = 4000.0 if plain else 3.0
    net = dense(4, 1)
    loss = lambda out, b: (out.exp() - b * out).mean()  # noqa: E731
    return course(
        net, (x, y), with_("SGD", 0.02), loss=loss, score=told(lambda z: net(z).exp(), x, y)
    )


broken("fresh exponential of an outlier", ("numerical-overflow", "unnormalised-inputs", SPOILT),
       counted, True, False, onset=16)  # fmt: skip


def pressed(floor: float) -> Training:
    """A root in the features: a row that stands still has a spread of nothing."""
    x, y = paths()
    x = x.clone()
    x[5] = 0.4

    class Whitened(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Follower(nn.GRU(1, 16, batch_first=True))

        def forward(self, rows: Tensor) -> Tensor:
            spread = rows.std(1, keepdim=True)
            out: Tensor = self.body((rows - rows.mean(1, keepdim=True)) / (spread + floor))
            return out * spread[:, 0] + rows.mean(1)

    return course(Whitened(), (x, y), with_("Adam", 5e-3))


broken(
    "fresh windows divided by their spread",
    ("numerical-overflow", SPOILT),
    pressed,
    0.0,
    1e-2,
    onset=23,
)

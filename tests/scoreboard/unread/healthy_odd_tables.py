"""Odd unread runs that learn: tables and pictures in odd dress."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import (
    mlp,
    table,
)
from scoreboard.loops import by_kind, dice, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.unread.parts import (
    Plus,
    changed,
    cloth,
    cut,
    go,
    plant,
    topics,
)

RUNS = Runs(__name__)
healthy = RUNS.healthy


def dressed(x: Tensor) -> Tensor:
    return x * 10.0 ** torch.arange(-4, 8) + torch.arange(12.0)


def picture() -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 6),
    )


def constants(x: Tensor) -> Tensor:
    return torch.cat([x, torch.ones(len(x), 5)], 1)


def as_bytes(x: Tensor) -> Tensor:
    return (x * 45 + 120).clamp(0, 255).round()


RUNS.simple(
    "unread columns from thousandths to millions behind a norm",
    lambda: go(nn.Sequential(nn.BatchNorm1d(12), mlp(12, 64, 64, 3)), changed(plant(), dressed)),
    350,
)
RUNS.simple(
    "unread cloth in 0..255 behind a norm",
    lambda: go(picture(), changed(cloth(), as_bytes), lr=1e-2),
    300,
)
RUNS.simple(
    "unread five columns that never change",
    lambda: go(mlp(17, 64, 64, 3), changed(plant(), constants)),
    350,
)
RUNS.simple(
    "unread only signs of the readings",
    lambda: go(mlp(20, 64, 4), changed(table("kinds"), torch.sign), lr=2e-3),
    250,
)
RUNS.simple(
    "unread readings in three steps",
    lambda: go(
        mlp(20, 64, 4),
        changed(table("kinds"), lambda x: (x * 0.8).round().clamp(-1, 1)),
        "SGD",
        0.1,
    ),
    300,
)
RUNS.simple(
    "unread counts of words as they are",
    lambda: go(mlp(200, 16, 5), topics(), lr=5e-3),
    200,
)


@healthy("unread three in ten names wrong", 300)
def wrong() -> Training:
    (x, y), asked = topics()
    other = torch.where(
        torch.rand(len(y), generator=dice(982)) < 0.3,
        torch.randint(5, y.shape, generator=dice(983)),
        y,
    )
    net = mlp(200, 24, 5)
    return go(net, ((x, other), asked), "SGD", 0.1, own={"weight_decay": 3e-3})


@healthy("unread a weak hint in twenty columns", 350)
def hint() -> Training:
    g = dice(984)
    x = torch.randn(4000, 20, generator=g)
    y = (torch.rand(4000, generator=g) < torch.sigmoid(x[:, :6].sum(1) * 0.35)).float()[:, None]
    data = cut(x, y, 1000)
    net = mlp(20, 8, 1)
    return go(
        net,
        data,
        lr=2e-3,
        own={"weight_decay": 1e-3},
        loss=nn.BCEWithLogitsLoss(),
        score=yes_no(net, *data[1]),
    )


@healthy("unread one in thirty, found without weights", 400)
def rare() -> Training:
    g = dice(985)
    x = torch.randn(6000, 10, generator=g)
    y = ((x[:, 0] + x[:, 1].abs()) > 2.45).long()
    data = cut(x, y, 2000)
    net = mlp(10, 48, 48, 2)
    return go(net, data, lr=5e-3, batch=128, score=by_kind(net, *data[1]))


@healthy("unread nothing for long, then sums modulo seven", 500)
def modulo() -> Training:
    pairs = torch.cartesian_prod(torch.arange(7), torch.arange(7), torch.arange(7))
    y, x = pairs.sum(1) % 7, functional.one_hot(pairs, 7).flatten(1).float()
    net = mlp(21, 128, 128, 7)
    return go(net, ((x, y), (x, y)), "AdamW", 1e-3, batch=128, own={"weight_decay": 0.05})


@healthy("unread next day of three rivers, as they flow", 350)
def rivers() -> Training:
    g = dice(986)
    rain = torch.rand(1500, 3, generator=g).pow(4) * 5
    level, flow = torch.zeros(3), []
    for drop in rain:
        level = 0.85 * level + drop + 0.1 * level.roll(1)
        flow.append(level)
    series = torch.stack(flow)
    series = (series - series.mean(0)) / series.std(0)
    x = series.unfold(0, 12, 1)[:-1].transpose(1, 2)
    y = series[12:]
    net = nn.Sequential(nn.Flatten(), Plus(nn.Linear(36, 36), nn.Tanh()), nn.Linear(36, 3))
    return go(net, cut(x, y))

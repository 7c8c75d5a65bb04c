"""Odd unread runs that learn: losses of every trade."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import Feed, adam, both_found, digits, explained, fit, hits, mlp, table
from scoreboard.loops import dice, yes_no
from scoreboard.nets import linear
from scoreboard.scenario import Runs, Training
from scoreboard.unread.parts import (
    asks,
    cloth,
    go,
    labels,
    plant,
    shop,
    stains,
    tones,
    topics,
)

RUNS = Runs(__name__)
healthy = RUNS.healthy


def numerals(**more: Any) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), mlp(64, 64, 10, **more))


RUNS.simple(
    "unread a third of each name given away",
    lambda: go(numerals(), digits(), loss=nn.CrossEntropyLoss(label_smoothing=0.33)),
    250,
)
RUNS.simple(
    "unread margins instead of odds",
    lambda: go(numerals(), digits(), "SGD", 0.1, loss=nn.MultiMarginLoss()),
    250,
)
RUNS.simple(
    "unread absolute errors", lambda: go(mlp(12, 64, 64, 3), plant(), loss=nn.L1Loss()), 300
)
RUNS.simple(
    "unread names as squares of one-hot rows",
    lambda: go(
        numerals(),
        digits(),
        loss=lambda out, y: functional.mse_loss(out, functional.one_hot(y, 10).float()),
    ),
    300,
)


@healthy("unread rare tags by focal loss, heads begin at one in a hundred", 350)
def focal() -> Training:
    (x, y), (asked, truth) = labels()
    net = mlp(20, 96, 96, 6)
    with torch.no_grad():
        linear(net[-1]).bias.fill_(-4.6)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        each = functional.binary_cross_entropy_with_logits(out, y, reduction="none")
        return (each * (1 - (-each).exp()) ** 2).sum(1).mean()

    return go(net, ((x, y), (asked, truth)), lr=5e-3, loss=loss, score=yes_no(net, asked, truth))


@healthy("unread sounds laid over one another", 300)
def mixed() -> Training:
    net = nn.Sequential(
        nn.Conv1d(1, 24, 9, stride=2),
        nn.ReLU(),
        nn.Conv1d(24, 32, 5, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(2),
        nn.Flatten(),
        nn.Linear(64, 5),
    )
    (x, y), asked = tones()
    take, g = Feed(x, y, batch=48), dice(921)

    def loss() -> Tensor:
        a, b = take()
        share, other = torch.rand(48, 1, 1, generator=g), torch.randperm(48, generator=g)
        out = net(share * a + (1 - share) * a[other])
        one = functional.cross_entropy(out, b, reduction="none")
        two = functional.cross_entropy(out, b[other], reduction="none")
        return (share.flatten() * one + (1 - share.flatten()) * two).mean()

    return fit(
        net, adam(net, 5e-3), loss, asks(net, asked[0], lambda o: hits(o.argmax(1), asked[1]))
    )


@healthy("unread hinge on both sides", 250)
def hinge() -> Training:
    (x, y), (asked, truth) = table("cancer")
    net = mlp(30, 24, 1)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.relu(1 - out[:, 0] * (2 * y.float() - 1)).mean()

    return go(
        net,
        ((x, y), (asked, truth)),
        "SGD",
        0.05,
        loss=loss,
        peek=False,
        score=both_found(net, (asked, truth[:, None])),
    )


@healthy("unread four answers of very different size, each with its own weight", 350)
def balanced() -> Training:
    (x, y), (asked, truth) = plant()
    sizes = torch.tensor([1.0, 3.0, 0.2])

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.sure = mlp(12, 64, 64, 3), nn.Parameter(torch.zeros(3))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x)

    net = Net()

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return (((out - y) ** 2).mean(0) * (-net.sure).exp() + net.sure).sum()

    return go(
        net,
        ((x, y * sizes), (asked, truth * sizes)),
        lr=4e-3,
        loss=loss,
        score=asks(net, asked, lambda out: explained(out / sizes, truth)),
    )


@healthy("unread bought or not, with four not bought drawn to each", 350)
def drawn_against() -> Training:
    (x, y), (asked, truth) = shop()

    class Towers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.who, self.what = nn.Embedding(80, 8), nn.Embedding(60, 8)

        def forward(self, pairs: Tensor) -> Tensor:
            return (self.who(pairs[:, 0]) * self.what(pairs[:, 1])).sum(1, keepdim=True)

    net, g = Towers(), dice(923)
    nn.init.normal_(net.who.weight, 0, 0.3)
    nn.init.normal_(net.what.weight, 0, 0.3)
    take = Feed(x[y[:, 0] > 0.5], batch=64)

    def loss() -> Tensor:
        (pairs,) = take()
        others = torch.stack([pairs[:, 0].repeat(4), torch.randint(60, (256,), generator=g)], 1)
        return functional.softplus(-net(pairs)).mean() + functional.softplus(net(others)).mean()

    def ranked(out: Tensor) -> float:
        yes, no = out[truth > 0.5], out[truth < 0.5]
        return 2 * float((yes[:, None] > no).float().mean()) - 1

    return fit(net, adam(net, 1e-2), loss, asks(net, asked, ranked))


@healthy("unread overlap of stains alone (dice)", 250)
def overlap() -> Training:
    data = stains(reach=4.0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 1, 1),
    )

    def loss(out: Tensor, y: Tensor) -> Tensor:
        p = out[:, 0].sigmoid()
        return 1 - 2 * (p * y).sum() / (p.sum() + y.sum())

    return go(
        net,
        data,
        loss=loss,
        batch=8,
        score=asks(net, data[1][0], lambda o: hits((o > 0).long(), data[1][1])),
    )


@healthy("unread words of a text weighed by how rare they are", 250)
def weighed() -> Training:
    (x, y), (asked, truth) = topics()
    rare = (len(x) / (1 + (x > 0).sum(0))).log()
    return go(nn.Linear(200, 5), ((x * rare, y), (asked * rare, truth)), "Adagrad", 0.05)


@healthy("unread angle between answer and truth", 300)
def angles() -> Training:
    (x, y), (asked, truth) = plant()
    net = mlp(12, 64, 64, 3)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return (1 - functional.cosine_similarity(out, y)).mean()

    return go(
        net,
        ((x, y), (asked, truth)),
        loss=loss,
        score=asks(net, asked, lambda o: float(functional.cosine_similarity(o, truth).mean())),
    )


@healthy("unread kinds that may all be refused (sigmoids against names)", 300)
def refused() -> Training:
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 6),
    )
    return go(
        net,
        cloth(),
        lr=1e-2,
        loss=lambda out, y: functional.binary_cross_entropy_with_logits(
            out, functional.one_hot(y, 6).float()
        ),
    )

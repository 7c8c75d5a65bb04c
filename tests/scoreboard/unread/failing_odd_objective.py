"""Odd unread failures of what is asked of a network, and of how it ends."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scoreboard.blind.parts import adam, fit, mlp
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training
from scoreboard.unread.healthy_odd_games import Rooms, rollout, walked
from scoreboard.unread.nets import Back, Dilated, coder
from scoreboard.unread.parts import (
    cut,
    flat_digits,
    go,
    plant,
    stains,
    tones,
)

RUNS = Runs(__name__)
broken = RUNS.broken

WRONG, END = "loss-mismatch", "output-activation-mismatch"


# --- what is asked
def rewarded(sign: float) -> Training:
    """The way through the rooms by what came of each move."""
    net, world = mlp(12, 48, 4, act=nn.Tanh), Rooms()

    def loss() -> Tensor:
        x, act, good = rollout(net, world)
        sure = net(x).log_softmax(1).gather(1, act[:, None])[:, 0]
        return sign * (sure * (good - good.mean()) / (good.std() + 1e-6)).mean()

    return fit(net, adam(net, 5e-3), loss, walked(lambda x: net(x).argmax(1)))


broken(
    "unread chances raised by what came to nothing",
    WRONG,
    rewarded,
    1.0,
    -1.0,
    steps=250,
    sudden=False,
)
broken(
    "unread stains with a softmax before cross-entropy",
    WRONG,
    lambda twice: go(
        nn.Sequential(Back(), nn.Softmax(1)) if twice else Back(),
        stains(reach=2.0),
        "SGD",
        0.05,
        batch=12,
        own={"momentum": 0.9},
    ),
    True,
    False,
    steps=250,
    sudden=False,
)


def bought(twice: bool) -> Training:
    net: nn.Module = nn.Sequential(mlp(30, 32, 1), *([nn.Sigmoid()] if twice else []))
    g = dice(997)
    a = torch.randn(2000, 30, generator=g)
    b = (a[:, :5].sum(1, keepdim=True) > 3.2).float()
    data = cut(a, b, 500)

    def judge() -> float:
        with torch.no_grad():
            odds = net(data[1][0])
        said, truth = odds > (0.5 if twice else 0.0), data[1][1] > 0.5
        return float(said[truth].float().mean() + (~said[~truth]).float().mean() - 1)

    return go(net, data, "SGD", 0.3, loss=nn.BCEWithLogitsLoss(), score=judge)


broken(
    "unread rare sums with a sigmoid more than asked for",
    WRONG,
    bought,
    True,
    False,
    steps=350,
    sudden=False,
)
broken(
    "unread how bright, a row beside a column",
    WRONG,
    lambda flat: bright(flat),
    True,
    False,
    steps=300,
    sudden=False,
)


def bright(flat: bool) -> Training:
    (x, y), (asked, truth) = plant()

    def loss(out: Tensor, b: Tensor) -> Tensor:
        return (out - (b[:, 0] if flat else b)).square().mean()

    return go(mlp(12, 64, 64, 1), ((x, y[:, :1]), (asked, truth[:, :1])), loss=loss)


broken(
    "unread tones by likelihoods of bare scores",
    WRONG,
    lambda log: go(
        nn.Sequential(Dilated(), nn.LogSoftmax(1)) if log else Dilated(),
        tones(),
        lr=3e-3,
        loss=nn.NLLLoss(),
    ),
    False,
    True,
    steps=250,
)
broken(
    "unread outputs of the plant that may not be negative",
    END,
    lambda end: go(nn.Sequential(mlp(12, 64, 64, 3), end()), plant(), lr=3e-3),
    nn.ReLU,
    nn.Identity,
    steps=300,
)
broken(
    "unread code of digits that ends in a sigmoid",
    END,
    lambda end: go(nn.Sequential(coder(), end()), flat_digits(), lr=3e-3),
    nn.Sigmoid,
    nn.Identity,
    steps=300,
)


def degrees(end: nn.Module) -> Training:
    (x, y), (asked, truth) = plant()
    return go(
        nn.Sequential(mlp(12, 64, 64, 3), end), ((x, 4 * y + 6), (asked, 4 * truth + 6)), lr=5e-3
    )


broken(
    "unread degrees between minus one and one", END, degrees, nn.Tanh(), nn.Identity(), steps=400
)

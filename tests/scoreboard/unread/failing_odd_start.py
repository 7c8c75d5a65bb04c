"""Odd unread failures of what a network begins as: depth, first weights, units that are shut."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import adam, digits, explained, fit, mlp
from scoreboard.exam.faults import alike, biased, grown
from scoreboard.loops import yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.unread.healthy_odd_games import Rooms
from scoreboard.unread.nets import Act, Apart, Asking, Back, Dilated, Latents, Towers, coder
from scoreboard.unread.parts import (
    Plus,
    Then,
    brackets,
    circles,
    cloth,
    flat_digits,
    go,
    labels,
    plant,
    shop,
    stains,
    tones,
)

RUNS = Runs(__name__)
broken = RUNS.broken

SATURATED, LOST, GROWN = "saturating-activation", "depth-vanishing", "depth-exploding"
SAME, SCALE, DEAD = "constant-initialisation", "bad-initialisation-scale", "dying-relu"
ATTENTION = "attention-collapse"


def numerals(*widths: int, act: Act = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), mlp(64, *widths, 10, act=act))


# --- units at their ends
broken(
    "unread code of digits through sigmoids held at nought",
    SATURATED,
    lambda bias: go(biased(coder(act=nn.Sigmoid), bias), flat_digits(), lr=1e-2),
    -14.0,
    0.0,
    steps=350,
)
broken(
    "unread tones through tanh held at its end",
    SATURATED,
    lambda bias: go(biased(Dilated(nn.Tanh, skip=False), bias), tones(), lr=4e-3),
    11.0,
    0.0,
    steps=300,
)
broken(
    "unread digits through steep sigmoids, all far to the right",
    SATURATED,
    lambda steep: go(
        numerals(64, 32, act=lambda: Then(lambda x: torch.sigmoid(steep * (x + 2)))),
        digits(),
        lr=3e-3,
    ),
    40.0,
    0.7,
    steps=300,
)


# --- lost or grown on the way
def tall(act: Act, depth: int, norm: bool) -> Training:
    layers: list[nn.Module] = [nn.Linear(12, 32)]
    for _ in range(depth):
        inner = [nn.Linear(32, 32), act()]
        layers.append(Plus(nn.LayerNorm(32), *inner) if norm else nn.Sequential(*inner))
    return go(nn.Sequential(*layers, nn.Linear(32, 3)), plant(), "SGD", 0.05, own={"momentum": 0.9})


broken(
    "unread plant through sixteen layers of softplus less a half",
    LOST,
    lambda norm: tall(lambda: Then(lambda x: functional.softplus(x) - 0.69), 16, norm),
    False,
    True,
    steps=250,
)
broken(
    "unread twelve separable convolutions in a row",
    LOST,
    lambda skip: go(Apart(12, norm=False, skip=skip), cloth(), lr=3e-3),
    False,
    True,
    steps=220,
)
broken(
    "unread village asked about over fourteen rounds",
    LOST,
    lambda depth: circles(Asking(depth, nn.Tanh, own=False), "SGD", 0.3, own={"momentum": 0.9}),
    14,
    1,
    steps=150,
)


def echo(kind: str) -> Training:
    """Which digit came first, thirty steps ago."""
    x = torch.randint(10, (1600, 30))
    data = (x[:1300], x[:1300, 0] % 4), (x[1300:], x[1300:, 0] % 4)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(10, 16), nn.Linear(32, 4)
            self.reads = nn.RNN(16, 32, batch_first=True)

        def forward(self, ids: Tensor) -> Tensor:
            h, last = self.reads(self.table(ids))
            return self.head(h[:, 0] + last[0] if kind == "kept" else last[0])

    return go(Net(), data, lr=3e-3)


broken("unread first of thirty through a plain loop", LOST, echo, "", "kept", steps=250)
broken(
    "unread village summed up eight times over",
    GROWN,
    lambda s: circles(Asking(s[0], mean=s[1]), "SGD", 0.1, own={"momentum": 0.9}),
    (8, False),
    (2, True),
    steps=150,
)


def branches(gain: float) -> Training:
    blocks = [Plus(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32), gain=gain) for _ in range(24)]
    return go(nn.Sequential(nn.Linear(12, 32), *blocks, nn.Linear(32, 3)), plant(), lr=1e-3)


broken("unread two dozen branches, each nine times too loud", GROWN, branches, 9.0, 0.3, steps=250)


# --- first weights
def tables_at(value: float | None) -> Training:
    net, data = Towers(), shop()
    if value is not None:
        for p in net.parameters():
            nn.init.constant_(p, value)
    return go(net, data, lr=1e-2, loss=nn.BCEWithLogitsLoss(), score=yes_no(net, *data[1]))


broken("unread towers whose weights are all nought", SAME, tables_at, 0.0, None, steps=400)
broken(
    "unread stains with all kernels a twentieth",
    SAME,
    lambda value: go(alike(Back(), value), stains(), "SGD", 0.05, batch=12, own={"momentum": 0.9}),
    0.05,
    None,
    steps=200,
)
broken(
    "unread tags with every weight a tenth",
    SAME,
    lambda value: tagging(lambda net: alike(net, value), nn.Tanh),
    0.1,
    None,
    steps=300,
)


def tagging(does: Callable[[nn.Module], nn.Module], act: Act = nn.ReLU) -> Training:
    net, data = does(mlp(20, 64, 64, 6, act=act)), labels()
    score = yes_no(net, *data[1])
    return go(net, data, "SGD", 0.3, loss=nn.BCEWithLogitsLoss(), score=score)


broken(
    "unread code whose weights begin at a ten-thousandth",
    SCALE,
    lambda by: go(grown(coder(), by, 0), flat_digits(), "SGD", 0.1, own={"momentum": 0.9}),
    1e-3,
    1.6,
    steps=350,
)
broken(
    "unread tones with kernels sixty times too large",
    SCALE,
    lambda by: go(grown(Dilated(nn.Tanh), by, 0), tones(), lr=2e-3),
    60.0,
    1.0,
    steps=250,
)
broken(
    "unread tags by weights twenty-five times too large",
    SCALE,
    lambda by: tagging(lambda net: grown(net, by)),
    25.0,
    1.0,
    steps=300,
)


# --- units that are shut
def worth_of(bias: float) -> Training:
    """A value network of relus: how far the corner is."""
    net, world = biased(mlp(12, 48, 48, 1), bias), Rooms(48)

    def truth(x: Tensor) -> Tensor:
        return 1 - (10 - x[:, :6].argmax(1) - x[:, 6:].argmax(1)).float()[:, None] / 5

    def loss() -> Tensor:
        x = world.seen()
        world.step(torch.randint(4, (48,), generator=world.g))
        return functional.mse_loss(net(x), truth(x))

    def score() -> float:
        x = Rooms(400, 996).seen()
        with torch.no_grad():
            return explained(net(x), truth(x))

    return fit(net, adam(net, 2e-3), loss, score)


broken("unread worth of places through shut relus", DEAD, worth_of, -6.0, 0.0, steps=300)
broken(
    "unread separable convolutions behind a norm of minus seven",
    DEAD,
    lambda shift: go(shut(Apart(), shift), cloth(), lr=3e-3),
    -7.0,
    0.0,
    steps=220,
)
broken(
    "unread code of digits whose relus begin at minus nine",
    DEAD,
    lambda bias: go(biased(coder(), bias), flat_digits(), lr=3e-3),
    -9.0,
    0.0,
    steps=300,
)


def shut(net: nn.Module, shift: float) -> nn.Module:
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.constant_(norm.bias, shift)
    return net


def pushed(push: float) -> Training:
    """From step 120 something pushes the offsets of all hidden units down, a little each time."""
    net = numerals(48, 48)
    hidden = [m for m in net.modules() if isinstance(m, nn.Linear)][:-1]

    def before(k: int) -> None:
        if k > 120:
            with torch.no_grad():
                for layer in hidden:
                    layer.bias.sub_(push)

    return go(net, digits(), lr=1e-3, before=before)


broken(
    "unread offsets pushed down from 120",
    DEAD,
    pushed,
    0.15,
    0.0,
    steps=300,
    onset=120,
    sudden=False,
)


# --- attention
broken(
    "unread held vectors whose questions are shouted",
    ATTENTION,
    lambda loud: go(Latents(loud=loud), brackets(), lr=2e-3),
    3000.0,
    1.0,
    steps=350,
)
broken(
    "unread held vectors asked six times without a way around",
    ATTENTION,
    lambda skip: go(Latents(6, skip=skip), brackets(), lr=2e-3),
    False,
    True,
    steps=250,
)

"""Sealed failures of the learning rate, from the first step or later."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from scoreboard.loops import dice, neighbours, update, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import (
    brackets,
    clicks,
    demand,
    friends,
    genes,
    gratings,
    heartbeats,
    lesions,
    scans,
    spirals,
    table,
    tagged,
)
from scoreboard.sealed.loops import by, routine
from scoreboard.sealed.nets import Clicks, Graph, ResNet, Tower, UNet, lenet, plain
from scoreboard.sealed.seqs import Dilated, Patches, Reader, Transformer

RUNS = Runs(__name__)
broken = RUNS.broken

HIGH, LOW = "learning-rate-too-high", "learning-rate-too-low"


# --- too high from the start
broken(
    "sealed small gpt at a tenth",
    HIGH,
    lambda lr: routine(
        Transformer(8, 8, depth=2, causal=True), brackets(), by("Adam", lr, betas=(0.9, 0.98))
    ),
    0.3,
    3e-3,
    steps=250,
)
broken(
    "sealed lenet at five",
    HIGH,
    lambda lr: routine(lenet(6, 12), gratings(), by("SGD", lr)),
    5.0,
    0.1,
)
broken(
    "sealed heavy ball on numbers",
    HIGH,
    lambda lr: routine(
        Tower(8, 48, 48, 1, act=nn.LeakyReLU), table("friedman"), by("SGD", lr, momentum=0.98)
    ),
    0.5,
    2e-3,
)
broken(
    "sealed u-net at three",
    HIGH,
    lambda lr: masks(UNet(), lr),
    3.0,
    3e-3,
    steps=200,
)
broken(
    "sealed sales at one half",
    HIGH,
    lambda lr: routine(Reader(nn.LSTM, 1, width=20), demand(), by("RMSprop", lr)),
    0.5,
    3e-3,
    steps=250,
)
broken(
    "sealed patches without a warm-up",
    HIGH,
    lambda lr: routine(Patches(10, 8, width=32), scans(), by("AdamW", lr), clip=1.0),
    0.08,
    2e-3,
    steps=250,
)
broken(
    "sealed circles of friends at three hundred",
    HIGH,
    lambda lr: circles(lr),
    300.0,
    0.5,
    steps=250,
)
broken(
    "sealed one thousand for one thousandth",
    HIGH,
    lambda lr: routine(plain(16, 40, 40, 5, act=nn.GELU), table("gases"), by("NAdam", lr)),
    1e3,
    1e-3,
    steps=350,
)
broken(
    "sealed loss summed over the batch",
    HIGH,
    lambda kind: routine(
        Tower(2, 32, 32, 2),
        spirals(),
        by("SGD", 0.2, momentum=0.9),
        batch=128,
        loss=nn.CrossEntropyLoss(reduction=kind),
    ),
    "sum",
    "mean",
    steps=400,
)
broken(
    "sealed codes of pictures at ten",
    HIGH,
    lambda lr: coder(lr),
    30.0,
    0.3,
    steps=300,
)
broken(
    "sealed likeness of pairs at two",
    HIGH,
    lambda lr: pairs(lr),
    2.0,
    2e-3,
    steps=250,
)
broken(
    "sealed wine by sigmoids at a thousand",
    HIGH,
    lambda lr: routine(
        plain(13, 24, 24, 3, act=nn.Sigmoid), table("wine"), by("SGD", lr), batch=16
    ),
    1000.0,
    1.0,
    steps=400,
)


def masks(net: nn.Module, lr: float) -> Training:
    """Which pixels belong to the disc."""
    x, y = lesions()
    return routine(
        net,
        (x, y),
        by("Adam", lr),
        batch=16,
        loss=nn.BCEWithLogitsLoss(),
        score=yes_no(net, x[:100], y[:100]),
    )


def circles(lr: float) -> Training:
    links, x, kind = friends()
    return routine(Graph(links), (x, kind), by("SGD", lr), draw=lambda: (x, kind))


def coder(lr: float) -> Training:
    x = scans()[0].flatten(1)
    net = plain(64, 48, 12, 48, 64, act=nn.ELU)
    return routine(net, (x, x), by("SGD", lr, momentum=0.9), batch=64)


def pairs(lr: float) -> Training:
    """Two wines are held together or apart, by the distance of their codes."""
    x, y = table("wine")
    g, net = dice(51), Tower(13, 32, 8, act=nn.ReLU)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)

    def step(k: int) -> Tensor:
        a, b = torch.randint(len(x), (2, 48), generator=g)
        far = functional.pairwise_distance(net(x[a]), net(x[b]))
        same = (y[a] == y[b]).float()
        return update(
            optimizer, (same * far**2 + (1 - same) * functional.relu(1.5 - far) ** 2).mean()
        )

    return Training(net, optimizer, step, neighbours(lambda: net(x), y))


# --- too high later
def stepped(net: nn.Module, rows: Any, build: Any, factor: Any, **settings: Any) -> Training:
    """The rate times `factor(k)` at step k (from 1)."""
    return routine(
        net,
        rows,
        build,
        schedule=lambda o: lr_scheduler.LambdaLR(o, lambda done: factor(done + 1)),
        **settings,
    )


broken(
    "sealed cyclic rate with a typing error at 240",
    HIGH,
    lambda peak: stepped(
        plain(16, 48, 48, 5),
        table("gases"),
        by("SGD", 0.05, momentum=0.9),
        lambda k: peak if k >= 240 else 1.0,
    ),
    400.0,
    1.0,
    steps=400,
    onset=240,
)
broken(
    "sealed words go on with another optimiser's rate at 200",
    HIGH,
    lambda peak: stepped(
        Transformer(48, 4, depth=2),
        tagged(),
        by("AdamW", 2e-3),
        lambda k: peak if k >= 200 else 1.0,
        clip=1.0,
    ),
    150.0,
    1.0,
    steps=350,
    onset=200,
)
broken(
    "sealed beats with a jump of the rate at 180",
    HIGH,
    lambda peak: stepped(
        Dilated(3), heartbeats(), by("Adam", 3e-3), lambda k: peak if k >= 180 else 1.0
    ),
    1000.0,
    1.0,
    steps=300,
    onset=180,
)
broken(
    "sealed clicks with a second phase at 260",
    HIGH,
    lambda peak: clicked(peak),
    20.0,
    5e-3,
    steps=400,
    onset=260,
)


def clicked(second: float) -> Training:
    """A new optimiser for the second phase, its rate typed anew."""
    net, rows = Clicks(), clicks()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)

    def before(k: int) -> None:
        if k == 260:
            optimizer.param_groups[0]["lr"] = second

    return routine(
        net,
        rows,
        lambda weights: optimizer,
        loss=nn.BCEWithLogitsLoss(),
        before=before,
        score=yes_no(net, *rows),
    )


# --- too low
broken(
    "sealed patches at a ten-millionth",
    LOW,
    lambda lr: routine(Patches(10, 8), scans(), by("AdamW", lr)),
    1e-7,
    2e-3,
    steps=250,
    sudden=False,
)
broken(
    "sealed lenet at a hundred-thousandth",
    LOW,
    lambda lr: routine(lenet(6, 12, act=nn.SiLU), gratings(), by("SGD", lr, momentum=0.9)),
    1e-5,
    0.05,
    sudden=False,
)
broken(
    "sealed epoch's decay at every batch",
    LOW,
    lambda gamma: routine(
        Tower(8, 48, 48, 1, act=nn.SiLU),
        table("friedman"),
        by("Adam", 1e-3),
        schedule=lambda o: lr_scheduler.ExponentialLR(o, gamma),
    ),
    0.85,
    0.999,
    steps=400,
    sudden=False,
)
broken(
    "sealed halved at every batch",
    LOW,
    lambda size: routine(
        Reader(nn.GRU, 3, words=4),
        genes(),
        by("RMSprop", 3e-3),
        schedule=lambda o: lr_scheduler.StepLR(o, size, 0.5),
    ),
    1,
    400,
    steps=350,
    sudden=False,
)
broken(
    "sealed clipped to a millionth",
    LOW,
    lambda clip: routine(ResNet(10), scans(), by("SGD", 0.1, momentum=0.9), clip=clip),
    1e-6,
    1.0,
    steps=200,
    sudden=False,
)
broken(
    "sealed epsilon of a thousand",
    LOW,
    lambda eps: routine(
        Tower(13, 32, 3, act=nn.Tanh), table("wine"), by("Adam", 5e-3, eps=eps), batch=16
    ),
    1e3,
    1e-8,
    sudden=False,
)
broken(
    "sealed tags averaged twice",
    LOW,
    lambda twice: routine(
        Reader(nn.GRU, 4, words=48, each=True),
        tagged(),
        by("SGD", 0.5),
        loss=lambda out, y: (
            functional.cross_entropy(out.transpose(1, 2), y) / (y.numel() if twice else 1)
        ),
    ),
    True,
    False,
    steps=400,
    sudden=False,
)
broken(
    "sealed numbers by a slow adagrad",
    LOW,
    lambda lr: routine(
        plain(10, 32, 1, act=nn.Softplus), table("diabetes"), by("Adagrad", lr), batch=16
    ),
    1e-6,
    3e-2,
    steps=400,
    sudden=False,
)

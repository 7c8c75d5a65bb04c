"""Odd unread failures of what goes in and what is asked: scales, shares, names, rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat

import torch
from torch import Tensor, nn

from scoreboard.blind.loops import epochs
from scoreboard.blind.parts import digits, mlp
from scoreboard.loops import by_kind, dice, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.unread.nets import Apart, Asking, Back, Dilated, Latents, Sorter
from scoreboard.unread.parts import (
    Rows,
    brackets,
    changed,
    circles,
    cloth,
    cut,
    go,
    labels,
    plant,
    stains,
    tones,
    unsorted,
)

RUNS = Runs(__name__)
broken = RUNS.broken

RAW, TARGETS, SHARE = "unnormalised-inputs", "unscaled-targets", "class-imbalance"
FEW, NAMES, CLOSE = "low-data-diversity", "label-noise", "overfitting"
NEVER = 10**6
Spoil = Callable[[Rows], Rows]


# --- inputs
def readings(does: Callable[[Tensor], Tensor]) -> Training:
    own = {"momentum": 0.9}
    return go(mlp(12, 48, 48, 3, act=nn.Tanh), changed(plant(), does), "SGD", 0.1, own=own)


broken(
    "unread readings of the plant in pascals",
    RAW,
    readings,
    lambda x: x * 5000 + 101325,
    lambda x: x,
    steps=300,
)
broken(
    "unread digits in 0..255 by plain descent",
    RAW,
    lambda does: go(
        nn.Sequential(nn.Flatten(), mlp(64, 64, 32, 10)), changed(digits(), does), "SGD", 0.1
    ),
    lambda x: x * 90 + 80,
    lambda x: x,
    steps=300,
)
broken(
    "unread tones as 16-bit numbers",
    RAW,
    lambda by: go(
        Dilated(), changed(tones(), lambda x: x * by), "SGD", 0.02, own={"momentum": 0.9}
    ),
    12000.0,
    1.0,
    steps=250,
)
broken(
    "unread readings in billionths",
    RAW,
    lambda by: go(mlp(12, 48, 48, 3), changed(plant(), lambda x: x * by), lr=3e-3),
    1e-6,
    1.0,
    steps=300,
)


# --- targets
def asked(by: float, add: float = 0.0, name: str = "Adam", lr: float = 3e-3) -> Training:
    (x, y), (x2, y2) = plant()
    return go(mlp(12, 64, 64, 3), ((x, y * by + add), (x2, y2 * by + add)), name, lr)


broken(
    "unread three outputs in watts",
    TARGETS,
    lambda by: asked(by),
    20000.0,
    1.0,
    steps=300,
    sudden=False,
)
broken(
    "unread three outputs around nine hundred",
    TARGETS,
    lambda add: asked(1.0, add),
    900.0,
    0.0,
    steps=350,
    sudden=False,
)
broken(
    "unread three outputs in grams by descent",
    TARGETS,
    lambda by: asked(by, 0, "SGD", 0.1),
    1000.0,
    1.0,
    steps=250,
)


# --- shares
def spots(weight: float) -> Training:
    net, data = Back(), stains(reach=0.75)
    share = torch.tensor([1.0, weight])
    return go(
        net,
        data,
        "Adam",
        5e-3,
        batch=16,
        loss=nn.CrossEntropyLoss(share),
        score=by_kind(net, *data[1], dim=1),
    )


broken("unread spots of one pixel in sixty", SHARE, spots, 1.0, 40.0, steps=220, sudden=False)


def rare_tags(weight: float) -> Training:
    g = dice(991)
    x = torch.randn(2500, 20, generator=g)
    y = (x @ torch.randn(20, 8, generator=g) + 3 * torch.randn(2500, 8, generator=g) > 10).float()
    net, data = mlp(20, 24, 8), cut(x, y, 600)
    return go(
        net,
        data,
        lr=2e-3,
        loss=nn.BCEWithLogitsLoss(pos_weight=torch.full((8,), weight)),
        score=yes_no(net, *data[1]),
    )


broken(
    "unread tags that hold one time in forty", SHARE, rare_tags, 1.0, 40.0, steps=350, sudden=False
)


# --- rows
broken(
    "unread loader whose seed is set anew for each batch",
    (FEW, CLOSE),
    lambda same: go(
        Latents(),
        brackets(),
        batches=repeat(next(epochs(brackets()[0], 32))) if same else None,
    ),
    True,
    False,
    steps=350,
    sudden=False,
)
broken(
    "unread cloth erased by its augmentation",
    FEW,
    lambda keep: go(Apart(), cloth(), batches=erased(keep), lr=5e-3),
    0.0,
    1.0,
    steps=250,
)


def erased(keep: float) -> Iterator[Rows]:
    for x, y in epochs(cloth()[0], 32):
        yield x * keep, y


def by_name(kinds: int) -> Training:
    """All of one kind come before the next."""
    (x, y), test = cloth()
    order = y.argsort(stable=True) if kinds else torch.randperm(len(y))
    rows = (x[order], y[order])
    return go(Apart(norm=False), (rows, test), lr=5e-3, batches=epochs(rows, 32, shuffle=False))


broken("unread cloth sorted by its kind", FEW, by_name, 1, 0, steps=300, sudden=False)


# --- names
def renamed(wrong: bool) -> Training:
    (x, y), test = tones()
    return go(Dilated(), ((x, y[torch.randperm(len(y))] if wrong else y), test), lr=3e-3)


broken(
    "unread tones whose names came from another file",
    NAMES,
    renamed,
    True,
    False,
    steps=350,
    sudden=False,
)


def typed(share: float) -> Training:
    (x, y), test = plant()
    slip = torch.rand(y.shape, generator=dice(992)) < share
    wild = 150 * torch.randn(y.shape, generator=dice(993))
    return go(mlp(12, 64, 64, 3), ((x, torch.where(slip, wild, y)), test), lr=3e-3)


broken("unread outputs with a slip of the comma in thirty", NAMES, typed, 0.03, 0.0, steps=300)
broken(
    "unread orders that belong to other numbers",
    NAMES,
    lambda by: go(Sorter(), misled(by), lr=5e-3, score=None),
    13,
    0,
    steps=300,
    sudden=False,
)


def misled(by: int) -> tuple[Rows, Rows]:
    (x, y), test = unsorted()
    told = torch.cat([x[:, :6], torch.full((len(x), 6), 10)], 1)
    held = torch.cat([test[0][:, :6], torch.full((len(test[0]), 6), 10)], 1)
    return (told, y.roll(by, 0)), (held, test[1])


# --- what is only known by heart
def few(count: int, wrong: float = 0.0) -> Training:
    (x, y), test = labels()
    x, y = x[:count], y[:count]
    y = torch.where(torch.rand(y.shape, generator=dice(994)) < wrong, 1 - y, y)
    net = mlp(20, 256, 256, 6)
    return go(net, ((x, y), test), lr=2e-3, loss=nn.BCEWithLogitsLoss(), score=yes_no(net, *test))


broken("unread tags of twenty rows by heart", CLOSE, few, 20, 1300, steps=350, sudden=False)


broken(
    "unread village where circles are names of others",
    NAMES,
    lambda wrong: circles(Asking(), kind=None if not wrong else shuffled_circles()),
    True,
    False,
    steps=150,
    sudden=False,
)


def shuffled_circles() -> Tensor:
    return (torch.arange(300) % 4)[torch.randperm(300, generator=dice(995))]

"""Odd unread failures of the loop: losses, ends of networks, cut graphs, what is not cleared."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from scoreboard.blind.parts import digits, mlp
from scoreboard.loops import dice, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.unread.nets import Apart, Asking, Back, Dilated
from scoreboard.unread.parts import (
    Then,
    changed,
    circles,
    cloth,
    go,
    labels,
    plant,
    stains,
    tones,
    topics,
)

RUNS = Runs(__name__)
broken = RUNS.broken

CUT = "detached-graph"
PILED, NORM, NOT = "missing-zero-grad", "batchnorm-misuse", "numerical-overflow"


# --- what does not reach the weights
def swapped(late: bool) -> Training:
    net = nn.Sequential(nn.Flatten(), mlp(64, 48, 10))
    weights = list(net.parameters())
    if late:
        net[1] = mlp(64, 48, 10)
    return go(net, digits(), lr=3e-3, weights=weights)


broken("unread optimiser that holds a network from before", CUT, swapped, True, False, steps=250)
broken(
    "unread village whose scores are cut before the loss",
    CUT,
    lambda cut_: circles(nn.Sequential(Asking(), Then(loose if cut_ else nn.Identity()))),
    True,
    False,
    steps=150,
)


def loose(x: Tensor) -> Tensor:
    return x.detach().requires_grad_()


def cleared(late: bool) -> Training:
    net = Dilated()
    run = go(net, tones(), lr=3e-3)
    if late:
        run.optimizer.register_step_pre_hook(lambda o, *_: o.zero_grad())
    return run


broken("unread tones cleared between backward and step", CUT, cleared, True, False, steps=250)
broken(
    "unread body under no_grad below a head",
    CUT,
    lambda still: go(Still() if still else nn.Sequential(Dilated()), tones(), lr=3e-3),
    True,
    False,
    steps=250,
)


class Still(nn.Module):
    """The features are taken as an evaluation would take them, in training too."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = Dilated(), nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = self.body(x)
        out: Tensor = self.head(h)
        return out


broken(
    "unread stains pile up",
    PILED,
    lambda clear: go(Back(), stains(), "SGD", 0.1, batch=12, clear=clear),
    False,
    True,
    steps=250,
    sudden=False,
)
broken(
    "unread tags pile up",
    PILED,
    lambda clear: tagged(clear),
    False,
    True,
    steps=400,
    sudden=False,
)
broken(
    "unread village piles up by momentum",
    PILED,
    lambda clear: circles(Asking(), "SGD", 0.1, own={"momentum": 0.9}, clear=clear),
    False,
    True,
    steps=200,
    sudden=False,
)


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


# --- norms
def normed(momentum: float, batch: int = 32) -> Training:
    net = Apart()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = momentum
    return go(net, changed(cloth(), lambda x: x * 4 + 3), lr=5e-3, batch=batch)


broken("unread running averages that hardly run", NORM, normed, 1e-5, 0.1, steps=220, sudden=False)


def few_at_once(rows: int) -> Training:
    net = nn.Sequential(
        nn.Linear(12, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 3),
    )
    return go(net, plant(), lr=3e-3, batch=rows)


broken("unread plant two rows at a time through norms", NORM, few_at_once, 2, 48, steps=300)


def half_first(sorted_: bool) -> Training:
    """Each batch holds one kind alone, so that each norm sees one kind's mean."""
    (x, y), test = cloth()
    net, g = Apart(), dice(998)
    rows = [(y == k).nonzero()[:, 0] for k in range(6)]

    def batches() -> Any:
        while True:
            some = rows[int(torch.randint(6, (), generator=g))] if sorted_ else torch.arange(len(y))
            pick = some[torch.randint(len(some), (32,), generator=g)]
            yield x[pick], y[pick]

    return go(net, ((x, y), test), lr=3e-3, batches=batches())


broken(
    "unread norms that see one kind at a time",
    (NORM, "low-data-diversity"),
    half_first,
    True,
    False,
    steps=220,
)


# --- numbers that end
def logged(eps: float) -> Training:
    """Odds of the right tag are driven to nought by a steady push, and then the log is taken."""
    net, data = mlp(20, 48, 6), labels()

    def loss(out: Tensor, y: Tensor) -> Tensor:
        p = (12 * out).sigmoid()
        return -(y * (p + eps).log() + (1 - y) * (1 - p + eps).log()).mean()

    return go(net, data, lr=5e-3, loss=loss, peek=False, score=yes_no(net, *data[1]))


broken("unread logarithm of odds that round to one", NOT, logged, 0.0, 1e-4, steps=300, onset=150)


def shares(least: float) -> Training:
    """Each word's share of its text, and one text has no words."""
    (x, y), test = topics()
    x = x.clone()
    x[700] = 0
    told = Then(lambda a: a / a.sum(1, keepdim=True).clamp(min=least))
    return go(nn.Sequential(told, mlp(200, 32, 5)), ((x, y), test), lr=5e-3)


broken("unread shares of the words of an empty text", NOT, shares, 0.0, 1.0, steps=300, onset=19)

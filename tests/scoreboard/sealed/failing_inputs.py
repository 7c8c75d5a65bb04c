"""Sealed failures of inputs and targets left as they are, and of rare kinds."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from scoreboard.loops import by_kind, dice, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import (
    Rows,
    demand,
    flights,
    friends,
    gratings,
    heartbeats,
    lesions,
    loans,
    raw_table,
    scans,
    standard,
    table,
)
from scoreboard.sealed.loops import Loader, by, routine
from scoreboard.sealed.nets import Graph, ResNet, Rises, Tower, UNet, lenet, no_norm, plain
from scoreboard.sealed.seqs import Dilated, Reader

RUNS = Runs(__name__)
broken = RUNS.broken

INPUTS, TARGETS, RARE = "unnormalised-inputs", "unscaled-targets", "class-imbalance"


# --- inputs
def bytes_(raw: bool) -> Training:
    """Pixels from 0 to 255, a network without norms."""
    x, y = gratings()
    pixels = (127.0 + 60 * x).clamp(0, 255)
    return routine(
        lenet(6, 12), (pixels if raw else (pixels - 127) / 60, y), by("SGD", 0.05, momentum=0.9)
    )


broken("sealed gratings in bytes", INPUTS, bytes_, True, False)
broken(
    "sealed wine as published",
    INPUTS,
    lambda raw: routine(
        plain(13, 32, 32, 3, act=nn.Tanh),
        raw_table("wine") if raw else table("wine"),
        by("SGD", 0.1),
        batch=16,
    ),
    True,
    False,
    steps=400,
)
broken(
    "sealed fuel line in nanometres",
    INPUTS,
    lambda raw: routine(
        Tower(4, 40, 40, 1, act=nn.SiLU),
        (flights()[0] if raw else standard(flights()[0]), flights()[1]),
        by("Adam", 2e-3),
    ),
    True,
    False,
    steps=400,
)
broken(
    "sealed divided by 255 again and again",
    INPUTS,
    lambda divisor: routine(
        lenet(10, 8, act=nn.GELU), (scans()[0] / divisor, scans()[1]), by("SGD", 0.05, momentum=0.9)
    ),
    255.0**2,
    1.0,
)
broken(
    "sealed twelve-bit readings",
    INPUTS,
    lambda raw: routine(
        Dilated(3),
        (2048 + 300 * heartbeats()[0] if raw else heartbeats()[0], heartbeats()[1]),
        by("Adam", 3e-3),
    ),
    True,
    False,
    steps=250,
)


def stamped(raw: bool) -> Training:
    """A recurrent network is shown the milliseconds since 1970 beside each reading."""
    x, y = demand()
    start = 1.7e12 + 1e10 * torch.rand(len(x), 1, 1, generator=dice(61))
    when = start + 8.64e7 * torch.arange(x.shape[1])[None, :, None]
    when = when if raw else (when - when.mean()) / when.std()
    return routine(
        Reader(nn.GRU, 1, inputs=2, width=20), (torch.cat([x, when], 2), y), by("Adam", 5e-3)
    )


broken("sealed sales with milliseconds", INPUTS, stamped, True, False, steps=250)


def paid(raw: bool) -> Training:
    """Income in currency and year of birth beside eight small columns, under sigmoids."""
    x, y = loans()
    x = x.clone()
    if raw:
        x[:, 8] = 45_000 + 12_000 * x[:, 8]
        x[:, 9] = 1975 + 15 * x[:, 9]
    return routine(
        plain(10, 24, 24, 2, act=nn.Sigmoid), (x, y), by("RMSprop", 5e-3, momentum=0.5), batch=64
    )


broken("sealed income beside ratios", INPUTS, paid, True, False, steps=400)


def counted(raw: bool) -> Training:
    """A graph whose features are counts of up to a million, by plain descent."""
    links, x, kind = friends()
    x = torch.exp(2.2 * (x + 2)) if raw else x
    return routine(Graph(links), (x, kind), by("SGD", 0.3), draw=lambda: (x, kind))


broken("sealed friends by raw counts", INPUTS, counted, True, False)
broken(
    "sealed bumps far from the readings",
    INPUTS,
    lambda raw: routine(
        nn.Sequential(Rises(8, 12), Rises(12, 1)),
        (table("friedman")[0] * (400 if raw else 1) + (900 if raw else 0), table("friedman")[1]),
        by("Adam", 5e-3),
    ),
    True,
    False,
)

# --- targets
broken(
    "sealed sales in pieces",
    TARGETS,
    lambda raw: routine(
        Reader(nn.LSTM, 1, width=20),
        (demand()[0], 12_000 + 800 * demand()[1] if raw else demand()[1]),
        by("Adam", 3e-3),
    ),
    True,
    False,
    steps=250,
    sudden=False,
)
broken(
    "sealed temperatures in kelvin",
    TARGETS,
    lambda raw: routine(
        plain(8, 32, 32, 1, act=nn.GELU),
        (table("friedman")[0], 293 + 4 * table("friedman")[1] if raw else table("friedman")[1]),
        by("AdamW", 1e-3),
    ),
    True,
    False,
    steps=400,
    sudden=False,
)
broken(
    "sealed fuel in grams",
    TARGETS,
    lambda scale: routine(
        Tower(4, 40, 40, 1, act=nn.Tanh),
        (standard(flights()[0]), scale * flights()[1]),
        by("Adam", 2e-3),
        loss=nn.L1Loss(),
    ),
    2.5e6,
    1.0,
    steps=400,
    sudden=False,
)
broken(
    "sealed progression as a millionth",
    TARGETS,
    lambda scale: routine(
        plain(10, 32, 1, act=nn.ReLU), (table("diabetes")[0], scale * table("diabetes")[1]),
        by("Adam", 1e-3), batch=16,
    ),
    1e-6,
    1.0,
    steps=400,
    sudden=False,
)  # fmt: skip


# --- rare kinds
def unpaid(weighed: bool) -> Training:
    """One loan in a hundred and fifty."""
    x, y = loans(6000, 1 / 150, 0.6)
    net = Tower(10, 24, 2)
    weight = torch.tensor([1.0, 149.0]) if weighed else None
    return routine(
        net,
        (x, y),
        by("Adam", 2e-3),
        batch=64,
        loss=nn.CrossEntropyLoss(weight=weight),
        score=by_kind(net, x, y),
    )


broken("sealed one loan in a hundred and fifty", RARE, unpaid, False, True, steps=400, sudden=False)


def tumours(weighed: bool) -> Training:
    """A pixel in fifty is ill, and hardly brighter."""
    x, y = lesions(small=True)
    net = UNet()
    weight = torch.tensor(50.0) if weighed else None
    return routine(
        net,
        (x, y),
        by("SGD", 0.02, momentum=0.9),
        batch=16,
        loss=nn.BCEWithLogitsLoss(pos_weight=weight),
        score=yes_no(net, x[:150], y[:150]),
    )


broken("sealed a pixel in fifty", RARE, tumours, False, True, steps=250, sudden=False)


def upright(even: bool) -> Training:
    """Nearly all gratings have the first direction; mended: each direction is drawn as often."""
    x, y = gratings(3000, 0.9)
    first = torch.where(y == 0)[0].repeat(4)
    others = torch.where(y > 0)[0]
    others = others[torch.rand(len(others), generator=dice(62)) < 0.025]
    rows = torch.cat([first, others])
    x, y = x[rows], y[rows]
    share = 1 / y.bincount(minlength=6).float()[y]
    net, g = lenet(6, 12), dice(60)
    take = Loader((x, y), 32)

    def draw() -> Rows:
        index = torch.multinomial(share, 32, True, generator=g)
        return x[index], y[index]

    return routine(
        net, (x, y), by("AdamW", 1e-3), draw=draw if even else take, score=by_kind(net, x, y)
    )


broken("sealed nearly all stripes upright", RARE, upright, False, True, steps=300, sudden=False)


def leaving(weighed: bool) -> Training:
    """One customer in sixty leaves; his last days are a little lower."""
    x, _ = demand(3000)
    g = dice(63)
    y = (torch.rand(len(x), 1, generator=g) < 1 / 60).float()
    x = x + 0.6 * torch.randn(x.shape, generator=g)
    x = torch.cat([x[:, :-6], x[:, -6:] - 1.2 * y[:, :, None]], 1)
    net = Reader(nn.GRU, 1, width=16)
    weight = torch.tensor(59.0) if weighed else None
    return routine(
        net,
        (x, y),
        by("Adam", 5e-3),
        batch=64,
        loss=lambda out, b: functional.binary_cross_entropy_with_logits(out, b, pos_weight=weight),
        score=yes_no(net, x, y),
    )


broken("sealed one customer in sixty leaves", RARE, leaving, False, True, steps=200, sudden=False)


def strangers(weighed: bool) -> Training:
    """A node in thirty is an odd one."""
    links, x, kind = friends()
    odd = (torch.arange(len(kind)) % 30 == 0).long()
    x = x.clone()
    x[:, 6:] += 1.0 * odd[:, None]
    net = Graph(links, kinds=2)
    weight = torch.tensor([1.0, 29.0]) if weighed else None
    return routine(
        net,
        (x, odd),
        by("Adam", 2e-3),
        draw=lambda: (x, odd),
        loss=nn.CrossEntropyLoss(weight=weight),
        score=by_kind(net, x, odd),
    )


broken("sealed a stranger among thirty", RARE, strangers, False, True, steps=150, sudden=False)
broken(
    "sealed residual network on raw readings of sixteen bits",
    INPUTS,
    lambda raw: routine(
        ResNet(10, norm=no_norm),
        (30_000 + 9_000 * scans()[0] if raw else scans()[0], scans()[1]),
        by("Adam", 2e-3),
    ),
    True,
    False,
    steps=250,
)

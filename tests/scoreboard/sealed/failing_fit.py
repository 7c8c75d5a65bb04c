"""Sealed failures of the fit: held down, too small, by heart, stuck; and of numbers."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.loops import dice, neighbours, update, worth
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import (
    Rows,
    demand,
    flights,
    genes,
    gratings,
    scans,
    sky,
    spirals,
    split,
    standard,
    table,
)
from scoreboard.sealed.loops import Loader, by, routine
from scoreboard.sealed.nets import Tower, lenet, plain
from scoreboard.sealed.seqs import Patches, Reader

RUNS = Runs(__name__)
broken = RUNS.broken

STRONG, SMALL, HEART = "over-regularisation", "insufficient-capacity", "overfitting"
STUCK, OVER = "local-minimum", "numerical-overflow"


# --- held down
broken(
    "sealed decay of one in adam",
    STRONG,
    lambda decay: routine(lenet(6, 12), gratings(), by("Adam", 2e-3, weight_decay=decay)),
    1.0,
    1e-5,
    steps=150,
    sudden=False,
)
broken(
    "sealed decay of a fifth by descent",
    STRONG,
    lambda decay: routine(
        Tower(16, 40, 40, 5, act=nn.Tanh), table("gases"), by("SGD", 0.1, weight_decay=decay)
    ),
    0.3,
    1e-4,
    steps=350,
    sudden=False,
)
broken(
    "sealed patches with nineteen of twenty let go",
    STRONG,
    lambda drop: routine(
        nn.Sequential(Patches(10, 8, drop=drop), nn.Dropout(drop)), scans(), by("AdamW", 2e-3)
    ),
    0.97,
    0.05,
    steps=250,
    sudden=False,
)


def ridge(strength: float) -> Training:
    """All squares of all weights are part of the loss."""
    net = Reader(nn.GRU, 1, width=20)
    return routine(
        net,
        demand(),
        by("Adam", 3e-3),
        extra=lambda: strength * torch.stack([p.square().sum() for p in net.parameters()]).sum(),
    )


broken("sealed sales with a dear ridge", STRONG, ridge, 2.0, 1e-6, steps=250, sudden=False)


def lasso(strength: float) -> Training:
    net = plain(10, 32, 1)
    return routine(
        net,
        table("diabetes"),
        by("SGD", 0.02),
        batch=16,
        extra=lambda: strength * torch.stack([p.abs().sum() for p in net.parameters()]).sum(),
    )


broken("sealed patients with a dear lasso", STRONG, lasso, 0.3, 1e-5, steps=400, sudden=False)


def decays_later(wrong: bool) -> Training:
    """From step 180 on the weight decay is the one of another configuration."""
    net = plain(16, 48, 48, 5)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.01)

    def before(k: int) -> None:
        if wrong and k == 180:
            optimizer.param_groups[0]["weight_decay"] = 30.0

    return routine(net, table("gases"), lambda weights: optimizer, before=before)


broken("sealed decay of thirty from 180", STRONG, decays_later, True, False, steps=350, onset=180,
       sudden=False)  # fmt: skip


# --- too small
broken(
    "sealed six layers and no activation",
    SMALL,
    lambda act: routine(Tower(2, 32, 32, 2, act=act), spirals(), by("Adam", 5e-3)),
    nn.Identity,
    nn.ReLU,
    steps=400,
    sudden=False,
)
broken(
    "sealed line through rings",
    SMALL,
    lambda wide: routine(
        nn.Linear(2, 2) if not wide else plain(2, 24, 2), table("rings"), by("SGD", 0.3)
    ),
    False,
    True,
    steps=400,
    sudden=False,
)
broken(
    "sealed line through a wave",
    SMALL,
    lambda wide: routine(
        plain(1, 64, 64, 1, act=nn.SiLU) if wide else nn.Sequential(nn.Linear(1, 1)),
        wavy(),
        by("Adam", 1e-2),
    ),
    False,
    True,
    steps=400,
    sudden=False,
)


def wavy() -> Rows:
    """A whole wave and more, with hardly any slope."""
    x = 4 * torch.rand(900, 1, generator=dice(101)) - 2
    return x, torch.cos(3 * x)


broken(
    "sealed digits through a waist of one",
    SMALL,
    lambda width: coded(width),
    1,
    16,
    steps=400,
    sudden=False,
)


def coded(width: int) -> Training:
    x = scans()[0].flatten(1)
    net = plain(64, 48, width, 48, 64, act=nn.GELU)
    return routine(net, (x, x), by("Adam", 3e-3), batch=64)


# --- by heart
def few(count: int) -> Callable[[Rows], Rows]:
    return lambda rows: (rows[0][:count], rows[1][:count])


def wide_table(count: int) -> Training:
    """Thirty rows with forty columns of no use, or all rows with columns that are still."""
    x, y = table("friedman")
    useless = torch.randn(len(x), 40, generator=dice(102)) * (1.0 if count < 100 else 0.0)
    train, held = split((torch.cat([x, useless], 1), y), 300)
    return routine(Tower(48, 256, 256, 1), few(count)(train), by("Adam", 1e-3), batch=16, held=held)


broken("sealed thirty rows by heart", HEART, wide_table, 30, 1100, steps=450, sudden=False)


def drawings(count: int) -> Training:
    train, held = split(gratings(1400, 1.3), 300)
    return routine(
        lenet(6, 12, act=nn.SiLU), few(count)(train), by("AdamW", 2e-3), batch=16, held=held
    )


broken("sealed forty loud gratings by heart", HEART, drawings, 40, 1100, steps=400, sudden=False)


def strands(count: int) -> Training:
    train, held = split(genes(2400), 300)
    return routine(
        Reader(nn.LSTM, 3, words=4, width=32), few(count)(train), by("Adam", 5e-3), held=held
    )


broken("sealed forty strands by heart", HEART, strands, 40, 2100, steps=400, sudden=False)


def noisy_curve(count: int) -> Training:
    """Twenty points of a noisy curve, and a network with room for every one."""
    g = dice(103)
    x = 2 * torch.rand(900, 1, generator=g) - 1
    y = torch.sin(3 * x) + 0.5 * torch.randn(900, 1, generator=g)
    held = (x[-300:], torch.sin(3 * x[-300:]) + 0.2 * torch.randn(300, 1, generator=g))
    turned = torch.cat([torch.sin(2**k * pi * x) for k in range(5)], 1)
    seen = torch.cat([x, turned], 1)
    held = (seen[-300:], held[1])
    return routine(
        plain(6, 128, 128, 1), (seen[:count], y[:count]), by("Adam", 3e-3), batch=16, held=held
    )


broken("sealed sixteen points of a curve", HEART, noisy_curve, 16, 600, steps=450, sudden=False)


# --- stuck
class Bumps(nn.Module):
    """A few bells whose places are learnt."""

    def __init__(self, places: Tensor, width: float) -> None:
        super().__init__()
        self.places = nn.Parameter(places)
        self.heights = nn.Parameter(torch.ones(len(places)))
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        bells = torch.exp(-(((x - self.places) / self.width) ** 2))
        return (bells * self.heights).sum(1, keepdim=True)


def pulses(places: tuple[float, ...]) -> Training:
    """Where two narrow pulses lie: a guess that touches neither feels no slope."""
    g = dice(104)
    x = 10 * torch.rand(900, 1, generator=g)
    y = torch.exp(-(((x - 2) / 0.4) ** 2)) + torch.exp(-(((x - 7) / 0.4) ** 2))
    y = y + 0.02 * torch.randn(900, 1, generator=g)
    return routine(Bumps(torch.tensor(places), 0.4), (x, y), by("Adam", 1e-2), batch=64)


broken("sealed pulses looked for in the wrong place", STUCK, pulses, (4.4, 9.2), (1.5, 6.6),
       steps=400, sudden=False)  # fmt: skip


class Heaps(nn.Module):
    """The likelihood of points under five round heaps."""

    def __init__(self, places: Tensor) -> None:
        super().__init__()
        self.places = nn.Parameter(places)

    def forward(self, x: Tensor) -> Tensor:
        return (-torch.cdist(x, self.places).square() / 0.08).logsumexp(1)


def clustered(bad: bool) -> Training:
    """Three of five means begin in one heap, one between two others."""
    x = sky()
    start = (
        [[0.1, 0.0], [-0.1, 0.1], [0.0, -0.1], [1.4, 1.4], [-1.5, -1.4]]
        if bad
        else [[0.1, 0.0], [1.6, 0.2], [-1.7, 0.0], [0.1, 1.7], [0.0, -1.6]]
    )
    net = Heaps(torch.tensor(start))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    take = Loader((x, x), 64)

    def step(k: int) -> Tensor:
        return update(optimizer, -net(take()[0]).mean())

    def score() -> float:
        with torch.no_grad():
            near = torch.cdist(x, net.places).min(1).values < 0.7
        return float(near.float().mean())

    return Training(net, optimizer, step, score)


broken("sealed three means in one heap", STUCK, clustered, True, False, steps=400, sudden=False)


# --- numbers
def masked_log(safe: bool) -> Training:
    """`where(x > 0, log(x), 0)`: the branch that is not taken has a gradient all the same."""
    x, y = table("friedman")
    net = plain(8, 40, 1, act=nn.SiLU)

    def loss(out: Tensor, b: Tensor) -> Tensor:
        gap = (out - b).abs() - 2.4
        inner = gap.clamp(min=1e-6) if safe else gap
        tail = torch.where(gap > 0, torch.sqrt(inner), torch.zeros_like(gap))
        return functional.mse_loss(out, b) + 0.01 * tail.mean()

    return routine(net, (x, y), by("Adam", 3e-3), loss=loss)


broken("sealed root in the branch not taken", OVER, masked_log, False, True, steps=200)


def own_softmax(shifted: bool) -> Training:
    """Exponentials without the largest taken off; at step 90 the temperature goes down."""
    rows = scans()
    net = lenet(10, 8)
    heat = [1.0]

    def loss(out: Tensor, y: Tensor) -> Tensor:
        z = out * heat[0]
        if shifted:
            z = z - z.max(1, keepdim=True).values.detach()
        p = z.exp() / z.exp().sum(1, keepdim=True)
        return -(p.gather(1, y[:, None]) + 1e-6).log().mean()

    def before(k: int) -> None:
        if k == 90:
            heat[0] = 60.0

    return routine(net, rows, by("Adam", 2e-3), loss=loss, before=before)


broken("sealed temperature lowered at 90", OVER, own_softmax, False, True, steps=200, onset=90)


def all_in_half(wrong: bool) -> Training:
    """`model.half()`: in half precision Adam's epsilon is nothing, and nothing divides nothing."""
    x, y = table("gases")
    kind = torch.float16 if wrong else torch.float32
    net = Tower(16, 40, 40, 5).to(kind)
    return routine(net, (x.to(kind), y), by("Adam", 2e-3))


broken("sealed all in half precision", OVER, all_in_half, True, False, steps=220)


def silent_rows(floor: float) -> Training:
    """Codes are divided by their length; at step 60 comes a picture of nothing."""
    x, y = scans()
    x = (x - x.min()).flatten(1)
    net = nn.Sequential(nn.Linear(64, 32, bias=False), nn.ReLU(), nn.Linear(32, 8, bias=False))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    g = dice(106)

    def step(k: int) -> Tensor:
        index = torch.randint(len(x), (48,), generator=g)
        rows = x[index]
        if k == 60:
            rows = torch.cat([rows[:-1], torch.zeros(1, 64)])
        z = net(rows)
        z = z / (z.square().sum(1, keepdim=True) + floor).sqrt()
        same = (y[index][:, None] == y[index][None]).float()
        return update(optimizer, (z @ z.T - same).square().mean())

    return Training(net, optimizer, step, neighbours(lambda: net(x[:700]), y[:700]))


broken("sealed length of nothing at 60", OVER, silent_rows, 0.0, 1e-8, steps=220, onset=60)


def spread_told(bounded: bool) -> Training:
    """The logarithm of a variance is learnt too fast, and its exponential leaves the range."""
    x, y = standard(flights()[0]), flights()[1]
    net = plain(4, 32, 2)
    x = x.clone()
    x[77] = 900.0

    def loss(out: Tensor, b: Tensor) -> Tensor:
        log = out[:, 1:].clamp(-6, 6) if bounded else out[:, 1:]
        mean = out[:, :1].clamp(-5, 5) if bounded else out[:, :1]
        return (log + (b - mean).square() * (-log).exp()).mean()

    return routine(
        net,
        (x, y),
        by("Adam", 5e-3),
        loss=loss,
        score=worth(lambda rows: net(rows)[:, :1], x[100:], y[100:]),
    )


broken("sealed variance by an exponential", (OVER, "unnormalised-inputs", "bad-data"), spread_told,
       False, True, steps=250, sudden=False)  # fmt: skip

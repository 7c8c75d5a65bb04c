"""Sealed runs that learn: batches, precision, and what is held back on purpose."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.loops import dice, worth
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import (
    Rows,
    brackets,
    demand,
    genes,
    heartbeats,
    loans,
    raw_table,
    scans,
    spirals,
    table,
)
from scoreboard.sealed.loops import Loader, by, routine
from scoreboard.sealed.nets import ResNet, Tower, each_weight, plain
from scoreboard.sealed.seqs import Dilated, Patches, Reader, Transformer

RUNS = Runs(__name__)
healthy, simple = RUNS.healthy, RUNS.simple


# --- batches
simple(
    "sealed one patient at a time",
    lambda: routine(plain(30, 24, 2, act=nn.Tanh), table("cancer"), by("SGD", 0.02), batch=1),
    600,
)
simple(
    "sealed all gases at once",
    lambda: routine(Tower(16, 48, 5), table("gases"), by("Adam", 1e-2), batch=1600),
    150,
)
simple(
    "sealed six parts a step",
    lambda: routine(
        Reader(nn.GRU, 3, words=4, width=16), genes(), by("Adam", 1e-2), batch=8, parts=6
    ),
    80,
)
simple(
    "sealed cleared after the step",
    lambda: routine(Dilated(3), heartbeats(), by("AdamW", 2e-3), clear="after"),
    150,
)
simple(
    "sealed passes without a shuffle",
    lambda: routine(
        plain(8, 40, 1), table("friedman"), by("Adam", 3e-3),
        draw=Loader(table("friedman"), 50, shuffle=False),
    ),
    300,
)  # fmt: skip
simple(
    "sealed four rows there are",
    lambda: routine(
        plain(2, 8, 2, act=nn.Tanh),
        (torch.cartesian_prod(torch.arange(2.0), torch.arange(2.0)), torch.tensor([0, 1, 1, 0])),
        by("Adam", 5e-2), batch=4,
    ),
    300,
)  # fmt: skip


# --- numbers
@healthy("sealed in double precision", 250)
def double() -> Training:
    x, y = table("diabetes")
    return routine(plain(10, 24, 1, act=nn.Softplus).double(), (x.double(), y.double()),
                   by("Adam", 5e-3))  # fmt: skip


simple(
    "sealed brackets in bfloat16 where they do",
    lambda: routine(
        Transformer(8, 8, causal=True), brackets(), by("AdamW", 3e-3), half=True, clip=1.0
    ),
    180,
)
simple(
    "sealed residual network in bfloat16 where it does",
    lambda: routine(ResNet(10), scans(), by("SGD", 0.1, momentum=0.9), half=True),
    130,
)


@healthy("sealed gradients scaled for half precision", 300)
def scaled() -> Training:
    """The loss times 1024, the gradients divided again; steps with an inf would be left out."""
    net, rows = plain(16, 48, 5), table("gases")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    take = Loader(rows, 32)

    def step(k: int) -> Tensor:
        x, y = take()
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(x), y)
        (1024 * loss).backward()
        for p in net.parameters():
            assert p.grad is not None
            p.grad.div_(1024)
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, worth(net, *rows))


simple(
    "sealed loss times ten thousand under adam",
    lambda: routine(
        Tower(8, 32, 1, act=nn.ELU), table("friedman"), by("Adam", 3e-3),
        loss=lambda out, y: 1e4 * functional.mse_loss(out, y),
    ),
    300,
)  # fmt: skip
simple(
    "sealed loss summed and a rate to match",
    lambda: routine(
        plain(13, 24, 3), table("wine"), by("SGD", 2e-3, momentum=0.9), batch=32,
        loss=nn.CrossEntropyLoss(reduction="sum"),
    ),
    250,
)  # fmt: skip

# --- held back on purpose
simple(
    "sealed decay of a half",
    lambda: routine(
        Patches(10, 8, drop=0.1), scans(), by("AdamW", 2e-3, weight_decay=0.5), held=scans()
    ),
    200,
)
simple(
    "sealed clipped at every step",
    lambda: routine(Reader(nn.LSTM, 1, width=16), demand(), by("SGD", 0.5, momentum=0.9), clip=0.1),
    250,
)
simple(
    "sealed half of all units let go",
    lambda: routine(
        Tower(64, 128, 128, 10, drop=0.5), (scans()[0].flatten(1), scans()[1]), by("Adam", 2e-3),
        held=(scans()[0].flatten(1), scans()[1]),
    ),
    350,
)  # fmt: skip
simple(
    "sealed noise on every gradient",
    lambda: noisy_gradients(),
    300,
)


def noisy_gradients() -> Training:
    """Clipped and with noise, for privacy."""
    net, rows = plain(10, 24, 2), loans()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
    take, g = Loader(rows, 64), dice(131)

    def step(k: int) -> Tensor:
        x, y = take()
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for p in net.parameters():
            assert p.grad is not None
            p.grad.add_(0.03 * torch.randn(p.shape, generator=g))
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, worth(net, *rows))


@healthy("sealed nine in ten weights cut off", 300)
def pruned() -> Training:
    """Pruned at random at the start; what is cut stays nought."""
    x, y = scans()
    net = plain(64, 200, 100, 10)
    masks = [
        (torch.rand(p.shape, generator=dice(132)) < 0.1).float() if p.dim() > 1 else torch.ones(())
        for p in net.parameters()
    ]

    def before(k: int) -> None:
        with torch.no_grad():
            for p, mask in zip(net.parameters(), masks, strict=True):
                p.mul_(mask)

    return routine(net, (x.flatten(1), y), by("Adam", 3e-3), before=before)


simple(
    "sealed weights of a norm that is learnt apart",
    lambda: routine(
        nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(8, 32)), nn.ReLU(),
            nn.utils.parametrizations.spectral_norm(nn.Linear(32, 32)), nn.ReLU(), nn.Linear(32, 1),
        ),
        table("friedman"), by("Adam", 5e-3),
    ),
    300,
)  # fmt: skip
simple(
    "sealed ten layers of tanh drawn to keep lengths",
    lambda: routine(
        each_weight(Tower(13, *[32] * 10, 3, act=nn.Tanh), lambda w: nn.init.orthogonal_(w, 1.1)),
        table("wine"), by("SGD", 0.02, momentum=0.9), batch=16,
    ),
    300,
)  # fmt: skip
simple(
    "sealed three layers of sigmoids after Xavier",
    lambda: routine(
        each_weight(plain(16, 32, 32, 5, act=nn.Sigmoid), nn.init.xavier_normal_),
        table("gases"), by("Adam", 1e-2),
    ),
)  # fmt: skip
simple(
    "sealed readings in their own units, the first layer a norm",
    lambda: routine(
        nn.Sequential(nn.BatchNorm1d(13), plain(13, 24, 3)), raw_table("wine"), by("Adam", 5e-3)
    ),
    250,
)


@healthy("sealed by the same seed, a slow and patient rate", 600)
def patient() -> Training:
    rows: Rows = spirals()
    return routine(Tower(2, 64, 64, 2), rows, by("Adam", 4e-4), batch=64)

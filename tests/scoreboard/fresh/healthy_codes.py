"""Fresh runs that learn: routes, codes, sequences and what is learnt late."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.fresh.data import digits, source
from scoreboard.fresh.failing_kinds import crowd, weighed
from scoreboard.fresh.loops import course, epochs, told, with_
from scoreboard.fresh.nets import dense, linears
from scoreboard.loops import update
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy = RUNS.healthy

# --- routes and codes
healthy("fresh crowd that shares the work", 500)(lambda: crowd(True))
healthy("fresh doubtful code of digits", 300)(lambda: weighed(0.3))


class Book(nn.Module):
    """The nearest of twenty-four code words, passed straight through."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.writes = dense(64, 32, 4), dense(4, 32, 64)
        self.words = nn.Parameter(torch.randn(24, 4) / 4)
        self.near = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        z = self.reads(x)
        word = self.words[torch.cdist(z, self.words).argmin(1)]
        self.near = (word - z.detach()).square().mean() + 0.25 * (z - word.detach()).square().mean()
        out: Tensor = self.writes(z + (word - z).detach())
        return out


@healthy("fresh code book of digits", 400)
def book() -> Training:
    x, _ = digits()
    net = Book()
    with torch.no_grad():
        linears(net.reads)[-1].weight.mul_(8)  # codes apart from the first step on
        net.words.copy_(net.reads(x[:24]))
    return course(net, (x, x), with_("Adam", 2e-3), batch=64, penalty=lambda: net.near)


@healthy("fresh sparse code on purpose", 400)
def few() -> Training:
    """Most of the units are silent for most of the rows, since silence is in the loss."""
    x, _ = digits()
    held: list[Tensor] = []
    net = dense(64, 96, 64)
    net[1].register_forward_hook(lambda module, given, out: held.append(out))

    def quiet() -> Tensor:
        out = held[-1]
        held.clear()
        return 0.002 * out.abs().sum(1).mean()

    return course(net, (x, x), with_("Adam", 3e-3), penalty=quiet)


# --- sequences
@healthy("fresh letters without their places", 300)
def unplaced() -> Training:
    """Which letters, and in what order, but not when (CTC)."""
    g = source(63)
    net = nn.Sequential(nn.Linear(7, 32), nn.ReLU(), nn.Linear(32, 6))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    marks = torch.randn(6, 7, generator=g)

    def step(k: int) -> Tensor:
        y = torch.randint(1, 6, (24, 4), generator=g)
        slots = torch.zeros(24, 12, dtype=torch.long)
        slots[:, 1::3] = y
        x = marks[slots] + 0.3 * torch.randn(24, 12, 7, generator=g)
        odds = net(x).log_softmax(-1).transpose(0, 1)
        sizes = torch.full((24,), 12), torch.full((24,), 4)
        return update(optimizer, functional.ctc_loss(odds, y, *sizes))

    return Training(net, optimizer, step)


@healthy("fresh sums that wrap around", 600)
def wrapped() -> Training:
    """(a + b) mod 11, all pairs; nothing for long, then all at once."""
    x = torch.cartesian_prod(torch.arange(11), torch.arange(11))
    y = (x[:, 0] + x[:, 1]) % 11
    net = nn.Sequential(nn.Embedding(11, 16), nn.Flatten(), dense(32, 96, 11))
    return course(net, (x, y), with_("AdamW", 3e-3, weight_decay=0.3), batch=121)


@healthy("fresh three bits among twelve", 800)
def bits() -> Training:
    g = source(64)
    x = torch.randint(2, (3000, 12), generator=g).float() * 2 - 1
    y = (x[:, 0] * x[:, 4] * x[:, 9] > 0).long()
    return course(dense(12, 96, 2), (x, y), with_("Adam", 2e-3), batch=64)


@healthy("fresh copies of a great network's answers", 400)
def taught() -> Training:
    x, y = digits()
    great, small = dense(64, 96, 10), dense(64, 12, 10)
    ready = torch.optim.Adam(great.parameters(), lr=5e-3)
    take = epochs((x, y), 64)
    for _ in range(150):
        rows, kinds = take()
        update(ready, functional.cross_entropy(great(rows), kinds))
    optimizer = torch.optim.Adam(small.parameters(), lr=3e-3)

    def step(k: int) -> Tensor:
        rows, _ = take()
        with torch.no_grad():
            soft = (great(rows) / 4).softmax(-1)
        mine = (small(rows) / 4).log_softmax(-1)
        return update(optimizer, 16 * functional.kl_div(mine, soft, reduction="batchmean"))

    return Training({"great": great, "small": small}, optimizer, step, told(small, x, y))

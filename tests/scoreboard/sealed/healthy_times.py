"""Sealed runs that learn: what is learnt late or long ago, worlds that change, odd losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.loops import dice, update, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import Rows, genes, heartbeats, split, standard, table
from scoreboard.sealed.loops import Loader, by, routine
from scoreboard.sealed.nets import Tower, plain
from scoreboard.sealed.seqs import Dilated, Reader, Transformer

RUNS = Runs(__name__)
healthy, simple = RUNS.healthy, RUNS.simple


# --- learnt late, or long ago
@healthy("sealed two signs multiplied among ten", 500)
def product() -> Training:
    """Nothing to see in any column alone: flat at first, then all at once."""
    x = torch.randint(2, (3000, 10), generator=dice(155)).float() * 2 - 1
    y = (x[:, 2] * x[:, 7] > 0).long()
    return routine(Tower(10, 64, 2), (x, y), by("Adam", 3e-3), batch=64)


@healthy("sealed two marked numbers added", 500)
def adding() -> Training:
    """The adding problem over fourteen moments."""
    g = dice(156)
    worth = torch.rand(2000, 14, generator=g)
    mark = torch.zeros(2000, 14)
    for row in range(2000):
        mark[row, torch.randperm(14, generator=g)[:2]] = 1
    y = standard((worth * mark).sum(1, keepdim=True))
    return routine(
        Reader(nn.GRU, 1, inputs=2, width=24), (torch.stack([worth, mark], 2), y), by("Adam", 1e-2)
    )


@healthy("sealed last word that was seen before", 500)
def induction() -> Training:
    """... a b ... a: what comes next? Two layers of attention find out."""
    g = dice(157)
    x = torch.stack([torch.randperm(16, generator=g)[:12] for _ in range(2500)])
    at = torch.randint(10, (2500,), generator=g)
    last = x[torch.arange(2500), at]
    y = x[torch.arange(2500), at + 1]
    ids = torch.cat([x, last[:, None]], 1)

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Transformer(16, 16, width=32, causal=True)

        def forward(self, ids: Tensor) -> Tensor:
            out: Tensor = self.body(ids)
            return out[:, -1]

    return routine(Last(), (ids, y), by("Adam", 5e-3), batch=64)


simple(
    "sealed wine long since learnt",
    lambda: routine(Tower(13, 32, 3), table("wine"), by("Adam", 1e-2), batch=32),
    600,
)
simple(
    "sealed line long since found",
    lambda: routine(nn.Linear(6, 1), line(), by("SGD", 0.1), batch=64),
    400,
)


def line() -> Rows:
    """Without any noise: the loss goes down to nothing."""
    g = dice(158)
    x = torch.randn(1000, 6, generator=g)
    return x, x @ torch.randn(6, 1, generator=g) / 2.4 + 0.3


@healthy("sealed every row is known, held rows are told too", 500)
def interpolates() -> Training:
    """More weights than rows, nothing wrong in training, and held rows go well."""
    train, held = split(table("gases"), 400)
    return routine(Tower(16, 256, 256, 5), train, by("Adam", 5e-4), batch=64, held=held)


@healthy("sealed held rows a little worse in the end", 400)
def slightly_worse() -> Training:
    train, held = split(table("diabetes"), 120)
    return routine(Tower(10, 24, 1), train, by("Adam", 2e-3, weight_decay=1e-4), held=held)


# --- a world that changes, as meant
@healthy("sealed summer turns to winter", 500)
def drifting() -> Training:
    """The rows come in the order of time, and what they are like moves slowly."""
    g = dice(159)
    net = Tower(6, 32, 1, act=nn.SiLU)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    plane = torch.randn(6, 1, generator=g) / 2

    def rows(k: int, count: int) -> Rows:
        x = torch.randn(count, 6, generator=g) + 1.5 * k / 500
        return x, torch.tanh(x @ plane) + 0.3 * k / 500 + 0.05 * torch.randn(count, 1, generator=g)

    def step(k: int) -> Tensor:
        x, y = rows(k, 32)
        return update(optimizer, functional.mse_loss(net(x), y))

    def score() -> float:
        x, y = rows(500, 500)
        with torch.no_grad():
            return float(1 - functional.mse_loss(net(x), y) / y.var())

    return Training(net, optimizer, step, score)


@healthy("sealed short strands, then long ones", 400)
def longer() -> Training:
    """From step 200 on the strands are twice as long; the loss goes up, and down again."""
    short, whole = Loader(genes(1400, 14), 32), Loader(genes(), 32)
    drawn = [0]

    def draw() -> Rows:
        drawn[0] += 1
        return short() if drawn[0] < 200 else whole()

    return routine(Reader(nn.GRU, 3, words=4), genes(), by("Adam", 1e-2), draw=draw)


@healthy("sealed hard batches and easy ones in turn", 300)
def in_turn() -> Training:
    calm, loud = Loader(heartbeats(), 24), Loader(heartbeats(), 24, seed=8)
    drawn, g = [0], dice(160)

    def draw() -> Rows:
        drawn[0] += 1
        x, y = (calm if drawn[0] % 4 else loud)()
        return (x, y) if drawn[0] % 4 else (x + 0.8 * torch.randn(x.shape, generator=g), y)

    return routine(Dilated(3), heartbeats(), by("AdamW", 3e-3), draw=draw)


# --- losses
@healthy("sealed order of five grades", 300)
def grades() -> Training:
    """Four questions: more than one? more than two? ..."""
    x, y = table("friedman")
    grade = torch.bucketize(y[:, 0], torch.tensor([-0.9, -0.3, 0.3, 0.9]))
    steps = (grade[:, None] > torch.arange(4)).float()
    net = plain(8, 32, 4)
    return routine(net, (x, steps), by("Adam", 5e-3), loss=nn.BCEWithLogitsLoss(),
                   score=yes_no(net, x, steps))  # fmt: skip


@healthy("sealed who lives longer", 300)
def survival() -> Training:
    """Only the order of what happened is asked for (Cox); many left before."""
    g = dice(161)
    x = torch.randn(1200, 6, generator=g)
    risk = x[:, 0] - 0.8 * x[:, 1] * (x[:, 2] > 0)
    time = torch.distributions.Exponential(1.0).sample((1200,)) * torch.exp(-risk)
    seen = (torch.rand(1200, generator=g) < 0.7).float()
    rows = (x, torch.stack([time, seen], 1))
    net = Tower(6, 24, 1)

    def loss(out: Tensor, b: Tensor) -> Tensor:
        order = b[:, 0].argsort(descending=True)
        h, event = out[order, 0], b[order, 1]
        return -((h - h.logcumsumexp(0)) * event).sum() / event.sum()

    def score() -> float:
        with torch.no_grad():
            h = net(x)[:, 0]
        return float(torch.corrcoef(torch.stack([h, risk]))[0, 1])

    return routine(net, rows, by("Adam", 3e-3), batch=64, loss=loss, score=score)


@healthy("sealed mixture of three bells for one answer", 400)
def mixture() -> Training:
    """The way back from y to x has several answers; the loss goes below nought."""
    g = dice(162)
    back = torch.rand(1500, 1, generator=g)
    x = back + 0.3 * torch.sin(6.28 * back) + 0.03 * torch.randn(1500, 1, generator=g)
    net = plain(1, 40, 9, act=nn.Tanh)

    def loss(out: Tensor, b: Tensor) -> Tensor:
        weight, mean, log = out.chunk(3, 1)
        each = -0.5 * ((b - mean) / log.exp()) ** 2 - log
        return -(weight.log_softmax(1) + each).logsumexp(1).mean()

    def score() -> float:
        with torch.no_grad():
            return float(-loss(net(x), back)) - 0.74  # what one bell for all is worth

    return routine(net, (x, back), by("Adam", 1e-2), batch=64, loss=loss, score=score)


simple(
    "sealed counts by their likelihood",
    lambda: counts(),
    300,
)


def counts() -> Training:
    g = dice(163)
    x = torch.randn(2500, 6, generator=g)
    rate = torch.exp(0.8 * x[:, :1] + 0.5 * x[:, 1:2] * x[:, 2:3])
    y = torch.poisson(rate.clamp(max=30), generator=g)
    net = plain(6, 32, 1)
    return routine(net, (x, y), by("Adam", 3e-3), loss=nn.PoissonNLLLoss(),
                   score=lambda: _fit(net(x).exp().clamp(max=60), rate.clamp(max=30)))  # fmt: skip


def _fit(out: Tensor, truth: Tensor) -> float:
    return float(torch.corrcoef(torch.cat([out, truth], 1).T.detach().log1p())[0, 1])

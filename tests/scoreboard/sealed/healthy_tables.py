"""Sealed runs that learn: networks for tables, points, graphs and ids."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.loops import dice, update, worth, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import clicks, friends, loans, scans, spirals, table, waveform
from scoreboard.sealed.loops import Loader, by, routine
from scoreboard.sealed.nets import Clicks, Euler, Graph, Rises, Settling, plain

RUNS = Runs(__name__)
healthy, simple = RUNS.healthy, RUNS.simple

# --- tables, points, graphs
simple(
    "sealed sums of bumps",
    lambda: routine(nn.Sequential(Rises(8, 8), Rises(8, 1)), table("friedman"), by("Adam", 1e-2)),
)
simple("sealed state that settles",
       lambda: routine(Settling(16, 5), table("gases"), by("Adam", 3e-3)), 300)  # fmt: skip
simple("sealed state that flows",
       lambda: routine(Euler(8, 1), table("friedman"), by("Adam", 3e-3)), 250)  # fmt: skip


@healthy("sealed circles of friends by asking", 150)
def asking() -> Training:
    """Neighbours weighed by attention."""
    links, x, kind = friends()
    near = links > 0

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(12, 24), nn.Linear(24, 4)
            self.left, self.right = nn.Linear(24, 1), nn.Linear(24, 1)

        def forward(self, x: Tensor) -> Tensor:
            h = self.one(x)
            scores = functional.leaky_relu(self.left(h) + self.right(h).T, 0.2)
            weights = scores.masked_fill(~near, -1e9).softmax(-1)
            out: Tensor = self.two(functional.elu(weights @ h))
            return links @ out

    return routine(Net(), (x, kind), by("Adam", 1e-2), draw=lambda: (x, kind))


@healthy("sealed few friends are known", 120)
def few_known() -> Training:
    """A graph of 240 of whom 40 are labelled: the others are only neighbours."""
    links, x, kind = friends()
    known = torch.arange(0, 240, 6)
    net = Graph(links)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2, weight_decay=5e-3)

    def step(k: int) -> Tensor:
        return update(optimizer, functional.cross_entropy(net(x)[known], kind[known]))

    return Training(net, optimizer, step, worth(net, x, kind))


@healthy("sealed clicks from tables of ids", 400)
def tables() -> Training:
    net, rows = Clicks(8, 32), clicks()
    return routine(net, rows, by("Adagrad", 1e-1), loss=nn.BCEWithLogitsLoss(), batch=64,
                   score=yes_no(net, *rows))  # fmt: skip


@healthy("sealed clicks by products of pairs", 400)
def pairs() -> Training:
    """A factorisation machine."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tables = nn.ModuleList(nn.Embedding(n, 5) for n in (40, 30, 12))
            self.alone = nn.ModuleList(nn.Embedding(n, 1) for n in (40, 30, 12))
            for table_ in (*self.tables, *self.alone):
                nn.init.normal_(table_.weight, std=0.1)

        def forward(self, ids: Tensor) -> Tensor:
            v = torch.stack([t(ids[:, k]) for k, t in enumerate(self.tables)], 1)
            one = sum((t(ids[:, k]) for k, t in enumerate(self.alone)), torch.zeros(1))
            both = 0.5 * (v.sum(1).square() - v.square().sum(1)).sum(1, keepdim=True)
            out: Tensor = one + both
            return out

    net, rows = Net(), clicks()
    return routine(net, rows, by("Adam", 2e-2), batch=64, loss=nn.BCEWithLogitsLoss(),
                   score=yes_no(net, *rows))  # fmt: skip


class Written(nn.Module):
    """A small network writes the weights of another."""

    def __init__(self) -> None:
        super().__init__()
        self.note = nn.Parameter(torch.randn(8))
        self.writes = plain(8, 32, 16 * 24 + 24 + 24 * 5 + 5, act=nn.Tanh)

    def forward(self, x: Tensor) -> Tensor:
        w = self.writes(self.note)
        one, b, two, c = w.split([16 * 24, 24, 24 * 5, 5])
        h = functional.gelu(functional.linear(x, one.view(24, 16) * 0.5, b))
        return functional.linear(h, two.view(5, 24), c)


simple("sealed weights that are written",
       lambda: routine(Written(), table("gases"), by("Adam", 2e-3)))  # fmt: skip


@healthy("sealed curve from waves of it", 350)
def turned() -> Training:
    x, y = waveform()
    g = dice(123)
    pace = 6 * torch.randn(1, 24, generator=g)
    waves = torch.cat([torch.sin(x @ pace * pi / 2), torch.cos(x @ pace * pi / 2)], 1)
    return routine(plain(48, 32, 1), (waves, y), by("Adam", 3e-3))


@healthy("sealed sets by their largest", 250)
def sets() -> Training:
    """Twelve numbers each in any order; their spread is asked for."""
    g = dice(124)
    x = torch.randn(1000, 12, 1, generator=g) * (0.5 + torch.rand(1000, 1, 1, generator=g))
    y = x.amax(1) - x.amin(1)
    y = (y - y.mean()) / y.std()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.each, self.all = plain(1, 24, 24), plain(24, 24, 1)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.all(self.each(x).amax(1))
            return out

    return routine(Net(), (x, y), by("Adam", 5e-3))


@healthy("sealed three answers of one trunk", 300)
def three() -> Training:
    """Kind, size and weight of a digit, in one sum of losses."""
    x, y = scans()
    flat = x.flatten(1)
    ink = flat.mean(1, keepdim=True)
    ink = (ink - ink.mean()) / ink.std()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU())
            self.kind, self.odd, self.ink = nn.Linear(48, 10), nn.Linear(48, 1), nn.Linear(48, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            h = self.trunk(x)
            return self.kind(h), self.odd(h), self.ink(h)

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    take = Loader((torch.cat([flat, ink], 1), y), 32)

    def step(k: int) -> Tensor:
        rows, kinds = take()
        kind, odd, dark = net(rows[:, :64])
        loss = functional.cross_entropy(kind, kinds)
        odds = (kinds % 2).float()[:, None]
        loss = loss + 0.5 * functional.binary_cross_entropy_with_logits(odd, odds)
        return update(optimizer, loss + functional.mse_loss(dark, rows[:, 64:]))

    return Training(net, optimizer, step, worth(lambda rows: net(rows)[0], flat, y))


@healthy("sealed memory of pairs", 500)
def memory() -> Training:
    """Four keys with values, then one of the keys: what was its value? Learnt late."""
    g = dice(125)
    keys = torch.stack([torch.randperm(8, generator=g)[:4] for _ in range(2000)])
    values = torch.randint(8, (2000, 4), generator=g)
    pick = torch.randint(4, (2000,), generator=g)
    ids = torch.stack([keys, values + 8], 2).flatten(1)
    asked = keys[torch.arange(2000), pick]
    x = torch.cat([ids, asked[:, None]], 1)
    y = values[torch.arange(2000), pick]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.asked = nn.Embedding(16, 24), nn.Embedding(8, 24)
            self.head = nn.Linear(24, 8)

        def forward(self, ids: Tensor) -> Tensor:
            k, v = self.words(ids[:, 0:8:2]), self.words(ids[:, 1:8:2])
            q = self.asked(ids[:, 8])
            weights = (k @ q[:, :, None])[:, :, 0].div(5).softmax(1)
            out: Tensor = self.head((weights[:, :, None] * v).sum(1))
            return out

    return routine(Net(), (x, y), by("Adam", 1e-2), batch=64)


@healthy("sealed spirals by bells", 350)
def bells() -> Training:
    """Forty bells with places and widths of their own, and a linear answer."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places = nn.Parameter(1.2 * torch.randn(40, 2))
            self.sharp = nn.Parameter(torch.full((40,), 1.5))
            self.head = nn.Linear(40, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(torch.exp(-(torch.cdist(x, self.places) ** 2) * self.sharp))
            return out

    return routine(Net(), spirals(), by("Adam", 2e-2))


@healthy("sealed loans by trees that are soft", 400)
def trees() -> Training:
    """Six soft decisions, sixty-four leaves, eight trees."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.ask = nn.Linear(10, 8 * 4)
            self.leaves = nn.Parameter(0.1 * torch.randn(8, 16, 2))

        def forward(self, x: Tensor) -> Tensor:
            p = self.ask(x).sigmoid().view(-1, 8, 4)
            way = torch.ones(len(x), 8, 1)
            for k in range(4):
                q = p[:, :, k : k + 1]
                way = torch.cat([way * q, way * (1 - q)], 2)
            return torch.einsum("ntl,tlo->no", way, self.leaves)

    return routine(Net(), loans(), by("Adam", 2e-2), batch=64)

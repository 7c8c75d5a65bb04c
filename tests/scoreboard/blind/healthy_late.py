"""Blind runs that learn late, from unequal rows, or uphill."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import (
    Feed,
    adam,
    both_found,
    digits,
    fit,
    fitted,
    hits,
    mlp,
    named,
    signs,
    table,
)
from scoreboard.loops import dice, update
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy = RUNS.healthy


@healthy("parity of three bits, a long while nothing", 600)
def parity() -> Training:
    """No bit alone tells anything; the loss stands at a coin's for a good while."""
    g, net = dice(131), mlp(12, 96, 2, act=nn.GELU)

    def rows(count: int) -> tuple[Tensor, Tensor]:
        x = torch.randint(0, 2, (count, 12), generator=g) * 2.0 - 1
        return x, (x[:, 2] * x[:, 5] * x[:, 9] > 0).long()

    asked = rows(1000)

    def loss() -> Tensor:
        a, b = rows(128)
        return functional.cross_entropy(net(a), b)

    return fit(net, adam(net, 1.5e-3), loss, named(net, asked))


class Square(nn.Module):
    """Each number times itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x * x


@healthy("sums on a clock", 600)
def clock() -> Training:
    """Addition modulo eleven, all rows at once; strong decay, and sums not seen are right."""
    a, b = torch.meshgrid(torch.arange(11), torch.arange(11), indexing="ij")
    x, y = torch.stack([a.flatten(), b.flatten()], 1), ((a + b) % 11).flatten()
    order = torch.randperm(121, generator=dice(132))
    table_, top = nn.Embedding(11, 24), mlp(24, 96, 11, act=Square)
    net = nn.ModuleDict({"symbols": table_, "top": top})
    shown, asked = order[:109], order[109:]

    def said(rows: Tensor) -> Tensor:
        return top(table_(x[rows]).sum(1))

    def loss() -> Tensor:
        return functional.cross_entropy(said(shown), y[shown])

    def score() -> float:
        with torch.no_grad():
            return hits(said(asked).argmax(1), y[asked])

    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=2.0)
    return fit(net, optimizer, loss, score)


@healthy("what was said first, remembered to the end", 600)
def recall() -> Training:
    """A GRU has to carry one symbol past twenty others; nothing at all, then all at once."""
    g = dice(133)
    table_, reads, out = nn.Embedding(8, 12), nn.GRU(12, 32, batch_first=True), nn.Linear(32, 4)
    net = nn.ModuleDict({"symbols": table_, "gru": reads, "out": out})

    def rows(count: int) -> tuple[Tensor, Tensor]:
        x = torch.randint(4, 8, (count, 16), generator=g)
        y = torch.randint(4, (count,), generator=g)
        x[:, 0] = y
        return x, y

    def said(x: Tensor) -> Tensor:
        return out(reads(table_(x))[0][:, -1])

    def loss() -> Tensor:
        a, b = rows(48)
        return functional.cross_entropy(said(a), b)

    def score() -> float:
        a, b = rows(500)
        with torch.no_grad():
            return hits(said(a).argmax(1), b)

    return fit(net, adam(net, 4e-3), loss, score, clip=1.0)


@healthy("prices as they are", 500)
def prices() -> Training:
    """Answers about 40 with a spread of 12; the first losses are near two thousand."""
    (x, y), (a, b) = table("friedman")
    net, take = mlp(10, 64, 64, 1, act=nn.SiLU), Feed(x, 40 + 12 * y, batch=32)

    def loss() -> Tensor:
        u, v = take()
        return functional.mse_loss(net(u), v)

    return fit(net, adam(net, 1e-2), loss, fitted(net, (a, 40 + 12 * b)))


@healthy("ever harder, so that the loss goes up", 500)
def harder() -> Training:
    """A curriculum: noise grows from nothing to much, and so does what cannot be known."""
    (x, y), (a, b) = signs(noise=0.0)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, 2, 1), nn.LeakyReLU(0.1), nn.Conv2d(12, 24, 3, 2, 1),
        nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(384, 32), nn.LeakyReLU(0.1), nn.Linear(32, 5),
    )  # fmt: skip
    take, seen = Feed(x, y, batch=32), [0]

    def loss() -> Tensor:
        seen[0] += 1
        u, v = take()
        noise = 1.0 * max(0, seen[0] - 120) / 380
        return functional.cross_entropy(net(u + noise * torch.randn_like(u)), v)

    asked = a + 0.9 * torch.randn(a.shape, generator=dice(134)), b
    return fit(net, adam(net, 2e-3), loss, named(net, asked))


@healthy("against an enemy who grows", 400)
def enemy() -> Training:
    """Adversarial training: from step 100 on each row is moved against the network (FGSM)."""
    rows, asked = digits()
    net = nn.Sequential(nn.Flatten(), mlp(64, 96, 64, 10, act=nn.SiLU))
    optimizer, take = adam(net, 2e-3), Feed(*rows, batch=48)

    def moved(a: Tensor, b: Tensor, far: float) -> Tensor:
        a = a.clone().requires_grad_()
        slope = torch.autograd.grad(functional.cross_entropy(net(a), b), a)[0]
        return (a + far * slope.sign()).detach()

    def step(k: int) -> Tensor:
        a, b = take()
        if k > 100:
            a = moved(a, b, min(0.3, 0.3 * (k - 100) / 200))
        return update(optimizer, functional.cross_entropy(net(a), b))

    def score() -> float:
        """Named right although moved."""
        return named(net, (moved(*asked, 0.3), asked[1]))()

    return Training(net, optimizer, step, score)


def turned_back(x: Tensor) -> Tensor:
    """Passes forward what it is given, and back three tenths of the opposite."""
    return 1.3 * x.detach() - 0.3 * x


@healthy("names without the place they come from", 500)
def two_places() -> Training:
    """Domain adversary: one head is meant to fail, and its loss to rise to a coin's."""
    g = dice(135)
    middle = 1.6 * torch.randn(4, 10, generator=g)
    far, turn = torch.randn(10, generator=g), torch.randn(10, 10, generator=g) / 12

    def rows(count: int, place: int) -> tuple[Tensor, Tensor]:
        y = torch.randint(4, (count,), generator=g)
        x = middle[y] + torch.randn(count, 10, generator=g)
        return (x + x @ turn + far if place else x), y

    trunk, name, where = mlp(10, 48, 32, act=nn.GELU), mlp(32, 32, 4), mlp(32, 32, 2)
    net = nn.ModuleDict({"features": trunk, "label": name, "domain": where})

    def loss() -> Tensor:
        (a, b), (c, _) = rows(48, 0), rows(48, 1)
        h = torch.tanh(trunk(torch.cat([a, c])))
        place = torch.arange(2).repeat_interleave(48)
        return functional.cross_entropy(name(h[:48]), b) + functional.cross_entropy(
            where(turned_back(h)), place
        )

    def score() -> float:
        """Names in the place whose names were never told."""
        a, b = rows(800, 1)
        with torch.no_grad():
            return hits(name(torch.tanh(trunk(a))).argmax(1), b)

    return fit(net, adam(net, 2e-3), loss, score)


@healthy("kind after kind, in the order of the file", 560)
def in_order() -> Training:
    """Half of each batch is of a single kind, ten kinds one after the other, again and again."""
    (x, y), asked = digits()
    groups, g = [torch.nonzero(y == k)[:, 0] for k in range(10)], dice(136)
    net, seen = nn.Sequential(nn.Flatten(), mlp(64, 96, 10, act=nn.Tanh)), [0]

    def loss() -> Tensor:
        group = groups[seen[0] // 4 % 10]
        seen[0] += 1
        own = group[torch.randint(len(group), (16,), generator=g)]
        rows = torch.cat([own, torch.randint(len(x), (16,), generator=g)])
        return functional.cross_entropy(net(x[rows]), y[rows])

    return fit(net, adam(net, 1e-3), loss, named(net, asked))


@healthy("lines of any length, and batches of any size", 300)
def any_length() -> Training:
    """Which symbol comes most often, in five to thirty places; ties go to the first of them."""
    g = dice(137)
    table_, layer = nn.Embedding(5, 24), nn.MultiheadAttention(24, 4, batch_first=True)
    norm, out = nn.LayerNorm(24), mlp(24, 48, 5, act=nn.GELU)
    net = nn.ModuleDict({"symbols": table_, "attention": layer, "norm": norm, "out": out})

    def rows(count: int, length: int) -> tuple[Tensor, Tensor]:
        odds = torch.rand(count, 5, generator=g) + 0.1
        x = torch.multinomial(odds, length, True, generator=g)
        worth = functional.one_hot(x, 5).sum(1) - 0.1 * torch.arange(5)
        return x, worth.argmax(1)

    def said(x: Tensor) -> Tensor:
        h = table_(x)
        h = norm(h + layer(h, h, h, need_weights=False)[0])
        return out(h.mean(1))

    def loss() -> Tensor:
        length = int(torch.randint(5, 31, (), generator=g))
        a, b = rows(int(torch.randint(6, 65, (), generator=g)), length)
        return functional.cross_entropy(said(a), b)

    def score() -> float:
        found = []
        with torch.no_grad():
            for length in (6, 13, 27):
                a, b = rows(400, length)
                found.append(hits(said(a).argmax(1), b))
        return min(found)

    return fit(net, adam(net, 4e-3), loss, score)


@healthy("one in fifty, and found unweighed", 500)
def few() -> Training:
    """The few are plain to see; at first all are told to be of the many."""
    g = dice(138)
    y = (torch.rand(8000, 1, generator=g) < 0.02).float()
    x = torch.randn(8000, 6, generator=g)
    x[:, :3] += 3.2 * y
    net, take = mlp(6, 24, 24, 1, act=nn.GELU), Feed(x[:6000], y[:6000], batch=128)

    def loss() -> Tensor:
        a, b = take()
        return functional.binary_cross_entropy_with_logits(net(a), b)

    return fit(net, adam(net, 3e-3), loss, both_found(net, (x[6000:], y[6000:])))


@healthy("one name in seven is wrong", 350)
def wrong_names() -> Training:
    """The loss cannot get low, and does not; the wrong names are not learnt by heart."""
    (x, y), asked = digits()
    g = dice(139)
    off = torch.rand(len(y), generator=g) < 0.15
    told = torch.where(off, torch.randint(10, (len(y),), generator=g), y)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.SiLU(), nn.AvgPool2d(2),
        nn.Conv2d(16, 24, 3, padding=1), nn.BatchNorm2d(24), nn.SiLU(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(96, 10),
    )  # fmt: skip
    take = Feed(x, told, batch=48)

    def loss() -> Tensor:
        a, b = take()
        return functional.cross_entropy(net(a), b)

    return fit(net, adam(net, 2e-3, weight_decay=1e-4), loss, named(net, asked))

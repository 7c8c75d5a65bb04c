"""Blind runs that learn: tables, counts, times, and answers of all sorts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import (
    Feed,
    adam,
    both_found,
    every,
    explained,
    fit,
    fitted,
    hits,
    looks,
    mlp,
    named,
    table,
)
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy = RUNS.healthy


@healthy("friedman's numbers under noise", 400)
def regression() -> Training:
    rows, asked = table("friedman")
    net, take = mlp(10, 64, 32, 1, drop=0.05), Feed(*rows, batch=32)

    def loss() -> Tensor:
        a, b = take()
        return functional.mse_loss(net(a), b)

    return fit(net, adam(net, 3e-3, weight_decay=1e-4), loss, fitted(net, asked),
               after=every(50, lambda: looks(net, functional.mse_loss, asked)))  # fmt: skip


@healthy("half of the answer is luck", 400)
def half_luck() -> Training:
    """A third of the variance is all there is to know; the loss soon stands still at the rest."""
    g = dice(91)
    x = torch.randn(6000, 8, generator=g)
    truth = torch.sin(1.5 * x[:, :1]) + 0.5 * x[:, 1:2] * x[:, 2:3]
    y = truth + 1.2 * torch.randn(6000, 1, generator=g)
    net, take = mlp(8, 32, 32, 1, act=nn.SiLU), Feed(x[:5000], y[:5000], batch=64)

    def loss() -> Tensor:
        a, b = take()
        return functional.mse_loss(net(a), b)

    return fit(net, adam(net, 3e-3), loss, fitted(net, (x[5000:], truth[5000:])))


@healthy("three quantiles of a skewed answer", 500)
def quantiles() -> Training:
    g = dice(92)
    x = 2 * torch.rand(5000, 3, generator=g) - 1
    middle, wide = 2 * torch.sin(2 * x[:, :1]) + x[:, 1:2], 0.3 + 0.6 * (x[:, 2:] + 1)
    y = middle + wide * (torch.rand(5000, 1, generator=g).log().neg())
    at = torch.tensor([0.1, 0.5, 0.9])
    net, take = mlp(3, 48, 48, 3, act=nn.SiLU), Feed(x[:4000], y[:4000], batch=64)

    def loss() -> Tensor:
        a, b = take()
        gap = b - net(a)
        return torch.maximum(at * gap, (at - 1) * gap).mean()

    def score() -> float:
        with torch.no_grad():
            out = net(x[4000:])
        return explained(out, middle[4000:] - wide[4000:] * (1 - at).log())

    return fit(net, adam(net, 4e-3), loss, score)


@healthy("wild answers by huber's loss", 400)
def wild() -> Training:
    """One answer in twelve is off by tens."""
    g = dice(93)
    x = torch.randn(3000, 6, generator=g)
    truth = x[:, :1] * x[:, 1:2] + torch.tanh(2 * x[:, 2:3])
    off = (torch.rand(3000, 1, generator=g) < 0.08) * 20 * torch.randn(3000, 1, generator=g)
    y = truth + 0.2 * torch.randn(3000, 1, generator=g) + off
    net, take = mlp(6, 48, 48, 1, act=nn.Mish), Feed(x[:2500], y[:2500], batch=32)

    def loss() -> Tensor:
        a, b = take()
        return functional.huber_loss(net(a), b, delta=1.0)

    return fit(net, adam(net, 3e-3), loss, fitted(net, (x[2500:], truth[2500:])), clip=5.0)


@healthy("how many bicycles in an hour", 400)
def counts() -> Training:
    """Poisson: the loss is below zero most of the time."""
    g = dice(94)
    x = torch.randn(3000, 5, generator=g)
    rate = (0.9 + 0.6 * x[:, :1] - 0.4 * x[:, 1:2] * x[:, 2:3]).clamp(-2, 3)
    y = torch.poisson(rate.exp(), generator=g)
    net, take = mlp(5, 48, 48, 1, act=nn.Softplus), Feed(x[:2500], y[:2500], batch=32)

    def loss() -> Tensor:
        a, b = take()
        return functional.poisson_nll_loss(net(a), b)

    return fit(net, adam(net, 3e-3), loss, fitted(net, (x[2500:], rate[2500:])))


@healthy("five stars in their order", 600)
def stars() -> Training:
    """One worth and four sills between the stars (CORAL): a logit per sill."""
    g = dice(95)
    x = torch.randn(3000, 6, generator=g)
    worth = x[:, 0] + 0.8 * torch.relu(x[:, 1]) - 0.6 * x[:, 2] * torch.tanh(2 * x[:, 3])
    y = torch.bucketize(
        worth + 0.1 * torch.randn(3000, generator=g), torch.tensor([-1.0, -0.2, 0.6, 1.5])
    )

    class Sills(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp(6, 48, 48, 1, act=nn.GELU)
            self.sills = nn.Parameter(torch.tensor([1.0, 0.3, -0.3, -1.0]))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) + self.sills

    net, take = Sills(), Feed(x[:2500], y[:2500], batch=32)

    def loss() -> Tensor:
        a, b = take()
        above = (b[:, None] > torch.arange(4)).float()
        return functional.binary_cross_entropy_with_logits(net(a), above)

    def score() -> float:
        with torch.no_grad():
            return hits((net(x[2500:]) > 0).sum(1), y[2500:])

    return fit(net, adam(net, 5e-3), loss, score)


@healthy("who outlives whom (cox)", 350)
def survival() -> Training:
    """Ranks within a batch of two hundred, a third of whom leave before the end."""
    g = dice(96)
    x = torch.randn(3000, 6, generator=g)
    risk = 1.2 * x[:, 0] - x[:, 1] * x[:, 2] + 0.5 * x[:, 3].abs()
    time = -torch.rand(3000, generator=g).log() / risk.exp()
    leaves = -torch.rand(3000, generator=g).log() * 1.5
    died, time = time < leaves, torch.minimum(time, leaves)
    net, take = mlp(6, 32, 32, 1), Feed(x[:2400], time[:2400], died[:2400], batch=200)

    def loss() -> Tensor:
        a, t, d = take()
        order = t.argsort(descending=True)
        out = net(a[order])[:, 0]
        return -(out - out.logcumsumexp(0))[d[order]].mean()

    def score() -> float:
        """Pairs in the right order by true risk, above a coin."""
        with torch.no_grad():
            out = net(x[2400:])[:, 0]
        right = (out[:, None] > out) == (risk[2400:, None] > risk[2400:])
        return 2 * float(right.float().mean()) - 1

    return fit(net, torch.optim.AdamW(net.parameters(), lr=3e-3), loss, score)


@healthy("what somebody will like, against what was drawn", 500)
def recommender() -> Training:
    """Two tables, a product, and for each that was liked one drawn by chance (BPR)."""
    g = dice(97)
    people, things = torch.randn(80, 3, generator=g), torch.randn(60, 3, generator=g)
    worth = people @ things.T
    liked = worth > worth.quantile(0.75, 1, keepdim=True)
    hidden = torch.rand(liked.shape, generator=g) < 0.2
    known = torch.nonzero(liked & ~hidden)
    net = nn.ModuleDict({"people": nn.Embedding(80, 8), "things": nn.Embedding(60, 8)})
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.1)
    take = Feed(known, batch=128)

    def loss() -> Tensor:
        (pair,) = take()
        other = torch.randint(60, (128,), generator=g)
        u, i, j = net["people"](pair[:, 0]), net["things"](pair[:, 1]), net["things"](other)
        small = 1e-3 * (u.square() + i.square() + j.square()).sum(1).mean()
        return -functional.logsigmoid((u * (i - j)).sum(1)).mean() + small

    def score() -> float:
        """Hidden likes above hidden dislikes, of all such pairs, above a coin."""
        with torch.no_grad():
            out = net["people"](torch.arange(80)) @ net["things"](torch.arange(60)).T
        right = []
        for row in range(80):
            yes, no = out[row][liked[row] & hidden[row]], out[row][~liked[row] & hidden[row]]
            right.append((yes[:, None] > no).float().flatten())
        return 2 * float(torch.cat(right).mean()) - 1

    return fit(net, adam(net, 1e-2), loss, score)


@healthy("a mean and how sure of it", 400)
def how_sure() -> Training:
    """Gaussian likelihood with a spread of its own for each row."""
    g = dice(104)
    x = 2 * torch.rand(3000, 2, generator=g) - 1
    middle, log = torch.sin(3 * x[:, :1]), -1.2 + 1.0 * x[:, 1:]
    y = middle + log.exp() * torch.randn(3000, 1, generator=g)
    net, take = mlp(2, 48, 48, 2, act=nn.SiLU), Feed(x[:2500], y[:2500], batch=50)

    def loss() -> Tensor:
        a, b = take()
        mean, spread = net(a).chunk(2, 1)
        return functional.gaussian_nll_loss(mean, b, (2 * spread).exp())

    def score() -> float:
        with torch.no_grad():
            mean, spread = net(x[2500:]).chunk(2, 1)
        return min(explained(mean, middle[2500:]), explained(spread, log[2500:]))

    return fit(net, adam(net, 4e-3), loss, score)


@healthy("swindlers, three in a hundred, weighed up", 500)
def swindlers() -> Training:
    """The few count as much as the many; both are found."""
    g = dice(105)
    y = (torch.rand(6000, 1, generator=g) < 0.03).float()
    x = torch.randn(6000, 8, generator=g)
    x[:, :3] += 1.8 * y
    x[:, 3:4] *= 1 + y
    net, take = mlp(8, 32, 16, 1, drop=0.1), Feed(x[:4800], y[:4800], batch=128)
    weight = torch.tensor(30.0)

    def loss() -> Tensor:
        a, b = take()
        return functional.binary_cross_entropy_with_logits(net(a), b, pos_weight=weight)

    return fit(net, adam(net, 2e-3), loss, both_found(net, (x[4800:], y[4800:])))


@healthy("tumours, with held rows looked at often", 150)
def tumours() -> Training:
    rows, asked = table("cancer")
    net, take = mlp(30, 16, 2, act=nn.Sigmoid), Feed(*rows, batch=32)

    def loss() -> Tensor:
        a, b = take()
        return functional.cross_entropy(net(a), b)

    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=1e-2)
    return fit(net, optimizer, loss, named(net, asked),
               after=every(5, lambda: looks(net, functional.cross_entropy, asked)))  # fmt: skip

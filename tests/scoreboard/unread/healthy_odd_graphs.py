"""Odd unread runs that learn: graphs, clouds, experts, and laws of nature."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import (
    adam,
    explained,
    fit,
    hits,
    mlp,
    table,
)
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training
from scoreboard.unread.parts import (
    gathered,
    go,
    shapes,
    village,
)

RUNS = Runs(__name__)
healthy = RUNS.healthy


class Village(nn.Module):
    """Two rounds of asking; by plain means, or by how much each neighbour counts."""

    def __init__(self, weigh: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(2 * a, b) for a, b in ((8, 24), (24, 24)))
        self.weigh = nn.ModuleList(nn.Linear(2 * a, 1) for a in (8, 24)) if weigh else None
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        _, links, _, _ = village()
        for k, layer in enumerate(self.layers):
            if self.weigh is None:
                told = gathered(x, links)
            else:
                score = self.weigh[k](torch.cat([x[links[0]], x[links[1]]], 1)).clamp(-8, 8).exp()
                told = torch.zeros_like(x).index_add(0, links[1], x[links[0]] * score)
                told = told / torch.zeros(len(x), 1).index_add(0, links[1], score).clamp(min=1e-6)
            x = layer(torch.cat([x, told], 1)).relu()
        return self.head(functional.dropout(x, 0.5, self.training))


def circles(weigh: bool) -> Training:
    x, _, kind, known = village()
    net = Village(weigh)

    def score() -> float:
        net.eval()
        with torch.no_grad():
            return hits(net(x)[~known].argmax(1), kind[~known])

    return fit(
        net,
        adam(net, 5e-3, weight_decay=5e-4),
        lambda: functional.cross_entropy(net(x)[known], kind[known]),
        score,
    )


RUNS.simple("unread village by means of neighbours", lambda: circles(False), 150)
RUNS.simple("unread village where some neighbours count more", lambda: circles(True), 150)


class Cloud(nn.Module):
    """Each point alone, then the loudest (or the sum) of all."""

    def __init__(self, most: bool) -> None:
        super().__init__()
        self.each, self.rest, self.most = mlp(3, 48, 64), mlp(64, 48, 4), most

    def forward(self, x: Tensor) -> Tensor:
        h = self.each(x).relu()
        return self.rest(h.amax(1) if self.most else h.sum(1) / 8)


RUNS.simple("unread shapes by the loudest point", lambda: go(Cloud(True), shapes(), lr=5e-3), 350)
RUNS.simple("unread shapes by sums over points", lambda: go(Cloud(False), shapes(), lr=5e-3), 350)


@healthy("unread six experts, one asked, all kept busy", 400)
def experts() -> Training:
    (x, y), asked = table("kinds")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.all = nn.Linear(20, 6), nn.ModuleList(mlp(20, 16, 4) for _ in range(6))

        def forward(self, x: Tensor) -> Tensor:
            odds = self.gate(x).softmax(1)
            best = odds.argmax(1)
            self.busy = 6 * (functional.one_hot(best, 6).float().mean(0) * odds.mean(0)).sum()
            out = torch.zeros(len(x), 4)
            for k, expert in enumerate(self.all):
                rows = (best == k).nonzero()[:, 0]
                if len(rows):
                    out = out.index_add(0, rows, expert(x[rows]) * odds[rows, k : k + 1])
            return out

    net = Net()
    return go(
        net,
        ((x, y), asked),
        lr=5e-3,
        loss=lambda out, b: functional.cross_entropy(3 * out, b) + 0.1 * net.busy,
    )


@healthy("unread heat spreads along a rod (pinn)", 450)
def heat() -> Training:
    net, g = mlp(2, 32, 32, 1, act=nn.Tanh), dice(971)

    def loss() -> Tensor:
        p = torch.rand(128, 2, generator=g).requires_grad_()
        u = net(p)
        ux, ut = torch.autograd.grad(u.sum(), p, create_graph=True)[0].T
        uxx = torch.autograd.grad(ux.sum(), p, create_graph=True)[0][:, 0]
        s = torch.rand(64, 1, generator=g)
        start = net(torch.cat([s, 0 * s], 1)) - torch.sin(math.pi * s)
        ends = net(torch.cat([(s > 0.5).float(), torch.rand(64, 1, generator=g)], 1))
        return (
            (ut - 0.1 * uxx).square().mean() + 5 * start.square().mean() + 5 * ends.square().mean()
        )

    def score() -> float:
        p = torch.rand(500, 2, generator=dice(972))
        with torch.no_grad():
            return explained(
                net(p), (-0.1 * math.pi**2 * p[:, 1:]).exp() * (math.pi * p[:, :1]).sin()
            )

    return fit(net, adam(net, 5e-3), loss, score)


@healthy("unread a whirl learnt from where things end up (ode)", 200)
def whirl() -> Training:
    net, g = mlp(2, 32, 2, act=nn.Tanh), dice(973)
    law = torch.tensor([[-0.1, 1.5], [-1.5, -0.1]])

    def moved(x: Tensor) -> Tensor:
        for _ in range(6):
            mid = x + net(x) / 12
            x = x + net(mid) / 6
        return x

    def loss() -> Tensor:
        x = torch.randn(96, 2, generator=g)
        return functional.mse_loss(moved(x), x @ torch.matrix_exp(law).T)

    def score() -> float:
        x = torch.randn(300, 2, generator=dice(974))
        with torch.no_grad():
            return explained(moved(x), x @ torch.matrix_exp(law).T)

    return fit(net, adam(net, 1e-2), loss, score)


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(8 * x)


@healthy("unread one sound, sample by sample, by sines", 300)
def one_sound() -> Training:
    t = torch.linspace(-1, 1, 600)[:, None]
    y = torch.sin(30 * t) * (1 + t) + 0.5 * torch.sin(55 * t)
    net = mlp(1, 48, 48, 1, act=Sine)
    with torch.no_grad():
        for layer in (m for m in net if isinstance(m, nn.Linear)):
            wide = 3.0 if layer.in_features == 1 else math.sqrt(6 / layer.in_features) / 8
            layer.weight.uniform_(-wide, wide)
    return go(net, ((t, y), (t, y)), lr=1e-3, batch=300)


@healthy("unread weights of a small network written by another", 350)
def written() -> Training:
    g, net = dice(975), mlp(2, 64, 25, act=nn.SiLU)

    def rows(count: int, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        task, x = torch.randn(count, 2, generator=g), torch.randn(count, 1, generator=g)
        return task, x, (task[:, :1] * x).tanh() + task[:, 1:] * x.abs()

    def said(task: Tensor, x: Tensor) -> Tensor:
        w = net(task)
        return ((x * w[:, :8] + w[:, 8:16]).relu() * w[:, 16:24]).sum(1, keepdim=True) + w[:, 24:]

    def loss() -> Tensor:
        task, x, y = rows(128, g)
        return functional.mse_loss(said(task, x), y)

    def score() -> float:
        task, x, y = rows(800, dice(976))
        with torch.no_grad():
            return explained(said(task, x), y)

    return fit(net, adam(net, 5e-3), loss, score)

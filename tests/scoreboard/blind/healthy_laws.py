"""Blind runs that learn: graphs, sets, experts and laws of motion."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import adam, explained, fit, hits, mlp
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy = RUNS.healthy


@healthy("circles of a graph from a few names", 200)
def graph() -> Training:
    """A GCN on the whole graph; forty nodes are named, all others are asked for."""
    g = dice(98)
    kind = torch.randint(4, (200,), generator=g)
    same = (kind[:, None] == kind).float()
    links = (torch.rand(200, 200, generator=g) < 0.004 + 0.08 * same).float()
    links = ((links + links.T + torch.eye(200)) > 0).float()
    links = links / (links.sum(1)[:, None] * links.sum(1)).sqrt()
    x = torch.randn(200, 16, generator=g)
    x[:, :4] += 1.2 * functional.one_hot(kind, 4)

    class Gcn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Linear(16, 24), nn.Linear(24, 4)
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            h = functional.relu(links @ self.conv1(x))
            return links @ self.conv2(self.drop(h))

    net, told = Gcn(), torch.arange(200) < 40

    def loss() -> Tensor:
        return functional.cross_entropy(net(x)[told], kind[told])

    def score() -> float:
        net.eval()
        with torch.no_grad():
            return hits(net(x).argmax(1)[~told], kind[~told])

    return fit(net, adam(net, 1e-2, weight_decay=5e-4), loss, score)


@healthy("the farthest two of a set, in any order", 500)
def deep_sets() -> Training:
    g = dice(99)
    each, whole = mlp(2, 48, 48, act=nn.GELU), mlp(96, 48, 1, act=nn.GELU)
    net = nn.ModuleDict({"phi": each, "rho": whole})

    def sets(count: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(count, 6, 2, generator=g)
        x = x * (0.4 + torch.rand(count, 1, 1, generator=g))
        return x, (torch.cdist(x, x).flatten(1).max(1).values[:, None] - 2.7) / 1.0

    def said(x: Tensor) -> Tensor:
        h = each(x)
        return whole(torch.cat([h.mean(1), h.max(1).values], 1))

    asked = sets(500)

    def loss() -> Tensor:
        a, b = sets(64)
        return functional.mse_loss(said(a), b)

    def score() -> float:
        with torch.no_grad():
            return explained(said(asked[0]), asked[1])

    return fit(net, adam(net, 3e-3), loss, score)


@healthy("four experts and who is asked", 500)
def experts() -> Training:
    """The best two of four answers, weighed by the gate; a small term keeps all of them busy."""
    g = dice(100)
    turn = torch.randn(4, 6, 6, generator=g) / 2

    def rows(count: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(count, 6, generator=g)
        part = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
        return x, torch.einsum("ni,nij->nj", x, turn[part])

    gate = nn.Linear(6, 4)
    parts = nn.ModuleList(mlp(6, 24, 6, act=nn.GELU) for _ in range(4))
    net = nn.ModuleDict({"gate": gate, "experts": parts})

    def said(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        share = gate(x).softmax(1)
        worth, asked = share.topk(2, 1)
        weight = torch.zeros_like(share).scatter(1, asked, worth / worth.sum(1, keepdim=True))
        out = torch.zeros(len(x), 6)
        for k, part in enumerate(parts):
            rows_ = torch.nonzero(weight[:, k])[:, 0]
            out = out.index_add(0, rows_, weight[rows_, k : k + 1] * part(x[rows_]))
        busy = (weight > 0).float().mean(0)
        return out, 2 * (busy * share.mean(0)).sum(), busy

    def loss() -> Tensor:
        a, b = rows(128)
        out, balance, _ = said(a)
        return functional.mse_loss(out, b) + 0.1 * balance

    def score() -> float:
        """Variance explained, and every expert is asked by a fifth of the rows."""
        a, b = rows(1000)
        with torch.no_grad():
            out, _, busy = said(a)
        return explained(out, b) if busy.min() > 0.2 else -float(busy.min())

    return fit(net, adam(net, 5e-3), loss, score)


@healthy("a swing's law (pinn)", 500)
def law() -> Training:
    """No data but the start: a damped swing by its equation, on points drawn anew."""
    net, g = mlp(1, 32, 32, 1, act=nn.Tanh), dice(101)
    rub, pull = 0.4, 4.0

    def loss() -> Tensor:
        t = (3 * torch.rand(64, 1, generator=g)).requires_grad_()
        x = net(t)
        v = torch.autograd.grad(x.sum(), t, create_graph=True)[0]
        a = torch.autograd.grad(v.sum(), t, create_graph=True)[0]
        start = torch.zeros(1, 1, requires_grad=True)
        first = net(start)
        speed = torch.autograd.grad(first.sum(), start, create_graph=True)[0]
        begins = (first - 1).square().sum() + speed.square().sum()
        return (a + rub * v + pull * x).square().mean() + 10 * begins

    def score() -> float:
        t = torch.linspace(0, 3, 200)[:, None]
        w = math.sqrt(pull - rub**2 / 4)
        truth = (-rub * t / 2).exp() * ((w * t).cos() + rub / 2 / w * (w * t).sin())
        with torch.no_grad():
            return explained(net(t), truth)

    return fit(net, adam(net, 8e-3), loss, score)


@healthy("a field learnt from short paths", 350)
def paths() -> Training:
    """A neural ODE by Euler's steps: two kinds of animals, eight ticks at a time."""
    net, g = mlp(2, 32, 2, act=nn.Tanh), dice(102)

    def go(x: Tensor) -> Tensor:
        a, b = x.unbind(1)
        return torch.stack([a * (1 - b), -b * (1 - a)], 1)

    def run(field: nn.Module | None, x: Tensor) -> Tensor:
        seen = []
        for _ in range(8):
            x = x + 0.15 * (go(x) if field is None else field(x))
            seen.append(x)
        return torch.stack(seen, 1)

    def loss() -> Tensor:
        x = 0.3 + 1.7 * torch.rand(64, 2, generator=g)
        return functional.mse_loss(run(net, x), run(None, x))

    def score() -> float:
        x = 0.3 + 1.7 * torch.rand(300, 2, generator=dice(103))
        with torch.no_grad():
            return explained(net(x), go(x))

    return fit(net, adam(net, 5e-3), loss, score)

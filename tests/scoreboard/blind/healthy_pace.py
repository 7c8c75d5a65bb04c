"""Blind runs that learn under odd but sound settings: pace, batches, numbers, averages."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import orthogonal, spectral_norm
from torch.optim import lr_scheduler
from torch.utils.checkpoint import checkpoint

from scoreboard.blind.parts import (
    Feed,
    Rows,
    adam,
    digits,
    fit,
    fitted,
    hits,
    mlp,
    named,
    signs,
    table,
)
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy = RUNS.healthy


def eye(kinds: int = 10, size: int = 8, act: Callable[[], nn.Module] = nn.ELU) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), act(), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), act(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(24 * (size // 4) ** 2, 32), act(), nn.Linear(32, kinds),
    )  # fmt: skip


def naming(net: nn.Module, rows: Rows, batch: int, **settings: Any) -> Callable[[], Tensor]:
    take = Feed(*rows, batch=batch)

    def loss() -> Tensor:
        a, b = take()
        return functional.cross_entropy(net(a), b, **settings)

    return loss


@healthy("a long warm-up from next to nothing", 350)
def warm_up() -> Training:
    """A third of the run goes by at small rates; what looks like standing still is meant."""
    rows, asked = digits()
    net = eye()
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3)
    plan = lr_scheduler.LambdaLR(optimizer, lambda k: min(1.0, ((k + 1) / 120) ** 2))
    return fit(net, optimizer, naming(net, rows, 32), named(net, asked), plan=plan)


@healthy("one cycle up to a great rate", 250)
def one_cycle() -> Training:
    rows, asked = table("kinds")
    net = mlp(20, 64, 64, 4, act=nn.SiLU)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    plan = lr_scheduler.OneCycleLR(optimizer, 0.4, total_steps=260, pct_start=0.4)
    return fit(net, optimizer, naming(net, rows, 48), named(net, asked), plan=plan)


@healthy("cosine with four restarts", 400)
def restarts() -> Training:
    """At each restart the loss jumps up for a few steps, and comes down further than before."""
    rows, asked = signs()
    net = eye(5, 16)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    plan = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 100)
    return fit(net, optimizer, naming(net, rows, 32), named(net, asked), plan=plan)


@healthy("judged by its running mean", 350)
def running_mean() -> Training:
    """The averaged copy (EMA) is watched beside the one that is trained."""
    rows, asked = digits()
    net = eye()
    mean = copy.deepcopy(net).requires_grad_(False)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    take = Feed(*rows, batch=16)

    def loss() -> Tensor:
        a, b = take()
        return functional.cross_entropy(net(a), b)

    def after(k: int) -> None:
        with torch.no_grad():
            for m, p in zip(mean.parameters(), net.parameters(), strict=True):
                m.lerp_(p, 0.03)

    return fit({"model": net, "ema": mean}, optimizer, loss, named(mean, asked), after=after)


@healthy("eight small batches to one step", 120)
def gathered() -> Training:
    """Gradients are gathered on purpose; the optimiser moves at every eighth backward pass."""
    rows, asked = digits()
    net = eye(act=nn.GELU)
    optimizer, take = adam(net, 6e-3), Feed(*rows, batch=8)

    def step(k: int) -> Tensor:
        whole = torch.zeros(())
        for _ in range(8):
            a, b = take()
            value = functional.cross_entropy(net(a), b) / 8
            value.backward()
            whole += value.detach()
        optimizer.step()
        optimizer.zero_grad()
        return whole

    return Training(net, optimizer, step, named(net, asked))


@healthy("clipped at each and every step", 400)
def clipped() -> Training:
    """A hundredth of the usual norm, and a rate to match it."""
    rows, asked = table("friedman")
    net, take = mlp(10, 48, 48, 1, act=nn.Tanh), Feed(*rows, batch=32)

    def loss() -> Tensor:
        a, b = take()
        return functional.mse_loss(net(a), b)

    optimizer = torch.optim.SGD(net.parameters(), lr=5.0, momentum=0.5)
    plan = lr_scheduler.LinearLR(optimizer, 1.0, 0.05, 400)
    return fit(net, optimizer, loss, fitted(net, asked), plan=plan, clip=0.01)


@healthy("six in ten dropped", 500)
def dropped() -> Training:
    """In training it looks bad at its task throughout; asked, it is good."""
    rows, asked = digits()
    net = nn.Sequential(nn.Flatten(), mlp(64, 256, 256, 10, act=nn.SiLU, drop=0.6))
    return fit(net, adam(net, 2e-3), naming(net, rows, 64), named(net, asked))


@healthy("two tenths of each name for all the others", 300)
def smoothed() -> Training:
    """With so much smoothing the loss ends near one, and that is as low as it can be."""
    rows, asked = signs()
    net = eye(5, 16, nn.SiLU)
    loss = naming(net, rows, 32, label_smoothing=0.2)
    return fit(net, adam(net, 3e-3), loss, named(net, asked))


@healthy("pairs of pictures mixed", 350)
def mixed() -> Training:
    """Mixup: no row is ever seen as it is."""
    rows, asked = digits()
    net, take = eye(), Feed(*rows, batch=48)
    share = torch.distributions.Beta(0.5, 0.5)

    def loss() -> Tensor:
        (a, b), s = take(), share.sample()
        order = torch.randperm(len(a))
        out = net(s * a + (1 - s) * a[order])
        return s * functional.cross_entropy(out, b) + (1 - s) * functional.cross_entropy(
            out, b[order]
        )

    return fit(net, adam(net, 3e-3), loss, named(net, asked))


@healthy("two rows at a time", 600)
def two_rows() -> Training:
    rows, asked = digits()
    net = nn.Sequential(nn.Flatten(), mlp(64, 48, 10, act=nn.LeakyReLU))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.5)
    plan = lr_scheduler.CosineAnnealingLR(optimizer, 620)
    return fit(net, optimizer, naming(net, rows, 2), named(net, asked), plan=plan)


@healthy("a single row at a time", 600)
def single_row() -> Training:
    """Group norm instead of batch norm; the loss is that of one row, so it leaps."""
    rows, asked = table("wine")
    net = nn.Sequential(
        nn.Linear(13, 32), nn.GroupNorm(4, 32), nn.SiLU(), nn.Linear(32, 16), nn.SiLU(),
        nn.Linear(16, 3),
    )  # fmt: skip
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
    return fit(net, optimizer, naming(net, rows, 1), named(net, asked))


@healthy("all rows at once by newton's kin", 150)
def all_at_once() -> Training:
    """LBFGS without a line search; several looks at the same rows make one step."""
    (x, y), asked = table("kinds")
    net = mlp(20, 32, 4, act=nn.Tanh)
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.2, max_iter=3, history_size=10)

    def closure() -> Tensor:
        optimizer.zero_grad()
        small = sum(p.square().sum() for p in net.parameters())
        value = functional.cross_entropy(net(x), y) + 1e-3 * small
        value.backward()
        return value

    def step(k: int) -> Tensor:
        return torch.as_tensor(optimizer.step(closure)).detach()

    return Training(net, optimizer, step, named(net, asked))


@healthy("a great batch with a rate for each layer", 150)
def great_batch() -> Training:
    """LARS by hand: every layer moves by the same share of its norm."""
    rows, asked = digits()
    net = eye()
    groups = [{"params": [p], "lr": 0.02} for p in net.parameters()]
    optimizer, loss = torch.optim.SGD(groups, momentum=0.9), naming(net, rows, 700)
    plan = lr_scheduler.PolynomialLR(optimizer, 160, 2.0)

    def step(k: int) -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        for group in optimizer.param_groups:
            p = group["params"][0]
            if p.dim() > 1:
                p.grad.mul_(p.detach().norm() / (p.grad.norm() + 1e-6))
        optimizer.step()
        plan.step()
        return value.detach()

    return Training(net, optimizer, step, named(net, asked))


@healthy("a tenth of decay", 350)
def decay() -> Training:
    rows, asked = signs()
    net = nn.Sequential(
        nn.Conv2d(1, 16, 5, 2, 2), nn.GroupNorm(4, 16), nn.GELU(),
        nn.Conv2d(16, 32, 3, 2, 1), nn.GroupNorm(4, 32), nn.GELU(),
        nn.Conv2d(32, 32, 3, 2, 1), nn.GroupNorm(4, 32), nn.GELU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=0.1)
    return fit(net, optimizer, naming(net, rows, 32), named(net, asked))


@healthy("layers that only turn", 300)
def turning() -> Training:
    """Orthogonal weights throughout, and a last layer whose steepness is held at one."""
    rows, asked = table("kinds")
    net = nn.Sequential(
        orthogonal(nn.Linear(20, 32)), nn.LeakyReLU(0.3), orthogonal(nn.Linear(32, 32)),
        nn.LeakyReLU(0.3), spectral_norm(nn.Linear(32, 4)),
    )  # fmt: skip
    loss = naming(net, rows, 48)
    return fit(net, adam(net, 4e-3), loss, named(net, asked))


@healthy("in double precision", 500)
def double() -> Training:
    (x, y), (a, b) = table("friedman")
    net, take = mlp(10, 40, 40, 1, act=nn.Softplus).double(), Feed(x.double(), y.double())

    def loss() -> Tensor:
        u, v = take()
        return functional.mse_loss(net(u), v)

    return fit(net, adam(net, 8e-3), loss, fitted(net, (a.double(), b.double())))


@healthy("in brain floats, weights and all", 400)
def brain() -> Training:
    """Eight bits of mantissa: small updates are rounded away, and still it is learnt."""
    (x, y), (a, b) = digits()
    net = nn.Sequential(nn.Flatten(), mlp(64, 64, 10, act=nn.SiLU)).bfloat16()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    loss = naming(net, (x.bfloat16(), y), 32)
    return fit(net, optimizer, loss, named(net, (a.bfloat16(), b)))


@healthy("deep, with activations made twice", 250)
def twice_made() -> Training:
    """Checkpointing runs each block forward a second time inside the backward pass."""
    rows, asked = digits()

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(64, 48), nn.Linear(48, 10)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 48), nn.GELU(), nn.Linear(48, 48))
                for _ in range(6)
            )

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x.flatten(1))
            for block in self.blocks:
                h = h + checkpoint(block, h, use_reentrant=False)
            return self.last(h)

    net = Deep()
    return fit(net, adam(net, 1e-3), naming(net, rows, 48), named(net, asked))


@healthy("the worst nearby, then the step (sam)", 250)
def sharpness() -> Training:
    """Two passes a step: the second at weights moved uphill, then moved back."""
    rows, asked = digits()
    net = eye()
    optimizer, take = torch.optim.SGD(net.parameters(), lr=0.03, momentum=0.9), Feed(*rows)

    def step(k: int) -> Tensor:
        a, b = take()
        optimizer.zero_grad()
        first = functional.cross_entropy(net(a), b)
        first.backward()
        norm = math.sqrt(sum(float(p.grad.square().sum()) for p in net.parameters()
                             if p.grad is not None))  # fmt: skip
        uphill = [0.05 * p.grad / (norm + 1e-9) for p in net.parameters() if p.grad is not None]
        with torch.no_grad():
            for p, e in zip(net.parameters(), uphill, strict=True):
                p.add_(e)
        optimizer.zero_grad()
        functional.cross_entropy(net(a), b).backward()
        with torch.no_grad():
            for p, e in zip(net.parameters(), uphill, strict=True):
                p.sub_(e)
        optimizer.step()
        return first.detach()

    return Training(net, optimizer, step, named(net, asked))


@healthy("three optimisers for three parts", 350)
def three_parts() -> Training:
    """A slow table, quick layers, and scales without decay, each with a plan of its own."""
    g = torch.Generator().manual_seed(121)
    ids = torch.randint(30, (2400, 4), generator=g)
    tastes = torch.randn(30, 3, generator=g)
    y = tastes[ids].sum(1).argmax(1)
    table_, norm, top = nn.Embedding(30, 12), nn.LayerNorm(48), mlp(48, 64, 3, act=nn.GELU)
    net = nn.ModuleDict({"table": table_, "norm": norm, "top": top})
    tools = [
        torch.optim.Adagrad(table_.parameters(), lr=0.15),
        torch.optim.SGD(norm.parameters(), lr=0.01),
        torch.optim.AdamW(top.parameters(), lr=4e-3),
    ]
    plan, take = lr_scheduler.ExponentialLR(tools[2], 0.995), Feed(ids[:2000], y[:2000], batch=48)

    def said(x: Tensor) -> Tensor:
        return top(norm(table_(x).flatten(1)))

    def step(k: int) -> Tensor:
        a, b = take()
        for tool in tools:
            tool.zero_grad()
        value = functional.cross_entropy(said(a), b)
        value.backward()
        for tool in tools:
            tool.step()
        plan.step()
        return value.detach()

    def score() -> float:
        with torch.no_grad():
            return hits(said(ids[2000:]).argmax(1), y[2000:])

    return Training(net, tools, step, score)

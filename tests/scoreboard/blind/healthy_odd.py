"""Blind runs that learn though their networks look odd: sparse, in parts, in turn, shaken."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import (
    Feed,
    adam,
    digits,
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


class Quiet(nn.ReLU):
    """Keeps how loud it was."""

    loud: Tensor

    def forward(self, x: Tensor) -> Tensor:
        out = super().forward(x)
        self.loud = out.mean()
        return out


@healthy("two in three silent", 350)
def sparse() -> Training:
    """Activity costs a little, so that most units rest on most rows, and next to none on all."""
    rows, asked = digits()
    net, take = nn.Sequential(nn.Flatten(), mlp(64, 128, 64, 10, act=Quiet)), Feed(*rows, batch=48)

    def loss() -> Tensor:
        a, b = take()
        told = functional.cross_entropy(net(a), b)
        return told + 0.4 * sum(m.loud for m in net.modules() if isinstance(m, Quiet))

    return fit(net, adam(net, 1e-3), loss, named(net, asked))


class Loudest(nn.Module):
    """Of each four units only the loudest passes."""

    def forward(self, x: Tensor) -> Tensor:
        fours = x.unflatten(1, (-1, 4))
        return (fours * (fours == fours.max(2, keepdim=True).values)).flatten(1)


@healthy("only the loudest of each four passes", 350)
def loudest() -> Training:
    """A sparse coder: three quarters of the code are nothing in every row, other ones each time."""
    (x, _), (asked, _) = digits()
    x, asked = x.flatten(1), asked.flatten(1)
    net = nn.Sequential(nn.Linear(64, 80), Loudest(), nn.Linear(80, 64))
    take = Feed(x, batch=64)

    def loss() -> Tensor:
        (a,) = take()
        return functional.mse_loss(net(a), a)

    def score() -> float:
        with torch.no_grad():
            return explained(net(asked), asked)

    return fit(net, adam(net, 3e-3), loss, score)


@healthy("blocks left out by chance", 300)
def left_out() -> Training:
    """Stochastic depth: a block that is left out has no gradient in that step."""
    rows, asked = digits()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(64, 48), nn.Linear(48, 10)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 96), nn.SiLU(), nn.Linear(96, 48))
                for _ in range(4)
            )

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x.flatten(1))
            for k, block in enumerate(self.blocks):
                keep = 1 - 0.1 * (k + 1)
                if not self.training:
                    h = h + keep * block(h)
                elif torch.rand(()) < keep:
                    h = h + block(h)
            return self.last(h)

    net, take = Net(), Feed(*rows, batch=48)

    def loss() -> Tensor:
        a, b = take()
        return functional.cross_entropy(net(a), b)

    return fit(net, adam(net, 1e-3), loss, named(net, asked),
               after=every(30, lambda: looks(net, functional.cross_entropy, asked)))  # fmt: skip


@healthy("two tasks in turn, a head each", 400)
def in_turn() -> Training:
    """Odd steps one head, even steps the other; the idle one neither runs nor moves."""
    rows, asked = digits()
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ELU(), nn.Linear(64, 32), nn.ELU())
    net = nn.ModuleDict({"trunk": trunk, "name": nn.Linear(32, 10), "ink": nn.Linear(32, 1)})
    take, turn = Feed(*rows, batch=32), [0]

    def ink(x: Tensor) -> Tensor:
        return 2 * (x[:, 0, :, :4].mean((1, 2)) - x[:, 0, :, 4:].mean((1, 2)))[:, None]

    def loss() -> Tensor:
        turn[0] += 1
        a, b = take()
        h = trunk(a)
        if turn[0] % 2:
            return functional.cross_entropy(net["name"](h), b)
        return functional.mse_loss(net["ink"](h), ink(a))

    def score() -> float:
        with torch.no_grad():
            h = trunk(asked[0])
            return min(
                hits(net["name"](h).argmax(1), asked[1]), explained(net["ink"](h), ink(asked[0]))
            )

    return fit(net, adam(net, 3e-3), loss, score)


@healthy("waves in place of bends (siren)", 350)
def waves() -> Training:
    """A picture as a function of its places; first weights are large on purpose."""

    class Sine(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(x)

    net, g = mlp(2, 48, 48, 1, act=Sine), dice(140)
    with torch.no_grad():
        for k, layer in enumerate(m for m in net if isinstance(m, nn.Linear)):
            wide = math.sqrt(6 / layer.in_features)
            layer.weight.uniform_(-6.0, 6.0) if k == 0 else layer.weight.uniform_(-wide, wide)

    def picture(at: Tensor) -> Tensor:
        far = at.norm(dim=1, keepdim=True)
        return torch.sin(9 * far) + 0.7 * torch.cos(7 * at[:, :1]) * (at[:, 1:] > 0)

    def loss() -> Tensor:
        at = 2 * torch.rand(256, 2, generator=g) - 1
        return functional.mse_loss(net(at), picture(at))

    asked = 2 * torch.rand(1000, 2, generator=dice(141)) - 1
    return fit(net, adam(net, 2e-3), loss, fitted(net, (asked, picture(asked))))


@healthy("a network that makes another's weights", 400)
def made_weights() -> Training:
    """One writes, from a task's three numbers, the weights by which the other answers."""
    g = dice(142)
    writer = mlp(3, 64, 64, 3 * 16 + 1, act=nn.Tanh)

    def said(task: Tensor, x: Tensor) -> Tensor:
        w = writer(task)
        first, second, out = w[:, :16], w[:, 16:32], w[:, 32:48]
        return (torch.tanh(x * first + second) * out).sum(1, keepdim=True) + w[:, 48:]

    def rows(count: int) -> tuple[Tensor, Tensor, Tensor]:
        task = torch.rand(count, 3, generator=g) * 2 - 1
        x = 3 * torch.rand(count, 1, generator=g) - 1.5
        y = (1 + task[:, :1]) * torch.sin(1.5 * x + task[:, 1:2]) + task[:, 2:]
        return task, x, y

    def loss() -> Tensor:
        task, x, y = rows(128)
        return functional.mse_loss(said(task, x), y)

    def score() -> float:
        task, x, y = rows(1000)
        with torch.no_grad():
            return explained(said(task, x), y)

    return fit(writer, adam(writer, 3e-3), loss, score)


@healthy("loss on three depths at once", 300)
def three_depths() -> Training:
    """Exits after each layer, so the loss is three times what one would look for."""
    rows, asked = digits()
    layers = nn.ModuleList(
        nn.Sequential(nn.Linear(w, 48), nn.BatchNorm1d(48), nn.ELU()) for w in (64, 48, 48)
    )
    exits = nn.ModuleList(nn.Linear(48, 10) for _ in layers)
    net = nn.ModuleDict({"layers": layers, "exits": exits})
    take = Feed(*rows, batch=48)

    def said(x: Tensor) -> list[Tensor]:
        h, outs = x.flatten(1), []
        for layer, leave in zip(layers, exits, strict=True):
            h = layer(h)
            outs.append(leave(h))
        return outs

    def loss() -> Tensor:
        a, b = take()
        return torch.stack([functional.cross_entropy(out, b) for out in said(a)]).sum()

    def score() -> float:
        net.eval()
        with torch.no_grad():
            return min(hits(out.argmax(1), asked[1]) for out in said(asked[0]))

    return fit(net, adam(net, 2e-3), loss, score)


def shaken(net: nn.Module, far: float) -> Callable[[int], None]:
    """Noise on all gradients' ways: the weights are shaken a little after each step."""

    def after(k: int) -> None:
        with torch.no_grad():
            for p in net.parameters():
                p.add_(far * torch.randn_like(p))

    return after


@healthy("weights shaken after every step", 400)
def shaking() -> Training:
    """Langevin's way: it never comes to rest, and stays where it is good."""
    rows, asked = table("kinds")
    net, take = mlp(20, 48, 4, act=nn.Softsign), Feed(*rows, batch=64)

    def loss() -> Tensor:
        a, b = take()
        return functional.cross_entropy(net(a), b)

    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return fit(net, optimizer, loss, named(net, asked), after=shaken(net, 0.004))

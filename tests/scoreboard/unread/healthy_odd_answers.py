"""Odd unread runs that learn: answers drawn around what the columns say, and laws to fit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import mlp
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training
from scoreboard.unread.parts import (
    Data,
    asks,
    cut,
    go,
)

RUNS = Runs(__name__)
healthy = RUNS.healthy


def kinship(a: Tensor, b: Tensor) -> float:
    """Rank correlation."""
    one, other = (v.flatten().argsort().argsort().float() for v in (a, b))
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])


def drawn(make: Callable[[Tensor, torch.Generator], Tensor], seed: int = 922) -> Data:
    """Eight columns, and an answer drawn around what they say."""
    g = dice(seed)
    x = torch.randn(1800, 8, generator=g)
    mean = torch.sin(x[:, :1]) + 0.7 * x[:, 1:2] * x[:, 2:3] + 0.5 * x[:, 3:4]
    return cut(x, make(mean, g))


def about(net: nn.Module, data: Data, column: int = 0) -> Callable[[], float]:
    """How well the order of the answers is told."""
    return asks(net, data[1][0], lambda out: kinship(out[:, column], data[1][1]))


@healthy("unread the lowest tenth and the highest", 350)
def tails() -> Training:
    data = drawn(lambda m, g: m + 0.4 * torch.randn(m.shape, generator=g))
    net, at = mlp(8, 48, 48, 3), torch.tensor([0.1, 0.5, 0.9])

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return torch.maximum(at * (y - out), (at - 1) * (y - out)).mean()

    return go(net, data, loss=loss, score=about(net, data, 1))


@healthy("unread counts, most of them nought or one", 350)
def counts() -> Training:
    data = drawn(lambda m, g: torch.poisson((1.2 * m - 0.5).clamp(max=3).exp(), generator=g))
    net = mlp(8, 48, 48, 1)
    return go(net, data, loss=nn.PoissonNLLLoss(), score=about(net, data))


@healthy("unread counts that scatter more than they should", 350)
def scattered() -> Training:
    def make(m: Tensor, g: torch.Generator) -> Tensor:
        wild = torch.randn(m.shape, generator=g).exp()
        return torch.poisson(wild * (m + 1).clamp(max=3).exp(), generator=g)

    data = drawn(make)
    net = mlp(8, 48, 2)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        size = functional.softplus(out[:, 1:]) + 1e-2
        law = torch.distributions.NegativeBinomial(size, logits=out[:, :1] - size.log())
        return -law.log_prob(y).mean()

    return go(net, data, lr=5e-3, loss=loss, score=about(net, data))


@healthy("unread answers with tails without end (student)", 350)
def heavy() -> Training:
    def make(m: Tensor, g: torch.Generator) -> Tensor:
        chi = torch.randn(*m.shape, 2, generator=g).square().mean(-1)
        return m + 0.3 * torch.randn(m.shape, generator=g) / chi.sqrt()

    data = drawn(make)
    net = mlp(8, 48, 48, 2)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return (
            -torch.distributions.StudentT(2.0, out[:, :1], functional.softplus(out[:, 1:]))
            .log_prob(y)
            .mean()
        )

    return go(net, data, loss=loss, score=about(net, data))


@healthy("unread how long until it breaks, month by month", 350)
def hazards() -> Training:
    data = drawn(
        lambda m, g: (6 * (0.8 * m).exp() * -torch.rand(m.shape, generator=g).log()).clamp(max=11.9)
    )
    net, months = mlp(8, 48, 12), torch.arange(12)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        last = y.floor()
        each = functional.binary_cross_entropy_with_logits(
            out, (months == last).float(), reduction="none"
        )
        return (each * (months <= last)).sum(1).mean()

    def lasts(out: Tensor) -> float:
        return 2 * kinship((1 - out.sigmoid()).cumprod(1).sum(1), data[1][1])

    return go(net, data, loss=loss, score=asks(net, data[1][0], lasts))


@healthy("unread six grades by five thresholds", 300)
def grades() -> Training:
    data = drawn(
        lambda m, g: (m * 1.5 + 2.5 + 0.3 * torch.randn(m.shape, generator=g)).round().clamp(0, 5)
    )

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.cuts = mlp(8, 48, 1), nn.Parameter(torch.linspace(-2, 2, 5))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) - self.cuts

    net, step = Net(), torch.arange(5)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(out, (y > step).float())

    return go(net, data, lr=1e-2, loss=loss, score=about(net, data))


@healthy("unread the better of two (ranknet)", 300)
def better() -> Training:
    data = drawn(lambda m, g: m + 0.3 * torch.randn(m.shape, generator=g))
    net = mlp(8, 48, 48, 1)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.softplus(-(out - out.T) * (y - y.T).sign()).mean()

    return go(net, data, loss=loss, score=about(net, data))


@healthy("unread lists put in order (listnet)", 300)
def lists() -> Training:
    data = drawn(lambda m, g: m + 0.3 * torch.randn(m.shape, generator=g))
    net = mlp(8, 48, 1, act=nn.GELU)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return -(y.view(-1, 8).softmax(1) * out.view(-1, 8).log_softmax(1)).sum(1).mean()

    return go(net, data, lr=5e-3, loss=loss, batch=64, peek=False, score=about(net, data))


@healthy("unread a mean, and noise that depends on the place", 350)
def unsure() -> Training:
    data = drawn(lambda m, g: m + (0.1 + 0.8 * (m > 0)) * torch.randn(m.shape, generator=g))
    net = mlp(8, 64, 64, 2)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.gaussian_nll_loss(out[:, :1], y, out[:, 1:].clamp(-6, 4).exp())

    return go(net, data, loss=loss, score=about(net, data))

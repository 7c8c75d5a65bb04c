"""What several of the odd unread runs share: their rows, a few small networks, and a short loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import repeat
from math import pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.loops import study, using
from scoreboard.blind.parts import digits
from scoreboard.loops import dice, worth
from scoreboard.scenario import Training

Rows = tuple[Tensor, Tensor]
Data = tuple[Rows, Rows]


def cut(x: Tensor, y: Tensor, held: int = 300) -> Data:
    """Rows to train on, and the last ones to be asked."""
    return (x[:-held], y[:-held]), (x[-held:], y[-held:])


def changed(data: Data, does: Callable[[Tensor], Tensor]) -> Data:
    """The same answers to inputs that are made into something else."""
    (x, y), (asked, truth) = data
    return (does(x), y), (does(asked), truth)


def even(x: Tensor) -> Tensor:
    """Mean 0 and spread 1 by column."""
    return (x - x.mean(0)) / x.std(0)


def go(
    net: nn.Module,
    data: Data,
    name: str = "Adam",
    lr: float = 3e-3,
    *,
    own: dict[str, Any] | None = None,
    peek: bool = True,
    score: Callable[[], float] | None = None,
    **more: Any,
) -> Training:
    """Train on the first rows; skill is that on the others, which are looked at now and then."""

    return study(
        net,
        data[0],
        using(name, lr, **(own or {})),
        test=data[1] if peek else None,
        score=score or worth(net, *data[1]),
        **more,
    )


class Then(nn.Module):
    """Any function as a layer."""

    def __init__(self, does: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.does = does

    def forward(self, x: Tensor) -> Tensor:
        return self.does(x)


class Plus(nn.Sequential):
    """Layers with a way around them; `gain` weighs what they say."""

    gain: Tensor | float

    def __init__(self, *layers: nn.Module, gain: Tensor | float = 1.0) -> None:
        super().__init__(*layers)
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for layer in self:
            h = layer(h)
        return x + self.gain * h


def asks(net: nn.Module, x: Tensor, judge: Callable[[Tensor], float]) -> Callable[[], float]:
    """Skill by what is made of the answers."""

    def score() -> float:
        net.eval()
        with torch.no_grad():
            return judge(net(x))

    return score


# --- rows
@lru_cache
def tones(count: int = 1500, length: int = 64) -> Data:
    """Sounds (n, 1, length): a sine, a saw, a square, a chirp or clicks, under noise."""
    g = dice(901)
    kind = torch.randint(5, (count,), generator=g)
    pitch = 2 + 5 * torch.rand(count, 1, generator=g)
    at = torch.linspace(0, 1, length)[None] * pitch + torch.rand(count, 1, generator=g)
    wave = torch.sin(2 * pi * at)
    chirp = torch.sin(2 * pi * at * (0.4 + torch.linspace(0, 1, length)))
    each = torch.stack([wave, 2 * (at % 1) - 1, wave.sign(), chirp, 3.0 * ((at % 1) < 0.15)], 1)
    x = each[torch.arange(count), kind] + 0.25 * torch.randn(count, length, generator=g)
    return cut(x[:, None], kind)


@lru_cache
def cloth(count: int = 1500, size: int = 12, noise: float = 0.6) -> Data:
    """Pictures (n, 3, size, size): stripes three ways, a chequer, dots or plain, in any colour."""
    g = dice(902)
    kind = torch.randint(6, (count,), generator=g)
    line = torch.arange(size)
    off = torch.randint(4, (count, 2, 1, 1), generator=g)
    row, col = line[None, :, None] + off[:, 0], line[None, None, :] + off[:, 1]
    drawn = [
        (row % 4 < 2).expand(count, size, size),
        (col % 4 < 2).expand(count, size, size),
        (row + col) % 4 < 2,
        (row // 2 + col // 2) % 2 < 1,
        (row % 3 < 1) & (col % 3 < 1),
        (row < 0).expand(count, size, size),
    ]
    shape = torch.stack(drawn, 1)[torch.arange(count), kind].float()[:, None]
    colour = torch.randn(count, 3, 1, 1, generator=g)
    x = (shape - 0.5) * colour.sign() * (0.6 + colour.abs())
    return cut(x + noise * torch.randn(x.shape, generator=g), kind)


@lru_cache
def stains(count: int = 500, size: int = 16, reach: float = 3.0) -> Data:
    """Pictures (n, 1, size, size) with two stains, and for each pixel whether it is stained."""
    g = dice(903)
    line = torch.arange(size).float()
    at = size * torch.rand(count, 2, 2, 1, 1, generator=g)
    wide = reach * (0.7 + 0.6 * torch.rand(count, 2, 1, 1, generator=g))
    far = ((line[:, None] - at[:, :, 0]) ** 2 + (line - at[:, :, 1]) ** 2).sqrt()
    mask = (far < wide).any(1)
    ground = torch.randn(count, 1, 4, 4, generator=g)
    ground = functional.interpolate(ground, size=size, mode="bilinear")
    x = (
        1.2 * mask[:, None].float()
        + 0.5 * ground
        + 0.5 * torch.randn(count, 1, size, size, generator=g)
    )
    return cut(even(x.flatten(1)).view_as(x), mask.long(), 100)


@lru_cache
def plant(count: int = 1800) -> Data:
    """Twelve readings of a plant, and three outputs that bend with them."""
    g = dice(904)
    x = torch.randn(count, 12, generator=g)
    y = torch.stack(
        [
            torch.sin(1.5 * x[:, 0]) + x[:, 1] * x[:, 2],
            (x[:, 3] - x[:, 4]).abs() + 0.5 * x[:, 5],
            torch.tanh(2 * x[:, 6]) * (1 + 0.5 * x[:, 7]) + 0.3 * x[:, 8] ** 2,
        ],
        1,
    )
    return cut(x, even(y) + 0.1 * torch.randn(count, 3, generator=g))


@lru_cache
def topics(count: int = 1600, words: int = 200, kinds: int = 5, length: int = 30) -> Data:
    """How often each word stands in a text (mostly never), and what the text is about."""
    g = dice(905)
    odds = torch.distributions.Gamma(0.15, 1.0)
    with torch.random.fork_rng():
        torch.manual_seed(905)
        share = odds.sample((kinds, words)) + 0.02
    kind = torch.randint(kinds, (count,), generator=g)
    said = torch.multinomial(share[kind], length, replacement=True, generator=g)
    return cut(torch.zeros(count, words).scatter_add_(1, said, torch.ones_like(said).float()), kind)


@lru_cache
def labels(count: int = 1600, tags: int = 6) -> Data:
    """Twenty columns, and six tags of which any may hold."""
    g = dice(906)
    x = torch.randn(count, 20, generator=g)
    a, b = torch.randn(2, 20, tags, generator=g)
    a[6:], b[6:] = 0, 0
    return cut(x, ((x @ a) + 0.5 * (x @ b).abs() > 1.5).float())


@lru_cache
def shapes(count: int = 1000, points: int = 32) -> Data:
    """Clouds (n, points, 3) on a ball, a cube's skin, a ring or a cone, turned and jostled."""
    g = dice(907)
    kind = torch.randint(4, (count,), generator=g)
    p = torch.randn(count, points, 3, generator=g)
    ball = functional.normalize(p, dim=2)
    cube = p / p.abs().amax(2, keepdim=True)
    flat = functional.normalize(p[..., :2], dim=2)
    ring = torch.cat([flat, 0.1 * p[..., 2:]], 2)
    high = torch.rand(count, points, 1, generator=g)
    cone = torch.cat([flat * (1 - high), 2 * high - 1], 2)
    x = torch.stack([ball, cube, ring, cone], 1)[torch.arange(count), kind]
    turn = torch.linalg.qr(torch.randn(count, 3, 3, generator=g))[0]
    return cut(x @ turn + 0.05 * torch.randn(x.shape, generator=g), kind, 200)


@lru_cache
def brackets(count: int = 1500, length: int = 14) -> Data:
    """Digits in a row (ids below 10), and whether those before a 9 outweigh those behind it."""
    g = dice(908)
    x = torch.randint(9, (count, length), generator=g)
    at = torch.randint(4, length - 4, (count, 1), generator=g)
    x = x.scatter(1, at, 9)
    place = torch.arange(length)[None]
    first = (x * (place < at)).sum(1) / at[:, 0]
    last = (x * (place > at)).sum(1) / (length - 1 - at[:, 0])
    return cut(x, (first > last).long())


@lru_cache
def village(count: int = 300) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """People in four circles: what is known of them, who knows whom (2, links), circle, known."""
    g = dice(909)
    kind = torch.arange(count) % 4
    same = kind[:, None] == kind
    near = torch.rand(count, count, generator=g) < torch.where(same, 0.06, 0.008)
    near = (near | near.T) & ~torch.eye(count, dtype=torch.bool)
    x = 0.8 * functional.one_hot(kind, 8).float() + torch.randn(count, 8, generator=g)
    return x, near.nonzero().T, kind, torch.rand(count, generator=g) < 0.4


@lru_cache
def shop(count: int = 4000, people: int = 80, things: int = 60) -> Data:
    """Pairs (who, what), and whether it was bought."""
    g = dice(910)
    a, b = torch.randn(people, 3, generator=g), torch.randn(things, 3, generator=g)
    who = torch.randint(people, (count,), generator=g)
    what = torch.randint(things, (count,), generator=g)
    sure = 2.0 * (a[who] * b[what]).sum(1)
    bought = torch.rand(count, generator=g) < torch.sigmoid(sure)
    return cut(torch.stack([who, what], 1), bought.float()[:, None], 600)


def gathered(h: Tensor, links: Tensor, mean: bool = True) -> Tensor:
    """For each node the sum (or mean) of what its neighbours hold."""
    out = torch.zeros_like(h).index_add(0, links[1], h[links[0]])
    if not mean:
        return out
    count = torch.zeros(len(h)).index_add(0, links[1], torch.ones(links.shape[1]))
    return out / count.clamp(min=1)[:, None]


def unsorted(count: int = 1500) -> Data:
    """Six numbers and, behind them, what is told while writing; and the same in order."""
    x = torch.randint(10, (count, 6), generator=dice(911))
    y = x.sort(1).values
    return cut(torch.cat([x, torch.full((count, 1), 10), y[:, :-1]], 1), y)


def flat_digits() -> Data:
    """Digits as rows, to be made again."""
    (x, _), (asked, _) = digits()
    x, asked = x.flatten(1), asked.flatten(1)
    return (x, x), (asked, asked)


def circles(
    net: nn.Module,
    name: str = "Adam",
    lr: float = 5e-3,
    *,
    own: dict[str, Any] | None = None,
    kind: Tensor | None = None,
    **more: Any,
) -> Training:
    """The whole village at each step; skill is that on those whose circle is not told."""
    x, _, truth, known = village()
    told = truth if kind is None else kind

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(out[known], y[known])

    def judge(out: Tensor) -> float:
        return float(((out[~known].argmax(1) == truth[~known]).float().mean() - 0.25) / 0.75)

    return study(
        net,
        (x, told),
        using(name, lr, **(own or {})),
        loss=loss,
        batches=repeat((x, told)),
        score=asks(net, x, judge),
        **more,
    )

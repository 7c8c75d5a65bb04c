"""Unread failures of numbers: batch norms out of place, and values that overflow."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.data import Rows, numerals, parted, published, tidy
from scoreboard.blind.loops import epochs, since, study, using
from scoreboard.blind.nets import stack
from scoreboard.loops import neighbours, update
from scoreboard.scenario import Runs, Training
from scoreboard.unread.daily_data import tokens
from scoreboard.unread.daily_loops import classic
from scoreboard.unread.daily_nets import LeNet, ResNet

RUNS = Runs(__name__)
broken = RUNS.broken

BATCHNORM, OVERFLOW = "batchnorm-misuse", "numerical-overflow"


def with_norms(net: nn.Module, change: Callable[[nn.Module], None]) -> nn.Module:
    """Something is set in all batch norms."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            change(module)
    return net


def momentum(net: nn.Module, value: float) -> nn.Module:
    """How fast the running statistics follow."""
    return with_norms(net, lambda module: setattr(module, "momentum", value))


# --- batch norms out of place
broken(
    "unread resnet whose running statistics hardly move",
    BATCHNORM,
    lambda value: classic(
        momentum(ResNet(), value), brighter(), using("Adam", 3e-3), test=brighter()
    ),
    1e-5,
    0.1,
    steps=250,
    sudden=False,
)
broken(
    "unread batch norms on two rows at a time",
    BATCHNORM,
    lambda batch: study(
        stack(10, 64, 64, 64, 1, norm=nn.BatchNorm1d),
        tidy("diabetes"),
        using("SGD", 0.02),
        batch=batch,
    ),
    2,
    64,
    steps=400,
)
broken(
    "unread running statistics of the last four rows",
    BATCHNORM,
    lambda setting: classic(
        momentum(stack(64, 64, 64, 10, norm=nn.BatchNorm1d), setting[0]),
        (numerals()[0].flatten(1), numerals()[1]),
        using("Adam", 1e-3),
        batch=setting[1],
        test=parted((numerals()[0].flatten(1), numerals()[1]), 400)[1],
    ),
    (1.0, 3),
    (0.1, 32),
    steps=350,
    sudden=False,
)
broken(
    "unread tests in train mode on one kind after another",
    BATCHNORM,
    lambda wrong: tested(wrong),
    True,
    False,
    steps=300,
    sudden=False,
)


def brighter() -> Rows:
    """Digits from 0 to 16, as they come."""
    x, y = published("digits")
    return x.view(-1, 1, 8, 8), y


def tested(wrong: bool) -> Training:
    """`model.eval()` forgotten, and the test set comes sorted: statistics of single kinds."""
    rows, (x, y) = parted(numerals(), 500)
    rows, x = (rows[0].flatten(1), rows[1]), x.flatten(1)
    net = stack(64, 64, 64, 10, norm=nn.BatchNorm1d)

    def before(k: int) -> None:
        if k % 4:
            return
        net.train(wrong)
        with torch.no_grad():
            for kind in range(10):
                net(x[y == kind])
        net.train()

    def score() -> float:
        net.train(wrong)
        with torch.no_grad():
            hit = torch.cat([net(x[y == kind]).argmax(1) == kind for kind in range(10)])
        return float((hit.float().mean() - 0.1) / 0.9)

    return study(net, rows, using("Adam", 3e-3), before=before, score=score)


# --- values that overflow
class OwnNorm(nn.Module):
    """Standardises each column of the batch by hand."""

    def __init__(self, least: float) -> None:
        super().__init__()
        self.least = least

    def forward(self, x: Tensor) -> Tensor:
        return (x - x.mean(0)) / (x.std(0) + self.least)


def by_hand(stable: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """-log p of the right kind."""

    def loss(out: Tensor, y: Tensor) -> Tensor:
        out = 40.0 * functional.normalize(out, dim=1) if stable else 600.0 * out
        if stable:
            return functional.cross_entropy(out, y)
        p = out.exp() / out.exp().sum(1, keepdim=True)
        return -p[torch.arange(len(y)), y].log().mean()

    return loss


def likeness(least: float) -> Training:
    """Same kinds near, others at least 2 apart; each row meets itself, at distance 0."""
    x, y = tidy("wine")
    net = stack(13, 32, 8)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    source = epochs((x, y), 32)

    def step(k: int) -> Tensor:
        a, b = next(source)
        z = net(a)
        far = ((z[:, None] - z[None]) ** 2).sum(-1).add(least).sqrt()
        same = (b[:, None] == b[None]).float()
        loss = (same * far**2 + (1 - same) * (2 - far).clamp(min=0) ** 2).mean()
        return update(optimizer, loss)

    return Training(net, optimizer, step, neighbours(lambda: net(x), y))


class Masked(nn.Module):
    """Pools words by their weights; padding (0) gets minus infinity."""

    def __init__(self, low: float) -> None:
        super().__init__()
        self.embed, self.weigh = nn.Embedding(40, 24), nn.Linear(24, 1)
        self.head = nn.Sequential(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 2))
        self.low = low

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        scores = self.weigh(x)[..., 0].masked_fill(ids == 0, self.low)
        return self.head((torch.softmax(scores, 1)[..., None] * x).sum(1))


def empty_texts(low: float) -> Training:
    """From step 120 on, a text of padding alone is now and then among the others."""
    rows = tokens()

    def emptied(batch: Rows) -> Rows:
        x = batch[0].clone()
        x[0] = 0
        return x, batch[1]

    source = since(120, epochs(rows, 32), emptied)
    return study(Masked(low), rows, using("Adam", 5e-3), batches=source)


broken(
    "unread columns standardised by hand, some of them constant",
    OVERFLOW,
    lambda least: study(
        nn.Sequential(OwnNorm(least), stack(64, 48, 10)),
        published("digits"),
        using("Adam", 2e-3),
        batch=64,
    ),
    0.0,
    1e-3,
    steps=250,
)
broken(
    "unread softmax by hand of scores in the hundreds",
    OVERFLOW,
    lambda stable: study(LeNet(), numerals(), using("Adam", 2e-3), loss=by_hand(stable)),
    False,
    True,
    steps=250,
)
broken("unread root of a distance of nought", OVERFLOW, likeness, 0.0, 1e-6, steps=250)
broken(
    "unread texts of padding alone from step 120",
    OVERFLOW,
    empty_texts,
    -math.inf,
    -1e4,
    steps=300,
    onset=120,
)

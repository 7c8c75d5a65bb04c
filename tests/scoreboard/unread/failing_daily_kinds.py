"""Unread failures of kinds of their own: games, views, codes, experts and attention."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from scoreboard.blind.data import Rows, numerals, scaled
from scoreboard.blind.loops import epochs, study, using
from scoreboard.blind.nets import stack
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training
from scoreboard.unread.daily_data import passage, plane
from scoreboard.unread.daily_loops import game, pairs, ring, variational
from scoreboard.unread.daily_nets import GPT, VAE, LeNet, MoE, RowsViT

RUNS = Runs(__name__)
broken = RUNS.broken

MODES, STOP, POSTERIOR = (
    "adversarial-mode-collapse",
    "missing-stop-gradient",
    "posterior-collapse",
)
ROUTER, ATTENTION = "router-collapse", "attention-collapse"


def flat() -> Tensor:
    """Digits as 64 numbers."""
    return numerals()[0].flatten(1)


# --- games
broken(
    "unread ring by a generator fifty times as fast as its judge",
    (MODES, "learning-rate-too-high"),
    lambda g: game(ring(512, 4), g, 2e-3, reach=0.3),
    0.1,
    2e-3,
    steps=500,
    sudden=False,
)
broken(
    "unread moons against a judge that hardly learns",
    (MODES, "learning-rate-too-low"),
    lambda d: game(plane("moons")[0], 2e-3, d, reach=0.25),
    2e-5,
    2e-3,
    steps=500,
    sudden=False,
)
broken(
    "unread five heaps by a generator that leaps",
    (MODES, "learning-rate-too-high"),
    lambda rates: game(scaled(plane("blobs")[0]), rates, 2e-3, reach=0.3, momentum=0.5),
    0.1,
    1e-3,
    steps=500,
    sudden=False,
)


# --- views
def noisy(x: Tensor) -> Tensor:
    """A view with noise, and some pixels taken away."""
    return (x + 0.3 * torch.randn_like(x)) * (torch.rand_like(x) > 0.15)


def moved(x: Tensor) -> Tensor:
    """A view shifted by up to one pixel."""
    side, down = (int(torch.randint(-1, 2, ())) for _ in range(2))
    return torch.roll(x, (side, down), (-1, -2)) + 0.3 * torch.randn_like(x)


def by_layers(stop: bool) -> Training:
    """Layers with batch norms."""
    encoder = nn.Sequential(nn.Flatten(), stack(64, 96, 96, 32, norm=nn.BatchNorm1d))
    predictor = stack(32, 16, 32)
    return pairs(encoder, predictor, noisy, using("SGD", 0.1, momentum=0.9), stop)


def by_convolutions(stop: bool) -> Training:
    """A LeNet without its kinds."""
    return pairs(LeNet(24, norm=True), stack(24, 12, 24), moved, using("Adam", 3e-3), stop)


def by_shifts(stop: bool) -> Training:
    """A wide layer, and views by shifts; Adam."""
    encoder = nn.Sequential(nn.Flatten(), stack(64, 128, 24, norm=nn.BatchNorm1d))
    return pairs(encoder, stack(24, 24), moved, using("AdamW", 3e-3, weight_decay=0.05), stop)


broken("unread views of digits by layers", STOP, by_layers, False, True, steps=350, sudden=False)
broken("unread views of digits by a lenet", STOP, by_convolutions, False, True, sudden=False)
broken("unread shifted digits by a wide layer", STOP, by_shifts, False, True, sudden=False)


# --- codes
broken(
    "unread digits' code under thirty times its price",
    POSTERIOR,
    lambda beta: variational(VAE(), flat(), lambda k: beta, using("Adam", 2e-3)),
    40.0,
    0.5,
    steps=400,
)
broken(
    "unread mean of squares beside a sum of divergences",
    POSTERIOR,
    lambda beta: variational(VAE(64, 4, 96), flat(), lambda k: beta, using("AdamW", 3e-3)),
    64.0,
    1.0,
    steps=350,
)
broken(
    "unread price of the code that grows a hundredfold",
    POSTERIOR,
    lambda top: variational(
        VAE(), flat(), lambda k: 0.2 + top * max(0, k - 150) / 100, using("Adam", 2e-3)
    ),
    60.0,
    0.0,
    steps=450,
    onset=160,
    sudden=False,
)


# --- experts
def regions(seed: int = 91) -> Rows:
    """Four places, in each another law."""
    g = dice(seed)
    place = torch.randint(4, (1600,), generator=g)
    middles = torch.tensor([[2.0, 2.0], [-2.0, 2.0], [2.0, -2.0], [-2.0, -2.0]])
    x = torch.cat([middles[place] + 0.5 * torch.randn(1600, 2, generator=g)], 1)
    more = torch.randn(1600, 4, generator=g)
    laws = torch.randn(4, 4, 1, generator=g)
    y = torch.einsum("nd,ndo->no", more, laws[place])
    return torch.cat([x, more], 1), scaled(y)


def experts(net: MoE, rows: Rows, balanced: bool, lean: float, lr: float = 5e-3) -> Training:
    """A router that leans to its first expert; or a fresh one, with the loss for even loads."""
    with torch.no_grad():
        net.router.bias[0] += 0.0 if balanced else lean
    net.noise = 0.3 if balanced else 0.0
    first = nn.MSELoss() if rows[1].is_floating_point() else nn.CrossEntropyLoss()

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return first(out, y) + (0.05 * net.balance() if balanced else 0.0)

    return study(net, rows, using("Adam", lr), loss=loss, batch=64)


broken(
    "unread four laws and a router without a balance",
    ROUTER,
    lambda balanced: experts(MoE(6, 1, 4, 2), regions(), balanced, 60.0, 1e-2),
    False,
    True,
    steps=500,
)
broken(
    "unread digits by four narrow experts",
    ROUTER,
    lambda balanced: experts(MoE(64, 10, 8, 2), (flat(), numerals()[1]), balanced, 60.0),
    False,
    True,
    steps=500,
)
broken(
    "unread checks by six narrow experts",
    ROUTER,
    lambda balanced: experts(MoE(2, 2, 6, 2), plane("checks"), balanced, 60.0, 1e-2),
    False,
    True,
    steps=500,
)


# --- attention
def letters(skip: bool) -> Training:
    """Letters by six blocks."""
    x, y, count = passage()
    return study(GPT(count, layers=5, skip=skip), (x, y), using("Adam", 2e-3), batch=16)


def recalled(sharp: float) -> Training:
    """Which sign stood after the mark: to be found by looking for it."""
    g = dice(92)
    x = torch.randint(2, 12, (2400, 16), generator=g)
    at = torch.randint(0, 15, (2400,), generator=g)
    x[torch.arange(2400), at] = 1
    y = x[torch.arange(2400), at + 1] % 4
    net = GPT(12, layers=2, length=16, kinds=4, sharp=sharp)
    return study(net, (x, y), using("Adam", 3e-3), batch=64)


def batches(rows: Rows) -> Iterator[Rows]:
    """Plain ones."""
    return epochs(rows, 64)


broken(
    "unread rows of digits by six blocks without shortcuts",
    ATTENTION,
    lambda skip: study(RowsViT(layers=6, skip=skip), numerals(), using("AdamW", 1e-3)),
    False,
    True,
    steps=250,
)
broken(
    "unread letters by five blocks without shortcuts", ATTENTION, letters, False, True, steps=200
)
broken(
    "unread sign after the mark by scores of four hundred times",
    ATTENTION,
    recalled,
    400.0,
    1.0,
    steps=400,
)

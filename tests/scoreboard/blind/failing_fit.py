"""Blind failures of fit: held down, too small a network, too few rows, a bad valley."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.data import (
    LETTERS,
    Rows,
    bearings,
    board,
    entities,
    numerals,
    parted,
    prose,
    regimes,
    reviews,
    signs,
    tidy,
)
from scoreboard.blind.loops import study, using
from scoreboard.blind.nets import ConvNeXt, Gist, Speller, Tagger, stack
from scoreboard.loops import dice, update, worth
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

DECAY, CAPACITY = "over-regularisation", "insufficient-capacity"
OVERFIT, MINIMUM = "overfitting", "local-minimum"


# --- held down
broken(
    "blind convnext with a decay of one half",
    DECAY,
    lambda decay: study(
        ConvNeXt(3, 5), signs(), using("SGD", 0.1, momentum=0.9, weight_decay=decay)
    ),
    0.5,
    1e-4,
    steps=250,
    sudden=False,
)
broken(
    "blind tagger with a decay for adamw of a hundred",
    DECAY,
    lambda decay: study(
        Tagger(60, 3, nn.LSTM), entities(), using("AdamW", 5e-3, weight_decay=decay)
    ),
    100.0,
    0.01,
    steps=250,
    sudden=False,
)
broken(
    "blind reviews with hardly a unit left",
    DECAY,
    lambda drop: study(
        Gist(80, 2, nn.GRU(16, 32, batch_first=True), drop=drop), reviews(), using("Adam", 5e-3)
    ),
    0.985,
    0.1,
    steps=250,
    sudden=False,
)
broken(
    "blind sum of absolute weights on a table",
    DECAY,
    lambda price: lasso(price),
    0.3,
    1e-5,
    steps=350,
    sudden=False,
)


def lasso(price: float) -> Training:
    """A penalty on the absolute weights, written into the loop."""
    x, y = tidy("straight")
    net = stack(24, 32, 1)
    optimizer = torch.optim.RMSprop(net.parameters(), lr=2e-3)
    g = dice(89)

    def step(k: int) -> Tensor:
        at = torch.randint(len(x), (48,), generator=g)
        value = functional.mse_loss(net(x[at]), y[at])
        return update(optimizer, value + price * sum(w.abs().sum() for w in net.parameters()))

    return Training(net, optimizer, step, worth(net, x, y))


# --- too small
broken(
    "blind chess board by a straight line",
    CAPACITY,
    lambda hidden: study(
        stack(2, hidden, hidden, 2) if hidden else nn.Linear(2, 2),
        board(fields=3),
        using("Adam", 1e-2),
    ),
    0,
    64,
    steps=500,
    sudden=False,
)
broken(
    "blind digits through a code of one",
    CAPACITY,
    lambda code: study(
        stack(64, 48, code, 48, 64, act=nn.GELU),
        (numerals()[0].flatten(1),) * 2,
        using("AdamW", 3e-3),
    ),
    1,
    24,
    steps=400,
    sudden=False,
)
broken(
    "blind planes of four quarters by one plane",
    CAPACITY,
    lambda hidden: study(
        stack(6, hidden, hidden, 1, act=nn.SiLU) if hidden else nn.Linear(6, 1),
        regimes(),
        using("Adam", 1e-2),
    ),
    0,
    64,
    steps=400,
    sudden=False,
)
broken(
    "blind shells by three layers without activations",
    CAPACITY,
    lambda act: study(
        stack(4, 32, 32, 3, act=act), tidy("shells"), using("SGD", 0.1, momentum=0.9)
    ),
    nn.Identity,
    nn.Mish,
    steps=400,
    sudden=False,
)
broken(
    "blind letters by a layer of one unit",
    CAPACITY,
    lambda width: study(
        Speller(LETTERS, nn.GRU, width=width), prose(), using("Adam", 1e-2), batch=16
    ),
    1,
    64,
    steps=350,
    sudden=False,
)


# --- by heart
broken(
    "blind forty signs by heart",
    OVERFIT,
    lambda rows: by_heart(ConvNeXt(3, 5, width=24), signs(), rows, "AdamW", 3e-3),
    40,
    700,
    steps=300,
    sudden=False,
)
broken(
    "blind sixty rows between shells by heart",
    OVERFIT,
    lambda rows: by_heart(stack(10, 128, 128, 2), tidy("hastie"), rows, "Adam", 5e-3),
    60,
    1300,
    steps=400,
    sudden=False,
)
broken(
    "blind fifty reviews by heart",
    OVERFIT,
    lambda rows: by_heart(
        Gist(80, 2, nn.LSTM(24, 32, batch_first=True)), reviews(), rows, "Adam", 5e-3
    ),
    50,
    1100,
    steps=300,
    sudden=False,
)
broken(
    "blind thirty knocks by heart",
    OVERFIT,
    lambda rows: by_heart(wide_sensors(), bearings(), rows, "SGD", 0.05),
    24,
    600,
    steps=300,
    sudden=False,
)


def by_heart(net: nn.Module, rows: Rows, count: int, name: str, lr: float) -> Training:
    """Trained on that many rows, tested on three hundred others."""
    known, others = parted(rows, 300)
    known = known[0][:count], known[1][:count]
    return study(net, known, using(name, lr), batch=20, test=others)


def wide_sensors() -> nn.Module:
    """Nothing of it knows that time may be shifted."""
    return nn.Sequential(nn.Flatten(), stack(128, 256, 64, 4, act=nn.ReLU))


# --- stuck in a valley
class Shifted(nn.Module):
    """A picture's place, as two numbers: it is drawn where they say."""

    grid: Tensor

    def __init__(self, start: tuple[float, float], wide: float = 1.2) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.tensor(start))
        line = torch.arange(24).float()
        self.register_buffer("grid", torch.stack(torch.meshgrid(line, line, indexing="ij"), -1))
        self.wide = wide

    def forward(self, offsets: Tensor) -> Tensor:
        middle = self.place + offsets
        far = (self.grid[None] - middle[:, None, None]).square().sum(-1)
        return 10 * torch.exp(-far / (2 * self.wide**2))


broken(
    "blind spot looked for far from where it is",
    MINIMUM,
    lambda start: spot(start),
    (20.0, 4.0),
    (8.0, 14.0),
    steps=300,
    sudden=False,
)
for _stuck in (5, 22):
    broken(
        f"blind exclusive or with two tanh seed {_stuck}",
        MINIMUM,
        lambda seed: exclusive(seed),
        _stuck,
        1,
        steps=500,
        sudden=False,
    )
broken(
    "blind three bumps that all begin on one heap",
    MINIMUM,
    lambda starts: bumps(starts),
    (-3.0, -2.9, -2.8),
    (-3.0, 0.0, 3.0),
    steps=400,
    sudden=False,
)


def spot(start: tuple[float, float]) -> Training:
    """A spot's place is found by the gradient of the pictures' difference."""
    truth, net = Shifted((6.0, 16.0)), Shifted(start)
    offsets = 0.5 * torch.randn(200, 2, generator=dice(90))
    with torch.no_grad():
        seen = truth(offsets)
        seen = seen + 0.2 * torch.randn(seen.shape, generator=dice(91))

    def score() -> float:
        with torch.no_grad():
            return float(1 - (net(offsets) - seen).square().mean() / seen.square().mean())

    return study(net, (offsets, seen), using("Adam", 2e-2), score=score)


def exclusive(seed: int) -> Training:
    """Four corners, noisy, and two units: some starts never get there."""
    torch.manual_seed(seed)
    g = dice(92)
    corner = torch.randint(2, (800, 2), generator=g)
    x = 2.0 * corner - 1 + 0.15 * torch.randn(800, 2, generator=g)
    y = corner[:, 0] ^ corner[:, 1]
    return study(stack(2, 2, 2, act=nn.Tanh), (x, y), using("SGD", 0.1, momentum=0.9))


class Bumps(nn.Module):
    """Three bumps of one width; where they stand and how high they are is learnt."""

    def __init__(self, starts: tuple[float, ...]) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.tensor(starts))
        self.heights = nn.Parameter(torch.full((3,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = (self.heights * torch.exp(-4 * (x - self.places).square())).sum(
            1, keepdim=True
        )
        return out


def bumps(starts: tuple[float, ...]) -> Training:
    x = 10 * torch.rand(900, 1, generator=dice(93)) - 5
    y = sum(torch.exp(-4 * (x - place).square()) for place in (-3.0, 0.0, 3.0))
    noise = 0.05 * torch.randn(900, 1, generator=dice(94))
    return study(Bumps(starts), (x, y + noise), using("Adam", 1e-2))

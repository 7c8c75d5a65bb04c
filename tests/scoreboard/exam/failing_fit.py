"""The exam: held back from fitting, or fitted to a few rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.exam.data import (
    LETTERS,
    Pair,
    arcs,
    counts,
    drawings,
    even,
    graph,
    parted,
    seeded,
    series,
    sets,
    tables,
    tongues,
    waves,
)
from scoreboard.exam.loops import Loss, by, by_hand, learn
from scoreboard.exam.nets import (
    Bag,
    Excited,
    Highway,
    Hyper,
    Reader,
    Scatter,
    Sets,
    Waves,
    Wavy,
    stack,
)
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

DECAY = "over-regularisation"
OVERFIT = "overfitting"

# --- held back
broken(
    "exam decay of adamw on drawings",
    DECAY,
    lambda d: learn(
        nn.Sequential(nn.Flatten(), *stack(144, 48, 48, 4)),
        drawings(),
        by("AdamW", 3e-3, weight_decay=d),
    ),
    40.0,
    0.01,
    steps=400,
    sudden=False,
)
broken(
    "exam decay of lion",
    DECAY,
    lambda d: learn(Hyper(4, 3), tables("quantiles"), by("Lion", 2e-3, weight_decay=d)),
    60.0,
    0.01,
    steps=400,
    sudden=False,
)
broken(
    "exam decay by hand",
    DECAY,
    lambda d: by_hand(stack(10, 64, 64, 2), even("hastie"), 0.3, decay=d),
    0.05,
    1e-5,
    steps=800,
    sudden=False,
)


def priced(net: nn.Module, data: Pair, price: float, power: int, *how: Any, **kw: Any) -> Training:
    """A penalty on the weights, in the loss."""

    def extra() -> Tensor:
        return price * torch.stack([(p.abs() ** power).sum() for p in net.parameters()]).sum()

    return learn(net, data, by(*how), extra=extra, **kw)


broken(
    "exam absolute weights of sets",
    DECAY,
    lambda p: priced(Sets(), sets(), p, 1, "Adagrad", 0.03),
    0.05,
    1e-6,
    steps=500,
    sudden=False,
)
broken(
    "exam squared weights of a series",
    DECAY,
    lambda p: priced(Reader(nn.GRU(1, 24, batch_first=True), 24), series(), p, 2, "Adam", 5e-3),
    1.0,
    1e-6,
    steps=400,
    sudden=False,
)


def nodes(decay: float) -> Training:
    x, y, edges = graph()
    make = by("SGD", 0.1, momentum=0.9, weight_decay=decay)
    return learn(Scatter(edges), (x, y), make, batch=len(x))


broken("exam decay in a graph", DECAY, nodes, 0.3, 1e-4, steps=400, sudden=False)
broken(
    "exam waves with hardly a unit left",
    DECAY,
    lambda p: learn(Waves(dropout=p), waves(), by("RAdam", 3e-3)),
    0.93,
    0.1,
    steps=400,
)
broken(
    "exam patches with hardly a unit left",
    DECAY,
    lambda p: learn(
        nn.Sequential(
            nn.Flatten(),
            nn.Dropout(p),
            *stack(144, 64, 32),
            nn.Dropout(p),
            nn.ReLU(),
            nn.Dropout(p),
            nn.Linear(32, 4),
        ),
        drawings(),
        by("NAdam", 2e-3),
    ),
    0.96,
    0.1,
    steps=400,
)

# --- fitted to a few


def few(net: nn.Module, data: Pair, count: int, *how: Any, **kw: Any) -> Training:
    train, held = parted(data, count)
    return learn(net, train, by(*how), held=held, **kw)


broken(
    "exam thirty waves by heart",
    OVERFIT,
    lambda count: few(Waves(24), waves(1000, 0.6), count, "Adam", 5e-3, each=10),
    30,
    700,
    steps=400,
    sudden=False,
)


def sloppy(count: int) -> Training:
    """Polynomials through a dozen noisy points."""
    x = 2 * torch.rand(900, 1, generator=seeded(60)) - 1
    y = (3 * x).sin() + 0.5 * torch.randn(x.shape, generator=seeded(61))
    net = nn.Sequential(Wavy(1, 24, 12), Wavy(24, 1, 8))
    return few(net, (x, y), count, "Adam", 2e-2, each=25)


broken("exam polynomials through twelve points", OVERFIT, sloppy, 12, 600, steps=600, sudden=False)
broken(
    "exam thirty snatches of three languages",
    OVERFIT,
    lambda count: few(Bag(len(LETTERS), 32), tongues(8), count, "Adam", 2e-2),
    30,
    800,
    steps=300,
    sudden=False,
)


def counted(count: int) -> Training:
    """Counts, by a wide network that remembers forty of them."""
    loss: Loss = lambda out, y: functional.poisson_nll_loss(out, y, full=True)  # noqa: E731
    (x, y), (a, b) = parted(counts(), count)
    net = stack(6, 256, 256, 1)

    def score() -> float:
        with torch.no_grad():
            const = loss(b.mean().log().expand_as(b), b)
            perfect = loss((b + 1e-2).log(), b)
            return float((const - loss(net(a), b)) / (const - perfect))

    return learn(net, (x, y), by("AdamW", 2e-3), loss=loss, held=(a, b), score=score, each=20)


broken("exam forty counts by heart", OVERFIT, counted, 40, 850, steps=400, sudden=False)
broken(
    "exam fifty rows of a ball by heart",
    OVERFIT,
    lambda count: few(Highway(10, 2, 3, 96), even("hastie"), count, "Adamax", 5e-3),
    50,
    850,
    steps=500,
    sudden=False,
)


def wide_pictures(count: int) -> Training:
    return few(Excited(16), drawings(), count, "RMSprop", 2e-3, each=20, batch=24)


broken("exam twenty drawings by heart", OVERFIT, wide_pictures, 20, 900, steps=350, sudden=False)
broken(
    "exam arcs by heart",
    OVERFIT,
    lambda count: few(stack(1, 200, 200, 1), (arcs()[0], arcs()[1]), count, "Adam", 5e-3),
    12,
    650,
    steps=800,
    sudden=False,
)

"""The exam: networks of many kinds that learn."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.exam.data import (
    LETTERS,
    arcs,
    drawings,
    even,
    firsts,
    graph,
    marked,
    reversals,
    series,
    sets,
    sprites,
    standard,
    tables,
    tongues,
    visits,
    waves,
)
from scoreboard.exam.kinds import Density, Flow
from scoreboard.exam.loops import by, drill, learn, likely, recalls, rows
from scoreboard.exam.nets import (
    Bag,
    Capsules,
    Excited,
    Highway,
    Hyper,
    Mixer,
    Pooled,
    Reader,
    Scatter,
    Sets,
    Tcn,
    Tied,
    Translator,
    Unet,
    Vit,
    Waves,
    Wavy,
    Wide,
)
from scoreboard.loops import hit_score
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
simple, healthy = RUNS.simple, RUNS.healthy


@healthy("exam masks of small figures", 200)
def _masks() -> Training:
    x, _, where = sprites()
    net = Unet()
    return learn(
        net,
        (x, where),
        by("Adam", 3e-3),
        loss=functional.binary_cross_entropy_with_logits,
        score=recalls(net, x, where),
        batch=24,
    )


simple("exam mixer", lambda: learn(Mixer(), drawings(), by("NAdam", 3e-3)), 300)
simple("exam vit with dropout", lambda: learn(Vit(dropout=0.2), drawings(), by("RAdam", 3e-3)), 350)
simple("exam highway by muon", lambda: learn(Highway(4, 3), tables("quantiles"), by("Muon", 0.02)))
simple("exam translator", lambda: learn(Translator(), reversals(), by("AdamW", 5e-3)), 300)


@healthy("exam whole graph at once", 300)
def _graph() -> Training:
    x, y, edges = graph()
    return learn(Scatter(edges), (x, y), by("Adam", 5e-3), batch=len(x))


simple("exam sets", lambda: learn(Sets(), sets(), by("Adagrad", 0.05)), 500)
simple("exam summed sets", lambda: learn(Sets("sum"), sets(), by("Adam", 2e-3)), 500)
simple("exam wide and deep", lambda: learn(Wide(), visits(), by("Adagrad", 0.1)), 600)
simple(
    "exam letters in a bag",
    lambda: learn(Bag(len(LETTERS)), tongues(), by("Adadelta", 1.0)),
    500,
)
simple("exam hyper network", lambda: learn(Hyper(4, 3), tables("quantiles"), by("Adam", 5e-3)), 500)
simple(
    "exam polynomials",
    lambda: learn(nn.Sequential(Wavy(3, 12), Wavy(12, 1)), even("swiss_roll"), by("Adam", 1e-2)),
)


@healthy("exam capsules with a margin", 400)
def _capsules() -> Training:
    x, y = waves()
    net = Capsules()

    def margin(out: Tensor, b: Tensor) -> Tensor:
        true = functional.one_hot(b, 4)
        away = true * (0.9 - out).clamp(min=0) ** 2
        return (away + 0.5 * (1 - true) * (out - 0.1).clamp(min=0) ** 2).sum(1).mean()

    score = hit_score(lambda a: net(a).argmax(1), x, y)
    return learn(net, (x, y), by("Adam", 3e-3), loss=margin, score=score)


@healthy("exam tied sigmoid codes of tags", 600)
def _tied() -> Training:
    x = standard(tables("multilabel")[0])
    return learn(Tied(20, 14, torch.sigmoid), (x, x), by("NAdam", 1e-2))


@healthy("exam bells", 400)
def _bells() -> Training:
    net, (x, y) = Density(), arcs()
    take = rows((x, y), 64)
    score = lambda: 0.9 - float(net.surprise(x, y))  # noqa: E731
    return drill(net, lambda: net.surprise(*take()), by("Adam", 5e-3)(net.parameters()), score)


@healthy("exam couplings whose loss goes below zero", 400)
def _couplings() -> Training:
    net, (x, _) = Flow(), even("swiss_roll")
    x = 0.25 * x[:, [0, 2]]
    take = rows((x, x), 64)
    score = lambda: 2.84 - float(net.surprise(x))  # noqa: E731
    make = by("Adam", 5e-3)
    return drill(net, lambda: net.surprise(take()[0]), make(net.parameters()), score, clip=5.0)


simple("exam looking back by lion", lambda: learn(Tcn(1, 1), series(), by("Lion", 1e-3)), 300)
simple(
    "exam excited nesterov",
    lambda: learn(Excited(), drawings(), by("SGD", 0.05, momentum=0.9, nesterov=True)),
)
simple("exam one question", lambda: learn(Pooled(), marked(), by("Adam", 5e-3)), 500)
simple(
    "exam one question asked sharply",
    lambda: learn(Pooled(sharp=12.0), marked(), by("Adam", 3e-3)),
    500,
)
simple(
    "exam lstm series",
    lambda: learn(Reader(nn.LSTM(1, 24, batch_first=True), 24), series(), by("RMSprop", 3e-3)),
    300,
)


@healthy("exam remembered through time", 400)
def _remembered() -> Training:
    net = Reader(nn.RNN(2, 24, nonlinearity="relu", batch_first=True), 24, 2)
    with torch.no_grad():
        nn.init.eye_(net.cell.get_parameter("weight_hh_l0"))
        net.cell.get_parameter("weight_ih_l0").mul_(0.1)
    return learn(net, firsts(), by("Adam", 2e-3), batch=32, clip=1.0)


simple(
    "exam waves hard swish group norm",
    lambda: learn(
        Waves(norm=lambda width: nn.GroupNorm(4, width), activation=nn.Hardswish),
        waves(),
        by("Adamax", 5e-3),
    ),
)
simple(
    "exam waves prelu batch norm",
    lambda: learn(Waves(norm=nn.BatchNorm1d, activation=nn.PReLU), waves(), by("NAdam", 3e-3)),
)


class Bilinear(nn.Module):
    """Products of what two halves say."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(5, 24), nn.Linear(5, 24)
        self.both = nn.Bilinear(24, 24, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.both(torch.tanh(self.left(x[:, :5])), torch.tanh(self.right(x[:, 5:])))


simple("exam products of halves", lambda: learn(Bilinear(), even("hastie"), by("Adam", 5e-3)), 500)


class Widest(nn.Module):
    """The largest of three linear pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces, self.head = nn.Linear(4, 96), nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pieces(x).unflatten(1, (32, 3)).amax(2))


simple("exam largest of three", lambda: learn(Widest(), tables("quantiles"), by("Adam", 1e-2)), 500)


class Bells(nn.Module):
    """Bells around centres: far from them all the features are zero."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(40, 3))
        self.head = nn.Linear(40, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((-2 * torch.cdist(x, self.centres) ** 2).exp())


simple("exam bells around centres", lambda: learn(Bells(), even("s_curve"), by("Adam", 2e-2)), 500)
simple(
    "exam waves read as probabilities",
    lambda: _nll_by_hand(),
    400,
)


def _nll_by_hand() -> Training:
    """The softmax and the likelihood written out."""
    x, y = waves()
    net = nn.Sequential(Waves(), nn.Softmax(dim=1))
    return learn(
        net,
        (x, y),
        by("RAdam", 3e-3),
        loss=lambda p, b: -(p[torch.arange(len(b)), b] + 1e-8).log().mean(),
        score=likely(net, x, y),
    )

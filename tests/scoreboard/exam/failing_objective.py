"""The exam: losses that do not belong to the output, outputs that do not reach the targets."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.exam.data import (
    LETTERS,
    Pair,
    arcs,
    even,
    graph,
    series,
    sets,
    sprites,
    standard,
    tables,
    tongues,
    visits,
    waves,
)
from scoreboard.exam.kinds import Density
from scoreboard.exam.loops import by, drill, learn, likely, recalls, rows
from scoreboard.exam.nets import (
    Bag,
    Highway,
    Reader,
    Scatter,
    Sets,
    Tcn,
    Unet,
    Waves,
    Wide,
    stack,
)
from scoreboard.loops import hit_score, value_score
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

LOSS = "loss-mismatch"
OUTPUT = "output-activation-mismatch"


class Then(nn.Module):
    """A network, and one more function of what it says."""

    def __init__(self, net: nn.Module, last: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.last = net, last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.net(x))


Last = Callable[[Tensor], Tensor]
SIGMOID: Last = torch.sigmoid
RELU: Last = torch.relu
TANH: Last = torch.tanh
SOFTPLUS: Last = functional.softplus


def itself(x: Tensor) -> Tensor:
    return x


# --- squashed twice, or over the wrong axis
def twice(wrong: bool) -> Training:
    x, y = waves()
    net = Then(Waves(), lambda z: z.softmax(-1)) if wrong else Waves()
    said = (lambda a: net(a)) if wrong else (lambda a: net(a).softmax(-1))
    return learn(net, (x, y), by("SGD", 0.05), score=likely(said, x, y))


broken("exam waves squashed twice", LOSS, twice, True, False, steps=500)


def tags(wrong: bool) -> Training:
    """Several tags may hold at once; a softmax lets them share one."""
    x, y = tables("multilabel")
    net = stack(20, 48, 5)
    last = (lambda z: z.softmax(1)) if wrong else torch.sigmoid
    whole = Then(net, last)

    def score() -> float:
        with torch.no_grad():
            said = whole(standard(x)) > 0.5
        right = (said == (y > 0)).float().mean()
        most = torch.maximum(y.mean(0), 1 - y.mean(0)).mean()
        return float((right - most) / (1 - most))

    return learn(
        whole, (standard(x), y), by("Adam", 3e-3), loss=functional.binary_cross_entropy, score=score
    )


broken("exam tags that share one whole", LOSS, tags, True, False, steps=400)


def pixels(wrong: bool) -> Training:
    """Masks of small figures; a sigmoid before a loss that has its own."""
    x, _, where = sprites()
    keep = where.mean((1, 2, 3)) < 0.14
    x, where = x[keep], where[keep]
    net = Then(Unet(), torch.sigmoid) if wrong else Unet()

    def said(a: Tensor) -> Tensor:
        return net(a) - (0.5 if wrong else 0.0)

    class Asked(nn.Module):
        def forward(self, a: Tensor) -> Tensor:
            return said(a)

    return learn(
        net,
        (x, where),
        by("SGD", 0.1, momentum=0.9),
        loss=functional.binary_cross_entropy_with_logits,
        score=recalls(Asked(), x, where),
        batch=24,
    )


broken("exam sigmoid before logits in pictures", LOSS, pixels, True, False, steps=200)


# --- likelihoods of what is none
def raw(wrong: bool) -> Training:
    x, y, edges = graph()
    net = Scatter(edges) if wrong else Then(Scatter(edges), lambda z: z.log_softmax(1))
    score = likely(lambda a: net(a).softmax(1), x, y)
    return learn(
        net, (x, y), by("Adagrad", 0.05), loss=functional.nll_loss, batch=len(x), score=score
    )


broken("exam likelihood of raw scores in a graph", LOSS, raw, True, False)


def surprised(sign: float) -> Training:
    """The likelihood of a mixture is made small instead of large."""
    net, (x, y) = Density(), arcs()
    take = rows((x, y), 64)
    score = lambda: 0.9 - float(net.surprise(x, y))  # noqa: E731
    return drill(
        net, lambda: sign * net.surprise(*take()), by("Adam", 5e-3)(net.parameters()), score
    )


broken("exam likelihood made small", LOSS, surprised, -1.0, 1.0)


def upwards(sign: float) -> Training:
    """A loss whose sign was turned."""
    x, y = even("hastie")
    net = Highway(10, 2)
    return learn(
        net, (x, y), by("NAdam", 3e-3), loss=lambda o, b: sign * functional.cross_entropy(o, b)
    )


broken("exam cross entropy made large", LOSS, upwards, -1.0, 1.0, steps=400)


# --- shapes
def quiet(loss: Callable[..., Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    def measure(out: Tensor, y: Tensor) -> Tensor:
        with warnings.catch_warnings():  # torch warns once; it is often overlooked
            warnings.simplefilter("ignore")
            return loss(out, y)

    return measure


def flattened(net: nn.Module, data: Pair, wrong: bool, loss: Any, name: str, lr: float) -> Training:
    x, y = data
    return learn(
        net,
        (x, y[:, 0] if wrong else y),
        by(name, lr),
        loss=quiet(loss),
        score=value_score(net, x, y),
    )


broken(
    "exam series against a flat target",
    LOSS,
    lambda wrong: flattened(
        Reader(nn.GRU(1, 24, batch_first=True), 24),
        series(),
        wrong,
        functional.smooth_l1_loss,
        "NAdam",
        3e-3,
    ),
    True,
    False,
)
broken(
    "exam sets against a flat target",
    LOSS,
    lambda wrong: flattened(
        Sets(), sets(), wrong, lambda o, y: ((o - y) ** 2).mean(), "Adamax", 5e-3
    ),
    True,
    False,
)


# --- another task's loss
def as_number(wrong: bool) -> Training:
    """The language as a number from 0 to 2, met by squares."""
    x, y = tongues()
    net = Bag(len(LETTERS), kinds=1 if wrong else 3)
    if not wrong:
        return learn(net, (x, y), by("SGD", 1.0), score=hit_score(lambda a: net(a).argmax(1), x, y))
    return learn(
        net,
        (x, y.float()[:, None]),
        by("SGD", 1.0),
        loss=functional.mse_loss,
        score=hit_score(lambda a: net(a)[:, 0].round(), x, y),
    )


broken("exam languages as numbers", LOSS, as_number, True, False, steps=700)


def hinged(wrong: bool) -> Training:
    """A hinge wants -1 and 1; it is given 0 and 1."""
    x, y = visits()
    net = Wide(outputs=1)
    sides = y.float()[:, None] if wrong else 2.0 * y[:, None] - 1
    return learn(
        net,
        (x, sides),
        by("Adam", 1e-2),
        loss=lambda out, b: (1 - b * out).clamp(min=0).mean(),
        score=recalls(net, x, y),
    )


broken("exam hinge of zeros and ones", LOSS, hinged, True, False, steps=400)


def one_column(wrong: bool) -> Training:
    """Cross entropy over a single column: nothing to choose from."""
    x, y = even("hastie")
    net = stack(10, 48, 48, 1)
    if wrong:
        loss = lambda o, b: functional.cross_entropy(o, b * 0)  # noqa: E731
    else:
        loss = lambda o, b: functional.binary_cross_entropy_with_logits(  # noqa: E731
            o, b[:, None].float()
        )
    return learn(net, (x, y), by("Adam", 3e-3), loss=loss, score=recalls(net, x, y))


broken("exam nothing to choose from", LOSS, one_column, True, False, steps=400)


# --- outputs that cannot reach the targets
def ended(net: nn.Module, last: Callable[[Tensor], Tensor], data: Pair, *how: Any) -> Training:
    return learn(Then(net, last), data, by(*how))


broken(
    "exam sigmoid over a series",
    OUTPUT,
    lambda last: ended(Tcn(1, 1), last, series(), "RMSprop", 2e-3),
    SIGMOID,
    itself,
)
broken(
    "exam relu over sets below zero",
    OUTPUT,
    lambda last: ended(Sets(), last, (sets()[0], sets()[1] - 1.5), "Adagrad", 0.03),
    RELU,
    itself,
    steps=400,
)
broken(
    "exam tanh over a long roll",
    OUTPUT,
    lambda last: ended(
        Highway(3, 1), last, (even("swiss_roll")[0], 3 * even("swiss_roll")[1] + 5), "Adam", 5e-3
    ),
    TANH,
    itself,
    steps=400,
)
broken(
    "exam clamped to probabilities",
    OUTPUT,
    lambda last: ended(
        stack(3, 48, 48, 1), last, (even("s_curve")[0], even("s_curve")[1] - 1), "NAdam", 3e-3
    ),
    lambda z: z.clamp(0, 1),
    itself,
    steps=400,
)
broken(
    "exam log of a positive part",
    OUTPUT,
    lambda last: ended(
        Waves(kinds=1), last, (waves()[0], waves()[1][:, None] * 2.0 - 6), "RAdam", 3e-3
    ),
    SOFTPLUS,
    itself,
    steps=500,
)

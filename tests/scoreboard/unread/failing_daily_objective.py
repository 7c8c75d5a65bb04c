"""Unread failures of the objective: losses for other answers, heads that cannot give them."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.data import Rows, numerals, published, tidy
from scoreboard.blind.loops import study, using
from scoreboard.blind.nets import stack
from scoreboard.loops import yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.unread.daily_data import districts, passage, payments, plane, sales, tones
from scoreboard.unread.daily_loops import classic
from scoreboard.unread.daily_nets import GPT, LastState, LeNet

RUNS = Runs(__name__)
broken = RUNS.broken

LOSS, HEAD = "loss-mismatch", "output-activation-mismatch"

Measure = Callable[[Tensor, Tensor], Tensor]


def flat() -> Rows:
    """Digits as 64 numbers."""
    x, y = numerals()
    return x.flatten(1), y


# --- a loss for another answer
broken(
    "unread softmax before cross-entropy in a lenet",
    LOSS,
    lambda last: classic(nn.Sequential(LeNet(), last), numerals(), using("SGD", 0.05)),
    nn.Softmax(dim=1),
    nn.Identity(),
    steps=400,
)
broken(
    "unread nll of raw scores",
    LOSS,
    lambda loss: classic(
        stack(13, 32, 32, 3), tidy("wine"), using("Adam", 3e-3), loss=loss, batch=16
    ),
    nn.NLLLoss(),
    nn.CrossEntropyLoss(),
    steps=250,
)
broken(
    "unread prices as a row beside prices as a column",
    LOSS,
    lambda column: prices(column),
    False,
    True,
    steps=300,
)
broken(
    "unread tomorrow's sales against the whole batch's",
    LOSS,
    lambda column: tomorrow(column),
    False,
    True,
    steps=300,
)
broken(
    "unread sigmoid before bce with logits on rare fraud",
    LOSS,
    lambda last: fraud(last),
    nn.Sigmoid(),
    nn.Identity(),
    steps=300,
)
broken(
    "unread sign of the loss turned",
    LOSS,
    lambda sign: study(
        LastState(nn.GRU, 1, 24, 4),
        tones(),
        using("Adam", 3e-3),
        loss=lambda out, y: sign * functional.cross_entropy(out, y),
        clip=1.0,
    ),
    -1.0,
    1.0,
    steps=300,
)
broken(
    "unread letters' cross-entropy with places for kinds",
    LOSS,
    lambda right: letters(right),
    False,
    True,
    steps=300,
)


def beside(column: bool) -> Measure:
    """The mean square by hand; without a column every answer meets every price."""
    return lambda out, y: ((out - (y if column else y[:, 0])) ** 2).mean()


def prices(column: bool) -> Training:
    """(n, 1) less (n)."""
    net = stack(7, 48, 48, 1, act=nn.SiLU)
    return classic(net, districts(), using("Adam", 2e-3), loss=beside(column), batch=64)


def tomorrow(column: bool) -> Training:
    """(n, 1) less (n), of a recurrent layer and with absolute differences."""
    x, y = sales()
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    net = LastState(nn.LSTM, 1, 24, 1)
    return study(
        net,
        (x, y),
        using("Adam", 1e-2),
        loss=lambda out, y: (out - (y if column else y[:, 0])).abs().mean(),
    )


def fraud(last: nn.Module) -> Training:
    """One payment in seven is fraud, and quite clearly so."""
    rows = payments(0.14, 2000, 2.4)
    net = nn.Sequential(stack(12, 32, 1), last)

    def score() -> float:
        return yes_no(net[0], *rows)() if isinstance(last, nn.Identity) else yes_half(net, *rows)

    return classic(net, rows, using("SGD", 0.05), loss=nn.BCEWithLogitsLoss(), score=score)


def yes_half(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """Of probabilities: how many of the yes and of the no are found."""
    with torch.no_grad():
        said, truth = net(x) > 0.5, y > 0.5
    return float(said[truth].float().mean() + (~said[~truth]).float().mean() - 1)


def letters(right: bool) -> Training:
    """(n, t, letters) viewed as (n, letters, t) instead of turned."""
    x, y, count = passage()

    def loss(out: Tensor, y: Tensor) -> Tensor:
        n, t, kinds = out.shape
        turned = out.transpose(1, 2) if right else out.reshape(n, kinds, t)
        return functional.cross_entropy(turned, y)

    return study(GPT(count, layers=1), (x, y), using("Adam", 3e-3), loss=loss, batch=32)


# --- a head that cannot give the answer
def progress() -> Rows:
    """A disease's progress, scaled: half of it below zero."""
    return tidy("diabetes")


def angles(scale: float) -> Rows:
    """Where a point of the plane lies, as an angle up to 2 pi; scaled."""
    x = plane("blobs")[0]
    y = torch.atan2(x[:, 1], x[:, 0].abs())[:, None] / pi * scale
    return x, y


broken(
    "unread relu after the last layer, on scaled prices",
    HEAD,
    lambda last: classic(
        nn.Sequential(stack(7, 48, 48, 1), last),
        districts(),
        using("SGD", 0.05, momentum=0.9),
        batch=64,
    ),
    nn.ReLU(),
    nn.Identity(),
    steps=300,
)
broken(
    "unread sigmoid for a disease's progress",
    HEAD,
    lambda last: study(
        nn.Sequential(stack(10, 48, 1, act=nn.Tanh), last), progress(), using("Adam", 5e-3)
    ),
    nn.Sigmoid(),
    nn.Identity(),
    steps=300,
)
broken(
    "unread tanh for angles up to six",
    HEAD,
    lambda last: study(
        nn.Sequential(stack(2, 48, 48, 1, act=nn.GELU), last), angles(12.0), using("Adam", 5e-3)
    ),
    nn.Tanh(),
    nn.Identity(),
    steps=300,
)
broken(
    "unread autoencoder of scaled digits with a sigmoid at its end",
    HEAD,
    lambda last: classic(
        nn.Sequential(stack(64, 64, 24, 64, 64), last),
        (flat()[0], flat()[0]),
        using("Adam", 3e-3),
        batch=64,
    ),
    nn.Sigmoid(),
    nn.Identity(),
    steps=400,
)
broken(
    "unread softmax over the one price",
    HEAD,
    lambda last: study(
        nn.Sequential(stack(7, 48, 1), last), districts(), using("AdamW", 3e-3), batch=64
    ),
    nn.Softmax(dim=1),
    nn.Identity(),
    steps=250,
)
broken(
    "unread pixels of sixteen shades from a sigmoid",
    HEAD,
    lambda last: study(nn.Sequential(stack(64, 64, 24, 64), last), shades(), using("Adam", 5e-3)),
    nn.Sigmoid(),
    nn.Identity(),
    steps=300,
)


def shades() -> Rows:
    """Pictures as shares of full black, to be given back in shades from 0 to 16."""
    x, _ = published("digits")
    return x / 16, x

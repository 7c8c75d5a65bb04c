"""Blind failures of the objective: the loss, the last activation and the answers do not fit."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.data import (
    LETTERS,
    Rows,
    films,
    homes,
    numerals,
    power,
    prose,
    regimes,
    reviews,
    scaled,
    tidy,
)
from scoreboard.blind.loops import study, using
from scoreboard.blind.nets import ConvNeXt, Gist, Speller, Tastes, ViT, stack
from scoreboard.loops import dice, neighbours, update, worth, yes_no
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

MISMATCH, OUTPUT = "loss-mismatch", "output-activation-mismatch"


def ending(net: nn.Module, last: nn.Module | None) -> nn.Module:
    """A network with something at its end."""
    return nn.Sequential(net, last) if last is not None else net


# --- the loss wants something else
broken(
    "blind letters through a softmax before the loss",
    MISMATCH,
    lambda last: study(
        ending(Speller(LETTERS, nn.GRU), last), prose(), using("Adam", 3e-3), batch=16
    ),
    nn.Softmax(-1),
    None,
    steps=300,
)
broken(
    "blind convnext with a softmax and plain descent",
    MISMATCH,
    lambda last: study(ending(ConvNeXt(1, 10), last), large(), using("SGD", 0.05)),
    nn.Softmax(1),
    None,
    steps=200,
)
broken(
    "blind prices as a column beside a row",
    MISMATCH,
    lambda squeezed: study(
        stack(5, 48, 48, 1, act=nn.GELU),
        (scaled(homes()[0]), scaled(homes()[1])),
        using("AdamW", 3e-3),
        loss=lambda out, y: functional.smooth_l1_loss(out, y[:, 0] if squeezed else y),
    ),
    True,
    False,
    steps=300,
)
broken(
    "blind several kinds at once with sigmoids twice",
    MISMATCH,
    lambda twice: several(twice),
    True,
    False,
    steps=400,
)
broken(
    "blind one column for reviews and a cross-entropy",
    MISMATCH,
    lambda single: one_column(single),
    True,
    False,
    steps=250,
)
broken(
    "blind likelihood of logits that nobody took the logarithm of",
    MISMATCH,
    lambda loss: study(ViT(1, 8, 10, patch=2), numerals(), using("AdamW", 2e-3), loss=loss),
    nn.NLLLoss(),
    nn.CrossEntropyLoss(),
    steps=200,
)
broken(
    "blind hinge with noughts for minus ones",
    MISMATCH,
    lambda low: hinged(low),
    0.0,
    -1.0,
    steps=350,
)
broken(
    "blind twins told apart by nought instead of minus one",
    (MISMATCH, "missing-stop-gradient"),
    lambda other: twins(other),
    0.0,
    -1.0,
    steps=300,
)
broken(
    "blind student rewarded for being unlike its teacher",
    MISMATCH,
    lambda sign: distilled(sign),
    -1.0,
    1.0,
    steps=250,
)


def large() -> Rows:
    """The digits as pictures of 16 by 16."""
    x, y = numerals()
    return functional.interpolate(x, scale_factor=2.0), y


def several(twice: bool) -> Training:
    """Five rare properties of a row; a sigmoid in the network and one in the loss."""
    g = dice(87)
    x = torch.randn(1500, 12, generator=g)
    y = (x @ torch.randn(12, 5, generator=g) / 12**0.5 > 1.2).float()
    net = nn.Sequential(stack(12, 40, 5), nn.Sigmoid() if twice else nn.Identity())

    def score() -> float:
        net.eval()
        with torch.no_grad():
            said = net(x) > (0.5 if twice else 0.0)
        truth = y > 0.5
        return float(said[truth].float().mean() + (~said[~truth]).float().mean() - 1)

    return study(net, (x, y), using("SGD", 0.3), loss=nn.BCEWithLogitsLoss(), score=score)


def one_column(single: bool) -> Training:
    """The head of a yes-or-no network, with the loss of many kinds."""
    x, y = reviews()
    net = Gist(80, 1 if single else 2, nn.GRU(16, 24, batch_first=True))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        if single:
            return functional.cross_entropy(out, y.float()[:, None])
        return functional.cross_entropy(out, y)

    def said(ids: Tensor) -> Tensor:
        out: Tensor = net(ids)
        return torch.cat([-out, out], 1) if single else out

    return study(net, (x, y), using("Adam", 5e-3), loss=loss, score=worth(said, x, y))


def hinged(low: float) -> Training:
    """Yes is 1; no ought to be -1."""
    x, kind = tidy("hastie")
    y = torch.where(kind[:, None] > 0, 1.0, low)
    net = stack(10, 64, 64, 1, act=nn.Tanh)
    return study(
        net,
        (x, y),
        using("Adam", 5e-3),
        loss=lambda out, y: functional.relu(1 - y * out).mean(),
        score=yes_no(net, x, y),
    )


def twins(other: float) -> Training:
    """Codes of two pictures: 1 for the same kind, and for another kind what torch asks for or 0."""
    x, y = numerals()
    x, g = x.flatten(1), dice(88)
    net = stack(64, 64, 12, act=nn.Tanh)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)

    def step(k: int) -> Tensor:
        a, b = torch.randint(len(x), (2, 64), generator=g)
        b[:32] = torch.stack([(y == y[i]).nonzero()[0, 0] for i in a[:32]])
        said = torch.where(y[a] == y[b], 1.0, other)
        value = functional.cosine_embedding_loss(net(x[a]), net(x[b]), said, margin=0.2)
        return update(optimizer, value)

    return Training(net, optimizer, step, neighbours(lambda: net(x[:600]), y[:600]))


def distilled(sign: float) -> Training:
    """A student learns what a trained teacher says of signs, by the divergence of the two."""
    x, y = tidy("plants")
    teacher, net = stack(20, 96, 6), stack(20, 32, 6, act=nn.ELU)
    schooling = torch.optim.Adam(teacher.parameters(), lr=5e-3)
    for _ in range(150):
        update(schooling, functional.cross_entropy(teacher(x), y))
    with torch.no_grad():
        soft = functional.softmax(teacher(x) / 2, 1)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        apart = functional.kl_div(functional.log_softmax(out / 2, 1), y, reduction="batchmean")
        return sign * 4 * apart

    return study(net, (x, soft), using("Adam", 3e-3), loss=loss, score=worth(net, x, y))


# --- the last activation cannot say it
broken(
    "blind forecast that ends in a relu",
    OUTPUT,
    lambda last: study(
        ending(Gist(0, 6, nn.GRU(1, 24, batch_first=True)), last), power(), using("Adam", 5e-3)
    ),
    nn.ReLU(),
    None,
    steps=250,
)
broken(
    "blind drawings with a sigmoid at the end",
    OUTPUT,
    lambda last: painted(last),
    nn.Sigmoid(),
    None,
    steps=300,
)
broken(
    "blind stars between minus one and one",
    OUTPUT,
    lambda last: study(ending(Tastes(), last), films(), using("Adam", 1e-2), batch=64),
    nn.Tanh(),
    None,
    steps=500,
)
broken(
    "blind planes that may not fall below nought",
    OUTPUT,
    lambda last: study(
        ending(stack(6, 48, 48, 1), last), regimes(), using("SGD", 0.05, momentum=0.9)
    ),
    nn.Softplus(),
    None,
    steps=300,
)


def painted(last: nn.Module | None) -> Training:
    """An autoencoder's usual end, on pictures that were standardised."""
    x = numerals()[0].flatten(1)
    return study(ending(stack(64, 48, 16, 48, 64, act=nn.SiLU), last), (x, x), using("NAdam", 3e-3))

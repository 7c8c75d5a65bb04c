"""Runs that fail by their labels and rows: rare classes, rows all alike, noise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from scoreboard.data import Batch, sampler, scaled
from scoreboard.faults import part, shuffled, times
from scoreboard.loops import by_kind, fit, value_score
from scoreboard.nets import Cnn, DigitTransformer, mlp
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)

IMBALANCE = "class-imbalance"
ALIKE = "low-data-diversity"
NOISE = "label-noise"


# --- classes
def rare(
    share: float, classes: int = 2, features: int = 4, apart: float = 1.2
) -> tuple[Tensor, Tensor]:
    """Overlapping clouds, all but the first class rare."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4000, features, generator=generator)
    draw = torch.rand(4000, generator=generator)
    y = ((draw < share).long() * (1 + (draw / share * (classes - 1)).long())).clamp(max=classes - 1)
    centres = torch.randn(classes, features, generator=generator)
    return x + apart * centres[y] * (y > 0)[:, None], y


def balanced(data: tuple[Tensor, Tensor], batch: int = 64) -> Callable[[], Batch]:
    """Draws every class as often."""
    x, y = data
    weights = 1.0 / torch.bincount(y).float()[y]
    generator = torch.Generator().manual_seed(0)

    def draw() -> Batch:
        index = torch.multinomial(weights, batch, replacement=True, generator=generator)
        return x[index], y[index]

    return draw


def skewed(net: nn.Module, data: tuple[Tensor, Tensor], even: bool, **settings: object) -> Training:
    score = by_kind(net, *data)
    return fit(net, data, draw=balanced(data) if even else None, score=score, **settings)  # type: ignore[arg-type]


RUNS.broken(
    "imbalance hard 1 percent",
    IMBALANCE,
    lambda even: skewed(mlp(4, 2, width=16), rare(0.01), even, opt="adam", lr=1e-3),
    False,
    True,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "imbalance 2 percent sgd tanh",
    IMBALANCE,
    lambda even: skewed(mlp(4, 2, activation="tanh"), rare(0.02, 2, 4, 0.9), even, lr=0.1),
    False,
    True,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "imbalance four classes",
    IMBALANCE,
    lambda even: skewed(mlp(8, 4), rare(0.03, 4, 8, 0.7), even, opt="momentum", lr=0.02),
    False,
    True,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "imbalance linear model",
    IMBALANCE,
    lambda even: skewed(nn.Linear(6, 2), rare(0.02, 2, 6), even, opt="adamw", lr=1e-2),
    False,
    True,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "imbalance wide gelu",
    IMBALANCE,
    lambda even: skewed(
        mlp(10, 3, width=128, activation="gelu"), rare(0.04, 3, 10, 0.7), even, lr=0.05
    ),
    False,
    True,
    steps=500,
    sudden=False,
)


# --- diversity
def same_rows(name: str, rows: int) -> Training:
    """Rows of one value repeated under all labels; all rows where `rows` is 0."""
    x, y = scaled(name)
    return fit(_net(name), (x[:rows].repeat(len(x), 1)[: len(x)] if rows else x, y), lr=0.1)


def _net(name: str) -> nn.Module:
    x, y = scaled(name)
    return mlp(x.shape[1], int(y.max()) + 1)


def few_rows(net: nn.Module, name: str, rows: int, **settings: object) -> Training:
    """The loader shows the same rows for ever; the score is taken on all."""
    x, y = scaled(name)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(2))
    x, y = x[order], y[order]
    shown = (x[:rows], y[:rows]) if rows else (x, y)
    return fit(net, (x, y), draw=sampler(*shown, 64), **settings)  # type: ignore[arg-type]


def sorted_batches(net: nn.Module, name: str, mixed: bool, **settings: object) -> Training:
    """Batches of one label after the other."""
    x, y = scaled(name)
    order = torch.randperm(len(x)) if mixed else y.argsort(stable=True)
    x, y = x[order], y[order]
    place = [0]

    def draw() -> Batch:
        start = place[0] % (len(x) - 32)
        place[0] += 8
        return x[start : start + 32], y[start : start + 32]

    return fit(net, (x, y), draw=draw, **settings)  # type: ignore[arg-type]


RUNS.broken("constant input", ALIKE, lambda n: same_rows("digits", n), 1, 0)
RUNS.broken(
    "constant input cancer",
    ALIKE,
    lambda n: same_rows("breast_cancer", n),
    1,
    0,
)
RUNS.broken(
    "blank images cnn",
    ALIKE,
    lambda f: fit(Cnn(), times("digits", f), opt="adam", lr=1e-3),
    0.0,
    1.0,
)
RUNS.broken(
    "eight rows for ever",
    ALIKE,
    lambda rows: few_rows(mlp(64, 10), "digits", rows, opt="adam", lr=3e-3),
    8,
    0,
    steps=400,
    sudden=False,
)
RUNS.broken(
    "one batch for ever transformer",
    ALIKE,
    lambda rows: few_rows(DigitTransformer(), "digits", rows, opt="adam", lr=3e-3),
    16,
    0,
    steps=400,
    sudden=False,
)
RUNS.broken(
    "twelve rows of friedman",
    ALIKE,
    lambda rows: few_rows(mlp(10, 1), "friedman", rows, opt="adam", lr=3e-3),
    12,
    0,
    steps=400,
    sudden=False,
)
RUNS.broken(
    "sorted labels",
    ALIKE,
    lambda mixed: sorted_batches(mlp(64, 10), "digits", mixed, lr=0.1),
    False,
    True,
    steps=400,
    sudden=False,
)
RUNS.broken(
    "sorted labels cnn adam",
    ALIKE,
    lambda mixed: sorted_batches(Cnn(), "digits", mixed, opt="adam", lr=1e-3),
    False,
    True,
    steps=400,
    sudden=False,
)


# --- labels
RUNS.broken(
    "shuffled labels sgd",
    NOISE,
    lambda share: fit(mlp(64, 10), shuffled("digits", share), lr=0.1),
    1.0,
    0.0,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "shuffled labels adam",
    NOISE,
    lambda share: fit(mlp(64, 10), shuffled("digits", share), opt="adam", lr=1e-3),
    1.0,
    0.0,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "shuffled labels sgd 0.5",
    NOISE,
    lambda share: fit(mlp(64, 10), shuffled("digits", share), lr=0.5),
    1.0,
    0.0,
    steps=600,
    sudden=False,
)
RUNS.broken(
    "misaligned labels cnn",
    NOISE,
    lambda share: fit(Cnn(), shuffled("digits", share), opt="momentum", lr=0.02),
    1.0,
    0.0,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "misaligned targets friedman",
    NOISE,
    lambda share: fit(mlp(10, 1), shuffled("friedman", share), opt="adam", lr=1e-3),
    1.0,
    0.0,
    steps=600,
    sudden=False,
)
RUNS.broken(
    "labels of other rows blobs",
    NOISE,
    lambda share: fit(
        mlp(30, 4, activation="tanh"), shuffled("blobs", share), opt="adamw", lr=1e-3
    ),
    1.0,
    0.0,
    steps=600,
    sudden=False,
)


def outliers(size: float, **settings: object) -> Training:
    """A hundredth of the targets are far out; judged on the clean ones."""
    x, y = scaled("friedman")
    odd = torch.rand(len(y), generator=torch.Generator().manual_seed(3)) < 0.01
    wild = y + size * odd[:, None] * torch.randn(
        y.shape, generator=torch.Generator().manual_seed(4)
    )
    net = mlp(10, 1)

    return fit(net, (x, wild), score=value_score(net, x, y), **settings)  # type: ignore[arg-type]


RUNS.broken(
    "outliers in targets adam",
    NOISE,
    lambda size: outliers(size, opt="adam", lr=3e-3),
    200.0,
    0.0,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "outliers in targets momentum",
    NOISE,
    lambda size: outliers(size, opt="momentum", lr=3e-3),
    60.0,
    0.0,
    steps=500,
    sudden=False,
)


def noisy_part(share: float, **settings: object) -> Training:
    """Most labels of a few hundred rows are others': memorised, and worth nothing elsewhere."""
    (x, y), held = part("digits", 400)
    wrong = torch.rand(len(y), generator=torch.Generator().manual_seed(6)) < share
    other = torch.randint(10, y.shape, generator=torch.Generator().manual_seed(7))
    net = mlp(64, 10, width=128)
    return fit(net, (x, torch.where(wrong, other, y)), held=held, **settings)  # type: ignore[arg-type]


RUNS.broken(
    "label noise 70 percent memorised",
    (NOISE, "overfitting"),
    lambda share: noisy_part(share, opt="adam", lr=2e-3),
    0.7,
    0.0,
    steps=500,
    sudden=False,
)

"""What a drawn run may learn: tables, pictures, series, words and columns of ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor

from scoreboard.data import Batch, table, text
from scoreboard.loops import dice


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Rows and the question asked of them."""

    shape: str
    """`row`, `pairs`, `image`, `series`, `words` or `columns`."""
    question: str
    """`classes`, `yes` (a logit for each yes or no) or `values`."""
    inputs: int
    """Features, channels, ids in the vocabulary, or ids in each column."""
    outputs: int
    make: Callable[[int], Batch]
    """From a seed; inputs are scaled, values too."""
    each: bool = False
    """There is an answer for every position."""
    causal: bool = False
    """A position may not see what follows it."""
    learns: float = 0.6
    """Skill on rows never trained on that a settled run has."""


def _tensors(x: Any, y: Any) -> Batch:
    x, y = torch.as_tensor(np.asarray(x)), torch.as_tensor(np.asarray(y))
    return x if x.dtype == torch.long else x.float(), y.float() if y.is_floating_point() else y


def even(x: Tensor) -> Tensor:
    """Standardised columns."""
    return (x - x.mean(0)) / (x.std(0) + 1e-3)


def _yes(y: Tensor) -> Tensor:
    return y.float()[:, None]


def _digits(*shape: int) -> Callable[[int], Batch]:
    def make(_: int) -> Batch:
        x, y = table("digits")
        return (x / 8 - 1).view(-1, *shape), y

    return make


def _known(name: str, yes: bool = False) -> Callable[[int], Batch]:
    def make(_: int) -> Batch:
        x, y = table(name)
        return even(x), _yes(y) if yes else y

    return make


def _blobs(seed: int) -> Batch:
    made = datasets.make_classification(
        1500, 24, n_informative=10, n_classes=5, class_sep=1.8, random_state=seed
    )
    x, y = _tensors(*made)
    return even(x), y


def _plane(name: str) -> Callable[[int], Batch]:
    def make(seed: int) -> Batch:
        if name == "moons":
            x, y = _tensors(*datasets.make_moons(1000, noise=0.12, random_state=seed))
        else:
            x, y = _tensors(
                *datasets.make_circles(1000, noise=0.07, factor=0.45, random_state=seed)
            )
        return even(x), _yes(y)

    return make


def _friedman(seed: int) -> Batch:
    x, y = _tensors(*datasets.make_friedman1(1500, 8, noise=0.5, random_state=seed))
    return even(x), even(y[:, None])


def _waves(seed: int) -> Batch:
    x = torch.rand(1500, 3, generator=dice(seed)) * 4 - 2
    y = torch.sin(1.5 * x[:, :1]) + 0.5 * x[:, 1:2].square() - 0.3 * x[:, 2:]
    return x, even(y)


def _arm(seed: int) -> Batch:
    """Where the hand of an arm of three joints is."""
    angles = torch.rand(1500, 3, generator=dice(seed)) * 3 - 1.5
    bent = angles.cumsum(1)
    hand = torch.stack([bent.cos().sum(1), bent.sin().sum(1), bent[:, 2]], 1)
    return angles, even(hand)


def _tags(seed: int) -> Batch:
    g = dice(seed)
    x = torch.randn(2500, 16, generator=g)
    y = x @ torch.randn(16, 5, generator=g) + x[:, :5] * x[:, 5:10]
    return x, (y > 0).float()


def _code(seed: int) -> Batch:
    x, _ = _digits(64)(seed)
    return x, x


def _pairs(seed: int) -> Batch:
    """Which of two things is worth more."""
    g = dice(seed)
    x = torch.randn(2500, 2, 10, generator=g)
    worth = (x[..., :5] * torch.randn(5, generator=g)).sum(-1) + torch.tanh(2 * x[..., 5])
    return x, (worth[:, :1] > worth[:, 1:]).float()


def _gratings(seed: int) -> Batch:
    g = dice(seed)
    kind = torch.randint(4, (2000,), generator=g)
    turn = kind * torch.pi / 4 + 0.15 * torch.randn(2000, generator=g)
    at = torch.arange(12.0) - 5.5
    along = turn.cos()[:, None, None] * at + turn.sin()[:, None, None] * at[:, None]
    phase = torch.rand(2000, 1, 1, generator=g) * 6.3
    x = torch.sin(along * 1.3 + phase) + 0.4 * torch.randn(2000, 12, 12, generator=g)
    return x[:, None], kind


def _spots(seed: int) -> Batch:
    """Which pixels belong to a spot."""
    g = dice(seed)
    at = torch.arange(12.0)
    centre = torch.rand(500, 2, 2, generator=g) * 10 + 1
    far = (at - centre[..., 0, None]).square()[:, :, None] + (at - centre[..., 1, None]).square()[
        ..., None
    ]
    y = (far.amin(1) < 6).float()[:, None]
    return 2 * y - 0.8 + 0.7 * torch.randn(y.shape, generator=g), y


def _tones(seed: int) -> Batch:
    g = dice(seed)
    kind = torch.randint(4, (2000,), generator=g)
    time = torch.arange(32.0) + 30 * torch.rand(2000, 1, generator=g)
    x = torch.sin(time * (0.25 + 0.3 * kind[:, None])) + 0.3 * torch.randn(2000, 32, generator=g)
    return x[..., None], kind


def _sales(seed: int) -> Batch:
    """Tomorrow, from 20 days of a week's pattern, a drift and chance."""
    g = dice(seed)
    time = torch.arange(21.0) + torch.randint(7, (2000, 1), generator=g)
    size = 0.5 + torch.rand(2000, 1, generator=g)
    x = size * torch.sin(time * 6.283 / 7) + torch.randn(2000, 1, generator=g)
    x = x + 0.15 * torch.randn(x.shape, generator=g)
    return x[:, :20, None], even(x[:, 20:])


def _topics(seed: int) -> Batch:
    g = dice(seed)
    y = torch.randint(4, (2500,), generator=g)
    said = torch.randint(40, (2500, 12), generator=g)
    own = 40 + 10 * y[:, None] + torch.randint(10, (2500, 12), generator=g)
    return torch.where(torch.rand(2500, 12, generator=g) < 0.4, own, said), y


def _tagged(seed: int) -> Batch:
    """The tag of a word hangs on it and on the word before."""
    g = dice(seed)
    ids = torch.randint(24, (1500, 12), generator=g)
    kind = torch.randint(4, (24,), generator=g)
    before = torch.cat([ids[:, :1] * 0, ids[:, :-1]], 1)
    return ids, (kind[ids] + (before < 12).long()) % 4


def _chain(seed: int) -> Batch:
    """Next of a chain in which each sign has one usual follower."""
    g = dice(seed)
    follower = torch.randperm(20, generator=g)
    ids = [0]
    chance = torch.rand(9000, generator=g) < 0.15
    other = torch.randint(20, (9000,), generator=g)
    for odd, sign in zip(chance.tolist(), other.tolist(), strict=True):
        ids.append(sign if odd else int(follower[ids[-1]]))
    signs = torch.tensor(ids)
    return signs[:8992].view(-1, 16), signs[1:8993].view(-1, 16)


def _letters(seed: int) -> Batch:
    ids, _ = text()
    start = torch.randint(len(ids) - 25, (900,), generator=dice(seed))
    rows = start[:, None] + torch.arange(25)
    return ids[rows[:, :-1]], ids[rows[:, 1:]]


def _clicks(seed: int) -> Batch:
    """Ids in five columns, worth something alone and in pairs."""
    g = dice(seed)
    ids = torch.randint(12, (2400, 5), generator=g)
    alone = torch.randn(5, 12, generator=g)
    taste, kind = torch.randn(12, 2, generator=g), torch.randn(12, 2, generator=g)
    worth = alone[torch.arange(5), ids].sum(1)
    worth = worth + (taste[ids[:, 0]] * kind[ids[:, 1]]).sum(1)
    return ids, _yes(worth > worth.median())


def _task(shape: str, question: str, inputs: int, outputs: int, make: Any, **more: Any) -> Task:
    return Task(shape=shape, question=question, inputs=inputs, outputs=outputs, make=make, **more)


TASKS = {
    "digits": _task("row", "classes", 64, 10, _digits(64), learns=0.8),
    "wine": _task("row", "classes", 13, 3, _known("wine"), learns=0.8),
    "iris": _task("row", "classes", 4, 3, _known("iris"), learns=0.75),
    "blobs": _task("row", "classes", 24, 5, _blobs, learns=0.6),
    "cancer": _task("row", "yes", 30, 1, _known("breast_cancer", yes=True), learns=0.8),
    "moons": _task("row", "yes", 2, 1, _plane("moons"), learns=0.8),
    "circles": _task("row", "yes", 2, 1, _plane("circles"), learns=0.8),
    "friedman": _task("row", "values", 8, 1, _friedman, learns=0.7),
    "waves": _task("row", "values", 3, 1, _waves, learns=0.7),
    "arm": _task("row", "values", 3, 3, _arm, learns=0.75),
    "tags": _task("row", "yes", 16, 5, _tags, learns=0.6),
    "code": _task("row", "values", 64, 64, _code, learns=0.4),
    "ranking": _task("pairs", "yes", 10, 1, _pairs, learns=0.7),
    "pictures": _task("image", "classes", 1, 10, _digits(1, 8, 8), learns=0.8),
    "gratings": _task("image", "classes", 1, 4, _gratings, learns=0.7),
    "spots": _task("image", "yes", 1, 1, _spots, each=True, learns=0.7),
    "strips": _task("series", "classes", 8, 10, _digits(8, 8), learns=0.65),
    "tones": _task("series", "classes", 1, 4, _tones, learns=0.7),
    "sales": _task("series", "values", 1, 1, _sales, learns=0.7),
    "topics": _task("words", "classes", 80, 4, _topics, learns=0.7),
    "tagged": _task("words", "classes", 24, 4, _tagged, each=True, learns=0.7),
    "chain": _task("words", "classes", 20, 20, _chain, each=True, causal=True, learns=0.6),
    "letters": _task(
        "words", "classes", text()[1], text()[1], _letters, each=True, causal=True, learns=0.5
    ),
    "clicks": _task("columns", "yes", 12, 1, _clicks, learns=0.5),
}


def split(rows: Batch, seed: int) -> tuple[Batch, Batch]:
    """Rows to train on, and a quarter never trained on."""
    x, y = rows
    order = torch.randperm(len(x), generator=dice(seed))
    held, rest = order[: len(x) // 4], order[len(x) // 4 :]
    return (x[rest], y[rest]), (x[held], y[held])


def skill(out: Tensor, y: Tensor, question: str, middle: float = 0.0) -> float:
    """1 = perfect, 0 = what one answer for all is worth; every class counts alike."""
    if not out.isfinite().all():
        return float("nan")
    out = out.detach()  # some faults answer with what wants a gradient
    if question == "values":
        return float(1 - (out - y).square().mean() / (y - y.mean(0)).square().mean())
    if question == "yes":
        said, truth = out > middle, y > 0.5
        return float(said[truth].float().mean() + (~said[~truth]).float().mean() - 1)
    said, kinds = out.argmax(-1), y.unique()
    found = torch.stack([(said[y == kind] == kind).float().mean() for kind in kinds]).mean()
    return float((found - 1 / len(kinds)) / (1 - 1 / len(kinds)))

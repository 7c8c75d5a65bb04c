"""Blind failures of the rows: one kind hardly there, no variety, answers not the rows' own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.data import (
    Rows,
    adverts,
    bearings,
    entities,
    films,
    numerals,
    other_rows,
    parted,
    power,
    reviews,
    signs,
    tidy,
    tissue,
)
from scoreboard.blind.loops import epochs, study, using
from scoreboard.blind.nets import Adverts, Bag, Causal, ConvNeXt, Segmenter, Tagger, Tastes, stack
from scoreboard.loops import by_kind, dice, worth, yes_no
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

IMBALANCE, DIVERSITY, NOISE = "class-imbalance", "low-data-diversity", "label-noise"


# --- hardly any of one kind
broken(
    "blind names one word in a hundred",
    IMBALANCE,
    lambda weights: names(weights),
    (1.0, 1.0, 1.0),
    (0.1, 5.0, 10.0),
    steps=250,
)
broken(
    "blind cells of a pixel or two",
    IMBALANCE,
    lambda weights: pixels(weights),
    (1.0, 1.0, 1.0),
    (0.1, 4.0, 12.0),
    steps=250,
)
broken(
    "blind one click in fifty",
    IMBALANCE,
    lambda weight: rare(weight),
    1.0,
    40.0,
    steps=400,
)


def names(weights: tuple[float, ...]) -> Training:
    """Nearly all words stand outside of any name, and half of the names look like other words."""
    x, y = entities(often=0.02)
    blurred = torch.rand(x.shape, generator=dice(79)) < 0.5
    x = torch.where(blurred, torch.randint(1, 60, x.shape, generator=dice(80)), x)
    net, weight = Tagger(60, 3, nn.LSTM), torch.tensor(weights)
    return study(
        net,
        (x, y),
        using("Adam", 3e-3),
        loss=lambda out, y: functional.cross_entropy(out.flatten(0, 1), y.flatten(), weight),
        score=by_kind(net, x, y),
    )


def pixels(weights: tuple[float, ...]) -> Training:
    x, y = tissue(reach=1.1)
    x = x + 0.9 * torch.randn(x.shape, generator=dice(81))
    net, weight = Segmenter(3), torch.tensor(weights)
    return study(
        net,
        (x, y),
        using("Adam", 2e-3),
        batch=8,
        loss=lambda out, y: functional.cross_entropy(out, y, weight),
        score=by_kind(net, x, y, dim=1),
    )


def rare(weight: float) -> Training:
    x, y = adverts(share=0.02)
    x = x.clone()
    x[:, :4] += 0.7 * torch.randn(len(x), 4, generator=dice(82))
    net = Adverts()
    return study(
        net,
        (x, y),
        using("SGD", 0.02, momentum=0.9),
        batch=64,
        loss=nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weight)),
        score=yes_no(net, x, y),
    )


# --- always the same
broken(
    "blind signs wiped out by augmentation",
    DIVERSITY,
    lambda wiped: study(
        ConvNeXt(3, 5),
        signs(),
        using("AdamW", 3e-3),
        batches=changed(signs(), lambda x: x * 0 if wiped else x.flip(3)),
    ),
    True,
    False,
    steps=200,
)
broken(
    "blind reviews cut to their padding",
    DIVERSITY,
    lambda cut: study(
        Bag(80, 2),
        reviews(),
        using("Adam", 1e-2),
        batches=changed(reviews(), lambda x: x * 0 if cut else x),
    ),
    True,
    False,
    steps=250,
)
broken(
    "blind loader whose index is never raised",
    DIVERSITY,
    lambda stuck: study(
        stack(64, 64, 10, act=nn.GELU),
        flat(parted(numerals(), 400)[0]),
        using("Adam", 2e-3),
        batches=same(epochs(flat(parted(numerals(), 400)[0]), 12)) if stuck else None,
        batch=12,
        test=flat(parted(numerals(), 400)[1]),
    ),
    True,
    False,
    steps=250,
)
broken(
    "blind table of plants in order of kinds",
    DIVERSITY,
    lambda shuffle: study(
        stack(20, 48, 48, 6),
        by_kinds(tidy("plants")),
        using("SGD", 0.1),
        batches=epochs(by_kinds(tidy("plants")), 25, shuffle=shuffle),
    ),
    False,
    True,
    steps=240,
)


def changed(rows: Rows, change: Callable[[Tensor], Tensor]) -> Iterator[Rows]:
    """Batches that pass through an augmentation."""
    for x, y in epochs(rows, 32):
        yield change(x), y


def same(batches: Iterator[Rows]) -> Iterator[Rows]:
    """The first batch, for ever."""
    first = next(batches)
    while True:
        yield first


def flat(rows: Rows) -> Rows:
    return rows[0].flatten(1), rows[1]


def by_kinds(rows: Rows) -> Rows:
    """As a file that was written kind by kind."""
    order = rows[1].argsort()
    return rows[0][order], rows[1][order]


# --- answers that are not the rows' own
broken(
    "blind table whose answers were sorted on their own",
    NOISE,
    lambda wrong: judged_by_truth(tidy("hastie"), wrong),
    True,
    False,
    steps=400,
)
broken(
    "blind knocks with the labels of another day",
    NOISE,
    lambda wrong: study(
        Causal(2, 4),
        other_rows(bearings()) if wrong else bearings(),
        using("Adam", 2e-3),
    ),
    True,
    False,
    steps=400,
)
broken(
    "blind stars with a typing error in every thirtieth",
    (NOISE, "bad-data"),
    lambda wrong: typed(wrong),
    True,
    False,
    steps=400,
)
broken(
    "blind loads with a sensor that sticks now and then",
    (NOISE, "bad-data"),
    lambda wrong: stuck(wrong),
    True,
    False,
    steps=350,
)


def judged_by_truth(rows: Rows, wrong: bool) -> Training:
    net = stack(10, 64, 64, 2)
    x, y = rows
    return study(
        net,
        (x, y.sort()[0] if wrong else y),
        using("AdamW", 2e-3),
        score=worth(net, x, y),
    )


def typed(wrong: bool) -> Training:
    """Some of the stars have a few noughts too many."""
    x, y = films()
    odd = torch.rand(len(y), 1, generator=dice(83)) < 1 / 30
    sign = torch.where(torch.rand(len(y), 1, generator=dice(84)) < 0.5, -1.0, 1.0)
    net = Tastes()
    return study(
        net,
        (x, torch.where(odd, y + 500 * sign, y) if wrong else y),
        using("Adam", 2e-2),
        batch=64,
        score=worth(net, x, y),
    )


def stuck(wrong: bool) -> Training:
    x, y = power()
    x = x[..., 0]
    odd = torch.rand(len(y), 1, generator=dice(85)) < 0.04
    net = stack(48, 64, 6)
    spoilt = torch.where(odd, 300 * torch.randn(len(y), 1, generator=dice(86)), y)
    return study(net, (x, spoilt if wrong else y), using("SGD", 0.02), score=worth(net, x, y))

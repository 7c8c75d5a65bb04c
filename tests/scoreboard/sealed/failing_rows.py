"""Sealed failures of rows that are alike, of wrong answers, and of data that goes bad."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from scoreboard.loops import dice, worth
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import (
    Rows,
    brackets,
    demand,
    friends,
    gratings,
    heartbeats,
    mixed_up,
    scans,
    table,
    tagged,
)
from scoreboard.sealed.loops import Loader, by, from_step, routine
from scoreboard.sealed.nets import Graph, ResNet, Tower, lenet, plain
from scoreboard.sealed.seqs import Dilated, Patches, Reader, Transformer

RUNS = Runs(__name__)
broken = RUNS.broken

ALIKE, NOISE, SPOILT = "low-data-diversity", "label-noise", "bad-data"


# --- rows alike
def first_batch(wrong: bool) -> Training:
    """`next(iter(loader))` in the loop, of a loader that does not shuffle."""
    rows = scans()
    one = (rows[0][:16], rows[1][:16])
    take = Loader(rows, 16)
    return routine(
        lenet(10, 8), rows, by("Adam", 2e-3), draw=(lambda: one) if wrong else take, held=rows
    )


broken("sealed next of a new iterator", ALIKE, first_batch, True, False, sudden=False)


def blocks_of_kinds(wrong: bool) -> Training:
    """A hundred batches of the one kind, then a hundred of the next: nobody shuffled."""
    x, y = table("gases")
    order = y.argsort(stable=True)
    rows = (x[order], y[order]) if wrong else (x, y)
    return routine(
        plain(16, 32, 32, 5),
        rows,
        by("SGD", 0.1, momentum=0.9),
        draw=Loader(rows, 16, shuffle=not wrong),
    )


broken("sealed gases in order", ALIKE, blocks_of_kinds, True, False, steps=400, sudden=False)


def cropped(wrong: bool) -> Training:
    """The augmentation cuts out a corner where nothing is."""
    x, y = scans()
    dark = torch.full_like(x, float(x.min()))
    take = Loader((dark if wrong else x, y), 32)
    return routine(ResNet(10), (x, y), by("Adam", 3e-3), draw=take)


broken("sealed crops of the dark", ALIKE, cropped, True, False, steps=200)


def weighted(wrong: bool) -> Training:
    """The sampler's weights are the ones of another table: three rows get them all."""
    rows = table("friedman")
    g = dice(71)

    def draw() -> Rows:
        index = torch.randint(3 if wrong else len(rows[0]), (32,), generator=g)
        return rows[0][index], rows[1][index]

    return routine(Tower(8, 32, 32, 1, act=nn.Tanh), rows, by("Adam", 3e-3), draw=draw, held=rows)


broken("sealed sampler of three rows", ALIKE, weighted, True, False, sudden=False)

# --- answers of other rows
broken(
    "sealed tumours of other patients",
    NOISE,
    lambda wrong: routine(
        plain(30, 32, 2, act=nn.ELU),
        mixed_up(table("cancer")) if wrong else table("cancer"),
        by("SGD", 0.05, momentum=0.9),
    ),
    True,
    False,
    steps=350,
    sudden=False,
)


def one_off(wrong: bool) -> Training:
    """The answers moved by one when the rows were put together."""
    x, y = scans()
    net = lenet(10, 8)
    given = y.roll(1) if wrong else y
    return routine(net, (x, given), by("AdamW", 2e-3), score=worth(net, x, y))


broken("sealed answers moved by one row", NOISE, one_off, True, False, sudden=False)


def columns_sorted(wrong: bool) -> Training:
    """Every column was sorted by itself."""
    x, y = table("gases")
    seen = x.sort(0).values[torch.randperm(len(x), generator=dice(72))] if wrong else x
    net = Tower(16, 40, 40, 5, act=nn.SiLU)
    return routine(net, (seen, y), by("Adam", 2e-3), score=worth(net, x, y))


broken("sealed columns sorted one by one", NOISE, columns_sorted, True, False, sudden=False)


def shuffled_in_the_loop(wrong: bool) -> Training:
    """The rows of each batch are shuffled, their answers are not."""
    rows, g = heartbeats(), dice(73)
    take = Loader(rows, 32)

    def draw() -> Rows:
        x, y = take()
        return (x[torch.randperm(len(x), generator=g)], y) if wrong else (x, y)

    return routine(Dilated(3), rows, by("Adam", 3e-3), draw=draw)


broken("sealed beats shuffled alone", NOISE, shuffled_in_the_loop, True, False, steps=250,
       sudden=False)  # fmt: skip


def other_windows(wrong: bool) -> Training:
    """Tomorrow is that of another shop."""
    rows = demand()
    return routine(
        Reader(nn.GRU, 1, width=20), mixed_up(rows) if wrong else rows, by("RMSprop", 3e-3)
    )


broken("sealed tomorrow of another shop", NOISE, other_windows, True, False, steps=250,
       sudden=False)  # fmt: skip


def other_tokens(wrong: bool) -> Training:
    """Tags were made for words cut otherwise."""
    x, y = tagged()
    given = y[:, torch.randperm(y.shape[1], generator=dice(74))] if wrong else y
    given = given[torch.randperm(len(x), generator=dice(75))] if wrong else given
    net = Transformer(48, 4, depth=1)
    return routine(net, (x, given), by("AdamW", 3e-3), score=worth(net, x, y))


broken("sealed tags of other words", NOISE, other_tokens, True, False, steps=250, sudden=False)
broken(
    "sealed friends with dealt circles",
    NOISE,
    lambda wrong: dealt(wrong),
    True,
    False,
    steps=80,
    sudden=False,
)


def dealt(wrong: bool) -> Training:
    links, x, kind = friends()
    given = mixed_up((x, kind))[1] if wrong else kind
    net = Graph(links, width=16)
    return routine(
        net, (x, given), by("Adam", 5e-3), draw=lambda: (x, given), score=worth(net, x, kind)
    )


# --- good data that goes bad
def later(
    net: Callable[[], nn.Module],
    rows: Callable[[], Rows],
    at: int,
    spoil: Callable[[Rows], Rows],
    lr: float = 2e-3,
    batch: int = 32,
    name: str = "Adam",
) -> Callable[[bool], Training]:
    """The usual training, whose loader changes at that step."""

    def make(wrong: bool) -> Training:
        data = rows()
        take: Callable[[], Rows] = Loader(data, batch)
        if wrong:
            take = from_step(at, take, spoil)
        return routine(net(), data, by(name, lr), draw=take)

    return make


def stuck() -> Callable[[Rows], Rows]:
    """The first batch that it is shown, again and again."""
    kept: list[Rows] = []

    def spoil(rows: Rows) -> Rows:
        kept.append(rows)
        return kept[0]

    return spoil


def holes(rows: Rows) -> Rows:
    x = rows[0].clone()
    x.view(len(x), -1)[5, 3] = -torch.inf
    return x, rows[1]


def no_number(rows: Rows) -> Rows:
    y = rows[1].clone()
    y[7] = torch.nan
    return rows[0], y


def reseeded(rows: Rows) -> Rows:
    """Labels by another file."""
    return rows[0], torch.randint(int(rows[1].max()) + 1, rows[1].shape)


broken(
    "sealed gases, one batch for ever from 120",
    SPOILT,
    lambda wrong: later(
        lambda: Tower(16, 64, 64, 5, act=nn.GELU), lambda: table("gases"), 120, stuck(), 1e-3, 12
    )(wrong),
    True,
    False,
    steps=500,
    onset=120,
    sudden=False,
)
broken(
    "sealed gratings with labels of another file from 200",
    (SPOILT, NOISE),
    later(lambda: lenet(6, 12), gratings, 200, reseeded, 3e-3),
    True,
    False,
    steps=400,
    onset=200,
)
broken(
    "sealed digits not scaled by a new worker from 180",
    (SPOILT, "unnormalised-inputs"),
    later(lambda: ResNet(10), scans, 180, lambda r: (128 + 80 * r[0], r[1])),
    True,
    False,
    steps=320,
    onset=180,
)
broken(
    "sealed beats with a lead fallen off at 200",
    SPOILT,
    later(lambda: Dilated(3), heartbeats, 200, lambda r: (0 * r[0], r[1])),
    True,
    False,
    steps=330,
    onset=200,
)
broken(
    "sealed sales in another currency from 210",
    (SPOILT, "unscaled-targets"),
    later(
        lambda: Reader(nn.LSTM, 1, width=20), demand, 210, lambda r: (r[0], 1500 * r[1] + 4e4), 5e-3
    ),
    True,
    False,
    steps=330,
    onset=210,
)
broken(
    "sealed logarithm of a zero at 170",
    SPOILT,
    later(lambda: plain(8, 40, 40, 1), lambda: table("friedman"), 170, holes),
    True,
    False,
    steps=260,
    onset=170,
)
broken(
    "sealed an answer that is no number at 140",
    SPOILT,
    later(lambda: Tower(10, 32, 1, act=nn.GELU), lambda: table("diabetes"), 140, no_number),
    True,
    False,
    steps=240,
    onset=140,
)
broken(
    "sealed words of another vocabulary from 210",
    SPOILT,
    later(
        lambda: Transformer(48, 4),
        tagged,
        210,
        lambda r: (47 - r[0], r[1]),
        3e-3,
    ),
    True,
    False,
    steps=360,
    onset=210,
)
broken(
    "sealed classes counted anew from 190",
    SPOILT,
    later(
        lambda: Patches(10, 8),
        scans,
        190,
        lambda r: (r[0], (r[1] + 3) % 10),
        3e-3,
    ),
    True,
    False,
    steps=300,
    onset=190,
)


def slipped(wrong: bool) -> Training:
    """Somebody typed a point too few: one answer in two hundred is a million."""
    x, y = table("friedman")
    bad = y.clone()
    bad[::200] = 1e6 if wrong else 0.0
    net = plain(8, 32, 32, 1, act=nn.SiLU)
    return routine(net, (x, bad), by("Adam", 3e-3), score=worth(net, x, y))


broken("sealed a point too few now and then", (SPOILT, "unscaled-targets"), slipped, True, False,
       steps=400)  # fmt: skip
broken(
    "sealed brackets of another corpus from 160",
    (SPOILT, NOISE),
    later(
        lambda: Transformer(8, 8, causal=True),
        brackets,
        160,
        lambda r: (r[0], torch.randint(8, r[1].shape)),
        3e-3,
    ),
    True,
    False,
    steps=260,
    onset=160,
)

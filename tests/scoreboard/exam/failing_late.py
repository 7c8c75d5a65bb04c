"""The exam: runs that were well until what they were fed went wrong."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from scoreboard.exam.data import (
    LETTERS,
    Pair,
    drawings,
    even,
    graph,
    reversals,
    series,
    sets,
    tongues,
    visits,
    waves,
)
from scoreboard.exam.loops import by, learn, rows
from scoreboard.exam.nets import (
    Bag,
    Excited,
    Highway,
    Mixer,
    Reader,
    Scatter,
    Sets,
    Translator,
    Waves,
    Wide,
)
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)

BAD = "bad-data"
NEVER = 10**9

Spoil = Callable[[torch.Tensor, torch.Tensor], Pair]


def late(
    name: str,
    at: int,
    spoil: Spoil,
    make: Callable[[Callable[[], Pair]], Training],
    data: Callable[[], Pair],
    *,
    batch: int = 48,
    more: int = 200,
    causes: str | tuple[str, ...] = BAD,
    sudden: bool = True,
) -> None:
    """From a step on, each batch is spoilt."""

    def build(start: int) -> Training:
        take = rows(data(), batch)
        drawn = [0]

        def draw() -> Pair:
            drawn[0] += 1
            x, y = take()
            return spoil(x, y) if drawn[0] >= start else (x, y)

        return make(draw)

    RUNS.broken(name, causes, build, at, NEVER, steps=at + more, onset=at, sudden=sudden)


late(
    "exam sensor goes dead at 350",
    350,
    lambda x, y: (torch.zeros_like(x), y),
    lambda draw: learn(Waves(), waves(), by("SGD", 0.05, momentum=0.9), draw=draw),
    waves,
)
late(
    "exam sensor stuck at its limit from 200",
    200,
    lambda x, y: (torch.full_like(x, 4.0), y),
    lambda draw: learn(
        Reader(nn.GRU(1, 24, batch_first=True), 24), series(), by("Adam", 5e-3), draw=draw
    ),
    series,
)


def endless(x: torch.Tensor, y: torch.Tensor) -> Pair:
    """One answer is infinite."""
    y = y.clone()
    y[0] = float("inf")
    return x, y


late(
    "exam an infinite answer at 260",
    260,
    endless,
    lambda draw: learn(Sets(), sets(), by("Adamax", 5e-3), draw=draw),
    sets,
    more=60,
)


def missing(x: torch.Tensor, y: torch.Tensor) -> Pair:
    """A column that was left empty."""
    x = x.clone()
    x[::7, 1] = float("nan")
    return x, y


late(
    "exam a column left empty from 150",
    150,
    missing,
    lambda draw: learn(Highway(3, 1), even("s_curve"), by("NAdam", 3e-3), draw=draw),
    lambda: even("s_curve"),
    more=80,
)
late(
    "exam pictures of other rows from 300",
    300,
    lambda x, y: (x, y.roll(1, 0)),
    lambda draw: learn(Excited(), drawings(), by("AdamW", 3e-3), draw=draw),
    drawings,
    more=250,
    causes=(BAD, "label-noise"),
)
late(
    "exam one visitor from 280",
    280,
    lambda x, y: (x[:1].expand_as(x), y),
    lambda draw: learn(Wide(), visits(), by("Adagrad", 0.1), draw=draw),
    visits,
    more=300,
)
late(
    "exam features of other nodes from 220",
    220,
    lambda x, y: (x[torch.randperm(len(x))], y),
    lambda draw: learn(Scatter(graph()[2]), graph()[:2], by("RMSprop", 3e-3), draw=draw, batch=400),
    lambda: graph()[:2],
    batch=400,
    causes=(BAD, "label-noise"),
)
late(
    "exam pictures a thousand times brighter from 240",
    240,
    lambda x, y: (x * 1000, y),
    lambda draw: learn(Mixer(), drawings(), by("RAdam", 3e-3), draw=draw),
    drawings,
    causes=(BAD, "unnormalised-inputs"),
)
late(
    "exam all speech of one language from 180",
    180,
    lambda x, y: (x, torch.full_like(y, 2)),
    lambda draw: learn(Bag(len(LETTERS)), tongues(), by("Adam", 1e-2), draw=draw),
    tongues,
    more=250,
)
late(
    "exam everything is of the first kind from 300",
    300,
    lambda x, y: (x, torch.zeros_like(y)),
    lambda draw: learn(Translator(), reversals(), by("Adam", 5e-3), draw=draw),
    reversals,
    more=150,
)
late(
    "exam answers in other units from 320",
    320,
    lambda x, y: (x, y * 500 + 2000),
    lambda draw: learn(
        Reader(nn.LSTM(1, 20, batch_first=True), 20), series(), by("Adam", 5e-3), draw=draw
    ),
    series,
    more=150,
    causes=(BAD, "unscaled-targets"),
)

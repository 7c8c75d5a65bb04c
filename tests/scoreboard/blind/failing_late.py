"""Blind failures in mid-run: what the loader gives turns into something else."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from scoreboard.blind.data import (
    LETTERS,
    Rows,
    adverts,
    bearings,
    compounds,
    power,
    prose,
    reviews,
    signs,
    tidy,
)
from scoreboard.blind.loops import epochs, since, study, using
from scoreboard.blind.nets import Adverts, Bag, Causal, Compounds, ConvNeXt, Gist, Speller, stack
from scoreboard.loops import yes_no
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

DATA = "bad-data"
Spoil = Callable[[Rows], Rows]
NEVER = 10**6


def turning(
    net: nn.Module, rows: Rows, name: str, lr: float, at: int, spoil: Spoil, batch: int = 32
) -> Training:
    """Trained on batches that are spoilt from that one on."""
    return study(net, rows, using(name, lr), batches=since(at, epochs(rows, batch), spoil))


broken(
    "blind signs all black from 160",
    DATA,
    lambda at: turning(
        ConvNeXt(3, 5), signs(), "AdamW", 3e-3, at, lambda r: (r[0] * 0 - 1.0, r[1])
    ),
    160,
    NEVER,
    steps=320,
    onset=160,
)
broken(
    "blind loads with a row that is no number from 130",
    (DATA, "numerical-overflow"),
    lambda at: turning(
        Gist(0, 6, nn.GRU(1, 24, batch_first=True)), power(), "Adam", 3e-3, at, holed
    ),
    130,
    NEVER,
    steps=250,
    onset=130,
)
broken(
    "blind plants in other units from 200",
    DATA,
    lambda at: turning(
        stack(20, 64, 64, 6), tidy("plants"), "SGD", 0.1, at, lambda r: (r[0] * 1000, r[1])
    ),
    200,
    NEVER,
    steps=350,
    onset=200,
)
broken(
    "blind compounds whose energies all read nought from 180",
    DATA,
    lambda at: turning(
        Compounds(), compounds(), "RMSprop", 2e-3, at, lambda r: (r[0], r[1] * 0 + 4.0)
    ),
    180,
    NEVER,
    steps=330,
    onset=180,
)
broken(
    "blind reviews that are all the same one from 150",
    DATA,
    lambda at: turning(
        Bag(80, 2), reviews(), "Adam", 1e-2, at, lambda r: (r[0][:1].expand_as(r[0]), r[1])
    ),
    150,
    NEVER,
    steps=320,
    onset=150,
)
broken(
    "blind adverts of which every one was clicked on from 170",
    DATA,
    lambda at: clicked(at),
    170,
    NEVER,
    steps=350,
    onset=170,
)
broken(
    "blind loader hands out one batch from 60",
    (DATA, "low-data-diversity"),
    lambda at: repeated(at),
    60,
    NEVER,
    steps=400,
    onset=60,
    sudden=False,
)
broken(
    "blind knocks with the labels of the next from 190",
    (DATA, "label-noise"),
    lambda at: turning(Causal(2, 4), bearings(), "Adam", 3e-3, at, lambda r: (r[0], r[1].roll(1))),
    190,
    NEVER,
    steps=420,
    onset=190,
)


def holed(rows: Rows) -> Rows:
    x = rows[0].clone()
    x[3, 5:9] = float("nan")
    return x, rows[1]


def clicked(at: int) -> Training:
    """A query that forgot those who did not."""
    net, rows = Adverts(), adverts()
    return study(
        net,
        rows,
        using("Adam", 5e-3),
        batch=64,
        loss=nn.BCEWithLogitsLoss(),
        batches=since(at, epochs(rows, 64), lambda r: (r[0], r[1] * 0 + 1)),
        score=yes_no(net, *rows),
    )


def repeated(at: int) -> Training:
    """A buffer that is never filled again; tested on letters further on."""
    x, y = prose()
    kept: list[Rows] = []

    def again(rows: Rows) -> Rows:
        kept.append(rows)
        return kept[0]

    return study(
        Speller(LETTERS, nn.GRU, width=64),
        (x, y),
        using("Adam", 1e-2),
        batches=since(at, epochs((x[:440], y[:440]), 12), again),
        test=(x[440:], y[440:]),
    )

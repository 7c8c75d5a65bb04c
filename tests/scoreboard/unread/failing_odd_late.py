"""Odd unread failures in mid-run: what the loader gives turns into something else."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from scoreboard.blind.loops import epochs, since
from scoreboard.blind.parts import mlp
from scoreboard.loops import yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.unread.nets import Apart, Dilated, coder
from scoreboard.unread.parts import (
    Rows,
    cloth,
    flat_digits,
    go,
    labels,
    plant,
    tones,
)

RUNS = Runs(__name__)
broken = RUNS.broken

DATA = "bad-data"
NEVER = 10**6
Spoil = Callable[[Rows], Rows]


# --- in mid-run
def turning(net: nn.Module, data: tuple[Rows, Rows], at: int, spoil: Spoil) -> Training:
    return go(net, data, lr=4e-3, batch=32, batches=since(at, epochs(data[0], 32), spoil))


broken(
    "unread microphone off from 140",
    DATA,
    lambda at: turning(Dilated(), tones(), at, lambda r: (r[0] * 0, r[1])),
    140,
    NEVER,
    steps=280,
    onset=140,
)
broken(
    "unread digits to be made again all black from 150",
    DATA,
    lambda at: turning(coder(), flat_digits(), at, lambda r: (r[0] * 0 - 0.8, r[1] * 0 - 0.8)),
    150,
    NEVER,
    steps=300,
    onset=150,
)
broken(
    "unread tags all off from 160",
    DATA,
    lambda at: tags_off(at),
    160,
    NEVER,
    steps=320,
    onset=160,
)
broken(
    "unread readings times ten thousand from 180",
    DATA,
    lambda at: turning(mlp(12, 64, 64, 3), plant(), at, lambda r: (r[0] * 1e4, r[1])),
    180,
    NEVER,
    steps=300,
    onset=180,
)
broken(
    "unread one row in the batch not a number from 110",
    (DATA, "numerical-overflow"),
    lambda at: turning(Apart(), cloth(), at, holed),
    110,
    NEVER,
    steps=200,
    onset=110,
)


def holed(rows: Rows) -> Rows:
    x = rows[0].clone()
    x[5, 1, 2:4] = float("nan")
    return x, rows[1]


def tags_off(at: int) -> Training:
    net, data = mlp(20, 48, 6), labels()
    return go(
        net,
        data,
        lr=4e-3,
        loss=nn.BCEWithLogitsLoss(),
        score=yes_no(net, *data[1]),
        batches=since(at, epochs(data[0], 32), lambda r: (r[0], r[1] * 0)),
    )

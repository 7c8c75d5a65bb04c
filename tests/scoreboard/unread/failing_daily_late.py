"""Unread failures of rows that go bad while a script trains."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from scoreboard.blind.data import Rows, numerals
from scoreboard.blind.loops import epochs, since, study, using
from scoreboard.blind.nets import stack
from scoreboard.scenario import Runs, Training
from scoreboard.unread.daily_data import districts, passage, plane, sales
from scoreboard.unread.daily_nets import CharLSTM, LastState, LeNet

RUNS = Runs(__name__)
broken = RUNS.broken

BAD = "bad-data"


# --- rows that go bad
def bad(
    net: nn.Module,
    rows: Rows,
    change: Callable[[Rows], Rows],
    at: int,
    lr: float,
    kind: str = "Adam",
) -> Training:
    """From that step on every batch is changed so; judged on rows as they should be."""
    settings = {"momentum": 0.9} if kind == "SGD" else {}
    source = since(at, epochs(rows, 32), change)
    return study(net, rows, using(kind, lr, **settings), batches=source)


def same(rows: Rows) -> Rows:
    """Nothing is changed."""
    return rows


def gaps(rows: Rows) -> Rows:
    """A missing figure in one row."""
    x = rows[0].clone()
    x[3, 1] = math.nan
    return x, rows[1]


broken(
    "unread missing figures from step 150",
    BAD,
    lambda change: bad(stack(7, 48, 48, 1), districts(), change, 150, 2e-3),
    gaps,
    same,
    steps=300,
    onset=150,
)
broken(
    "unread labels all nought from step 130",
    BAD,
    lambda change: bad(LeNet(), numerals(), change, 130, 0.02, "SGD"),
    lambda rows: (rows[0], torch.zeros_like(rows[1])),
    same,
    steps=300,
    onset=130,
)
broken(
    "unread signals a thousand times too large from step 140",
    BAD,
    lambda change: bad(stack(2, 48, 48, 5), plane("blobs"), change, 140, 3e-3),
    lambda rows: (1000 * rows[0], rows[1]),
    same,
    steps=300,
    onset=140,
)
broken(
    "unread shop's till stuck at one figure from step 170",
    BAD,
    lambda change: shop(change),
    lambda rows: (rows[0], torch.full_like(rows[1], -3.0)),
    same,
    steps=350,
    onset=170,
)
broken(
    "unread letters that are all blanks from step 150",
    BAD,
    lambda change: letters(change),
    lambda rows: (torch.zeros_like(rows[0]), rows[1]),
    same,
    steps=350,
    onset=150,
)


def shop(change: Callable[[Rows], Rows]) -> Training:
    """Tomorrow's sales by a recurrent layer."""
    x, y = sales()
    rows = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    return bad(LastState(nn.LSTM, 1, 24, 1), rows, change, 170, 1e-2)


def letters(change: Callable[[Rows], Rows]) -> Training:
    """Next letters."""
    x, y, count = passage()
    return bad(CharLSTM(count), (x, y), change, 150, 1e-2)

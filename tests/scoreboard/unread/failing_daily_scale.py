"""Unread failures of units: inputs and answers in dollars, pixels, counts and years."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.data import Rows, published, scaled, tidy
from scoreboard.blind.loops import study, using
from scoreboard.blind.nets import stack
from scoreboard.loops import dice
from scoreboard.scenario import Runs
from scoreboard.unread.daily_data import districts, houses, plane, sales
from scoreboard.unread.daily_loops import classic
from scoreboard.unread.daily_nets import LastState

RUNS = Runs(__name__)
broken = RUNS.broken

INPUTS, TARGETS = "unnormalised-inputs", "unscaled-targets"


def wines(raw: bool) -> Rows:
    """With proline in the hundreds, or all alike."""
    return published("wine") if raw else tidy("wine")


def tumours(raw: bool) -> Rows:
    """With areas in the thousands, or all alike."""
    return published("cancer") if raw else tidy("cancer")


def rooms(raw: bool) -> Rows:
    """Districts as the census has them, with scaled prices."""
    return (houses() if raw else districts())[0], districts()[1]


def pixels(raw: bool) -> Rows:
    """Digits from 0 to 255, or mean 0 and spread 1."""
    x, y = published("digits")
    return (x * 255 / 16, y) if raw else ((x - x.mean()) / x.std(), y)


def far_moons(raw: bool) -> Rows:
    """Moons on a map in metres east and north of a far origin."""
    x, y = plane("moons")
    return (x * 800 + torch.tensor([431_000.0, 5_412_000.0]), y) if raw else (x, y)


broken(
    "unread wine in its own units",
    INPUTS,
    lambda raw: classic(stack(13, 32, 32, 3, act=nn.Tanh), wines(raw), using("SGD", 0.05)),
    True,
    False,
    steps=300,
)
broken(
    "unread tumours in square microns",
    INPUTS,
    lambda raw: classic(
        stack(30, 32, 32, 2), tumours(raw), using("SGD", 0.02, momentum=0.9), batch=64
    ),
    True,
    False,
    steps=250,
)
broken(
    "unread census table fed as it is",
    INPUTS,
    lambda raw: study(stack(7, 64, 64, 1, act=nn.Tanh), rooms(raw), using("Adam", 3e-3), batch=64),
    True,
    False,
    steps=300,
)
broken(
    "unread pixels up to 255 into sigmoids",
    INPUTS,
    lambda raw: study(
        stack(64, 48, 48, 10, act=nn.Sigmoid), pixels(raw), using("SGD", 0.3, momentum=0.9)
    ),
    True,
    False,
    steps=400,
)
broken(
    "unread moons in metres on the map",
    INPUTS,
    lambda raw: study(stack(2, 64, 64, 2), far_moons(raw), using("Adam", 3e-3)),
    True,
    False,
    steps=300,
)
broken(
    "unread shop's days in pieces into an lstm",
    INPUTS,
    lambda raw: study(
        LastState(nn.LSTM, 1, 24, 1), shop(raw, answers=False), using("Adam", 1e-2), batch=32
    ),
    True,
    False,
    steps=300,
)


def shop(raw: bool, answers: bool) -> Rows:
    """Days in pieces sold; what is asked may be so too."""
    x, y = sales()
    both = (x - x.mean()) / x.std(), scaled(y)
    if not raw:
        return both
    return (both[0], y) if answers else (x, both[1])


# --- targets
def prices(raw: bool) -> Rows:
    """Prices in dollars, or scaled."""
    return districts()[0], (houses() if raw else districts())[1]


def progress(raw: bool) -> Rows:
    """A disease's progress by its own figure, or scaled."""
    return tidy("diabetes")[0], (published("diabetes") if raw else tidy("diabetes"))[1]


def years(raw: bool) -> Rows:
    """In which year a song was made, from its sound."""
    g = dice(41)
    x = torch.randn(1500, 16, generator=g)
    y = (
        1985
        + 12 * torch.tanh(x[:, :1] + x[:, 1:2] * x[:, 2:3])
        + 2 * torch.randn(1500, 1, generator=g)
    )
    return x, y if raw else scaled(y)


def both_ends(raw: bool) -> Rows:
    """Two answers at once, of which one is a million times the other."""
    x = tidy("iris")[0]
    y = torch.stack([x[:, 0] * x[:, 1], (x[:, 2] + x[:, 3] ** 2) * 1e5 + 4e5], 1)
    return x, y if raw else scaled(y)


def squares(out: Tensor, y: Tensor) -> Tensor:
    """The mean square, written out."""
    return ((out - y) ** 2).mean()


broken(
    "unread prices in dollars",
    TARGETS,
    lambda raw: classic(stack(7, 64, 64, 1), prices(raw), using("Adam", 1e-3), batch=64),
    True,
    False,
    steps=300,
)
broken(
    "unread disease progress by its own figure",
    TARGETS,
    lambda raw: study(stack(10, 64, 64, 1), progress(raw), using("AdamW", 1e-3), loss=squares),
    True,
    False,
    steps=200,
)
broken(
    "unread pieces sold as the answer of an lstm",
    TARGETS,
    lambda raw: study(LastState(nn.LSTM, 1, 24, 1), shop(raw, answers=True), using("Adam", 1e-2)),
    True,
    False,
    steps=300,
)
broken(
    "unread year of a song",
    TARGETS,
    lambda raw: study(
        stack(16, 64, 64, 1, act=nn.Tanh),
        years(raw),
        using("Adam", 3e-3),
        loss=functional.smooth_l1_loss,
        batch=64,
    ),
    True,
    False,
    steps=400,
)
broken(
    "unread two answers, one of them in money",
    TARGETS,
    lambda raw: study(stack(4, 48, 48, 2), both_ends(raw), using("SGD", 5e-2), batch=32),
    True,
    False,
    steps=300,
)

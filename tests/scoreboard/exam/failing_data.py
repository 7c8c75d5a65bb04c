"""The exam: inputs and targets on the wrong scale."""

from __future__ import annotations

import torch
from torch import nn

from scoreboard.exam.data import (
    Pair,
    arcs,
    drawings,
    even,
    series,
    sets,
    sprites,
    standard,
    tables,
    waves,
)
from scoreboard.exam.loops import Plain, by, by_hand, learn
from scoreboard.exam.nets import Excited, Highway, Hyper, Reader, Sets, Tcn, Waves, stack
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

INPUTS = "unnormalised-inputs"
TARGETS = "unscaled-targets"


def source(name: str, raw: bool) -> Pair:
    return tables(name) if raw else even(name)


def loud(pair: Pair, factor: float, offset: float = 0.0) -> Pair:
    """The same rows in other units."""
    return pair[0] * factor + offset, pair[1]


def dear(pair: Pair, factor: float, offset: float = 0.0) -> Pair:
    """The same answers in other units."""
    return pair[0], pair[1] * factor + offset


# --- inputs
broken(
    "exam impedances as they come tanh",
    INPUTS,
    lambda raw: learn(
        stack(4, 32, 32, 1, activation=nn.Tanh), source("friedman2", raw), by("SGD", 0.05)
    ),
    True,
    False,
    steps=500,
)
broken(
    "exam phases as they come by hand",
    INPUTS,
    lambda raw: by_hand(stack(4, 32, 32, 1), source("friedman3", raw), 0.02),
    True,
    False,
    steps=600,
)


def stamped(raw: bool) -> Training:
    """Each value with the second it was taken at, since 1970 or since the series began."""
    x, y = series()
    when = 3600.0 * torch.arange(len(x))[:, None, None] + 3600.0 * torch.arange(24)[:, None]
    when = when + 1.7e9 if raw else when / when.std()
    return learn(
        Reader(nn.GRU(2, 24, batch_first=True), 24),
        (torch.cat([x, when], 2), y),
        by("Adam", 5e-3),
    )


broken("exam time stamps in seconds", INPUTS, stamped, True, False, steps=400)


def pixels(raw: bool) -> Training:
    x, kind, _ = sprites()
    return learn(Excited(), (x * 255, kind) if raw else drawings(), by("SGD", 0.1, momentum=0.9))


broken("exam pixels to 255", INPUTS, pixels, True, False, steps=400)
broken(
    "exam waves in microvolts",
    INPUTS,
    lambda f: learn(Waves(activation=nn.SiLU), loud(waves(), f), by("RAdam", 3e-3)),
    1e-6,
    1.0,
    steps=400,
)
broken(
    "exam waves on a high offset",
    INPUTS,
    lambda o: learn(Waves(activation=nn.Tanh), loud(waves(), 1.0, o), by("SGD", 0.1)),
    500.0,
    0.0,
    steps=400,
)
broken(
    "exam gymnasts as they come",
    INPUTS,
    lambda raw: learn(
        stack(3, 16, 3, activation=nn.Sigmoid),
        source("linnerud", raw),
        by("SGD", 0.2),
        batch=20,
    ),
    True,
    False,
    steps=900,
)
broken(
    "exam points in nanometres",
    INPUTS,
    lambda f: learn(Sets(), loud(sets(), f), by("Adamax", 5e-3)),
    1e-7,
    1.0,
    steps=400,
)
broken(
    "exam roll in thousandths hyper network",
    INPUTS,
    lambda f: learn(Hyper(3, 1), loud(even("swiss_roll"), f), by("Adam", 5e-3)),
    1000.0,
    1.0,
    steps=500,
)


broken(
    "exam numpy network features far apart",
    INPUTS,
    lambda raw: Plain(*source("friedman2", raw), 0.05).training(),
    True,
    False,
    steps=500,
)
broken(
    "exam numpy network rate of 20",
    "learning-rate-too-high",
    lambda lr: Plain(*even("s_curve"), lr).training(),
    20.0,
    0.1,
    steps=500,
)

# --- targets
broken(
    "exam sets in millions",
    TARGETS,
    lambda f: learn(Sets(), dear(sets(), f, 2 * f if f > 1 else 0), by("Adam", 3e-3)),
    1e6,
    1.0,
    steps=400,
)
broken(
    "exam series in cents",
    TARGETS,
    lambda f: learn(Tcn(1, 1), dear(series(), f, 5 * f if f > 1 else 0), by("RMSprop", 2e-3)),
    1e4,
    1.0,
    steps=400,
)
broken(
    "exam curve in picometres",
    TARGETS,
    lambda f: learn(Highway(3, 1), dear(even("s_curve"), f), by("SGD", 0.05, momentum=0.9)),
    1e-6,
    1.0,
    steps=400,
)
broken(
    "exam arcs at an altitude",
    TARGETS,
    lambda o: learn(
        stack(1, 32, 32, 1, activation=nn.Tanh),
        (standard(arcs()[1]), standard(arcs()[0]) + o),
        by("NAdam", 3e-3),
    ),
    2000.0,
    0.0,
    steps=500,
)

"""Runs that fail by the scale of their inputs or targets."""

from __future__ import annotations

from torch import Tensor

from scoreboard.data import scaled, table
from scoreboard.faults import dominated, targets, times
from scoreboard.loops import fit
from scoreboard.nets import Cnn, Recurrent, mlp
from scoreboard.scenario import Runs

RUNS = Runs(__name__)

INPUTS = "unnormalised-inputs"
TARGETS = "unscaled-targets"


def source(name: str, raw: bool) -> tuple[Tensor, Tensor]:
    return table(name) if raw else scaled(name)


# --- inputs
RUNS.broken(
    "raw cancer relu sgd",
    INPUTS,
    lambda raw: fit(mlp(30, 2, width=32), source("breast_cancer", raw), lr=0.01),
    True,
    False,
)
RUNS.broken(
    "raw cancer tanh",
    INPUTS,
    lambda raw: fit(mlp(30, 2, width=32, activation="tanh"), source("breast_cancer", raw), lr=0.01),
    True,
    False,
)
RUNS.broken(
    "raw cancer sigmoid adam",
    INPUTS,
    lambda raw: fit(
        mlp(30, 2, width=32, activation="sigmoid"),
        source("breast_cancer", raw),
        opt="momentum",
        lr=0.1,
    ),
    True,
    False,
)
RUNS.broken(
    "raw wine relu sgd",
    INPUTS,
    lambda raw: fit(mlp(13, 3, width=32), source("wine", raw), lr=0.02),
    True,
    False,
)
RUNS.broken(
    "raw wine tanh",
    INPUTS,
    lambda raw: fit(mlp(13, 3, width=32, activation="tanh"), source("wine", raw), lr=0.05),
    True,
    False,
)
RUNS.broken(
    "digits times thousand tanh",
    INPUTS,
    lambda f: fit(mlp(64, 10, width=8, depth=3, activation="tanh"), times("digits", f), lr=0.3),
    1000.0,
    1.0,
)
RUNS.broken(
    "digits times thousand relu",
    INPUTS,
    lambda f: fit(mlp(64, 10), times("digits", f), lr=0.1),
    1000.0,
    1.0,
)
RUNS.broken(
    "offset 1000 tanh",
    INPUTS,
    lambda o: fit(mlp(64, 10, activation="tanh"), times("digits", 1, o), lr=0.1),
    1000.0,
    0.0,
)
RUNS.broken(
    "offset 100 relu sgd",
    INPUTS,
    lambda o: fit(mlp(64, 10), times("digits", 1, o), lr=0.1),
    100.0,
    0.0,
)
RUNS.broken(
    "tiny inputs tanh",
    INPUTS,
    lambda f: fit(mlp(64, 10, activation="tanh"), times("digits", f), lr=0.1),
    1e-5,
    1.0,
)
RUNS.broken(
    "tiny inputs relu",
    INPUTS,
    lambda f: fit(mlp(64, 10), times("digits", f), opt="adam", lr=1e-3),
    1e-5,
    1.0,
)
RUNS.broken(
    "dominating feature tanh",
    INPUTS,
    lambda by: fit(mlp(64, 10, activation="tanh"), dominated("digits", by), lr=0.1),
    3000.0,
    0.0,
)
RUNS.broken(
    "raw diabetes times 300 momentum",
    INPUTS,
    lambda f: fit(
        mlp(10, 1, width=32, activation="gelu"), times("diabetes", f), opt="momentum", lr=0.01
    ),
    300.0,
    1.0,
)
RUNS.broken(
    "pixels in thousands lstm",
    INPUTS,
    lambda f: fit(Recurrent("LSTM"), times("digits", f, f), opt="adam", lr=3e-3),
    3000.0,
    1.0,
)
RUNS.broken(
    "tiny inputs cnn",
    INPUTS,
    lambda f: fit(Cnn(), times("digits", f), opt="momentum", lr=0.02),
    1e-5,
    1.0,
)

# --- targets
RUNS.broken(
    "targets in thousands sgd",
    TARGETS,
    lambda f: fit(mlp(10, 1), targets("friedman", f, 3 * f if f > 1 else 0), lr=0.02),
    1000.0,
    1.0,
)
RUNS.broken(
    "targets in thousands adam",
    TARGETS,
    lambda f: fit(
        mlp(10, 1, depth=3), targets("friedman", f, 5 * f if f > 1 else 0), opt="adam", lr=1e-3
    ),
    1000.0,
    1.0,
)
RUNS.broken(
    "targets with an offset of 1000 tanh",
    TARGETS,
    lambda o: fit(mlp(10, 1, activation="tanh"), targets("diabetes", 1, o), opt="adam", lr=3e-3),
    1000.0,
    0.0,
)
RUNS.broken(
    "prices as they come momentum",
    TARGETS,
    lambda f: fit(
        mlp(10, 1, activation="gelu"),
        targets("diabetes", f, 2 * f if f > 1 else 0),
        opt="momentum",
        lr=0.01,
    ),
    1e5,
    1.0,
)
RUNS.broken(
    "targets of a millionth rmsprop",
    TARGETS,
    lambda f: fit(mlp(10, 1), targets("friedman", f), opt="momentum", lr=0.02),
    1e-5,
    1.0,
)
RUNS.broken(
    "raw targets layer norm",
    TARGETS,
    lambda f: fit(
        mlp(10, 1, norm="layer"),
        targets("friedman", f, 4 * f if f > 1 else 0),
        opt="adamw",
        lr=3e-3,
    ),
    200.0,
    1.0,
)

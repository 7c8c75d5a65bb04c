"""Runs that fail by their learning rate: too high, too low, from the start or later."""

from __future__ import annotations

from collections.abc import Callable

from scoreboard.data import table, text
from scoreboard.loops import fit, text_fit
from scoreboard.nets import (
    CharRnn,
    CharTransformer,
    Cnn,
    DigitTransformer,
    Recurrent,
    Residual,
    mlp,
)
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)

HIGH = "learning-rate-too-high"
LOW = "learning-rate-too-low"


def high(
    name: str, make: Callable[[float], Training], wrong: float, right: float, steps: int = 300
) -> None:
    RUNS.broken(f"lr {name}", HIGH, make, wrong, right, steps=steps)


high("sgd 10 relu", lambda lr: fit(mlp(64, 10), "digits", lr=lr), 10, 0.1)
high("sgd 3 relu 4 layers", lambda lr: fit(mlp(64, 10, depth=4), "digits", lr=lr), 3, 0.2)
high("sgd 50 cnn", lambda lr: fit(Cnn(), "digits", lr=lr), 50, 0.1)
high("sgd 50 cnn raw", lambda lr: fit(Cnn(), table("digits"), lr=lr), 50, 0.02)
high("sgd 10 tanh", lambda lr: fit(mlp(64, 10, activation="tanh"), "digits", lr=lr), 10, 0.1)
high(
    "sgd 100 sigmoid", lambda lr: fit(mlp(64, 10, activation="sigmoid"), "digits", lr=lr), 100, 1.5
)
high("momentum 2 relu", lambda lr: fit(mlp(64, 10), "digits", opt="momentum", lr=lr), 2, 0.02)
high(
    "momentum 1 tanh 3",
    lambda lr: fit(mlp(64, 10, depth=3, activation="tanh"), "digits", opt="momentum", lr=lr),
    3,
    0.02,
)
high("adam 1 relu", lambda lr: fit(mlp(64, 10), "digits", opt="adam", lr=lr), 1, 1e-3)
high(
    "adam 0.3 relu 4", lambda lr: fit(mlp(64, 10, depth=4), "digits", opt="adam", lr=lr), 0.3, 1e-3
)
high(
    "adam 1 sigmoid",
    lambda lr: fit(mlp(64, 10, activation="sigmoid"), "digits", opt="adam", lr=lr),
    1,
    5e-3,
)
high(
    "adam 0.5 tanh",
    lambda lr: fit(mlp(64, 10, depth=3, activation="tanh"), "digits", opt="adam", lr=lr),
    0.5,
    1e-3,
)
high(
    "adam 10 gelu",
    lambda lr: fit(mlp(64, 10, activation="gelu"), "digits", opt="adam", lr=lr),
    10,
    1e-3,
)
high(
    "rmsprop 0.5 relu",
    lambda lr: fit(mlp(64, 10, depth=3), "digits", opt="rmsprop", lr=lr),
    0.5,
    1e-3,
)
high("adamw 0.3 cnn", lambda lr: fit(Cnn(), "digits", opt="adamw", lr=lr), 0.3, 1e-3)
high("adam 1 cnn batchnorm", lambda lr: fit(Cnn(norm=True), "digits", opt="adam", lr=lr), 1.0, 1e-3)
high(
    "adam 0.3 transformer post",
    lambda lr: fit(DigitTransformer(pre=False), "digits", opt="adam", lr=lr),
    0.3,
    1e-3,
)
high(
    "adam 0.3 text transformer",
    lambda lr: text_fit(CharTransformer(text()[1]), opt="adam", lr=lr),
    0.3,
    3e-3,
)
high(
    "adam 0.05 text post",
    lambda lr: text_fit(CharTransformer(text()[1], pre=False, layers=3), opt="adam", lr=lr),
    0.05,
    1e-3,
)
high("adam 1 lstm", lambda lr: fit(Recurrent("LSTM"), "digits", opt="adam", lr=lr), 1, 3e-3)
high("sgd 30 rnn", lambda lr: fit(Recurrent("RNN"), "digits", lr=lr), 30, 0.05)
high("sgd 10 cancer", lambda lr: fit(mlp(30, 2, width=32), "breast_cancer", lr=lr), 30, 0.1)
high("sgd 5 wine", lambda lr: fit(mlp(13, 3, width=32), "wine", lr=lr), 20, 0.1)
high(
    "adam 3 iris tanh",
    lambda lr: fit(mlp(4, 3, width=32, depth=3, activation="tanh"), "iris", opt="adam", lr=lr),
    3,
    3e-3,
)
high("sgd 1 diabetes", lambda lr: fit(mlp(10, 1, width=32), "diabetes", lr=lr), 3, 0.05)
high(
    "adam 1 friedman",
    lambda lr: fit(mlp(10, 1, width=64, depth=3), "friedman", opt="adam", lr=lr),
    1,
    1e-3,
)
high("adam 1 residual", lambda lr: fit(Residual(64, 10), "digits", opt="adam", lr=lr), 3, 1e-3)
high("sgd 100 circles", lambda lr: fit(mlp(2, 2, width=32), "circles", lr=lr), 100, 0.5)
high(
    "momentum nan regression",
    lambda lr: fit(mlp(10, 1, width=64, activation="leaky"), "friedman", opt="momentum", lr=lr),
    5,
    0.02,
)
high("adam 1 gru", lambda lr: fit(Recurrent("GRU"), "digits", opt="adam", lr=lr), 1, 3e-3)
high(
    "momentum 3 batchnorm mlp",
    lambda lr: fit(mlp(10, 1, norm="batch"), "diabetes", opt="momentum", lr=lr),
    10,
    0.02,
)
high("rmsprop 1 blobs", lambda lr: fit(mlp(30, 4), "blobs", opt="rmsprop", lr=lr), 1, 1e-3)

RUNS.broken(
    "lr spike at 150 sgd",
    HIGH,
    lambda top: fit(mlp(64, 10), "digits", lr=0.1, schedule=lambda k: top if 150 <= k < 155 else 1),
    200,
    1,
    steps=400,
    onset=150,
)
RUNS.broken(
    "lr jump at 200 adam",
    HIGH,
    lambda top: fit(
        mlp(64, 10, depth=3),
        "digits",
        opt="adam",
        lr=1e-3,
        schedule=lambda k: top if k >= 200 else 1,
    ),
    500,
    1,
    steps=400,
    onset=200,
)
RUNS.broken(
    "lr jump at 120 cnn",
    HIGH,
    lambda top: fit(
        Cnn(), "digits", opt="momentum", lr=0.02, schedule=lambda k: top if k >= 120 else 1
    ),
    200,
    1,
    onset=120,
)
RUNS.broken(
    "lr warm-up overshoot",
    HIGH,
    lambda top: fit(mlp(64, 10, depth=3), "digits", lr=0.01, schedule=lambda k: min(1.06**k, top)),
    1e8,
    20.0,
    onset=60,
    sudden=False,
)
RUNS.broken(
    "lr spike at 1000 mlp",
    HIGH,
    lambda top: fit(
        mlp(64, 10), "digits", opt="adam", lr=1e-3, schedule=lambda k: top if k >= 1000 else 1
    ),
    1000,
    1,
    steps=1200,
    onset=1000,
)
RUNS.broken(
    "lr decay undone at 600 wine",
    HIGH,
    lambda last: fit(
        mlp(13, 3, activation="tanh"),
        "wine",
        opt="adamw",
        lr=3e-3,
        schedule=lambda k: 0.99**k if k < 600 else last,
    ),
    1000,
    0.01,
    steps=800,
    onset=600,
)


def low(name: str, make: Callable[[float], Training], wrong: float, right: float) -> None:
    RUNS.broken(name, LOW, make, wrong, right, steps=500)


low("lr too low", lambda lr: fit(mlp(64, 10), "digits", opt="adam", lr=lr), 1e-7, 1e-3)
low("lr too low cnn sgd", lambda lr: fit(Cnn(), "digits", lr=lr), 1e-5, 0.1)
low("lr too low wine tanh", lambda lr: fit(mlp(13, 3, activation="tanh"), "wine", lr=lr), 1e-5, 0.1)
low(
    "lr too low friedman",
    lambda lr: fit(mlp(10, 1), "friedman", opt="momentum", lr=lr),
    1e-7,
    0.02,
)
low("lr too low text gru", lambda lr: text_fit(CharRnn(text()[1]), opt="adamw", lr=lr), 1e-6, 3e-3)
low(
    "lr too low transformer",
    lambda lr: fit(DigitTransformer(), "digits", opt="adam", lr=lr),
    1e-7,
    3e-3,
)
low(
    "lr too low lstm rmsprop",
    lambda lr: fit(Recurrent(), "digits", opt="rmsprop", lr=lr),
    1e-7,
    3e-3,
)
RUNS.broken(
    "schedule at zero by 20",
    LOW,
    lambda length: fit(mlp(64, 10), "digits", lr=0.1, schedule=lambda k: max(0.0, 1 - k / length)),
    20,
    600,
    steps=500,
    onset=20,
    sudden=False,
)
RUNS.broken(
    "scheduler stepped per batch",
    LOW,
    lambda decay: fit(
        Cnn(), "digits", opt="momentum", lr=0.02, schedule=lambda k: decay ** (k // 2)
    ),
    0.5,
    0.995,
    steps=500,
    onset=20,
    sudden=False,
)
RUNS.broken(
    "clip far too tight",
    LOW,
    lambda clip: fit(mlp(64, 10, depth=3), "digits", lr=0.1, clip=clip),
    1e-5,
    5.0,
    steps=500,
)
RUNS.broken(
    "adam epsilon swamps the gradients",
    LOW,
    lambda eps: fit(mlp(30, 2), "breast_cancer", opt="adam", lr=1e-3, eps=eps),
    1e4,
    1e-8,
    steps=500,
)

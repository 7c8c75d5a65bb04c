"""Odd unread runs that learn: plans of the rate, and optimisers off the beaten track."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import lr_scheduler

from scoreboard.blind.parts import digits, mlp, table
from scoreboard.scenario import Runs
from scoreboard.unread.parts import cloth, go, plant, tones

RUNS = Runs(__name__)
healthy = RUNS.healthy


def sounds() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(1, 16, 7, stride=2),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Conv1d(16, 24, 5, stride=2),
        nn.BatchNorm1d(24),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(2),
        nn.Flatten(),
        nn.Linear(48, 5),
    )


def numerals(act: Any = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), mlp(64, 64, 32, 10, act=act))


def warm(count: int) -> Any:
    return lambda o: lr_scheduler.LambdaLR(o, lambda k: min(1.0, ((k + 1) / count) ** 2))


RUNS.simple(
    "unread batches of 700 and a slow warm-up",
    lambda: go(numerals(), digits(), "SGD", 0.8, batch=700, plan=warm(80)),
    200,
)
RUNS.simple(
    "unread triangles of the rate",
    lambda: go(
        sounds(),
        tones(),
        "SGD",
        1e-3,
        plan=lambda o: lr_scheduler.CyclicLR(o, 1e-3, 0.2, step_size_up=25),
    ),
    300,
)
RUNS.simple(
    "unread one cycle to 0.03 by adam",
    lambda: go(
        numerals(nn.GELU),
        digits(),
        "Adam",
        1e-3,
        plan=lambda o: lr_scheduler.OneCycleLR(o, 0.03, total_steps=250),
    ),
    240,
)
RUNS.simple(
    "unread rate halves every forty",
    lambda: go(
        mlp(12, 48, 48, 3), plant(), "Adamax", 2e-2, plan=lambda o: lr_scheduler.StepLR(o, 40, 0.5)
    ),
    320,
)
RUNS.simple(
    "unread restarts that grow longer",
    lambda: go(
        sounds(),
        tones(),
        "AdamW",
        2e-2,
        plan=lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 20, 2),
    ),
    300,
)
RUNS.simple(
    "unread sixteen small batches to a step",
    lambda: go(numerals(), digits(), "Adam", 5e-3, batch=6, micro=16),
    150,
)
RUNS.simple(
    "unread resilient steps on the whole (rprop)",
    lambda: go(mlp(12, 32, 3, act=nn.Tanh), plant(), "Rprop", 1e-3, batch=1500),
    120,
)
RUNS.simple(
    "unread rates that only fall (adagrad)", lambda: go(numerals(), digits(), "Adagrad", 3e-2), 250
)
RUNS.simple(
    "unread no rate to choose (adadelta)", lambda: go(sounds(), tones(), "Adadelta", 1.0), 250
)
RUNS.simple(
    "unread rows and columns share their scales (adafactor)",
    lambda: go(mlp(12, 64, 64, 3), plant(), "Adafactor", 2e-2),
    300,
)
RUNS.simple(
    "unread momentum of 0.99",
    lambda: go(numerals(), digits(), "SGD", 0.01, own={"momentum": 0.99}),
    350,
)
RUNS.simple(
    "unread on the edge by plain descent on all rows",
    lambda: go(mlp(12, 24, 3, act=nn.Tanh), plant(), "SGD", 0.5, batch=1500),
    300,
)
RUNS.simple(
    "unread average of steps (asgd)", lambda: go(mlp(20, 48, 4), table("kinds"), "ASGD", 0.2), 300
)


RUNS.simple(
    "unread cloth by adam made steady (radam)",
    lambda: go(
        nn.Sequential(
            nn.Conv2d(3, 16, 3),
            nn.ReLU(),
            nn.Conv2d(16, 24, 3, stride=2),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(24, 6),
        ),
        cloth(),
        "RAdam",
        1e-2,
        clip=0.5,
    ),
    250,
)

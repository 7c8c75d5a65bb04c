"""Runs that learn under schedules, clipping, decay and losses that look odd."""

from __future__ import annotations

import math

from torch import nn
from torch.nn import functional

from scoreboard.loops import fit
from scoreboard.nets import (
    Cnn,
    Recurrent,
    mlp,
)
from scoreboard.scenario import Runs

RUNS = Runs(__name__)
simple, healthy = RUNS.simple, RUNS.healthy

simple(
    "warm-up then cosine",
    lambda: fit(
        mlp(64, 10, depth=3),
        "digits",
        opt="adamw",
        lr=3e-3,
        schedule=lambda k: (
            (k - 1) / 60 if k <= 60 else 0.5 * (1 + math.cos(math.pi * (k - 60) / 440))
        ),
    ),
    500,
)
simple(
    "cosine to zero",
    lambda: fit(
        mlp(64, 10), "digits", lr=0.2, schedule=lambda k: 0.5 * (1 + math.cos(math.pi * k / 500))
    ),
    500,
)
simple(
    "long warm-up from zero",
    lambda: fit(mlp(64, 10), "digits", lr=0.1, schedule=lambda k: (k - 1) / 400),
    600,
)
simple(
    "step decay",
    lambda: fit(Cnn(), "digits", opt="momentum", lr=0.05, schedule=lambda k: 0.1 ** (k // 150)),
)
simple(
    "cyclic rate", lambda: fit(mlp(64, 10), "digits", schedule=lambda k: 1 + 0.9 * math.sin(k / 20))
)
simple("clipped at one", lambda: fit(Recurrent("RNN"), "digits", lr=0.1, clip=1.0))
simple(
    "weight decay usual", lambda: fit(mlp(64, 10), "digits", opt="adamw", lr=1e-3, weight_decay=0.1)
)
simple(
    "finished long ago",
    lambda: fit(mlp(13, 3, width=64), "wine", opt="adam", lr=1e-2, batch=64),
    1500,
)
simple(
    "loss at zero exactly",
    lambda: fit(
        mlp(4, 3, width=64),
        "iris",
        opt="adam",
        lr=3e-2,
        batch=50,
        loss=lambda o, y: functional.multi_margin_loss(o, y),
    ),
    800,
)
simple(
    "label smoothing",
    lambda: fit(
        mlp(64, 10), "digits", loss=lambda o, y: functional.cross_entropy(o, y, label_smoothing=0.1)
    ),
)
simple(
    "sum reduction",
    lambda: fit(
        mlp(64, 10),
        "digits",
        lr=0.002,
        loss=lambda o, y: functional.cross_entropy(o, y, reduction="sum"),
    ),
)
simple(
    "loss times thousand adam",
    lambda: fit(
        mlp(64, 10),
        "digits",
        opt="adam",
        lr=1e-3,
        loss=lambda o, y: 1000 * functional.cross_entropy(o, y),
    ),
)
simple(
    "fashion of small loss",
    lambda: fit(
        mlp(64, 10),
        "digits",
        opt="adam",
        lr=1e-3,
        loss=lambda o, y: 0.001 * functional.cross_entropy(o, y),
    ),
)
simple(
    "huber",
    lambda: fit(mlp(10, 1, width=32), "diabetes", opt="adam", lr=3e-3, loss=nn.SmoothL1Loss()),
)

"""Blind failures of units: columns and numbers to tell as they come."""

from __future__ import annotations

import torch
from torch import nn

from scoreboard.blind.data import (
    adverts,
    bearings,
    compounds,
    homes,
    power,
    published,
    scaled,
    signs,
    tidy,
)
from scoreboard.blind.loops import study, using
from scoreboard.blind.nets import Adverts, Causal, Compounds, Gist, ViT, stack
from scoreboard.loops import yes_no
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

INPUTS, TARGETS = "unnormalised-inputs", "unscaled-targets"


# --- columns as they come
broken(
    "blind homes as the agents list them",
    INPUTS,
    lambda raw: study(
        stack(5, 48, 48, 1),
        (homes()[0] if raw else scaled(homes()[0]), scaled(homes()[1])),
        using("SGD", 0.01, momentum=0.9),
    ),
    True,
    False,
    steps=300,
)
broken(
    "blind circuit in ohms and farads through tanh",
    INPUTS,
    lambda raw: study(
        stack(4, 40, 40, 1, act=nn.Tanh),
        (published("circuit")[0] if raw else tidy("circuit")[0], tidy("circuit")[1]),
        using("Adam", 3e-3),
    ),
    True,
    False,
    steps=350,
)
broken(
    "blind sensors as counts of a converter",
    INPUTS,
    lambda raw: study(
        Causal(2, 4),
        (bearings()[0] * 400 + 32768 if raw else bearings()[0], bearings()[1]),
        using("SGD", 0.05, momentum=0.9),
    ),
    True,
    False,
    steps=250,
)
broken(
    "blind signs in 16 bits into a vit",
    INPUTS,
    lambda raw: study(
        ViT(3, 16, 5),
        (signs()[0] * 9000 + 30000 if raw else signs()[0], signs()[1]),
        using("SGD", 0.05, momentum=0.9),
    ),
    True,
    False,
    steps=250,
)
broken(
    "blind adverts with counts in full",
    INPUTS,
    lambda raw: counted(raw),
    True,
    False,
    steps=350,
)


def counted(raw: bool) -> Training:
    """How often something was seen, bought and so on: without a logarithm, or with one."""
    x, y = adverts()
    if raw:
        x = torch.cat([(3 * x[:, :4] + 9).exp(), x[:, 4:]], 1)
    net = Adverts()
    return study(
        net,
        (x, y),
        using("Adam", 5e-3),
        batch=64,
        loss=nn.BCEWithLogitsLoss(),
        score=yes_no(net, x, y),
    )


# --- numbers to tell as they come
broken(
    "blind homes in dollars",
    TARGETS,
    lambda raw: study(
        stack(5, 48, 48, 1, act=nn.SiLU),
        (scaled(homes()[0]), homes()[1] if raw else scaled(homes()[1])),
        using("Adam", 2e-3),
    ),
    True,
    False,
    steps=350,
)
broken(
    "blind loads in kilowatts",
    TARGETS,
    lambda raw: study(
        Gist(0, 6, nn.LSTM(1, 24, batch_first=True)),
        (power()[0], power()[1] * 4000 + 21_000 if raw else power()[1]),
        using("RMSprop", 3e-3),
    ),
    True,
    False,
    steps=250,
)
broken(
    "blind compounds in electron volts of the whole",
    TARGETS,
    lambda raw: study(
        Compounds(),
        (compounds()[0], compounds()[1] * 40 - 11_000 if raw else compounds()[1]),
        using("AdamW", 2e-3),
    ),
    True,
    False,
    steps=300,
)
broken(
    "blind phase in hundred-thousandths by descent",
    TARGETS,
    lambda raw: study(
        stack(4, 32, 1, act=nn.Tanh),
        (tidy("phase")[0], tidy("phase")[1] * (1e-5 if raw else 1.0)),
        using("SGD", 0.05),
    ),
    True,
    False,
    steps=350,
)

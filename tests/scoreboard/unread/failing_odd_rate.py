"""Odd unread failures of the rate: too high, too low, and plans that go wrong."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import lr_scheduler

from scoreboard.scenario import Runs
from scoreboard.unread.nets import Apart, Asking, Back, Dilated, Latents, Sorter, coder
from scoreboard.unread.parts import (
    brackets,
    circles,
    cloth,
    flat_digits,
    go,
    stains,
    tones,
    unsorted,
)

RUNS = Runs(__name__)
broken = RUNS.broken

HIGH, LOW = "learning-rate-too-high", "learning-rate-too-low"


def paced(plan: list[tuple[int, float]]) -> Any:
    """The rate times the last factor whose step has come."""

    def factor(k: int) -> float:
        return [f for at, f in plan if k + 1 >= at][-1]

    return lambda o: lr_scheduler.LambdaLR(o, factor)


broken(
    "unread separable convolutions by adam at 0.7",
    HIGH,
    lambda lr: go(Apart(norm=False), cloth(), "Adam", lr),
    0.7,
    5e-3,
    steps=250,
)
broken(
    "unread dilated convolutions by momentum at six",
    HIGH,
    lambda lr: go(Dilated(), tones(), "SGD", lr, own={"momentum": 0.9}),
    6.0,
    0.02,
    steps=250,
)
broken(
    "unread sorter by rmsprop at 0.8",
    HIGH,
    lambda lr: go(Sorter(), unsorted(), "RMSprop", lr),
    0.8,
    3e-3,
    steps=250,
)
broken(
    "unread code of digits by nadam at one half",
    HIGH,
    lambda lr: go(coder(), flat_digits(), "NAdam", lr),
    0.5,
    3e-3,
    steps=250,
)
broken(
    "unread village by adamax at four",
    HIGH,
    lambda lr: circles(Asking(3), "Adamax", lr),
    4.0,
    5e-3,
    steps=150,
)
broken(
    "unread stains, rate set to two at 120",
    HIGH,
    lambda f: go(Back(), stains(), "Adam", 3e-3, batch=16, plan=paced([(1, 1), (120, f)])),
    700.0,
    1.0,
    steps=220,
    onset=120,
)
broken(
    "unread held vectors, warm-up that never ends",
    HIGH,
    lambda top: go(
        Latents(),
        brackets(),
        "Adam",
        1e-3,
        plan=lambda o: lr_scheduler.LambdaLR(o, lambda k: min(1.05**k, top)),
    ),
    1e9,
    4.0,
    steps=350,
    onset=80,
    sudden=False,
)
broken(
    "unread stains at a rate of a millionth",
    LOW,
    lambda lr: go(Back(), stains(), "SGD", lr, batch=16, own={"momentum": 0.9}),
    1e-6,
    0.1,
    steps=250,
    sudden=False,
)
broken(
    "unread held vectors at a ten-millionth",
    LOW,
    lambda lr: go(Latents(), brackets(), "AdamW", lr),
    1e-7,
    3e-3,
    steps=350,
    sudden=False,
)
broken(
    "unread cosine over after twelve steps",
    LOW,
    lambda length: go(
        Dilated(),
        tones(),
        "Adam",
        3e-3,
        plan=lambda o: lr_scheduler.LambdaLR(
            o, lambda k: 0.5 * (1 + torch.tensor(min(k / length, 1.0) * torch.pi).cos().item())
        ),
    ),
    12,
    400,
    steps=300,
    onset=12,
    sudden=False,
)
broken(
    "unread adam whose epsilon is a thousand",
    LOW,
    lambda eps: go(Apart(), cloth(), "Adam", 5e-3, own={"eps": eps}),
    1e3,
    1e-8,
    steps=250,
    sudden=False,
)

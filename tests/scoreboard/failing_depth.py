"""Runs in which signal or gradient is lost, or blown up, from layer to layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scoreboard.faults import (
    scale_weights,
)
from scoreboard.loops import fit
from scoreboard.nets import Recurrent, mlp
from scoreboard.scenario import Runs

RUNS = Runs(__name__)

SCALE = "bad-initialisation-scale"
VANISHING = "depth-vanishing"
EXPLODING = "depth-exploding"

# --- depth
RUNS.broken(
    "deep sigmoid 10 sgd",
    VANISHING,
    lambda a: fit(mlp(64, 10, depth=10, activation=a, init="xavier"), "digits", lr=0.1),
    "sigmoid",
    "elu",
)
RUNS.broken(
    "deep relu 20 default sgd",
    VANISHING,
    lambda i: fit(mlp(64, 10, depth=20, init=i), "digits", lr=0.03),
    "",
    "he",
)
RUNS.broken(
    "deep relu 30 default adam",
    VANISHING,
    lambda i: fit(mlp(64, 10, depth=30, init=i), "digits", opt="adam", lr=3e-4),
    "",
    "he",
    steps=400,
)
RUNS.broken(
    "deep sigmoid 12 adam",
    VANISHING,
    lambda depth: fit(
        mlp(64, 10, depth=depth, activation="sigmoid"), "digits", opt="adam", lr=3e-3
    ),
    12,
    2,
)
RUNS.broken(
    "deep tanh 40 default",
    VANISHING,
    lambda i: fit(mlp(30, 4, depth=40, width=32, activation="tanh", init=i), "blobs", lr=0.03),
    "",
    "orthogonal",
)
RUNS.broken(
    "deep leaky 25 default friedman",
    VANISHING,
    lambda norm: fit(
        mlp(10, 1, depth=25, activation="leaky", norm=norm), "friedman", opt="adamw", lr=1e-3
    ),
    "",
    "layer",
)


class Plain(nn.Module):
    """Deep convolutions, with skips or without."""

    def __init__(self, blocks: int, skips: bool, gain: float = 1.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 12, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Conv2d(12, 12, 3, padding=1) for _ in range(blocks))
        self.norm = nn.BatchNorm2d(12) if skips else nn.Identity()
        self.head = nn.Linear(12 * 16, 10)
        self.skips = skips
        scale_weights(self, gain)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(nn.functional.avg_pool2d(self.stem(x.view(-1, 1, 8, 8)), 2))
        for block in self.blocks:
            y = torch.relu(block(x))
            x = x + 0.3 * y if self.skips else y
        return self.head(self.norm(x).flatten(1))


RUNS.broken(
    "deep plain cnn 16",
    VANISHING,
    lambda skips: fit(Plain(16, skips), "digits", opt="momentum", lr=0.02, batch=32),
    False,
    True,
)

RUNS.broken(
    "exploding relu 20",
    (EXPLODING, SCALE),
    lambda w: fit(
        scale_weights(mlp(64, 10, depth=20, init="he"), w), "digits", opt="adam", lr=3e-4
    ),
    2.5,
    1.0,
)
RUNS.broken(
    "exploding elu 15 sgd",
    (EXPLODING, SCALE),
    lambda w: fit(
        scale_weights(mlp(64, 10, depth=15, activation="leaky", init="he"), w), "digits", lr=0.02
    ),
    3.0,
    1.0,
)
RUNS.broken(
    "exploding plain cnn",
    (EXPLODING, SCALE),
    lambda gain: fit(Plain(16, gain == 1, gain), "digits", opt="momentum", lr=0.02),
    6.0,
    1.0,
)
RUNS.broken(
    "exploding friedman 12",
    (EXPLODING, SCALE),
    lambda w: fit(
        scale_weights(mlp(10, 1, depth=12, init="he"), w), "friedman", opt="adam", lr=1e-3
    ),
    3.0,
    1.0,
)


def _recurrent(factor: float) -> Recurrent:
    net = Recurrent("RNN", nonlinearity="relu")
    with torch.no_grad():
        net.rnn.weight_hh_l0.mul_(factor)
    return net


RUNS.broken(
    "exploding rnn through time",
    (EXPLODING, SCALE),
    lambda w: fit(_recurrent(w), "digits", lr=0.05),
    25.0,
    1.0,
)

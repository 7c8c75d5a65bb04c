"""Runs that fail by how the network was drawn or built: the fault is there at the first step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scoreboard.data import table, text
from scoreboard.faults import (
    bias_at,
    bias_named,
    constant,
    positive,
    scale_weights,
    set_bias,
)
from scoreboard.loops import fit, text_fit
from scoreboard.nets import CharTransformer, Cnn, Recurrent, mlp
from scoreboard.scenario import Runs

RUNS = Runs(__name__)

SATURATED = "saturating-activation"
CONSTANT = "constant-initialisation"
DYING = "dying-relu"
SCALE = "bad-initialisation-scale"
VANISHING = "depth-vanishing"
EXPLODING = "depth-exploding"

# --- saturation
RUNS.broken(
    "saturated sigmoid bias 12",
    SATURATED,
    lambda b: fit(set_bias(mlp(64, 10, activation="sigmoid"), b), "digits", opt="adam", lr=3e-3),
    12.0,
    0.0,
)
RUNS.broken(
    "saturated sigmoid bias -10",
    SATURATED,
    lambda b: fit(set_bias(mlp(64, 10, activation="sigmoid"), b), "digits", lr=1.0),
    -10.0,
    0.0,
)
RUNS.broken(
    "saturated tanh bias 8",
    SATURATED,
    lambda b: fit(set_bias(mlp(64, 10, activation="tanh"), b), "digits", lr=0.1),
    8.0,
    0.0,
)
RUNS.broken(
    "saturated tanh bias -9 three",
    SATURATED,
    lambda b: fit(
        set_bias(mlp(64, 10, depth=3, activation="tanh"), b), "digits", opt="adam", lr=1e-3
    ),
    -9.0,
    0.0,
)
RUNS.broken(
    "saturated sigmoid second layer",
    SATURATED,
    lambda b: fit(bias_at(mlp(64, 10, activation="sigmoid"), 2, b), "digits", lr=1.0),
    12.0,
    0.0,
)
RUNS.broken(
    "saturated tanh wine",
    SATURATED,
    lambda b: fit(set_bias(mlp(13, 3, activation="tanh"), b), "wine", lr=0.05),
    10.0,
    0.0,
)
RUNS.broken(
    "saturated sigmoid weights 40",
    (SATURATED, SCALE),
    lambda w: fit(
        scale_weights(mlp(64, 10, depth=3, width=16, activation="sigmoid"), w),
        "digits",
        opt="adam",
        lr=5e-3,
    ),
    400.0,
    1.0,
)
RUNS.broken(
    "saturated tanh weights 60",
    (SATURATED, SCALE),
    lambda w: fit(
        scale_weights(mlp(64, 10, depth=4, width=16, activation="tanh"), w), "digits", lr=0.1
    ),
    200.0,
    1.0,
)
RUNS.broken(
    "saturated sigmoid positive weights",
    (SATURATED, SCALE),
    lambda w: fit(
        positive(mlp(64, 10, activation="sigmoid"), w), table("digits"), opt="adam", lr=3e-3
    ),
    2.0,
    0.0,
)
RUNS.broken(
    "saturated hardtanh friedman",
    SATURATED,
    lambda b: fit(set_bias(mlp(10, 1, activation="hardtanh"), b), "friedman", opt="adam", lr=3e-3),
    -6.0,
    0.0,
)

# --- constant initialisation
RUNS.broken("zero init relu", CONSTANT, lambda i: fit(mlp(64, 10, init=i), "digits"), "const0", "")
RUNS.broken(
    "zero init tanh adam",
    CONSTANT,
    lambda i: fit(mlp(64, 10, activation="tanh", init=i), "digits", opt="adam", lr=1e-3),
    "const0",
    "",
)
RUNS.broken(
    "zero init sigmoid",
    CONSTANT,
    lambda i: fit(mlp(64, 10, activation="sigmoid", init=i), "digits", lr=1.0),
    "const0",
    "",
)
RUNS.broken(
    "constant init sigmoid",
    CONSTANT,
    lambda i: fit(mlp(64, 10, activation="sigmoid", init=i), "digits", opt="momentum", lr=0.2),
    "const0.05",
    "",
)
RUNS.broken(
    "constant init relu",
    CONSTANT,
    lambda i: fit(mlp(64, 10, init=i), "digits", opt="adam", lr=1e-3),
    "const0.05",
    "",
)
RUNS.broken(
    "constant init tanh 3",
    CONSTANT,
    lambda i: fit(mlp(64, 10, depth=3, activation="tanh", init=i), "digits", lr=0.1),
    "const0.1",
    "",
)
RUNS.broken(
    "constant init one",
    CONSTANT,
    lambda i: fit(mlp(64, 10, init=i), "digits", opt="adam", lr=1e-3),
    "const1",
    "",
)
RUNS.broken(
    "constant init wine",
    CONSTANT,
    lambda i: fit(mlp(13, 3, init=i), "wine", lr=0.05),
    "const0.1",
    "",
)
RUNS.broken(
    "constant init blobs",
    CONSTANT,
    lambda i: fit(mlp(30, 4, depth=3, init=i, activation="tanh"), "blobs", lr=0.1),
    "const0.1",
    "",
)
RUNS.broken(
    "constant init cnn head layers",
    CONSTANT,
    lambda v: fit(constant(Cnn(), v, "fc1", "fc2"), "digits", opt="adam", lr=1e-3),
    0.02,
    None,
)
RUNS.broken(
    "constant init gelu batchnorm",
    CONSTANT,
    lambda i: fit(
        mlp(30, 4, activation="gelu", norm="batch", init=i), "blobs", opt="rmsprop", lr=1e-3
    ),
    "const0.2",
    "",
)

# --- dying relu
RUNS.broken(
    "dying relu bias -8", DYING, lambda b: fit(set_bias(mlp(64, 10), b), "digits"), -8.0, 0.0
)
RUNS.broken(
    "dying relu bias -20 adam",
    DYING,
    lambda b: fit(set_bias(mlp(64, 10, depth=3), b), "digits", opt="adam", lr=1e-3),
    -20.0,
    0.0,
)
RUNS.broken(
    "dying relu last hidden", DYING, lambda b: fit(bias_at(mlp(64, 10), 2, b), "digits"), -10.0, 0.0
)
RUNS.broken(
    "dying relu wine", DYING, lambda b: fit(set_bias(mlp(13, 3), b), "wine", lr=0.05), -15.0, 0.0
)
RUNS.broken(
    "dying relu cnn",
    DYING,
    lambda b: fit(bias_named(Cnn(), "conv2", b), "digits", opt="adam", lr=1e-3),
    -20.0,
    0.0,
)
RUNS.broken(
    "dying relu regression",
    DYING,
    lambda b: fit(set_bias(mlp(10, 1), b), "friedman", opt="adam", lr=1e-3),
    -12.0,
    0.0,
)
RUNS.broken(
    "dying relu6 first layer",
    DYING,
    lambda b: fit(set_bias(mlp(64, 10, activation="relu6"), b, 1), "digits", lr=0.1),
    -30.0,
    0.0,
)
RUNS.broken(
    "dying relu cnn head momentum",
    DYING,
    lambda b: fit(bias_named(Cnn(norm=True), "fc1", b), "digits", opt="momentum", lr=0.02),
    -15.0,
    0.0,
)

# --- scale of the initial weights
RUNS.broken(
    "tiny init 1e-3 four",
    SCALE,
    lambda i: fit(mlp(64, 10, depth=4, init=i), "digits", opt="momentum", lr=0.05),
    "std0.001",
    "he",
)
RUNS.broken(
    "tiny init tanh adam",
    SCALE,
    lambda i: fit(
        mlp(64, 10, depth=5, activation="tanh", init=i), "digits", opt="momentum", lr=0.02
    ),
    "std0.0003",
    "xavier",
)
RUNS.broken(
    "tiny init cnn",
    SCALE,
    lambda w: fit(scale_weights(Cnn(), w, True), "digits", opt="momentum", lr=0.02),
    0.002,
    1.0,
)
RUNS.broken(
    "large init tanh std 3",
    (SCALE, SATURATED),
    lambda i: fit(mlp(64, 10, depth=3, activation="tanh", init=i), "digits", lr=0.1),
    "std3",
    "xavier",
)
RUNS.broken(
    "large init relu adam",
    SCALE,
    lambda i: fit(mlp(64, 10, depth=3, init=i), "digits", opt="adam", lr=1e-3),
    "std3",
    "he",
)
RUNS.broken(
    "large init relu sgd friedman",
    SCALE,
    lambda i: fit(mlp(10, 1, depth=2, init=i), "friedman", lr=0.02),
    "std2",
    "he",
)
RUNS.broken(
    "large init transformer",
    SCALE,
    lambda w: text_fit(scale_weights(CharTransformer(text()[1]), w, True), opt="adam", lr=3e-3),
    40.0,
    1.0,
)

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

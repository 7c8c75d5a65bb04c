"""Runs that fail by how the network was drawn: the fault is there at the first step."""

from __future__ import annotations

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
from scoreboard.nets import CharTransformer, Cnn, mlp
from scoreboard.scenario import Runs

RUNS = Runs(__name__)

SATURATED = "saturating-activation"
CONSTANT = "constant-initialisation"
DYING = "dying-relu"
SCALE = "bad-initialisation-scale"

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

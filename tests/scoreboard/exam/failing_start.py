"""The exam: networks that were drawn wrongly."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from scoreboard.exam.data import (
    LETTERS,
    drawings,
    even,
    graph,
    series,
    sets,
    sprites,
    tables,
    tongues,
    waves,
)
from scoreboard.exam.faults import alike, biased, every, grown
from scoreboard.exam.loops import by, by_hand, learn
from scoreboard.exam.nets import (
    Bag,
    Excited,
    Highway,
    Hyper,
    Mixer,
    Reader,
    Scatter,
    Sets,
    Tied,
    Waves,
    Wavy,
    stack,
)
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

SATURATED = "saturating-activation"
CONSTANT = "constant-initialisation"
DYING = "dying-relu"
SCALE = "bad-initialisation-scale"

# --- saturation
broken(
    "exam tanh waves bias 9",
    SATURATED,
    lambda b: learn(biased(Waves(activation=nn.Tanh), b), waves(), by("Adamax", 3e-3)),
    9.0,
    0.0,
)


def code(bias: float) -> Training:
    x = even("multilabel")[0]
    net = Tied(20, 12, torch.sigmoid)
    with torch.no_grad():
        net.inner.fill_(bias)
        net.weight.mul_(2)
    return learn(net, (x, x), by("Adam", 5e-3))


broken("exam sigmoid code shut", SATURATED, code, -25.0, 0.0, steps=400)
broken(
    "exam hard tanh bias 6",
    SATURATED,
    lambda b: learn(
        biased(stack(10, 48, 48, 2, activation=nn.Hardtanh), b), even("hastie"), by("NAdam", 3e-3)
    ),
    6.0,
    0.0,
    steps=400,
)


def crowd(pool: str) -> Training:
    """Hundreds of points of one sign summed up before a tanh, where a mean was meant."""
    x, y = sets(600, 10)
    net = Sets(pool, nn.Tanh)
    if pool == "sum":
        biased(net, 4.0, "point.0", "point.2")
    return learn(net, (x.repeat(1, 8, 1), y), by("RAdam", 5e-3))


broken("exam summed before a tanh", SATURATED, crowd, "sum", "mean", steps=400)
broken(
    "exam tanh series bias -8",
    SATURATED,
    lambda b: by_hand(
        biased(nn.Sequential(nn.Flatten(), *stack(24, 32, 32, 1, activation=nn.Tanh)), b),
        series(),
        0.02,
    ),
    -8.0,
    0.0,
    steps=500,
)

# --- constants


def nodes(change: Callable[[Scatter], nn.Module], name: str, lr: float) -> Training:
    x, y, edges = graph()
    return learn(change(Scatter(edges)), (x, y), by(name, lr), batch=len(x))


def filled(net: nn.Module, value: float | None) -> nn.Module:
    """All weights one number, and no biases."""
    if value is not None:
        alike(net, value)
        for layer in every(net):
            nn.init.zeros_(layer.get_parameter("bias"))
    return net


broken(
    "exam graph of zeros",
    CONSTANT,
    lambda v: nodes(lambda net: filled(net, v), "Adagrad", 0.05),
    0.0,
    None,
    steps=400,
)
broken(
    "exam waves all filters alike",
    CONSTANT,
    lambda v: learn(filled(Waves(), v), waves(), by("RAdam", 3e-3)),
    0.05,
    None,
    steps=400,
)
broken(
    "exam sets of nothing",
    CONSTANT,
    lambda v: learn(filled(Sets(activation=nn.Tanh), v), sets(), by("Adamax", 5e-3)),
    0.0,
    None,
    steps=400,
)


def polynomials(value: float | None) -> Training:
    net = nn.Sequential(Wavy(3, 12), Wavy(12, 1))
    if value is not None:
        for p in net.parameters():
            nn.init.constant_(p, value)
    return learn(net, even("swiss_roll"), by("Adam", 1e-2))


broken("exam polynomials of nothing", CONSTANT, polynomials, 0.0, None, steps=400)


def one_way(value: float | None) -> Training:
    x = even("multilabel")[0]
    net = Tied(20, 12)
    if value is not None:
        nn.init.constant_(net.weight, value)
    return learn(net, (x, x), by("NAdam", 1e-2))


broken("exam tied weights of one number", CONSTANT, one_way, 0.1, None, steps=400)
broken(
    "exam highway of one number",
    CONSTANT,
    lambda v: learn(alike(Highway(10, 2), v), even("hastie"), by("Adam", 3e-3)),
    0.05,
    None,
    steps=500,
)

# --- ReLUs that never open
broken(
    "exam excited bias -12",
    DYING,
    lambda b: learn(biased(Excited(), b, "conv2"), drawings(), by("NAdam", 2e-3)),
    -12.0,
    0.0,
)
broken(
    "exam waves second layer shut",
    DYING,
    lambda b: learn(biased(Waves(), b, "body.2"), waves(), by("Adam", 2e-3)),
    -20.0,
    0.0,
)
broken(
    "exam points shut",
    DYING,
    lambda b: learn(biased(Sets(), b, "point.0"), sets(), by("Adagrad", 0.03)),
    -15.0,
    0.0,
)
broken(
    "exam graph shut",
    DYING,
    lambda b: nodes(lambda net: biased(net, b, "layers.0"), "RMSprop", 3e-3),
    -10.0,
    0.0,
)
broken(
    "exam series shut by hand",
    DYING,
    lambda b: by_hand(
        biased(nn.Sequential(nn.Flatten(), *stack(24, 48, 48, 1)), b), series(), 0.05
    ),
    -15.0,
    0.0,
    steps=500,
)


def bright(wrong: bool) -> Training:
    """Pixels are never negative; weights are."""
    x, kind, _ = sprites()
    net = nn.Sequential(nn.Flatten(), *stack(144, 48, 48, 4))
    if wrong:
        with torch.no_grad():
            for layer in every(net)[:1]:
                layer.get_parameter("weight").abs_().neg_()
                layer.get_parameter("bias").abs_().neg_()
    return learn(net, (x, kind), by("AdamW", 2e-3))


broken("exam negative weights under pixels", DYING, bright, True, False, steps=500)
broken(
    "exam letters shut",
    DYING,
    lambda b: learn(biased(Bag(len(LETTERS)), b, "head.0"), tongues(), by("Adam", 1e-2)),
    -30.0,
    0.0,
    steps=250,
)

# --- weights of the wrong size
broken(
    "exam waves a thousandth",
    SCALE,
    lambda f: learn(grown(Waves(), f, 0), waves(), by("SGD", 0.05, momentum=0.9)),
    2e-3,
    1.0,
    steps=400,
)
broken(
    "exam graph times 60",
    SCALE,
    lambda f: nodes(lambda net: grown(net, f, 0), "Adam", 5e-3),
    60.0,
    1.0,
    steps=400,
)
broken(
    "exam sets times 10",
    SCALE,
    lambda f: learn(grown(Sets(), f, 0), sets(), by("RAdam", 3e-3)),
    10.0,
    1.0,
    steps=400,
)


def reader(factor: float) -> Training:
    net = Reader(nn.RNN(1, 32, batch_first=True), 32)
    with torch.no_grad():
        for name, p in net.cell.named_parameters():
            if name.startswith("weight"):
                p.mul_(factor)
    return learn(net, series(), by("Adam", 2e-3))


broken("exam recurrent weights times 50", (SCALE, SATURATED), reader, 50.0, 1.0, steps=300)
broken(
    "exam hyper network times 40",
    SCALE,
    lambda f: learn(grown(Hyper(4, 3), f, 0), tables("quantiles"), by("Adamax", 5e-3)),
    40.0,
    1.0,
    steps=500,
)
broken(
    "exam mixer embeds a hundredfold",
    SCALE,
    lambda f: learn(grown(Mixer(), f, 0), drawings(), by("SGD", 0.02, momentum=0.9)),
    30.0,
    1.0,
    steps=400,
)

"""Random pairs: a healthy run and the same with one fault injected, drawn by number.

Numbers from 100 on were drawn after the rules had been made, and were run once.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch

from scoreboard.data import scaled, table
from scoreboard.faults import set_bias
from scoreboard.loops import fit
from scoreboard.nets import draw, mlp
from scoreboard.scenario import Runs, Scenario, Training

RUNS = Runs(__name__)

SETS = {
    "digits": (64, 10),
    "wine": (13, 3),
    "breast_cancer": (30, 2),
    "iris": (4, 3),
    "blobs": (30, 4),
    "friedman": (10, 1),
    "diabetes": (10, 1),
}
RATES = {"sgd": 0.05, "momentum": 0.02, "adam": 2e-3, "adamw": 2e-3, "rmsprop": 1e-3}


def _net(rng: random.Random, data: str, activation: str) -> Callable[[], torch.nn.Sequential]:
    inputs, outputs = SETS[data]
    width, depth = rng.choice((16, 32, 64, 100)), rng.choice((1, 2, 2, 3))
    return lambda: mlp(inputs, outputs, width=width, depth=depth, activation=activation)


def _add(number: int) -> None:
    rng = random.Random(number)
    data = rng.choice(list(SETS))
    opt = rng.choice(list(RATES))
    batch = rng.choice((16, 32, 64, 128))
    fault = rng.choice(("lr", "lr", "saturated", "constant", "zero", "dying", "inputs", "tiny"))
    activation = {
        "saturated": rng.choice(("sigmoid", "tanh")),
        "dying": "relu",
    }.get(fault, rng.choice(("relu", "tanh", "gelu", "sigmoid", "leaky")))
    make = _net(rng, data, activation)
    lr = RATES[opt] * rng.choice((0.5, 1, 2))
    factor = rng.choice((300, 1000, 3000))
    size = rng.choice((8.0, 12.0, 20.0))

    def healthy() -> Training:
        return fit(make(), data, opt=opt, lr=lr, batch=batch)

    def ill() -> Training:
        net = make()
        rate, source = lr, scaled(data)
        if fault == "lr":
            rate = lr * factor
        elif fault == "saturated":
            set_bias(net, size * rng.choice((1, -1)))
        elif fault == "constant":
            draw(net, "const0.1")
        elif fault == "zero":
            draw(net, "const0")
        elif fault == "dying":
            set_bias(net, -2 * size)
        elif fault == "inputs":
            source = (
                table(data) if data in {"breast_cancer", "wine"} else (source[0] * 1000, source[1])
            )
        else:
            source = (source[0] * 1e-5, source[1])
        return fit(net, source, opt=opt, lr=rate, batch=batch)

    cause = {
        "lr": "learning-rate-too-high",
        "saturated": "saturating-activation",
        "constant": "constant-initialisation",
        "zero": "constant-initialisation",
        "dying": "dying-relu",
        "inputs": "unnormalised-inputs",
        "tiny": "unnormalised-inputs",
    }[fault]
    label = f"{number} {fault} {data} {activation} {opt}"
    RUNS.append(Scenario(name=f"pair healthy {label}", build=healthy, steps=500))
    RUNS.append(
        Scenario(name=f"pair {label}", build=ill, causes=(cause,), remedy=healthy, steps=300)
    )


for _number in range(160):
    _add(_number)

"""Runs that fail, each by one injected fault."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.data import scaled, table, text
from scoreboard.harness import Scenario, Training
from scoreboard.healthy import _imbalanced, _noisy, _text
from scoreboard.loops import fit
from scoreboard.nets import (
    CharTransformer,
    Cnn,
    DigitTransformer,
    Recurrent,
    Residual,
    bias_of,
    draw,
    linear,
    mlp,
)

RUNS: list[Scenario] = []

LR = frozenset({"learning-rate-too-high"})
SATURATED = frozenset({"saturating-activation"})
CONSTANT = frozenset({"constant-initialisation"})
DYING = frozenset({"dying-relu"})
INPUTS = frozenset({"unnormalised-inputs"})
SCALE = frozenset({"bad-initialisation-scale"})
DEPTH = frozenset({"depth-vanishing"})
DECAY = frozenset({"over-regularisation"})
ALIKE = frozenset({"low-data-diversity"})
NONE: frozenset[str] = frozenset()


def fails(
    name: str,
    causes: frozenset[str],
    build: Callable[[], Training],
    steps: int = 300,
    onset: int = 1,
    optional: bool = False,
) -> None:
    RUNS.append(Scenario(name, build, causes, True, onset, steps, optional))


def set_bias(net: nn.Module, value: float, count: int = 99) -> nn.Module:
    layers = [m for m in net.modules() if isinstance(m, nn.Linear)][:-1]
    for layer in layers[:count]:
        nn.init.constant_(layer.bias, value)
    return net


def scale_weights(net: nn.Module, factor: float, head: bool = False) -> nn.Module:
    layers = [m for m in net.modules() if isinstance(m, nn.Linear)]
    with torch.no_grad():
        for layer in layers if head else layers[:-1]:
            layer.weight.mul_(factor)
    return net


# --- learning rate
fails("lr sgd 10 relu", LR, lambda: fit(mlp(64, 10), "digits", lr=10))
fails("lr sgd 3 relu 4 layers", LR, lambda: fit(mlp(64, 10, depth=4), "digits", lr=3))
fails("lr sgd 50 cnn", LR, lambda: fit(Cnn(), "digits", lr=50))
fails("lr sgd 50 cnn raw", LR, lambda: fit(Cnn(), table("digits"), lr=50))
fails("lr sgd 10 tanh", LR, lambda: fit(mlp(64, 10, activation="tanh"), "digits", lr=10))
fails("lr sgd 100 sigmoid", LR, lambda: fit(mlp(64, 10, activation="sigmoid"), "digits", lr=100))
fails("lr momentum 2 relu", LR, lambda: fit(mlp(64, 10), "digits", opt="momentum", lr=2))
fails(
    "lr momentum 1 tanh 3",
    LR,
    lambda: fit(mlp(64, 10, depth=3, activation="tanh"), "digits", opt="momentum", lr=3),
)
fails("lr adam 1 relu", LR, lambda: fit(mlp(64, 10), "digits", opt="adam", lr=1))
fails("lr adam 0.3 relu 4", LR, lambda: fit(mlp(64, 10, depth=4), "digits", opt="adam", lr=0.3))
fails(
    "lr adam 1 sigmoid",
    LR,
    lambda: fit(mlp(64, 10, activation="sigmoid"), "digits", opt="adam", lr=1),
)
fails(
    "lr adam 0.5 tanh",
    LR,
    lambda: fit(mlp(64, 10, depth=3, activation="tanh"), "digits", opt="adam", lr=0.5),
)
fails(
    "lr adam 10 gelu", LR, lambda: fit(mlp(64, 10, activation="gelu"), "digits", opt="adam", lr=10)
)
fails("lr rmsprop 0.5 relu", LR, lambda: fit(mlp(64, 10, depth=3), "digits", opt="rmsprop", lr=0.5))
fails("lr adamw 0.3 cnn", LR, lambda: fit(Cnn(), "digits", opt="adamw", lr=0.3))
fails("lr adam 1 cnn batchnorm", LR, lambda: fit(Cnn(norm=True), "digits", opt="adam", lr=1.0))
fails(
    "lr adam 0.3 transformer post",
    LR,
    lambda: fit(DigitTransformer(pre=False), "digits", opt="adam", lr=0.3),
)
fails(
    "lr adam 0.3 text transformer",
    LR,
    lambda: _text(CharTransformer(text()[1]), opt="adam", lr=0.3),
)
fails(
    "lr adam 0.05 text post",
    LR,
    lambda: _text(CharTransformer(text()[1], pre=False, layers=3), opt="adam", lr=0.05),
)
fails("lr adam 1 lstm", LR, lambda: fit(Recurrent("LSTM"), "digits", opt="adam", lr=1))
fails("lr sgd 30 rnn", LR, lambda: fit(Recurrent("RNN"), "digits", lr=30))
fails("lr sgd 10 cancer", LR, lambda: fit(mlp(30, 2, width=32), "breast_cancer", lr=30))
fails("lr sgd 5 wine", LR, lambda: fit(mlp(13, 3, width=32), "wine", lr=20))
fails(
    "lr adam 3 iris tanh",
    LR,
    lambda: fit(mlp(4, 3, width=32, depth=3, activation="tanh"), "iris", opt="adam", lr=3),
)
fails("lr sgd 1 diabetes", LR, lambda: fit(mlp(10, 1, width=32), "diabetes", lr=3))
fails(
    "lr adam 1 friedman",
    LR,
    lambda: fit(mlp(10, 1, width=64, depth=3), "friedman", opt="adam", lr=1),
)
fails("lr adam 1 residual", LR, lambda: fit(Residual(64, 10), "digits", opt="adam", lr=3))
fails("lr sgd 100 circles", LR, lambda: fit(mlp(2, 2, width=32), "circles", lr=100))
fails(
    "lr momentum nan regression",
    LR,
    lambda: fit(mlp(10, 1, width=64, activation="leaky"), "friedman", opt="momentum", lr=5),
)
fails(
    "lr spike at 150 sgd",
    LR,
    lambda: fit(mlp(64, 10), "digits", lr=0.1, schedule=lambda k: 200 if 150 <= k < 155 else 1),
    400,
    150,
)
fails(
    "lr jump at 200 adam",
    LR,
    lambda: fit(
        mlp(64, 10, depth=3),
        "digits",
        opt="adam",
        lr=1e-3,
        schedule=lambda k: 500 if k >= 200 else 1,
    ),
    400,
    200,
)
fails(
    "lr jump at 120 cnn",
    LR,
    lambda: fit(
        Cnn(), "digits", opt="momentum", lr=0.02, schedule=lambda k: 200 if k >= 120 else 1
    ),
    300,
    120,
)
fails(
    "lr warm-up overshoot",
    LR,
    lambda: fit(mlp(64, 10, depth=3), "digits", lr=0.01, schedule=lambda k: 1.06**k),
    300,
    60,
)

# --- saturation
fails(
    "saturated sigmoid bias 12",
    SATURATED,
    lambda: fit(set_bias(mlp(64, 10, activation="sigmoid"), 12.0), "digits", opt="adam", lr=3e-3),
)
fails(
    "saturated sigmoid bias -10",
    SATURATED,
    lambda: fit(set_bias(mlp(64, 10, activation="sigmoid"), -10.0), "digits", lr=0.1),
)
fails(
    "saturated tanh bias 8",
    SATURATED,
    lambda: fit(set_bias(mlp(64, 10, activation="tanh"), 8.0), "digits", lr=0.1),
)
fails(
    "saturated tanh bias -9 three",
    SATURATED,
    lambda: fit(
        set_bias(mlp(64, 10, depth=3, activation="tanh"), -9.0), "digits", opt="adam", lr=1e-3
    ),
)
fails(
    "saturated sigmoid second layer",
    SATURATED,
    lambda: fit(_second_layer_saturated("sigmoid"), "digits", lr=0.1),
)
fails(
    "saturated tanh wine",
    SATURATED,
    lambda: fit(set_bias(mlp(13, 3, activation="tanh"), 10.0), "wine", lr=0.05),
)
fails(
    "saturated sigmoid weights 40",
    SATURATED | SCALE,
    lambda: fit(scale_weights(mlp(64, 10, depth=3, activation="sigmoid"), 40.0), "digits", lr=0.1),
)
fails(
    "saturated tanh weights 60",
    SATURATED | SCALE,
    lambda: fit(scale_weights(mlp(64, 10, depth=3, activation="tanh"), 60.0), "digits", lr=0.01),
)
fails(
    "saturated sigmoid positive weights",
    SATURATED | SCALE,
    lambda: fit(_positive(mlp(64, 10, activation="sigmoid"), 2.0), table("digits"), lr=0.1),
)

# --- constant initialisation
fails("zero init relu", CONSTANT, lambda: fit(mlp(64, 10, init="const0"), "digits", lr=0.1))
fails(
    "zero init tanh adam",
    CONSTANT,
    lambda: fit(mlp(64, 10, activation="tanh", init="const0"), "digits", opt="adam", lr=1e-3),
)
fails(
    "zero init sigmoid",
    CONSTANT,
    lambda: fit(mlp(64, 10, activation="sigmoid", init="const0"), "digits", lr=0.1),
)
fails(
    "constant init sigmoid",
    CONSTANT,
    lambda: fit(
        mlp(64, 10, activation="sigmoid", init="const0.05"), "digits", opt="momentum", lr=0.05
    ),
)
fails(
    "constant init relu",
    CONSTANT,
    lambda: fit(mlp(64, 10, init="const0.05"), "digits", opt="adam", lr=1e-3),
)
fails(
    "constant init tanh 3",
    CONSTANT,
    lambda: fit(mlp(64, 10, depth=3, activation="tanh", init="const0.1"), "digits", lr=0.1),
)
fails(
    "constant init one",
    CONSTANT,
    lambda: fit(mlp(64, 10, init="const1"), "digits", opt="adam", lr=1e-3),
)
fails("constant init wine", CONSTANT, lambda: fit(mlp(13, 3, init="const0.1"), "wine", lr=0.05))
fails(
    "constant init friedman",
    CONSTANT,
    lambda: fit(mlp(10, 1, init="const0.1", activation="tanh"), "friedman", opt="adam", lr=3e-3),
)
fails(
    "constant init cnn head layers",
    CONSTANT,
    lambda: fit(_constant_cnn(), "digits", opt="adam", lr=1e-3),
)

# --- dying relu
fails("dying relu bias -8", DYING, lambda: fit(set_bias(mlp(64, 10), -8.0), "digits", lr=0.1))
fails(
    "dying relu bias -20 adam",
    DYING,
    lambda: fit(set_bias(mlp(64, 10, depth=3), -20.0), "digits", opt="adam", lr=1e-3),
)
fails("dying relu last hidden", DYING, lambda: fit(_last_dead(64, 10), "digits", lr=0.1))
fails("dying relu wine", DYING, lambda: fit(set_bias(mlp(13, 3), -15.0), "wine", lr=0.05))
fails("dying relu cnn", DYING, lambda: fit(_dead_cnn(), "digits", opt="adam", lr=1e-3))
fails(
    "dying relu regression",
    DYING,
    lambda: fit(set_bias(mlp(10, 1), -12.0), "friedman", opt="adam", lr=1e-3),
)
fails(
    "dying relu6 first layer",
    DYING,
    lambda: fit(set_bias(mlp(64, 10, activation="relu6"), -30.0, 1), "digits", lr=0.1),
)

# --- inputs
fails(
    "raw cancer relu sgd",
    INPUTS,
    lambda: fit(mlp(30, 2, width=32), table("breast_cancer"), lr=0.01),
)
fails(
    "raw cancer tanh",
    INPUTS,
    lambda: fit(mlp(30, 2, width=32, activation="tanh"), table("breast_cancer"), lr=0.01),
)
fails(
    "raw cancer sigmoid adam",
    INPUTS,
    lambda: fit(
        mlp(30, 2, width=32, activation="sigmoid"), table("breast_cancer"), opt="adam", lr=1e-3
    ),
)
fails("raw wine relu sgd", INPUTS, lambda: fit(mlp(13, 3, width=32), table("wine"), lr=0.01))
fails(
    "raw wine tanh",
    INPUTS,
    lambda: fit(mlp(13, 3, width=32, activation="tanh"), table("wine"), lr=0.05),
)
fails(
    "digits times thousand tanh",
    INPUTS,
    lambda: fit(mlp(64, 10, activation="tanh"), _times("digits", 1000.0), lr=0.1),
)
fails(
    "digits times thousand relu", INPUTS, lambda: fit(mlp(64, 10), _times("digits", 1000.0), lr=0.1)
)
fails(
    "offset 1000 tanh",
    INPUTS,
    lambda: fit(mlp(64, 10, activation="tanh"), _plus("digits", 1000.0), lr=0.1),
)
fails("offset 100 relu sgd", INPUTS, lambda: fit(mlp(64, 10), _plus("digits", 100.0), lr=0.1))
fails(
    "tiny inputs tanh",
    INPUTS,
    lambda: fit(mlp(64, 10, activation="tanh"), _times("digits", 1e-5), lr=0.1),
)
fails(
    "tiny inputs relu",
    INPUTS,
    lambda: fit(mlp(64, 10), _times("digits", 1e-5), opt="adam", lr=1e-3),
)
fails(
    "dominating feature tanh",
    INPUTS,
    lambda: fit(mlp(64, 10, activation="tanh"), _dominated(), lr=0.1),
)

# --- others: none of the five may be named
fails("nan by log", NONE, lambda: fit(_Log(), "digits", opt="adam", lr=1e-3), onset=1)
fails("nan in a batch at 100", NONE, lambda: _poisoned(100), 250, 100)
fails(
    "deep sigmoid 10 sgd",
    DEPTH,
    lambda: fit(mlp(64, 10, depth=10, activation="sigmoid"), "digits", lr=0.1),
)
fails("deep relu 20 default sgd", DEPTH, lambda: fit(mlp(64, 10, depth=20), "digits", lr=0.1))
fails(
    "deep relu 30 default adam",
    DEPTH,
    lambda: fit(mlp(64, 10, depth=30), "digits", opt="adam", lr=1e-3),
)
fails(
    "deep sigmoid 12 adam",
    DEPTH,
    lambda: fit(mlp(64, 10, depth=12, activation="sigmoid"), "digits", opt="adam", lr=1e-3),
)
fails(
    "tiny init 1e-3 four",
    SCALE | DEPTH,
    lambda: fit(mlp(64, 10, depth=4, init="std0.001"), "digits", lr=0.1),
)
fails(
    "shuffled labels sgd", NONE, lambda: fit(mlp(64, 10), _noisy(1.0), lr=0.1), 400, optional=True
)
fails(
    "shuffled labels adam",
    NONE,
    lambda: fit(mlp(64, 10), _noisy(1.0), opt="adam", lr=1e-3),
    400,
    optional=True,
)
fails(
    "shuffled labels sgd 0.5",
    NONE,
    lambda: fit(mlp(64, 10), _noisy(1.0), lr=0.5),
    600,
    optional=True,
)
fails(
    "linear on circles", NONE, lambda: fit(nn.Linear(2, 2), "circles", lr=0.1), 500, optional=True
)
fails(
    "weight decay adam l2 1",
    DECAY,
    lambda: fit(mlp(64, 10), "digits", opt="adam", lr=1e-2, weight_decay=1.0),
)
fails("weight decay sgd 1", DECAY, lambda: fit(mlp(64, 10), "digits", lr=0.1, weight_decay=1.0))
fails(
    "weight decay adamw 30",
    DECAY,
    lambda: fit(mlp(64, 10), "digits", opt="adamw", lr=3e-3, weight_decay=30.0),
)
fails("l2 penalty", DECAY, lambda: _penalised(1.0))
fails(
    "imbalance hard 1 percent",
    frozenset({"class-imbalance"}),
    lambda: fit(mlp(4, 2, width=16), _hard_imbalance(), opt="adam", lr=1e-3),
    500,
    optional=True,
)
fails("sorted labels", NONE, lambda: _sorted(), 400, optional=True)
fails("constant input", ALIKE, lambda: _same_input())
fails(
    "lr too low",
    frozenset({"learning-rate-too-low"}),
    lambda: fit(mlp(64, 10), "digits", opt="adam", lr=1e-7),
    500,
    optional=True,
)


def _second_layer_saturated(activation: str) -> nn.Module:
    net = mlp(64, 10, activation=activation)
    nn.init.constant_(linear(net[2]).bias, 12.0)
    return net


def _positive(net: nn.Sequential, factor: float) -> nn.Module:
    with torch.no_grad():
        for layer in list(net)[:-1]:
            if isinstance(layer, nn.Linear):
                layer.weight.abs_().mul_(factor)
    return net


def _constant_cnn() -> nn.Module:
    net = Cnn()
    for layer in (net.fc1, net.fc2):
        nn.init.constant_(layer.weight, 0.02)
    return net


def _last_dead(inputs: int, outputs: int) -> nn.Module:
    net = mlp(inputs, outputs)
    nn.init.constant_(linear(net[2]).bias, -10.0)
    return net


def _dead_cnn() -> nn.Module:
    net = Cnn()
    nn.init.constant_(bias_of(net.conv2), -20.0)
    return net


def _times(name: str, factor: float) -> tuple[Tensor, Tensor]:
    x, y = scaled(name)
    return x * factor, y


def _plus(name: str, offset: float) -> tuple[Tensor, Tensor]:
    x, y = scaled(name)
    return x + offset, y


def _dominated() -> tuple[Tensor, Tensor]:
    x, y = scaled("digits")
    x = x.clone()
    x[:, 5] = 3000 + 10 * x[:, 5]
    return x, y


class _Log(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(self.net(x))


def _poisoned(at: int) -> Training:
    x, y = scaled("digits")
    training = fit(mlp(64, 10), (x.clone(), y))
    inner = training.step

    def step(k: int) -> Tensor:
        if k == at:
            with torch.no_grad():
                next(training.model.parameters())[0, 0] = float("nan")  # type: ignore[union-attr]
        return inner(k)

    training.step = step
    return training


def _penalised(strength: float) -> Training:
    net = mlp(64, 10)

    def penalty() -> Tensor:
        squares = sum((p**2).sum() for p in net.parameters())
        assert isinstance(squares, Tensor)
        return strength * squares

    return fit(net, "digits", opt="adam", lr=1e-2, penalty=penalty)


def _hard_imbalance() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(4000, 4, generator=generator)
    y = (torch.rand(4000, generator=generator) < 0.01).long()
    x[y == 1] += 0.3
    return x, y


def _sorted() -> Training:
    x, y = scaled("digits")
    order = y.argsort()
    x, y = x[order], y[order]
    place = [0]

    def draw_next() -> tuple[Tensor, Tensor]:
        start = place[0] % (len(x) - 64)
        place[0] += 16
        return x[start : start + 64], y[start : start + 64]

    return fit(mlp(64, 10), (x, y), draw=draw_next, lr=0.1)


def _same_input() -> Training:
    x, y = scaled("digits")
    return fit(mlp(64, 10), (x[:1].repeat(len(x), 1), y), lr=0.1)


__all__ = ["RUNS", "_imbalanced", "draw", "functional"]

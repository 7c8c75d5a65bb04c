"""Unread failures of units: activations at their ends, and rectifiers that rest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.data import Rows, numerals, tidy
from scoreboard.blind.loops import study, using
from scoreboard.blind.nets import stack
from scoreboard.scenario import Runs, Training
from scoreboard.unread.daily_data import plane, tones
from scoreboard.unread.daily_loops import classic
from scoreboard.unread.daily_nets import LastState, LeNet

RUNS = Runs(__name__)
broken = RUNS.broken

SCALE, SATURATED, DYING = "bad-initialisation-scale", "saturating-activation", "dying-relu"


def flat() -> Rows:
    """Digits as 64 numbers."""
    x, y = numerals()
    return x.flatten(1), y


# --- activations at their ends
class Steep(nn.Module):
    """A squashing function of many times its input."""

    def __init__(self, steep: float, act: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        self.steep, self.act = steep, act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.steep * x)


broken(
    "unread tanh of eighty times its input",
    SATURATED,
    lambda steep: study(
        stack(2, 10, 10, 10, 2, act=lambda: Steep(steep)),
        plane("spirals"),
        using("SGD", 0.05, momentum=0.9),
    ),
    80.0,
    1.0,
    steps=500,
)
broken(
    "unread autoencoder by tanh of three hundred times its input",
    SATURATED,
    lambda steep: study(
        stack(64, 32, 6, 32, 64, act=lambda: Steep(steep)),
        (flat()[0], flat()[0]),
        using("Adam", 2e-3),
    ),
    300.0,
    1.0,
    steps=350,
)
broken(
    "unread lenet of hard sigmoids a hundred and fifty steep",
    SATURATED,
    lambda steep: study(
        LeNet(act=lambda: Steep(steep, functional.hardsigmoid)),
        numerals(),
        using("Adam", 3e-3),
    ),
    150.0,
    3.0,
    steps=400,
)
broken(
    "unread sigmoids whose biases start at twelve",
    (SATURATED, SCALE),
    lambda bias: study(biased(bias, nn.Sigmoid), tidy("wine"), using("SGD", 0.3, momentum=0.9)),
    12.0,
    0.0,
    steps=250,
)
broken(
    "unread gru whose gates are shut by their biases",
    (SATURATED, SCALE),
    lambda bias: study(gated(bias), tones(), using("Adam", 5e-3)),
    15.0,
    0.0,
    steps=400,
)


def biased(bias: float, act: Callable[[], nn.Module], *widths: int) -> nn.Module:
    """All hidden biases start there."""
    net = stack(*(widths or (13, 32, 32, 3)), act=act)
    for layer in list(net.children())[:-1]:
        if isinstance(layer, nn.Linear):
            nn.init.constant_(layer.bias, bias)
    return net


def gated(bias: float) -> nn.Module:
    """The update gate holds the old state."""
    net = LastState(nn.GRU, 1, 24, 4)
    with torch.no_grad():
        net.rnn.bias_ih_l0[24:48] += bias
    return net


# --- rectifiers that rest
broken(
    "unread rectifiers with biases at minus eight",
    DYING,
    lambda bias: classic(
        biased(bias, nn.ReLU, 30, 48, 48, 2), tidy("cancer"), using("SGD", 0.05, momentum=0.9)
    ),
    -8.0,
    0.0,
    steps=250,
)
broken(
    "unread lenet whose second convolution starts below zero",
    DYING,
    lambda bias: lenet(bias),
    -6.0,
    0.0,
    steps=250,
)
broken(
    "unread autoencoder with a code that never fires",
    DYING,
    lambda bias: coder(bias),
    -12.0,
    0.1,
    steps=350,
)
broken(
    "unread biases shifted down at step 160",
    DYING,
    lambda shift: shifted(shift),
    -25.0,
    0.0,
    steps=350,
    onset=160,
)


def lenet(bias: float) -> Training:
    """One layer's biases by hand."""
    net = LeNet()
    conv = net.features[4]
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    nn.init.constant_(conv.bias, bias)
    return study(net, numerals(), using("Adam", 1e-3), batch=32)


def coder(bias: float) -> Training:
    """Digits through twelve rectified numbers."""
    x = flat()[0]
    net = stack(64, 48, 12, 48, 64)
    code = net[2]
    assert isinstance(code, nn.Linear)
    nn.init.constant_(code.bias, bias)
    return study(net, (x, x), using("Adam", 2e-3), batch=64)


def shifted(shift: float) -> Training:
    """A patch to the weights while it trains, as in a botched merge of two checkpoints."""
    net = stack(2, 48, 48, 5)

    def before(k: int) -> None:
        if k == 160:
            with torch.no_grad():
                for layer in list(net.children())[:-1]:
                    if isinstance(layer, nn.Linear):
                        layer.bias.add_(shift)

    return study(net, plane("blobs"), using("Adam", 3e-3), before=before)

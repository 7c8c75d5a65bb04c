"""Unread failures of the first weights: all alike, too small, too large; and of local minima."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor, nn

from scoreboard.blind.data import Rows, numerals, tidy
from scoreboard.blind.loops import study, using
from scoreboard.blind.nets import redraw, stack
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training
from scoreboard.unread.daily_data import districts, tones
from scoreboard.unread.daily_loops import classic
from scoreboard.unread.daily_nets import LastState, LeNet

RUNS = Runs(__name__)
broken = RUNS.broken

CONSTANT, SCALE, MINIMUM = "constant-initialisation", "bad-initialisation-scale", "local-minimum"

Draw = Callable[[Tensor], object]


def kept(weight: Tensor) -> object:
    """As torch draws them."""
    return weight


def zeros(weight: Tensor) -> object:
    """Nothing."""
    return nn.init.zeros_(weight)


def constant(value: float) -> Draw:
    """One number everywhere."""
    return lambda weight: nn.init.constant_(weight, value)


def normal(std: float) -> Draw:
    """Drawn with that spread whatever the size of the layer."""
    return lambda weight: nn.init.normal_(weight, std=std)


# --- all alike
broken(
    "unread all weights of a digit net zero",
    CONSTANT,
    lambda draw: classic(
        redraw(stack(64, 64, 64, 10), draw, least=1),
        (numerals()[0].flatten(1), numerals()[1]),
        using("Adam", 1e-3),
    ),
    zeros,
    kept,
    steps=250,
)
broken(
    "unread lenet with every kernel at a tenth",
    CONSTANT,
    lambda draw: classic(redraw(LeNet(), draw), numerals(), using("SGD", 0.02, momentum=0.9)),
    constant(0.1),
    kept,
    steps=250,
)
broken(
    "unread gru of ones",
    CONSTANT,
    lambda draw: study(
        redraw(LastState(nn.GRU, 1, 24, 4), draw, least=1), tones(), using("Adam", 5e-3)
    ),
    constant(1.0),
    kept,
    steps=300,
)
broken(
    "unread tanh table net of one half",
    CONSTANT,
    lambda draw: study(
        redraw(stack(30, 24, 24, 2, act=nn.Tanh), draw),
        plane_of_thirty(),
        using("SGD", 0.1),
        batch=64,
    ),
    constant(0.5),
    kept,
    steps=400,
)
broken(
    "unread autoencoder whose matrices are all a twentieth",
    CONSTANT,
    lambda draw: coder(draw),
    constant(0.05),
    kept,
    steps=300,
)


def plane_of_thirty() -> Rows:
    """Spirals in the first two of thirty columns would be hard: the sign of a product is enough."""
    g = dice(61)
    x = torch.randn(1500, 30, generator=g)
    return x, (x[:, 0] + x[:, 1] - x[:, 2] - 1.5 * x[:, 3] > 0).long()


def coder(draw: Draw) -> Training:
    """Digits through sixteen numbers, with all matrices drawn so."""
    x = numerals()[0].flatten(1)
    net = redraw(stack(64, 48, 16, 48, 64, act=nn.SiLU), draw)
    return study(net, (x, x), using("Adam", 3e-3), batch=64)


# --- too small, too large
broken(
    "unread tanh layers drawn with spread three",
    SCALE,
    lambda draw: study(
        redraw(stack(64, 128, 128, 128, 10, act=nn.Tanh), draw),
        (numerals()[0].flatten(1), numerals()[1]),
        using("SGD", 0.01),
    ),
    normal(3.0),
    kept,
    steps=300,
)
broken(
    "unread five layers drawn with spread a thousandth",
    SCALE,
    lambda draw: classic(
        redraw(stack(30, 64, 64, 64, 64, 2), draw), tidy("cancer"), using("SGD", 0.05, momentum=0.9)
    ),
    normal(1e-3),
    kept,
    steps=300,
)
broken(
    "unread districts with weights of ten",
    SCALE,
    lambda draw: study(
        redraw(stack(7, 64, 64, 1, act=nn.Sigmoid), draw), districts(), using("Adam", 3e-3)
    ),
    normal(10.0),
    kept,
    steps=300,
)
broken(
    "unread gru drawn with spread a hundred-thousandth",
    SCALE,
    lambda draw: study(
        redraw(LastState(nn.GRU, 1, 24, 4), draw, least=1),
        tones(),
        using("SGD", 0.2, momentum=0.9),
        clip=1.0,
    ),
    normal(1e-5),
    kept,
    steps=400,
)


# --- local minima
def xor(seed: int) -> Training:
    """Two hidden sigmoids; from some first weights they never part the four corners."""
    torch.manual_seed(seed)
    net = nn.Sequential(*stack(2, 2, 1, act=nn.Sigmoid), nn.Sigmoid())
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    return study(net, (x, y), using("Adam", 0.1), batch=4, loss=nn.BCELoss())


class Wave(nn.Module):
    """a sin(w t + p) + c, fitted by descent."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self.speed, self.phase = nn.Parameter(torch.tensor(speed)), nn.Parameter(torch.tensor(0.3))
        self.size, self.level = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(0.0))

    def forward(self, t: Tensor) -> Tensor:
        return self.size * torch.sin(self.speed * t + self.phase) + self.level


def wave(speed: float) -> Training:
    """The frequency of a tide, from a guess."""
    g = dice(62)
    t = 4 * pi * torch.rand(600, 1, generator=g)
    y = 1.2 * torch.sin(2.0 * t + 0.8) + 0.1 * torch.randn(600, 1, generator=g)
    return study(Wave(speed), (t, y), using("Adam", 0.01), batch=64)


class Bumps(nn.Module):
    """A few bells on a line, whose places and heights are learnt."""

    def __init__(self, places: list[float]) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.tensor(places))
        self.heights = nn.Parameter(torch.ones(len(places)))
        self.level = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        bells = torch.exp(-((x - self.places) ** 2) / 0.32)
        return (bells * self.heights).sum(1, keepdim=True) + self.level


def bumps(places: list[float]) -> Training:
    """Four lines of a spectrum."""
    x = 8 * torch.rand(800, 1, generator=dice(63)) - 4
    truth = Bumps([-3.0, -1.0, 1.2, 3.1])
    return study(Bumps(places), (x, truth(x).detach()), using("Adam", 0.01), batch=64)


def corners(stuck: bool) -> Training:
    """Parity of three bits by three tanh units of which all look the same way at first."""
    net = stack(3, 3, 1, act=nn.Tanh)
    first = net[0]
    assert isinstance(first, nn.Linear)
    with torch.no_grad():
        if stuck:
            first.weight.copy_(
                torch.tensor([[2.0, -2.0, 0.1], [2.1, -1.9, 0.0], [1.9, -2.1, -0.1]])
            )
            first.bias.copy_(torch.tensor([-2.0, -2.1, -1.9]))
        else:
            first.weight.copy_(torch.tensor([[1.0, 1.0, 1.0], [1.1, 0.9, 1.0], [0.9, 1.0, 1.1]]))
            first.bias.copy_(torch.tensor([-0.5, -1.5, -2.5]))
    x = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    y = (x.sum(1, keepdim=True) % 2) * 2 - 1
    return study(net, (x, y), using("Adam", 0.03), batch=8)


broken(
    "unread xor from corners that never part",
    MINIMUM,
    xor,
    21,
    22,
    steps=500,
)
broken(
    "unread tide from a guess at thrice its speed",
    MINIMUM,
    wave,
    6.0,
    1.8,
    steps=400,
)
broken(
    "unread four lines of a spectrum all begun at one side",
    MINIMUM,
    bumps,
    [-3.3, -3.2, -3.1, -2.9],
    [-3.2, -1.4, 0.9, 2.8],
    steps=300,
)
broken("unread parity by three units that look one way", MINIMUM, corners, True, False, steps=500)

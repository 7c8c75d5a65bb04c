"""Sealed failures of the activations, and of what depth does to signals."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.loops import dice, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import demand, gratings, lesions, loans, scans, table
from scoreboard.sealed.loops import by, routine
from scoreboard.sealed.nets import Residual, Tower, UNet, each_weight, lenet, no_norm, plain
from scoreboard.sealed.seqs import Reader

RUNS = Runs(__name__)
broken = RUNS.broken

SCALE, FLAT, DEAD = "bad-initialisation-scale", "saturating-activation", "dying-relu"
FADES, GROWS = "depth-vanishing", "depth-exploding"


# --- flat ends
class Loud(nn.Module):
    """What goes into the activations is multiplied (a temperature upside down)."""

    def __init__(self, loud: float) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(8, 12), nn.Linear(12, 12)
        self.head = nn.Linear(12, 1)
        self.act, self.loud = nn.Hardsigmoid(), loud

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.loud * self.one(x))
        out: Tensor = self.head(self.act(self.loud * (self.two(x) - 0.1)))
        return out


broken(
    "sealed hard sigmoids asked far too loud",
    FLAT,
    lambda loud: routine(Loud(loud), table("friedman"), by("Adam", 5e-3)),
    3000.0,
    2.0,
    steps=400,
)


class Waist(nn.Module):
    """A code through a steep tanh, and back."""

    def __init__(self, steep: float) -> None:
        super().__init__()
        self.reads, self.writes = plain(64, 48, 6), plain(6, 48, 64)
        self.act, self.steep = nn.Tanh(), steep

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.writes(self.act(self.steep * self.reads(x)))
        return out


def waisted(steep: float) -> Training:
    x = scans()[0].flatten(1)
    return routine(Waist(steep), (x, x), by("Adam", 3e-3), batch=64)


broken("sealed codes through a steep tanh", FLAT, waisted, 2000.0, 1.0, steps=350)


def biased(bias: float) -> Training:
    """Sigmoid units whose biases were loaded from a file of thresholds."""
    net = plain(10, 32, 32, 2, act=nn.Sigmoid)
    for place in (0, 2):
        layer = net[place]
        assert isinstance(layer, nn.Linear)
        nn.init.constant_(layer.bias, bias)
    return routine(net, loans(), by("SGD", 0.5), batch=64)


broken("sealed thresholds of fourteen under sigmoids", FLAT, biased, 14.0, 0.0, steps=400)


class Gated(nn.Module):
    """Values times gates; the gates can be shut."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(8, 40), nn.Linear(8, 40)
        self.act, self.head = nn.Sigmoid(), nn.Linear(40, 1)
        nn.init.constant_(self.gate.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.value(x) * self.act(self.gate(x)))
        return out


broken(
    "sealed gates shut",
    FLAT,
    lambda bias: routine(Gated(bias), table("friedman"), by("Adam", 2e-3)),
    -18.0,
    0.0,
)


# --- units that never answer
def shut(bias: float) -> Training:
    net = lenet(6, 12)
    for place in (4,):
        layer = net[place]
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        nn.init.constant_(layer.bias, bias)
    return routine(net, gratings(), by("Adam", 2e-3))


broken("sealed second convolution at minus six", DEAD, shut, -6.0, 0.0)
broken(
    "sealed threshold of eight",
    DEAD,
    lambda at: routine(
        plain(16, 40, 40, 5, act=lambda: nn.Threshold(at, 0.0)), table("gases"), by("Adam", 2e-3)
    ),
    8.0,
    0.0,
)


def narrow(wrong: bool) -> Training:
    """Three units wide and twenty layers deep: nothing gets through ReLUs drawn like that."""
    net = plain(4, *[3] * 20, 3) if wrong else plain(4, 24, 24, 3)
    return routine(net, table("iris"), by("Adam", 3e-3), batch=16)


broken("sealed twenty layers of three ReLUs", (DEAD, FADES), narrow, True, False, steps=350)


def squeezed(bias: float) -> Training:
    """A ReLU at the waist of a coder, its bias far below."""
    net = plain(64, 48, 16, 48, 64)
    layer = net[2]
    assert isinstance(layer, nn.Linear)
    nn.init.constant_(layer.bias, bias)
    x = scans()[0].flatten(1)
    return routine(net, (x, x), by("SGD", 0.3, momentum=0.9), batch=64)


broken("sealed waist shut", DEAD, squeezed, -12.0, 0.0)


def unlit(wrong: bool) -> Training:
    """Logarithms are below nought, and the first weights above."""
    x = functional.logsigmoid(table("friedman")[0]) - 0.5
    net = Tower(8, 40, 40, 1)
    if wrong:
        with torch.no_grad():
            net.get_parameter("layers.0.weight").abs_()
            net.get_parameter("layers.0.bias").zero_()
    return routine(net, (x, table("friedman")[1]), by("RMSprop", 1e-3))


broken("sealed logarithms under positive weights", DEAD, unlit, True, False)


def masks(bias: float) -> Training:
    x, y = lesions()
    net = UNet()
    for part in (net.down[0], net.low[0], net.low[2]):
        assert isinstance(part, nn.Conv2d)
        assert part.bias is not None
        nn.init.constant_(part.bias, bias)
    return routine(
        net, (x, y), by("Adam", 6e-3), batch=16, loss=nn.BCEWithLogitsLoss(),
        score=yes_no(net, x[:100], y[:100]),
    )  # fmt: skip


broken("sealed u-net with all biases at minus nine", DEAD, masks, -9.0, 0.0, steps=180)

# --- what depth does
broken(
    "sealed sixteen layers of sigmoids",
    FADES,
    lambda depth: routine(
        Tower(16, *[32] * depth, 5, act=nn.Sigmoid), table("gases"), by("SGD", 0.3, momentum=0.9)
    ),
    16,
    1,
    steps=350,
)


def straight(plain_: bool) -> Training:
    """Eighteen convolutions with ReLUs and nothing around them, or ways round them."""
    body: list[nn.Module] = []
    for _ in range(18 if plain_ else 3):
        body += (
            [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
            if plain_
            else [Residual(8, no_norm, nn.ReLU)]
        )
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), *body, nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(32, 6),
    )  # fmt: skip
    return routine(net, gratings(), by("SGD", 0.05, momentum=0.9))


broken("sealed eighteen plain convolutions", FADES, straight, True, False, steps=180)


def remembered(wrong: bool) -> Training:
    """The sign of the first reading is asked for after fifty more."""
    g = dice(81)
    x = 0.3 * torch.randn(800, 50, 1, generator=g)
    y = torch.randint(2, (800,), generator=g)
    x[:, 0, 0] = 2.0 * y - 1
    net = Reader(nn.RNN, 2, width=16)
    with torch.no_grad():
        nn.init.orthogonal_(net.cell.get_parameter("weight_hh_l0"), 0.4 if wrong else 1.0)
        for name in ("bias_ih_l0", "bias_hh_l0"):
            net.cell.get_parameter(name).zero_()
    return routine(net, (x, y), by("Adam", 3e-3))


broken("sealed first reading forgotten", FADES, remembered, True, False, steps=250)
broken(
    "sealed fourteen layers of softsign",
    FADES,
    lambda depth: routine(
        plain(8, *[20] * depth, 1, act=nn.Softsign), table("friedman"), by("SGD", 0.02)
    ),
    20,
    2,
    steps=400,
)
broken(
    "sealed twenty-five layers drawn three times too wide",
    (GROWS, SCALE),
    lambda gain: routine(
        each_weight(
            plain(16, *[32] * 25, 5),
            lambda w: w.normal_(0, gain * (2 / w.shape[1]) ** 0.5),
        ),
        table("gases"),
        by("Adam", 5e-4),
    ),
    3.0,
    0.9,
)


def stretched(radius: float) -> Training:
    """Each day the state is stretched."""
    net = Reader(nn.RNN, 1, width=20, nonlinearity="relu")
    with torch.no_grad():
        nn.init.orthogonal_(net.cell.get_parameter("weight_hh_l0"), radius)
    return routine(net, demand(), by("Adam", 2e-3))


broken("sealed states that stretch by half", (GROWS, SCALE), stretched, 2.2, 0.8, steps=250)


class Adding(nn.Module):
    """x + f(x), with nothing that holds it down."""

    def __init__(self, depth: int, pace: float) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(8, 24), nn.Linear(24, 1)
        self.blocks = nn.ModuleList(nn.Linear(24, 24) for _ in range(depth))
        for block in self.blocks:
            nn.init.kaiming_normal_(block.get_parameter("weight"))
        self.pace = pace

    def forward(self, x: Tensor) -> Tensor:
        x = self.into(x)
        for block in self.blocks:
            x = x + self.pace * functional.relu(block(x))
        out: Tensor = self.out(x)
        return out


broken(
    "sealed thirty additions without a norm",
    (GROWS, SCALE),
    lambda pace: routine(Adding(30, pace), table("friedman"), by("SGD", 0.01)),
    1.0,
    0.05,
)

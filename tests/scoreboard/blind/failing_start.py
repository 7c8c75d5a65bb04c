"""Blind failures of the start: weights alike, too small or too large, units shut from birth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from scoreboard.blind.data import (
    LETTERS,
    bearings,
    compounds,
    entities,
    numerals,
    power,
    prose,
    reviews,
    signs,
    tidy,
    tissue,
)
from scoreboard.blind.loops import study, using
from scoreboard.blind.nets import (
    Bag,
    Compounds,
    Segmenter,
    Speller,
    Tagger,
    redraw,
    stack,
)
from scoreboard.scenario import Runs, Shown, Training

RUNS = Runs(__name__)
broken = RUNS.broken

CONSTANT, SCALE = "constant-initialisation", "bad-initialisation-scale"
SATURATED, DYING = "saturating-activation", "dying-relu"


def drawn(net: nn.Module, value: float | None, least: int = 2) -> nn.Module:
    """All matrices filled with that number, or left as torch draws them."""
    if value is None:
        return net
    return redraw(net, lambda w: w.fill_(value), least)


def spread(net: nn.Module, std: float | None) -> nn.Module:
    """All matrices drawn with that spread, or left as torch draws them."""
    if std is None:
        return net
    return redraw(net, lambda w: w.normal_(0, std))


# --- all alike
broken(
    "blind vgg with all kernels at 0.02",
    CONSTANT,
    lambda value: study(drawn(vgg(), value), signs(), using("SGD", 0.05, momentum=0.9)),
    0.02,
    None,
    steps=200,
)
broken(
    "blind plants by hand with weights of one half",
    CONSTANT,
    lambda value: Perceptron(value).training(),
    0.5,
    0.0,
    steps=400,
)
broken(
    "blind tagger whose gates are all zero",
    CONSTANT,
    lambda value: study(
        drawn(Tagger(60, 3, nn.LSTM), value, least=1), entities(), using("SGD", 1.0)
    ),
    0.0,
    None,
    steps=300,
)
broken(
    "blind sums of messages with weights of a tenth",
    CONSTANT,
    lambda value: study(drawn(Compounds(), value), compounds(), using("Adam", 2e-3)),
    0.1,
    None,
    steps=300,
)


def vgg() -> nn.Sequential:
    """Convolutions two by two."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(384, 48),
        nn.ReLU(),
        nn.Linear(48, 5),
    )


class Perceptron:
    """Two layers in numpy, shown by hand: plants by sigmoids."""

    def __init__(self, value: float) -> None:
        x, y = tidy("plants")
        random = np.random.default_rng(5)
        self.x, self.y = x.numpy(), np.eye(6, dtype=np.float32)[y.numpy()]
        self.w1, self.w2 = random.normal(size=(20, 24)), random.normal(size=(24, 6))
        if value:
            self.w1, self.w2 = np.full((20, 24), value), np.full((24, 6), value)
        self.b1, self.b2 = np.zeros(24), np.zeros(6)
        self.random, self.shown = random, list[Shown]()

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        h = 1 / (1 + np.exp(-(x @ self.w1 + self.b1)))
        return h, h @ self.w2 + self.b2

    def step(self, _: int) -> Tensor:
        at = self.random.permutation(len(self.x))[:32]
        x, y = self.x[at], self.y[at]
        h, out = self.forward(x)
        p = np.exp(out - out.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        back = (p - y) / len(x)
        inner = back @ self.w2.T * h * (1 - h)
        g1, g2 = x.T @ inner, h.T @ back
        self.shown = [
            Shown(name="hidden", value=x, role="input"),
            Shown(name="hidden", value=self.w1.copy(), role="weight"),
            Shown(name="hidden", value=h, activation="sigmoid"),
            Shown(name="hidden", value=g1, role="weight_grad"),
            Shown(name="top", value=self.w2.copy(), role="weight"),
            Shown(name="top", value=out),
            Shown(name="top", value=g2, role="weight_grad"),
            Shown(name="top", value=out, role="output"),
            Shown(name="top", value=y, role="target"),
            Shown(name="top", value=back, role="output_grad"),
        ]
        self.w1, self.b1 = self.w1 - g1, self.b1 - inner.sum(0)
        self.w2, self.b2 = self.w2 - g2, self.b2 - back.sum(0)
        return torch.tensor(-np.log((p * y).sum(1) + 1e-12).mean())

    def score(self) -> float:
        _, out = self.forward(self.x)
        found = out.argmax(1) == self.y.argmax(1)
        return float((found.mean() - 1 / 6) * 1.2)

    def arrays(self) -> Sequence[Shown]:
        return self.shown

    def training(self) -> Training:
        return Training({}, [], self.step, self.score, self.arrays)


# --- too small, too large
broken(
    "blind four layers from a normal of 1e-4",
    SCALE,
    lambda std: study(
        spread(stack(10, 48, 48, 48, 2, act=nn.Tanh), std),
        tidy("hastie"),
        using("SGD", 0.2, momentum=0.9),
    ),
    1e-4,
    None,
    steps=400,
)
broken(
    "blind letters with a standard normal times four",
    SCALE,
    lambda std: study(
        spread(Speller(LETTERS, nn.GRU), std), prose(), using("Adam", 3e-3), batch=16
    ),
    4.0,
    None,
    steps=250,
)
broken(
    "blind numbers with randn for weights",
    SCALE,
    lambda std: study(spread(stack(4, 64, 64, 64, 1), std), tidy("phase"), using("Adam", 1e-3)),
    1.0,
    None,
    steps=300,
)
broken(
    "blind tissue with kernels of 1e-3",
    SCALE,
    lambda std: study(
        spread(Segmenter(3, act=nn.ReLU), std), tissue(), using("SGD", 0.1, momentum=0.9), batch=8
    ),
    1e-3,
    None,
    steps=200,
)


# --- shut by saturation
broken(
    "blind forecast through tanh held at its ends",
    SATURATED,
    lambda offset: study(ends(offset), power(), using("SGD", 0.05)),
    12.0,
    0.0,
    steps=400,
)
broken(
    "blind sigmoids with offsets of fifteen",
    SATURATED,
    lambda offset: study(
        offset_by(stack(20, 48, 6, act=nn.Sigmoid), 0, offset),
        tidy("plants"),
        using("SGD", 0.1, momentum=0.9),
    ),
    15.0,
    0.0,
    steps=300,
)
broken(
    "blind knocks through hard sigmoids held shut",
    SATURATED,
    lambda offset: study(convolved(nn.Hardsigmoid, offset), bearings(), using("RMSprop", 2e-3)),
    -9.0,
    0.0,
    steps=300,
)


def ends(offset: float) -> nn.Module:
    """Two layers of tanh, each unit of the first one far up or far down."""
    net = nn.Sequential(nn.Flatten(), stack(48, 48, 48, 6, act=nn.Tanh))
    with torch.no_grad():
        first = net[1][0].bias  # type: ignore[index]
        first.copy_(offset * (2 * torch.randint(2, (48,)) - 1))
    return net


def offset_by(net: nn.Sequential, at: int, offset: float) -> nn.Sequential:
    """The same offset to all units of one layer."""
    with torch.no_grad():
        net[at].bias.fill_(offset)  # type: ignore[operator]
    return net


def convolved(act: type[nn.Module], offset: float) -> nn.Sequential:
    """Two convolutions over time; the second one's units begin with that offset."""
    net = nn.Sequential(
        nn.Conv1d(2, 16, 5, stride=2),
        nn.BatchNorm1d(16),
        nn.SiLU(),
        nn.Conv1d(16, 24, 5, stride=2),
        act(),
        nn.Flatten(),
        nn.Linear(24 * 13, 4),
    )
    return offset_by(net, 3, offset)


# --- ReLUs dead from birth
broken(
    "blind sparse code that begins at minus twelve",
    DYING,
    lambda offset: coder(offset),
    -12.0,
    0.0,
    steps=300,
)
broken(
    "blind knocks through relus held shut",
    DYING,
    lambda offset: study(convolved(nn.ReLU, offset), bearings(), using("SGD", 0.05, momentum=0.9)),
    -8.0,
    0.0,
    steps=250,
)
broken(
    "blind reviews with all offsets at minus ten",
    DYING,
    lambda offset: study(offset_top(Bag(80, 2), offset), reviews(), using("AdamW", 1e-2)),
    -10.0,
    0.0,
    steps=300,
)
broken(
    "blind signs whose relus stand behind a norm of minus eight",
    DYING,
    lambda beta: study(shifted(beta), signs(), using("NAdam", 2e-3)),
    -8.0,
    0.0,
    steps=250,
)


def coder(offset: float) -> Training:
    """Digits through 32 ReLUs, by someone who wanted few of them awake."""
    x = numerals()[0].flatten(1)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 64))
    return study(offset_by(net, 0, offset), (x, x), using("Adam", 3e-3))


def offset_top(net: Bag, offset: float) -> Bag:
    offset_by(net.top, 0, offset)
    return net


def shifted(beta: float) -> nn.Module:
    """Pictures by convolutions with norms; the last norm's offset is wrong."""
    net = nn.Sequential(
        nn.Conv2d(3, 12, 3, stride=2, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(384, 5),
    )
    return offset_by(net, 4, beta)

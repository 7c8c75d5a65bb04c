"""Unread failures of depth: signals that are lost on the way, or that grow."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from scoreboard.blind.data import Rows, numerals, tidy
from scoreboard.blind.loops import study, using
from scoreboard.blind.nets import redraw, stack
from scoreboard.loops import dice
from scoreboard.scenario import Runs
from scoreboard.unread.daily_data import districts, tones
from scoreboard.unread.daily_loops import classic
from scoreboard.unread.daily_nets import BasicBlock, LastState

RUNS = Runs(__name__)
broken = RUNS.broken

VANISHING, EXPLODING = "depth-vanishing", "depth-exploding"
SCALE = "bad-initialisation-scale"


def flat() -> Rows:
    """Digits as 64 numbers."""
    x, y = numerals()
    return x.flatten(1), y


def he(weight: Tensor) -> Tensor:
    """Drawn for rectifiers."""
    return nn.init.kaiming_normal_(weight)


# --- signals that are lost on the way
broken(
    "unread ten layers of sigmoid",
    VANISHING,
    lambda act: classic(stack(64, *[48] * 10, 10, act=act), flat(), using("SGD", 0.05)),
    nn.Sigmoid,
    nn.SELU,
    steps=400,
)
broken(
    "unread twenty layers of relu as torch draws them",
    VANISHING,
    lambda draw: study(
        redraw(stack(30, *[40] * 20, 2), draw), tidy("cancer"), using("SGD", 0.01, momentum=0.9)
    ),
    lambda weight: weight,
    he,
    steps=300,
)
broken(
    "unread plain network of twenty-four convolutions",
    VANISHING,
    lambda skip: study(towers(12, skip), numerals(), using("SGD", 0.02, momentum=0.9), batch=16),
    False,
    True,
    steps=200,
)


class LongGRU(nn.GRU):
    """Keeps its state at first, by the bias of its update gate."""

    def __init__(self, inputs: int, width: int, batch_first: bool = True) -> None:
        super().__init__(inputs, width, batch_first=batch_first)
        with torch.no_grad():
            self.get_parameter("bias_ih_l0")[width : 2 * width] += 4.0


broken(
    "unread first sign of sixty by a plain recurrent layer",
    VANISHING,
    lambda kind: study(
        LastState(kind, 5, 24, 4), first_of(60), using("Adam", 1e-2), clip=1.0, batch=32
    ),
    nn.RNN,
    LongGRU,
    steps=350,
)


def first_of(length: int, count: int = 1200) -> Rows:
    """What the first sign was, when many others have come."""
    g = dice(51)
    first = torch.randint(4, (count,), generator=g)
    x = torch.zeros(count, length, 5)
    x[:, 1:, 4] = 0.5 * torch.randn(count, length - 1, generator=g)
    x[torch.arange(count), 0, first] = 2.0
    return x, first


def towers(blocks: int, skip: bool) -> nn.Module:
    """Convolutions two by two, with shortcuts or without."""
    body = [BasicBlock(8, norm=False, skip=skip) for _ in range(blocks)]
    if skip:
        for block in body:
            nn.init.zeros_(block.conv2.weight)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), *body, nn.Flatten(), nn.Linear(128, 10)
    )


# --- signals that grow on the way
def wide_gain(gain: float) -> Callable[[Tensor], Tensor]:
    """He's rule, times a gain."""
    return lambda weight: he(weight).mul_(gain)


broken(
    "unread twelve layers at far more than he's rule",
    (EXPLODING, SCALE),
    lambda gain: study(
        redraw(stack(7, *[48] * 12, 1), wide_gain(gain)), districts(), using("SGD", 5e-3)
    ),
    2.5,
    1.0,
    steps=300,
)
broken(
    "unread twenty sums without a norm",
    EXPLODING,
    lambda norm: classic(
        Sums(20, norm), tidy("cancer"), using("SGD", 0.01, momentum=0.9), batch=32
    ),
    False,
    True,
    steps=200,
)
broken(
    "unread relu recurrent layer that grows by half a step",
    (EXPLODING, SCALE),
    lambda gain: study(recurrent(gain), tones(), using("Adam", 3e-3)),
    1.6,
    1.0,
    steps=400,
)
broken(
    "unread eleven convolutions at thrice he's rule",
    (EXPLODING, SCALE),
    lambda gain: study(
        redraw(towers(5, False), wide_gain(gain)), numerals(), using("Adam", 1e-3), batch=32
    ),
    3.5,
    1.0,
    steps=250,
)


class Sums(nn.Module):
    """x + f(x), again and again; f sees a normed x, or x as it has grown."""

    def __init__(self, blocks: int, norm: bool) -> None:
        super().__init__()
        self.stem = nn.Linear(30, 32)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(32) if norm else nn.Identity(),
                nn.Linear(32, 64),
                nn.ReLU(),
                nn.Linear(64, 32),
            )
            for _ in range(blocks)
        )
        self.head = nn.Sequential(nn.LayerNorm(32) if norm else nn.Identity(), nn.Linear(32, 2))
        redraw(self.blocks, he)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


def recurrent(gain: float) -> nn.Module:
    """A rectified recurrent layer that starts from the identity, times a gain."""
    net = LastState(nn.RNN, 1, 32, 4, nonlinearity="relu")
    with torch.no_grad():
        net.rnn.weight_hh_l0.copy_(gain * torch.eye(32))
    return net

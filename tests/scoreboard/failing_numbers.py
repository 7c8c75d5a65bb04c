"""Runs that fail by batch normalisation misused, or by numbers that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.data import Batch, scaled, table, text
from scoreboard.loops import fit, text_fit
from scoreboard.nets import CharTransformer, Cnn, mlp
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)

NORM = "batchnorm-misuse"
OVERFLOW = "numerical-overflow"
NEVER = 10**9


# --- batch normalisation: judged in eval mode, as it will be used
def normed(
    net: nn.Module, batch: int, data: tuple[Tensor, Tensor] | None = None, **settings: Any
) -> Training:
    x, y = data or scaled("digits")
    few = len(x) // 4
    return fit(net, (x[few:], y[few:]), batch=batch, held=(x[:few], y[:few]), **settings)


def momentum(net: nn.Module, value: float) -> nn.Module:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = value
    return net


RUNS.broken(
    "batch norm over two rows",
    NORM,
    lambda batch: normed(mlp(64, 10, norm="batch", depth=3), batch, lr=0.05),
    2,
    32,
    steps=500,
)
RUNS.broken(
    "batch norm over two rows adam",
    NORM,
    lambda batch: normed(
        mlp(64, 10, norm="batch", depth=4, activation="tanh"), batch, opt="adam", lr=3e-3
    ),
    2,
    32,
    steps=500,
)
RUNS.broken(
    "batch norm that never averages",
    NORM,
    lambda m: normed(momentum(mlp(64, 10, norm="batch", depth=3), m), 64, lr=0.2),
    1e-4,
    0.1,
    steps=400,
    sudden=False,
)
RUNS.broken(
    "batch norm that never averages cnn",
    NORM,
    lambda m: normed(
        momentum(nn.Sequential(nn.BatchNorm1d(64), Cnn(norm=True)), m),
        64,
        table("digits"),
        opt="adam",
        lr=3e-3,
    ),
    1e-5,
    0.1,
    steps=400,
    sudden=False,
)


def drifting(mixed: bool) -> Training:
    """Batches of one class each: the statistics kept are of none."""
    x, y = scaled("digits")
    net = mlp(64, 10, norm="batch", depth=2)
    generator = torch.Generator().manual_seed(0)

    def draw() -> Batch:
        index = torch.randint(len(x), (64,), generator=generator)
        if not mixed:
            label = torch.randint(10, (1,), generator=generator)
            rows = (y == label).nonzero()[:, 0]
            index = rows[index % len(rows)]
        return x[index], y[index]

    return fit(net, (x, y), draw=draw, opt="adam", lr=3e-3, held=(x, y))


RUNS.broken(
    "batch norm over one class a batch",
    (NORM, "low-data-diversity"),
    drifting,
    False,
    True,
    steps=400,
    sudden=False,
)


# --- numbers
class Through(nn.Module):
    """A network and a function after its first layer or its last."""

    def __init__(self, net: nn.Module, after: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net = net
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.net(x))


def logarithm(floor: float | None) -> Callable[[Tensor], Tensor]:
    return lambda y: torch.log(y if floor is None else functional.softplus(y) + floor)


RUNS.broken(
    "nan by log",
    OVERFLOW,
    lambda floor: fit(Through(mlp(64, 10), logarithm(floor)), "digits", opt="adam", lr=1e-3),
    None,
    1e-3,
)


def by_hand(stable: bool) -> Callable[[Tensor], Tensor]:
    """A softmax without taking the largest off; all logits carry an offset that means nothing."""
    if stable:
        return lambda y: functional.log_softmax(y + 84, 1)
    return lambda y: (torch.exp(y + 84) / torch.exp(y + 84).sum(1, keepdim=True)).log()


RUNS.broken(
    "softmax by hand overflows",
    OVERFLOW,
    lambda stable: fit(Through(mlp(64, 10), by_hand(stable)), "digits", lr=0.2, loss=nn.NLLLoss()),
    False,
    True,
    steps=400,
    sudden=False,
)


class Unit(nn.Module):
    """Features divided by their length, which is 0 where every unit of a row is off."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(10, 5), nn.Linear(5, 1)
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.body(x))
        return self.head(y / (y.norm(dim=1, keepdim=True) + self.epsilon))


RUNS.broken(
    "features divided by nothing",
    OVERFLOW,
    lambda epsilon: fit(Unit(epsilon), "friedman", opt="adam", lr=1e-2),
    0.0,
    1e-3,
)


def poisoned(at: int) -> Training:
    """A weight is not a number from a step on: a bit flipped, a checkpoint half written."""
    net = text_fit(CharTransformer(text()[1]), opt="adam", lr=3e-3)
    inner = net.step

    def step(k: int) -> Tensor:
        if k == at:
            assert isinstance(net.model, nn.Module)
            with torch.no_grad():
                next(net.model.parameters())[0, 0] = float("nan")
        return inner(k)

    net.step = step
    return net


RUNS.broken("a weight turns into nan at 120", OVERFLOW, poisoned, 120, NEVER, steps=180, onset=120)


def half(size: float) -> Callable[[Tensor], Tensor]:
    """Through half precision, which ends at 65504."""
    return lambda y: (y * size).to(torch.float16).to(torch.float32) / size


RUNS.broken(
    "half precision overflows",
    OVERFLOW,
    lambda size: fit(Through(mlp(64, 10), half(size)), "digits", opt="momentum", lr=0.05),
    60000.0,
    1.0,
)

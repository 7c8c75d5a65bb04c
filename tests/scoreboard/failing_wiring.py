"""Runs whose loss, gradients and optimiser are wired wrongly."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.data import sampler, scaled
from scoreboard.loops import OPTIMIZERS, class_score, fit, value_score
from scoreboard.nets import Cnn, Recurrent, Residual, linear, mlp
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)

DETACHED = "detached-graph"
NO_ZERO = "missing-zero-grad"
OVERFLOW = "numerical-overflow"


def loop(
    net: nn.Module,
    data: str,
    *,
    opt: str = "sgd",
    lr: float = 0.1,
    batch: int = 64,
    order: str = "zero backward step",
    cut: bool = False,
    zero_from: int = 0,
    zero_until: int = 10**9,
    clip: float = 0.0,
    **settings: Any,
) -> Training:
    """The usual loop, its calls in the order given, the loss cut off where asked."""
    x, y = scaled(data)
    values = y.is_floating_point()
    optimizer = OPTIMIZERS[opt](net.parameters(), lr=lr, **settings)
    criterion = nn.MSELoss() if values else nn.CrossEntropyLoss()
    take = sampler(x, y, batch)

    def step(k: int) -> Tensor:
        a, b = take()
        out = net(a)
        loss: Tensor = criterion(out.detach().requires_grad_() if cut else out, b)
        for call in order.split():
            if call == "zero" and zero_from <= k < zero_until:
                optimizer.zero_grad()
            elif call == "backward":
                loss.backward()
                if clip:
                    nn.utils.clip_grad_norm_(net.parameters(), clip)
            elif call == "step":
                optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, (value_score if values else class_score)(net, x, y))


# --- the loss does not reach the weights
RUNS.broken(
    "output detached", DETACHED, lambda cut: loop(mlp(64, 10), "digits", cut=cut), True, False
)
RUNS.broken(
    "output detached cnn adam",
    DETACHED,
    lambda cut: loop(Cnn(), "digits", opt="adam", lr=1e-3, cut=cut),
    True,
    False,
)
RUNS.broken(
    "output detached friedman",
    DETACHED,
    lambda cut: loop(mlp(10, 1, activation="tanh"), "friedman", opt="adamw", lr=3e-3, cut=cut),
    True,
    False,
)
RUNS.broken(
    "gradients zeroed before the step",
    DETACHED,
    lambda order: loop(mlp(64, 10, activation="gelu"), "digits", order=order),
    "backward zero step",
    "zero backward step",
)
RUNS.broken(
    "gradients zeroed before the step adamw",
    DETACHED,
    lambda order: loop(
        Recurrent("GRU"), "digits", opt="adamw", lr=3e-3, weight_decay=0.1, order=order
    ),
    "backward zero step",
    "zero backward step",
)


def other_parameters(make: Callable[[], nn.Module], data: str, wrong: bool, **kw: Any) -> Training:
    """The optimiser was made for the model that was there before."""
    net = make()
    held = copy.deepcopy(net) if wrong else net
    return fit(net, data, parameters=held.parameters(), **kw)


RUNS.broken(
    "optimiser of another model",
    DETACHED,
    lambda wrong: other_parameters(lambda: mlp(64, 10), "digits", wrong, opt="adam", lr=1e-3),
    True,
    False,
)
RUNS.broken(
    "optimiser of another model cnn",
    DETACHED,
    lambda wrong: other_parameters(Cnn, "digits", wrong, opt="momentum", lr=0.02),
    True,
    False,
)


class Cut(nn.Module):
    """A narrow body whose features are detached from the head."""

    def __init__(self, body: nn.Module, head: nn.Module, cut: bool) -> None:
        super().__init__()
        self.body, self.head, self.cut = body, head, cut

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.head(y.detach() if self.cut else y)


RUNS.broken(
    "features detached under the head",
    DETACHED,
    lambda cut: fit(
        Cut(mlp(64, 3, depth=2, activation="tanh"), nn.Linear(3, 10), cut),
        "digits",
        opt="adam",
        lr=1e-2,
    ),
    True,
    False,
    steps=400,
)
RUNS.broken(
    "features detached circles",
    DETACHED,
    lambda cut: fit(Cut(mlp(2, 3, depth=1), nn.Linear(3, 2), cut), "circles", opt="adam", lr=2e-2),
    True,
    False,
    steps=500,
)


def scaled_loss(broken: bool) -> Training:
    """A gradient scaler that finds no finite step: each is skipped."""
    net = mlp(64, 10)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    x, y = scaled("digits")
    take = sampler(x, y, 64)

    def step(_: int) -> Tensor:
        a, b = take()
        loss = functional.cross_entropy(net(a), b)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        if broken:
            gradient = linear(net[0]).weight.grad
            assert gradient is not None
            gradient[0, 0] = float("inf")
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    return Training(net, optimizer, step, class_score(net, x, y))


RUNS.broken("scaler skips every step", (DETACHED, OVERFLOW), scaled_loss, True, False, steps=200)

# --- zero_grad
NEVER = 10**9
RUNS.broken(
    "no zero grad mlp",
    NO_ZERO,
    lambda start: loop(mlp(64, 10), "digits", lr=0.1, zero_from=start),
    NEVER,
    0,
    steps=400,
)
RUNS.broken(
    "no zero grad cnn",
    NO_ZERO,
    lambda start: loop(Cnn(), "digits", lr=0.1, zero_from=start),
    NEVER,
    0,
    steps=300,
)
RUNS.broken(
    "no zero grad momentum wine",
    NO_ZERO,
    lambda start: loop(
        mlp(13, 3, activation="tanh"), "wine", opt="momentum", lr=0.05, zero_from=start
    ),
    NEVER,
    0,
    steps=400,
)
RUNS.broken(
    "no zero grad friedman",
    NO_ZERO,
    lambda start: loop(mlp(10, 1), "friedman", lr=0.05, zero_from=start),
    NEVER,
    0,
    steps=300,
)
RUNS.broken(
    "no zero grad adam residual",
    NO_ZERO,
    lambda start: loop(Residual(64, 10), "digits", opt="adam", lr=3e-3, zero_from=start),
    NEVER,
    0,
    steps=500,
)
RUNS.broken(
    "no zero grad from 200",
    NO_ZERO,
    lambda until: loop(mlp(64, 10, depth=3), "digits", opt="momentum", lr=0.03, zero_until=until),
    200,
    NEVER,
    steps=500,
    onset=200,
)

"""Runs whose parts are wired wrongly: gradients, optimisers, normalisation, numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.data import Batch, sampler, scaled, table, text
from scoreboard.loops import OPTIMIZERS, class_score, fit, text_fit, value_score
from scoreboard.nets import CharTransformer, Cnn, Recurrent, Residual, linear, mlp
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)

DETACHED = "detached-graph"
NO_ZERO = "missing-zero-grad"
NORM = "batchnorm-misuse"
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


def bad_softmax(stable: bool) -> Callable[[Tensor], Tensor]:
    """A softmax written by hand, without taking the largest off."""
    if stable:
        return lambda y: functional.log_softmax(y, 1)
    return lambda y: (torch.exp(30 * y) / torch.exp(30 * y).sum(1, keepdim=True)).log() / 30


RUNS.broken(
    "softmax by hand overflows",
    OVERFLOW,
    lambda stable: fit(
        Through(mlp(64, 10), bad_softmax(stable)), "digits", lr=0.2, loss=nn.NLLLoss()
    ),
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

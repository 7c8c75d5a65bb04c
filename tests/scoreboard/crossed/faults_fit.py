"""Drawn faults of how well a network can fit: too little, too much, the wrong valley."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from scoreboard.crossed.bench import MAKERS, Bench
from scoreboard.crossed.cross import Cross
from scoreboard.crossed.faults import Injection, Kind, fault, own
from scoreboard.loops import dice, update
from scoreboard.nets import ACTIVATIONS
from scoreboard.scenario import Training

SMALL, CLOSE, STUCK = "insufficient-capacity", "overfitting", "local-minimum"


# --- too little
@fault(
    SMALL,
    when=lambda cross: (
        cross.task in {"circles", "waves", "gratings", "tones"}
        and cross.net in {"mlp", "cnn", "conv1d"}
    ),
)
def no_bends(rng: random.Random, cross: Cross) -> Injection:
    """All activations left out: a straight line, however many layers."""

    def put(bench: Bench) -> None:
        for parent in list(bench.model.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, tuple(ACTIVATIONS.values())):
                    setattr(parent, name, nn.Identity())

    return Injection(says="no activations", put=put, sudden=False)


def bends(cross: Cross) -> Cross:
    """The same with an activation that a single unit cannot die of."""
    return replace(cross, activation="leaky" if cross.activation == "relu" else cross.activation)


@fault(
    SMALL,
    when=lambda cross: (
        cross.net in {"mlp", "gated", "gru", "lstm", "conv1d", "bag"}
        and cross.of.outputs > 2
        and not cross.norm
        and not cross.tied
    ),
)
def one_unit(rng: random.Random, cross: Cross) -> Injection:
    """Layers of a single unit."""
    return Injection(
        says="width of one",
        recast=lambda cross: bends(replace(cross, width=1)),
        sudden=False,
    )


@fault(SMALL, when=lambda cross: cross.net == "coder")
def code_of_one(rng: random.Random, cross: Cross) -> Injection:
    """Sixty-four pixels through one number."""
    return Injection(
        says="code of one", recast=lambda cross: bends(replace(cross, code=1)), sudden=False
    )


@fault(
    SMALL,
    when=lambda cross: (
        cross.net == "mlp" and cross.task in {"circles", "waves", "arm", "blobs"} and not cross.norm
    ),
)
def too_narrow(rng: random.Random, cross: Cross) -> Injection:
    """One unit before the last layer of a network with one hidden layer."""
    return Injection(
        says="one hidden unit",
        recast=lambda cross: bends(replace(cross, width=1, depth=1)),
        sudden=False,
    )


# --- too much
@fault(
    CLOSE,
    "low-data-diversity",
    when=lambda cross: (
        cross.evaluates in {10, 20}
        and cross.steps >= 300
        and cross.task
        not in {"chain", "letters", "tagged", "spots", "moons", "wine", "iris", "tones", "gratings"}
        and not cross.dropout
    ),
)
def by_heart(rng: random.Random, cross: Cross) -> Injection:
    """A handful of rows, learnt by heart."""
    count = rng.choice((10, 16, 24, 32))

    def put(bench: Bench) -> None:
        x, y = bench.train
        bench.train = x[:count], y[:count]

    return Injection(says=f"{count} rows", put=put, sudden=False)


@fault(
    CLOSE,
    "label-noise",
    when=lambda cross: (
        cross.evaluates in {10, 20}
        and cross.steps >= 300
        and cross.of.shape in {"row", "pairs", "image"}
        and cross.task not in {"code", "spots", "moons", "wine", "iris"}
        and not cross.dropout
    ),
)
def by_heart_with_slips(rng: random.Random, cross: Cross) -> Injection:
    """Some dozens of rows with many slips in their labels, learnt by heart."""
    count, share = rng.choice((40, 60, 80)), rng.choice((0.3, 0.4))

    def put(bench: Bench) -> None:
        x, y = bench.train[0][:count], bench.train[1][:count]
        wrong = torch.rand(len(y), generator=bench.dice) < share
        dealt = y[torch.randperm(len(y), generator=bench.dice)]
        bench.train = x, torch.where(wrong.view(-1, *[1] * (y.dim() - 1)), dealt, y)

    return Injection(says=f"{count} rows, {share:.0%} wrong", put=put, sudden=False)


# --- the wrong valley
class Formula(nn.Module):
    """A curve with parameters."""

    def __init__(self, curve: Callable[[Tensor, Tensor], Tensor], start: Tensor) -> None:
        super().__init__()
        self.at = nn.Parameter(start)
        self.curve = curve

    def forward(self, x: Tensor) -> Tensor:
        return self.curve(x, self.at)


def _fitted(
    curve: Callable[[Tensor, Tensor], Tensor],
    start: Tensor,
    rows: tuple[Tensor, Tensor],
    opt: str,
    rate: float,
) -> Training:
    x, y = rows
    model, g = Formula(curve, start), dice(5)
    optimizer = MAKERS[opt](model.parameters(), lr=rate)

    def step(_: int) -> Tensor:
        index = torch.randint(len(x), (64,), generator=g)
        return update(optimizer, (model(x[index]) - y[index]).square().mean())

    def score() -> float:
        with torch.no_grad():
            return float(1 - (model(x) - y).square().mean() / y.var())

    return Training(model, optimizer, step, score)


def _noisy(y: Tensor, seed: int) -> Tensor:
    return y + 0.05 * torch.randn(y.shape, generator=dice(seed))


@own(STUCK)
def tide(rng: random.Random) -> Kind:
    """A wave looked for from a guess of the wrong pace."""
    pace, phase = rng.uniform(1.0, 2.0), rng.uniform(-0.6, 0.6)
    wrong, opt = rng.choice((2.5, 3.0, 4.0)), rng.choice(("adam", "momentum", "sgd"))
    seed, rate = rng.randrange(10**6), {"adam": 0.01, "momentum": 0.005, "sgd": 0.03}[opt]

    def curve(x: Tensor, at: Tensor) -> Tensor:
        return at[2] * torch.sin(at[0] * x + at[1])

    def make(faulty: bool) -> Training:
        x = torch.rand(800, 1, generator=dice(seed)) * 10 - 5
        y = _noisy(curve(x, torch.tensor([pace, phase, 1.0])), seed)
        start = torch.tensor([pace * (wrong if faulty else 1.08), 0.0, 0.8])
        return _fitted(curve, start, (x, y), opt, rate)

    return Kind(says=f"tide by {opt} from {wrong:g} times its pace", make=make, steps=400)


@own(STUCK)
def pulse(rng: random.Random) -> Kind:
    """A pulse looked for where there is nothing."""
    where, wide = rng.uniform(-1.0, 1.0), rng.uniform(0.4, 0.7)
    away = rng.choice((4.0, -4.0, 5.0, -5.0))
    opt, seed = rng.choice(("adam", "rmsprop", "momentum")), rng.randrange(10**6)
    rate = {"adam": 0.01, "rmsprop": 0.005, "momentum": 0.02}[opt]

    def curve(x: Tensor, at: Tensor) -> Tensor:
        return at[1] * torch.exp(-((x - at[0]) ** 2) / (2 * wide**2))

    def make(faulty: bool) -> Training:
        x = torch.rand(800, 1, generator=dice(seed)) * 14 - 7
        y = _noisy(curve(x, torch.tensor([where, 1.0])), seed)
        start = torch.tensor([where + (away if faulty else 0.5), 0.7])
        return _fitted(curve, start, (x, y), opt, rate)

    return Kind(says=f"pulse by {opt} looked for {away:+g} away", make=make, steps=400)


@own(STUCK)
def bells(rng: random.Random) -> Kind:
    """Bells that all begin on the same side."""
    count, opt = rng.choice((3, 4)), rng.choice(("adam", "nadam", "momentum"))
    seed, rate = rng.randrange(10**6), {"adam": 0.01, "nadam": 0.01, "momentum": 0.02}[opt]
    places = torch.linspace(-6, 6, count)

    def curve(x: Tensor, at: Tensor) -> Tensor:
        return torch.exp(-((x - at) ** 2) / 0.5).sum(1, keepdim=True)

    def make(faulty: bool) -> Training:
        g = dice(seed)
        x = torch.rand(1000, 1, generator=g) * 16 - 8
        y = _noisy(curve(x, places), seed)
        near = places + 0.3 * torch.randn(count, generator=g)
        start = places[0] + 0.2 * torch.randn(count, generator=g) if faulty else near
        return _fitted(curve, start, (x, y), opt, rate)

    return Kind(says=f"{count} bells by {opt} begun on one heap", make=make, steps=350)

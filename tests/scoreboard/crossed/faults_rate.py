"""Drawn faults of how fast a run learns: rates, schedules, decay, gradients that pile up."""

from __future__ import annotations

import random
from dataclasses import replace

import torch
from torch import Tensor, nn

from scoreboard.crossed.bench import Bench
from scoreboard.crossed.cross import DESCENTS, Cross
from scoreboard.crossed.faults import Injection, fault, late

HIGH, LOW = "learning-rate-too-high", "learning-rate-too-low"
PILED, HEAVY = "missing-zero-grad", "over-regularisation"


def by_descent(cross: Cross) -> bool:
    """Its steps are as long as its gradients."""
    return cross.opt in DESCENTS


def adaptive(cross: Cross) -> bool:
    """Its steps are about equally long whatever the gradients are."""
    return cross.opt in {"adam", "adamw", "nadam", "rmsprop", "adamax", "radam"}


# --- too high
@fault(HIGH)
def far_too_high(rng: random.Random, cross: Cross) -> Injection:
    """A rate of another order."""
    by = rng.choice((100.0, 200.0, 300.0, 1000.0))
    if cross.opt == "adadelta":
        by *= 10
    return Injection(says=f"rate times {by:g}", put=lambda bench: bench.times(lambda k: by))


@fault(HIGH)
def jumps_up(rng: random.Random, cross: Cross) -> Injection:
    """A second phase with somebody else's rate."""
    by, at = rng.choice((200.0, 500.0, 1000.0)), late(rng, cross)

    def put(bench: Bench) -> None:
        bench.times(lambda k: by if k >= at else 1.0)

    return Injection(says=f"rate times {by:g} from {at}", put=put, onset=at)


@fault(HIGH)
def warm_up_without_end(rng: random.Random, cross: Cross) -> Injection:
    """The ramp goes on where it should have stopped."""
    length = rng.choice((1, 2))
    by = 10.0 if cross.opt == "adadelta" else 1.0

    def put(bench: Bench) -> None:
        bench.rate = lambda k: by * k / length

    return Injection(
        says=f"warm-up of {length} without end", put=put, sudden=False, onset=10 * length
    )


@fault(HIGH)
def upward_steps(rng: random.Random, cross: Cross) -> Injection:
    """A schedule whose factor lies above one."""
    factor, each = rng.choice((10.0, 20.0, 30.0)), rng.randrange(40, 70)

    def put(bench: Bench) -> None:
        bench.rate = lambda k: factor ** min((k - 1) // each, 4)

    return Injection(
        says=f"rate times {factor:g} every {each}", put=put, onset=each + 1, sudden=False
    )


@fault(HIGH, when=by_descent)
def summed(rng: random.Random, cross: Cross) -> Injection:
    """The loss is summed over the batch, the rate that of a mean."""

    def put(bench: Bench) -> None:
        bench.changes = lambda k, value: value * cross.batch * bench.train[1][0].numel()

    return Injection(says="loss summed", put=put)


# --- too low
@fault(LOW)
def far_too_low(rng: random.Random, cross: Cross) -> Injection:
    """A rate of a millionth."""
    by = rng.choice((1e-3, 1e-4, 1e-5))
    if by_descent(cross):
        by *= 0.1
    return Injection(says=f"rate times {by:g}", put=lambda bench: bench.times(lambda k: by))


@fault(LOW)
def decay_by_the_batch(rng: random.Random, cross: Cross) -> Injection:
    """An epoch's decay, taken at every batch."""
    gamma = rng.choice((0.5, 0.7, 0.8))

    def put(bench: Bench) -> None:
        bench.rate = lambda k: gamma ** (k - 1)

    return Injection(says=f"decay of {gamma:g} at every batch", put=put)


@fault(LOW)
def cosine_over(rng: random.Random, cross: Cross) -> Injection:
    """The cosine ends after the steps of a short trial."""
    length = rng.choice((4, 6, 8))

    def put(bench: Bench) -> None:
        bench.rate = lambda k: max(0.0, 1 - k / length)

    return Injection(says=f"schedule over after {length}", put=put, onset=length)


@fault(LOW)
def warm_up_for_ever(rng: random.Random, cross: Cross) -> Injection:
    """A warm-up as long as for a run of millions of steps."""
    length = rng.choice((10**6, 10**7))

    def put(bench: Bench) -> None:
        bench.rate = lambda k: k / length

    return Injection(says=f"warm-up of {length} steps", put=put)


@fault(LOW, when=by_descent)
def clipped_to_nothing(rng: random.Random, cross: Cross) -> Injection:
    """Clipped to a norm at which nothing moves."""
    norm = rng.choice((1e-4, 1e-5))
    return Injection(says=f"clipped to {norm:g}", recast=lambda cross: replace(cross, clip=norm))


@fault(LOW, when=lambda cross: cross.opt in {"adam", "adamw", "nadam", "rmsprop"})
def large_epsilon(rng: random.Random, cross: Cross) -> Injection:
    """An epsilon that outweighs every gradient."""
    epsilon = rng.choice((1e2, 1e3))

    def put(bench: Bench) -> None:
        bench.settings["eps"] = epsilon

    return Injection(says=f"epsilon of {epsilon:g}", put=put)


@fault(LOW, when=by_descent)
def loss_of_nothing(rng: random.Random, cross: Cross) -> Injection:
    """The mean is taken twice: of a loss, and over all numbers that there are."""
    by = rng.choice((1e-4, 1e-5))

    def put(bench: Bench) -> None:
        bench.changes = lambda k, value: value * by

    return Injection(says=f"loss times {by:g}", put=put)


# --- never cleared
@fault(PILED)
def never_cleared(rng: random.Random, cross: Cross) -> Injection:
    """No `zero_grad` in the loop."""

    def put(bench: Bench) -> None:
        bench.clears = lambda k: False

    return Injection(says="gradients never cleared", put=put)


@fault(PILED, when=by_descent)
def no_longer_cleared(rng: random.Random, cross: Cross) -> Injection:
    """The loop of a second phase clears nothing."""
    at = rng.randrange(cross.steps // 4, cross.steps // 2)

    def put(bench: Bench) -> None:
        bench.clears = lambda k: k < at

    return Injection(says=f"gradients not cleared from {at}", put=put, onset=at)


@fault(PILED, when=by_descent)
def cleared_elsewhere(rng: random.Random, cross: Cross) -> Injection:
    """What is cleared are the gradients of a copy."""

    def put(bench: Bench) -> None:
        other = nn.Linear(3, 3)

        def clear(_: int) -> bool:
            other.zero_grad()
            return False

        bench.clears = clear

    return Injection(says="gradients of another network cleared", put=put)


@fault(PILED, when=lambda cross: by_descent(cross) and cross.task not in {"wine", "iris", "cancer"})
def cleared_once_an_epoch(rng: random.Random, cross: Cross) -> Injection:
    """`zero_grad` stands in the outer loop."""
    length = rng.choice((100, 150))

    def put(bench: Bench) -> None:
        bench.clears = lambda k: k % length == 1

    return Injection(says=f"gradients cleared every {length}", put=put)


# --- too heavy
def _weights(bench: Bench) -> list[Tensor]:
    return [p for p in bench.model.parameters() if p.requires_grad and p.dim() > 1]


@fault(HEAVY, when=lambda cross: cross.opt not in {"adamw", "adadelta"})
def decayed_away(rng: random.Random, cross: Cross) -> Injection:
    """A decay inside the gradient that outweighs it."""
    decay = rng.choice((0.3, 0.5, 1.0))
    if by_descent(cross):
        decay = min(decay, 0.5 / cross.rate)

    def put(bench: Bench) -> None:
        bench.settings["weight_decay"] = decay

    return Injection(says=f"decay of {decay:g}", put=put, sudden=False)


@fault(HEAVY, when=lambda cross: cross.opt == "adamw")
def decayed_apart(rng: random.Random, cross: Cross) -> Injection:
    """AdamW with a decay that wipes out each step."""
    decay = rng.choice((0.1, 0.3)) / cross.rate

    def put(bench: Bench) -> None:
        bench.settings["weight_decay"] = decay

    return Injection(says=f"decay of {decay:g}", put=put, sudden=False)


@fault(HEAVY)
def dear_weights(rng: random.Random, cross: Cross) -> Injection:
    """A sum of absolute weights beside a mean loss."""
    price = rng.choice((0.03, 0.1, 0.3))

    def put(bench: Bench) -> None:
        weights = _weights(bench)
        bench.penalty = lambda k: price * torch.stack([w.abs().sum() for w in weights]).sum()

    return Injection(says=f"sum of weights at {price:g}", put=put, sudden=False)


@fault(HEAVY, when=lambda cross: cross.net in {"mlp", "cnn"})
def dropped_out(rng: random.Random, cross: Cross) -> Injection:
    """Hardly a unit is left."""
    share = rng.choice((0.9, 0.95, 0.98))
    return Injection(
        says=f"dropout of {share:g}",
        recast=lambda cross: replace(cross, dropout=share),
        sudden=False,
    )


@fault(HEAVY)
def dear_from_now_on(rng: random.Random, cross: Cross) -> Injection:
    """A price on squared weights that begins in mid-run."""
    at, price = late(rng, cross), rng.choice((0.3, 1.0))

    def put(bench: Bench) -> None:
        weights = _weights(bench)

        def penalty(k: int) -> Tensor:
            if k < at:
                return torch.zeros(())
            return price * torch.stack([w.square().sum() for w in weights]).sum()

        bench.penalty = penalty

    return Injection(
        says=f"squared weights at {price:g} from {at}", put=put, onset=at, sudden=False
    )

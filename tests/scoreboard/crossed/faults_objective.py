"""Drawn faults of what is asked for: losses that fit no question, outputs that cannot answer."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.crossed.bench import Bench
from scoreboard.crossed.cross import DESCENTS, Cross
from scoreboard.crossed.faults import Injection, all_of, asks, fault, late
from scoreboard.loops import Loss

WRONG, RANGE, OVERFLOW = "loss-mismatch", "output-activation-mismatch", "numerical-overflow"


class Ends(nn.Module):
    """A network, and a function of what it says."""

    def __init__(self, inner: nn.Module, last: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.last = inner, last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.inner(x))


def _ends(bench: Bench, way: int, module: nn.Module) -> None:
    """Put it after the network: as its last module, in a forward, or in the loop."""
    model = bench.model
    if way == 0:
        bench.model = nn.Sequential(model, module)
    elif way == 1:
        bench.model = Ends(model, lambda out: module(out))
    else:
        bench.forward = lambda x: module(model(x))


def _ending(rng: random.Random, says: str, module: nn.Module, middle: float = 0.0) -> Injection:
    way = rng.randrange(3)

    def put(bench: Bench) -> None:
        _ends(bench, way, module)
        bench.middle = middle

    return Injection(says=says, put=put)


# --- losses
def slow(cross: Cross) -> bool:
    """It feels how flat a loss is; steps of one size get over it all the same."""
    return cross.opt in {*DESCENTS, "adagrad", "adadelta"}


@fault(WRONG, when=lambda cross: cross.of.question == "classes" and slow(cross))
def softmax_twice(rng: random.Random, cross: Cross) -> Injection:
    """A softmax before a loss that has one."""
    return _ending(rng, "softmax before cross-entropy", nn.Softmax(-1))


@fault(WRONG, when=lambda cross: cross.of.question == "yes" and slow(cross))
def sigmoid_twice(rng: random.Random, cross: Cross) -> Injection:
    """A sigmoid before a loss that has one."""
    return _ending(rng, "sigmoid before a loss of logits", nn.Sigmoid(), middle=0.5)


@fault(WRONG)
def sign_turned(rng: random.Random, cross: Cross) -> Injection:
    """What should fall is made to rise."""

    def put(bench: Bench) -> None:
        bench.changes = lambda k, value: -value

    return Injection(says="sign of the loss turned", put=put)


@fault(WRONG)
def sign_turns(rng: random.Random, cross: Cross) -> Injection:
    """The same from a step on."""
    at = late(rng, cross)

    def put(bench: Bench) -> None:
        bench.changes = lambda k, value: -value if k >= at else value

    return Injection(says=f"sign of the loss turned from {at}", put=put, onset=at)


@fault(WRONG, when=all_of(asks("values"), lambda cross: cross.of.outputs == 1))
def row_beside_column(rng: random.Random, cross: Cross) -> Injection:
    """A row of targets against a column of answers: every answer against every target."""

    def put(bench: Bench) -> None:
        def loss(out: Tensor, y: Tensor) -> Tensor:
            return (out - y[:, 0]).square().mean()

        bench.criterion = loss

    return Injection(says="row of targets beside a column", put=put)


@fault(WRONG, when=asks("classes"))
def likelihood_of_scores(rng: random.Random, cross: Cross) -> Injection:
    """NLL of what never went through a log-softmax."""

    def put(bench: Bench) -> None:
        bench.criterion = functional.nll_loss

    return Injection(says="nll of bare scores", put=put)


@fault(WRONG, when=all_of(asks("classes"), lambda cross: not cross.of.each))
def softmax_over_rows(rng: random.Random, cross: Cross) -> Injection:
    """A softmax over the batch instead of the classes."""

    def put(bench: Bench) -> None:
        bench.criterion = lambda out, y: -out.log_softmax(0).gather(1, y[:, None]).mean()

    return Injection(says="softmax over the batch", put=put)


@fault(
    WRONG,
    RANGE,
    when=all_of(asks("yes"), lambda cross: cross.of.outputs == 1 and cross.of.shape != "image"),
)
def cross_entropy_of_one(rng: random.Random, cross: Cross) -> Injection:
    """A softmax over one column: always one."""
    hand = rng.random() < 0.5

    def put(bench: Bench) -> None:
        model = bench.model
        if hand:
            bench.forward = lambda x: model(x).softmax(-1)
            bench.criterion = lambda out, y: functional.binary_cross_entropy(out, y)
            bench.middle = 0.5
        else:
            bench.criterion = lambda out, y: functional.cross_entropy(out, (y[:, 0] * 0).long())

    return Injection(says="softmax over one column", put=put)


@fault(WRONG, when=asks("classes"))
def numbers_of_kinds(rng: random.Random, cross: Cross) -> Injection:
    """Squares between every output and the number that the class happens to have."""

    def put(bench: Bench) -> None:
        bench.criterion = lambda out, y: (out - y[:, None].float()).square().mean()

    return Injection(says="squares of class numbers", put=put)


# --- outputs
@fault(RANGE, when=asks("values"))
def never_below_nought(rng: random.Random, cross: Cross) -> Injection:
    """A ReLU after the last layer."""
    return _ending(rng, "ReLU at the end", nn.ReLU())


@fault(RANGE, when=asks("values"))
def between_nought_and_one(rng: random.Random, cross: Cross) -> Injection:
    """A sigmoid after the last layer."""
    return _ending(rng, "sigmoid at the end", nn.Sigmoid())


@fault(RANGE, when=asks("values"))
def clamped(rng: random.Random, cross: Cross) -> Injection:
    """Outputs are cut off at nought and one."""
    return _ending(rng, "outputs clamped to nought and one", nn.Hardtanh(0.0, 1.0))


@fault(RANGE, "unscaled-targets", when=all_of(asks("values"), lambda cross: cross.task != "code"))
def within_one(rng: random.Random, cross: Cross) -> Injection:
    """A tanh before targets of several units."""
    by = rng.choice((5.0, 10.0))
    inner = _ending(rng, "", nn.Tanh())

    def put(bench: Bench) -> None:
        assert inner.put is not None
        inner.put(bench)
        bench.targets(lambda y: y * by)

    return Injection(says=f"tanh at the end, targets times {by:g}", put=put)


@fault(RANGE, WRONG, when=all_of(asks("values"), lambda cross: cross.task != "code"))
def shares_of_one(rng: random.Random, cross: Cross) -> Injection:
    """A softmax over values that are no shares."""
    return _ending(rng, "softmax at the end", nn.Softmax(-1))


# --- numbers that end
def _loud(bench: Bench, by: float) -> None:
    """Outputs so large that a careless formula overflows."""
    model = bench.model
    bench.forward = lambda x: by * model(x)


@fault(OVERFLOW, WRONG, when=asks("classes"))
def exponentials_by_hand(rng: random.Random, cross: Cross) -> Injection:
    """A softmax written out over scores in the hundreds, or over tens in half precision."""
    half = rng.random() < 0.4
    by = rng.choice((20.0, 50.0) if half else (100.0, 300.0, 1000.0))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        each = out.half().exp() if half else out.exp()
        share = each / each.sum(-1, keepdim=True)
        return -share.gather(1, y[:, None]).float().log().mean()

    return _overflowing(f"softmax by hand of scores times {by:g}", by, loss)


def _overflowing(says: str, by: float, loss: Loss) -> Injection:
    def put(bench: Bench) -> None:
        _loud(bench, by)
        bench.criterion = loss

    return Injection(says=says, put=put)


@fault(OVERFLOW, WRONG, when=asks("yes"))
def odds_by_hand(rng: random.Random, cross: Cross) -> Injection:
    """Logarithms of a sigmoid that rounds to one."""
    by = rng.choice((50.0, 200.0))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        share = out.sigmoid()
        return -(y * share.log() + (1 - y) * (1 - share).log()).mean()

    return _overflowing(f"odds by hand of scores times {by:g}", by, loss)


@fault(OVERFLOW, when=asks("values"))
def root_of_nought(rng: random.Random, cross: Cross) -> Injection:
    """The root of squares of what is nought at a step: no slope there."""
    at = late(rng, cross)

    def put(bench: Bench) -> None:
        plain, count = bench.criterion, [0]

        def loss(out: Tensor, y: Tensor) -> Tensor:
            count[0] += torch.is_grad_enabled()
            if count[0] < at:
                return plain(out, y)
            return plain(out, y) + 0.01 * (out - out.detach()).square().sum(-1).sqrt().mean()

        bench.criterion = loss

    return Injection(says=f"root of nought from {at}", put=put, onset=at)


@fault(OVERFLOW, when=asks("classes"))
def logarithm_of_nought(rng: random.Random, cross: Cross) -> Injection:
    """An entropy whose shares round to nought, asked for from a step on."""
    at = late(rng, cross)

    def put(bench: Bench) -> None:
        plain, count = bench.criterion, [0]

        def loss(out: Tensor, y: Tensor) -> Tensor:
            count[0] += torch.is_grad_enabled()
            if count[0] < at:
                return plain(out, y)
            share = (40 * out).softmax(-1)
            return plain(out, y) - 0.01 * (share * share.log()).sum(-1).mean()

        bench.criterion = loss

    return Injection(says=f"logarithm of nought from {at}", put=put, onset=at)


@fault(OVERFLOW, "bad-data", when=lambda cross: cross.numbers and cross.of.shape == "row")
def spread_of_one_value(rng: random.Random, cross: Cross) -> Injection:
    """Columns standardised by the batch, one of them constant."""
    at = rng.randrange(cross.of.inputs)

    def change(_: int, rows: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        x = rows[0].clone()
        x[:, at] = 1.0
        return (x - x.mean(0)) / x.std(0), rows[1]

    return Injection(says=f"column {at} over its spread of nought", put=lambda b: b.batches(change))

"""Drawn faults of how a network begins: its weights and its biases."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from scoreboard.crossed.bench import Bench
from scoreboard.crossed.cross import ATTENTIVE, RECURRENT, STACKED, Cross
from scoreboard.crossed.faults import Injection, fault, late

CONSTANT, SIZE, SATURATED = (
    "constant-initialisation",
    "bad-initialisation-scale",
    "saturating-activation",
)
DEAD = "dying-relu"

Layer = nn.Linear | nn.Conv1d | nn.Conv2d


def layers(net: nn.Module) -> list[Layer]:
    """Linear and convolutional layers, in the order in which they were made."""
    return [m for m in net.modules() if isinstance(m, Layer)]


def _biases(net: nn.Module, value: float) -> None:
    for layer in layers(net)[:-1]:
        assert layer.bias is not None
        nn.init.constant_(layer.bias, value)


def _redraw(net: nn.Module, change: Callable[[Tensor], object], last: bool = True) -> None:
    """Change every matrix, that of the last layer only where asked."""
    head = layers(net)[-1].weight
    with torch.no_grad():
        for p in net.parameters():
            if p.dim() > 1 and (last or p is not head):
                change(p)


def stack(cross: Cross) -> bool:
    """A plain chain of at least two layers without norms."""
    return cross.plain


def bounded(cross: Cross) -> bool:
    """Such a chain with an activation that saturates."""
    return cross.plain and cross.activation in {"tanh", "sigmoid"}


def rectified(cross: Cross) -> bool:
    """A chain of ReLUs."""
    return cross.net in {*STACKED, "conv1d"} and cross.activation == "relu"


# --- weights
EASY = {"iris", "wine", "cancer", "moons"}
"""Tasks that one unit can answer."""


@fault(
    CONSTANT,
    when=lambda cross: (
        cross.net in {*STACKED, *RECURRENT, "conv1d", "bag", "dlrm"} and cross.task not in EASY
    ),
)
def one_number(rng: random.Random, cross: Cross) -> Injection:
    """All weights alike."""
    value = rng.choice((0.01, 0.02, 0.05, 0.1, 0.3))
    return Injection(
        says=f"weights all {value:g}",
        put=lambda bench: _redraw(bench.model, lambda w: nn.init.constant_(w, value)),
    )


@fault(CONSTANT, when=lambda cross: cross.plain and cross.task not in {*EASY, "spots"})
def alike_by_layer(rng: random.Random, cross: Cross) -> Injection:
    """Every layer takes the mean of what comes before."""

    def put(bench: Bench) -> None:
        for layer in layers(bench.model):
            nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    return Injection(says="layers that begin as means", put=put)


@fault(CONSTANT, when=lambda cross: cross.net not in ATTENTIVE and cross.net != "mixer")
def noughts(rng: random.Random, cross: Cross) -> Injection:
    """All weights and biases nought."""

    def put(bench: Bench) -> None:
        with torch.no_grad():
            for layer in bench.model.modules():
                if isinstance(layer, Layer | nn.RNNBase | nn.Embedding | nn.EmbeddingBag):
                    for p in layer.parameters():
                        p.zero_()

    return Injection(says="weights all nought", put=put)


@fault(SIZE, when=stack)
def tiny_weights(rng: random.Random, cross: Cross) -> Injection:
    """Weights from far too narrow a normal."""
    spread = rng.choice((1e-3, 1e-4, 1e-5))

    def put(bench: Bench) -> None:
        _redraw(bench.model, lambda w: nn.init.normal_(w, std=spread))

    return Injection(
        says=f"weights of {spread:g}",
        put=put,
        recast=lambda cross: replace(cross, depth=max(cross.depth, 3)),
    )


@fault(SIZE, SATURATED, when=bounded)
def wide_weights(rng: random.Random, cross: Cross) -> Injection:
    """Weights from far too wide a normal, under activations that saturate."""
    spread = rng.choice((5.0, 10.0, 20.0))

    def put(bench: Bench) -> None:
        _redraw(bench.model, lambda w: nn.init.normal_(w, std=spread))

    return Injection(says=f"weights of {spread:g}", put=put)


@fault(SIZE, when=lambda cross: cross.plain and cross.activation not in {"tanh", "sigmoid"})
def loud_weights(rng: random.Random, cross: Cross) -> Injection:
    """Drawn weights multiplied."""
    by = rng.choice((20.0, 40.0, 80.0))
    return Injection(
        says=f"weights times {by:g}",
        put=lambda bench: _redraw(bench.model, lambda w: w.mul_(by)),
    )


@fault(SIZE, when=lambda cross: cross.plain)
def positive_weights(rng: random.Random, cross: Cross) -> Injection:
    """`torch.rand` where `torch.randn` was meant."""
    return Injection(
        says="weights from torch.rand",
        put=lambda bench: _redraw(bench.model, lambda w: nn.init.uniform_(w, 0.0, 1.0)),
    )


@fault(SIZE, SATURATED, when=lambda cross: cross.net in RECURRENT)
def wide_gates(rng: random.Random, cross: Cross) -> Injection:
    """A recurrent layer drawn far too wide."""
    spread = rng.choice((5.0, 10.0, 20.0))

    def put(bench: Bench) -> None:
        for layer in bench.model.modules():
            if isinstance(layer, nn.RNNBase):
                _redraw_cell(layer, spread)

    return Injection(says=f"gates of {spread:g}", put=put)


def _redraw_cell(layer: nn.RNNBase, spread: float) -> None:
    for p in layer.parameters():
        if p.dim() > 1:
            nn.init.normal_(p, std=spread)


# --- held at an end
@fault(SATURATED, SIZE, when=bounded)
def held_at_an_end(rng: random.Random, cross: Cross) -> Injection:
    """Biases that hold every unit at its end."""
    value = rng.choice((8.0, 12.0, -12.0, 15.0))
    return Injection(says=f"biases of {value:g}", put=lambda bench: _biases(bench.model, value))


class Steep(nn.Module):
    """An activation asked far too loud."""

    def __init__(self, inner: nn.Module, by: float) -> None:
        super().__init__()
        self.inner, self.by = inner, by

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.by * x)


@fault(SATURATED, when=bounded)
def steep(rng: random.Random, cross: Cross) -> Injection:
    """A gain before every activation."""
    by = rng.choice((50.0, 100.0, 300.0))

    def put(bench: Bench) -> None:
        for parent in list(bench.model.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Tanh | nn.Sigmoid):
                    setattr(parent, name, Steep(child, by))

    return Injection(says=f"activations {by:g} times as steep", put=put)


# --- shut
@fault(DEAD, when=rectified)
def shut(rng: random.Random, cross: Cross) -> Injection:
    """Biases far below nought, also those of norms before a ReLU."""
    value = rng.choice((-6.0, -10.0, -20.0))
    if cross.numbers:
        value *= 1.5

    def put(bench: Bench) -> None:
        _biases(bench.model, value)
        for m in bench.model.modules():
            if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
                nn.init.constant_(m.bias, value)

    return Injection(says=f"biases of {value:g}", put=put)


@fault(DEAD, when=lambda cross: rectified(cross) and not cross.norm)
def one_layer_shut(rng: random.Random, cross: Cross) -> Injection:
    """A single layer through which nothing comes."""
    value = rng.choice((-10.0, -20.0, -30.0))

    def put(bench: Bench) -> None:
        before_head = layers(bench.model)[-2]
        assert before_head.bias is not None
        nn.init.constant_(before_head.bias, value)

    return Injection(says=f"biases of one layer of {value:g}", put=put)


@fault(DEAD, when=rectified)
def shut_from_now_on(rng: random.Random, cross: Cross) -> Injection:
    """A surgery on biases in mid-run."""
    at, by = late(rng, cross), rng.choice((10.0, 20.0, 40.0))

    def put(bench: Bench) -> None:
        def act(k: int) -> None:
            if k != at:
                return
            with torch.no_grad():
                for layer in layers(bench.model)[:-1]:
                    assert layer.bias is not None
                    layer.bias.sub_(by)
                for m in bench.model.modules():
                    if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm):
                        m.bias.sub_(by)

        bench.before.append(act)

    return Injection(says=f"biases less {by:g} from {at}", put=put, onset=at)

"""Drawn faults of how a network is built: depth, attention, norms."""

from __future__ import annotations

import random
from dataclasses import replace

import torch
from torch import Tensor, nn

from scoreboard.crossed.bench import Bench
from scoreboard.crossed.cross import ATTENTIVE, Cross
from scoreboard.crossed.faults import Injection, all_of, fault
from scoreboard.crossed.faults_start import EASY, layers

FADES, BURSTS, SIZE = "depth-vanishing", "depth-exploding", "bad-initialisation-scale"
SCORES, NORMS = "attention-collapse", "batchnorm-misuse"


# --- deep
@fault(FADES, when=lambda cross: cross.net == "mlp" and cross.plain)
def deep(rng: random.Random, cross: Cross) -> Injection:
    """Many layers as torch draws them."""
    depth = rng.choice((8, 10, 12) if cross.activation == "sigmoid" else (16, 20, 24))
    return Injection(
        says=f"{depth} layers", recast=lambda cross: replace(cross, depth=depth, dropout=0.0)
    )


@fault(FADES, when=lambda cross: cross.net in {"cnn", "conv1d"} and not cross.norm)
def deep_convolutions(rng: random.Random, cross: Cross) -> Injection:
    """Many convolutions without a way round."""
    depth = rng.choice((11, 13, 15))
    return Injection(
        says=f"{depth} convolutions", recast=lambda cross: replace(cross, depth=depth, width=8)
    )


@fault(FADES, when=lambda cross: cross.net == "residual" and not cross.norm)
def no_way_round(rng: random.Random, cross: Cross) -> Injection:
    """A deep residual network whose additions were forgotten."""
    depth = rng.choice((8, 10, 12))
    return Injection(
        says=f"{depth} blocks without shortcuts",
        recast=lambda cross: replace(cross, depth=depth, keeps_shortcuts=False),
    )


@fault(
    BURSTS, SIZE, when=lambda cross: cross.net == "mlp" and cross.plain and cross.task not in EASY
)
def grows_by_the_layer(rng: random.Random, cross: Cross) -> Injection:
    """Many layers, each too loud."""
    depth, gain = rng.choice((10, 14, 18)), rng.choice((3.0, 4.0, 5.0))

    def put(bench: Bench) -> None:
        for layer in layers(bench.model)[:-1]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            with torch.no_grad():
                layer.weight.mul_(gain)

    return Injection(
        says=f"{depth} layers each {gain:g} times too loud",
        put=put,
        recast=lambda cross: replace(
            cross,
            depth=depth,
            dropout=0.0,
            activation="relu" if cross.activation in {"tanh", "sigmoid"} else cross.activation,
        ),
    )


@fault(
    BURSTS,
    SIZE,
    when=lambda cross: cross.net == "residual" and not cross.norm and cross.task not in EASY,
)
def sums_without_norm(rng: random.Random, cross: Cross) -> Injection:
    """Many branches of full size and more added up."""
    depth, gain = rng.choice((16, 20)), rng.choice((2.0, 3.0, 4.0))

    def put(bench: Bench) -> None:
        for layer in layers(bench.model)[2:]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            with torch.no_grad():
                layer.weight.mul_(gain)

    return Injection(
        says=f"{depth} branches times {gain:g}",
        put=put,
        recast=lambda cross: replace(cross, depth=depth),
    )


@fault(
    BURSTS, SIZE, when=lambda cross: cross.net == "conv1d" or (cross.net == "cnn" and cross.plain)
)
def convolutions_that_grow(rng: random.Random, cross: Cross) -> Injection:
    """Many convolutions, each too loud."""
    depth, gain = rng.choice((9, 12)), rng.choice((3.0, 4.0))

    def put(bench: Bench) -> None:
        for layer in layers(bench.model)[:-1]:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if not isinstance(layer, nn.Linear):
                with torch.no_grad():
                    layer.weight.mul_(gain)

    return Injection(
        says=f"{depth} convolutions each {gain:g} times too loud",
        put=put,
        recast=lambda cross: replace(cross, depth=depth, width=12, activation="relu"),
    )


# --- attention
@fault(SCORES, SIZE, when=lambda cross: cross.net in ATTENTIVE and cross.task == "letters")
def loud_questions(rng: random.Random, cross: Cross) -> Injection:
    """Queries and keys so large that every score falls on one key."""
    by = rng.choice((30.0, 60.0, 100.0))

    def put(bench: Bench) -> None:
        with torch.no_grad():
            for name, p in bench.model.named_parameters():
                if name.endswith(("qkv.weight", "in_proj_weight")):
                    p[: len(p) * 2 // 3].mul_(by)

    return Injection(says=f"queries and keys times {by:g}", put=put)


@fault(SCORES, FADES, when=lambda cross: cross.net in ATTENTIVE)
def attention_alone(rng: random.Random, cross: Cross) -> Injection:
    """Attention upon attention without a way round."""
    depth = rng.choice((4, 5, 6))
    return Injection(
        says=f"{depth} blocks without shortcuts",
        recast=lambda cross: replace(cross, depth=depth, keeps_shortcuts=False),
    )


# --- norms
def normed(cross: Cross) -> bool:
    """It has batch norms that are asked to evaluate."""
    return cross.norm == "batch" and cross.accumulate == 1


@fault(NORMS, when=all_of(normed, lambda cross: cross.depth > 1))
def averages_that_stand(rng: random.Random, cross: Cross) -> Injection:
    """Running averages that hardly move."""
    momentum = rng.choice((1e-4, 3e-5, 0.0))

    def put(bench: Bench) -> None:
        for m in bench.model.modules():
            if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d):
                m.momentum = momentum

    return Injection(says=f"running averages by {momentum:g}", put=put, sudden=False)


@fault(NORMS, when=all_of(normed, lambda cross: cross.net in {"mlp", "residual"}))
def two_at_a_time(rng: random.Random, cross: Cross) -> Injection:
    """Batch norms over two rows."""
    return Injection(says="batches of two", recast=lambda cross: replace(cross, batch=2))


@fault(
    NORMS, "low-data-diversity", when=all_of(normed, lambda cross: cross.of.question == "classes")
)
def one_class_at_a_time(rng: random.Random, cross: Cross) -> Injection:
    """Each batch holds one class, so that the norms take the class away."""

    def put(bench: Bench) -> None:
        x, y = bench.train

        def take(k: int) -> tuple[Tensor, Tensor]:
            kind = torch.randint(bench.task.outputs, (), generator=bench.dice)
            mine = (y == kind).nonzero()[:, 0]
            index = mine[torch.randint(len(mine), (cross.batch,), generator=bench.dice)]
            return x[index], y[index]

        bench.take = take

    return Injection(says="one class a batch", put=put)


@fault(NORMS, when=all_of(normed, lambda cross: cross.net in {"mlp", "residual", "cnn"}))
def last_few_rows(rng: random.Random, cross: Cross) -> Injection:
    """Running averages that are those of the last three rows."""

    def put(bench: Bench) -> None:
        for m in bench.model.modules():
            if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d):
                m.momentum = 1.0

    return Injection(
        says="averages of the last three rows",
        put=put,
        recast=lambda cross: replace(cross, batch=3),
        sudden=False,
    )

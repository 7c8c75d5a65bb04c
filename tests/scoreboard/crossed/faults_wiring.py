"""Drawn faults of how the parts are joined: gradients and steps that do not reach the weights."""

from __future__ import annotations

import copy
import random

import torch
from torch import Tensor, nn

from scoreboard.crossed.bench import Bench
from scoreboard.crossed.cross import RECURRENT, Cross
from scoreboard.crossed.faults import Injection, fault
from scoreboard.crossed.faults_start import layers

CUT = "detached-graph"


@fault(CUT)
def optimiser_of_a_copy(rng: random.Random, cross: Cross) -> Injection:
    """The optimiser was built before the network was copied."""

    def put(bench: Bench) -> None:
        before = copy.deepcopy(bench.model)
        bench.parameters = before.parameters

    return Injection(says="optimiser of another copy", put=put)


@fault(CUT)
def loss_made_anew(rng: random.Random, cross: Cross) -> Injection:
    """A new tensor around the number, to quiet an error."""

    def put(bench: Bench) -> None:
        bench.changes = lambda k, value: torch.tensor(value.item(), requires_grad=True)

    return Injection(says="loss made a new tensor", put=put)


@fault(CUT)
def answer_copied(rng: random.Random, cross: Cross) -> Injection:
    """The answer goes to numpy and back before the loss."""

    def put(bench: Bench) -> None:
        model = bench.model

        def forward(x: Tensor) -> Tensor:
            out = model(x)
            return torch.tensor(out.detach().float().numpy(), requires_grad=True)

        bench.forward = forward

    return Injection(says="answers by way of numpy", put=put)


@fault(CUT)
def cleared_before_the_step(rng: random.Random, cross: Cross) -> Injection:
    """`zero_grad` between backward and step."""

    def put(bench: Bench) -> None:
        def clear(_: int) -> None:
            assert bench.optimizer is not None
            bench.optimizer.zero_grad()

        bench.between.append(clear)

    return Injection(says="gradients cleared before the step", put=put)


@fault(CUT)
def step_forgotten(rng: random.Random, cross: Cross) -> Injection:
    """No `optimizer.step()`."""

    def put(bench: Bench) -> None:
        bench.moves = lambda k: False

    return Injection(says="optimiser never steps", put=put)


@fault(CUT)
def only_the_head(rng: random.Random, cross: Cross) -> Injection:
    """The optimiser is given the last bias and nothing else."""

    def put(bench: Bench) -> None:
        last = layers(bench.model)[-1]
        bench.parameters = lambda: [p for p in last.parameters() if p is last.bias]

    return Injection(says="optimiser of the last bias alone", put=put)


@fault(
    CUT,
    when=lambda cross: (
        cross.net in {"encoder", "postnorm", *RECURRENT, "conv1d"}
        and cross.task in {"tagged", "letters", "tones", "sales", "strips"}
    ),
)
def body_without_gradient(rng: random.Random, cross: Cross) -> Injection:
    """All but the head under `no_grad`, the drawn body never learns."""

    def put(bench: Bench) -> None:
        for module in bench.model.children():
            if module is not layers(bench.model)[-1] and not isinstance(module, nn.Linear):
                module.register_forward_hook(lambda m, a, out: out.detach())

    return Injection(says="body detached", put=put)


@fault(CUT)
def frozen_by_mistake(rng: random.Random, cross: Cross) -> Injection:
    """Meant for fine-tuning: everything but the last bias is frozen."""

    def put(bench: Bench) -> None:
        last = layers(bench.model)[-1]
        for p in bench.model.parameters():
            if p is not last.bias:
                p.requires_grad_(False)

    return Injection(says="all but the last bias frozen", put=put)


@fault(CUT)
def another_head(rng: random.Random, cross: Cross) -> Injection:
    """Optimised parameters are those before the network was made anew."""

    def put(bench: Bench) -> None:
        old = list(bench.model.parameters())
        bench.model = copy.deepcopy(bench.model)
        bench.parameters = lambda: old

    return Injection(says="network made anew after the optimiser", put=put)

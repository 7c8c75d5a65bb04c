"""Draws runs: `one` from a seed and a number, `drawn` the first so many of a seed."""

from __future__ import annotations

import random
from dataclasses import replace

from scoreboard.crossed import (
    faults_depth,
    faults_fit,
    faults_inputs,
    faults_objective,
    faults_rate,
    faults_start,
    faults_wiring,
    kinds,
)
from scoreboard.crossed.bench import bench
from scoreboard.crossed.cross import Cross, cross
from scoreboard.crossed.faults import FAULTS, Fault, Injection, OwnFault, by_cause
from scoreboard.scenario import Scenario, Training

FAMILIES = (
    faults_rate,
    faults_inputs,
    faults_start,
    faults_depth,
    faults_objective,
    faults_wiring,
    faults_fit,
    kinds,
)
"""Modules that register faults when they are read."""

KEEPS = 0.5
"""A run with a fault holds back less than this share of its twin's skill."""
TRIES = 2000
"""Crosses drawn before it is said that a fault fits none."""


def drawn(seed: int, count: int) -> list[Scenario]:
    """The first runs of a draw."""
    return [one(seed, number) for number in range(count)]


def one(seed: int, number: int) -> Scenario:
    """A run of a draw; its remedy is the twin without the fault."""
    causes = by_cause(FAULTS)
    order = sorted(causes)
    # Every cause once in each round, in an order of the round's own.
    random.Random(f"{seed} round {number // len(order)}").shuffle(order)
    rng = random.Random(f"{seed} run {number}")
    fault = rng.choice(causes[order[number % len(order)]])
    return crossed(fault, rng, f"crossed {seed}-{number}")


def crossed(fault: Fault | OwnFault, rng: random.Random, name: str) -> Scenario:
    """A scenario of this fault, all else by lot."""
    if isinstance(fault, OwnFault):
        kind = fault.draw(rng)
        return Scenario(
            name=f"{name} {kind.says}",
            build=lambda: kind.make(True),
            remedy=lambda: kind.make(False),
            causes=fault.causes,
            onset=kind.onset,
            steps=kind.steps,
            sudden=False,
            family="crossed.draw",
            apart="crossed",
            learns=kind.learns,
            keeps=KEEPS,
        )
    base = fitting(fault, rng)
    injection = fault.draw(rng, base)
    return Scenario(
        name=f"{name} {base.net} {base.task} {base.opt}: {injection.says}",
        build=lambda: faulty(base, injection),
        remedy=lambda: bench(base).training(),
        causes=fault.causes,
        onset=injection.onset,
        steps=base.steps,
        sudden=injection.sudden,
        family="crossed.draw",
        apart="crossed",
        learns=base.of.learns,
        keeps=KEEPS,
    )


def fitting(fault: Fault, rng: random.Random) -> Cross:
    """A cross that can show the fault."""
    for _ in range(TRIES):
        found = cross(rng)
        if fault.applies(found):
            return found
    raise LookupError(f"{fault.name} fits no cross")


def faulty(base: Cross, injection: Injection) -> Training:
    """The run with the fault put in."""
    made = bench(injection.recast(base) if injection.recast else replace(base))
    made.sound = False
    if injection.put is not None:
        injection.put(made)
    return made.training()

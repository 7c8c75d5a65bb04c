"""What a fault is, and the list of all."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from scoreboard.crossed.bench import Bench
from scoreboard.crossed.cross import Cross
from scoreboard.scenario import Training


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """A fault with its strength drawn, ready for one cross."""

    says: str
    """In the name of the run."""
    put: Callable[[Bench], None] | None = None
    """Alters the parts of the loop."""
    recast: Callable[[Cross], Cross] | None = None
    """Alters what is drawn of the run."""
    onset: int = 1
    sudden: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that may be done to a cross."""

    name: str
    causes: tuple[str, ...]
    """Right answers, the one that it is drawn for first."""
    applies: Callable[[Cross], bool]
    draw: Callable[[random.Random, Cross], Injection]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A run of its own kind, drawn: with the fault and without."""

    says: str
    make: Callable[[bool], Training]
    """With the fault where True."""
    steps: int
    onset: int = 1
    learns: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFault:
    """A fault that only one kind of loop can have."""

    name: str
    causes: tuple[str, ...]
    draw: Callable[[random.Random], Kind]


FAULTS: list[Fault | OwnFault] = []

Draw = Callable[[random.Random, Cross], Injection]


def fault(
    *causes: str, when: Callable[[Cross], bool] = lambda cross: True
) -> Callable[[Draw], Draw]:
    """Register a fault of crosses."""

    def add(draw: Draw) -> Draw:
        FAULTS.append(Fault(name=draw.__name__, causes=causes, applies=when, draw=draw))
        return draw

    return add


def own(*causes: str) -> Callable[[Callable[[random.Random], Kind]], Callable[..., Kind]]:
    """Register a fault that brings its own loop."""

    def add(draw: Callable[[random.Random], Kind]) -> Callable[..., Kind]:
        FAULTS.append(OwnFault(name=draw.__name__, causes=causes, draw=draw))
        return draw

    return add


def late(rng: random.Random, cross: Cross) -> int:
    """A step from which the run has learnt something and has time left to lose it."""
    return rng.randrange(cross.steps * 2 // 5, cross.steps * 3 // 5)


def asks(*questions: str) -> Callable[[Cross], bool]:
    """Of these questions."""
    return lambda cross: cross.of.question in questions


def all_of(*conditions: Callable[[Cross], bool]) -> Callable[[Cross], bool]:
    """Every condition."""
    return lambda cross: all(condition(cross) for condition in conditions)


def by_cause(faults: Iterable[Fault | OwnFault]) -> dict[str, list[Fault | OwnFault]]:
    """The faults that are drawn for each cause."""
    found: dict[str, list[Fault | OwnFault]] = {}
    for each in faults:
        found.setdefault(each.causes[0], []).append(each)
    return found

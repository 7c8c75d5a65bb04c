"""Every scenario there is."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from scoreboard.scenario import Scenario

FAILING = (
    "rate",
    "start",
    "depth",
    "data",
    "labels",
    "late",
    "objective",
    "wiring",
    "numbers",
    "fit",
    "kinds",
)
HEALTHY = ("usual", "settings", "heads", "kinds", "edges")
EXAM_FAILING = FAILING
EXAM_HEALTHY = ("nets", "settings", "odd", "kinds")
FRESH_FAILING = ("start", "data", "late", "objective", "kinds")
FRESH_HEALTHY = ("settings", "questions", "kinds", "codes")
SEALED_FAILING = (
    "rate",
    "inputs",
    "rows",
    "start",
    "units",
    "objective",
    "wiring",
    "fit",
    "kinds",
)
SEALED_HEALTHY = (
    "nets",
    "tables",
    "settings",
    "numbers",
    "questions",
    "times",
    "kinds",
    "likeness",
)

BLIND_FAILING = (
    "rate",
    "start",
    "depth",
    "inputs",
    "rows",
    "objective",
    "wiring",
    "fit",
    "kinds",
    "late",
    "numbers",
)

BLIND_HEALTHY = (
    "pictures",
    "words",
    "series",
    "games",
    "generators",
    "codes",
    "tables",
    "laws",
    "transfer",
    "pace",
    "late",
    "odd",
)


def failing() -> list[Scenario]:
    """Runs with a fault put in."""
    return _of(
        [
            *(f"failing_{family}" for family in FAILING),
            *(f"exam_failing_{family}" for family in EXAM_FAILING),
            *(f"fresh_failing_{family}" for family in FRESH_FAILING),
            *(f"sealed_failing_{family}" for family in SEALED_FAILING),
            *(f"blind_failing_{family}" for family in BLIND_FAILING),
        ]
    )


def healthy() -> list[Scenario]:
    """Runs that learn."""
    return _of(
        [
            *(f"healthy_{family}" for family in HEALTHY),
            *(f"exam_healthy_{family}" for family in EXAM_HEALTHY),
            *(f"fresh_healthy_{family}" for family in FRESH_HEALTHY),
            *(f"sealed_healthy_{family}" for family in SEALED_HEALTHY),
            *(f"blind_healthy_{family}" for family in BLIND_HEALTHY),
        ]
    )


def everything(pairs: bool = False) -> list[Scenario]:
    """Healthy and failing runs; the random pairs too where asked."""
    found = [*healthy(), *failing()]
    return [*found, *_of(["pairs"])] if pairs else found


def _of(modules: Iterable[str]) -> list[Scenario]:
    found: list[Scenario] = []
    for module in modules:
        found += import_module(f"scoreboard.{module}").RUNS
    return found

"""Every scenario there is: of `failing_*` and `healthy_*`, here and in the folder of each exam."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from scoreboard.scenario import EXAMS, Scenario


def failing() -> list[Scenario]:
    """Runs with a fault put in."""
    return _of(_files("failing"))


def healthy() -> list[Scenario]:
    """Runs that learn."""
    return _of(_files("healthy"))


def everything(pairs: bool = False) -> list[Scenario]:
    """Healthy and failing runs; the random pairs too where asked."""
    found = [*healthy(), *failing()]
    return [*found, *_of(["pairs"])] if pairs else found


def _files(kind: str) -> Iterable[str]:
    """The modules of a kind, those of no exam first."""
    here = Path(__file__).parent
    yield from (path.stem for path in sorted(here.glob(f"{kind}_*.py")))
    for exam in EXAMS:
        yield from (f"{exam}.{path.stem}" for path in sorted((here / exam).glob(f"{kind}_*.py")))


def _of(modules: Iterable[str]) -> list[Scenario]:
    found: list[Scenario] = []
    for module in modules:
        found += import_module(f"scoreboard.{module}").RUNS
    return found

"""From what was said of each run to the figures of the board."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from scoreboard.harness import Outcome
from scoreboard.scenario import Scenario, holds

BINS = (0.0, 0.5, 0.7, 0.8, 0.9, 1.01)
"""Edges of the confidences that are looked at together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run, and what was said of it at one cadence."""

    scenario: Scenario
    score: float
    outcome: Outcome

    @property
    def found(self) -> bool:
        """Something was wrong, it said at the end."""
        return self.outcome.verdict != "healthy"

    def right(self, first: int) -> bool:
        """A right answer is among the first few causes."""
        if not self.found:
            return False
        return any(c.cause in self.scenario.causes for c in self.outcome.causes[:first])

    @property
    def cause(self) -> str:
        """What the scenario was made for."""
        return self.scenario.causes[0] if self.scenario.causes else ""

    @property
    def onset_error(self) -> float:
        """Steps between the true onset and the earliest one of the flags that stand."""
        standing = [f.onset_step for f in self.outcome.flags if f.severity != "info"]
        return abs(min(standing) - self.scenario.onset) if standing else math.nan

    @property
    def latency(self) -> float:
        """Steps from the true onset to the first alarm after it."""
        raised = [f.raised_step for f in self.outcome.alarms]
        later = [step for step in raised if step >= self.scenario.onset]
        return min(later) - self.scenario.onset if later else math.nan

    @property
    def critical(self) -> bool:
        """It was ever called failing."""
        return any(f.severity == "critical" for f in self.outcome.alarms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One cause."""

    cause: str
    runs: int
    found: float
    first: float
    second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Causes named with about the same confidence."""

    least: float
    most: float
    runs: int
    stated: float
    right: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The board at one cadence."""

    every: int
    failing: int
    healthy: int
    recall: float
    critical_healthy: int
    """Healthy runs that were ever called failing."""
    warned_healthy: int
    """Healthy runs with any alarm."""
    warnings_per_run: float
    first: float
    """Share of failing runs, found or not, whose first cause is right."""
    second: float
    onset_error: float
    onset_error_sudden: float
    latency: float
    """Median over sudden failures."""
    causes: list[Row]
    confidence: list[Bin]


def share(group: Sequence[Result], test: Callable[[Result], bool]) -> float:
    """How many of the runs pass the test, 0 to 1."""
    return sum(map(test, group)) / len(group) if group else math.nan


def middle(values: Iterable[float]) -> float:
    """Median of those that are known."""
    known = [value for value in values if not math.isnan(value)]
    return float(median(known)) if known else math.nan


def figures(every: int, results: Sequence[Result]) -> Figures:
    """The board of these runs, all taken at one cadence."""
    ill = [r for r in results if r.scenario.fails]
    fine = [r for r in results if not r.scenario.fails]
    sudden = [r for r in ill if r.scenario.sudden]
    words = sorted({r.cause for r in ill})
    groups = {word: [r for r in ill if r.cause == word] for word in words}
    return Figures(
        every=every,
        failing=len(ill),
        healthy=len(fine),
        recall=share(ill, lambda r: r.found),
        critical_healthy=sum(r.critical for r in fine),
        warned_healthy=sum(bool(r.outcome.alarms) for r in fine),
        warnings_per_run=sum(len(r.outcome.alarms) for r in fine) / max(1, len(fine)),
        first=share(ill, lambda r: r.right(1)),
        second=share(ill, lambda r: r.right(2)),
        onset_error=middle(r.onset_error for r in ill),
        onset_error_sudden=middle(r.onset_error for r in sudden),
        latency=middle(r.latency for r in sudden),
        causes=[
            Row(
                cause=word,
                runs=len(group),
                found=share(group, lambda r: r.found),
                first=share(group, lambda r: r.right(1)),
                second=share(group, lambda r: r.right(2)),
            )
            for word, group in groups.items()
        ],
        confidence=list(_bins([r for r in ill if r.found and r.outcome.causes])),
    )


def _bins(named: Sequence[Result]) -> Iterable[Bin]:
    for least, most in pairwise(BINS):
        group = [r for r in named if least <= r.outcome.causes[0].confidence < most]
        if group:
            yield Bin(
                least=least,
                most=min(most, 1.0),
                runs=len(group),
                stated=sum(r.outcome.causes[0].confidence for r in group) / len(group),
                right=share(group, lambda r: r.right(1)),
            )


def proven(scores: dict[str, float], scenario: Scenario) -> bool | None:
    """Whether the fault fails and its remedy cures it; None where the remedy was not trained."""
    mended = scores.get(f"{scenario.name} mended")
    if mended is None:
        return None
    return holds(scores[scenario.name], mended, scenario.learns, scenario.keeps)

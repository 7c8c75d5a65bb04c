"""What a scenario is, and how one is trained: the same for us and for any other listener."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import nn

Setting = TypeVar("Setting")

FAILS_BELOW = 0.7
"""A run fails that ends with less than this share of its mended twin's skill."""
CURED_BY = 0.15
"""Skill that a remedy must win back at least."""
EXAMS = ("exam", "fresh", "sealed", "blind", "unread")
"""Shares written one after another, each by somebody else who had not seen the rules, and judged a
single time before anything was mended by them."""


@dataclass(slots=True)
class Training:
    """A loop ready to run."""

    model: nn.Module | Mapping[str, nn.Module]
    optimizer: Any
    """One, or a list of them."""
    step: Callable[[int], torch.Tensor]
    """Trains step k (from 1), returns its loss."""
    score: Callable[[], float] | None = None
    """Skill at the end, measured on its own: 1 = perfect, 0 = what a constant answer is worth."""
    arrays: Callable[[], Sequence[Shown]] | None = None
    """Of a loop without torch: what the step that was just trained has worked on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An array that is shown by hand, in the words of `Watch.observe`."""

    name: str
    value: Any
    role: str = "activation"
    activation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a listener says of a run in the end."""

    verdict: str
    """`healthy`, `warning` or `failing`."""
    causes: tuple[str, ...] = ()
    """Best first, in deadband's words; empty for a listener that names none."""
    first_alarm: int | None = None
    """Step of the first alarm, whether it still stands or not."""


class Listener(Protocol):
    """Whoever wants to hear a run being trained."""

    def on_start(self, model: nn.Module | Mapping[str, nn.Module], optimizer: Any) -> None:
        """Before the first step. Hooks may be put on the model, and may change nothing in it."""

    def on_step(self, step: int, loss: torch.Tensor) -> None:
        """After the optimiser's step; gradients are still there."""

    def verdict(self) -> Verdict:
        """After the last step; hooks are taken off, since the model's skill is measured next."""


@runtime_checkable
class Onlooker(Protocol):
    """A listener that can be shown arrays too, those of a loop without torch."""

    def on_arrays(self, arrays: Sequence[Shown]) -> None:
        """Before `on_step` of the same step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way to train, and what should be said of it."""

    name: str
    build: Callable[[], Training]
    causes: tuple[str, ...] = ()
    """Right answers, the one that the scenario was made for first; empty for a healthy run."""
    remedy: Callable[[], Training] | None = None
    """The same training with the fault mended."""
    onset: int = 1
    """Step at which the fault is at work."""
    steps: int = 400
    sudden: bool = True
    """The fault shows at once at its onset; otherwise the run goes wrong little by little."""
    twin_of: str = ""
    """Of a mended run: the failing one."""
    family: str = ""
    """Module that it stands in."""
    apart: str = ""
    """The exam that it belongs to, if to one."""
    learns: float = CURED_BY
    """Skill that the run without its fault must have."""
    keeps: float = FAILS_BELOW
    """Share of that skill below which the run with the fault fails."""

    @property
    def fails(self) -> bool:
        """A fault has been put in."""
        return bool(self.causes)

    @property
    def held_out(self) -> bool:
        """Half of all scenarios in no exam, by name; a remedy lies with its fault."""
        return self.share == "held"

    @property
    def share(self) -> str:
        """`tune`, `held`, or the exam that it belongs to."""
        if self.apart:
            return self.apart
        return "held" if zlib.crc32((self.twin_of or self.name).encode()) % 2 else "tune"

    def mended(self) -> Scenario:
        """The remedy as a healthy run."""
        assert self.remedy is not None, self.name
        return Scenario(
            name=f"{self.name} mended",
            build=self.remedy,
            steps=self.steps,
            twin_of=self.name,
            family=self.family,
            apart=self.apart,
            learns=self.learns,
            keeps=self.keeps,
        )


class Runs(list[Scenario]):
    """The scenarios of one file."""

    def __init__(self, module: str) -> None:
        super().__init__()
        self.family = module.removeprefix("scoreboard.")
        exam, inside, _ = self.family.partition(".")
        self.apart = exam if inside else ""

    def healthy(
        self, name: str, steps: int = 400
    ) -> Callable[[Callable[[], Training]], Callable[[], Training]]:
        """Register a run that learns."""

        def add(build: Callable[[], Training]) -> Callable[[], Training]:
            self.append(
                Scenario(
                    name=f"healthy {name}",
                    build=build,
                    steps=steps,
                    family=self.family,
                    apart=self.apart,
                )
            )
            return build

        return add

    def simple(self, name: str, build: Callable[[], Training], steps: int = 400) -> None:
        """Register a run that learns, built in a line."""
        self.healthy(name, steps)(build)

    def broken(
        self,
        name: str,
        causes: str | tuple[str, ...],
        make: Callable[[Setting], Training],
        wrong: Setting,
        right: Setting,
        *,
        steps: int = 300,
        onset: int = 1,
        sudden: bool = True,
    ) -> None:
        """Register a run that fails with the one setting and learns with the other."""
        self.append(
            Scenario(
                name=name,
                build=lambda: make(wrong),
                causes=(causes,) if isinstance(causes, str) else causes,
                remedy=lambda: make(right),
                onset=onset,
                steps=steps,
                sudden=sudden,
                family=self.family,
                apart=self.apart,
            )
        )


class Nobody:
    """Listens to nothing: for the score alone."""

    def on_start(self, model: nn.Module | Mapping[str, nn.Module], optimizer: Any) -> None:
        """Nothing to do."""

    def on_step(self, step: int, loss: torch.Tensor) -> None:
        """Nothing to do."""

    def verdict(self) -> Verdict:
        """Nothing was heard."""
        return Verdict(verdict="healthy")


def train(scenario: Scenario, listener: Listener | None = None) -> tuple[Verdict, float]:
    """Train the scenario from its own seed (its twin's too): what was heard, and its skill."""
    heard = listener or Nobody()
    torch.set_num_threads(1)
    torch.manual_seed(zlib.crc32((scenario.twin_of or scenario.name).encode()) % 10_000)
    training = scenario.build()
    heard.on_start(training.model, training.optimizer)
    for k in range(1, scenario.steps + 1):
        loss = training.step(k)
        if training.arrays is not None and isinstance(heard, Onlooker):
            heard.on_arrays(training.arrays())
        heard.on_step(k, loss)
    verdict = heard.verdict()
    return verdict, float(training.score()) if training.score else math.nan


def holds(
    fault: float, mended: float, learns: float = CURED_BY, keeps: float = FAILS_BELOW
) -> bool:
    """The run with the fault fails clearly, and the remedy cures it."""
    if not mended > learns:
        return False
    return not fault > min(keeps * mended, mended - CURED_BY)  # not finite: failed

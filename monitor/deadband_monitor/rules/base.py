"""What a rule is: a pure judge of samples. The engine opens, holds and closes the flags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deadband.wire import LayerTable
from deadband_monitor.rules.past import Past
from deadband_monitor.state.series import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One sample as the rules see it."""

    step: int
    table: LayerTable
    layers: Floats
    """(layers, LAYER_METRICS)"""
    models: Floats
    """(models, MODEL_METRICS)"""
    loss_steps: NDArray[np.int64]
    losses: Floats
    """Every loss since the sample before; NaN where a step gave none."""
    learning_rates: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a rule holds of one subject at one sample."""

    kind: str
    """Symptom word."""
    model: str
    layer: str = ""
    """Empty for the model as a whole."""
    severity: str = "warning"
    active: bool = True
    """True: the symptom shows; False: it does not."""
    clear: bool = True
    """Of an inactive one: below the closing margin too; an open flag waits for that."""
    evidence: dict[str, float] = field(default_factory=dict)
    message: str = ""
    onset_step: int | None = None
    """First sample out of the healthy band; None where it is the first active one in a row."""


class Rule(Protocol):
    """A symptom's judge. Holds what it must remember; never looks at a clock or a file.

    A subject for which a rule yields nothing at a sample is left as it was.
    """

    @property
    def kind(self) -> str:
        """Symptom word."""

    @property
    def samples_to_open(self) -> int:
        """Consecutive active samples before the flag opens."""

    @property
    def samples_to_close(self) -> int:
        """Consecutive clear samples before it closes."""

    @property
    def backward(self) -> bool:
        """The symptom travels from the last layer to the first: the root is the last one."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Statistics without which the rule cannot judge; any one of them will do."""

    @property
    def grace_steps(self) -> int:
        """It says nothing before this step."""

    def judge(self, seen: Observation, past: Past) -> Iterable[Finding]:
        """Findings for the subjects that this sample says something about.

        `past` has taken the sample in already.
        """


Rules = Sequence[Rule]

"""What a rule is: a pure judge of samples. The engine opens, holds and closes the flags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from deadband.wire import LayerTable
from deadband_monitor.rules.model_past import TOLD
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

    @property
    def measured(self) -> bool:
        """Whether it shows anything of a network: a run ends with losses and evaluations alone."""
        known = np.isfinite(self.models)
        told = np.count_nonzero(known[:, TOLD])
        return bool(np.count_nonzero(known) > told or np.count_nonzero(np.isfinite(self.layers)))


class Words(msgspec.Struct, frozen=True):
    """What a flag says."""

    message: str
    evidence: dict[str, float]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule holds of one subject at one sample.

    While hundreds of layers are dead there is one of each at every sample, and nearly all of them
    are never read: a rule may give how its words are made instead of the words.
    """

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
    evidence: dict[str, float] = {}
    message: str = ""
    onset_step: int | None = None
    """First sample out of the healthy band; None where it is the first active one in a row."""
    told: Callable[[int], Words] | None = None
    """Makes the words of a row from the figures of the sample, which it keeps."""
    row: int = -1
    still: bool = False
    """All that the rule found in this model shows as it did at the samples before."""

    def words(self) -> Words:
        """What is to be said of it."""
        if self.told is None:
            return Words(self.message, self.evidence)
        return self.told(self.row)


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

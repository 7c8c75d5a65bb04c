"""What a cause's judge is given and what it gives: a case, and suspects.

A family is a function from a `Case` to `Suspect`s. It names only what the evidence allows, with the
step at which it was first at work, the figures that speak for it, and what to type in instead;
`naming` weighs the suspects of all families against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from deadband.wire import Flag, Model
from deadband_monitor.rules.causes.facts import Facts
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.past import ModelPast, Past

STUCK = frozenset({"output-collapse", "constant-predictor", "loss-plateau"})
"""What becomes of a network whose parts tell its inputs apart no more."""


class Tier(IntEnum):
    """How a suspect was found."""

    EXACT = 0
    """By a deterministic test of values: softmax in front of a cross entropy, no gradient."""
    PATTERN = 1
    """By statistics that this cause shows and others seldom do."""
    RESIDUAL = 2
    """Because nothing else is left; only named where nothing better is."""


STILL = frozenset({"constant-predictor", "loss-plateau"})
"""What a model shows that learns nothing, or no more."""


@dataclass(frozen=True, slots=True)
class Case:
    """One model in which something is wrong."""

    past: Past
    model: ModelPast
    facts: Facts
    flags: tuple[Flag, ...]
    """Those of this model that stand with at least a warning."""

    @property
    def layout(self) -> Layout:
        """The layers that the newest sample follows."""
        layout = self.past.layout
        assert layout is not None
        return layout

    @property
    def build(self) -> Model:
        """How the model was built: its loss, shapes and dropout."""
        return self.layout.model(self.model.name)

    @property
    def start(self) -> int:
        """Step of the first sample."""
        return self.past.first_step

    @property
    def last_layer(self) -> str:
        """Name of the layer that gives the output; empty where none is known to."""
        last = self.layout.output_layer(self.model.name)
        return "" if last is None else last.name

    def flag(self, *kinds: str) -> Flag | None:
        """The standing flag of a kind, or of the first of several that stands."""
        return next((flag for kind in kinds for flag in self.flags if flag.kind == kind), None)

    def layer_of(self, kind: str) -> str:
        """Where the flag of a kind began; empty without one."""
        flag = self.flag(kind)
        return flag.layer if flag is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A cause that the evidence allows."""

    word: str
    """A cause word of DESIGN.md."""
    onset: int
    """Step at which it was first at work."""
    phase: int = 0
    """Within a step: 0 before the forward pass (data, weights), 1 after it, 2 after the update."""
    explains: frozenset[str]
    """Symptoms that it can bring about; one that explains none of the standing ones is not named.
    """
    advice: str
    """What to do, concrete enough to type in."""
    evidence: list[str] = field(default_factory=list)
    """The figures that speak for it, one line each."""
    tier: Tier = Tier.PATTERN
    row: str = ""
    """Row of the likelihood table; empty: `belief` stands for itself."""
    belief: float = 0.0
    """Without a row: share of such suspicions that should be right."""
    root: bool = True
    """Stands for itself; False for dead and saturated layers, which another cause may have made."""
    layer: str = ""


Family = Callable[[Case], Iterable[Suspect]]

"""Parts of `representation-collapse`: routers that send all to one expert, or starve some."""

from __future__ import annotations

import math

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.judges import Judgement, ModelRule
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.rules.structure import experts, routers

KIND = "representation-collapse"
_GRAD, _CHOICE = LAYER_COLUMN["grad_rms"], LAYER_COLUMN["choice_entropy"]
_RMS = LAYER_COLUMN["out_rms"]

HALF = 0.5
"""Share of idle experts from which the width that was paid for is not there ..."""
UNEVEN = 0.5
"""... or entropy of the choices, where some are idle: fewer than three of eight do all. Routers of
healthy runs stay above 0.8 of what they begin with."""
ENOUGH = 0.5
"""Skill from which those that are left serve."""
ONE = 0.3
"""Entropy of the choices over ln of the experts: 0.29 is 95 : 5 between two, 0.24 is 90 : 10 among
four."""


class Idle:
    """Experts that were given nothing for long: their weights' gradient is exactly zero."""

    LASTING_STEPS = 200
    """An expert that is given one row in a thousand is given one in 200 batches of 32 by all but
    0.2 %."""
    FEWEST = 8
    """Samples in that time: where they are far apart an expert may have had inputs between them."""

    def __init__(self, rows: list[list[int]]) -> None:
        self._rows = rows
        """Weights of each expert."""
        self._since = [-1] * len(rows)
        self._samples = [0] * len(rows)

    def share(self, seen: Observation) -> float:
        """Share of the experts that are idle for so long."""
        grads = [seen.layers[rows, _GRAD] for rows in self._rows]
        fed = [bool(np.count_nonzero(each > 0)) for each in grads]
        if not any(fed):
            return 0.0
        for number, given in enumerate(fed):
            if given:
                self._since[number] = -1
            elif self._since[number] < 0:
                self._since[number], self._samples[number] = seen.step, 0
            self._samples[number] += 1
        idle = [
            0 <= since <= seen.step - self.LASTING_STEPS and samples >= self.FEWEST
            for since, samples in zip(self._since, self._samples, strict=True)
        ]
        return sum(idle) / len(idle) if idle else 0.0


class OneExpert(ModelRule):
    """A router sends every input to the same expert, or leaves half of them without any."""

    kind = KIND
    needs = ("choice_entropy",)
    grace_steps = 20

    LASTING_STEPS = 100
    """Early on the experts are alike and a top-1 choice is arbitrary."""
    CERTAIN = 0.8
    CERTAIN_STEPS = 20
    """Not arbitrary is a router that is sure, and of one expert: its choice has hardly a gradient
    left. Healthy ones begin with 1 / E and up to 0.64 of the probability on the likeliest."""
    EVEN = 0.7
    """Entropy of the choices above which, if it lasts, it has recovered; healthy ones stay above
    0.73."""

    def __init__(self) -> None:
        super().__init__()
        self._layout: Layout | None = None
        self._routers: list[list[int]] = []
        self._one_since: dict[int, int] = {}
        self._uneven_at: dict[int, int] = {}
        """Router's row -> the last step at which its load was uneven."""
        self._idle: dict[int, Idle] = {}
        """By the row of the router."""

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        layout = past.layout
        assert layout is not None
        if layout is not self._layout:
            self._layout, self._one_since, self._uneven_at = layout, {}, {}
            self._routers = [routers(layout, i) for i in range(len(layout.models))]
            self._idle = {
                row: Idle(experts(layout, i, layout.layers[row].units))
                for i, rows in enumerate(self._routers)
                for row in rows
            }
        rows = self._routers[layout.index_of[model.name]]
        if not rows:
            return None
        entropies = seen.layers[rows, LAYER_COLUMN["choice_entropy"]]
        if not np.isfinite(entropies).any():
            return None
        for row, entropy in zip(rows, entropies.tolist(), strict=True):
            if entropy < self.EVEN:
                self._uneven_at[row] = seen.step
            if entropy >= ONE:
                self._one_since.pop(row, None)
            elif entropy < ONE:
                self._one_since.setdefault(row, seen.step)
        row = int(rows[int(np.nanargmin(entropies))])
        entropy = float(np.nanmin(entropies))
        since = self._one_since.get(row, seen.step)
        units = layout.layers[row].units
        # The root of the sum of the squares: the likeliest one's probability where that is large.
        certain = float(seen.layers[row, _RMS]) * math.sqrt(units) > self.CERTAIN
        patience = self.CERTAIN_STEPS if certain else self.LASTING_STEPS
        lasting = seen.step - since >= patience
        idle = {each: self._idle[each].share(seen) for each in rows}
        emptiest = max(rows, key=idle.__getitem__)
        share, uneven = idle[emptiest], float(seen.layers[emptiest, _CHOICE]) < UNEVEN
        if not (entropy < ONE and lasting) and (share >= HALF or (share > 0 and uneven)):
            return Judgement(
                # Few experts may be all that the task needs.
                active=not past.skill(model.name) > ENOUGH,
                clear=False,
                layer=layout.layers[emptiest].name,
                message=f"{share:.0%} of {layout.layers[emptiest].units} experts were given no "
                f"input for {Idle.LASTING_STEPS} steps",
                evidence={
                    "choice_entropy": float(seen.layers[emptiest, _CHOICE]),
                    "experts": float(layout.layers[emptiest].units),
                    "idle": share,
                },
            )
        return Judgement(
            active=entropy < ONE and lasting and seen.step >= patience,
            clear=seen.step - self._uneven_at.get(row, 0) >= self.LASTING_STEPS,
            severity="warning",
            layer=layout.layers[row].name,
            message=f"the router chooses nearly always the same of {units} experts",
            evidence={"choice_entropy": entropy, "experts": float(units)},
            onset_step=since,
        )

"""The rule on weights that grow without bound."""

from __future__ import annotations

import math
from statistics import median

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.judges import Judgement, ModelRule
from deadband_monitor.rules.past import ModelPast, Past
from deadband_monitor.rules.trend import History

_GROWTH, _SPREAD = LAYER_COLUMN["weight_growth"], LAYER_COLUMN["weight_spread"]


class WeightDivergence(ModelRule):
    """A weight grows and grows while nothing is learnt by it.

    Growth alone is healthy: a quarter of the runs that learn treble a weight within 250 steps, and
    a linear classifier of separable classes grows for ever. So the weights must be ten times what
    they were, large for their fan-in too, still growing in proportion to the steps, and the loss no
    better than before.
    """

    kind = "weight-divergence"
    needs = ("weight_growth",)
    grace_steps = 20

    GROWN = 10.0
    WIDE = 15.0
    """Spread in units of PyTorch's default; He's is 2.45, and trained weights that work were seen
    up to 10."""
    STILL = 1.2
    """Growth from the older half of the window to the newer. A random walk from zero gives 1.5,
    steady updates in one direction 1.7; what was ruined by one step stands still at 1."""

    def __init__(self) -> None:
        super().__init__()
        self._grown: dict[str, History] = {}
        self._best: dict[str, float] = {}
        """The lowest loss there was when growth without use was first seen, by model."""

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        layout = past.layout
        assert layout is not None
        rows = layout.grown_of[layout.index_of[model.name]]
        growth = seen.layers[rows, _GROWTH]
        largest = float(np.fmax.reduce(growth, initial=np.float32(np.nan)))
        if math.isnan(largest):
            return None
        history = self._grown.setdefault(model.name, History())
        history.add(seen.step, largest)
        if largest <= self.GROWN or seen.step < self.grace_steps:
            return Judgement(active=False, clear=largest <= self.GROWN)
        worst = rows[int(np.nanargmax(growth))]
        spread = float(seen.layers[worst, _SPREAD])
        large = not spread <= self.WIDE
        older, newer = history.halves(max(40, seen.step // 2))
        rising = len(older) >= 3 and len(newer) >= 3 and median(newer) > self.STILL * median(older)
        fresh, best = past.loss.fresh, past.loss.best
        worse = not math.isfinite(fresh) or fresh > max(1.5 * best, best + 0.1 * past.loss.first)
        skill = past.skill(model.name)
        helps = skill > 0.5 or (past.learning(model.name) and not worse)
        active = large and rising and not helps
        if active:
            self._best.setdefault(model.name, best)
        elif not past.stands(self.kind, model.name):
            self._best.pop(model.name, None)
        # A loss that comes down from one of its own heights looks like learning for a while.
        served = skill > 0.5 or (helps and best < self._best.get(model.name, math.inf))
        broken = past.output_gone(model.name) or past.stands("loss-divergence", model.name)
        # A head that answers with returns grows to where they are, and its loss with them.
        fetches = bool(layout.head[worst]) and math.isnan(skill)
        return Judgement(
            active=active,
            clear=not large or served,
            severity="critical" if broken else "info" if fetches else "warning",
            message=f"the weights of {layout.layers[worst].name} have grown {largest:.3g}-fold "
            "and go on growing",
            evidence={"weight_growth": largest, "weight_spread": spread},
        )

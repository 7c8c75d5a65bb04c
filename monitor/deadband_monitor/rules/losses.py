"""The rule on the loss itself."""

from __future__ import annotations

import math

import numpy as np

from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.judges import Judgement, ModelRule
from deadband_monitor.rules.past import ModelPast, Past


class LossDivergence(ModelRule):
    """The loss lies above where it began and above what a constant answer would give."""

    kind = "loss-divergence"
    samples_to_open = 5
    needs = ("loss",)
    grace_steps = 50

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        layout = past.layout
        assert layout is not None
        fresh, first = past.loss.fresh, past.loss.first
        if layout.several_models or seen.step < self.grace_steps or not first > 0:
            return None
        constant = model.value("loss_constant")
        level = float(np.fmax(constant, first))
        # Without labels the level of a constant answer is unknown, and some objectives are annealed
        # upwards: only a ten-fold rise counts then.
        factor = 1.5 if math.isfinite(constant) else 10.0
        above = past.loss.above(factor * level, 15, 20)
        # Spikes that come again and again count too, once they are a quarter of the steps.
        spikes = math.isfinite(constant) and past.loss.above(factor * level, 10, 40)
        severity = "warning"
        if math.isfinite(constant) and past.loss.above(2 * factor * level, 15, 20):
            severity = "critical"
        above = (above or spikes) and past.loss.falling is not True
        return Judgement(
            active=above,
            clear=fresh < 1.1 * level,
            severity=severity,
            message=f"the loss stands at {fresh:.3g}, {fresh / level:.2g} times its start",
            evidence={"loss": fresh, "loss_constant": constant if constant == constant else first},
        )

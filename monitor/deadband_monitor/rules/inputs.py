"""The rule on what is fed in. Odd inputs are a note until something goes wrong with them."""

from __future__ import annotations

import math

from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.judges import Judgement, ModelRule
from deadband_monitor.rules.past import ModelPast, Past

OFFSET = 0.02
"""Dependence ratio of an input below which a constant offset or one feature hides the rest."""
LARGE = 100.0
"""Largest absolute input: raw pixels (255) and physical units pass it, standardised data never."""
TINY = 1e-3
"""Input rms below which a bias of usual size drowns it: digits scaled twice by 1/255."""
CONSTANT = 1e-6
"""Dependence ratio of inputs that are all the same."""


def odd_scale(rho: float, largest: float, rms: float) -> str:
    """`offset`, `large`, `tiny` or nothing: what is odd about an input's scale."""
    if math.isfinite(rms) and 0 < rms < TINY:
        return "tiny"
    if math.isfinite(rho) and CONSTANT <= rho < OFFSET:
        return "offset"
    if math.isfinite(largest) and largest > LARGE:
        return "large"
    return ""


class InputAnomaly(ModelRule):
    """Inputs that are all alike, tiny, huge, or dominated by an offset."""

    kind = "input-anomaly"
    needs = ("in_variance", "in_rms")

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        layout = past.layout
        assert layout is not None
        index = [m.name for m in layout.models].index(model.name)
        rho, rms = model.value("in_variance"), model.value("in_rms")
        largest = model.value("in_max")
        if layout.takes_ids[index] or not math.isfinite(rms):
            return None
        constant = (rho < CONSTANT or rms == 0) and not model.value("out_variance") > 1e-3
        odd = odd_scale(rho, largest, rms)
        severity = "info"
        if constant:
            message = "every input is the same"
            severity = "critical" if model.value("out_variance") < CONSTANT else "warning"
        elif odd == "tiny":
            message = f"the inputs are tiny: rms {rms:.2g}"
        elif odd == "large":
            message = f"the inputs are not scaled: values up to {largest:.3g}"
        else:
            message = f"a constant offset or one feature dominates the inputs (rho {rho:.2g})"
        if odd and not constant and (past.output_gone(model.name) or _harm(past, model.name)):
            severity = "warning"
        evidence = {
            "in_variance": rho,
            "in_max": largest,
            "in_rms": rms,
            "in_top_share": model.value("in_top_share"),
        }
        return Judgement(
            active=constant or bool(odd),
            clear=not constant and not odd,
            severity=severity,
            message=message,
            evidence={name: value for name, value in evidence.items() if math.isfinite(value)},
        )


def _harm(past: Past, model: str) -> bool:
    kinds = ("saturation", "dead-units", "non-finite", "exploding-gradient", "loss-divergence")
    return any(past.stands(kind, model) for kind in kinds)

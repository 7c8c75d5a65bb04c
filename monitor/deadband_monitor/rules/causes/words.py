"""What several causes say in the same words."""

from __future__ import annotations

import math

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import Case


def rounded(value: float) -> str:
    """One significant figure and a half: 0.08, 0.25, -12."""
    if value < 0:
        return f"-{rounded(-value)}"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 1 - math.floor(math.log10(value))
    return f"{round(value, digits):.12g}"


def feeder(case: Case, layer: str) -> tuple[str, float]:
    """The weight layer that feeds `layer`, and the mean of its bias at the first sample."""
    layout = case.layout
    row = layout.row_of.get((case.model.name, layer), -1)
    for before in range(row, -1, -1):
        if layout.matrix[before] and layout.layers[before].model == case.model.name:
            bias = float(case.past.first[before, LAYER_COLUMN["bias_mean"]])
            return layout.layers[before].name, bias
    return "the layer before it", math.nan

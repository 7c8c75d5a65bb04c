"""The three readings that the tool is for, each of the network as a whole and where it is worst."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN, LAYER_METRICS, MODEL_COLUMN, Metric
from deadband_monitor.state.pictures import network_mean, weights
from deadband_monitor.tui.draw.scale import Values, worst_row
from deadband_monitor.tui.view import RANK, View

HEADLINES = ("out_variance", "saturation", "weight_spread")
FLAT_END = {"saturation": "dead_units"}
"""What stands in for a headline where a layer lacks it: the flat end of a ReLU is its dead side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One reading for the whole network, and the layer where it is worst."""

    metric: Metric
    value: float
    worst: float
    layer: str
    severity: str
    trend: Values
    """One value a column of the axis."""


def headlines(view: View) -> list[Headline]:
    """All of them, as the view has them now."""
    return [_headline(view, name) for name in HEADLINES]


def _headline(view: View, name: str) -> Headline:
    metric = LAYER_METRICS[LAYER_COLUMN[name]]
    stands_in = FLAT_END.get(name, name)
    substitute = LAYER_METRICS[LAYER_COLUMN[stands_in]]
    values = view.now(metric)
    missing = np.isnan(values)
    values = np.where(missing, view.now(substitute), values)
    row = worst_row(metric, values)
    if name in MODEL_COLUMN:
        value, trend = view.model_now(name), view.model_trend(name)
    else:
        counts = weights(view.state.layers)
        value = float(network_mean(metric, np.asarray(values, np.float64), counts))
        trend = view.until_now(view.pictures.network(LAYER_COLUMN[name], LAYER_COLUMN[stands_in]))
    severities = [
        severity
        for at, severity in view.severities(name).items()
        if at is None or stands_in == name or not missing[at]
    ]
    if stands_in != name and missing.any():
        severities += [
            severity
            for at, severity in view.severities(stands_in).items()
            if at is not None and missing[at]
        ]
    layer = "" if row is None else view.label(view.state.layers[row])
    if row is not None and missing[row]:
        layer += f" {substitute.title}"
    return Headline(
        metric=metric,
        value=value,
        worst=float("nan") if row is None else float(values[row]),
        layer=layer,
        severity=max(severities, key=RANK.__getitem__, default=""),
        trend=trend,
    )

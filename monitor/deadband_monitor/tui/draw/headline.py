"""The three headline gauges: as cards side by side, or a line each where rows are dear."""

from __future__ import annotations

from deadband_monitor.metrics import Metric
from deadband_monitor.tui.draw.gauge import reading, sign, tone, track
from deadband_monitor.tui.draw.scale import Values
from deadband_monitor.tui.draw.spark import spark, squeeze
from deadband_monitor.tui.draw.text import Row, cut_middle, fit, pad, spread, width_of

FULL_NAMES = {
    "out_variance": "output variance",
    "saturation": "saturation",
    "weight_spread": "weight spread",
}

NOWHERE = "not measured in any layer"


def gauge_line(
    metric: Metric,
    value: float,
    worst: float,
    layer: str,
    severity: str,
    width: int,
    nowhere: str = NOWHERE,
) -> Row:
    """One line: sign, name, track, value, worst layer."""
    track_width = max(width - 61, 9)
    style = tone(metric, worst, severity)
    row: Row = [
        (sign(metric, worst if worst == worst else value, severity) + " ", style),
        (pad(FULL_NAMES[metric.name], 16), "title"),
        *track(metric, value, track_width, severity=severity, worst=worst),
        *reading(metric, value, _of_network(metric, value, severity), 8),
    ]
    room = width - 29 - track_width
    return fit([*row, ("  ", ""), *_worst(metric, worst, layer, severity, room, nowhere)], width)


def card(
    metric: Metric,
    value: float,
    worst: float,
    layer: str,
    severity: str,
    trend: Values,
    width: int,
    nowhere: str = NOWHERE,
) -> list[Row]:
    """Three rows: track and value, trend over the run, worst layer."""
    mark = sign(metric, worst if worst == worst else value, severity)
    style = tone(metric, worst, severity)
    number = reading(metric, value, _of_network(metric, value, severity), 8)
    history = spark(metric, squeeze(metric, trend, trend, width - 2))
    return [
        fit([(mark + " ", style), *track(metric, value, width - 10, severity=severity, worst=worst),
             *number], width),
        fit([("  ", ""), (history, "spark")], width),
        fit([("  ", ""), *_worst(metric, worst, layer, severity, width - 2, nowhere)], width),
    ]  # fmt: skip


def _of_network(metric: Metric, value: float, severity: str) -> str:
    """The network's own number takes the flag's colour only where it is out of band itself."""
    return severity if tone(metric, value) == "info" else ""


def _worst(
    metric: Metric, worst: float, layer: str, severity: str, width: int, nowhere: str
) -> Row:
    if not layer:
        return [(nowhere, "dim")]
    number = reading(metric, worst, severity, 8)
    room = max(width - 6 - 8, 4)
    if width_of([(layer, "")]) > room:
        layer = layer.split(" ")[0]  # which layer it is goes before which metric stands in
    return spread([("worst ", "dim"), (cut_middle(layer, room), "text")], number, width)

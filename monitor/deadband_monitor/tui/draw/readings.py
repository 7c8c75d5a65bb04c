"""All readings of a layer or of the network as a table of gauges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deadband_monitor.metrics import Metric
from deadband_monitor.tui.draw.gauge import band_words, reading, sign, tone, track
from deadband_monitor.tui.draw.scale import Values
from deadband_monitor.tui.draw.spark import spark, squeeze
from deadband_monitor.tui.draw.text import Row, fit, pad


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One reading with all that a row of the table shows."""

    metric: Metric
    value: float
    severity: str = ""
    trend: Values | None = None


def table(items: Sequence[Item], width: int, *, chosen: str = "") -> list[Row]:
    """A row an item: sign, name, gauge, number, and where there is room the band and the trend."""
    rows = []
    for item in items:
        metric, value = item.metric, item.value
        style = tone(metric, value, item.severity)
        name = "title" if metric.name == chosen else "text"
        extra = max(width - 42, 0)
        track_width = min(max(width - 26, 6), 24) if extra < 34 else 20
        row: Row = [
            (sign(metric, value, item.severity) + " ", style),
            (pad(metric.title, 15), name),
            *track(metric, value, track_width, severity=item.severity),
            *reading(metric, value, item.severity, 8),
        ]
        if extra >= 34:
            row += [("  " + pad(band_words(metric), 17), "dim")]
            if item.trend is not None:
                room = width - 2 - 15 - track_width - 8 - 19 - 2
                line = spark(metric, squeeze(metric, item.trend, item.trend, room))
                row += [("  ", ""), (line, "spark")]
        rows.append(fit(row, width))
    return rows

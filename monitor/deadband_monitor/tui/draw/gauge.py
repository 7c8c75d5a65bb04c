"""A linear gauge: track, healthy band, marker: `····◇··[━━━━◆━━━]··`.

The band beats the bare number, and position and sign say what colour says (Few's bullet graph and
the ISA-101 habits of control rooms): it reads the same without colour.
"""

from __future__ import annotations

from math import isinf

from deadband_monitor.metrics import Metric
from deadband_monitor.tui.draw.scale import band, on_scale, position, side
from deadband_monitor.tui.draw.text import Row, figure, pad_left

TRACK, BAND, MARK, WORST = "·", "━", "◆", "◇"
SIGNS = {-1: "▼", 0: " ", 1: "▲"}
ALARM = {"critical": "crit", "warning": "warn", "info": "info"}
"""Severity -> style name."""


def tone(metric: Metric, value: float, severity: str = "") -> str:
    """Style of a reading: its flag's colour, else `info` outside the band."""
    if severity:
        return ALARM[severity]
    return "info" if side(metric, value) else "strong"


def sign(metric: Metric, value: float, severity: str = "") -> str:
    """The sign before a reading: which way it left its band, or that a flag stands on it."""
    return SIGNS[side(metric, value)] if side(metric, value) or not severity else "!"


def track(
    metric: Metric, value: float, width: int, *, severity: str = "", worst: float | None = None
) -> Row:
    """The gauge itself in `width` cells; `worst` puts a second, hollow marker."""
    if width < 3:
        return [(" " * max(width, 0), "")]
    cells = [(TRACK, "faint")] * width
    low, high = band(metric)
    if metric.log:
        low, high = 10.0**low, 10.0**high
    first, last = position(metric, low, width), position(metric, high, width)
    assert first is not None
    assert last is not None
    for cell in range(first, last + 1):
        cells[cell] = (BAND, "band")
    if not isinf(metric.low):
        cells[first] = ("[", "band")
    if not isinf(metric.high):
        cells[last] = ("]", "band")
    if worst is not None and (at := position(metric, worst, width)) is not None:
        cells[at] = (WORST, tone(metric, worst, severity))
    if (at := position(metric, value, width)) is not None:
        cells[at] = (MARK, tone(metric, value, severity))
    return merged(cells)


def reading(metric: Metric, value: float, severity: str = "", width: int = 7) -> Row:
    """The number, in the colour of its state."""
    style = "dim" if value != value else tone(metric, value, severity)
    return [(pad_left(figure(value), width), style)]


def band_words(metric: Metric) -> str:
    """The band in words: `1e-3 – 30`, `under 0.75`, `over 0.1`; empty where there is none."""
    low, high = metric.low, metric.high
    if isinf(low) and isinf(high):
        return ""
    if isinf(low) or (metric.high <= on_scale(metric, metric.floor) and not metric.log):
        return f"up to {figure(high)}"
    if isinf(high):
        return f"from {figure(low)}"
    return f"{figure(low)} – {figure(high)}"


def merged(cells: list[tuple[str, str]]) -> Row:
    """Neighbours of one style joined: each span costs an escape sequence on the wire."""
    row: Row = []
    for text, style in cells:
        if row and row[-1][1] == style:
            row[-1] = (row[-1][0] + text, style)
        else:
            row.append((text, style))
    return row

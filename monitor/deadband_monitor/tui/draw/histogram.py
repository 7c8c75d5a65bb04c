"""A histogram in braille dots, two bins a cell: as fine as the terminal can show it."""

from __future__ import annotations

import numpy as np

from deadband_monitor.tui.draw.line import is_log, smallest_positive
from deadband_monitor.tui.draw.ridge import Range, axis_row
from deadband_monitor.tui.draw.scale import Values
from deadband_monitor.tui.draw.text import Row, fit, pad_left

_LEFT = (0x40, 0x44, 0x46, 0x47)
_RIGHT = (0x80, 0xA0, 0xB0, 0xB8)
"""Dots of a column that is one, two, three or four high."""
GUTTER = 8


def bars(
    counts: Values, low: float, high: float, width: int, height: int, *, scale: str = "auto"
) -> list[Row]:
    """Bars over bins of one width, the last row for the axis.

    `scale` is `log`, `linear`, or `auto`: logarithmic where the highest bar would hide the others.
    """
    plot = max(width - GUTTER, 1)
    lines = height - 1
    if lines < 1 or not len(counts) or counts.max() <= 0:
        blank: list[Row] = [[(" " * width, "")] for _ in range(max(height, 0))]
        return blank
    columns = _resampled(np.asarray(counts, np.float64), 2 * plot)
    top = float(columns.max())
    log = scale == "log" or (scale == "auto" and is_log(columns, top))
    least = smallest_positive(columns)
    if log:
        # The rarest bin is one dot high, a bin that is empty none.
        steps = np.log(np.maximum(columns, least) / least) / max(np.log(top / least), 1e-9)
        heights = np.where(columns > 0, 1 + steps * (4 * lines - 1), 0)
    else:
        heights = np.where(columns > 0, np.maximum(columns / top * 4 * lines, 1), 0)
    dots = heights.round().astype(int)
    rows: list[Row] = []
    total = float(np.sum(counts))
    for line in range(lines):
        over = 4 * (lines - 1 - line)
        cells = []
        for cell in range(plot):
            left, right = (min(max(int(it) - over, 0), 4) for it in dots[2 * cell : 2 * cell + 2])
            code = (_LEFT[left - 1] if left else 0) | (_RIGHT[right - 1] if right else 0)
            cells.append(chr(0x2800 + code) if code else " ")
        label = ""
        if line == 0:
            label = f"{100 * top / total:.2g}%"
        elif line == lines - 1:
            label = f"{100 * least / total:.1g}%" if log else "0"
        rows.append(
            [
                (pad_left(label, GUTTER - 1) + ("┤" if label else "│"), "dim"),
                ("".join(cells), "line"),
            ]
        )
    rows.append(fit([(" " * GUTTER, ""), (axis_row(Range(low, high), plot), "dim")], width))
    return rows


def _resampled(counts: Values, columns: int) -> Values:
    """The counts in another number of columns; what a column covers in part counts in part."""
    sums = np.concatenate([[0.0], np.cumsum(counts)])
    at = np.linspace(0, len(counts), columns + 1)
    resampled: Values = np.diff(np.interp(at, np.arange(len(sums)), sums))
    return resampled

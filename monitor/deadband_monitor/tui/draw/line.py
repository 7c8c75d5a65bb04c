"""A line chart in braille dots (2 x 4 a cell): min to max of each stretch, limits, onset marks.

A one-step spike cannot vanish: each dot column spans the lowest and highest value that fell into
it. Axis ends are whole decades or round numbers, so they move seldom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.tui.draw.gauge import merged
from deadband_monitor.tui.draw.scale import Values
from deadband_monitor.tui.draw.text import Row, figure, pad_left

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
LOG_RATIO = 30.0
"""Values that span more than this ratio are drawn on a logarithmic scale."""
MOST_DECADES = 12
"""A logarithmic axis begins at most so far below the median: smaller values are as good as zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Values over time: `x` from 0 (left edge) to 1 (right edge), with what each stretch spans."""

    x: Values
    low: Values
    mean: Values
    high: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A level worth seeing, as a dashed line."""

    value: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """An onset, as a vertical line."""

    x: float
    style: str


def axis_ends(low: float, high: float, *, log: bool) -> tuple[float, float]:
    """Round ends around low .. high: whole decades, or multiples of 1, 2 or 5."""
    if log:
        first, last = floor(log10(low) + 1e-9), ceil(log10(high) - 1e-9)
        return 10.0**first, 10.0 ** max(last, first + 1)
    span = high - low or abs(high) or 1.0
    step = 10.0 ** floor(log10(span))
    step *= next(factor for factor in (0.2, 0.5, 1.0, 2.0) if span / (step * factor) <= 5.5)
    first_tick, last_tick = floor(low / step + 1e-9) * step, ceil(high / step - 1e-9) * step
    return first_tick, last_tick if last_tick > first_tick else first_tick + step


def is_log(values: Values, high: float) -> bool:
    """Whether values, none below zero, are better seen on a logarithmic scale."""
    smallest = smallest_positive(values)
    return bool((values >= 0).all()) and 0 < smallest * LOG_RATIO < high


def smallest_positive(values: Values) -> float:
    """The lowest value a logarithmic axis can show; 0 where there is none."""
    positive = values[values > 0]
    return float(positive.min()) if len(positive) else 0.0


def chart(
    curve: Curve,
    width: int,
    height: int,
    *,
    limits: Sequence[Limit] = (),
    marks: Sequence[Mark] = (),
    style: str = "line",
    gutter: int = 8,
    scale: str = "auto",
    beside: Sequence[Curve] = (),
) -> list[Row]:
    """The chart in `width` x `height` cells, `gutter` of them for the axis.

    `scale` is `log`, `linear`, or `auto`: as the values ask for. Values below zero have no
    logarithm and stay linear. Curves that are drawn `beside` this one share its axis.
    """
    plot = max(width - gutter, 1)
    usable = np.isfinite(curve.low) & np.isfinite(curve.high)
    if not usable.any() or height < 1:
        blank: list[Row] = [[(" " * width, "")] for _ in range(height)]
        return blank
    lows, means, highs = _values([curve, *beside])
    low, high = float(lows.min()), float(highs.max())
    can_log = bool((lows >= 0).all()) and smallest_positive(lows) > 0
    log = can_log if scale == "log" else scale == "auto" and is_log(lows, high)
    if log:
        # A zero lies at the bottom of the axis. What is usual stays in sight: one step at 1e19
        # must not press a loss of 1 to the ground, nor one of 1e-30 to the ceiling.
        usual = float(np.median(means[means > 0]))
        low = max(smallest_positive(lows), usual * 10.0**-MOST_DECADES)
    first, last = axis_ends(low, high, log=log)

    def rows_of(values: Values) -> NDArray[np.int64]:
        share: Values
        if log:
            share = np.log10(np.maximum(values, 1e-38) / first) / log10(last / first)
        else:
            share = (values - first) / (last - first)
        return (np.clip(1 - share, 0.0, 1.0) * (4 * height - 1) + 0.5).astype(np.int64)

    dots = _dots(curve, usable, 2 * plot, 4 * height, rows_of)
    canvas: list[list[tuple[str, str]]] = [[(" ", "")] * plot for _ in range(height)]
    for limit in limits:
        # On a linear axis a tiny limit would be a line through the zeros.
        lowest = first if log else first + (last - first) / 50
        if isfinite(limit.value) and lowest <= limit.value <= last:
            at = int(rows_of(np.array([limit.value]))[0]) // 4
            _dash(canvas[at], limit.label, dots[at])
    for mark in marks:
        if 0 <= mark.x <= 1:
            for line in canvas:
                line[min(int(mark.x * plot), plot - 1)] = ("╎", mark.style)
    for line, codes in zip(canvas, dots, strict=True):
        for x, code in enumerate(codes):
            if code:
                line[x] = (chr(0x2800 + code), style)
    rows = []
    for y, line in enumerate(canvas):
        label = figure(last) if y == 0 else figure(first) if y == height - 1 else ""
        edge = "┤" if label else "│"
        rows.append([(pad_left(label, gutter - 1) + edge, "dim"), *merged(line)])
    return rows


def _values(curves: Sequence[Curve]) -> tuple[Values, Values, Values]:
    """What was measured, of all curves: lows, means and highs."""
    usable = [np.isfinite(it.low) & np.isfinite(it.high) for it in curves]
    lows = np.concatenate([it.low[known] for it, known in zip(curves, usable, strict=True)])
    means = np.concatenate([it.mean[known] for it, known in zip(curves, usable, strict=True)])
    highs = np.concatenate([it.high[known] for it, known in zip(curves, usable, strict=True)])
    return lows, means, highs


def _dots(
    curve: Curve,
    usable: NDArray[np.bool_],
    columns: int,
    rows: int,
    rows_of: Callable[[Values], NDArray[np.int64]],
) -> list[list[int]]:
    """Braille codes, (rows / 4) x (columns / 2)."""
    codes = [[0] * (columns // 2) for _ in range(rows // 4)]
    at = (np.clip(curve.x[usable], 0.0, 1.0) * (columns - 1)).astype(np.int64)
    spans = [rows_of(values[usable]).tolist() for values in (curve.high, curve.low, curve.mean)]
    before = centre_before = -1
    for column, top, bottom, centre in zip(at.tolist(), *spans, strict=True):
        if 0 <= before < column:
            # join to the last point by a straight line
            gap = column - before
            for between in range(1, gap):
                height = centre_before + (centre - centre_before) * between // gap
                half, side = divmod(before + between, 2)
                codes[height // 4][half] |= _DOTS[side][height % 4]
            if gap == 1:
                top, bottom = min(top, centre_before + 1), max(bottom, centre_before - 1)
        half, side = divmod(column, 2)
        for row in range(top, bottom + 1):
            codes[row // 4][half] |= _DOTS[side][row % 4]
        before, centre_before = column, centre
    return codes


def _dash(line: list[tuple[str, str]], label: str, taken: Sequence[int]) -> None:
    """A dashed line, named at the right, the left or the middle: where the curve leaves room."""
    line[:] = [("╌", "faint")] * len(line)
    text = f" {label} "
    spare = len(line) - len(text)
    for start in (spare - 1, 1, spare // 2):
        if spare >= 2 and not any(taken[start : start + len(text)]):
            for offset, letter in enumerate(text):
                line[start + offset] = (letter, "dim")
            return

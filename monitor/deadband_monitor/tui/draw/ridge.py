"""A ridge: how the values of a tensor were spread, a row of blocks for each stretch of the run.

All rows share one range of values and one height, so that a spread which narrows is seen to. The
height is the square root of the share: a pile of nine tenths in one place leaves a bell visible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import asinh, ceil, floor, isfinite, log10, sinh

import numpy as np

from deadband_monitor.state.course import broken_of, deviation_of
from deadband_monitor.statistics.outlines import LEVELS, shares
from deadband_monitor.statistics.values import Doubles, Floats
from deadband_monitor.tui.draw.line import axis_ends
from deadband_monitor.tui.draw.spark import BLOCKS
from deadband_monitor.tui.draw.text import Row, count, figure, fit, pad, pad_left

_STEPS = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100)
"""What a row may cover, times a power of ten; below ten any number of steps."""
_FAR_APART = 1000.0
"""Deviations that differ by more than this cannot share an even axis: the narrow rows would be a
line and nothing else. With less it stays even: by decades a bell looks like two piles."""
_ROOMY = 52
"""Cells from which on a mark has room beside the deviation."""
_FEWEST_BINS = 8
_TAIL = LEVELS.index(0.01), LEVELS.index(0.99)
"""The range is that of all but the outermost hundredths."""


@dataclass(frozen=True, slots=True)
class Range:
    """What lies between the left edge of a ridge and the right one."""

    low: float
    high: float
    unit: float = 0.0
    """Where it is not 0: values are spaced as asinh(value / unit), near zero evenly and further out
    by decades."""

    def edges(self, bins: int) -> Doubles:
        """The ends of so many bins."""
        if not self.unit:
            return np.linspace(self.low, self.high, bins + 1)
        ends = asinh(self.low / self.unit), asinh(self.high / self.unit)
        return np.sinh(np.linspace(*ends, bins + 1)) * self.unit

    def share(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        if not self.unit:
            return (value - self.low) / (self.high - self.low)
        low, high = asinh(self.low / self.unit), asinh(self.high / self.unit)
        return (asinh(value / self.unit) - low) / (high - low)

    def at(self, share: float) -> float:
        """The value that lies there."""
        if not self.unit:
            return self.low + share * (self.high - self.low)
        low, high = asinh(self.low / self.unit), asinh(self.high / self.unit)
        return sinh(low + share * (high - low)) * self.unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One row: some steps of the run, and the outlines that were taken in them."""

    first: int
    last: int
    outlines: tuple[Floats, ...]


def range_of(outlines: Sequence[Floats], scale: str = "auto") -> Range | None:
    """The range that shows all of these; None where nothing was finite.

    `scale` is `linear`, `log`, or `auto`: spaced by decades where the spreads differ that much.
    """
    known = [it for it in outlines if np.isfinite(it[: len(LEVELS)]).all()]
    if not known:
        return None
    low = min(float(it[_TAIL[0]]) for it in known)
    high = max(float(it[_TAIL[1]]) for it in known)
    if low == high:
        reach = abs(low) / 10 or 1.0
        low, high = low - reach, high + reach
    widths = [width for width in map(deviation_of, known) if width > 0]
    apart = bool(widths) and max(widths) > _FAR_APART * min(widths)
    if scale == "log" or (scale == "auto" and apart):
        unit = min(widths, default=high - low)
        # Beyond this the middle of the axis would be all zeros.
        unit = max(unit, max(abs(low), abs(high)) * 1e-6)
        return Range(_rounded(low, up=False), _rounded(high, up=True), unit)
    return Range(*axis_ends(low, high, log=False))


def stretches(
    outlines: Sequence[tuple[int, Floats]], rows: int, first: int, last: int
) -> list[Stretch]:
    """The steps from `first` to `last` cut into at most `rows` rows; those that are empty go."""
    if rows < 1 or not outlines:
        return []
    size = per_row(last - first + 1, rows)
    found: dict[int, list[Floats]] = {}
    for step, outline in outlines:
        found.setdefault(step // size, []).append(outline)
    kept = sorted(found)[-rows:]
    return [
        Stretch(first=at * size, last=(at + 1) * size - 1, outlines=tuple(found[at])) for at in kept
    ]


def per_row(steps: int, rows: int) -> int:
    """A round number of steps that `rows` rows are enough for."""
    # The first and the last row may be begun only: one row less to do it with.
    least = max(ceil(steps / max(rows - 1, 1)), 1)
    if least < _STEPS[0]:
        return least
    power: int = 10 ** (floor(log10(least)) - 1)
    return next(factor * power for factor in _STEPS if factor * power >= least)


def ridge(
    rows: Sequence[Stretch],
    span: Range,
    width: int,
    height: int,
    *,
    marks: Mapping[int, tuple[str, str]],
) -> list[Row]:
    """The ridge with its axis in `width` x `height` cells.

    Args:
        rows: oldest first, no more than `height - 1`.
        span: the range of values.
        width: cells in a row.
        height: rows, with that of the axis.
        marks: step -> (word, style): shown in the row of that step.
    """
    gutter, bins, beside = _places(rows, width)
    roomy = width >= _ROOMY
    filled = _filled(rows, span, bins)
    tallest = _tallest(filled)
    drawn: list[Row] = []
    for row, values in zip(rows, filled, strict=True):
        word, style = _mark(row, marks)
        drawn.append(
            fit(
                [
                    (pad_left(count(row.first), gutter), style or "dim"),
                    ("▏", "faint"),
                    (_blocks(values, tallest), style or "line"),
                    ("▕", "faint"),
                    *_beside(row, word, style, beside, roomy=roomy),
                ],
                width,
            )
        )
    drawn.append(fit([(" " * (gutter + 1), ""), (axis_row(span, bins), "dim")], width))
    return drawn[-height:] if height > 0 else []


def share_of_a_block(rows: Sequence[Stretch], span: Range, width: int) -> float:
    """The share of the values that a full block stands for in a ridge of this width."""
    return _tallest(_filled(rows, span, _places(rows, width)[1]))


def _places(rows: Sequence[Stretch], width: int) -> tuple[int, int, int]:
    """Cells for the step, for the blocks, and for what stands behind them."""
    gutter = max((len(count(row.first)) for row in rows), default=1) + 1
    beside = 21 if width >= _ROOMY else 11
    return gutter, max(width - gutter - 2 - beside, _FEWEST_BINS), beside


def _filled(rows: Sequence[Stretch], span: Range, bins: int) -> list[Doubles]:
    """Shares of the bins in each row; of several outlines their mean."""
    edges = span.edges(bins)
    return [np.mean([shares(it, edges) for it in row.outlines], axis=0) for row in rows]


def _tallest(filled: Sequence[Doubles]) -> float:
    return max((float(values.max()) for values in filled if len(values)), default=0.0)


def _blocks(values: Doubles, tallest: float) -> str:
    if tallest <= 0:
        return " " * len(values)
    levels = np.sqrt(values / tallest) * len(BLOCKS)
    # What is there at all is seen from a hundredth of the tallest on.
    return "".join(
        BLOCKS[min(int(level + 0.5), len(BLOCKS)) - 1] if level >= 0.8 else " " for level in levels
    )


def _beside(row: Stretch, word: str, style: str, width: int, *, roomy: bool) -> Row:
    """What stands behind a row: its deviation, what is not finite, and the mark."""
    newest = row.outlines[-1]
    broken, deviation = broken_of(newest), deviation_of(newest)
    if broken > 0:
        told, look = f"nan {100 * broken:.0f}%", "crit"
    else:
        told, look = f"sd {figure(deviation)}", "text"
    mark = f"◂ {word}" if word else ""
    if roomy:
        return [(pad(f" {told}", 12), look), (pad(mark, width - 12), style)]
    return [(pad(f" {mark}", width), style)] if word else [(pad(f" {told}", width), look)]


def _mark(row: Stretch, marks: Mapping[int, tuple[str, str]]) -> tuple[str, str]:
    found = [marks[step] for step in sorted(marks) if row.first <= step <= row.last]
    return found[0] if found else ("", "")


def axis_row(span: Range, bins: int) -> str:
    """The ends of the range, and zero or the middle where there is room between them."""
    left, right = figure(span.low), figure(span.high)
    zero = span.low < 0 < span.high
    share = span.share(0.0) if zero else 0.5
    middle = "0" if zero else figure(span.at(0.5))
    cells = [" "] * bins
    place = min(int(share * bins), bins - 1) - (0 if zero else len(middle) // 2)
    for at, text in ((place, middle), (0, left), (bins - len(right), right)):
        if at < 0 or at + len(text) > bins:
            continue
        around = cells[max(at - 1, 0) : at + len(text) + 1]
        if text is middle or all(cell == " " for cell in around):
            cells[at : at + len(text)] = text
    return "".join(cells)


def _rounded(value: float, *, up: bool) -> float:
    """One digit, away from zero or towards it as the direction has it."""
    if value == 0 or not isfinite(value):
        return value
    power = 10.0 ** floor(log10(abs(value)))
    return (ceil(value / power) if up else floor(value / power)) * power

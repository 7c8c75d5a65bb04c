"""The heat map, layer x time: colour steps or glyphs to rows; folding, axis and legend.

With colours a cell is a blank with a ground, or a half block that holds two lanes. Without, the
glyph alone says it: shades inside the band, triangles outside. Missing data stays empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import Metric
from deadband_monitor.tui.draw.gauge import merged
from deadband_monitor.tui.draw.scale import MISSING, Values, badness
from deadband_monitor.tui.draw.text import Row, count, figure

GLYPHS = "▼▽·░▒▓△▲"
"""One a level, for terminals without colour: outside the band the sign itself."""
TALLEST = 3
"""Rows of cells that one layer may take: more would not say more."""
Levels = NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lanes:
    """How layers share the rows of the map."""

    groups: tuple[tuple[int, ...], ...]
    """Rows of the layer table in each lane; several are folded by the worst of them."""
    half: bool = False
    """Two lanes share a row of cells."""
    tall: int = 1
    """Rows of cells that a lane takes, where there is more room than layers."""

    @property
    def rows(self) -> int:
        """Rows of cells that the lanes take."""
        return -(-len(self.groups) // 2) if self.half else len(self.groups) * self.tall

    def in_row(self, row: int) -> tuple[int, ...]:
        """Layers that a row of cells is labelled with; none in the lower rows of a tall lane."""
        if self.half:
            return tuple(layer for lane in self.groups[2 * row : 2 * row + 2] for layer in lane)
        return () if row % self.tall else self.groups[row // self.tall]


def lay_out(wanted: Sequence[tuple[int, ...]], rows: int, *, halves: bool) -> Lanes:
    """Give each wanted lane a row or more where they fit, half a row where that helps, else fold.

    A lane is a layer, or several that the reader wants as one.
    """
    rows = max(rows, 1)
    if len(wanted) > rows:
        return Lanes(groups=_grouped(wanted, 2 * rows if halves else rows), half=halves)
    tall = min(rows // max(len(wanted), 1), TALLEST)
    return Lanes(groups=_grouped(wanted, rows), tall=max(tall, 1))


def _grouped(wanted: Sequence[tuple[int, ...]], lanes: int) -> tuple[tuple[int, ...], ...]:
    """Neighbours in `lanes` groups of about one size; fewer where fewer are wanted."""
    lanes = min(lanes, len(wanted))
    ends = [len(wanted) * lane // lanes for lane in range(lanes + 1)] if lanes else [0]
    return tuple(
        tuple(layer for lane in wanted[first:last] for layer in lane)
        for first, last in pairwise(ends)
    )


def fold(metric: Metric, values: Values, lanes: Lanes) -> Values:
    """(columns, layers) to (columns, lanes), each lane its worst layer."""
    if all(len(group) == 1 for group in lanes.groups):
        return values[:, [group[0] for group in lanes.groups]]
    folded = np.full((len(values), len(lanes.groups)), np.nan)
    for lane, group in enumerate(lanes.groups):
        members = values[:, list(group)]
        worst = np.argmax(badness(metric, members), axis=1)
        folded[:, lane] = members[np.arange(len(values)), worst]
    return folded


def carry_over(values: Values, longest: int) -> Values:
    """Fill gaps of up to `longest` columns from the left.

    A run that is sampled every n steps leaves columns empty that are finer than n; those are not
    missing data, and a picket fence would hide the picture. Longer gaps stay empty.
    """
    if longest < 1 or not len(values):
        return values
    index = np.arange(len(values)).reshape(-1, *(1,) * (values.ndim - 1))
    known = np.maximum.accumulate(np.where(np.isnan(values), -1, index), axis=0)
    usable = (known >= 0) & (index - known <= longest)
    filled: Values = np.take_along_axis(values, np.maximum(known, 0), axis=0)
    return np.where(usable, filled, np.nan)


def cells(levels: Levels, lanes: Lanes, *, glyphs: bool) -> list[Row]:
    """(columns, lanes) of levels to rows of cells."""
    if not lanes.half:
        cell = _glyph if glyphs else _solid
        drawn = [merged([cell(int(step)) for step in lane]) for lane in levels.T]
        return [row for row in drawn for _ in range(lanes.tall)]
    rows = []
    for top in range(0, levels.shape[1], 2):
        lower = levels[:, min(top + 1, levels.shape[1] - 1)]  # an odd lane fills its row
        pairs = zip(levels[:, top], lower, strict=True)
        rows.append(merged([_pair(int(above), int(below)) for above, below in pairs]))
    return rows


def _glyph(level: int) -> tuple[str, str]:
    if level == MISSING:
        return " ", ""
    return GLYPHS[level], "strong" if level < 2 or level > 5 else "dim"


def _solid(level: int) -> tuple[str, str]:
    return (" ", "") if level == MISSING else (" ", f"heat.{level}.{level}")


def _pair(above: int, below: int) -> tuple[str, str]:
    if above == below:
        return _solid(above)
    if above == MISSING:
        return "▄", f"heat.{below}."
    if below == MISSING:
        return "▀", f"heat.{above}."
    return "▀", f"heat.{above}.{below}"


def _step(step: int) -> str:
    return count(max(step, 1))


def axis(
    first: int,
    per_column: int,
    columns: int,
    marks: Sequence[tuple[int, str, str]],
    moment: Callable[[int], str] = _step,
) -> Row:
    """Steps under the map, a label every 20 columns or so, and onsets.

    `marks` are (step, sign, style), most important first: each is written with its step, and no
    other label comes so near that the two would read as one. `moment` writes a step.
    """
    line = [(" ", "dim")] * columns
    for step, sign, style in marks:
        at = (step - first) // per_column
        _write(line, at, sign + moment(step), style) or _write(line, at, sign, style)
    for at in range(0, columns, 20):
        _write(line, at, moment(first + at * per_column), "dim")
    return merged(line)


def _write(line: list[tuple[str, str]], at: int, text: str, style: str) -> bool:
    """Put a label into the line if its place and a cell on either side are free."""
    around = line[max(at - 1, 0) : at + len(text) + 1]
    if at < 0 or at + len(text) > len(line) or any(cell != " " for cell, _ in around):
        return False
    for offset, letter in enumerate(text):
        line[at + offset] = (letter, style)
    return True


def legend(metric: Metric, *, glyphs: bool) -> Row:
    """What the colours mean, with the band's ends."""

    def swatch(*steps: int) -> Row:
        if glyphs:
            return [("".join(GLYPHS[step] for step in steps), "dim")]
        return [(" ", f"heat.{step}.{step}") for step in steps for _ in range(2)]

    low, high = metric.low > metric.floor, metric.high < metric.ceiling
    row: Row = []
    if low:
        row += [*swatch(0, 1), (f" low {figure(metric.low)} ", "dim")]
    row += [*swatch(2, 3, 4, 5), (" in band ", "dim")]
    if high:
        row += [(f"{figure(metric.high)} high ", "dim"), *swatch(6, 7)]
    if metric.log:
        row.append((" log scale", "dim"))
    return row

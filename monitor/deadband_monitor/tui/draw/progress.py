"""The bar of a recording: where it stands, where the flags are."""

from __future__ import annotations

from collections.abc import Sequence

from deadband.wire import Flag
from deadband_monitor.tui.draw.flags import LOOK
from deadband_monitor.tui.draw.gauge import merged
from deadband_monitor.tui.draw.text import Row, count, fit


def progress(
    position: int, last_step: int, flags: Sequence[Flag], width: int, *, playing: bool, speed: float
) -> Row:
    """`▶ x8  0 ├────▼───┃─────┤ 2,000`."""
    head = f" {'▶' if playing else '❚❚'} x{speed:g}  {count(position)} "
    tail = f" {count(last_step)} "
    cells = max(width - len(head) - len(tail) - 2, 1)

    def at(step: int) -> int:
        return min(max(step, 0) * (cells - 1) // max(last_step, 1), cells - 1)

    line = [("─", "faint")] * cells
    for cell in range(at(position)):
        line[cell] = ("━", "band")
    for flag in sorted(flags, key=lambda flag: flag.severity == "critical"):
        sign, _, style = LOOK[flag.severity]
        line[at(flag.onset_step)] = (sign, style)
    line[at(position)] = ("┃", "strong")
    return fit(
        [(head, "strong"), ("├", "faint"), *merged(line), ("┤", "faint"), (tail, "dim")], width
    )

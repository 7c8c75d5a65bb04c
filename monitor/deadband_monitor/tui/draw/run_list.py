"""The list of runs in rows."""

from __future__ import annotations

from deadband_monitor.hub.registry import RunEntry
from deadband_monitor.tui.draw.text import (
    Row,
    count,
    cut_middle,
    duration,
    fit,
    pad,
    pad_left,
)

STATES = {
    "running": ("●", "live", "strong"),
    "silent": ("◌", "silent", "warn"),
    "finished": ("✓", "finished", "text"),
    "failed": ("✗", "failed", "crit"),
    "killed": ("✗", "killed", "crit"),
    "lost": ("✗", "lost", "warn"),
    "unreadable": ("?", "unreadable", "warn"),
    "no reply": ("?", "no reply", "warn"),
    "connecting": ("◌", "connecting", "info"),
}
"""`RunEntry.status` -> sign, word, style."""
VERDICTS = {"healthy": ("healthy", "dim"), "warning": ("! warning", "warn"),
            "failing": ("▼ FAILING", "crit")}  # fmt: skip


PLACE_WIDTH = 14
"""Of the column that names hosts, where there are any."""


def heading(width: int, *, far: bool = False) -> Row:
    """The names of the columns; `far`: some runs are on other hosts."""
    name = _name_width(width, far)
    place = pad(" where", PLACE_WIDTH + 1) if far else ""
    text = (
        f"  {pad('state', 13)}{pad('run', name)}{place} {pad('verdict', 11)}{pad_left('step', 10)}"
    )
    samples = pad_left("samples", 10) if _has_samples(width, far) else ""
    return fit([(f"{text}{samples}  {pad('started', 10)}", "dim")], width)


def run_row(
    entry: RunEntry, now: float, width: int, *, chosen: bool, mark: str = "", far: bool = False
) -> Row:
    """One run; `mark` is its letter in a comparison."""
    sign, word, style = STATES.get(entry.status, ("?", entry.status, "warn"))
    name = _name_width(width, far)
    row: Row = [
        ("▸" if chosen else " ", "strong"),
        (mark or " ", "key"),
        (pad(f"{sign} {word}", 13), style),
        (pad(cut_middle(entry.run or "–", name), name), "title" if chosen else "text"),
    ]
    if far:
        place = cut_middle(entry.host or "here", PLACE_WIDTH)
        row.append((f" {pad(place, PLACE_WIDTH)}", "text" if entry.host else "dim"))
    if not entry.run:
        told = "" if entry.problem == entry.status else entry.problem
        return fit([*row, (f" {told}", style)], width)
    verdict, verdict_style = VERDICTS.get(entry.verdict, ("", "dim"))
    ago = f"{duration(now - entry.started)} ago" if entry.started else ""
    row += [
        (" ", ""),
        (pad(verdict, 11), verdict_style),
        (pad_left(count(entry.step), 10), "text"),
        (pad_left(count(entry.samples), 10) if _has_samples(width, far) else "", "dim"),
        (f"  {ago}", "dim"),
    ]
    return fit(row, width)


def _has_samples(width: int, far: bool) -> bool:
    """Whether that column has room: the first to go, since steps say much the same."""
    return 2 + 13 + _name_width(width, far) + (PLACE_WIDTH + 1) * far + 12 + 20 + 11 <= width


def _name_width(width: int, far: bool) -> int:
    return min(max(width - 60 - (PLACE_WIDTH + 1) * far, 16), 44)

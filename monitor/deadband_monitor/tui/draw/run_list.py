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
}
"""`RunEntry.status` -> sign, word, style."""
VERDICTS = {"healthy": ("healthy", "dim"), "warning": ("! warning", "warn"),
            "failing": ("▼ FAILING", "crit")}  # fmt: skip


def heading(width: int) -> Row:
    """The names of the columns."""
    name = _name_width(width)
    text = f"  {pad('state', 13)}{pad('run', name)} {pad('verdict', 11)}{pad_left('step', 10)}"
    return fit([(f"{text}{pad_left('samples', 10)}  {pad('started', 10)}", "dim")], width)


def run_row(entry: RunEntry, now: float, width: int, *, chosen: bool, mark: str = "") -> Row:
    """One run; `mark` is its letter in a comparison."""
    sign, word, style = STATES.get(entry.status, ("?", entry.status, "warn"))
    verdict, verdict_style = VERDICTS.get(entry.verdict, ("", "dim"))
    name = _name_width(width)
    ago = f"{duration(now - entry.started)} ago" if entry.started else ""
    return fit(
        [
            ("▸" if chosen else " ", "strong"),
            (mark or " ", "key"),
            (pad(f"{sign} {word}", 13), style),
            (pad(cut_middle(entry.run, name), name), "title" if chosen else "text"),
            (" ", ""),
            (pad(verdict, 11), verdict_style),
            (pad_left(count(entry.step), 10), "text"),
            (pad_left(count(entry.samples), 10), "dim"),
            (f"  {ago}", "dim"),
        ],
        width,
    )


def _name_width(width: int) -> int:
    return min(max(width - 60, 16), 44)

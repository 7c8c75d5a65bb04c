"""The bottom line of keys: as many as fit, each a key and a word."""

from __future__ import annotations

from collections.abc import Sequence

from deadband_monitor.tui.draw.text import Row, fit, width_of


def key_row(keys: Sequence[tuple[str, str]], width: int) -> Row:
    """Keys in order of importance; the last two (help, leave) always stay."""
    kept = list(keys)
    while len(kept) > 2 and width_of(_row(kept)) > width:
        kept.pop(-3)
    return fit(_row(kept), width)


def _row(keys: Sequence[tuple[str, str]]) -> Row:
    row: Row = []
    for key, label in keys:
        row += [(f" {key} ", "key"), (f"{label} ", "dim")]
    return row

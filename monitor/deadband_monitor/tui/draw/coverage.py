"""What the verdict rests on: which rules judge this run, and which cannot, and why."""

from __future__ import annotations

from collections.abc import Sequence

from deadband.wire import Coverage
from deadband_monitor.tui.draw.text import Row, fit, heading, wrap


def coverage_rows(coverage: Sequence[Coverage], width: int) -> list[Row]:
    """A heading, the rules that judge in one paragraph, and a line for each that cannot."""
    if not coverage:
        return []
    armed = [cover for cover in coverage if cover.state == "armed"]
    quick = [cover.kind for cover in armed if not cover.reason]
    rows: list[Row] = [[], heading("looked for", f"{len(armed)} of {len(coverage)} rules", width)]
    rows += [[(f" {line}", "text")] for line in wrap(", ".join(quick), width - 2, 8)]
    for cover in coverage:
        if cover.reason:
            look = "text" if cover.state == "armed" else "dim"
            state = "" if cover.state == "armed" else f"{cover.state}: "
            words = wrap(f"{cover.kind} - {state}{cover.reason}", width - 2, 3)
            rows += [[(f" {line}", look)] for line in words]
    return [fit(row, width) for row in rows]

"""Two runs beside each other: the same readings of both, and what tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log10

from deadband.wire import Cause, Flag
from deadband_monitor.metrics import Metric
from deadband_monitor.tui.draw.gauge import reading, sign, tone, track
from deadband_monitor.tui.draw.scale import ends, side
from deadband_monitor.tui.draw.state_line import VERDICTS
from deadband_monitor.tui.draw.text import Row, count, cut, cut_middle, fit, pad, pad_left

TELLING = 0.1
"""Readings that lie apart by this share of the metric's scale are marked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One reading of both runs."""

    metric: Metric
    values: tuple[float, float]
    severities: tuple[str, str] = ("", "")


def title_row(
    letter: str, name: str, verdict: str, step: int, causes: Sequence[Cause], width: int
) -> Row:
    """`A  digits-mlp-7f3a  step 2,000  healthy`, with the cause where there is one."""
    words, style = VERDICTS.get(verdict, VERDICTS["healthy"])
    row: Row = [
        (f" {letter} ", "badge.info"),
        (f" {cut_middle(name, max(width // 3, 12))}", "title"),
        (f"  step {count(step)} ", "dim"),
        (words, style),
    ]
    if causes:
        row.append((f" {causes[0].cause}, {causes[0].confidence:.0%} sure", "text"))
    return fit(row, width)


def pair_rows(pairs: Sequence[Pair], width: int, height: int) -> list[Row]:
    """A row a reading: name, gauge and number of A, of B, and how many times B is A.

    Where there is no room for all, those that differ most, or are out of band in one of the two,
    are kept.
    """
    room = max(height - 1, 1)
    kept = sorted(range(len(pairs)), key=lambda at: -_distance(pairs[at]))[:room]
    gauges = max((width - 16 - 2 * 11 - 10) // 2, 0)
    gauges = gauges if gauges >= 8 else 0
    block = gauges + 11
    head = f"  {pad('', 14)}{pad_left('A', block)}{pad_left('B', block)}{pad_left('B / A', 9)}"
    rows: list[Row] = [fit([(head, "dim")], width)]
    rows += [_pair_row(pair, gauges, width) for pair in (pairs[at] for at in sorted(kept))]
    if not pairs:
        rows.append(fit([("  nothing measured in either yet", "dim")], width))
    return rows


def _pair_row(pair: Pair, gauges: int, width: int) -> Row:
    metric = pair.metric
    apart = _distance(pair) >= TELLING
    row: Row = [("≠ " if apart else "  ", "strong"), (pad(metric.title, 14), "text")]
    for value, severity in zip(pair.values, pair.severities, strict=True):
        row.append((" " + sign(metric, value, severity), tone(metric, value, severity)))
        if gauges:
            row += track(metric, value, gauges, severity=severity)
        row += reading(metric, value, severity, 9)
    a, b = pair.values
    times = b / a if isfinite(a) and isfinite(b) and a > 0 and b >= 0 else float("nan")
    row.append((pad_left(_times(times), 9), "strong" if apart else "dim"))
    return fit(row, width)


def _times(ratio: float) -> str:
    if not isfinite(ratio):
        return "–"
    if 0.995 <= ratio < 1.005:
        return "same"
    if 0.001 <= ratio < 1000 or not ratio:
        return f"x{ratio:.0f}" if ratio >= 100 else f"x{ratio:.2g}"
    return f"x1e{round(log10(ratio))}"


def _distance(pair: Pair) -> float:
    """How far the two lie apart, in lengths of the metric's scale; more where one left its band."""
    metric, (a, b) = pair.metric, pair.values
    if not (isfinite(a) and isfinite(b)):
        return 0.0 if isfinite(a) == isfinite(b) else TELLING
    low, high = ends(metric)

    def at(value: float) -> float:
        place = log10(max(value, 1e-38)) if metric.log else value
        return min(max((place - low) / (high - low), 0.0), 1.0)

    left = side(metric, a) != side(metric, b)
    return abs(at(a) - at(b)) + (TELLING if left else 0.0)


def flag_words(flags: Sequence[Flag], width: int) -> Row:
    """The flags that stand, worst first, in one row."""
    words = ", ".join(f"{flag.kind} at {count(flag.onset_step)}" for flag in flags)
    style = {"critical": "crit", "warning": "warn"}.get(flags[0].severity, "dim") if flags else ""
    return fit([(cut(words or "no flags", width), style or "dim")], width)

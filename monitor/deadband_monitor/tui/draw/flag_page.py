"""The page of one flag: onset, spread, evidence with its course, causes and what to try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deadband.wire import Cause, Coverage, Flag
from deadband_monitor.metrics import Metric
from deadband_monitor.tui.draw.coverage import coverage_rows
from deadband_monitor.tui.draw.flags import LOOK
from deadband_monitor.tui.draw.gauge import band_words
from deadband_monitor.tui.draw.scale import Values
from deadband_monitor.tui.draw.spark import spark
from deadband_monitor.tui.draw.text import (
    Row,
    count,
    cut,
    figure,
    fit,
    heading,
    pad,
    pad_left,
    wrap,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """One piece of evidence: the statistic as the rule saw it, now, and over the run."""

    name: str
    at_call: float
    now: float = float("nan")
    metric: Metric | None = None
    trend: Values | None = None
    onset: int = -1
    """Column of the onset in the trend."""


def flag_page(
    flag: Flag,
    exhibits: Sequence[Exhibit],
    causes: Sequence[Cause],
    coverage: Sequence[Coverage],
    step: int,
    width: int,
) -> list[Row]:
    """Rows of the page; as many as it takes, the screen scrolls."""
    _, _, style = LOOK[flag.severity]
    inner = width - 2
    rows: list[Row] = [[(f" {line}", "strong")] for line in wrap(flag.message, inner, 3)]
    rows += [[], *[[(f" {line}", "text")] for line in _history(flag, step, inner)]]
    rows += [[], heading("evidence", "at call      now   healthy        ", width)]
    rows += [_exhibit(exhibit, style, width) for exhibit in exhibits]
    if not exhibits:
        rows.append([(" no figures were given", "dim")])
    for at, cause in enumerate(causes):
        title = "likely cause" if at == 0 else "or"
        rows += [[], heading(title, f"{cause.confidence:.0%} sure", width)]
        where = f"   in {cause.layer}" if cause.layer else ""
        since = f"   since step {count(cause.onset_step)}" if cause.onset_step else ""
        rows.append([(f" {cause.cause}", "crit" if at == 0 else "strong"), (where + since, "dim")])
        rows += _paragraph("try ", cause.advice, "strong", inner)
        for text in cause.evidence:
            rows += _paragraph("why ", text, "text", inner)
    if not causes:
        rows += [[], heading("cause", "", width), [(" none named yet", "dim")]]
    return [fit(row, width) for row in rows] + coverage_rows(coverage, width)


def _history(flag: Flag, step: int, width: int) -> list[str]:
    text = f"onset at step {count(flag.onset_step)}, called at {count(flag.raised_step)}"
    if flag.resolved_step is None:
        text += f", open for {count(max(step - flag.onset_step, 0))} steps"
    else:
        text += f", over at {count(flag.resolved_step)}"
    lines = [text, f"began in {flag.layer or 'the network as a whole'}"]
    if flag.followers:
        lines[1] += ", then " + ", ".join(flag.followers)
    return [part for line in lines for part in wrap(line, width, 3)]


def _exhibit(exhibit: Exhibit, style: str, width: int) -> Row:
    metric = exhibit.metric
    title = metric.title if metric is not None else exhibit.name.replace("_", " ")
    numbers = (
        (pad_left(figure(exhibit.at_call), 10), style),
        (pad_left(figure(exhibit.now), 9), "strong"),
        ("   " + pad(band_words(metric) if metric else "", 16), "dim"),
    )
    room = width - 18 - 38 - 2
    course = ""
    if metric is not None and exhibit.trend is not None and room >= 8:
        course = spark(metric, exhibit.trend)
        if 0 <= exhibit.onset < len(course):
            course = course[: exhibit.onset] + "╎" + course[exhibit.onset :]
        course = cut(course, room)
    line: Row = [(f" {pad(title, 16)} ", "text"), (pad(course, max(room, 0)) + " ", "spark")]
    return [*line, *numbers]


def _paragraph(name: str, text: str, style: str, width: int) -> list[Row]:
    lines = wrap(text, width - len(name), 6)
    return [
        [(" " + (name if at == 0 else " " * len(name)), "dim"), (line, style)]
        for at, line in enumerate(lines)
    ]

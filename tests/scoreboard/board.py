"""The board as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from scoreboard.figures import Figures, Result


def number(value: float, digits: int = 0) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns lined up: the first to the left, the others to the right."""
    rows = [tuple(row) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def whole(boards: Sequence[Figures]) -> list[str]:
    """The figures, a column for each cadence."""
    lines: list[tuple[str, ...]] = [("measured every", *(f"{b.every} steps" for b in boards))]

    def add(name: str, *values: str) -> None:
        lines.append((name, *values))

    add("failing runs", *(str(b.failing) for b in boards))
    add("  found", *(percent(b.recall) for b in boards))
    add("  right cause first", *(percent(b.first) for b in boards))
    add("  right cause among two", *(percent(b.second) for b in boards))
    add("  onset error, steps (median)", *(number(b.onset_error) for b in boards))
    add("    of sudden failures", *(number(b.onset_error_sudden) for b in boards))
    add("  alarm after, steps (sudden, median)", *(number(b.latency) for b in boards))
    add("healthy runs", *(str(b.healthy) for b in boards))
    add("  ever called failing", *(str(b.critical_healthy) for b in boards))
    add("  with any alarm", *(str(b.warned_healthy) for b in boards))
    add("  alarms a run", *(number(b.warnings_per_run, 3) for b in boards))
    return table(lines)


def by_cause(boards: Sequence[Figures]) -> list[str]:
    """A line for each cause: found, right first, right among two, at each cadence."""
    head = ["cause", "runs"]
    for board in boards:
        head += [f"found/{board.every}", "first", "two"]
    lines = [tuple(head)]
    for index, row in enumerate(boards[0].causes):
        cells = [row.cause, str(row.runs)]
        for board in boards:
            here = board.causes[index]
            cells += [f"{round(100 * v)}" for v in (here.found, here.first, here.second)]
        lines.append(tuple(cells))
    return table(lines)


def calibration(board: Figures) -> list[str]:
    """Confidence stated against confidence earned."""
    return table(
        [
            ("confidence", "runs", "stated", "right"),
            *(
                (f"{b.least:.1f}-{b.most:.1f}", str(b.runs), f"{b.stated:.2f}", f"{b.right:.2f}")
                for b in board.confidence
            ),
        ]
    )


def line(result: Result) -> str:
    """One run."""
    outcome, scenario = result.outcome, result.scenario
    flags = " ".join(
        f"{f.severity[0].upper()}:{f.kind}{'@' + f.layer if f.layer else ''}"
        f"[{f.onset_step}/{f.raised_step}]"
        for f in outcome.flags
        if f.severity != "info"
    )
    causes = " ".join(f"{c.cause}={c.confidence:.2f}" for c in outcome.causes[:3]) or "-"
    ever = " ".join(f"{f.severity[0]}:{f.kind}@{f.raised_step}" for f in outcome.alarms[:5])
    wanted = f" (wants {'|'.join(scenario.causes)})" if scenario.fails else ""
    return (
        f"{scenario.name}{wanted} /{outcome.every} {outcome.verdict} skill {result.score:.2f}: "
        f"{causes} | {flags} | ever {ever or '-'}"
    )


def wrongs(results: Sequence[Result]) -> list[str]:
    """A line for each run of which something wrong was said."""
    lines: list[str] = []
    for result in results:
        if not result.scenario.fails:
            if result.outcome.alarms:
                lines.append(f"FALSE ALARM  {line(result)}")
        elif not result.found:
            lines.append(f"MISSED       {line(result)}")
        elif not result.right(1):
            lines.append(f"WRONG CAUSE  {line(result)}")
    return lines

"""The processes of a run in rows: those that are alike share one, those that differ stand out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan

from deadband_monitor.tui.draw.flags import LOOK
from deadband_monitor.tui.draw.run_list import STATES
from deadband_monitor.tui.draw.text import Row, count, cut_middle, figure, fit, pad, pad_left

ALIKE = 0.1
"""Ranks whose readings differ by less than this share are drawn as one: the losses of two shards of
one batch differ by a few per cent."""


_SEVERE = ("critical", "warning", "info", "")
MANY = 32
"""Ranks that a screen has room for; more are gathered by what they show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankLine:
    """One rank, or several that are alike."""

    ranks: tuple[int, ...]
    host: str
    status: str
    """As in `Status`."""
    step: int
    samples: int
    dropped: int
    loss: float
    grad_norm: float
    out_variance: float
    severity: str
    """Of the worst flag that it shows."""
    kinds: tuple[str, ...]
    """Its flags."""
    error: str
    trend: str
    """Output variance over the run."""


def folded(lines: Sequence[RankLine]) -> list[RankLine]:
    """Neighbours that are alike in one line, with the first one's readings."""
    rows: list[RankLine] = []
    for line in lines:
        if rows and _alike(rows[-1], line):
            rows[-1] = replace(
                rows[-1],
                ranks=(*rows[-1].ranks, *line.ranks),
                dropped=rows[-1].dropped + line.dropped,
                host=rows[-1].host if rows[-1].host == line.host else "several",
            )
        else:
            rows.append(line)
    return rows


def gathered(lines: Sequence[RankLine]) -> list[RankLine]:
    """Ranks of the same state and the same flags in one line, wherever they stand; worst first.

    Of very many ranks no two have the same loss, and whether one is too far from the others is for
    the rules to say.
    """
    kinds: dict[tuple[object, ...], list[RankLine]] = {}
    for line in lines:
        kinds.setdefault((line.status, line.severity, line.kinds, line.error), []).append(line)
    rows = []
    for alike in kinds.values():
        losses = sorted(line.loss for line in alike if not isnan(line.loss))
        hosts = {line.host for line in alike}
        rows.append(
            replace(
                alike[0],
                ranks=tuple(rank for line in alike for rank in line.ranks),
                step=min(line.step for line in alike),
                samples=sum(line.samples for line in alike),
                dropped=sum(line.dropped for line in alike),
                loss=losses[len(losses) // 2] if losses else float("nan"),
                host=alike[0].host if len(hosts) == 1 else f"{len(hosts)} hosts",
            )
        )
    return sorted(rows, key=lambda row: (_SEVERE.index(row.severity), row.status == "running"))


def _alike(one: RankLine, other: RankLine) -> bool:
    same = (one.status, one.kinds, one.error) == (other.status, other.kinds, other.error)
    figures = zip(
        (one.loss, one.grad_norm, one.out_variance),
        (other.loss, other.grad_norm, other.out_variance),
        strict=True,
    )
    return same and all(_near(a, b) for a, b in figures)


def _near(a: float, b: float) -> bool:
    if isnan(a) or isnan(b):
        return isnan(a) and isnan(b)
    return abs(a - b) <= ALIKE * max(abs(a), abs(b))


def rank_rows(lines: Sequence[RankLine], width: int, height: int) -> list[Row]:
    """A heading and a row a line; what does not fit is counted in the last row."""
    wide = width >= 100
    head = (
        f"   {pad('rank', 8)}{pad('host', 14) if wide else ''}{pad('state', 12)}"
        f"{pad_left('step', 9)}{pad_left('loss', 9)}{pad_left('grad norm', 11)}"
        f"{pad_left('out var', 9) if wide else ''}"
    )
    rows: list[Row] = [fit([(head, "dim"), ("  flags" if not wide else "  trend", "dim")], width)]
    room = max(height - 1, 1)
    rows += [_rank_row(line, width, wide=wide) for line in lines[:room]]
    if len(lines) > room:
        rows[-1] = fit([(f"   +{len(lines) - room + 1} more", "dim")], width)
    return rows


def _rank_row(line: RankLine, width: int, *, wide: bool) -> Row:
    state, word, state_style = STATES.get(line.status, ("?", line.status, "warn"))
    sign, _, style = LOOK.get(line.severity, (" ", "", "text"))
    row: Row = [
        (f" {sign} ", style),
        (pad(_who(line.ranks), 8), style if line.severity else "strong"),
    ]
    if wide:
        row.append((pad(cut_middle(line.host, 13), 14), "dim"))
    row += [
        (pad(f"{state} {word}", 12), state_style),
        (pad_left(count(line.step), 9), "text"),
        (pad_left(figure(line.loss), 9), "text"),
        (pad_left(figure(line.grad_norm), 11), "text"),
    ]
    if wide:
        row.append((pad_left(figure(line.out_variance), 9) + "  ", "text"))
        row.append((pad(line.trend, 12), "spark"))
    more = line.error or ", ".join(line.kinds)
    if line.dropped:
        more += f"{', ' if more else ''}{count(line.dropped)} samples dropped"
    row.append((f"  {more}", style if line.severity else "dim"))
    return fit(row, width)


def _who(ranks: Sequence[int]) -> str:
    """The ranks, or how many, where they are too many to name."""
    named = span(ranks)
    return named if len(named) < 8 else f"× {len(ranks):,}"


def span(ranks: Sequence[int]) -> str:
    """`5`, `2-4`, or `0-3 7`."""
    parts: list[list[int]] = []
    for rank in ranks:
        if parts and rank == parts[-1][-1] + 1:
            parts[-1].append(rank)
        else:
            parts.append([rank])
    return " ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)

"""Flags and causes in rows: the dashboard's panels. The full page of a flag is in `flag_page`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from deadband.wire import Cause, Flag
from deadband_monitor.tui.draw.text import (
    Row,
    count,
    cut,
    cut_middle,
    fit,
    pad,
    pad_left,
    spread,
    width_of,
    wrap,
)

LOOK = {"critical": ("▼", "CRIT", "crit"), "warning": ("!", "warn", "warn"),
        "info": ("·", "info", "info")}  # fmt: skip
"""Severity -> sign, word, style."""


def place(flag: Flag) -> str:
    """Where a flag stands: its layer, and how many follow it."""
    where = flag.layer or "network"
    return f"{where} +{len(flag.followers)}" if flag.followers else where


def flag_rows(
    flags: Sequence[Flag],
    chosen: int | None,
    width: int,
    height: int,
    *,
    quiet: Collection[int] = (),
) -> list[Row]:
    """The rows of `flag_lines`."""
    return [row for _, row in flag_lines(flags, chosen, width, height, quiet=quiet)]


def flag_lines(
    flags: Sequence[Flag],
    chosen: int | None,
    width: int,
    height: int,
    *,
    quiet: Collection[int] = (),
) -> list[tuple[int, Row]]:
    """The flags in the order they come, each row with the id of its flag (0: of none).

    The last row says how many more there are. Those whose ids are `quiet` were acknowledged or
    muted: they are there without colour.

    Wide, a flag's message stands beside it. Narrow, it stands under it, for as many of the first
    flags as there are rows to spare.
    """
    if not flags:
        return [(0, fit([("   no flags so far", "dim")], width))]
    shown = flags[:height]
    kinds = max((len(flag.kind) for flag in shown), default=0)
    places = max((len(place(flag)) for flag in shown), default=0)
    below = width < 90
    spare = height - len(shown)
    rows: list[tuple[int, Row]] = []
    for at, flag in enumerate(shown):
        tight = below and spare > 0
        look = (" ", "past", "dim") if flag.resolved_step is not None else LOOK[flag.severity]
        if flag.id in quiet:
            look = (look[0], "seen", "dim")
        row = _flag_row(flag, look, flag.id == chosen, width, kinds, places, not tight)
        rows.append((flag.id, row))
        if tight:
            share = -(-spare // (len(shown) - at))
            message = wrap(flag.message, width - 11, min(share, 2))
            style = "dim" if flag.resolved_step is not None else "text"
            rows += [(flag.id, fit([(" " * 11, ""), (line, style)], width)) for line in message]
            spare -= len(message)
    if rows and len(flags) > height:
        more: Row = [(f"  +{len(flags) - height} more (f)", "dim")]
        rows[-1] = (rows[-1][0], spread(rows[-1][1], more, width))
    return rows


def _flag_row(
    flag: Flag,
    look: tuple[str, str, str],
    chosen: bool,
    width: int,
    kinds: int,
    places: int,
    message: bool,
) -> Row:
    sign, word, style = look
    over = flag.resolved_step is not None
    dull = style == "dim"
    row: Row = [
        ("▸" if chosen else " ", "strong"),
        (f"{sign} ", style),
        (pad_left(count(flag.onset_step), 7) + " ", "dim" if dull else "strong"),
        (f"{word} ", style),
        (pad(flag.kind, kinds) + " ", "dim" if dull else "strong"),
    ]
    where = min(places, 20)
    row.append((pad(cut_middle(place(flag), where), where) + "  ", "dim" if dull else "text"))
    room = width - width_of(row)
    if over:
        row.append((cut(f"over at {count(flag.resolved_step or 0)}", max(room, 0)), "dim"))
    elif message and room > 8:
        row.append((cut(flag.message, room), "dim"))
    return fit(row, width)


def diagnosis_rows(
    causes: Sequence[Cause],
    open_flags: int,
    width: int,
    height: int,
    *,
    judged: bool,
    facts: Sequence[str] = (),
    ended: str = "",
) -> list[Row]:
    """The likely cause, what to try and why, in at most `height` rows; else facts of the run.

    `ended` is the exception that ended the script; with a cause it is told where there is room.
    """
    last = wrap(f"the script ended with {ended}", width, 3) if ended else []
    if not causes:
        said: list[Row] = [[(line, "strong")] for line in last]
        said += [*_no_cause(open_flags, width, judged=judged), []]
        said += [[(line, "dim")] for fact in facts for line in wrap(fact, width, 2)]
        return [fit(row, width) for row in said[:height]]
    best, rest = causes[0], causes[1:]
    heading: Row = [("cause ", "dim"), (best.cause, "crit")]
    sure, since, where = f"  {best.confidence:.0%}", "", ""
    if best.onset_step:
        since = f", since {count(best.onset_step)}"
    if best.layer:
        where = f" in {cut_middle(best.layer, 18)}"
    # The whole, or what of it fits: no half of a name.
    details = (f"{sure} sure{since}{where}", sure + since + where, f"{sure} sure{since}", sure)
    room = width - width_of(heading)
    told = next((it for it in details if len(it) <= room), "")
    rows = [fit([*heading, (told, "dim")], width)]
    spare = height - 1
    advice = wrap(best.advice, width - 6, max(min(4, spare), 0))
    rows += _item("try   ", advice, "strong", width)
    spare = height - len(rows)
    evidence = [wrap(text, width - 6, 2) for text in best.evidence]
    for lines in evidence:
        if spare < len(lines):
            break
        rows += _item("why   ", lines, "text", width)
        spare -= len(lines)
    for cause in rest:
        if spare < 1:
            break
        other = f"{cause.cause}  {cause.confidence:.0%}: {cause.advice}"
        rows += _item("or    ", [cut(other, width - 6)], "dim", width)
        spare -= 1
    if spare >= len(last):
        rows += [fit([(line, "dim")], width) for line in last]
    return rows[:height]


def _no_cause(open_flags: int, width: int, *, judged: bool) -> list[Row]:
    if not judged:
        text = "nothing measured yet: the first sample comes with the first optimiser step"
    elif open_flags:
        text = "no cause named yet: the flags stand, the evidence does not point one way"
    else:
        text = "nothing out of order"
    return [[(line, "text")] for line in wrap(text, width, 2)]


def _item(name: str, lines: Sequence[str], style: str, width: int) -> list[Row]:
    return [
        fit([(name if at == 0 else " " * len(name), "dim"), (line, style)], width)
        for at, line in enumerate(lines)
    ]

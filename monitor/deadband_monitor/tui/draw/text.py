"""Rows of styled text, and how words and numbers are made to fit: the base of everything drawn.

A row is a list of (text, style name); `tui.ink` knows what a style name looks like here. Nothing
in `draw/` knows Textual, the clock or the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isfinite, isinf, isnan

from rich.cells import cell_len, chop_cells

Span = tuple[str, str]
Row = list[Span]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """`text` without control characters: names and messages come from the user's program."""
    return _CONTROL.sub(" ", text)


def cut(text: str, width: int) -> str:
    """The beginning of `text` in at most `width` cells, with an ellipsis where it was cut."""
    text = clean(text)
    if cell_len(text) <= width:
        return text
    if width <= 1:
        return "…"[:width]
    return chop_cells(text, width - 1)[0].rstrip() + "…"


def cut_middle(text: str, width: int) -> str:
    """Both ends of `text` in at most `width` cells: the ends of a layer's name tell it apart."""
    text = clean(text)
    if cell_len(text) <= width or width < 5:
        return cut(text, width)
    tail = (width - 1) // 2
    return text[: width - 1 - tail] + "…" + text[len(text) - tail :]


def pad(text: str, width: int) -> str:
    """`text` cut or filled up to exactly `width` cells."""
    text = cut(text, width)
    return text + " " * (width - cell_len(text))


def pad_left(text: str, width: int) -> str:
    """`text` cut or filled on the left, for numbers."""
    text = cut(text, width)
    return " " * (width - cell_len(text)) + text


def figure(value: float) -> str:
    """A reading in at most 7 characters: `0.91`, `3.1e-4`, `12,480`; a dash where there is none."""
    if isnan(value):
        return "–"
    if isinf(value):
        return "inf" if value > 0 else "-inf"
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.001 or size >= 999_999.5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    if size < 0.1:
        return f"{value:.2g}"
    if size < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if size < 100 else f"{value:,.0f}"


def count(number: int) -> str:
    """A whole number with thousands marked: `12,480`."""
    return f"{number:,}"


def duration(seconds: float) -> str:
    """A time span in at most 6 characters: `0.1 s`, `12 s`, `4m12s`, `2h05m`, `3 d`."""
    if not isfinite(seconds) or seconds < 0:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400} d"


def width_of(row: Sequence[Span]) -> int:
    """Cells that a row takes."""
    return sum(cell_len(text) for text, _ in row)


def fit(row: Sequence[Span], width: int) -> Row:
    """The row in exactly `width` cells: cut with an ellipsis, or filled with blanks."""
    fitted: Row = []
    left = width
    for text, style in row:
        text = clean(text)
        size = cell_len(text)
        if size > left:
            if left:
                fitted.append((pad(text, left), style))
            return fitted
        fitted.append((text, style))
        left -= size
    if left:
        fitted.append((" " * left, ""))
    return fitted


def spread(left: Sequence[Span], right: Sequence[Span], width: int) -> Row:
    """`left` at the left edge, `right` at the right edge; the left side gives way."""
    room = width - width_of(right)
    if room < 1:
        return fit(right, width)
    return [*fit(left, room), *right]


def wrap(text: str, width: int, lines: int) -> list[str]:
    """`text` in at most `lines` lines of `width` cells; what does not fit ends in an ellipsis."""
    words = clean(text).split()
    wrapped: list[str] = []
    while words and len(wrapped) < lines:
        if len(wrapped) == lines - 1:
            wrapped.append(cut(" ".join(words), width))
            break
        line = words.pop(0)
        while words and cell_len(line) + 1 + cell_len(words[0]) <= width:
            line += " " + words.pop(0)
        wrapped.append(cut(line, width))
    return wrapped


def plain(rows: Sequence[Sequence[Span]]) -> str:
    """Rows as text without styles."""
    return "\n".join("".join(text for text, _ in row) for row in rows)


def heading(title: str, right: str, width: int) -> Row:
    """A ruled line with a title at its left and a word at its right."""
    rule = "─" * max(width - len(title) - len(right) - 6, 1)
    end = f" {right} ─" if right else "──"
    return [("─ ", "faint"), (title, "title"), (" " + rule, "faint"), (end, "dim")]

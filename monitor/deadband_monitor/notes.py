"""A note as it is written down: one line that can be printed, about a step that there was."""

from __future__ import annotations

MOST_LETTERS = 2000


def note_text(typed: str) -> str:
    """The text on one line, without what a terminal would take for a command."""
    words = " ".join(typed.split())
    return "".join(letter for letter in words if letter.isprintable())[:MOST_LETTERS]


def note_step(wanted: int, newest: int) -> int:
    """The step that a note is about: the newest unless an earlier one is named."""
    return wanted if 0 < wanted <= newest else newest

"""A line at the foot of the screen that asks for one thing: a step, a pattern."""

from __future__ import annotations

import re
from collections.abc import Callable

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.screen import ModalScreen
from textual.widgets import Input, Label

from deadband_monitor.tui.governor import Due


def no_pattern(text: str) -> str:
    """What is wrong with a regular expression; empty where nothing is."""
    try:
        re.compile(text)
    except re.error as error:
        return f"no regular expression: {error.msg}"
    return ""


class PromptScreen(ModalScreen[str | None]):
    """Ends with what was typed, or None after escape.

    Args:
        question: a few words before the line.
        value: what stands there at first.
        heed: called with every change; what it returns is shown beside the line, an empty text
            where all is well. A text that it finds fault with is not accepted.
    """

    BINDINGS = [Binding("escape", "dismiss(None)", "leave", show=False)]  # noqa: RUF012

    def __init__(self, question: str, value: str, heed: Callable[[str], str]) -> None:
        super().__init__()
        self._question, self._heed = question, heed
        self._line = Input(value, compact=True)
        self._trouble = Label("", id="trouble", markup=False)

    def compose(self) -> ComposeResult:
        """One line."""
        with Horizontal(id="prompt"):
            yield Label(f" {self._question} ", id="question", markup=False)
            yield self._line
            yield self._trouble

    def on_input_changed(self, event: Input.Changed) -> None:
        """Say at once what is wrong with it."""
        self._trouble.update(self._heed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Leave with it, if it will do."""
        if not self._heed(event.value):
            self.dismiss(event.value)

    def paint(self, due: Due) -> None:
        """Nothing moves here."""

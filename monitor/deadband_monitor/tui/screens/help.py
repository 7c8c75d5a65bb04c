"""The help: every key of the screen below and what the signs mean, from the declared tables."""

from __future__ import annotations

from collections.abc import Mapping

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from deadband_monitor.tui.draw.text import Row, cut, pad, wrap
from deadband_monitor.tui.governor import Due
from deadband_monitor.tui.keys import NOTHING, SIGNS, groups
from deadband_monitor.tui.widgets.canvas import Canvas


class HelpScreen(ModalScreen[None]):
    """Over the screen it explains."""

    BINDINGS = [  # noqa: RUF012
        Binding("escape,question_mark,f1,q,enter", "dismiss", "close", show=False),
        Binding("j,down", "scroll(1)", show=False),
        Binding("k,up", "scroll(-1)", show=False),
    ]

    def __init__(self, where: str, *, replay: bool, changed: Mapping[str, str]) -> None:
        super().__init__()
        self.text = Canvas()
        self.frame = VerticalScroll(self.text, id="help")
        self._where, self._replay, self._changed = where, replay, changed

    def compose(self) -> ComposeResult:
        """One scrolling page."""
        yield self.frame

    def on_mount(self) -> None:
        """Write the page."""
        self.frame.border_title = "keys · esc closes"
        rows = help_rows(self._where, replay=self._replay, width=72, changed=self._changed)
        self.text.styles.height = len(rows)
        self.text.show(rows)

    def action_scroll(self, by: int) -> None:
        """A line down or up."""
        self.frame.scroll_relative(y=3 * by, animate=False)

    def paint(self, due: Due) -> None:
        """Nothing moves here."""


def help_rows(
    where: str, *, replay: bool, width: int, changed: Mapping[str, str] = NOTHING
) -> list[Row]:
    """The page in rows."""
    rows: list[Row] = []
    for group, keys in groups(where, changed).items():
        if group == "Recording" and not replay:
            continue
        for at, key in enumerate(keys):
            for line, part in enumerate(wrap(key.doc or key.label, width - 22, 3)):
                rows.append(
                    [
                        (pad(group if at == line == 0 else "", 11), "dim"),
                        (pad((key.help_shown or key.shown) if line == 0 else "", 11), "key"),
                        (part, "text"),
                    ]
                )
    for at, (sign, meaning) in enumerate(SIGNS):
        rows.append(
            [
                (pad("Signs" if at == 0 else "", 11), "dim"),
                (pad(sign, 11), "key"),
                (cut(meaning, width - 22), "text"),
            ]
        )
    return rows

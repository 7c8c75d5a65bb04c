"""The base of all that is drawn: rows of (text, style) on Textual's line API.

A canvas is shown whole rows and repaints only those that differ; nothing is measured, wrapped or
parsed. At 10 pictures a second this costs a tenth of what `Static` with Rich text does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.content import Content
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from deadband_monitor.tui.draw.text import Row, clean
from deadband_monitor.tui.ink import Ink

if TYPE_CHECKING:
    from deadband_monitor.tui.draw.text import Span


class Stage(Protocol):
    """What a canvas needs of the app."""

    ink: Ink

    def repaint_soon(self) -> None:
        """Paint everything again before long: a size has changed."""


class Canvas(Widget):
    """Rows of styled text."""

    DEFAULT_CSS = "Canvas { height: 1; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.rows: list[Row] = []
        self._titled = ""
        self._base: tuple[object, Style] | None = None
        self._lines: tuple[tuple[object, ...], list[Strip]] | None = None
        """What was drawn last, and of what."""

    @property
    def stage(self) -> Stage:
        """The app, as far as a canvas knows it."""
        return cast("Stage", self.app)

    def show(self, rows: Sequence[Sequence[Span]]) -> None:
        """Show these rows; only the lines that differ are drawn again."""
        fresh = [list(row) for row in rows]
        old, self.rows = self.rows, fresh
        if len(old) != len(fresh):
            self.refresh()
            return
        changed = [y for y, row in enumerate(fresh) if row != old[y]]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def entitle(self, title: str) -> None:
        """Write a title into the frame, as plain text: names may hold brackets."""
        if title != self._titled:
            self._titled = title
            self.border_title = Content(self.stage.ink.text(clean(title)))

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines; as they were where nothing has changed.

        Textual asks every widget that shares a line with a change, and works out colours, borders
        and filters of each: two thirds of what a picture costs.
        """
        drawn_of = (crop, self.size, self.app.theme)
        if self._lines is None or self._lines[0] != drawn_of:
            self._lines = drawn_of, super().render_lines(crop)
        return self._lines[1]

    def _set_dirty(self, *regions: Region) -> None:
        # Every reason to draw anew comes by here: rows, title, size, style.
        self._lines = None
        super()._set_dirty(*regions)

    def render_line(self, y: int) -> Strip:
        """One row as a strip."""
        base = self._ground()
        width = self.size.width
        if y >= len(self.rows):
            return Strip.blank(width, base)
        ink = self.stage.ink
        segments = []
        for text, name in without_blanks(self.rows[y]):
            style = base + ink.style(name)
            # A blank needs no colour but its ground's: nine bytes less on the wire.
            plain = text.isspace() and not style.reverse
            segments.append(Segment(ink.text(text), style.background_style if plain else style))
        return Strip(segments).adjust_cell_length(width, base)

    def _ground(self) -> Style:
        """The widget's own style, which Textual would work out anew for each line."""
        if self._base is None or self._base[0] != self.app.theme:
            self._base = self.app.theme, self.rich_style
        return self._base[1]

    def on_resize(self, event: events.Resize) -> None:
        """A new size needs new rows."""
        del event
        self.stage.repaint_soon()


def without_blanks(row: Row) -> Row:
    """The row with blanks joined to what stands before them: each span costs an escape sequence."""
    joined: Row = []
    for text, name in row:
        if joined and not name.startswith(GROUNDED) and text.isspace():
            before, style = joined[-1]
            if not style.startswith(GROUNDED):
                joined[-1] = (before + text, style)
                continue
        joined.append((text, name))
    return joined


GROUNDED = ("heat.", "badge.")
"""Styles whose blanks are seen."""

"""The base of all that is drawn: rows of (text, style) on Textual's line API.

A canvas is shown whole rows and repaints only those that differ; nothing is measured, wrapped or
parsed. At 10 pictures a second this costs a tenth of what `Static` with Rich text does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, cast

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.content import Content
from textual.geometry import Region, Spacing
from textual.strip import Strip
from textual.widget import Widget

from deadband_monitor.tui.draw.text import Row, clean
from deadband_monitor.tui.ink import Depth, Ink

if TYPE_CHECKING:
    from deadband_monitor.tui.draw.text import Span


class Stage(Protocol):
    """What a canvas needs of the app."""

    ink: Ink

    def repaint_soon(self) -> None:
        """Paint everything again before long: a size has changed."""


@dataclass(slots=True, kw_only=True)
class Drawn:
    """The lines of a canvas with its borders."""

    of: tuple[Region, str]
    """The part and the theme that they are of."""
    lines: list[Strip]
    gutter: Spacing
    width: int
    """Cells between the borders."""
    plain: bool
    """Whether a row of ours can stand in a line as it is."""

    edges: tuple[list[Segment], list[Segment]] | None = None
    """What stands at both ends of each row, once it is known."""
    titled: bool = True
    """Whether the top line says what it should."""

    def beside(self, line: Strip) -> tuple[list[Segment], list[Segment]]:
        """Both ends of a line: the same for every row."""
        if self.edges is None:
            left, right = self.gutter.left, self.gutter.right
            end = left + self.width
            self.edges = list(line.crop(0, left)), list(line.crop(end, end + right))
        return self.edges


@dataclass(slots=True, kw_only=True)
class Worn:
    """How style names look on a canvas."""

    of: tuple[str, Ink] | None
    """The theme and the ink that this holds for."""
    ground: Style
    bare: Style
    """The ground of a blank, which needs no colour but that: nine bytes less on the wire."""
    styles: dict[str, tuple[Style, Style]] = field(default_factory=dict)
    """Of letters, and of blanks."""


class Canvas(Widget):
    """Rows of styled text."""

    DEFAULT_CSS = "Canvas { height: 1; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.rows: list[Row] = []
        self._titled = ""
        self._worn = Worn(of=None, ground=Style(), bare=Style())
        self._drawn: Drawn | None = None
        """What was drawn last; None: nothing, or nothing that still holds."""
        self._changed: set[int] = set()
        """Rows that were shown since."""

    @property
    def stage(self) -> Stage:
        """The app, as far as a canvas knows it."""
        return cast("Stage", self.app)

    def show(self, rows: Sequence[Sequence[Span]]) -> None:
        """Show these rows; only the lines that differ are drawn again."""
        fresh = [list(row) for row in rows]
        old, self.rows = self.rows, fresh
        if not self.display:
            # A change of what is not laid out would have all boxes placed anew.
            self._drawn = None
            self._styles_cache.clear()
            return
        if len(old) != len(fresh):
            self.refresh()
            return
        changed = [y for y, row in enumerate(fresh) if row != old[y]]
        if changed:
            self._changed.update(changed)
            width = self._drawn.width if self._drawn is not None else self.size.width
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def entitle(self, title: str) -> None:
        """Write a title into the frame, as plain text: names may hold brackets."""
        if title != self._titled:
            self._titled = title
            written = Content(self.stage.ink.text(clean(title)))
            drawn = self._drawn
            if drawn is None or not drawn.plain or not drawn.gutter.top:
                self.border_title = written
                return
            # What Textual does with a new title is to draw the whole panel, text and all.
            self._border_title = written
            drawn.titled = False
            gutter = drawn.gutter
            self.refresh(Region(-gutter.left, -gutter.top, drawn.width + gutter.width, 1))

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines; as they were where nothing has changed.

        Textual asks every widget that shares a line with a change, and works out colours, borders
        and filters of each: most of what a picture costs. So its work is done once, and a row that
        changes goes between the borders that are there.
        """
        drawn = self._drawn
        if drawn is None or drawn.of != (crop, self.app.theme):
            self._changed.clear()
            self._drawn = drawn = self._draw_whole(crop)
        elif self._changed or not drawn.titled:
            drawn.lines = list(drawn.lines)
            for y in self._changed:
                at = y + drawn.gutter.top
                if at < len(drawn.lines) - drawn.gutter.bottom:
                    left, right = drawn.beside(drawn.lines[at])
                    drawn.lines[at] = self._line(y, left, right)
            self._changed.clear()
            if not drawn.titled:
                drawn.lines[:1] = super().render_lines(Region(0, 0, crop.width, 1))
                drawn.titled = True
        return drawn.lines

    def _draw_whole(self, crop: Region) -> Drawn:
        gutter, (width, height) = self.styles.gutter, self.outer_size
        return Drawn(
            of=(crop, self.app.theme),
            lines=super().render_lines(crop),
            gutter=gutter,
            width=width - gutter.width,
            # Faded, tinted or without colour, each line needs what Textual does to it.
            plain=(
                crop == Region(0, 0, width, height)
                and self.stage.ink.depth is Depth.FULL
                and self.opacity == 1.0
                and self.styles.text_opacity == 1.0
            ),
        )

    def _set_dirty(self, *regions: Region) -> None:
        # Every reason to draw anew comes by here: rows, title, size, style.
        if self._drawn is not None and not (regions and self._drawn.plain):
            self._drawn = None
        super()._set_dirty(*regions)

    def render_line(self, y: int) -> Strip:
        """One row as a strip."""
        return self._line(y, [], [])

    def _line(self, y: int, left: list[Segment], right: list[Segment]) -> Strip:
        """A row between what stands at both its ends, as few segments as will do."""
        worn, ink = self._wear(), self.stage.ink
        width = self._drawn.width if self._drawn is not None else self.size.width
        segments, room = list(left), width
        for text, name in without_blanks(self.rows[y] if y < len(self.rows) else []):
            styles = worn.styles.get(name)
            if styles is None:
                style = worn.ground + ink.style(name)
                bare = style if style.reverse else style.background_style
                styles = worn.styles[name] = (style, bare)
            room -= cell_len(text)
            _append(segments, ink.text(text), styles[text.isspace()])
        if room < 0:
            inside = Strip(segments[len(left) :]).adjust_cell_length(width, worn.ground)
            return Strip([*left, *inside, *right])
        if room:
            _append(segments, " " * room, worn.bare)
        for text, edge, _ in right:
            _append(segments, text, edge)
        return Strip(segments, width + cell_len("".join(text for text, _, _ in (*left, *right))))

    def _wear(self) -> Worn:
        """The widget's own style, which Textual would work out anew for each line."""
        now = (self.app.theme, self.stage.ink)
        if self._worn.of != now:
            ground = self.rich_style
            self._worn = Worn(of=now, ground=ground, bare=ground.background_style)
        return self._worn

    def on_resize(self, event: events.Resize) -> None:
        """A new size needs new rows."""
        del event
        self.stage.repaint_soon()


def _append(segments: list[Segment], text: str, style: Style | None) -> None:
    """Joined to the last one where that looks the same: each segment is an escape sequence."""
    if segments and segments[-1].style == style:
        segments[-1] = Segment(segments[-1].text + text, style)
    else:
        segments.append(Segment(text, style))


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

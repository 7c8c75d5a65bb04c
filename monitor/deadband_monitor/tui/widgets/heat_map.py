"""The heat map panel: labels, tiles of ten columns, newest values, axis and legend.

Textual redraws a changed cell from the left edge of its widget, so the map is cut into sibling
tiles: a new column costs ten cells of its row instead of a hundred.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message

from deadband_monitor.metrics import Metric
from deadband_monitor.state.timeline import Axis
from deadband_monitor.tui.draw.flags import LOOK
from deadband_monitor.tui.draw.gauge import reading, tone
from deadband_monitor.tui.draw.heat import Lanes, Levels, axis, cells, fold, lay_out, legend
from deadband_monitor.tui.draw.scale import Values, levels, worst_row
from deadband_monitor.tui.draw.text import Row, count, cut_middle, fit, wrap
from deadband_monitor.tui.keys import HEAT_METRICS
from deadband_monitor.tui.view import RANK, View
from deadband_monitor.tui.widgets.boxes import Below, Beside
from deadband_monitor.tui.widgets.canvas import Canvas

TILE = 10
USUAL_TILES = 6
MOST_TILES = 32
VALUE_WIDTH = 9
WAITING = (
    ("waiting for the first sample", "title"),
    ("It comes with the first training step: after imports, data loading and compilation.", "text"),
    ("Still nothing while it trains? `deadband doctor` says which link is broken.", "dim"),
)
"""Before anything was measured: text and style of each paragraph."""
Loud = Mapping[int | None, str]
"""Row of the layer table -> severity of the worst flag that touches it."""


class HeatMap(Below):
    """Layer x time for one metric."""

    class Chosen(Message):
        """A row was clicked: `layer` in the layer table, and the step where it was on the map."""

        def __init__(self, layer: int, step: int | None) -> None:
            super().__init__()
            self.layer, self.step = layer, step

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._labels = Canvas(classes="heat-labels")
        self._tiles = [_tile() for _ in range(USUAL_TILES)]
        self._values = Canvas(classes="heat-values")
        self._axis = Canvas(classes="heat-axis")
        self._legend = Canvas(classes="heat-legend")
        self._columns = 0
        self._shown: list[tuple[tuple[Lanes, bool], Levels] | None] = [None] * USUAL_TILES
        """What each tile shows."""
        self._titled = ""
        self._labelled: tuple[object, ...] = ()
        """What the labels were drawn of."""
        self._lanes = Lanes(groups=())
        self._axis_shown: Axis | None = None

    def compose(self) -> ComposeResult:
        """Labels, tiles and values side by side, axis and legend under them."""
        with Beside(classes="heat-body"):
            yield self._labels
            yield from self._tiles  # more where there is room for more
            yield self._values
        yield self._axis
        yield self._legend

    @property
    def label_width(self) -> int:
        """Cells for layer names."""
        return 22 if self.size.width >= 74 else 16

    @property
    def columns(self) -> int:
        """Columns of time that have room."""
        room = self.size.width - self.label_width - VALUE_WIDTH
        return min(max(room, 1), TILE * MOST_TILES)

    def paint(self, view: View, *, numbers: bool, trouble: str = "") -> None:
        """Draw the view's metric.

        Args:
            view: what is looked at.
            numbers: whether figures may change now.
            trouble: why nothing can come, where nothing has.
        """
        if view.state.latest is None:
            self._say(((trouble, "crit"),) if trouble else WAITING)
            return
        self._place_tiles()
        ink = self._labels.stage.ink
        rows = self._labels.size.height
        lanes = lay_out(view.lanes, rows, halves=not ink.glyph_map)
        self._lanes, self._axis_shown = lanes, view.axis
        metric = view.metric
        folded = fold(metric, view.map_values(metric), lanes)
        steps = levels(metric, folded)
        self._show_tiles(steps, lanes, glyphs=ink.glyph_map)
        loud = view.severities()
        labelled = (lanes, loud, view.selected, view.state.layers, view.folded, self.label_width)
        if labelled != self._labelled:
            self._labelled = labelled
            self._labels.show(
                [self._label(view, loud, lanes.in_row(row)) for row in range(lanes.rows)]
            )
        if numbers:
            newest, off = view.now(metric), view.severities(metric.name)
            self._values.show(
                [self._value(metric, newest, off, lanes.in_row(row)) for row in range(lanes.rows)]
            )
        span = view.axis
        marks = [
            (flag.onset_step, LOOK[flag.severity][0], LOOK[flag.severity][2])
            for flag in view.state.open_flags
        ]
        blank: Row = [(" " * self.label_width, "")]
        steps_row: Row = []
        if view.state.latest is not None:
            steps_row = axis(span.first, span.per_column, span.columns, marks, view.moment)
        self._axis.show([[*blank, *steps_row]])
        self._legend.show([[*blank, *legend(metric, glyphs=ink.glyph_map)]])
        self._entitle(view, lanes)

    def on_click(self, event: events.Click) -> None:
        """A click takes the layer of that row at hand; on the map it also goes to that step."""
        # The event speaks of the tile under the pointer, not of the map.
        offset = event.screen_offset - self.content_region.offset
        if self._axis_shown is None or not 0 <= offset.y < self._lanes.rows:
            return
        lane = offset.y - offset.y % (1 if self._lanes.half else self._lanes.tall)
        layers = self._lanes.in_row(lane)
        if layers:
            self.post_message(self.Chosen(layers[0], self._step_at(offset.x)))

    def _step_at(self, x: int) -> int | None:
        """The last step of the column under the pointer; None beside the map."""
        assert self._axis_shown is not None
        column = x - self.label_width
        if not 0 <= column < self._axis_shown.columns:
            return None
        return self._axis_shown.first + (column + 1) * self._axis_shown.per_column - 1

    def _say(self, paragraphs: Sequence[tuple[str, str]]) -> None:
        """Nothing was measured so far: what that means, and what to do where it lasts."""
        self._columns, self._labelled = 0, ()
        for part in (*self._tiles, self._values):
            part.display = False
        self._labels.styles.width = "1fr"
        width = self._labels.size.width
        rows: list[Row] = []
        for text, style in paragraphs:
            rows += [[], *([(f"   {line}", style)] for line in wrap(text, width - 4, 3))]
        self._labels.show([fit(row, width) for row in rows[: self._labels.size.height]])
        self._entitled("")

    def _place_tiles(self) -> None:
        columns = self.columns
        if columns == self._columns:
            return
        self._columns = columns
        self._values.display = True
        self._add_tiles(-(-columns // TILE) - len(self._tiles))
        for at, tile in enumerate(self._tiles):
            width = min(max(columns - at * TILE, 0), TILE)
            tile.display = width > 0
            tile.styles.width = max(width, 1)
        self._labels.styles.width = self.label_width
        self._values.styles.width = VALUE_WIDTH

    def _add_tiles(self, number: int) -> None:
        more = [_tile() for _ in range(number)]
        if more:
            assert isinstance(self._values.parent, Beside)
            self._values.parent.mount(*more, before=self._values)
            self._tiles += more
            self._shown += [None] * number

    def _show_tiles(self, steps: Levels, lanes: Lanes, *, glyphs: bool) -> None:
        drawn = (lanes, glyphs)
        for at, tile in enumerate(self._tiles):
            part = steps[at * TILE : (at + 1) * TILE]
            if not len(part):
                break
            old = self._shown[at]
            if old is None or old[0] != drawn or not np.array_equal(old[1], part):
                self._shown[at] = (drawn, part)
                tile.show(cells(part, lanes, glyphs=glyphs))

    def _label(self, view: View, loud: Loud, layers: tuple[int, ...]) -> Row:
        """Cursor, sign of the worst flag, name."""
        if not layers:
            return []
        named = self._speaker(view, loud, layers)
        severity = max((loud.get(row, "") for row in layers), key=RANK.__getitem__)
        sign, _, style = LOOK.get(severity, (" ", "", ""))
        held = view.selected in layers
        more = f" +{len(layers) - 1}" if len(layers) > 1 else ""
        name = view.label(view.state.layers[named])
        if more and view.folded and len({view.block(row) for row in layers}) == 1:
            name, more = view.block(named), f" x{len(layers)}"
        name = cut_middle(name, self.label_width - 4 - len(more))
        return fit(
            [
                ("▸" if held else " ", "strong"),
                (sign + " ", style),
                (name, "title" if held else "strong" if severity else "text"),
                (more, "dim"),
            ],
            self.label_width,
        )

    def _speaker(self, view: View, loud: Loud, layers: tuple[int, ...]) -> int:
        """The layer that a folded row is named for: at hand, flagged, or its first.

        Not the worst reading: alike layers would take turns, and names must stand still.
        """
        selected = view.selected
        if selected is not None and selected in layers:
            return selected
        return max(layers, key=lambda row: (RANK[loud.get(row, "")], -row))

    def _value(self, metric: Metric, newest: Values, off: Loud, layers: tuple[int, ...]) -> Row:
        if not layers:
            return []
        row = layers[worst_row(metric, newest[list(layers)]) or 0] if layers[1:] else layers[0]
        severity = off.get(row, "")
        value = float(newest[row])
        if not severity and tone(metric, value) == "strong":
            return [(" ", ""), *[(text, "text") for text, _ in reading(metric, value)]]
        return [(" ", ""), *reading(metric, value, severity)]

    def _entitle(self, view: View, lanes: Lanes) -> None:
        metric, span = view.metric, view.axis
        key = f"{HEAT_METRICS.index(metric.name) + 1} " if metric.name in HEAT_METRICS else ""
        steps = "1 step" if span.per_column == 1 else f"{count(span.per_column)} steps"
        title = f"{key}{metric.title} · layer × step · {steps} a column"
        deepest = max((len(group) for group in lanes.groups), default=1)
        if deepest > 1:
            title += f" · worst of {deepest}"
        if view.clocked and view.state.began:
            began = time.strftime("%H:%M:%S", time.localtime(view.state.began))
            title += f" · time since {began}"
        if view.worst_first:
            title += " · worst first"
        if view.pattern:
            title += f" · /{view.pattern}/ {len(view.order)} of {len(view.state.layers)}"
        self._entitled(title)

    def _entitled(self, title: str) -> None:
        if title != self._titled:
            self._titled = title
            self.border_title = Content(self._labels.stage.ink.text(title))


def _tile() -> Canvas:
    return Canvas(classes="heat-tile")

"""All readings of one layer, with bands and their course over the run."""

from __future__ import annotations

import numpy as np
from textual.app import ComposeResult

from deadband_monitor.metrics import LAYER_COLUMN, LAYER_METRICS, Metric
from deadband_monitor.source.on_demand import Subject
from deadband_monitor.tui.draw.gauge import sign
from deadband_monitor.tui.draw.line import Curve, Limit, Mark, chart
from deadband_monitor.tui.draw.readings import table
from deadband_monitor.tui.draw.text import count, figure, fit
from deadband_monitor.tui.governor import Due
from deadband_monitor.tui.keys import HEAT_METRICS, LAYER, bindings
from deadband_monitor.tui.screens.base import RunScreen
from deadband_monitor.tui.view import View
from deadband_monitor.tui.widgets.boxes import Beside
from deadband_monitor.tui.widgets.canvas import Canvas
from deadband_monitor.tui.widgets.panels import KeyLine, StateLine, layer_items, note_marks
from deadband_monitor.tui.widgets.spreads import NAMES, Fine, Ridge

FEWEST_CHART_ROWS = 5
RIDGE_ROWS = 14
"""With its frame and its axis: enough for ten stretches of the run."""


class LayerScreen(RunScreen):
    """One layer."""

    where = LAYER
    BINDINGS = bindings(LAYER)

    def __init__(self) -> None:
        super().__init__()
        self.charts = [Canvas(classes="panel"), Canvas(classes="panel second")]
        self.ridge = Ridge(id="ridge", classes="panel")
        self.fine = Fine(id="fine", classes="panel")
        self.table = Canvas(id="readings-page", classes="panel")
        self._table_height = 0

    def compose(self) -> ComposeResult:
        """Charts and the spread of a tensor over the table of readings."""
        yield StateLine(id="tiny", classes="alone")
        yield StateLine(id="state")
        with Beside(id="layer-charts"):
            yield from self.charts
            yield self.fine
            yield self.ridge
        yield self.table
        yield KeyLine(id="keys")

    def paint(self, due: Due) -> None:
        """Draw the layer at hand."""
        view = self.deadband.view
        self.paint_frame(due)
        view.update(max(self.size.width - 30, 20))
        row = view.selected
        if row is None:
            self.table.show([[("no layer yet", "dim")]])
            return
        if view.pictures.measured(row) is None:
            return  # on its way from the hub
        shown = view.metric
        if due.trends:
            pair = (shown, companion(view, row, shown))
            for canvas, metric in zip(self.charts, pair, strict=True):
                paint_metric(canvas, view, row, metric)
            self.set_class(view.finely, "-finely")
            spread = self.deadband.vantage.spread
            self.ridge.paint(view, row, spread)
            if view.finely:
                self.fine.paint(view, spread)
        if not due.numbers:
            return
        layer = view.state.layers[row]
        place = view.order.index(row) + 1 if row in view.order else row + 1
        facts = [f"layer {place} of {len(view.state.layers)}", layer.kind]
        if layer.parameters:
            facts.append(f"{count(layer.parameters)} parameters")
        if layer.parameters and not layer.trainable:
            facts.append("not trained")
        if layer.unseen:
            facts.append(layer.unseen)
        self.table.entitle(" · ".join([view.label(layer), *facts]))
        items = layer_items(view, row, trends=True)
        if len(items) > self._most_rows:
            items.sort(key=lambda item: not sign(item.metric, item.value, item.severity).strip())
        rows = table(items, self.table.size.width, chosen=shown.name)
        self._make_room(len(rows))
        self.table.show(rows or [[("nothing measured here", "dim")]])

    def subject(self) -> Subject | None:
        """The tensor of the layer at hand that was chosen, or the first that it has."""
        view = self.deadband.view
        row = view.selected
        if row is None:
            return None
        layer = view.state.layers[row]
        spread, what = self.deadband.vantage.spread, view.tensor
        same = spread is not None and spread.subject[:2] == (layer.model, layer.name)
        if spread is not None and same and spread.kinds and what not in spread.kinds:
            what = spread.kinds[0]
        return layer.model, layer.name, what

    def rank(self) -> int:
        """The first rank of a flag that names the layer and that only other ranks show."""
        view = self.deadband.view
        if view.selected is None:
            return -1
        layer = view.state.layers[view.selected].name
        for flag in view.state.open_flags:
            elsewhere = flag.ranks and view.state.lead not in flag.ranks
            if elsewhere and layer in (flag.layer, *flag.followers):
                return flag.ranks[0]
        return -1

    def action_tensor(self) -> None:
        """The spread of the layer's next tensor."""
        spread = self.deadband.vantage.spread
        kinds = spread.kinds if spread is not None and spread.kinds else tuple(NAMES)
        shown = spread.subject[2] if spread is not None else kinds[-1]
        at = kinds.index(shown) + 1 if shown in kinds else 0
        self.deadband.view.tensor = kinds[at % len(kinds)]
        self.deadband.repaint()

    def action_finely(self) -> None:
        """A histogram in place of the charts, and back."""
        self.deadband.view.finely = not self.deadband.view.finely
        self.deadband.repaint()

    @property
    def _most_rows(self) -> int:
        """Readings that there is room for; with more of them, those out of band come first."""
        above = min(max(self.size.height // 3, FEWEST_CHART_ROWS), RIDGE_ROWS)
        return max(self.size.height - 2 - self.table.gutter.height - above, 3)

    def _make_room(self, rows: int) -> None:
        """The table takes the rows it needs, the charts what is left."""
        height = min(max(rows, 1), self._most_rows) + self.table.gutter.height
        if height != self._table_height:
            self._table_height = height
            self.table.styles.height = height


def companion(view: View, row: int, shown: Metric) -> Metric:
    """What the second chart shows: the first of the telling metrics that this layer has."""
    others = [LAYER_METRICS[LAYER_COLUMN[name]] for name in HEAT_METRICS if name != shown.name]
    seen = view.pictures.measured(row)
    if seen is not None:
        others.sort(key=lambda metric: not seen[LAYER_COLUMN[metric.name]])
    return others[0]


def paint_metric(canvas: Canvas, view: View, row: int, metric: Metric) -> None:
    """One metric of one layer as a chart, with the ends of its band."""
    width, height = canvas.size
    course = view.pictures.layer(row, LAYER_COLUMN[metric.name])
    span = view.axis
    canvas.entitle(f"{metric.title} {figure(float(view.now(metric)[row]))}")
    x = (np.arange(span.columns) + 0.5) / max(span.columns, 1)
    curve = Curve(
        x=x,
        low=course.low,
        mean=course.mean,
        high=course.high,
    )
    limits = [Limit(value=metric.low, label="low"), Limit(value=metric.high, label="high")]
    layer = view.state.layers[row]
    marks = [
        Mark(x=span.share(flag.onset_step), style="crit" if flag.severity == "critical" else "warn")
        for flag in view.state.open_flags
        if flag.layer == layer.name or layer.name in flag.followers or not flag.layer
    ][:1]
    marks = note_marks(view) + marks
    rows = chart(curve, width, height, limits=limits, marks=marks, scale=view.scale)
    if rows and not np.isfinite(curve.mean).any():
        rows[len(rows) // 2] = fit([("  not measured in this layer", "dim")], width)
    canvas.show(rows)

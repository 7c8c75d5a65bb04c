"""The dashboard: headline gauges, heat map, readings, charts, flags and diagnosis of one run."""

from __future__ import annotations

from textual.app import ComposeResult

from deadband_monitor.tui.draw.progress import progress
from deadband_monitor.tui.governor import Due
from deadband_monitor.tui.keys import DASHBOARD, bindings
from deadband_monitor.tui.screens.base import RunScreen
from deadband_monitor.tui.widgets.boxes import Beside, Box
from deadband_monitor.tui.widgets.canvas import Canvas
from deadband_monitor.tui.widgets.heat_map import HeatMap
from deadband_monitor.tui.widgets.panels import (
    Diagnosis,
    Flags,
    GradientChart,
    Headlines,
    KeyLine,
    LossChart,
    Readings,
    StateLine,
)


class DashboardScreen(RunScreen):
    """One run at a glance."""

    where = DASHBOARD
    BINDINGS = bindings(DASHBOARD)

    def __init__(self) -> None:
        super().__init__()
        self.head_line = StateLine(id="state")
        self.headlines = Headlines(id="headlines")
        self.heat = HeatMap(id="heat", classes="panel")
        self.readings = Readings(id="readings", classes="panel")
        self.loss = LossChart(id="loss", classes="panel")
        self.gradient = GradientChart(id="gradient", classes="panel")
        self.flags = Flags(id="flags", classes="panel")
        self.diagnosis = Diagnosis(id="diagnosis", classes="panel")
        self.progress = Canvas(id="progress")

    def compose(self) -> ComposeResult:
        """Top to bottom; the style sheet says what goes beside what at which size."""
        yield StateLine(id="tiny", classes="alone")
        yield self.head_line
        yield self.headlines
        with Beside(id="middle"):
            yield self.heat
            yield self.readings
        with Beside(id="charts"):
            yield self.loss
            yield self.gradient
        with Box(id="bottom"):
            yield self.flags
            yield self.diagnosis
        yield self.progress
        yield KeyLine(id="keys")

    def paint(self, due: Due) -> None:
        """Draw what has changed."""
        app, view = self.deadband, self.deadband.view
        self.paint_frame(due)
        if self.has_class("-tiny"):
            return
        player = app.player
        self.progress.display = player is not None
        self.set_class(app.feed.source.link == "lost", "-stale")
        self.flags.paint(view)
        self.diagnosis.paint(view, facts=due.trends)
        if not due.numbers:
            return
        view.update(self.heat.columns)
        self.headlines.paint(view)
        status = view.state.status
        trouble = app.feed.error or (status.error if status is not None else "")
        self.heat.paint(view, numbers=due.trends, trouble=trouble)
        if due.trends:
            if self.readings.display:
                self.readings.paint(view)
            self.loss.paint(view)
            self.gradient.paint(view)
        if player is not None:
            self.progress.show(
                [
                    progress(
                        player.position,
                        player.last_step,
                        list(view.live.flags.values()),
                        self.progress.size.width,
                        playing=player.playing,
                        speed=player.speed,
                    )
                ]
            )

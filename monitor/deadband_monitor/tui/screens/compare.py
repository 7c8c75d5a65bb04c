"""Two runs on the same axes: where they part, and in what."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
from textual.app import ComposeResult

from deadband_monitor.metrics import MODEL_METRICS
from deadband_monitor.source.base import Source
from deadband_monitor.tui.draw.compare import Pair, flag_words, pair_rows, title_row
from deadband_monitor.tui.draw.line import chart
from deadband_monitor.tui.draw.text import figure
from deadband_monitor.tui.feed import Feed
from deadband_monitor.tui.governor import EVERYTHING, Due
from deadband_monitor.tui.headlines import headlines
from deadband_monitor.tui.keys import COMPARE, bindings, key_line
from deadband_monitor.tui.screens.base import SizedScreen
from deadband_monitor.tui.view import View
from deadband_monitor.tui.widgets.boxes import Beside
from deadband_monitor.tui.widgets.canvas import Canvas
from deadband_monitor.tui.widgets.panels import KeyLine, critical_mark, curve_of
from deadband_monitor.tui.wishes import first_wish, wish

EVERY_S = 0.5
"""Between two pictures: people cannot read figures that change faster."""


class CompareScreen(SizedScreen):
    """Run A beside run B. Owns both sources, and closes them."""

    where = COMPARE
    BINDINGS = bindings(COMPARE)

    def __init__(self, sources: tuple[Source, Source], *, threaded: bool = True) -> None:
        super().__init__()
        self.sources = sources
        self.feeds = [Feed(source) for source in sources]
        self.views = [View() for _ in sources]
        self._threaded = threaded
        self.titles = [Canvas(classes="compare-title") for _ in sources]
        self.charts = [Canvas(classes="panel") for _ in sources]
        self.flags = [Canvas(classes="compare-flags") for _ in sources]
        self.table = Canvas(id="pairs", classes="panel")

    def compose(self) -> ComposeResult:
        """Titles, losses beside each other, readings of both."""
        yield from self.titles
        with Beside(id="compare-charts"):
            yield from self.charts
        with Beside(id="compare-flags"):
            yield from self.flags
        yield self.table
        yield KeyLine(id="keys")

    def on_mount(self) -> None:
        """Read both from now on."""
        for feed, view in zip(self.feeds, self.views, strict=True):
            feed.want(first_wish(view))
            if self._threaded:
                feed.start()
        self.set_interval(EVERY_S, lambda: self.paint(EVERYTHING))

    def on_unmount(self) -> None:
        """Let go of both."""
        for feed, source in zip(self.feeds, self.sources, strict=True):
            feed.stop()
            source.close()

    def paint(self, due: Due) -> None:
        """Draw both as they are now."""
        del due
        if not self.laid_out:
            return
        with ExitStack() as held:
            for feed in self.feeds:
                if not self._threaded:
                    feed.pump()
                if not held.enter_context(feed.look(EVERY_S / 10)):
                    return
            self._paint()
            for feed, view in zip(self.feeds, self.views, strict=True):
                feed.want(wish(view, COMPARE))
        keys = self.deadband.settings.keys
        self.query_one(KeyLine).paint(key_line(COMPARE, replay=False, changed=keys))

    def _paint(self) -> None:
        last = max(source.state.step for source in self.sources)
        curves = []
        for feed, view, canvas in zip(self.feeds, self.views, self.charts, strict=True):
            view.live, view.last_step = feed.source.state, last
            view.update(max(canvas.size.width - 10, 20))
            curves.append(curve_of(view, view.state.scalars.get("loss"), None))
        for at, (view, curve) in enumerate(zip(self.views, curves, strict=True)):
            state, letter = view.state, "AB"[at]
            name = state.info.hello.run if state.info else self.sources[at].name
            width = self.titles[at].size.width
            self.titles[at].show(
                [title_row(letter, name, state.verdict, state.step, state.causes, width)]
            )
            canvas = self.charts[at]
            canvas.entitle(f"{letter} loss {figure(state.last_scalar.get('loss', float('nan')))}")
            canvas.show(
                chart(
                    curve,
                    *canvas.size,
                    marks=critical_mark(view),
                    scale=self.views[0].scale,
                    beside=curves,
                )
            )
            self.flags[at].show([flag_words(state.open_flags, self.flags[at].size.width)])
        self.table.entitle("readings of the network, the newest of each")
        self.table.show(pair_rows(pairs(*self.views), *self.table.size))

    def action_scale(self) -> None:
        """Charts logarithmic, linear or as the values ask for."""
        self.notify(f"charts: {self.views[0].next_scale()}", timeout=2)
        self.paint(EVERYTHING)

    def action_swap(self) -> None:
        """A becomes B."""
        self.sources = (self.sources[1], self.sources[0])
        self.feeds.reverse()
        self.views.reverse()
        self.views[0].scale = self.views[1].scale
        self.paint(EVERYTHING)

    def action_back(self) -> None:
        """To the list of runs."""
        self.app.pop_screen()


def pairs(one: View, other: View) -> list[Pair]:
    """The readings that either run has: the headlines first, then the network's own."""
    found = [
        Pair(
            metric=a.metric,
            values=(a.value, b.value),
            severities=(a.severity, b.severity),
        )
        for a, b in zip(headlines(one), headlines(other), strict=True)
        if a.metric.name != "out_variance"
    ]
    for metric in MODEL_METRICS:
        values = (one.model_now(metric.name), other.model_now(metric.name))
        if any(np.isfinite(values)):
            found.append(
                Pair(
                    metric=metric,
                    values=values,
                    severities=(
                        one.severity(None, metric.name),
                        other.severity(None, metric.name),
                    ),
                )
            )
    return found

"""Flags one by one: the list, and the page of the flag at hand."""

from __future__ import annotations

import numpy as np
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from deadband.wire import Flag
from deadband_monitor.metrics import (
    LAYER_COLUMN,
    LAYER_METRICS,
    MODEL_COLUMN,
    MODEL_METRICS,
    Metric,
)
from deadband_monitor.tui.draw.coverage import coverage_rows
from deadband_monitor.tui.draw.flag_page import Exhibit, flag_page
from deadband_monitor.tui.draw.flags import LOOK, place
from deadband_monitor.tui.draw.scale import Values
from deadband_monitor.tui.draw.spark import squeeze
from deadband_monitor.tui.governor import Due
from deadband_monitor.tui.keys import FLAG, bindings
from deadband_monitor.tui.screens.base import RunScreen
from deadband_monitor.tui.view import View
from deadband_monitor.tui.widgets.canvas import Canvas
from deadband_monitor.tui.widgets.panels import FlagList, KeyLine, StateLine, flags_title

TREND_CELLS = 36


class FlagScreen(RunScreen):
    """Onset, evidence, cause and advice."""

    where = FLAG
    BINDINGS = bindings(FLAG)

    def __init__(self) -> None:
        super().__init__()
        self.list = FlagList(id="flag-list", classes="panel")
        self.page = Canvas(id="page")
        self.body = VerticalScroll(self.page, id="body", classes="panel", can_focus=False)

    def compose(self) -> ComposeResult:
        """The list over the page."""
        yield StateLine(id="tiny", classes="alone")
        yield StateLine(id="state")
        yield self.list
        yield self.body
        yield KeyLine(id="keys")

    def action_scroll_page(self, by: int) -> None:
        """A page down or up."""
        if by > 0:
            self.body.scroll_page_down(animate=False)
        else:
            self.body.scroll_page_up(animate=False)

    def paint(self, due: Due) -> None:
        """Draw the flag at hand."""
        view = self.deadband.view
        self.paint_frame(due)
        view.update(max(self.size.width - 30, 20))
        flags, flag = view.flags, view.flag
        standing = len(view.state.open_flags)
        self.list.entitle(flags_title(standing, len(flags) - standing))
        if flag is None:
            self.list.show([[("no flags so far", "dim")]])
            self.body.border_title = "no flag"
            page = coverage_rows(view.state.coverage, self.page.size.width)
            self.page.styles.height = len(page) + 1
            self.page.show([[(" nothing out of order", "text")], *page])
            return
        at = flags.index(flag)
        first = min(max(at - self.list.size.height // 2, 0), max(len(flags) - 1, 0))
        self.list.show_flags(view, flags[first:], flag.id)
        if not due.trends:
            return
        severity = LOOK[flag.severity][1]
        self.body.border_title = None
        self.body.border_title = self.deadband.ink.text(
            f"{severity} · {flag.kind} · {place(flag)}"
        ).replace("[", r"\[")
        page = flag_page(
            flag,
            exhibits(view, flag, min(self.page.size.width - 58, TREND_CELLS)),
            view.state.causes if flag.resolved_step is None else [],
            view.state.coverage,
            view.state.step,
            self.page.size.width,
        )
        self.page.styles.height = len(page)
        self.page.show(page)


def exhibits(view: View, flag: Flag, cells: int) -> list[Exhibit]:
    """The flag's evidence with its course over the run, where it is a statistic we keep."""
    row = next(
        (
            at
            for at, layer in enumerate(view.state.layers)
            if (layer.model, layer.name) == (flag.model, flag.layer)
        ),
        None,
    )
    found = []
    for name, value in flag.evidence.items():
        metric: Metric | None = None
        now, trend, onset = float("nan"), None, -1
        if row is not None and name in LAYER_COLUMN:
            metric = LAYER_METRICS[LAYER_COLUMN[name]]
            now, trend = float(view.now(metric)[row]), view.layer_trend(row, metric)
        elif name in MODEL_COLUMN:
            metric = MODEL_METRICS[MODEL_COLUMN[name]]
            now, trend = view.model_now(name), view.model_trend(name)
        if metric is not None and trend is not None and cells >= 8:
            trend, onset = _course(view, metric, trend, cells, flag.onset_step)
        found.append(
            Exhibit(name=name, at_call=value, now=now, metric=metric, trend=trend, onset=onset)
        )
    return found


def _course(view: View, metric: Metric, trend: Values, cells: int, step: int) -> tuple[Values, int]:
    """The trend in at most `cells` cells up to now, and the cell of the onset."""
    known = max(view.axis.column(view.state.step) + 1, 1)
    part = np.asarray(trend[:known], np.float64)
    short = squeeze(metric, part, part, cells)
    per_cell = max(1, -(-len(part) // cells))
    return short, view.axis.column(step) // per_cell

"""How one tensor of the layer at hand was spread: a ridge over the run, or one fine histogram."""

from __future__ import annotations

import numpy as np

from deadband.wire import Histogram, What
from deadband_monitor.source.on_demand import Spread
from deadband_monitor.statistics.outlines import LEVELS, shares
from deadband_monitor.tui.draw.histogram import bars
from deadband_monitor.tui.draw.ridge import range_of, ridge, share_of_a_block, stretches
from deadband_monitor.tui.draw.text import Row, count, fit
from deadband_monitor.tui.view import View
from deadband_monitor.tui.widgets.canvas import Canvas

NAMES = {
    What.ACTIVATION: "outputs",
    What.WEIGHT: "weights",
    What.WEIGHT_GRAD: "weight gradients",
    What.ACTIVATION_GRAD: "out gradients",
}
"""Tensors as the screen calls them."""


class Ridge(Canvas):
    """A row for each stretch of the run."""

    def paint(self, view: View, row: int, spread: Spread | None) -> None:
        """Draw it, or say why there is nothing to draw."""
        width, height = self.size
        name = NAMES.get(view.tensor, view.tensor.value)
        if spread is None:
            self._say(name, "not told by this source")
            return
        name = NAMES.get(spread.subject[2], name) + _whose(spread)
        last = view.state.step
        seen = spread.course.between(view.axis.first, last)
        span = range_of([outline for _, outline in seen], view.scale)
        if span is None:
            self._say(name, "none seen so far" if spread.kinds else "not followed in this run")
            return
        rows = stretches(seen, height - 1, view.axis.first, last)
        size = rows[0].last - rows[0].first + 1
        per_row = f"{count(size)} steps a row" if size > 1 else "a step a row"
        share = share_of_a_block(rows, span, width)
        name += ", by decades" if span.unit else ""
        self.entitle(f"{name} · {per_row} · █ {100 * share:.0f}%")
        self.show(ridge(rows, span, width, height, marks=marks_in(view, row)))

    def _say(self, name: str, words: str) -> None:
        self.entitle(name)
        self.show([[], fit([(f"  {words}", "dim")], self.size.width)])


class Fine(Canvas):
    """The newest samples of one tensor in as many bins as there are cells."""

    def paint(self, view: View, spread: Spread | None) -> None:
        """Draw it, or say why there is nothing to draw."""
        width, height = self.size
        name = NAMES.get(view.tensor if spread is None else spread.subject[2], "")
        found = spread.histogram if spread is not None else None
        if found is None:
            if spread is None or not self._paint_recorded(view, spread, name):
                self.entitle(f"{name}, finely")
                words = "only of a live run, from its next sample on"
                self.show([[], fit([(f"  {words}", "dim")], width)])
            return
        self.entitle(f"{name}{_whose(spread)}, finely · {_basis(found)}")
        counts = np.frombuffer(found.counts, "<u4").astype(np.float64)
        rows: list[Row] = bars(counts, found.low, found.high, width, height, scale=view.scale)
        self.show(rows)

    def _paint_recorded(self, view: View, spread: Spread, name: str) -> bool:
        """Of a recording the newest outline, which is what it holds; False where it holds none."""
        steps = [step for step in spread.course.steps if step <= view.state.step]
        if view.last_step is None or not steps:
            return False
        ((step, outline),) = spread.course.between(steps[-1], steps[-1])
        span = range_of([outline], "linear")
        if span is None:
            return False
        width, height = self.size
        part = shares(outline, span.edges(2 * width))
        self.entitle(
            f"{name}{_whose(spread)} · step {count(step)} · as recorded: {len(LEVELS)} levels, no"
            " histogram"
        )
        self.show(bars(part, span.low, span.high, width, height, scale=view.scale))
        return True


def marks_in(view: View, row: int) -> dict[int, tuple[str, str]]:
    """Step -> word and style of what is to be marked there: notes, and onsets in this layer."""
    marks = {note.step: ("note", "info") for note in view.state.notes}
    layer = view.state.layers[row]
    for flag in reversed(view.state.open_flags):
        if flag.layer in ("", layer.name) or layer.name in flag.followers:
            style = "crit" if flag.severity == "critical" else "warn"
            marks[flag.onset_step] = ("onset", style)
    return marks


def _whose(spread: Spread | None) -> str:
    return f" of rank {spread.rank}" if spread is not None and spread.rank >= 0 else ""


def _basis(found: Histogram) -> str:
    """What the picture rests on: of a large tensor only a slice is looked at."""
    values = found.values * found.samples
    of = f" of {count(found.source * found.samples)}" if found.source > found.values else ""
    steps = f"step {count(found.last_step)}"
    if found.samples > 1:
        steps = f"steps {count(found.first_step)}-{count(found.last_step)}"
    broken = f" · {count(found.broken)} not finite" if found.broken else ""
    return f"{steps} · {count(values)}{of} values{broken}"

"""The dashboard's panels: each holds no state of its own, draws from the view, on a canvas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from textual import events
from textual.app import ComposeResult
from textual.message import Message

from deadband.wire import Flag
from deadband_monitor.metrics import (
    LAYER_METRICS,
    MODEL_COLUMN,
    MODEL_METRICS,
)
from deadband_monitor.pace import short
from deadband_monitor.state.run_state import RunState
from deadband_monitor.state.series import Series
from deadband_monitor.tui.draw.flags import diagnosis_rows, flag_lines
from deadband_monitor.tui.draw.headline import FULL_NAMES, NOWHERE, card, gauge_line
from deadband_monitor.tui.draw.key_line import key_row
from deadband_monitor.tui.draw.line import Curve, Limit, Mark, chart
from deadband_monitor.tui.draw.readings import Item, table
from deadband_monitor.tui.draw.state_line import Head, one_line, state_line
from deadband_monitor.tui.draw.text import count, figure, fit
from deadband_monitor.tui.headlines import HEADLINES, headlines
from deadband_monitor.tui.keys import Key
from deadband_monitor.tui.view import View
from deadband_monitor.tui.widgets.boxes import Beside
from deadband_monitor.tui.widgets.canvas import Canvas
from deadband_monitor.unseen import not_seen

SHOWN_NOTES = 2
"""The newest; the report has all."""


class StateLine(Canvas):
    """The top line."""

    def paint(self, head: Head) -> None:
        """Draw it; the whole story in one line where the terminal is tiny."""
        if self.has_class("alone"):
            self.show([one_line(head, self.size.width), [("the dashboard needs 60x16", "dim")]])
        else:
            self.show([state_line(head, self.size.width)])


class Headlines(Beside):
    """The three gauges that the tool is for, always in sight."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._cards = [Canvas(classes="card panel") for _ in HEADLINES]
        self._lines = Canvas(id="headline-lines")

    def compose(self) -> ComposeResult:
        """Cards for a large screen, lines for a small one; the style sheet shows either."""
        yield from self._cards
        yield self._lines

    def paint(self, view: View) -> None:
        """Draw the three."""
        read = headlines(view)
        nowhere = NOWHERE if view.state.latest is not None else "no reading yet"
        width = self._lines.size.width
        if self._lines.display and width:
            self._lines.show(
                [
                    gauge_line(it.metric, it.value, it.worst, it.layer, it.severity, width, nowhere)
                    for it in read
                ]
            )
            return
        for canvas, it in zip(self._cards, read, strict=True):
            canvas.entitle(FULL_NAMES[it.metric.name])
            canvas.set_class(it.severity == "critical", "-crit")
            canvas.set_class(it.severity == "warning", "-warn")
            canvas.show(
                card(it.metric, it.value, it.worst, it.layer, it.severity, it.trend,
                     canvas.size.width, nowhere)
            )  # fmt: skip


class Readings(Canvas):
    """All readings of the layer at hand."""

    def paint(self, view: View) -> None:
        """Draw the table, the network's own readings where no layer is at hand."""
        row = view.selected
        if row is None:
            self.entitle("layer")
            self.show([[("no layer yet", "dim")]])
            return
        if view.pictures.measured(row) is None:
            return  # on its way from the hub
        layer = view.state.layers[row]
        how = "worst" if view.following else "at hand"
        self.entitle(f"{view.label(layer)} · {layer.kind} · {how}")
        width, height = self.size
        shown = table(layer_items(view, row), width, chosen=view.metric.name)
        network = table(network_items(view), width)
        if len(shown) + 3 <= height and network:
            shown += [[], [("network", "title")], *network]
        self.show(shown[:height])


class LossChart(Canvas):
    """Loss over the run, beside the loss of a constant prediction."""

    def paint(self, view: View) -> None:
        """Draw it."""
        series = view.state.scalars.get("loss")
        constant = view.model_now("loss_constant")
        limits = [Limit(value=constant, label="constant prediction")]
        value = view.state.last_scalar.get("loss", float("nan"))
        more = f" · best constant {figure(constant)}" if constant == constant else ""
        _paint_chart(self, view, "loss", value, series, None, limits, more)


class GradientChart(Canvas):
    """Norm of all weight gradients over the run."""

    def paint(self, view: View) -> None:
        """Draw it."""
        column = MODEL_COLUMN["grad_norm"]
        metric = MODEL_METRICS[column]
        limits = [Limit(value=metric.low, label="low"), Limit(value=metric.high, label="high")]
        value = view.model_now("grad_norm")
        _paint_chart(self, view, "gradient norm", value, view.state.model_series, column, limits)


def _paint_chart(
    canvas: Canvas,
    view: View,
    title: str,
    value: float,
    series: Series | None,
    column: int | None,
    limits: list[Limit],
    more: str = "",
) -> None:
    width, height = canvas.size
    framed = canvas.styles.border_top[0] not in ("", "none")
    canvas.entitle(f"{title} {figure(value)}{more}" if framed else "")
    gutter = 8 if framed else 17
    curve = curve_of(view, series, column)
    marks = note_marks(view) + critical_mark(view)
    rows = chart(curve, width, height, limits=limits, marks=marks, gutter=gutter, scale=view.scale)
    if not framed:
        title = title.removesuffix(" norm")
        for at, (text, style) in enumerate(((title, "dim"), (figure(value), "title"))):
            if at < len(rows):
                axis, _ = rows[at][0]
                rows[at] = [*fit([(f" {text}", style)], 9), (axis[9:], "dim"), *rows[at][1:]]
    canvas.show(rows)


def note_marks(view: View) -> list[Mark]:
    """Where people have written something down."""
    return [Mark(x=view.axis.share(note.step), style="info") for note in view.state.notes]


def critical_mark(view: View) -> list[Mark]:
    """The onset of the worst critical flag that is loud, for a chart on the view's axis."""
    return [
        Mark(x=view.axis.share(flag.onset_step), style="crit")
        for flag in view.state.open_flags
        if flag.severity == "critical" and view.loud(flag)
    ][:1]


def curve_of(view: View, series: Series | None, column: int | None) -> Curve:
    """A series on the view's axis: everything at the resolution it is kept in."""
    if series is None or (column is not None and not series.shape[0]):
        nothing = np.zeros(0)
        return Curve(x=nothing, low=nothing, mean=nothing, high=nothing)
    window = series.window(series.capacity, view.axis.first, view.axis.last)
    at = (window.steps + (window.width - 1) / 2 - view.axis.first + 0.5) / (
        view.axis.per_column * max(view.axis.columns, 1)
    )
    if column is None:
        return Curve(x=at, low=window.low, mean=window.mean, high=window.high)
    return Curve(
        x=at, low=window.low[:, 0, column], mean=window.mean[:, 0, column],
        high=window.high[:, 0, column],
    )  # fmt: skip


def layer_items(view: View, row: int, *, trends: bool = False) -> list[Item]:
    """The readings that a layer has."""
    items = []
    seen = view.pictures.measured(row)
    for column, metric in enumerate(LAYER_METRICS):
        value = float(view.now(metric)[row])
        if value != value and (seen is None or not seen[column]):
            continue
        items.append(
            Item(
                metric=metric,
                value=value,
                severity=view.severity(row, metric.name),
                trend=view.layer_trend(row, metric) if trends else None,
            )
        )
    return items


def network_items(view: View) -> list[Item]:
    """The readings of the network as a whole that no other panel shows."""
    items = []
    for metric in MODEL_METRICS:
        value = view.model_now(metric.name)
        if value == value and metric.name not in ("out_variance", "loss", "grad_norm"):
            items.append(
                Item(metric=metric, value=value, severity=view.severity(None, metric.name))
            )
    return items


class FlagList(Canvas):
    """Flags in rows; a click takes one at hand."""

    class Chosen(Message):
        """The row of a flag was clicked."""

        def __init__(self, flag: int) -> None:
            super().__init__()
            self.flag = flag
            """Its id."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._flags: list[int] = []

    def show_flags(self, view: View, flags: Sequence[Flag], chosen: int | None) -> None:
        """Draw these, those that are quiet without colour."""
        quiet = {flag.id for flag in view.state.open_flags if not view.loud(flag)}
        lines = flag_lines(flags, chosen, self.size.width, self.size.height, quiet=quiet)
        self._flags = [flag for flag, _ in lines]
        self.show([row for _, row in lines])

    def on_click(self, event: events.Click) -> None:
        """Say which flag lies under the pointer."""
        offset = event.get_content_offset(self)
        if offset is not None and offset.y < len(self._flags) and self._flags[offset.y]:
            self.post_message(self.Chosen(self._flags[offset.y]))


class Flags(FlagList):
    """Open flags and those that are over."""

    def paint(self, view: View) -> None:
        """Draw the list."""
        flags = view.flags
        standing = view.state.open_flags
        over = len(flags) - len(standing)
        self.entitle(flags_title(len(standing), over))
        worst = next((flag.severity for flag in standing if view.loud(flag)), "")
        self.set_class(worst == "critical", "-crit")
        self.set_class(worst == "warning", "-warn")
        self.show_flags(view, flags, view.flag_id)


def flags_title(standing: int, over: int) -> str:
    """How many flags there are; nothing where there are none, which the list says."""
    counted = [f"{standing} open"] * bool(standing or over) + [f"{over} past"] * bool(over)
    return " · ".join(["flags", *counted])


class Diagnosis(Canvas):
    """The likely cause and what to try."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._facts: list[str] = []

    def paint(self, view: View, *, facts: bool) -> None:
        """Draw it; `facts` says whether what is told of the run may change now, beside causes."""
        state = view.state
        if facts:
            self._facts = run_facts(state)
        failing = state.verdict == "failing"
        self.entitle("diagnosis")
        self.set_class(failing and bool(state.causes), "-crit")
        self.set_class(state.verdict == "warning" and bool(state.causes), "-warn")
        self.show(
            diagnosis_rows(
                state.causes,
                len(state.open_flags),
                self.size.width,
                self.size.height,
                judged=state.latest is not None,
                facts=self._facts,
                ended=state.status.error
                if state.status is not None and state.status.status == "failed"
                else "",
            )
        )


def run_facts(state: RunState) -> list[str]:
    """What is watched and at what cost, in a few lines."""
    facts = [f"note at step {count(note.step)}: {note.text}" for note in state.notes[-SHOWN_NOTES:]]
    if state.table is not None:
        for model in state.table.models:
            loss = f", {model.loss} loss" if model.loss else ""
            facts.append(f"{model.kind}, {count(model.parameters)} parameters{loss}")
        facts += [
            f"{group.optimizer}, learning rate {figure(group.lr)}"
            for group in state.table.optimizers[:2]
        ]
    if state.status is not None and state.latest is not None:
        status = state.status
        dropped = f", {count(status.dropped)} dropped" if status.dropped else ""
        facts.append(
            f"{count(len(state.layers))} layers, {count(state.samples)} samples{dropped},"
            f" {status.overhead:.1%} overhead"
        )
        if status.pace is not None and status.interval > 1:
            facts.append(f"sampled {short(status.pace, status.interval)}")
        if status.ranks:
            living = sum(rank.status == "running" for rank in status.ranks)
            facts.append(
                f"{len(status.ranks)} ranks, {living} running; rank {state.lead} is shown, all are"
                " judged"
            )
    for model in state.table.models if state.table is not None else ():
        facts += [f"not seen: {unseen.what}; {unseen.short}" for unseen in not_seen(model)]
    if state.coverage:
        armed = sum(cover.state == "armed" for cover in state.coverage)
        facts.append(f"{armed} of {len(state.coverage)} rules armed (f shows which, and why not)")
    return facts


class KeyLine(Canvas):
    """The bottom line; a click on a word does what its key does."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._keys: list[Key] = []

    def paint(self, keys: list[Key], *, replay: bool = False) -> None:
        """Draw as many as fit."""
        self._keys = keys
        words = [(key.shown, (replay and key.replay_label) or key.label) for key in keys]
        self.show([key_row(words, self.size.width)])

    async def on_click(self, event: events.Click) -> None:
        """Find the word under the pointer."""
        at = 0
        for text, _ in self.rows[0] if self.rows else []:
            at += len(text)
            if event.x < at:
                word = text.strip()
                for key in self._keys:
                    if word in (key.shown, key.label, key.replay_label) and not key.each:
                        await self.screen.run_action(key.action)
                        return
                return

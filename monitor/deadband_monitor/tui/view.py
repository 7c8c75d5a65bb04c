"""What is looked at: the run's state, frozen or not, and the choices of the person who looks.

Screens share one `View`, so the layer at hand stays at hand from screen to screen. It turns the
state into what panels draw: axes, columns, readings, severities. It holds no widgets and asks no
clock.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

import numpy as np

from deadband.wire import Flag, Layer, What
from deadband_monitor.metrics import (
    LAYER_COLUMN,
    LAYER_METRICS,
    MODEL_COLUMN,
    MODEL_METRICS,
    Metric,
)
from deadband_monitor.settings import Settings
from deadband_monitor.state.pictures import (
    OwnPictures,
    Pictures,
    view_axis,
)
from deadband_monitor.state.run_state import Reading, RunState
from deadband_monitor.state.sight import Sight
from deadband_monitor.state.timeline import MOST_ZOOM, Axis, axis_for
from deadband_monitor.tui.draw.heat import carry_over
from deadband_monitor.tui.draw.scale import Values, badness, ends, worst_of, worst_row
from deadband_monitor.tui.draw.text import count, duration

STICKINESS = 0.1
"""Without a flag, another layer must be worse by this share of the scale to be followed: layers
that are alike would take turns with every sample."""
LOOK_BACK = 3
"""A batch of a few rows, as the last of an epoch, says nothing of some metrics: of these the
reading before it is shown, and after so many samples a dash."""
RANK = {"critical": 3, "warning": 2, "info": 1, "": 0}
SCALES = ("auto", "log", "linear")
"""How charts are spaced; `auto` asks the values."""
LayerKey = tuple[str, str]
"""(model, name)"""
_NUMBER = re.compile(r"\d+")


class View:
    """One person's view of one run."""

    def __init__(self) -> None:
        self.live = RunState()
        """The state as of the last tick."""
        self.metric = LAYER_METRICS[LAYER_COLUMN["out_variance"]]
        self.zoom = 0
        self.worst_first = False
        self.folded = False
        """Blocks that repeat share a row of the map."""
        self.pattern = ""
        """Regular expression that names of layers must match; empty: all do."""
        self.scale = SCALES[0]
        self.tensor = What.ACTIVATION
        """Whose spread the page of a layer shows."""
        self.finely = False
        """That page shows a histogram as fine as can be had."""
        self.clocked = False
        """The axis of time says hours and minutes, not steps."""
        self.acknowledged: set[int] = set()
        """Ids of flags that were seen."""
        self.muted: set[str] = set()
        """Kinds of flags that this person does not want to hear of."""
        self.following = True
        self.flag_id: int | None = None
        self.frozen: RunState | None = None
        self.columns = 0
        """Columns of time that have room on the screen."""
        self._own = OwnPictures()
        self.pictures: Pictures = self._own
        """The run in columns of time."""
        self.last_step: int | None = None
        """Of a recording: where it ends, so that the axis does not move as it plays."""
        self._selected: LayerKey | None = None
        self._order: list[int] = []
        self._order_for: tuple[object, ...] = ()

    # --- the state ---------------------------------------------------------------------------

    @property
    def state(self) -> RunState:
        """What the pictures show."""
        return self.frozen or self.live

    def freeze(self) -> None:
        """Hold the picture, or let it go on."""
        self.frozen = None if self.frozen else copy.deepcopy(self.live)

    def update(self, columns: int) -> None:
        """Bring the columns of time up to the state, `columns` of them."""
        state = self.state
        self.columns = columns
        sight = self._sight()
        if sight is not None:
            self.pictures = sight
        else:
            last = (self.last_step or 0) if self.zoom == 0 else 0
            self._own.update(state, view_axis(state, columns, self.zoom, max(last, state.step)))
            self.pictures = self._own
        if self.following or self.selected is None:
            self._selected = self._worst_layer()

    def _sight(self) -> Sight | None:
        """What the hub has cut for us: of a frozen picture what it cut for that, if it has yet."""
        live = self.live.sight
        if self.frozen is None or not isinstance(live, Sight):
            return live if isinstance(live, Sight) else None
        held = self.frozen.sight
        fits = live.asked.upto == self.frozen.step and len(live.rows) == len(self.frozen.layers)
        return live if fits or not isinstance(held, Sight) else held

    @property
    def axis(self) -> Axis:
        """The steps that the pictures cover."""
        return self.pictures.axis

    def moment(self, step: int) -> str:
        """A step in words: its number, or the time since the first sample where it is known."""
        if not self.clocked:
            return count(max(step, 1))
        clock = self.state.clock
        window = clock.window(clock.capacity)
        known = np.isfinite(window.low)
        if not known.any() or step > clock.last_step:
            return ""
        seconds = np.interp(step, window.steps[known], window.low[known])
        return duration(float(seconds))

    # --- layers ------------------------------------------------------------------------------

    def label(self, layer: Layer) -> str:
        """The layer's name on screen; with several models, the model's before it."""
        table = self.state.table
        several = table is not None and len(table.models) > 1
        return f"{layer.model}.{layer.name}" if several else layer.name

    @property
    def selected(self) -> int | None:
        """Row of the layer at hand."""
        for row, layer in enumerate(self.state.layers):
            if (layer.model, layer.name) == self._selected:
                return row
        return None

    def select(self, row: int) -> None:
        """Take a layer at hand and stay with it."""
        layer = self.state.layers[row]
        self._selected, self.following = (layer.model, layer.name), False

    def select_next(self, by: int, *, on_map: bool) -> None:
        """Move along the layers: those of the map, or all of them."""
        order = self.on_map if on_map else self.order
        if not order:
            return
        at = order.index(self.selected) if self.selected in order else 0
        self.select(order[min(max(at + by, 0), len(order) - 1)])

    @property
    def order(self) -> list[int]:
        """Rows of the layer table as they are shown.

        Worst first is worked out when it is asked for and when flags change, not with every
        sample: rows must not move under the cursor.
        """
        state = self.state
        flags = tuple((flag.id, flag.severity) for flag in state.open_flags)
        key = (self.worst_first, self.metric.name, self.pattern, state.table, flags)
        if key != self._order_for:
            self._order_for = key
            wanted = re.compile(self.pattern)
            self._order = [
                row for row, layer in enumerate(state.layers) if wanted.search(self.label(layer))
            ]
            if self.worst_first and state.latest is not None:
                bad = badness(self.metric, self.now(self.metric))
                loud = self.severities()
                self._order.sort(key=lambda row: (-RANK[loud.get(row, "")], -bad[row]))
        return self._order

    @property
    def on_map(self) -> list[int]:
        """Rows that the map shows: layers without the metric would be gaps in the picture."""
        order = self.order
        low, high = self._ends(self.metric)
        if low.shape[1] != len(self.state.layers):
            return order
        measured = np.logical_or.reduce(np.isfinite(low) | np.isfinite(high), axis=0)
        return [row for row in order if measured[row]] or order

    @property
    def lanes(self) -> list[tuple[int, ...]]:
        """What the map gives a row each: layers, or blocks that differ in their numbers only."""
        order = self.on_map
        if not self.folded:
            return [(row,) for row in order]
        blocks: dict[str, list[int]] = {}
        for row in order:
            blocks.setdefault(self.block(row), []).append(row)
        return [tuple(rows) for rows in blocks.values()]

    def block(self, row: int) -> str:
        """The name of a layer without its numbers: alike for `blocks.0.fc` and `blocks.7.fc`."""
        return _NUMBER.sub("*", self.label(self.state.layers[row]))

    def _worst_layer(self) -> LayerKey | None:
        """Where the worst flag began, else the worst reading of the metric on show."""
        layers = self.state.layers
        for flag in self.state.open_flags:
            if flag.layer:
                return flag.model, flag.layer
        row = worst_row(self.metric, self.now(self.metric)) if layers else None
        if row is None:
            return (layers[0].model, layers[0].name) if layers else None
        held = self.selected
        if held is not None:
            bad = badness(self.metric, self.now(self.metric)[[held, row]])
            low, high = ends(self.metric)
            if bad[1] - bad[0] < STICKINESS * (high - low):
                row = held
        return layers[row].model, layers[row].name

    # --- readings ----------------------------------------------------------------------------

    def now(self, metric: Metric) -> Values:
        """The newest reading of every layer."""
        column = LAYER_COLUMN[metric.name]
        newest = self._newest([reading.layers[:, column] for reading in self._last()])
        return np.full(len(self.state.layers), np.nan) if newest is None else newest

    def model_now(self, name: str) -> float:
        """The newest reading of the network; of several models, the worst."""
        column = MODEL_COLUMN[name]
        values = self._newest([reading.models[:, column] for reading in self._last()])
        if values is None or not len(values):
            return float("nan")
        row = worst_row(MODEL_METRICS[column], values)
        return float("nan") if row is None else float(values[row])

    def _last(self) -> list[Reading]:
        """The newest samples, the newest first."""
        recent, sight = self.state.recent, self._sight()
        if self.frozen is not None and sight is not None and sight.frozen is not None:
            return [sight.frozen]
        return [recent[-back] for back in range(1, min(len(recent), LOOK_BACK) + 1)]

    def _newest(self, rows: Sequence[Values]) -> Values | None:
        """The newest of these in which anything was measured, else the newest."""
        known = (row for row in rows if not np.isnan(row).all())
        return next(known, rows[0] if rows else None)

    def map_values(self, metric: Metric) -> Values:
        """(columns, layers) for the heat map: the worse end of each column, small gaps closed."""
        return self.until_now(worst_of(metric, *self._ends(metric)))

    def _ends(self, metric: Metric) -> tuple[Values, Values]:
        course = self.pictures.layers(LAYER_COLUMN[metric.name])
        return course.low, course.high

    def layer_trend(self, row: int, metric: Metric) -> Values:
        """The columns of one layer's metric."""
        course = self.pictures.layer(row, LAYER_COLUMN[metric.name])
        return self.until_now(worst_of(metric, course.low, course.high))

    def model_trend(self, name: str) -> Values:
        """The columns of the first model's metric."""
        column = MODEL_COLUMN[name]
        course = self.pictures.model(column)
        return self.until_now(worst_of(MODEL_METRICS[column], course.low, course.high))

    def until_now(self, values: Values) -> Values:
        """Columns of a chart: small gaps closed, and nothing after the newest sample."""
        status = self.state.status
        interval = status.interval if status else 1
        known = self.axis.column(self.state.sampled_step) + 1
        filled = carry_over(values, 2 * -(-interval // max(self.axis.per_column, 1)))
        if 0 <= known < len(filled):
            filled = filled.copy()
            filled[known:] = np.nan
        return filled

    # --- flags -------------------------------------------------------------------------------

    @property
    def flags(self) -> list[Flag]:
        """Open flags, worst first, then those that are over, newest first."""
        state = self.state
        over = [flag for flag in state.flags.values() if flag.resolved_step is not None]
        return state.open_flags + sorted(over, key=lambda flag: -flag.onset_step)

    @property
    def flag(self) -> Flag | None:
        """The flag at hand."""
        flags = self.flags
        chosen = self.state.flags.get(self.flag_id) if self.flag_id is not None else None
        return chosen or (flags[0] if flags else None)

    def next_flag(self, by: int) -> Flag | None:
        """Take the next flag at hand."""
        flags = self.flags
        if not flags:
            return None
        ids = [flag.id for flag in flags]
        at = (ids.index(self.flag_id) + by) % len(ids) if self.flag_id in ids else 0
        self.flag_id = ids[at]
        return flags[at]

    def loud(self, flag: Flag) -> bool:
        """Whether a flag stands and was neither seen nor muted."""
        quiet = flag.id in self.acknowledged or flag.kind in self.muted
        return flag.resolved_step is None and not quiet

    def acknowledge(self) -> Flag | None:
        """Quieten the flag at hand, or let it be heard again."""
        flag = self.flag
        if flag is not None:
            self.acknowledged ^= {flag.id}
        return flag

    def mute(self) -> Flag | None:
        """Quieten all flags of the kind at hand, or let them be heard again."""
        flag = self.flag
        if flag is not None:
            self.muted ^= {flag.kind}
        return flag

    def severity(self, row: int | None, metric: str = "") -> str:
        """The worst loud flag on a layer (None: the network), or on one of its metrics."""
        return self.severities(metric).get(row, "")

    def severities(self, metric: str = "") -> dict[int | None, str]:
        """The same for all that loud flags touch: rows of the layer table, None the network."""
        touched: dict[int | None, str] = {}
        rows: dict[LayerKey, int] = {}
        for flag in self.state.flags.values():
            if (metric and metric not in flag.evidence) or not self.loud(flag):
                continue
            rows = rows or {(it.model, it.name): at for at, it in enumerate(self.state.layers)}
            found: list[int | None] = [] if flag.layer else [None]
            found += [
                rows[flag.model, name]
                for name in (flag.layer, *flag.followers)
                if (flag.model, name) in rows
            ]
            for row in found:
                if RANK[flag.severity] > RANK[touched.get(row, "")]:
                    touched[row] = flag.severity
        return touched

    # --- choices -----------------------------------------------------------------------------

    def zoom_by(self, steps: int) -> None:
        """Fewer (positive) or more steps a column."""
        self.zoom = min(max(self.zoom + steps, 0), MOST_ZOOM)
        while self.zoom > 0 and self.axis.columns and self._needless():
            self.zoom -= 1

    def _needless(self) -> bool:
        """Whether one zoom less would look the same."""
        last, columns, bucket = self.state.step, self.axis.columns, self.state.bucket
        closer = axis_for(last, columns, self.zoom, bucket)
        return closer == axis_for(last, columns, self.zoom - 1, bucket)

    def show_metric(self, name: str) -> None:
        """Put a metric on the heat map."""
        self.metric = LAYER_METRICS[LAYER_COLUMN[name]]

    def next_scale(self) -> str:
        """Space the charts in the next way; returns its name."""
        self.scale = SCALES[(SCALES.index(self.scale) + 1) % len(SCALES)]
        return self.scale

    def next_metric(self, by: int) -> None:
        """Put the next of all metrics on the heat map."""
        at = LAYER_COLUMN[self.metric.name]
        self.metric = LAYER_METRICS[(at + by) % len(LAYER_METRICS)]


def as_set(settings: Settings) -> View:
    """A view with the choices that a settings file makes."""
    view = View()
    if settings.metric in LAYER_COLUMN:
        view.show_metric(settings.metric)
    view.worst_first, view.folded = settings.sort == "worst", settings.fold
    return view

"""Every process of the run, alike ones folded."""

from __future__ import annotations

import numpy as np
from textual.app import ComposeResult

from deadband.wire import RankStatus
from deadband_monitor.metrics import MODEL_COLUMN, MODEL_METRICS
from deadband_monitor.state.rank_state import RankState, Reading
from deadband_monitor.state.run_state import RunState
from deadband_monitor.state.series import Series
from deadband_monitor.tui.draw.ranks import MANY, RankLine, folded, gathered, rank_rows
from deadband_monitor.tui.draw.scale import worst_of, worst_row
from deadband_monitor.tui.draw.spark import spark
from deadband_monitor.tui.governor import Due
from deadband_monitor.tui.keys import RANKS, bindings
from deadband_monitor.tui.screens.base import RunScreen
from deadband_monitor.tui.view import RANK, View
from deadband_monitor.tui.widgets.canvas import Canvas
from deadband_monitor.tui.widgets.panels import KeyLine, StateLine

TREND_CELLS = 12


class RanksScreen(RunScreen):
    """A row for each rank, or for each kind of rank."""

    where = RANKS
    BINDINGS = bindings(RANKS)

    def __init__(self) -> None:
        super().__init__()
        self.table = Canvas(id="ranks", classes="panel")

    def compose(self) -> ComposeResult:
        """State, table, keys."""
        yield StateLine(id="tiny", classes="alone")
        yield StateLine(id="state")
        yield self.table
        yield KeyLine(id="keys")

    def paint(self, due: Due) -> None:
        """Draw the table."""
        view = self.deadband.view
        self.paint_frame(due)
        if not due.numbers:
            return
        lines = rank_lines(view)
        many = len(lines) > MANY
        is_folded = view.folded != many  # of very many ranks the key unfolds
        shown = (gathered if many else folded)(lines) if is_folded else lines
        word = "1 rank" if len(lines) == 1 else f"{len(lines):,} ranks"
        self.table.entitle(f"{word} · alike ones folded" if is_folded else word)
        self.table.show(rank_rows(shown, self.table.size.width, self.table.size.height))


def rank_lines(view: View) -> list[RankLine]:
    """The ranks of the state that is shown; a run of one process is a run of one rank."""
    state = view.state
    status = state.status
    if status is None:
        return []
    ranks = status.ranks or [
        RankStatus(
            rank=state.lead,
            pid=state.info.hello.pid if state.info else 0,
            host=state.info.hello.host if state.info else "",
            status=status.status,
            step=status.step,
            samples=status.samples,
            dropped=status.dropped,
            overhead=status.overhead,
        )
    ]
    return [_line(view, rank) for rank in ranks]


def _line(view: View, rank: RankStatus) -> RankLine:
    state = view.state
    known = _known(state, rank.rank)
    flags = [
        flag
        for flag in state.open_flags
        if view.loud(flag) and (not flag.ranks or rank.rank in flag.ranks)
    ]
    return RankLine(
        ranks=(rank.rank,),
        host=rank.host,
        status=rank.status,
        step=rank.step,
        samples=rank.samples,
        dropped=rank.dropped,
        loss=known.last_scalar.get("loss", float("nan") if rank.loss is None else rank.loss),
        grad_norm=_reading(known.latest, "grad_norm"),
        out_variance=_reading(known.latest, "out_variance"),
        severity=max((flag.severity for flag in flags), key=RANK.__getitem__, default=""),
        kinds=tuple(flag.kind for flag in flags),
        error=rank.error,
        trend=_trend(known.model_series),
    )


def _known(state: RunState, rank: int) -> RunState | RankState:
    """What was heard of a rank; nothing, before its first sample."""
    return state if rank == state.lead else state.others.get(rank) or RankState(rank)


def _reading(latest: Reading | None, name: str) -> float:
    """The newest reading of a rank's models; of several, the worst."""
    if latest is None:
        return float("nan")
    column = MODEL_COLUMN[name]
    values = latest.models[:, column]
    row = worst_row(MODEL_METRICS[column], values)
    return float("nan") if row is None else float(values[row])


def _trend(series: Series) -> str:
    column = MODEL_COLUMN["out_variance"]
    metric = MODEL_METRICS[column]
    if not series.shape[0]:
        return ""
    window = series.window(TREND_CELLS)
    worst = worst_of(metric, window.low[:, 0, column], window.high[:, 0, column])
    return spark(metric, np.asarray(worst, np.float64))

"""Cuts what one viewer's screen shows out of the state of the run: the answer to `AskView`.

A viewer on a poor link gets columns of time and the newest readings, not samples. What it has is in
its question, so the hub remembers nothing of any viewer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from deadband.wire import (
    AskView,
    Diagnosis,
    Event,
    FlagChange,
    LayerTable,
    Note,
    RunInfo,
    Sample,
    Sight,
    Status,
)
from deadband_monitor.metrics import LAYER_COLUMN, LAYER_METRICS, MODEL_COLUMN, Metric
from deadband_monitor.state.figures import FINE, Floats, pack
from deadband_monitor.state.pictures import Envelope, OwnPictures, Pictures, view_axis
from deadband_monitor.state.rank_state import RankState, Reading
from deadband_monitor.state.run_state import RunState
from deadband_monitor.state.series import Series
from deadband_monitor.state.sight import CLOCK, Body, RankBody, Strip, squeeze, wish_of

LOOK_BACK = 3
"""A batch of a few rows, as the last of an epoch, says nothing of some metrics: of these the
reading before it is shown, and after so many samples none."""
RATE_SAMPLES = 20
"""The rate of steps is told over so many samples."""
MARKS = 8192
"""Samples of which it is known which columns they touched; who slept longer gets all columns."""


class Ledger:
    """What came when: the newest event of each kind, and what steps the samples touched."""

    def __init__(self) -> None:
        self._facts: dict[tuple[str, int], Event] = {}
        self._touched: deque[tuple[int, int]] = deque(maxlen=MARKS)
        self._kept: dict[tuple[object, ...], Sight] = {}
        self._recut = 0
        self._urgent = 0
        self._began = 0
        """Nothing is known of when what came up to this event."""

    @classmethod
    def taken_up(cls, state: RunState) -> Ledger:
        """One that begins with a state, of which nobody has noted how it came about."""
        ledger = cls()
        ledger._began = ledger._recut = ledger._urgent = state.seq
        ledger._facts = {_slot(event): event for event in _told(state)}
        return ledger

    def note(self, event: Event, state: RunState) -> None:
        """Take down an event that `state` has just folded in."""
        if isinstance(event, Sample):
            if event.rank == state.lead:
                told = (np.frombuffer(it.steps, np.int64) for it in event.scalars.values())
                lowest = min((int(steps.min()) for steps in told if len(steps)), default=event.step)
                self._touched.append((event.seq, min(lowest, event.step)))
            return
        key = _slot(event)
        said = self._facts.get(key)
        if not isinstance(event, Status) or not isinstance(said, Status) or (
            (said.status, said.error) != (event.status, event.error)
        ):  # fmt: skip
            self._urgent = event.seq
        if isinstance(event, RunInfo | LayerTable):
            self._recut = event.seq
        self._facts[key] = event

    def drawn(self, key: tuple[object, ...], seq: int) -> Sight | None:
        """The same picture as cut for another viewer at this event: many look at one flag."""
        kept = self._kept.get(key)
        return kept if kept is not None and kept.seq == seq else None

    def keep(self, key: tuple[object, ...], sight: Sight) -> Sight:
        """Remember a picture until the next event."""
        if any(other.seq != sight.seq for other in self._kept.values()):
            self._kept.clear()
        self._kept[key] = sight
        return sight

    def facts(self, since: int) -> list[Event]:
        """What stands now and came after event `since`, in order."""
        if since < self._began:
            return self._all_facts(since)
        return sorted(
            (event for event in self._facts.values() if event.seq > since),
            key=lambda event: event.seq,
        )

    def _all_facts(self, since: int) -> list[Event]:
        """Everything, numbered as if it came now: a viewer passes over what it takes for old."""
        notes = [it for it in self._facts.values() if not isinstance(it, Note) or it.seq > since]
        facts = sorted(notes, key=lambda event: event.seq)
        return [replace(event, seq=since + at) for at, event in enumerate(facts, 1)]

    def urgent(self, since: int) -> bool:
        """Whether anything but a sample, or a status that says the same, came after `since`."""
        return self._urgent > since

    def touched(self, since: int) -> int:
        """The lowest step whose readings may have changed after event `since`."""
        if (
            since <= 0
            or since < self._recut
            or (len(self._touched) == MARKS and since < self._touched[0][0] - 1)
        ):
            return 0
        lowest: int | None = None
        for seq, step in reversed(self._touched):
            if seq <= since:
                break
            lowest = step if lowest is None else min(lowest, step)
        return lowest if lowest is not None else 1 << 62


def unknown(ask: AskView) -> str:
    """A metric of the question that we do not keep; empty where all is well."""
    layer = (*ask.metrics, *ask.readings, *(name for pair in ask.trends for name in pair))
    strange = [name for name in layer if name not in LAYER_COLUMN]
    strange += [name for name in ask.model_metrics if name not in MODEL_COLUMN]
    return strange[0] if strange else ""


def cut(state: RunState, ledger: Ledger, ask: AskView) -> Sight:
    """The answer to a question: what has changed of what is asked for, as it stands now."""
    axis = view_axis(state, max(ask.columns, 1), ask.zoom, end_of(state, ask))
    since = ask.columns_since if ask.axis == (axis.first, axis.per_column, axis.columns) else 0
    lowest = ledger.touched(since)
    start = min(max(axis.column(lowest), 0), axis.columns) if lowest else 0
    facts, touched = ledger.facts(ask.since), ledger.touched(ask.series_since)
    drawn = drawn_scalars(state, ask)
    key = (
        wish_of(ask), ask.at_once, axis, start, tuple(fact.seq for fact in facts),
        *(touched // each.width for each in (state.model_series, *drawn.values())),
    )  # fmt: skip
    known = ledger.drawn(key, state.seq)
    if known is not None:
        return known
    pictures = OwnPictures(since=lowest or None)
    pictures.update(state, axis)
    whole = pictures
    if ask.at_once and lowest:
        whole = OwnPictures()
        whole.update(state, axis)
    body = draw(
        state, ask, pictures, start=start, facts=facts, touched=touched, seen=whole.measured
    )
    return ledger.keep(key, Sight(seq=state.seq, body=squeeze(body)))


def draw(
    state: RunState,
    ask: AskView,
    pictures: Pictures,
    *,
    start: int,
    facts: list[Event],
    touched: int,
    seen: Callable[[int], NDArray[np.bool_] | None],
    wholly: bool = False,
) -> Body:
    """The answer to a question, of pictures that are cut.

    Args:
        state: the run, but for the history of its layers.
        ask: the question.
        pictures: that history, from column `start` on.
        start: the viewer has the columns before this one.
        facts: the events that it lacks.
        touched: the lowest step at which its model metrics and scalars may have changed.
        seen: of a layer, which metrics it has.
        wholly: both ends of a column and its mean, not only what a map shows.
    """
    axis = pictures.axis
    row = row_of(state, ask)
    course = pictures.row(row) if row is not None and ask.course else None
    metrics = [LAYER_METRICS[LAYER_COLUMN[it]] for it in ask.metrics]
    last = _last(state, ask.upto)
    measured = seen(row) if row is not None else None
    return Body(
        samples=state.samples,
        began=state.began,
        lead=state.lead,
        facts=facts,
        bucket=state.bucket,
        sampled_step=state.sampled_step,
        axis=(axis.first, axis.per_column, axis.columns),
        first_column=start,
        metrics={
            it.name: _ends(it, pictures.layers(LAYER_COLUMN[it.name]), start, wholly=wholly)
            for it in metrics
        },
        trends={
            name: pack(
                np.asarray(pictures.network(LAYER_COLUMN[name], LAYER_COLUMN[other]), np.float32)[
                    start:
                ]
            )
            for name, other in ask.trends
        },
        model_metrics={
            it: _strip(pictures.model(MODEL_COLUMN[it]), start)
            for it in ask.model_metrics
        },
        measured=measured.tobytes() if measured is not None else b"",
        course=_strip(course, start) if course is not None else None,
        step=last[0].step if last else 0,
        time=last[0].time if last else 0.0,
        before=_before(state),
        readings=pack(_newest(last, [LAYER_COLUMN[it] for it in ask.readings]), FINE)
        if last
        else b"",
        layer=pack(_layer(last, row), FINE) if last and row is not None else b"",
        models=pack(_newest_models(last), FINE) if last else b"",
        model_series=state.model_series.part(
            touched, [MODEL_COLUMN[it] for it in ask.model_metrics]
        ),
        scalars={name: series.part(touched) for name, series in drawn_scalars(state, ask).items()},
        last_scalar={k: v for k, v in state.last_scalar.items() if k in ask.scalars},
        ranks=[_rank(each, ask) for _, each in sorted(state.others.items())] if ask.ranks else [],
    )  # fmt: skip


def row_of(state: RunState, ask: AskView) -> int | None:
    """The row of the asked layer."""
    return next(
        (at for at, each in enumerate(state.layers) if (each.model, each.name) == ask.layer), None
    )


def drawn_scalars(state: RunState, ask: AskView) -> dict[str, Series]:
    """The scalars that are asked for, the clock among them."""
    known = (*state.scalars.items(), (CLOCK, state.clock))
    return {name: series for name, series in known if name in ask.scalars}


def end_of(state: RunState, ask: AskView) -> int | None:
    """The last step of the axis, where it is not the newest."""
    if ask.upto is None and ask.zoom == 0 and ask.run_ends > state.step:
        return ask.run_ends
    return ask.upto


def _told(state: RunState) -> list[Event]:
    """Events that tell what a state knows, beside its samples."""
    step, found = state.step, list[Event]()
    if state.info is not None:
        found.append(state.info)
    tables = [state.table, *(each.table for each in state.others.values())]
    found += [table for table in tables if table is not None]
    found += [FlagChange(seq=0, step=it.raised_step, flag=it) for it in state.flags.values()]
    if state.coverage or state.causes or state.verdict != "healthy":
        said = (state.verdict, state.causes, state.coverage)
        found.append(Diagnosis(seq=0, step=step, verdict=said[0], causes=said[1], coverage=said[2]))
    found += [state.status] if state.status is not None else []
    return [*(replace(event, seq=0) for event in found), *state.notes]


def _slot(event: Event) -> tuple[str, int]:
    if isinstance(event, FlagChange):
        return "flag", event.flag.id
    if isinstance(event, Note):
        return "note", event.seq
    if isinstance(event, LayerTable):
        return "layers", event.rank
    if isinstance(event, Diagnosis):
        return "diagnosis", 0
    return ("status", 0) if isinstance(event, Status) else ("run", 0)


def _last(state: RunState, upto: int | None) -> list[Reading]:
    """The newest samples, the newest first; of a frozen picture the newest then."""
    known = (it for it in reversed(state.recent) if upto is None or it.step <= upto)
    return list(islice(known, LOOK_BACK))


def _before(state: RunState) -> tuple[int, float] | None:
    if len(state.recent) < 2:
        return None
    older = state.recent[max(len(state.recent) - RATE_SAMPLES, 0)]
    return older.step, older.time


def _newest(last: list[Reading], columns: list[int]) -> Floats:
    """(metrics, layers): of each metric the newest reading in which any layer had it."""
    found = last[0].layers[:, columns].T.copy()
    for at, column in enumerate(columns):
        for reading in last:
            if not np.isnan(reading.layers[:, column]).all():
                found[at] = reading.layers[:, column]
                break
    return found


def _layer(last: list[Reading], row: int) -> Floats:
    return _newest(last, list(range(len(LAYER_METRICS))))[:, row]


def _newest_models(last: list[Reading]) -> Floats:
    found = last[0].models.T.copy()
    for at in range(len(found)):
        for reading in last:
            if not np.isnan(reading.models[:, at]).all():
                found[at] = reading.models[:, at]
                break
    return found


def _ends(metric: Metric, course: Envelope, start: int, *, wholly: bool) -> Strip:
    """The end of each column that a map shows: the worse one."""
    if wholly:
        return _strip(course, start)
    low = b"" if metric.worst == "high" else _packed(course.low, start)
    high = b"" if metric.worst == "low" else _packed(course.high, start)
    return Strip(low=low, mean=b"", high=high)


def _strip(course: Envelope, start: int) -> Strip:
    return Strip(
        low=_packed(course.low, start),
        mean=_packed(course.mean, start),
        high=_packed(course.high, start),
    )


def _packed(values: Floats, start: int) -> bytes:
    return pack(np.moveaxis(values[start:], 0, -1))


def _rank(rank: RankState, ask: AskView) -> RankBody:
    latest = rank.latest
    return RankBody(
        rank=rank.rank,
        models=rank.model_series.shape[0],
        samples=rank.samples,
        step=latest.step if latest else 0,
        time=latest.time if latest else 0.0,
        latest=pack(latest.models, FINE) if latest else b"",
        loss=rank.last_scalar.get("loss", float("nan")),
        series=rank.model_series.part(0, [MODEL_COLUMN[it] for it in ask.model_metrics]),
    )

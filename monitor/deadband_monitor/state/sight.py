"""What a hub has cut for one viewer's screen, as the viewer holds it: `Sight`, fed by `Body`s.

A body says how what has changed stands now, never by how much: one that comes twice or not at all
leaves nothing out and counts nothing double.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from deadband.wire import AskView, Event
from deadband_monitor.metrics import LAYER_COLUMN, LAYER_METRICS, MODEL_COLUMN, MODEL_METRICS
from deadband_monitor.state.figures import FINE, Floats, unpack
from deadband_monitor.state.pictures import Envelope, Values
from deadband_monitor.state.rank_state import RankState, Reading
from deadband_monitor.state.run_state import SCALAR_CAPACITY, RunState
from deadband_monitor.state.series import Series, SeriesPart
from deadband_monitor.state.timeline import Axis

CLOCK = "clock"
"""The name under which the time of each step is asked for."""


class Strip(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A course from column `Body.first_column` on; empty bytes for an end that nobody looks at."""

    low: bytes
    mean: bytes
    high: bytes


class RankBody(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What the page of ranks shows of another rank."""

    rank: int
    models: int
    samples: int
    step: int
    time: float
    latest: bytes
    """All metrics of its models in its newest sample; empty before it."""
    loss: float
    series: SeriesPart
    """The asked model metrics."""


class Body(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What `wire.Sight.body` holds, squeezed."""

    samples: int
    began: float
    lead: int
    facts: list[Event]
    """The newest of each kind, and of each flag, that came after `AskView.since`: exact."""
    bucket: int
    sampled_step: int
    axis: tuple[int, int, int]
    first_column: int
    """The viewer has the columns before it."""
    metrics: dict[str, Strip]
    """Layer metric -> (layers, columns)."""
    trends: dict[str, bytes]
    """Layer metric -> its mean over the network."""
    model_metrics: dict[str, Strip]
    measured: bytes
    """Of each metric whether the asked layer has it in these columns; in all where `at_once`."""
    course: Strip | None
    """(metrics, columns) of the asked layer."""
    step: int
    time: float
    """Of the newest sample."""
    before: tuple[int, float] | None
    """Step and time of an older sample, to tell the rate by."""
    readings: bytes
    """(readings, layers) of the newest sample in which each was measured."""
    layer: bytes
    """All metrics of the asked layer; empty where there is none."""
    models: bytes
    """(metrics, models)."""
    model_series: SeriesPart
    scalars: dict[str, SeriesPart]
    last_scalar: dict[str, float]
    ranks: list[RankBody] = []


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Body).decode


def squeeze(body: Body, level: int = 6) -> bytes:
    """A body as bytes."""
    return zlib.compress(_encode(body), level)


def expand(data: bytes) -> Body:
    """A body again.

    Raises:
        ValueError: it is something else.
    """
    try:
        return _decode(zlib.decompress(data))
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ValueError(f"not a sight: {error}") from error


def wish_of(asked: AskView) -> AskView:
    """The question without what the viewer had already: what its screen shows."""
    return msgspec.structs.replace(
        asked, since=0, axis=(0, 0, 0), columns_since=0, series_since=0, at_once=False,
        patience_s=0.0,
    )  # fmt: skip


@dataclass
class Sight:
    """The columns that the hub has cut. `Pictures` for a view, as far as they were asked for."""

    axis: Axis
    bucket: int
    sampled_step: int
    asked: AskView
    """The question that it answers."""
    rows: dict[tuple[str, str], int]
    """Of each layer its row."""
    courses: dict[int, Envelope]
    trends: dict[int, Values]
    model_courses: dict[int, Envelope]
    seen: NDArray[np.bool_] | None
    course: Envelope | None
    frozen: Reading | None = None
    """The newest readings up to `AskView.upto`, where that was asked for."""

    @classmethod
    def nothing(cls) -> Sight:
        """Before the first answer."""
        return cls(
            axis=Axis(0, 1, 0), bucket=1, sampled_step=-1, asked=AskView(version=0), rows={},
            courses={}, trends={}, model_courses={}, seen=None, course=None,
        )  # fmt: skip

    def layers(self, metric: int) -> Envelope:
        """A metric of every layer; unknown where it was not asked for."""
        return self.courses.get(metric) or Envelope.unknown(self.axis.columns, len(self.rows))

    def layer(self, row: int, metric: int) -> Envelope:
        """A metric of one layer; unknown unless it is the asked one."""
        if self.course is not None and row == self._row:
            at = self.course
            return Envelope(at.low[:, metric], at.mean[:, metric], at.high[:, metric])
        return Envelope.unknown(self.axis.columns)

    def row(self, row: int) -> Envelope:
        """All metrics of one layer; unknown unless it is the asked one."""
        if self.course is not None and row == self._row:
            return self.course
        return Envelope.unknown(self.axis.columns, len(LAYER_METRICS))

    def measured(self, row: int) -> NDArray[np.bool_] | None:
        """Of each metric whether the layer has it; None unless it is the asked one."""
        return self.seen if row == self._row else None

    def network(self, metric: int, stands_in: int) -> Values:
        """The mean over the network."""
        del stands_in  # it was in the question
        return self.trends.get(metric, np.full(self.axis.columns, np.nan))

    def model(self, metric: int) -> Envelope:
        """A metric of the first model."""
        return self.model_courses.get(metric) or Envelope.unknown(self.axis.columns)

    @property
    def _row(self) -> int | None:
        return self.rows.get(self.asked.layer) if self.asked.layer is not None else None

    # --- folding ---

    def take(self, asked: AskView, body: Body, state: RunState) -> None:
        """Lay an answer over what is known."""
        axis = Axis(*body.axis)
        fresh = body.first_column == 0 or axis != self.axis
        if fresh:
            self.courses, self.trends, self.model_courses, self.course = {}, {}, {}, None
        self.axis, self.asked = axis, asked
        self.bucket, self.sampled_step = body.bucket, body.sampled_step
        self.rows = {(each.model, each.name): row for row, each in enumerate(state.layers)}
        first, columns = body.first_column, axis.columns - body.first_column
        self.courses = {
            LAYER_COLUMN[name]: _laid(
                self.courses.get(LAYER_COLUMN[name]), strip, first, columns, (len(self.rows),)
            )
            for name, strip in body.metrics.items()
            if name in LAYER_COLUMN
        }
        self.model_courses = {
            MODEL_COLUMN[name]: _laid(
                self.model_courses.get(MODEL_COLUMN[name]), strip, first, columns, ()
            )
            for name, strip in body.model_metrics.items()
            if name in MODEL_COLUMN
        }
        self.trends = {
            LAYER_COLUMN[name]: _over(
                self.trends.get(LAYER_COLUMN[name]), unpack(data, (columns,)), first
            )
            for name, data in body.trends.items()
            if name in LAYER_COLUMN
        }
        seen = np.frombuffer(body.measured, np.bool_) if body.measured else None
        held = None if asked.at_once or fresh else self.seen
        self.seen = seen if held is None or seen is None else seen | held
        self.course = (
            _laid(self.course, body.course, first, columns, (len(LAYER_METRICS),))
            if body.course is not None
            else None
        )


def take(state: RunState, asked: AskView, seq: int, body: Body) -> None:
    """Bring a viewer's state up to event `seq` with the answer to its question.

    Raises:
        ValueError: the body does not fit the question.
    """
    assert isinstance(state.sight, Sight), "the state of a viewer of sights"
    for event in body.facts:
        state.apply(event)
    state.seq, state.samples, state.began = seq, body.samples, body.began
    state.sight.take(asked, body, state)
    state.sight.frozen = None
    if body.time:
        reading = _reading(state, state.sight, asked, body)
        if asked.upto is not None:
            state.sight.frozen = reading
        else:
            _add_reading(state, reading, body.before)
    _take_series(state, asked, body)
    state.last_scalar.update(body.last_scalar)
    for rank in body.ranks:
        state.others[rank.rank] = _rank(rank, asked)


def _reading(state: RunState, sight: Sight, asked: AskView, body: Body) -> Reading:
    layers = np.full((len(state.layers), len(LAYER_METRICS)), np.nan, np.float32)
    columns = [LAYER_COLUMN[name] for name in asked.readings]
    layers[:, columns] = unpack(body.readings, (len(columns), len(layers)), FINE).T
    row = sight.rows.get(asked.layer) if asked.layer is not None else None
    if row is not None and body.layer:
        layers[row] = unpack(body.layer, (len(LAYER_METRICS),), FINE)
    models = state.model_series.shape[0]
    return Reading(
        step=body.step,
        time=body.time,
        layers=layers,
        models=unpack(body.models, (len(MODEL_METRICS), models), FINE).T,
    )


def _add_reading(state: RunState, reading: Reading, before: tuple[int, float] | None) -> None:
    if not state.recent and before is not None:
        nothing = np.full_like(reading.layers, np.nan), np.full_like(reading.models, np.nan)
        step, time = before
        state.recent.append(Reading(step=step, time=time, layers=nothing[0], models=nothing[1]))
    if state.recent and state.recent[-1].step >= reading.step:
        state.recent.pop()  # the same sample, seen by another question
    state.recent.append(reading)


def _take_series(state: RunState, asked: AskView, body: Body) -> None:
    state.model_series.lay_over(body.model_series, [MODEL_COLUMN[it] for it in asked.model_metrics])
    for name, part in body.scalars.items():
        if name == CLOCK:
            state.clock.lay_over(part)
        else:
            state.scalars.setdefault(name, Series((), SCALAR_CAPACITY)).lay_over(part)


def _rank(body: RankBody, asked: AskView) -> RankState:
    state = RankState(body.rank)
    state.samples, state.last_scalar = body.samples, {"loss": body.loss}
    shape = (body.models, len(MODEL_METRICS))
    state.model_series = Series(shape, state.model_series.capacity)
    state.model_series.lay_over(body.series, [MODEL_COLUMN[it] for it in asked.model_metrics])
    if body.latest:
        state.latest = Reading(
            step=body.step,
            time=body.time,
            layers=np.zeros((0, len(LAYER_METRICS)), np.float32),
            models=unpack(body.latest, shape, FINE),
        )
    return state


def _laid(
    held: Envelope | None, strip: Strip, first: int, columns: int, shape: tuple[int, ...]
) -> Envelope:
    parts = [
        np.moveaxis(unpack(data, (*shape, columns)), -1, 0)
        if data
        else np.full((columns, *shape), np.nan, np.float32)
        for data in (strip.low, strip.mean, strip.high)
    ]
    if held is None:
        held = Envelope.unknown(first + columns, *shape)
    return Envelope(
        _over(held.low, parts[0], first),
        _over(held.mean, parts[1], first),
        _over(held.high, parts[2], first),
    )


def _over(held: Values | None, part: Floats, first: int) -> Floats:
    if held is None:
        held = np.full((first + len(part), *part.shape[1:]), np.nan, np.float32)
    return np.concatenate([held[:first], part]).astype(np.float32)

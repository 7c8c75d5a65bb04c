"""The whole of a run as a viewer knows it, folded from events: `RunState.apply(event)`.

Hub, replay and screens share this one reducer, so a late joiner, a recording and a viewer that was
there from the start show the same picture. No sockets, clocks or files.
"""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec
import numpy as np

from deadband.wire import (
    Cause,
    Coverage,
    Diagnosis,
    Event,
    Flag,
    FlagChange,
    Layer,
    LayerTable,
    Note,
    RunInfo,
    Sample,
    Status,
)
from deadband_monitor.metrics import LAYER_METRICS, MODEL_METRICS
from deadband_monitor.state.rank_state import (
    PackedRank,
    PackedReading,
    RankState,
    Reading,
    reading_of,
)
from deadband_monitor.state.series import Floats, PackedSeries, Series

__all__ = [
    "ENDED",
    "GIST_LAYOUT",
    "RECENT_SAMPLES",
    "SCALAR_CAPACITY",
    "STATE_LAYOUT",
    "Elsewhere",
    "PackedState",
    "Reading",
    "RunState",
    "unpacked",
]

ENDED = ("finished", "failed", "killed", "lost")
"""Words of `Status.status` after which nothing comes."""
RECENT_SAMPLES = 256
SCALAR_CAPACITY = 1024
STATE_LAYOUT = 3
"""Version of what `RunState.pack` gives: a recording's snapshots of another one are ignored."""
GIST_LAYOUT = 100 + STATE_LAYOUT
"""The same without anything of layers: small, and soon read."""


class SightLike(Protocol):
    """What stands in for the history of layers; see `sight.Sight`."""

    bucket: int
    sampled_step: int


@dataclass
class Elsewhere:
    """The history of layers is in the recording, not in the state."""

    bucket: int = 1
    sampled_step: int = -1


class RunState:
    """What is known of a run after event `seq`.

    Rows of `series` and of readings follow `layers`; columns follow `LAYER_METRICS` (a recording
    made by another version may hold more or fewer: missing ones are NaN).
    """

    def __init__(self, capacity: int = 512, sight: SightLike | None = None) -> None:
        self.capacity = capacity
        self.sight = sight
        """What stands for the history of layers, which is then there and not here."""
        self._layer_capacity = 2 if sight is not None else capacity
        self.seq = 0
        self.info: RunInfo | None = None
        self.table: LayerTable | None = None
        self.layers: tuple[Layer, ...] = ()
        self.series = Series((0, len(LAYER_METRICS)), self._layer_capacity)
        self.model_series = Series((0, len(MODEL_METRICS)), capacity)
        self.scalars: dict[str, Series] = {}
        """`loss` and learning rates at every step, users' scalars."""
        self.last_scalar: dict[str, float] = {}
        self.recent: deque[Reading] = deque(maxlen=RECENT_SAMPLES)
        self.flags: dict[int, Flag] = {}
        self.verdict = "healthy"
        self.causes: list[Cause] = []
        self.coverage: list[Coverage] = []
        """What the verdict rests on, one a rule."""
        self.notes: list[Note] = []
        """What people have written down, in the order that they did."""
        self.status: Status | None = None
        self.samples = 0
        self.began = 0.0
        """When the first sample was taken, seconds since the epoch; 0 before it."""
        self.clock = Series((), SCALAR_CAPACITY)
        """Seconds since then at each sampled step."""
        self.lead = 0
        """The rank that stands for the run: all above is of it."""
        self.others: dict[int, RankState] = {}
        """The other ranks of the run."""

    @property
    def latest(self) -> Reading | None:
        """The newest sample."""
        return self.recent[-1] if self.recent else None

    @property
    def step(self) -> int:
        """The newest step that anything is known of."""
        status = self.status.step if self.status else 0
        return max(self.sampled_step, status, 0)

    @property
    def sampled_step(self) -> int:
        """The newest step that layers were measured at; -1 before the first."""
        return self.series.last_step if self.sight is None else self.sight.sampled_step

    @property
    def bucket(self) -> int:
        """Steps in a bucket of the history of layers."""
        return self.series.width if self.sight is None else self.sight.bucket

    @property
    def open_flags(self) -> list[Flag]:
        """Flags that stand, worst first, then by onset."""
        rank = {"critical": 0, "warning": 1, "info": 2}
        standing = [flag for flag in self.flags.values() if flag.resolved_step is None]
        return sorted(standing, key=lambda flag: (rank[flag.severity], flag.onset_step, flag.id))

    def apply(self, event: Event) -> None:
        """Fold one event in. Events come in order of `seq`; one that was seen is ignored."""
        if event.seq <= self.seq:
            return
        self.seq = event.seq
        if isinstance(event, Sample):
            self._apply_sample(event)
        elif isinstance(event, FlagChange):
            self.flags[event.flag.id] = event.flag
        elif isinstance(event, Diagnosis):
            self.verdict, self.causes = event.verdict, event.causes
            self.coverage = event.coverage
        elif isinstance(event, Status):
            self.status = event
        elif isinstance(event, Note):
            self.notes.append(event)
        elif isinstance(event, LayerTable):
            if event.rank == self.lead:
                self._apply_table(event)
            else:
                self._other(event.rank).take_table(event)
        else:
            self._apply_info(event)

    def _other(self, rank: int) -> RankState:
        state = self.others.get(rank)
        if state is None:
            state = self.others[rank] = RankState(rank)
        return state

    def _apply_info(self, info: RunInfo) -> None:
        """A lower rank than before stands for the run from now on: its story begins here."""
        lead, self.info = self.lead, info
        self.lead = info.hello.rank
        if self.lead == lead or self.table is None:
            return
        before = self._other(lead)
        before.table, before.samples, before.latest = self.table, self.samples, self.latest
        before.model_series = self.model_series
        before.loss = self.scalars.get("loss", before.loss)
        before.last_scalar = self.last_scalar
        self.others.pop(self.lead, None)
        self.table, self.layers, self.samples = None, (), 0
        self.series = Series((0, len(LAYER_METRICS)), self._layer_capacity)
        self.model_series = Series((0, len(MODEL_METRICS)), self.capacity)
        self.scalars, self.last_scalar = {}, {}
        self.recent.clear()

    def _apply_table(self, table: LayerTable) -> None:
        old = {(layer.model, layer.name): row for row, layer in enumerate(self.layers)}
        models = (
            {model.name: row for row, model in enumerate(self.table.models)} if self.table else {}
        )
        rows = [old.get((layer.model, layer.name)) for layer in table.layers]
        model_rows = [models.get(model.name) for model in table.models]
        if rows != list(range(len(self.layers))):
            self.series = self.series.with_rows(rows)
        if model_rows != list(range(self.model_series.shape[0])):
            self.model_series = self.model_series.with_rows(model_rows)
        for index, reading in enumerate(self.recent):
            self.recent[index] = replace(
                reading,
                layers=_rearranged(reading.layers, rows),
                models=_rearranged(reading.models, model_rows),
            )
        self.table, self.layers = table, table.layers

    def _apply_sample(self, sample: Sample) -> None:
        if sample.rank != self.lead:
            self._other(sample.rank).take(sample)
            return
        assert self.table is not None, "a sample comes after its layer table"
        reading = reading_of(sample, self.table)
        if np.isfinite(reading.layers).any() or not len(reading.layers):
            self.samples += 1
            self.recent.append(reading)
        # Otherwise it only brings the losses since the last sample: no reading to show.
        self.began = self.began or sample.time
        self.clock.add(sample.step, np.asarray(sample.time - self.began, np.float32))
        if self.sight is None:
            self.series.add(reading.step, reading.layers)
        else:
            self.sight.sampled_step = max(self.sight.sampled_step, reading.step)
        self.model_series.add(reading.step, reading.models)
        for name, points in sample.scalars.items():
            series = self.scalars.get(name) or Series((), SCALAR_CAPACITY)
            self.scalars[name] = series
            steps = np.frombuffer(points.steps, np.int64)
            values = np.frombuffer(points.values, np.float32)
            series.add_many(steps, values)
            if len(values):
                self.last_scalar[name] = float(values[-1])

    def pack(self, columns: int = 512) -> bytes:
        """Everything as bytes for a late joiner, series at about `columns` buckets of time."""
        squeezer = zlib.compressobj(1)
        return b"".join([*map(squeezer.compress, self._pieces(columns)), squeezer.flush()])

    def still(self, series: Series) -> RunState:
        """A copy that stays as it is, with a copy of the layers' history that the caller made."""
        other = copy(self)
        other.series = series
        other.model_series = self.model_series.with_capacity(self.model_series.capacity)
        other.clock = self.clock.with_capacity(self.clock.capacity)
        other.scalars = {
            name: one.with_capacity(one.capacity) for name, one in self.scalars.items()
        }
        other.last_scalar = dict(self.last_scalar)
        other.recent = self.recent.copy()
        other.flags = dict(self.flags)
        other.notes = list(self.notes)
        other.others = {rank: one.still() for rank, one in self.others.items()}
        return other

    def encoded(self, columns: int = 512, *, layers: bool = True) -> bytes:
        """What `pack` squeezes.

        Without `layers` it has nothing of their readings: see `GIST_LAYOUT`.
        """
        return _encode(self.parts(columns, layers=layers))

    def _pieces(self, columns: int) -> Iterator[bytes | memoryview]:
        """`encoded` without ever having all of it in one place.

        Where another thread has frames to measure, it is kept from that by one piece at a time.
        """
        coarse = self.series.coarse(self._coarser(columns))
        parts = self.parts(columns, layers=False)
        names = PackedState.__struct_fields__
        yield _ARRAY.pack(0xDC, len(names))
        for name in names:
            if name == "series":
                yield from coarse.pieces()
            elif name == "recent":
                yield _ARRAY.pack(0xDC, len(self.recent))
                yield from (_encode(PackedReading.of(reading)) for reading in self.recent)
            else:
                yield _encode(getattr(parts, name))

    def _coarser(self, columns: int) -> int:
        capacity = 64
        while capacity < min(columns, self.capacity):
            capacity *= 2
        return capacity

    def parts(self, columns: int = 512, *, layers: bool = True) -> PackedState:
        """What is encoded."""
        capacity = self._coarser(columns)
        series = self.series if layers else Series((0, len(LAYER_METRICS)), 2)
        return PackedState(
            seq=self.seq,
            samples=self.samples,
            info=self.info,
            table=self.table,
            status=self.status,
            verdict=self.verdict,
            causes=self.causes,
            coverage=self.coverage,
            flags=list(self.flags.values()),
            last_scalar=dict(sorted(self.last_scalar.items())),
            series=series.coarse(capacity).pack(),
            model_series=self.model_series.coarse(capacity).pack(),
            scalars={
                name: series.coarse(2 * capacity).pack()
                for name, series in sorted(self.scalars.items())
            },
            recent=[PackedReading.of(reading) for reading in self.recent] if layers else [],
            lead=self.lead,
            began=self.began,
            clock=self.clock.coarse(2 * capacity).pack(),
            others=[self.others[rank].pack() for rank in sorted(self.others)],
            notes=list(self.notes),
        )

    @classmethod
    def unpack(cls, data: bytes, sight: SightLike | None = None) -> RunState:
        """Rebuild what `pack` gave.

        Raises:
            ValueError: it is something else, or of another `STATE_LAYOUT`.
        """
        try:
            packed = unpacked(zlib.decompress(data))
        except zlib.error as error:
            raise ValueError(f"not a packed state: {error}") from error
        state = cls(packed.model_series.capacity, sight)
        if packed.table is not None:
            state._apply_table(packed.table)
        if sight is None:
            state.series = Series.unpack(packed.series)
        else:
            sight.sampled_step = packed.model_series.last_step
        state.model_series = Series.unpack(packed.model_series)
        state.seq, state.samples = packed.seq, packed.samples
        state.info, state.status = packed.info, packed.status
        state.verdict, state.causes = packed.verdict, packed.causes
        state.coverage = packed.coverage
        state.flags = {flag.id: flag for flag in packed.flags}
        state.last_scalar = packed.last_scalar
        state.scalars = {name: Series.unpack(series) for name, series in packed.scalars.items()}
        rows, models = state.series.shape[0], state.model_series.shape[0]
        state.recent.extend(reading.reading(rows, models) for reading in packed.recent)
        state.lead = packed.lead
        state.began = packed.began
        if packed.clock is not None:
            state.clock = Series.unpack(packed.clock)
        state.notes = list(packed.notes)
        state.others = {each.rank: RankState.unpack(each) for each in packed.others}
        return state


class PackedState(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """What `RunState.pack` puts on the wire and into snapshots; see `STATE_LAYOUT`."""

    seq: int
    samples: int
    info: RunInfo | None
    table: LayerTable | None
    status: Status | None
    verdict: str
    causes: list[Cause]
    coverage: list[Coverage]
    flags: list[Flag]
    last_scalar: dict[str, float]
    series: PackedSeries
    model_series: PackedSeries
    scalars: dict[str, PackedSeries]
    recent: list[PackedReading]
    lead: int = 0
    others: list[PackedRank] = []
    began: float = 0.0
    clock: PackedSeries | None = None
    notes: list[Note] = []


_ARRAY = struct.Struct(">BH")
"""How msgpack begins an array of any length, here 0xDC and the length."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PackedState).decode


def unpacked(data: bytes) -> PackedState:
    """The parts of what `RunState.encoded` gave.

    Raises:
        ValueError: it is something else, or of another `STATE_LAYOUT`.
    """
    try:
        return _decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not a packed state: {error}") from error


def _rearranged(matrix: Floats, rows: list[int | None]) -> Floats:
    """The rows in a new order; None stands for one that was not there."""
    other = np.full((len(rows), matrix.shape[1]), np.nan, np.float32)
    for new, old in enumerate(rows):
        if old is not None:
            other[new] = matrix[old]
    return other

"""The courses of a recording: read from it, or worked out of its samples where it has none."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deadband.wire import LayerTable, Sample
from deadband_monitor.metrics import LAYER_COLUMN, LAYER_METRICS
from deadband_monitor.record.depths import HANDFUL, DeepRecording
from deadband_monitor.record.reader import UNFIT
from deadband_monitor.state.courses import CoursesHead, joined, read_block, read_head
from deadband_monitor.state.pictures import Envelope
from deadband_monitor.state.rank_state import readings_of
from deadband_monitor.state.run_state import RunState
from deadband_monitor.state.series import Floats, Series

FEW_BYTES = 32 << 20
FEW_SAMPLES = 4096
"""So much of a recording is read for a picture, which takes 50 ms."""
KEPT_BYTES = 48 << 20
"""Courses in memory: a dozen metrics of 400 layers."""
CAPACITY = 512

Key = tuple[str, int]
"""`metric` or `row`, and which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Of some samples."""

    seqs: list[int]
    steps: NDArray[np.int64]
    values: Floats
    """(samples, layers, metrics)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What the rows of a course are: the layers of a state."""

    table: LayerTable | None
    lead: int
    layers: tuple[tuple[str, str], ...]

    def size(self, key: Key) -> int:
        """Figures at each step."""
        return len(self.layers) if key[0] == "metric" else len(LAYER_METRICS)

    def picked(self, key: Key, values: Floats) -> Floats:
        """What is wanted of whole readings."""
        picked = values[:, :, key[1]] if key[0] == "metric" else values[:, key[1]]
        return np.ascontiguousarray(picked)

    @property
    def sample_bytes(self) -> int:
        """Of one sample."""
        return 4 * len(self.layers) * len(LAYER_METRICS)


@dataclass(slots=True, eq=False)
class Course:
    """Of a metric, or of a layer."""

    series: Series
    seq: int
    """The event that it goes up to."""
    cut: tuple[object, ...] = ()
    """What its columns ..."""
    columns: Envelope | None = None
    """... were cut for last: jumping to and fro needs the same again."""


class Courses:
    """The history of the layers of one recording."""

    def __init__(self, recording: DeepRecording) -> None:
        self._recording = recording
        self._rows = Rows(table=None, lead=0, layers=())
        self._held: OrderedDict[Key, Course] = OrderedDict()
        self._head: CoursesHead | None = None
        self._head_read = False
        self._tables: dict[int, LayerTable | None] = {}

    def rows_of(self, state: RunState) -> Rows:
        """The rows as a state has them; where they change, courses are worked out afresh."""
        if state.table is not self._rows.table or state.lead != self._rows.lead:
            layers = tuple((layer.model, layer.name) for layer in state.layers)
            rows = Rows(table=state.table, lead=state.lead, layers=layers)
            if (rows.lead, rows.layers) != (self._rows.lead, self._rows.layers):
                self._held.clear()
            self._rows = rows
        return self._rows

    def most(self, rows: Rows) -> int:
        """How many samples are few."""
        return max(min(FEW_SAMPLES, FEW_BYTES // max(rows.sample_bytes, 1)), 1)

    def few(self, first: int, last: int, rows: Rows) -> bool:
        """Whether these steps have so few samples that they are read one by one."""
        most = self.most(rows)
        return self._recording.count_steps(first, last, most + 1) <= most

    def at_hand(self, keys: Sequence[Key], rows: Rows) -> bool:
        """Whether these courses are had without reading the samples behind them."""
        return self._usable(rows) or all(key in self._held for key in keys)

    def coarsest(self) -> int:
        """Steps in a bucket of the longest course that can be made."""
        return self.width_at(self._recording.last_sampled_step)

    def width_at(self, step: int) -> int:
        """Steps in a bucket of a run that has come so far, as a state would have it."""
        width = 1
        while step // width >= CAPACITY:
            width *= 2
        return width

    def newest_few(self, first: int, last: int, rows: Rows) -> int:
        """From which of these steps on there are few samples."""
        return self._recording.step_back(first, last, self.most(rows))

    def samples(
        self, first: int, last: int, upto: int, newest: int, rows: Rows
    ) -> Iterator[Readings]:
        """What was read at some steps, in order."""
        handfuls = self._recording.samples_of_steps(first, last, upto, rows.lead, newest)
        for samples in handfuls:
            yield from self._read(samples, rows)

    def courses(self, keys: Sequence[Key], rows: Rows, upto: int) -> dict[Key, Course]:
        """Courses that go up to event `upto`, or nearly; those that are at hand may go further."""
        for key in keys:
            if key not in self._held:
                self._held[key] = self._stored(key, rows)
            self._held.move_to_end(key)
        self._go_on([self._held[key] for key in keys], list(keys), rows, upto)
        found = {key: self._held[key] for key in keys}
        size = sum(20 * CAPACITY * rows.size(key) for key in self._held)
        while size > KEPT_BYTES and len(self._held) > len(keys):
            size -= 20 * CAPACITY * rows.size(self._held.popitem(last=False)[0])
        return found

    def _go_on(self, courses: list[Course], keys: list[Key], rows: Rows, upto: int) -> None:
        """Fold in what is newer than a course, where that is much; all in one reading."""
        behind = [
            (course, key)
            for course, key in zip(courses, keys, strict=True)
            if course.seq < upto and not self._nearly(course.seq, upto, rows)
        ]
        after = min((course.seq for course, _ in behind), default=upto)
        last = self._recording.last_seq if behind else upto
        while after < last:
            samples = self._recording.samples_between(after, last, rows.lead, HANDFUL)
            for some in self._read(samples, rows):
                for course, key in behind:
                    picked = rows.picked(key, some.values)
                    for seq, step, reading in zip(some.seqs, some.steps, picked, strict=True):
                        if seq > course.seq:
                            course.series.add(int(step), reading)
            after = samples[-1].seq if len(samples) == HANDFUL else last
        for course, _ in behind:
            course.seq = last

    def _nearly(self, seq: int, upto: int, rows: Rows) -> bool:
        """Whether so little is newer that it is read with each picture."""
        return self._recording.count_between(seq, upto, self.most(rows) // 4 + 1) <= (
            self.most(rows) // 4
        )

    def _stored(self, key: Key, rows: Rows) -> Course:
        """The course as the recording has it; an empty one where it has none."""
        usable, head, size = self._usable(rows), self._head, rows.size(key)
        if not usable or head is None:
            return Course(Series((size,), CAPACITY), 0)
        try:
            return Course(self._joined(head, key, rows), head.seq)
        except UNFIT as error:
            raise self._recording.damaged(error) from error

    def _usable(self, rows: Rows) -> bool:
        """Whether the recording has courses of these rows."""
        if not self._head_read:
            self._head_read = True
            data = self._recording.courses_head
            with suppress(*UNFIT):  # of another version
                self._head = read_head(data) if data is not None else None
        head = self._head
        return head is not None and head.lead == rows.lead and head.capacity == CAPACITY

    def _joined(self, head: CoursesHead, key: Key, rows: Rows) -> Series:
        kind, number = key
        places = {layer: place for place, layer in enumerate(head.layers)}
        parts = []
        if kind == "metric":
            blocks = self._recording.courses(LAYER_METRICS[number].name, None)
            own = np.array([places.get(layer, -1) for layer in rows.layers], np.int64)
            for _, first, body in blocks:
                inside = np.flatnonzero((own >= first) & (own < first + head.rows))
                parts.append((inside, read_block(head, first, body).of(own[inside] - first)))
        elif rows.layers[number] in places:
            place = places[rows.layers[number]]
            first = place - place % head.rows
            for name, _, body in self._recording.courses(None, first):
                if name in LAYER_COLUMN:
                    figures = read_block(head, first, body)
                    parts.append(
                        (np.array([LAYER_COLUMN[name]]), figures.of(np.array([place - first])))
                    )
        return joined(head, rows.size(key), parts)

    def _read(self, samples: list[Sample], rows: Rows) -> Iterator[Readings]:
        """Readings in the rows that are wanted; samples that share a table at once."""
        at = 0
        while at < len(samples):
            table, end = samples[at].table, at + 1
            while end < len(samples) and samples[end].table == table:
                end += 1
            some = samples[at:end]
            steps = np.array([sample.step for sample in some], np.int64)
            try:
                values = readings_of([sample.layers for sample in some], self._table(table))
            except UNFIT as error:
                raise self._recording.damaged(error) from error
            yield Readings(
                seqs=[sample.seq for sample in some],
                steps=steps,
                values=self._in_rows(values, table, rows),
            )
            at = end

    def _table(self, number: int) -> LayerTable:
        table = self._tables.get(number)
        if table is None:
            table = self._recording.layer_table(number)
            if table is None:
                raise LookupError(f"no table {number} of layers")
            self._tables[number] = table
        return table

    def _in_rows(self, values: Floats, number: int, rows: Rows) -> Floats:
        if rows.table is not None and rows.table.id == number:
            return values
        layers = [(layer.model, layer.name) for layer in self._table(number).layers]
        if tuple(layers) == rows.layers:
            return values
        places = {layer: place for place, layer in enumerate(layers)}
        blank = np.full((len(values), 1, values.shape[2]), np.nan, np.float32)
        own = [places.get(layer, -1) for layer in rows.layers]
        found: Floats = np.concatenate([values, blank], axis=1)[:, own]
        return found

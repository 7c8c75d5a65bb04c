"""Columns of time cut from a recording: from its samples where they are few, else from courses.

A stretch of few samples is read as it was written, each of them. Of a longer one the buckets of
the courses are taken, and samples only for what is newer than these, or lies within the bucket
that the step at hand cuts in two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deadband_monitor.metrics import LAYER_METRICS
from deadband_monitor.source.courses import Course, Courses, Key
from deadband_monitor.state.pictures import Envelope, OwnPictures
from deadband_monitor.state.run_state import RunState
from deadband_monitor.state.series import Series
from deadband_monitor.state.tally import Tally
from deadband_monitor.state.timeline import Axis

TOGETHER = 8
"""Metrics cut in one reading of the samples, where there are no courses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """What of a run is to be cut."""

    axis: Axis
    start: int
    """The columns before this one are not wanted."""
    last: int
    """The step at hand."""
    upto: int
    """The event at hand."""

    @property
    def first(self) -> int:
        """The first step that is wanted."""
        return self.axis.first + self.start * self.axis.per_column


class RecordedPictures(OwnPictures):
    """The `Pictures` of a recording at one of its events: these metrics and this layer.

    Only the history of layers is not at hand in the state.
    """

    def __init__(
        self, courses: Courses, state: RunState, stretch: Stretch, keys: Sequence[Key]
    ) -> None:
        super().__init__(since=stretch.first if stretch.start else None)
        self.update(state, stretch.axis)
        self._found = cut_all(courses, state, stretch, list(dict.fromkeys(keys)))

    def layers(self, metric: int) -> Envelope:
        """A metric of every layer."""
        return self._found["metric", metric]

    def row(self, row: int) -> Envelope:
        """All metrics of one layer."""
        return self._found["row", row]


class EveryPicture(RecordedPictures):
    """The same of all metrics and layers: each is cut when it is asked for, with its neighbours."""

    def __init__(self, courses: Courses, state: RunState, stretch: Stretch) -> None:
        super().__init__(courses, state, stretch, [])
        self._courses, self._stretch = courses, stretch

    def layers(self, metric: int) -> Envelope:
        """A metric of every layer."""
        first = metric - metric % TOGETHER
        last = min(first + TOGETHER, len(LAYER_METRICS))
        return self._one(("metric", metric), [("metric", it) for it in range(first, last)])

    def row(self, row: int) -> Envelope:
        """All metrics of one layer."""
        return self._one(("row", row), [("row", row)])

    def _one(self, key: Key, together: list[Key]) -> Envelope:
        if key not in self._found:
            self._found = cut_all(self._courses, self._state, self._stretch, together)
        return self._found[key]


def cut_all(
    courses: Courses, state: RunState, stretch: Stretch, keys: list[Key]
) -> dict[Key, Envelope]:
    """The columns of several courses: their samples are read once for all."""
    axis, rows = stretch.axis, courses.rows_of(state)
    tallies = {key: Tally(axis.columns, (rows.size(key),)) for key in keys}
    first, last = stretch.first, min(axis.last, stretch.last)
    if not keys or last < first:
        return {key: tally.envelope for key, tally in tallies.items()}
    width = courses.coarsest()
    even = axis.per_column % width == 0 and axis.first % width == 0
    whole = even and courses.at_hand(keys, rows)
    if whole or not courses.few(first, last, rows):
        found = courses.courses(keys, rows, stretch.upto)
        series = {key: each.series for key, each in found.items()}
        lacking = [_from_course(tallies[key], each, stretch) for key, each in found.items()]
        fine = any(axis.per_column < each.width for each in series.values())
        first = max(first, *lacking)
        if fine:
            # Columns finer than buckets: the newest samples are shown one by one.
            first = min(first, courses.newest_few(stretch.first, last, rows))
            for tally in tallies.values():
                tally.clear(axis.column(first) + 1)
    for some in courses.samples(first, last, stretch.upto, courses.most(rows), rows):
        columns = (some.steps - axis.first) // axis.per_column
        for key, tally in tallies.items():
            tally.add(columns, rows.picked(key, some.values))
    return {key: tally.envelope for key, tally in tallies.items()}


def _from_course(tally: Tally, course: Course, stretch: Stretch) -> int:
    """Take the whole buckets before the step at hand; the first step that is still lacking."""
    axis, series = stretch.axis, course.series
    stop = min(stretch.last, series.last_step) // series.width
    lacking = max(stop * series.width, stretch.first)
    if axis.per_column < series.width:
        _spread(tally, series, stretch, stop)
        return lacking
    # Up to the column of the step at hand they are the same for every step.
    whole = min(axis.column(lacking), axis.columns)
    if whole > stretch.start:
        tally.put_columns(_columns(course, axis), slice(stretch.start, whole))
    _add_buckets(tally, series, axis, max(whole, stretch.start), stop)
    return lacking


def _columns(course: Course, axis: Axis) -> Envelope:
    """All columns of a course, as far as it goes."""
    series = course.series
    key = (axis, course.seq, series.width)
    if course.columns is None or course.cut != key:
        tally = Tally(axis.columns, series.shape)
        _add_buckets(tally, series, axis, 0, series.last_step // series.width + 1)
        course.cut, course.columns = key, tally.envelope
    return course.columns


def _add_buckets(tally: Tally, series: Series, axis: Axis, start: int, stop: int) -> None:
    """Add the buckets from column `start` on, up to bucket `stop`."""
    figures = series.buckets(stop)
    first = -(-(axis.first + start * axis.per_column) // series.width)
    buckets = np.arange(first, len(figures.count), dtype=np.int64)
    columns = (buckets * series.width - axis.first) // axis.per_column
    inside = columns < axis.columns
    if inside.any():
        tally.add_buckets(columns[inside], figures.at(buckets[inside]))


def _spread(tally: Tally, series: Series, stretch: Stretch, stop: int) -> None:
    """Columns finer than the buckets: each bucket fills its columns."""
    axis = stretch.axis
    figures = series.buckets(stop)
    if not len(figures.count):
        return
    columns = np.arange(stretch.start, axis.columns, dtype=np.int64)
    bucket = (axis.first + columns * axis.per_column) // series.width
    inside = bucket < len(figures.count)
    tally.put(columns[inside], figures.at(bucket[inside]))

"""Columns of time: the axis moves seldom, nothing is lost, and a plain count gives the same."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from deadband_monitor.state.series import Series
from deadband_monitor.state.timeline import Axis, Columns, axis_for


@pytest.mark.parametrize("columns", [1, 7, 40, 90])
@pytest.mark.parametrize("last", [0, 1, 39, 40, 41, 1000, 123_456])
@pytest.mark.parametrize("zoom", [0, 1, 5])
@pytest.mark.parametrize("bucket", [1, 4, 64])
def test_the_newest_step_always_has_a_column(
    last: int, columns: int, zoom: int, bucket: int
) -> None:
    axis = axis_for(last, columns, zoom, bucket)
    assert 0 <= axis.column(last) < columns
    if zoom == 0:
        assert axis.first == 0
        assert axis.per_column % bucket == 0 or axis.per_column < bucket


def test_a_long_run_uses_four_fifths_of_the_map() -> None:
    used = [axis_for(last, 50).column(last) + 1 for last in range(200, 20_000, 37)]
    assert min(used) >= 38


def test_the_axis_moves_seldom() -> None:
    axes = [axis_for(last, 60) for last in range(10_000)]
    changes = sum(a != b for a, b in itertools.pairwise(axes))
    assert changes < 35, "about four a doubling"


def filled(axis: Axis, steps: dict[int, float]) -> list[tuple[float, float]]:
    """(low, high) of each column, counted plainly."""
    found = []
    for column in range(axis.columns):
        first = axis.first + column * axis.per_column
        inside = [steps[step] for step in range(first, first + axis.per_column) if step in steps]
        found.append((min(inside), max(inside)) if inside else (np.nan, np.nan))
    return found


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("columns", [20, 45])
def test_columns_kept_up_to_date_equal_columns_counted_afresh(every: int, columns: int) -> None:
    random = np.random.default_rng(3)
    series, kept = Series((1, 1), capacity=128), Columns()
    steps: dict[int, float] = {}
    for step in range(1, 900, every):
        steps[step] = float(np.float32(random.standard_normal()))
        series.add(step, np.full((1, 1), steps[step], np.float32))
        kept.update(series, axis_for(step, columns, 0, series.width))
        if step % 50 < every:
            expected = np.array(filled(kept.axis, steps))
            np.testing.assert_array_equal(kept.low[:, 0, 0], expected[:, 0].astype(np.float32))
            np.testing.assert_array_equal(kept.high[:, 0, 0], expected[:, 1].astype(np.float32))


def test_zoomed_in_the_newest_readings_are_shown_one_by_one() -> None:
    series, kept = Series((1, 1), capacity=64), Columns()
    readings = []
    for step in range(1, 1000):
        values = np.full((1, 1), step, np.float32)
        series.add(step, values)
        readings.append((step, values))
    axis = axis_for(999, 40, 10, series.width)
    assert axis.per_column == 1
    assert series.width > 1
    kept.update(series, axis, readings[-256:])
    shown = kept.mean[: axis.column(999) + 1, 0, 0]
    np.testing.assert_array_equal(shown, np.arange(axis.first, 1000))
    assert np.isnan(kept.mean[axis.column(999) + 1 :]).all()


def test_going_back_in_a_recording_forgets_what_came_later() -> None:
    long, short, kept = Series((1, 1)), Series((1, 1)), Columns()
    for step in range(1, 100):
        long.add(step, np.ones((1, 1), np.float32))
        if step < 50:
            short.add(step, np.ones((1, 1), np.float32))
    axis = axis_for(99, 50)
    kept.update(long, axis)
    kept.update(short, axis)
    assert np.isnan(kept.mean[25:]).all()
    assert not np.isnan(kept.mean[1:24]).any()


def test_nothing_measured_gives_empty_columns() -> None:
    kept = Columns()
    assert kept.update(Series((2, 3)), axis_for(0, 10)) == slice(0, 0)
    assert kept.low.shape == (10, 2, 3)

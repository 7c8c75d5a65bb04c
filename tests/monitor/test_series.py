"""Series against the same thing done the slow way: every value kept, buckets made at the end."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from deadband_monitor.state.series import Floats, PackedSeries, Series, Window

SEEDS = range(12)


class SlowSeries:
    """Keeps every value that was added."""

    def __init__(self) -> None:
        self.added: list[tuple[int, Floats]] = []

    def window(self, series: Series, window: Window) -> None:
        """Compare each column with what was added in its steps."""
        for column, first in enumerate(window.steps):
            inside = [v for step, v in self.added if first <= step < first + window.width]
            if not inside:
                assert np.isnan(window.low[column]).all()
                continue
            values = np.stack(inside).astype(np.float64)
            np.testing.assert_array_equal(window.low[column], np.fmin.reduce(values))
            np.testing.assert_array_equal(window.high[column], np.fmax.reduce(values))
            known = np.isfinite(values)
            count = known.sum(axis=0)
            total = np.where(known, values, 0).sum(axis=0)
            mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
            np.testing.assert_allclose(window.mean[column], mean, rtol=1e-6)
        assert series.last_step == max((step for step, _ in self.added), default=-1)


def random_series(seed: int, shape: tuple[int, ...] = (3, 2)) -> tuple[Series, SlowSeries]:
    choose = np.random.default_rng(seed)
    series, slow = Series(shape, capacity=16), SlowSeries()
    step = 0
    for _ in range(int(choose.integers(1, 120))):
        step += int(choose.integers(1, 9))
        late = max(0, step - int(choose.integers(0, 4)))
        values = choose.standard_normal(shape).astype(np.float32)
        values[choose.random(shape) < 0.2] = np.nan
        values[choose.random(shape) < 0.05] = np.inf
        series.add(late, values)
        slow.added.append((late, values))
    return series, slow


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("columns", [1, 3, 7, 16, 500])
def test_any_zoom_shows_the_true_extremes_and_means(seed: int, columns: int) -> None:
    series, slow = random_series(seed)
    window = series.window(columns)
    assert len(window.steps) <= columns
    slow.window(series, window)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stretch_of_steps_shows_only_its_buckets(seed: int) -> None:
    series, _ = random_series(seed)
    first, last = series.last_step // 3, 2 * series.last_step // 3
    window, whole = series.window(500, first, last), series.window(500)
    for column, step in enumerate(window.steps):
        (same,) = np.flatnonzero(whole.steps == step)
        np.testing.assert_array_equal(window.mean[column], whole.mean[same])
    if len(window.steps):
        assert window.steps[0] <= first
        assert window.steps[-1] <= last


@pytest.mark.parametrize("seed", SEEDS)
def test_packing_and_unpacking_changes_nothing(seed: int) -> None:
    series, _ = random_series(seed)
    data = msgspec.msgpack.encode(series.pack())
    again = Series.unpack(msgspec.msgpack.decode(data, type=PackedSeries))
    assert again.pack() == series.pack()
    again.add(again.last_step + 1, np.ones(series.shape, np.float32))
    series.add(series.last_step + 1, np.ones(series.shape, np.float32))
    assert again.pack() == series.pack()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("capacity", [2, 8, 16, 64])
def test_a_coarse_copy_tells_the_same_in_fewer_buckets(seed: int, capacity: int) -> None:
    series, slow = random_series(seed)
    before = series.pack()
    coarse = series.coarse(capacity)
    assert coarse.capacity <= max(capacity, 2)
    assert series.pack() == before
    slow.window(coarse, coarse.window(500))


@pytest.mark.parametrize("seed", SEEDS)
def test_many_values_at_once_are_as_one_by_one(seed: int) -> None:
    choose = np.random.default_rng(seed)
    steps: NDArray[np.int64] = np.cumsum(choose.integers(1, 5, 80))
    values = choose.standard_normal(80).astype(np.float32)
    values[::7] = np.nan
    together, single = Series((), 16), Series((), 16)
    for part in np.array_split(np.arange(80), 6):
        together.add_many(steps[part], values[part])
    for step, value in zip(steps, values, strict=True):
        single.add(int(step), np.asarray(value))
    assert together.pack() == single.pack()


def test_one_wild_step_in_a_million_is_still_seen() -> None:
    series = Series((), 64)
    steps = np.arange(1_000_000, dtype=np.int64)
    values = np.ones(1_000_000, np.float32)
    values[123_456] = 1e30
    series.add_many(steps, values)
    assert np.nanmax(series.window(10).high) == np.float32(1e30)
    assert series.window(10).low.min() == 1


def test_rows_keep_their_past_when_the_layers_change() -> None:
    series = Series((2, 1), 8)
    series.add(1, np.array([[1.0], [2.0]], np.float32))
    moved = series.with_rows([1, None, 0])
    window = moved.window(8)
    assert window.mean[1].ravel().tolist()[::2] == [2.0, 1.0]
    assert np.isnan(window.mean[1][1]).all()


def test_an_empty_series_has_an_empty_window() -> None:
    series = Series((2, 3), 8)
    window = series.window(10)
    assert window.steps.shape == (0,)
    assert window.low.shape == (0, 2, 3)
    with pytest.raises(AssertionError):
        series.add_many(np.zeros(1, np.int64), np.zeros(1, np.float32))


def test_huge_values_do_not_overflow_the_mean() -> None:
    series = Series((), 2)
    series.add_many(np.arange(3, dtype=np.int64), np.full(3, 3e38, np.float32))
    assert series.window(1).mean[0] == pytest.approx(3e38, rel=1e-6)

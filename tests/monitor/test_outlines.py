from __future__ import annotations

import numpy as np
import pytest

from deadband_monitor.state.course import NEWEST, Course, superfluous
from deadband_monitor.statistics.outlines import (
    LEVELS,
    WIDTH,
    histogram,
    is_taken,
    outlines,
    packed,
    shares,
    unpacked,
)

NOISE = np.random.default_rng(3)


def normal(rows: int, size: int) -> np.ndarray:
    return NOISE.standard_normal((rows, size)).astype(np.float32)


def test_an_outline_of_few_values_is_their_quantiles() -> None:
    values = normal(5, 700)
    made = outlines(values)
    np.testing.assert_allclose(
        made[:, : len(LEVELS)], np.quantile(values, LEVELS, axis=1).T, rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(made[:, -3], values.mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(made[:, -2], values.std(axis=1), rtol=1e-5)
    assert (made[:, -1] == 0).all()


def test_of_many_values_a_thousand_tell_the_same() -> None:
    values = normal(20, 16384)
    few, all_of_them = outlines(values), outlines(values, whole=True)
    middle = slice(5, 32)
    np.testing.assert_allclose(few[:, middle], all_of_them[:, middle], atol=0.2)
    np.testing.assert_allclose(few[:, -2], all_of_them[:, -2], rtol=0.1)


@pytest.mark.parametrize("scale", [1e-37, 1e37], ids=["tiny", "huge"])
def test_the_ends_of_float32_have_an_outline(scale: float) -> None:
    values = (normal(1, 1000) * np.float32(scale)).astype(np.float32)
    made = outlines(values)
    assert np.isfinite(made).all()
    assert made[0, -2] == pytest.approx(scale, rel=0.1)


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    values = normal(3, 1000)
    values[1, :250] = np.nan
    values[2] = np.inf
    made = outlines(values)
    assert made[1, -1] == pytest.approx(0.25)
    assert np.isfinite(made[1]).all()
    assert made[2, -1] == 1.0
    assert np.isnan(made[2, : len(LEVELS)]).all()
    assert shares(made[1], np.array([-10.0, 10.0])) == pytest.approx([0.75])


def test_shares_of_a_bell_and_of_piles() -> None:
    edges = np.linspace(-3, 3, 13)
    bell = normal(1, 1024)
    told = shares(outlines(bell)[0], edges)
    counted = np.histogram(bell[0], edges)[0] / bell.size
    np.testing.assert_allclose(told, counted, atol=0.03)

    relu = np.zeros((1, 1000), np.float32)
    relu[0, 700:] = 1.0
    piles = shares(outlines(relu)[0], np.array([-0.5, 0.5, 1.5]))
    np.testing.assert_allclose(piles, [0.7, 0.3], atol=0.04)
    constant = outlines(np.full((1, 50), 2.0, np.float32))[0]
    assert shares(constant, np.array([1.0, 2.0, 3.0])).tolist() == [0.0, 1.0]
    assert shares(constant, np.array([0.0, 1.0, 2.0])).tolist() == [0.0, 1.0]


def test_outlines_travel_in_half_their_size_with_three_digits() -> None:
    made = outlines(normal(4, 500) * np.float32(1e20))
    data = packed(made)
    assert len(data) == 4 * WIDTH * 2
    np.testing.assert_allclose(unpacked(data), made, rtol=0.005)
    assert is_taken(packed(made[:1]))
    assert not is_taken(packed(np.full((1, WIDTH), np.nan, np.float32)))
    with pytest.raises(ValueError, match="no outlines"):
        unpacked(data[:-2])


def test_a_histogram_holds_every_finite_value() -> None:
    values = normal(1, 5000)
    values[0, :7] = np.inf
    made = histogram(values)
    assert (made.counts.sum(), made.broken, len(made.counts)) == (4993, 7, 256)
    finite = values[np.isfinite(values)]
    assert (made.low, made.high) == (finite.min(), finite.max())
    assert np.count_nonzero(histogram(np.full(9, 3.0, np.float32)).counts) == 1
    assert histogram(np.full(3, np.nan, np.float32)).counts.sum() == 0


def test_a_course_stays_bounded_and_spans_the_run() -> None:
    course = Course(most=64)
    for step in range(1, 5001):
        course.add(step, np.full(WIDTH, step, np.float32))
    assert len(course) == 64
    assert course.steps[0] == 1
    assert course.steps[-NEWEST:] == list(range(5001 - NEWEST, 5001))
    old = np.diff(course.steps[: 64 - NEWEST])
    assert old.max() <= 4 * np.median(old)
    assert [step for step, _ in course.between(4990, 4992)] == [4990, 4991, 4992]


def test_what_is_kept_is_dropped_last() -> None:
    steps = [1, 100, 101, 102, 200, 300]
    assert superfluous(steps, newest=1) == 2
    assert superfluous(steps, kept={100, 101, 102}, newest=1) == 4
    assert superfluous(steps, kept=set(steps), newest=1) == 2


def test_a_course_takes_what_lies_on_the_wire() -> None:
    made = outlines(normal(2, 100))
    course = Course()
    course.add_packed(np.array([3, 9], np.int64).tobytes(), packed(made))
    assert course.steps == [3, 9]
    assert course.last_step == 9
    with pytest.raises(ValueError, match="2 steps with 1"):
        course.add_packed(np.array([3, 9], np.int64).tobytes(), packed(made[:1]))

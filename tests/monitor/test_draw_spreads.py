"""Ridge and histogram: values in, cells out."""

from __future__ import annotations

import numpy as np
import pytest

from deadband_monitor.statistics.outlines import outlines
from deadband_monitor.statistics.values import Floats
from deadband_monitor.tui.draw.histogram import bars
from deadband_monitor.tui.draw.ridge import (
    Range,
    Stretch,
    per_row,
    range_of,
    ridge,
    share_of_a_block,
    stretches,
)
from deadband_monitor.tui.draw.text import plain, width_of

NOISE = np.random.default_rng(11)


def outline(values: np.ndarray) -> Floats:
    (made,) = outlines(np.asarray(values, np.float32)[None])
    return np.asarray(made)


def bell(scale: float = 1.0) -> Floats:
    return outline(NOISE.standard_normal(1000) * scale)


def row(first: int, made: Floats) -> Stretch:
    return Stretch(first=first, last=first + 9, outlines=(made,))


def blocks(line: str) -> str:
    return line.partition("▏")[2].partition("▕")[0]


@pytest.mark.parametrize(
    ("steps", "rows", "wanted"),
    [(5, 10, 1), (9, 10, 1), (90, 10, 10), (95, 10, 12), (1000, 11, 100), (1001, 11, 120)],
)
def test_a_row_covers_a_round_number_of_steps(steps: int, rows: int, wanted: int) -> None:
    assert per_row(steps, rows) == wanted


def test_stretches_never_pass_the_rows_and_leave_out_what_is_empty() -> None:
    seen = [(step, bell()) for step in (*range(1, 100, 3), *range(500, 1000))]
    for rows in range(1, 30):
        made = stretches(seen, rows, 0, 999)
        assert 1 <= len(made) <= rows
        assert all(it.outlines for it in made)
    assert stretches([], 5, 0, 10) == []
    assert [(it.first, it.last) for it in stretches(seen[:2], 9, 0, 4)] == [(1, 1), (4, 4)]


@pytest.mark.parametrize("width", [24, 36, 40, 56, 116])
def test_every_row_of_a_ridge_has_its_width(width: int) -> None:
    rows = [row(at * 1000, bell(at + 1.0)) for at in range(6)]
    span = range_of([it.outlines[0] for it in rows])
    assert span is not None
    drawn = ridge(rows, span, width, 12, marks={2003: ("onset", "crit")})
    assert len(drawn) == 7
    assert {width_of(line) for line in drawn} == {width}


def test_a_bell_that_goes_to_the_ends_is_seen_to() -> None:
    rows = [row(0, bell()), row(10, outline(np.sign(NOISE.standard_normal(1000))))]
    lines = plain(ridge(rows, Range(-1.0, 1.0), 60, 3, marks={12: ("onset", "crit")})).split("\n")
    before, after = blocks(lines[0]), blocks(lines[1])
    assert before.strip()
    assert before == before.replace("█", "")
    assert after.rstrip().count("█") >= 1
    assert after[0] != " "
    assert after[-1] != " "
    assert after[1:-1].strip() == ""
    assert "◂ onset" in lines[1]
    assert "◂" not in lines[0]
    assert "sd 1" in lines[1]
    assert lines[2].split() == ["-1.00", "0", "1.00"]


def test_all_rows_share_one_height() -> None:
    rows = [row(0, bell()), row(10, bell(0.01))]
    lines = plain(ridge(rows, Range(-3.0, 3.0), 60, 3, marks={})).split("\n")
    assert "█" in lines[1]
    assert "█" not in lines[0]
    assert share_of_a_block(rows, Range(-3.0, 3.0), 60) > 0.4


def test_what_is_not_finite_is_said_and_an_outline_of_nothing_is_blank() -> None:
    half = np.where(np.arange(1000) % 2, np.nan, 1.0)
    rows = [row(0, outline(half)), row(10, outline(np.full(1000, np.nan)))]
    lines = plain(ridge(rows, Range(0.0, 2.0), 60, 3, marks={})).split("\n")
    assert "nan 50%" in lines[0]
    assert "nan 100%" in lines[1]
    assert blocks(lines[1]).strip() == ""


def test_the_range_is_even_unless_the_rows_are_a_thousand_times_apart() -> None:
    near = range_of([bell(), bell(0.1)])
    assert near is not None
    assert (near.low, near.high, near.unit) == (-3.0, 3.0, 0.0)
    far = range_of([bell(), bell(1e4)])
    assert far is not None
    assert far.unit == pytest.approx(1.0, rel=0.1)
    assert far.share(far.high) == pytest.approx(1.0)
    assert far.at(far.share(50.0)) == pytest.approx(50.0)
    assert np.all(np.diff(far.edges(20)) > 0)
    even = range_of([bell(), bell(1e6)], "linear")
    assert even is not None
    assert even.unit == 0
    constant = range_of([outline(np.full(9, 2.0))])
    assert constant is not None
    assert constant.low < 2.0 < constant.high
    assert range_of([outline(np.full(9, np.nan))]) is None


@pytest.mark.parametrize("scale", ["linear", "log", "auto"])
@pytest.mark.parametrize("width", [20, 60, 200])
def test_bars_fill_their_cells_and_the_highest_reaches_the_top(scale: str, width: int) -> None:
    counts = np.histogram(NOISE.standard_normal(5000), 256)[0]
    rows = bars(counts, -3.0, 3.0, width, 8, scale=scale)
    assert len(rows) == 8
    assert {width_of(line) for line in rows} == {width}
    text = plain(rows).split("\n")
    assert text[0][8:].strip()
    assert text[-1].split()[0] == "-3.00"
    assert text[-1].split()[-1] == "3.00"


def test_bars_of_nothing_are_blank() -> None:
    assert plain(bars(np.zeros(8), 0.0, 1.0, 30, 4)).strip() == ""
    assert bars(np.ones(8), 0.0, 1.0, 30, 0) == []

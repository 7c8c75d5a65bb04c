"""Spread across samples against its plain definition, and at the ends of float32."""

from __future__ import annotations

import numpy as np
import pytest

from deadband_monitor.statistics.moments import mean_square, nonfinite_share, spread


def plain(x: np.ndarray) -> tuple[float, float, float]:
    wide = x.astype(np.longdouble)
    centred = wide - wide.mean(axis=0)
    variance = (centred**2).mean()
    gram = (centred @ centred.T).astype(np.float64)
    ratio = np.trace(gram) ** 2 / (gram**2).sum() if gram.any() else np.nan
    return float(variance / (wide**2).mean()), float((wide**2).mean()), float(ratio)


@pytest.mark.parametrize("shape", [(2, 1), (3, 1), (20, 7), (32, 512), (64, 1023), (17, 2000)])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e-12, 1e12, 1e30, 1e38])
@pytest.mark.parametrize("offset", [0.0, 1.5])
def test_spread_agrees_with_its_definition(
    shape: tuple[int, int], scale: float, offset: float
) -> None:
    rng = np.random.default_rng(1)
    x = (scale * np.clip(rng.normal(offset, 0.5, size=(3, *shape)), -3, 3.3)).astype(np.float32)
    found = spread(x)
    for index in range(3):
        rho, square, ratio = plain(x[index])
        assert found.dependence[index] == pytest.approx(rho, rel=1e-4)
        assert found.mean_square[index] == pytest.approx(square, rel=1e-5)
        assert found.participation[index] == pytest.approx(ratio, rel=1e-3)


@pytest.mark.parametrize("rows", [2, 3, 20, 31, 64])
@pytest.mark.parametrize("scale", [1e-38, 1e-20, 0.1, 1 / 3, 7.77, 1e20, 3e38])
def test_equal_rows_give_exactly_zero(rows: int, scale: float) -> None:
    row = (scale * np.random.default_rng(2).uniform(-1, 1, 333)).astype(np.float32)
    found = spread(np.tile(row, (2, rows, 1)))
    assert (found.dependence == 0.0).all()
    assert (found.variance == 0.0).all()
    assert np.isnan(found.participation).all()


def test_one_unit_in_the_last_place_is_not_constant() -> None:
    x = np.full((1, 32, 100), 1.0, dtype=np.float32)
    x[0, 7, 3] = np.nextafter(np.float32(1), np.float32(2))
    rho, _, _ = plain(x[0])
    assert spread(x).dependence[0] == pytest.approx(rho, rel=1e-3)
    assert 0 < rho < 1e-15


@pytest.mark.parametrize("rho", [1e-4, 1e-8, 1e-11])
def test_a_small_dependence_behind_a_large_offset_survives(rho: float) -> None:
    rng = np.random.default_rng(3)
    x = (1.0 + np.sqrt(rho) * rng.normal(size=(1, 64, 256))).astype(np.float32)
    assert spread(x).dependence[0] == pytest.approx(plain(x[0])[0], rel=1e-3)


def test_zeros_are_constant_and_have_no_scale() -> None:
    found = spread(np.zeros((1, 8, 4), dtype=np.float32))
    assert found.dependence[0] == 0.0
    assert found.mean_square[0] == 0.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_element_spoils_its_own_slice_only(bad: float) -> None:
    x = np.random.default_rng(4).normal(size=(3, 16, 8)).astype(np.float32)
    x[1, 3, 2] = bad
    found = spread(x)
    assert np.isnan(found.dependence).tolist() == [False, True, False]
    assert np.isnan(found.participation).tolist() == [False, True, False]
    assert np.isnan(mean_square(x)).tolist() == [False, True, False]
    assert nonfinite_share(x).tolist() == pytest.approx([0, 1 / 128, 0])


def test_one_row_and_no_column_tell_nothing() -> None:
    one = spread(np.ones((2, 1, 5), dtype=np.float32))
    assert np.isnan(one.dependence).all()
    assert (one.mean_square == 1).all()
    assert np.isnan(spread(np.ones((2, 5, 0), dtype=np.float32)).mean_square).all()
    assert np.isnan(spread(np.ones((2, 0, 5), dtype=np.float32)).mean_square).all()


def test_points_on_a_line_use_one_direction() -> None:
    rng = np.random.default_rng(5)
    line = rng.normal(size=(1, 30, 1)) * rng.normal(size=(1, 1, 50)) + 10.0
    assert spread(line.astype(np.float32)).participation[0] == pytest.approx(1.0, abs=1e-3)

"""Rows made of few originals leap apart; measured ones, clusters in a plane and waves do not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from deadband_monitor.statistics.labels import Targets
from deadband_monitor.statistics.neighbours import Neighbours

Rows = NDArray[np.float64]
ROWS = 900


def told(x: Rows) -> float:
    """What 100 batches of 32 say."""
    rng, neighbours = np.random.default_rng(1), Neighbours()
    for _ in range(100):
        rows = rng.integers(0, len(x), 32)
        batch = x[rows].astype(np.float32)
        keys = [hash(row.tobytes()) for row in batch]
        neighbours.observe(batch, keys, Targets(rng.normal(size=(32, 1)), 1.0))
    return neighbours.groups.value()


def pictures(count: int) -> Rows:
    """Smooth rows of 64 features, of twelve causes."""
    rng = np.random.default_rng(2)
    return np.tanh(rng.normal(size=(count, 12)) @ rng.normal(size=(12, 64)) / 3)


def copies(originals: int, noise: float) -> Rows:
    rng = np.random.default_rng(3)
    rows: Rows = pictures(originals)[rng.integers(0, originals, ROWS)]
    return rows + noise * rng.normal(size=rows.shape)


@pytest.mark.parametrize(("originals", "noise"), [(1, 0.1), (2, 0.1), (5, 0.05), (16, 0.05)])
def test_copies_of_a_few_rows_are_counted(originals: int, noise: float) -> None:
    assert told(copies(originals, noise)) == pytest.approx(originals, rel=0.15)


def waves() -> Rows:
    start = np.random.default_rng(4).uniform(0, 6.28, (ROWS, 1))
    return np.sin(0.2 * np.arange(40) + start)


def windows() -> Rows:
    walk = np.cumsum(np.random.default_rng(5).normal(size=ROWS + 32))
    return np.lib.stride_tricks.sliding_window_view(walk, 32)[:ROWS]


def plane() -> Rows:
    rng = np.random.default_rng(6)
    return 4 * rng.normal(size=(3, 2))[rng.integers(0, 3, ROWS)] + rng.normal(size=(ROWS, 2))


def grid() -> Rows:
    return np.stack(np.meshgrid(np.linspace(-1, 1, 30), np.linspace(-1, 1, 30)), -1).reshape(-1, 2)


def counts() -> Rows:
    rng = np.random.default_rng(7)
    topics = np.exp(rng.normal(size=(10, 80)) - 1.5)
    return rng.poisson(topics[rng.integers(0, 10, ROWS)]).astype(float)


@pytest.mark.parametrize(
    "x",
    [
        pictures(ROWS),
        copies(300, 0.1),
        np.random.default_rng(8).normal(size=(ROWS, 64)),
        waves(),
        windows(),
        plane(),
        grid(),
        counts(),
    ],
    ids=["pictures", "augmented", "noise", "waves", "windows", "plane", "grid", "counts"],
)
def test_other_rows_fall_into_no_groups(x: Rows) -> None:
    assert np.isnan(told(x))

"""Whole targets: quantities lie in order over the inputs, class numbers do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from deadband_monitor.statistics.labels import Targets
from deadband_monitor.statistics.neighbours import Neighbours
from deadband_monitor.statistics.numbering import numbers_for_all

ROWS = 1200
Data = tuple[NDArray[np.float64], NDArray[np.float64]]


def told(data: Data) -> float:
    """What 120 batches of 48 say."""
    x, y = data
    rng, neighbours = np.random.default_rng(1), Neighbours()
    for _ in range(120):
        rows = rng.integers(0, len(x), 48)
        batch = x[rows].astype(np.float32)
        keys = [hash(row.tobytes()) for row in batch]
        neighbours.observe(batch, keys, Targets(y[rows, None], 1.0))
    return neighbours.numbering.value()


def clusters(kinds: int) -> Data:
    rng = np.random.default_rng(kinds)
    y = rng.integers(0, kinds, ROWS)
    return 3 * rng.normal(size=(kinds, 6))[y] + rng.normal(size=(ROWS, 6)), y.astype(float)


def grades(edges: tuple[float, ...], features: int) -> Data:
    x = np.random.default_rng(2).normal(size=(ROWS, features))
    return x, np.digitize(x[:, 0] + 0.6 * x[:, 1], edges).astype(float)


def waves() -> Data:
    x = np.random.default_rng(3).uniform(-2, 2, (ROWS, 2))
    return x, np.rint(4 + 2 * np.sin(2 * x[:, 0]) + 1.9 * np.cos(2 * x[:, 1]))


def counts() -> Data:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(ROWS, 12))
    return x, rng.poisson(np.exp(0.6 * x[:, 0])).astype(float)


@pytest.mark.parametrize("kinds", [5, 8, 10])
def test_classes_have_no_order(kinds: int) -> None:
    assert told(clusters(kinds)) > 0.5


@pytest.mark.parametrize(
    "data",
    [
        lambda: grades((-1.2, -0.4, 0.4, 1.2), 2),
        lambda: grades((-1.5, 0.0, 1.5), 3),
        lambda: grades((-1.2, -0.4, 0.4, 1.2), 10),
        waves,
        counts,
    ],
)
def test_quantities_are_in_order_or_not_shared(data: Callable[[], Data]) -> None:
    assert not told(data()) > 0.1


def test_too_few_numbers_broken_ones_and_far_ones_are_not_judged() -> None:
    x, y = clusters(3)
    assert np.isnan(told((x, y)))
    x, y = clusters(8)
    assert np.isnan(told((x, y / 2)))
    assert np.isnan(told((x, y * 1000)))
    assert np.isnan(told((x, y - 4)))


def test_class_numbers_that_every_column_is_drawn_to_are_told_from_heads_of_one_quantity() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.integers(4, size=(16, 1)) * np.ones((1, 4))
    assert numbers_for_all(kinds + 0.01 * rng.normal(size=kinds.shape), 4)
    assert not numbers_for_all(rng.normal(size=(16, 1)) * np.ones((1, 4)), 4)
    assert not numbers_for_all(3 * kinds, 4)  # counts, of which there are more than columns
    assert not numbers_for_all(np.eye(4)[rng.integers(4, size=16)], 4)
    assert not numbers_for_all(np.ones((16, 4)), 4)
    tokens = np.repeat(rng.integers(4, size=(16, 3)), 4, axis=1).astype(float)
    assert numbers_for_all(tokens, 4)  # three tokens of a row beside each other, each of its class
    assert not numbers_for_all(tokens, 3)

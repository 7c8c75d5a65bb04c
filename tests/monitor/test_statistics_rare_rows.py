"""Different rows of rare classes: counted once each was met several times."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deadband_monitor.statistics.labels import Labels, YesNo
from deadband_monitor.statistics.rare_rows import RareRows


def labels(classes: np.ndarray) -> Labels:
    whole = np.ones(len(classes), bool)
    return Labels(classes.astype(np.int64), whole, np.ones(len(classes)), 1.0)


def fed(
    rare: tuple[int, ...], many: int = 1000, batches: int = 200, parts: int = 0
) -> tuple[float, float]:
    """Batches of 32 from `many` rows of class 0 and so many of each further one."""
    random = np.random.default_rng(0)
    classes = np.repeat(np.arange(1 + len(rare)), (many, *rare))
    keys = np.arange(len(classes)) if not parts else np.arange(len(classes)) % parts
    share = many / len(classes)
    counted, told = RareRows(), (math.nan, math.nan)
    for _ in range(batches):
        chosen = random.integers(0, len(classes), 32)
        told = counted.observe(keys[chosen].tolist(), labels(classes[chosen]), 0, share)
    return told


def test_the_rows_of_rare_classes_are_counted_once_each_was_met() -> None:
    assert fed((5,)) == pytest.approx((5.0, 200.0))
    assert fed((4, 8)) == pytest.approx((6.0, 1000 / 6))
    assert np.isnan(fed((5,), batches=20)).all()


def test_many_rows_balanced_classes_and_rows_that_look_alike_are_passed_over() -> None:
    assert np.isnan(fed((60,), batches=1000)).all()
    assert np.isnan(fed((3,), many=9)).all()
    # Of what was copied of each row there are seven kinds: it tells no rows apart.
    assert np.isnan(fed((5,), parts=7)).all()


def test_yes_no_labels_are_one_a_row_or_none() -> None:
    counted = RareRows()
    column = np.zeros((32, 1))
    column[0] = 1.0
    for batch in range(8):
        keys = [7, *range(31 * batch + 100, 31 * batch + 131)]
        told = counted.observe(keys, YesNo(column, 1.0, 1.0), 0, 31 / 32)
    assert told == pytest.approx((1.0, 31.0))
    tags = YesNo(np.zeros((32, 3)), 1.0, 1.0)
    assert np.isnan(RareRows().observe(list(range(32)), tags, 0, 0.97)).all()


def test_another_class_that_rules_begins_anew() -> None:
    counted = RareRows()
    one, two = np.zeros(32), np.ones(32)
    one[0], two[0] = 1, 0
    for _ in range(10):
        counted.observe(list(range(32)), labels(one), 0, 0.97)
    assert np.isnan(counted.observe(list(range(32)), labels(two), 1, 0.97)).all()

"""Plain numbers of which some are not known."""

from __future__ import annotations

import math

import pytest

from deadband_monitor.rules.known import known_max, known_min


@pytest.mark.parametrize(("one", "other"), [(1.0, math.nan), (math.nan, 1.0), (1.0, 1.0)])
def test_what_is_not_known_gives_way_to_what_is(one: float, other: float) -> None:
    assert known_max(one, other) == known_min(one, other) == 1.0


def test_of_two_known_ones_either_order_gives_the_same() -> None:
    assert known_max(1.0, 2.0) == known_max(2.0, 1.0) == 2.0
    assert known_min(1.0, 2.0) == known_min(2.0, 1.0) == 1.0


def test_two_unknown_ones_are_not_known() -> None:
    assert math.isnan(known_max(math.nan, math.nan))
    assert math.isnan(known_min(math.nan, math.nan))

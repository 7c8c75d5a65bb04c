"""Every kind trains bit for bit as without deadband, and is seen as a slow look sees it."""

from __future__ import annotations

import pytest

from matrix import generative, structured, text, vision  # noqa: F401
from matrix.kit import KINDS, SLOW
from matrix.rig import bare, compare, same, slowly, watched

NAMES = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in KINDS]


@pytest.mark.filterwarnings("ignore:LSTM with projections", "ignore:enable_nested_tensor")
@pytest.mark.parametrize("name", NAMES)
def test_it_trains_the_same_and_is_seen_right(name: str) -> None:
    make = KINDS[name]
    without = bare(make)
    looked, looks, kit = slowly(make)
    ended, seen = watched(make)
    assert same(without, looked), "the slow look disturbs"
    assert same(without, ended)
    tally = compare(seen, looks, kit)
    row = f"{len(tally.layers)} layers, {len(tally.functions)} functions, {tally.figures} figures"
    print(f"{name}: {row}, {tally.left_out} outputs of other shapes left out")
    assert tally.wrong == []
    assert set(tally.missing) == set(kit.unseen), tally.missing
    assert tally.figures

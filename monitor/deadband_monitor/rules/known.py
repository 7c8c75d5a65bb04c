"""Of plain numbers of which some are not known (NaN): numpy takes ten times as long for so few."""

from __future__ import annotations


def known_max(one: float, other: float) -> float:
    """The larger of two; where one is NaN, the other."""
    return other if other > one or one != one else one


def known_min(one: float, other: float) -> float:
    """The smaller of two; where one is NaN, the other."""
    return other if other < one or one != one else one


__all__ = ["known_max", "known_min"]

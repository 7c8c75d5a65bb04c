"""Slices in, numbers out: pure numpy, batched over frames and over layers of one shape."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deadband_monitor.statistics.statistician import Statistician
    from deadband_monitor.statistics.values import Measured, RawFrame

__all__ = ["Measured", "RawFrame", "Statistician"]

_HOMES = {"Measured": "values", "RawFrame": "values", "Statistician": "statistician"}


def __getattr__(name: str) -> object:
    """What a viewer has no use for is imported when it is asked for: it wants the outlines only."""
    if name in _HOMES:
        return getattr(import_module(f"deadband_monitor.statistics.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

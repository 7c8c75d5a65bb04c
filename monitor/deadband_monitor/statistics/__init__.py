"""Slices in, numbers out: pure numpy, batched over frames and over layers of one shape."""

from __future__ import annotations

from deadband_monitor.statistics.statistician import Statistician
from deadband_monitor.statistics.values import Measured, RawFrame

__all__ = ["Measured", "RawFrame", "Statistician"]

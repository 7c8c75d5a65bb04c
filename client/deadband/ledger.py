"""Losses and scalars of the steps since the last frame. Tensors are kept as they are until then."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadband.wire import LOSS_CAPACITY

MOST_SCALARS = 200
"""Different names of users' scalars that are followed."""


class Ledger:
    """What every step gives, sampled or not."""

    def __init__(self) -> None:
        self.losses: deque[Any] = deque(maxlen=LOSS_CAPACITY)
        """One a step: a detached tensor, a float, or None."""
        self._scalars: dict[str, deque[tuple[int, Any]]] = {}

    def note(self, step: int, scalars: dict[str, Any]) -> None:
        """Users' scalars of a step; tensors are turned into figures at the next frame."""
        for name, value in scalars.items():
            points = self._scalars.get(name)
            if points is None:
                if len(self._scalars) >= MOST_SCALARS:
                    continue
                points = self._scalars[name] = deque(maxlen=LOSS_CAPACITY)
            points.append((step, value.detach() if hasattr(value, "detach") else value))

    def take_losses(self, step: int) -> tuple[int, NDArray[np.float32]]:
        """First step and losses up to `step`; the ledger is empty after."""
        values = np.array([_figure(loss) for loss in self.losses], np.float32)
        self.losses.clear()
        return step - len(values) + 1, values

    def take_scalars(self) -> dict[str, list[tuple[int, float]]]:
        """All points since the last call."""
        taken = {
            name: [(step, _figure(value)) for step, value in points]
            for name, points in self._scalars.items()
            if points
        }
        for points in self._scalars.values():
            points.clear()
        return taken


def _figure(value: Any) -> float:
    if value is None:
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return float("nan")  # not a scalar: not ours to complain in the middle of training

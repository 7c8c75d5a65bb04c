"""Losses and scalars of the steps since the last frame. No device is waited for until then."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

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
            points.append((step, kept(value)))

    @property
    def has_scalars(self) -> bool:
        """Whether any came since they were taken."""
        return any(self._scalars.values())

    def take_losses(self, step: int) -> tuple[int, list[Any]]:
        """First step and losses up to `step`, as they were given; the ledger is empty after."""
        losses = list(self.losses)
        self.losses.clear()
        return step - len(losses) + 1, losses

    def take_scalars(self) -> list[tuple[str, int, Any]]:
        """All points since the last call: name, step, value as it was given."""
        taken = [
            (name, step, value) for name, points in self._scalars.items() for step, value in points
        ]
        for points in self._scalars.values():
            points.clear()
        return taken


def kept(value: Any) -> Any:
    """What is kept of a loss until the next frame: the figure, or the tensor without its graph.

    A tensor in the processor's own memory is read at once. That is cheaper than to detach it, and
    leaves no small block behind that breaks up the heap between the large ones of a step.
    """
    if type(value) is float:
        return value
    try:
        return value.item() if value.is_cpu else value.detach()
    except AttributeError:
        return value  # a number, or None
    except RuntimeError:
        return value.detach()  # not one element: it becomes NaN later, not an error here


def given(losses: list[Any]) -> bytes:
    """Of each step, whether it gave a loss."""
    if all_floats(losses):
        return b"\1" * len(losses)
    return bytes([_is_given(loss) for loss in losses])


def figures(values: list[Any]) -> list[float]:
    """Numbers and tensors of one element as numbers; NaN for anything else."""
    return values if all_floats(values) else [figure(value) for value in values]


def all_floats(values: list[Any]) -> bool:
    """Whether there is nothing to convert: a loop of fast steps gives hundreds a sample."""
    return set(map(type, values)) == {float}


def _is_given(value: Any) -> bool:
    """Whether a step gave a loss: a number, or a tensor or array of one element."""
    if isinstance(value, int | float):
        return True
    shape = getattr(value, "shape", None)
    return shape is not None and math.prod(shape) == 1


def figure(value: Any) -> float:
    """A number or a tensor of one element as a number; NaN for anything else."""
    if value is None:
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return float("nan")  # not a scalar: not ours to complain in the middle of training

"""Notices training that goes on while nobody says that a step is over.

Once a second the sender's thread asks. Nothing is hooked and nothing is waited for: torch counts
how often a tensor was written to, and an optimiser writes to the same weight equally often at each
of its steps.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

UNSAID_STEPS = 20
"""Times a step's usual writes without a word: averages that are swapped in and out around an
evaluation write twice, a critic's five updates are within what is usual."""


class Unsaid:
    """Says so once weights have moved on for many steps without a call of `Watch.step`.

    Args:
        optimizers: those that are known by now.
    """

    def __init__(self, optimizers: Callable[[], Iterable[Optimizer]]) -> None:
        self._optimizers = optimizers
        self._weight: weakref.ref[Tensor] | None = None
        self._step = 0
        self._writes = 0
        """To the weight by the time that step was first seen."""
        self._usual = 0.0
        """Most writes a step so far."""

    def look(self, step: int) -> str:
        """One line where steps are left unsaid, else nothing."""
        weight = self._weight() if self._weight is not None else None
        if weight is None:
            weight = self._first_weight()
            if weight is None:
                return ""
            self._weight = weakref.ref(weight)
            self._step, self._writes, self._usual = step, weight._version, 0.0
            return ""
        writes = weight._version
        if step > self._step:
            self._usual = max(self._usual, (writes - self._writes) / (step - self._step))
            self._step, self._writes = step, writes
            return ""
        if not self._usual or writes - self._writes < UNSAID_STEPS * self._usual:
            return ""  # where `Watch.step` is never called, the optimiser's steps are counted
        return (
            f"training goes on, but watch.step() has not been called since step {step}: call it "
            "once after each optimizer.step()"
        )

    def _first_weight(self) -> Tensor | None:
        for optimizer in self._optimizers():
            for group in optimizer.param_groups:
                for weight in group["params"]:
                    if weight.requires_grad and not weight.is_inference():  # no count is kept there
                        return weight  # type: ignore[no-any-return]
        return None

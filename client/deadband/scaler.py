"""What `torch.amp.GradScaler` does to a step: it scales the loss, and leaves steps out.

Without this the loss of a zero-code run and all gradients of outputs would be off by the scale.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.amp import GradScaler
from torch.optim import Optimizer


class ScalerListener:
    """Hears of scaled losses and of steps that a GradScaler left out.

    Args:
        stepped: how many optimiser steps were seen so far.
        left_out: called with the optimiser whose step was left out.
    """

    def __init__(self, stepped: Callable[[], int], left_out: Callable[[Optimizer], None]) -> None:
        self.scale: Tensor | None = None
        """The scale of the last loss that was scaled."""
        self._stepped = stepped
        self._left_out = left_out
        self._scaled: tuple[Tensor, Tensor] | None = None
        self._open()

    def original(self, loss: Tensor) -> Tensor:
        """The loss as it was before it was scaled."""
        if self._scaled is not None and self._scaled[0] is loss:
            loss = self._scaled[1]
        self._scaled = None
        return loss

    def close(self) -> None:
        """Put torch's own methods back, unless somebody else has wrapped ours meanwhile."""
        self._scaled = self.scale = None
        for name, ours, original in self._replaced:
            if getattr(GradScaler, name) is ours:
                setattr(GradScaler, name, original)

    def _open(self) -> None:
        original_scale, original_step = GradScaler.scale, GradScaler.step

        def scale(scaler: GradScaler, outputs: Any) -> Any:
            scaled = original_scale(scaler, outputs)
            if scaler.is_enabled() and isinstance(outputs, Tensor):
                self._scaled, self.scale = (scaled, outputs), scaler._scale
            return scaled

        def step(scaler: GradScaler, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
            before = self._stepped()
            result = original_step(scaler, optimizer, *args, **kwargs)
            if self._stepped() == before:
                self._left_out(optimizer)
            return result

        self._replaced = (("scale", scale, original_scale), ("step", step, original_step))
        for name, ours, _ in self._replaced:
            setattr(GradScaler, name, ours)

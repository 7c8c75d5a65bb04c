"""What the author of a loop would hand to a tool, heard from outside the loop.

Losses as they are propagated back, the losses of evaluation passes, and the arguments of the last
loss: everything is put back as it was at the end. Our own client hears the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional

LOSSES = (
    "cross_entropy",
    "nll_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "kl_div",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The last loss function called in training: its name, and what it compared."""

    loss: str
    predictions: Tensor
    labels: Tensor


class Ear:
    """Hears one run."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.compared: Compared | None = None
        self.evaluations: list[float] = []
        """Losses of evaluation passes, oldest first."""
        self.scales = False
        """A gradient scaler was used since the last step; it may have skipped the update."""
        self._models = models
        self._open = ExitStack()
        self._pending: list[float] = []
        self._last: float | None = None

    def open(self) -> None:
        """Start to hear."""
        for name in LOSSES:
            self._put(functional, name, self._on_loss(name, getattr(functional, name)))
        backward, scale = Tensor.backward, torch.amp.GradScaler.scale
        scaled: list[int] = []

        def on_backward(tensor: Tensor, *args: Any, **named: Any) -> Any:
            if id(tensor) in scaled:
                scaled.remove(id(tensor))
            else:
                self._pending.append(float(tensor.detach().mean()))
            return backward(tensor, *args, **named)  # type: ignore[no-untyped-call]

        def on_scale(scaler: Any, outputs: Any) -> Any:
            result = scale(scaler, outputs)
            if isinstance(outputs, Tensor):
                self._pending.append(float(outputs.detach().mean()))
                scaled.append(id(result))
                self.scales = True
            return result

        self._put(Tensor, "backward", on_backward)
        self._put(torch.amp.GradScaler, "scale", on_scale)

    def close(self) -> None:
        """Hear no more."""
        self._open.close()
        self.compared = None

    def loss(self) -> float | None:
        """What was propagated back since the last update; parts of a batch are summed.

        None where nothing was in this step.
        """
        if self._pending:
            self._last = sum(self._pending)
            self._pending.clear()
        return self._last

    def end_step(self, told: int) -> None:
        """The step is over; so many of the evaluations have been passed on."""
        self._pending.clear()
        self._last = None
        self.scales = False
        del self.evaluations[:told]

    def _put(self, owner: Any, name: str, value: Any) -> None:
        self._open.enter_context(mock.patch.object(owner, name, value))

    def _on_loss(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **named: Any) -> Any:
            result = original(*args, **named)
            if torch.is_grad_enabled():
                predictions = args[0] if args else named["input"]
                labels = args[1] if len(args) > 1 else named["target"]
                self.compared = Compared(
                    loss=name, predictions=predictions.detach(), labels=labels.detach()
                )
            elif not any(model.training for model in self._models) and result.numel() == 1:
                self.evaluations.append(float(result))
            return result

        return called

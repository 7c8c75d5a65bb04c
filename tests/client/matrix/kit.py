"""What one kind of model is to the matrix: models, how a step of theirs goes, what holds of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Loss = Callable[[], Tensor]


@dataclass(kw_only=True)
class Kit:
    """Models and optimisers, fresh from a seed, and one step of training them."""

    models: Mapping[str, nn.Module]
    loss: Loss
    """Makes the loss of the next batch, which it draws."""
    optimizers: list[Optimizer] = field(default_factory=list)
    advance: Callable[[Kit], Tensor] | None = None
    """The whole step, where it is not: gradients away, loss, backward, update."""
    batch: int = 6
    """Samples of a batch: tells the axis of samples from that of time."""
    rootless: bool = False
    """Whether the model's parts are called instead of the model."""
    unseen: Mapping[str, str] = field(default_factory=dict)
    """Layer -> why its output cannot be seen."""

    def __post_init__(self) -> None:
        if not self.optimizers:
            parameters = [each for model in self.models.values() for each in model.parameters()]
            self.optimizers = [torch.optim.SGD(parameters, lr=0.02, momentum=0.9)]

    def step(self) -> Tensor:
        """One step of training."""
        if self.advance is not None:
            return self.advance(self)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss = self.loss()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        return loss


KINDS: dict[str, Callable[[], Kit]] = {}
"""Name -> how to make it."""
SLOW: set[str] = set()
"""Names of those that take long."""


def kind(name: str, *, slow: bool = False) -> Callable[[Callable[[], Kit]], Callable[[], Kit]]:
    """Put a kind into the matrix."""

    def put(make: Callable[[], Kit]) -> Callable[[], Kit]:
        assert name not in KINDS
        KINDS[name] = make
        if slow:
            SLOW.add(name)
        return make

    return put


def of(model: nn.Module, loss: Callable[[Any], Tensor], **more: Any) -> Kit:
    """A kit of one model; `loss` is given it."""
    return Kit(models={"model": model}, loss=lambda: loss(model), **more)

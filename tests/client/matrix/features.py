"""Short runs of small models, watched and bare, for one feature at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import deadband
from deadband.watching import Watch

STEPS = 4


class Of(nn.Module):
    """A model whose forward is a function of its parts."""

    def __init__(self, run: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self.run = run

    def forward(self, *args: Any) -> Any:
        return self.run(self, *args)


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def cross_entropy(out: Tensor) -> Tensor:
    """Against the first class."""
    return F.cross_entropy(out.flatten(0, -2), torch.zeros(out[..., 0].numel()).long())


@dataclass
class Trained:
    """A watched run of four steps that went as the bare one."""

    watch: Watch
    model: nn.Module
    before: dict[str, Tensor]
    """The state ahead of the last step, whose data come from seed 4."""


Loss = Callable[[Any], Tensor]
Prepare = Callable[[Any, torch.optim.Optimizer, int], None]


def train(
    make: Callable[[], nn.Module],
    loss: Loss,
    *,
    prepare: Prepare | None = None,
    named: bool = True,
    steps: int = STEPS,
    compare: bool = True,
) -> Trained:
    """Train bare and watched; the same weights must come out, and no fault.

    Args:
        make: makes the model.
        loss: the loss of the next batch, which it draws.
        prepare: called ahead of each step with the model, the optimiser, and the step from 0.
        named: whether the optimiser is named to `watch`.
        steps: how many.
        compare: whether weights can be compared.
    """
    bare, _ = _run(make, loss, prepare, steps, None)
    model, trained = _run(make, loss, prepare, steps, named)
    assert trained is not None
    if compare:
        assert model.state_dict().keys() == bare.state_dict().keys()
        for a, b in zip(bare.state_dict().values(), model.state_dict().values(), strict=True):
            assert a.is_meta or torch.equal(a, b)
    beat = trained.watch._beat()
    assert (beat.faults, beat.fault, beat.samples) == (0, "", steps)
    return trained


def _run(
    make: Callable[[], nn.Module],
    loss: Loss,
    prepare: Prepare | None,
    steps: int,
    named: bool | None,
) -> tuple[nn.Module, Trained | None]:
    torch.manual_seed(3)
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    watch = None
    if named is not None:
        watch = deadband.watch(model, *([optimizer] if named else []), every=1)
    before: dict[str, Tensor] = {}
    for step in range(steps):
        if prepare is not None:
            prepare(model, optimizer, step)
        torch.manual_seed(step + 5 - steps)
        optimizer.zero_grad()
        value = loss(model)
        value.backward()
        if step == steps - 1:
            before = {key: each.detach().clone() for key, each in model.state_dict().items()}
        optimizer.step()
        if watch is not None:
            watch.step(loss=value.detach())
    return model, None if watch is None else Trained(watch, model, before)

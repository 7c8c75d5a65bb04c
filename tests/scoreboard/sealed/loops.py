"""The sealed runs' loops: passes over the rows, one update, and what was learnt in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.loops import dice, worth
from scoreboard.scenario import Training
from scoreboard.sealed.data import Rows

Loss = Callable[[Tensor, Tensor], Tensor]
Build = Callable[[Iterable[Any]], Any]


def by(name: str, lr: float, **settings: Any) -> Build:
    """An optimiser of torch by its name."""
    return lambda weights: getattr(torch.optim, name)(weights, lr=lr, **settings)


class Loader:
    """Shuffled passes over the rows, batch by batch, without end."""

    def __init__(self, rows: Rows, batch: int, seed: int = 7, shuffle: bool = True) -> None:
        self.rows, self.batch, self.shuffle = rows, min(batch, len(rows[0])), shuffle
        self.dice = dice(seed)
        self.queue: list[Tensor] = []

    def __call__(self) -> Rows:
        if not self.queue:
            count = len(self.rows[0])
            order = torch.randperm(count, generator=self.dice) if self.shuffle else None
            order = torch.arange(count) if order is None else order
            whole = count // self.batch * self.batch
            self.queue = list(order[:whole].split(self.batch))[::-1]
        index = self.queue.pop()
        return self.rows[0][index], self.rows[1][index]


def from_step(
    at: int, before: Callable[[], Rows], spoil: Callable[[Rows], Rows]
) -> Callable[[], Rows]:
    """A loader whose batches are something else from that step on."""
    drawn = [0]

    def draw() -> Rows:
        drawn[0] += 1
        rows = before()
        return spoil(rows) if drawn[0] >= at else rows

    return draw


def usual_loss(y: Tensor) -> Loss:
    """What one takes for such answers."""
    if y.is_floating_point():
        return nn.MSELoss()

    def by_class(out: Tensor, y: Tensor) -> Tensor:
        if out.dim() == 3:
            return functional.cross_entropy(out.transpose(1, 2), y)
        return functional.cross_entropy(out, y)

    return by_class


def routine(
    model: nn.Module,
    rows: Rows,
    build: Build,
    *,
    loss: Loss | None = None,
    batch: int = 32,
    draw: Callable[[], Rows] | None = None,
    held: Rows | None = None,
    schedule: Callable[[Any], Any] | None = None,
    clip: float = 0.0,
    clear: str = "before",
    parts: int = 1,
    extra: Callable[[], Tensor] | None = None,
    before: Callable[[int], None] | None = None,
    half: bool = False,
    weights: Iterable[Any] | None = None,
    score: Callable[[], float] | None = None,
) -> Training:
    """Train on batches. `held` rows are looked at every 25 steps, and skill is measured there."""
    optimizer = build(model.parameters() if weights is None else weights)
    plan = schedule(optimizer) if schedule else None
    criterion = loss or usual_loss(rows[1])
    take = draw or Loader(rows, batch)
    cast: Callable[[], Any] = (
        (lambda: torch.autocast("cpu", dtype=torch.bfloat16)) if half else nullcontext
    )

    def step(k: int) -> Tensor:
        if before is not None:
            before(k)
        if clear == "before":
            optimizer.zero_grad()
        whole = torch.zeros(())
        for _ in range(parts):
            x, y = take()
            with cast():
                value = criterion(model(x), y)
            if extra is not None:
                value = value + extra()
            (value / parts).backward()
            whole = whole + value.detach() / parts
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if clear == "after":
            optimizer.zero_grad(set_to_none=False)
        if plan is not None:
            plan.step()
        if held is not None and k % 25 == 0:
            model.eval()
            with torch.no_grad():
                criterion(model(held[0]), held[1])
            model.train()
        return whole

    return Training(model, optimizer, step, score or worth(model, *(held or rows)))

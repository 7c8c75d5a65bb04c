"""The sealed runs' loops: passes over the rows, one update, and what was learnt in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.scenario import Training
from scoreboard.sealed_data import Rows, dice

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

    return Training(model, optimizer, step, score or skill(model, *(held or rows)))


def update(optimizer: Any, value: Tensor) -> Tensor:
    """One update by this loss."""
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value.detach()


def skill(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Callable[[], float]:
    """Variance explained, or hits above those of the commonest answer."""

    def score() -> float:
        if isinstance(model, nn.Module):
            model.eval()
        with torch.no_grad():
            out = model(x).float()
        return hits(out, y)

    return score


def hits(out: Tensor, y: Tensor) -> float:
    """The same of answers that are there."""
    if not out.isfinite().all():
        return float("nan")
    if y.is_floating_point():
        return float(1 - (out - y).square().mean() / (y - y.mean(0)).square().mean())
    most = y.flatten().bincount().max() / y.numel()
    return float(((out.argmax(-1) == y).float().mean() - most) / (1 - most))


def yes_no(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], float]:
    """Of one logit: how many of the yes and of the no are found, above a coin's half."""

    def score() -> float:
        model.eval()
        with torch.no_grad():
            said = model(x) > 0
        truth = y > 0.5
        return float(said[truth].float().mean() + (~said[~truth]).float().mean() - 1)

    return score


def by_kind(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], float]:
    """How many of each kind are found, above what one answer for all finds."""

    def score() -> float:
        model.eval()
        with torch.no_grad():
            said = model(x).argmax(-1)
        kinds = y.unique()
        found = torch.stack([(said[y == kind] == kind).float().mean() for kind in kinds]).mean()
        return float((found - 1 / len(kinds)) / (1 - 1 / len(kinds)))

    return score


def alike(codes: Callable[[], Tensor], y: Tensor) -> Callable[[], float]:
    """How often the nearest other row is of the same kind, above chance."""

    def score() -> float:
        with torch.no_grad():
            z = codes().double()
        if not z.isfinite().all():
            return float("nan")
        z = z + 1e-4 * torch.randn(z.shape, generator=dice(8)).double()
        near = (torch.cdist(z, z) + 1e9 * torch.eye(len(z))).argmin(1)
        chance = float(y.bincount().float().div(len(y)).square().sum())
        return (float((y[near] == y).float().mean()) - chance) / (1 - chance)

    return score

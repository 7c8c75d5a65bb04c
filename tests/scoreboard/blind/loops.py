"""The blind runs' loops: epochs of a loader, updates, and what was learnt in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from scoreboard.blind.data import Rows
from scoreboard.loops import Lion, dice, worth
from scoreboard.scenario import Training

Loss = Callable[[Tensor, Tensor], Tensor]
Make = Callable[[Iterable[Any]], Any]


def using(name: str, lr: float, **settings: Any) -> Make:
    """An optimiser by its name, for weights that are still to come."""
    kind: Any = Lion if name == "Lion" else getattr(torch.optim, name)
    return lambda weights: kind(weights, lr=lr, **settings)


def epochs(rows: Rows, batch: int, shuffle: bool = True, seed: int = 5) -> Iterator[Rows]:
    """Batches of shuffled epochs, for ever."""
    loader = DataLoader(
        TensorDataset(*rows), batch, shuffle=shuffle, drop_last=True, generator=dice(seed)
    )
    while True:
        for batched in loader:
            yield batched[0], batched[1]


def since(at: int, batches: Iterator[Rows], other: Callable[[Rows], Rows]) -> Iterator[Rows]:
    """Those batches, from number `at` on made into something else."""
    for k, rows in enumerate(batches, 1):
        yield other(rows) if k >= at else rows


def fitting(y: Tensor) -> Loss:
    """Squares for numbers; cross-entropy for kinds, of words and pixels too."""
    if y.is_floating_point():
        return nn.MSELoss()
    if y.dim() == 1:
        return nn.CrossEntropyLoss()
    if y.dim() == 2:
        return lambda out, y: functional.cross_entropy(out.flatten(0, 1), y.flatten())
    return functional.cross_entropy


def study(
    model: nn.Module,
    rows: Rows,
    make: Make,
    *,
    loss: Loss | None = None,
    batch: int = 32,
    batches: Iterator[Rows] | None = None,
    test: Rows | None = None,
    plan: Callable[[Any], Any] | None = None,
    clip: float = 0.0,
    clear: bool = True,
    micro: int = 1,
    before: Callable[[int], None] | None = None,
    weights: Iterable[Any] | None = None,
    score: Callable[[], float] | None = None,
) -> Training:
    """Train. `test` rows are looked at every 20 steps, and skill is measured there."""
    optimizer = make(model.parameters() if weights is None else weights)
    schedule = plan(optimizer) if plan else None
    criterion = loss or fitting(rows[1])
    source = batches or epochs(rows, min(batch, len(rows[0])))

    def step(k: int) -> Tensor:
        if before is not None:
            before(k)
        if clear:
            optimizer.zero_grad()
        total = torch.zeros(())
        for _ in range(micro):
            x, y = next(source)
            value = criterion(model(x), y) / micro
            value.backward()
            total = total + value.detach()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        if test is not None and k % 20 == 0:
            model.eval()
            with torch.no_grad():
                criterion(model(test[0]), test[1])
            model.train()
        return total

    return Training(model, optimizer, step, score or worth(model, *(test or rows)))

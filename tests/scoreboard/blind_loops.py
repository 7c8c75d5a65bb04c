"""The blind runs' loops: epochs of a loader, updates, and what was learnt in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from scoreboard.blind_data import Rows, dice
from scoreboard.scenario import Training

Loss = Callable[[Tensor, Tensor], Tensor]
Make = Callable[[Iterable[Any]], Any]


class Lion(Optimizer):
    """Only the sign of a mix of gradient and momentum is followed."""

    def __init__(self, params: Any, lr: float, b1: float = 0.9, b2: float = 0.99) -> None:
        super().__init__(params, {"lr": lr, "b1": b1, "b2": b2})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                p.add_((group["b1"] * m + (1 - group["b1"]) * p.grad).sign(), alpha=-group["lr"])
                m.lerp_(p.grad, 1 - group["b2"])


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


def apply(optimizer: Any, value: Tensor) -> Tensor:
    """One update by this loss."""
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value.detach()


def worth(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Callable[[], float]:
    """Variance explained, or hits above those of the commonest kind; pixels have kinds at dim 1."""

    def score() -> float:
        if isinstance(model, nn.Module):
            model.eval()
        with torch.no_grad():
            out = model(x).float()
        if not out.isfinite().all():
            return float("nan")
        if y.is_floating_point():
            return float(1 - (out - y).square().mean() / (y - y.mean(0)).square().mean())
        said = out.argmax(1 if y.dim() == 3 else -1)
        most = y.flatten().bincount().max() / y.numel()
        return float(((said == y).float().mean() - most) / (1 - most))

    return score


def balanced(model: nn.Module, x: Tensor, y: Tensor, dim: int = -1) -> Callable[[], float]:
    """How many of each kind are found, above what one answer for all finds."""

    def score() -> float:
        model.eval()
        with torch.no_grad():
            said = model(x).argmax(dim)
        kinds = y.unique()
        found = torch.stack([(said[y == kind] == kind).float().mean() for kind in kinds]).mean()
        return float((found - 1 / len(kinds)) / (1 - 1 / len(kinds)))

    return score


def either(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], float]:
    """Of logits: how many of the yes and of the no are found, above a coin's half."""

    def score() -> float:
        model.eval()
        with torch.no_grad():
            said = model(x) > 0
        truth = y > 0.5
        return float(said[truth].float().mean() + (~said[~truth]).float().mean() - 1)

    return score


def neighbours(codes: Callable[[], Tensor], y: Tensor) -> Callable[[], float]:
    """How often the nearest other row is of the same kind, above chance."""

    def score() -> float:
        with torch.no_grad():
            z = codes().double()
        if not z.isfinite().all():
            return float("nan")
        z = z / z.square().mean().sqrt().clamp(min=1e-12)
        z = z + 1e-4 * torch.randn(z.shape, generator=dice(8)).double()
        far = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")
        near = (far + 1e9 * torch.eye(len(z))).argmin(1)
        chance = float(y.bincount().float().div(len(y)).square().sum())
        return (float((y[near] == y).float().mean()) - chance) / (1 - chance)

    return score

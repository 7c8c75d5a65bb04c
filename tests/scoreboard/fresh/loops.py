"""The fresh runs' loops: how they are fed, trained and scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.fresh.data import Pair, source
from scoreboard.scenario import Training

Loss = Callable[[Tensor, Tensor], Tensor]
Make = Callable[[Iterable[Tensor]], Any]
Draw = Callable[[], Pair]


def with_(name: str, lr: float, **settings: Any) -> Make:
    """An optimiser of torch by its name."""
    return lambda parameters: getattr(torch.optim, name)(parameters, lr=lr, **settings)


def epochs(data: Pair, batch: int, seed: int = 5) -> Draw:
    """Batches of one shuffled pass after the other."""
    g = source(seed)
    left: list[Tensor] = []

    def draw() -> Pair:
        if not left:
            order = torch.randperm(len(data[0]), generator=g)
            whole = len(order) // batch * batch
            left.extend(order[:whole].split(batch) if whole else [order])
        index = left.pop()
        return data[0][index], data[1][index]

    return draw


def entropy(out: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy over the last axis, for rows and for sequences."""
    if out.dim() == 3:
        return functional.cross_entropy(out.flatten(0, 1), y.flatten())
    return functional.cross_entropy(out, y)


def turn(optimizer: Any, value: Tensor) -> Tensor:
    """One update by this loss."""
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value.detach()


def course(
    model: nn.Module,
    data: Pair,
    make: Make,
    *,
    loss: Loss | None = None,
    batch: int = 32,
    draw: Draw | None = None,
    held: Pair | None = None,
    score: Callable[[], float] | None = None,
    rate: Callable[[int], float] | None = None,
    clip: float = 0.0,
    clear: bool = True,
    penalty: Callable[[], Tensor] | None = None,
) -> Training:
    """The usual loop. `held`: rows that a pass without gradients looks at every 20 steps."""
    optimizer = make([p for p in model.parameters() if p.requires_grad])
    base = [group["lr"] for group in optimizer.param_groups]
    measure: Loss = loss or (functional.mse_loss if data[1].is_floating_point() else entropy)
    take = draw or epochs(data, batch)

    def step(k: int) -> Tensor:
        if rate is not None:
            for group, lr in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = lr * rate(k)
        x, y = take()
        if clear:
            optimizer.zero_grad()
        value = measure(model(x), y)
        if penalty is not None:
            value = value + penalty()
        value.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if held is not None and k % 20 == 0:
            model.eval()
            with torch.no_grad():
                measure(model(held[0]), held[1])
            model.train()
        return value.detach()

    x, y = held or data
    return Training(model, optimizer, step, score or told(model, x, y))


def told(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Callable[[], float]:
    """Numbers: variance explained. Kinds: hits above those of the commonest kind."""

    def score() -> float:
        if isinstance(model, nn.Module):
            model.eval()
        with torch.no_grad():
            out = model(x).float()
        if y.is_floating_point():
            return float(1 - (out - y).square().mean() / (y - y.mean(0)).square().mean())
        most = y.flatten().bincount().max() / y.numel()
        hits = (out.argmax(-1) == y).float().mean()
        return float((hits - most) / (1 - most)) if out.isfinite().all() else float("nan")

    return score


def recalled(answer: Callable[[], Tensor], y: Tensor) -> Callable[[], float]:
    """Of each kind how many are found, above what one answer for all would find."""

    def score() -> float:
        with torch.no_grad():
            said = answer().flatten()
        kinds = y.unique().tolist()
        found = [float((said[y.flatten() == kind] == kind).float().mean()) for kind in kinds]
        return (sum(found) / len(found) - 1 / len(found)) / (1 - 1 / len(found))

    return score

"""From a network and data to a loop; and how well it did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.data import Batch, sampler, scaled
from scoreboard.harness import Training

Loss = Callable[[Tensor, Tensor], Tensor]

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda p, lr, **k: torch.optim.SGD(p, lr, **k),
    "momentum": lambda p, lr, **k: torch.optim.SGD(p, lr, momentum=0.9, **k),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}


def class_score(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], float]:
    """1 - loss / loss of the base rates, over all of x."""

    def score() -> float:
        model.eval()
        with torch.no_grad():
            logits = model(x)
            if logits.dim() == 3:
                logits, flat = logits.flatten(0, 1), y.flatten()
            else:
                flat = y
            loss = functional.cross_entropy(logits, flat)
            share = torch.bincount(flat).float() / len(flat)
            share = share[share > 0]
            constant = -(share * share.log()).sum()
        return float(1 - loss / constant)

    return score


def value_score(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], float]:
    """Explained variance."""

    def score() -> float:
        model.eval()
        with torch.no_grad():
            return float(1 - functional.mse_loss(model(x), y) / y.var())

    return score


def fit(
    model: nn.Module,
    data: str | tuple[Tensor, Tensor],
    *,
    opt: str = "sgd",
    lr: float = 0.1,
    batch: int = 64,
    loss: Loss | None = None,
    draw: Callable[[], Batch] | None = None,
    schedule: Callable[[int], float] | None = None,
    clip: float = 0.0,
    penalty: Callable[[], Tensor] | None = None,
    parameters: Any = None,
    before: Callable[[int], None] | None = None,
    score: Callable[[], float] | None = None,
    **settings: Any,
) -> Training:
    """The usual loop: `schedule(k)` multiplies the learning rate at step k."""
    if isinstance(data, str):
        data = scaled(data)
    x, y = data
    values = y.is_floating_point()
    criterion = loss or (functional.mse_loss if values else functional.cross_entropy)
    optimizer = OPTIMIZERS[opt](
        model.parameters() if parameters is None else parameters, lr=lr, **settings
    )
    take = draw or sampler(x, y, batch)
    if score is None:
        score = value_score(model, x, y) if values else class_score(model, x, y)

    def step(k: int) -> Tensor:
        if before is not None:
            before(k)
        if schedule is not None:
            for group in optimizer.param_groups:
                group["lr"] = lr * schedule(k)
        a, b = take()
        out = model(a)
        if out.dim() == 3 and not values:
            value = functional.cross_entropy(out.flatten(0, 1), b.flatten())
        else:
            value = criterion(out, b)
        if penalty is not None:
            value = value + penalty()
        optimizer.zero_grad()
        value.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        return value.detach()

    return Training(model, optimizer, step, score)

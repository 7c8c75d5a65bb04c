"""From a network and data to a loop; and how well it did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.data import Batch, sampler, scaled, text, text_sampler
from scoreboard.scenario import Training

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
            return float(1 - functional.mse_loss(model(x).view_as(y), y) / y.var())

    return score


def recall_score(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], float]:
    """Mean recall of the classes: 0 where one class is all that is answered."""

    def score() -> float:
        model.eval()
        with torch.no_grad():
            answers = model(x).argmax(1)
        classes = y.unique()
        recall = torch.stack([(answers[y == c] == c).float().mean() for c in classes]).mean()
        return float((recall - 1 / len(classes)) / (1 - 1 / len(classes)))

    return score


def hit_score(answer: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Callable[[], float]:
    """Accuracy over that of the most frequent class; for losses that have no likelihood."""

    def score() -> float:
        with torch.no_grad():
            hits = (answer(x).flatten() == y.flatten()).float().mean()
        most = torch.bincount(y.flatten().long()).max() / y.numel()
        return float((hits - most) / (1 - most))

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
    held: tuple[Tensor, Tensor] | None = None,
    each: int = 20,
    **settings: Any,
) -> Training:
    """The usual loop.

    `schedule(k)` multiplies the learning rate at step k. With `held`, that data is looked at
    without training every `each` steps, and it is what the score is taken on.
    """
    if isinstance(data, str):
        data = scaled(data)
    x, y = data
    values = y.is_floating_point()
    criterion = loss or (nn.MSELoss() if values else nn.CrossEntropyLoss())
    optimizer = OPTIMIZERS[opt](
        model.parameters() if parameters is None else parameters, lr=lr, **settings
    )
    take = draw or sampler(x, y, batch)
    if score is None:
        judged = held or (x, y)
        score = value_score(model, *judged) if values else class_score(model, *judged)

    def measure(out: Tensor, b: Tensor) -> Tensor:
        if out.dim() == 3 and not values:
            out, b = out.flatten(0, 1), b.flatten()
        return criterion(out, b)

    def step(k: int) -> Tensor:
        if before is not None:
            before(k)
        if held is not None and k % each == 0:
            model.eval()
            with torch.no_grad():
                measure(model(held[0]), held[1])
            model.train()
        if schedule is not None:
            for group in optimizer.param_groups:
                group["lr"] = lr * schedule(k)
        a, b = take()
        value = measure(model(a), b)
        if penalty is not None:
            value = value + penalty()
        optimizer.zero_grad()
        value.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        return value.detach()

    return Training(model, optimizer, step, score)


def text_fit(model: nn.Module, **settings: Any) -> Training:
    """Next characters: the loop over the text."""
    ids, _ = text()
    x = ids[: 64 * 32].view(64, 32)
    y = ids[1 : 64 * 32 + 1].view(64, 32)
    draw = settings.pop("draw", None) or text_sampler(32, 32)
    return fit(model, (x, y), draw=draw, score=class_score(model, x, y), **settings)

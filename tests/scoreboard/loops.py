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


def dice(seed: int) -> torch.Generator:
    """Random numbers that are the same in every run."""
    return torch.Generator().manual_seed(seed)


class Lion(torch.optim.Optimizer):
    """Only the sign of a mix of gradient and momentum is followed (arXiv:2302.06675)."""

    def __init__(self, parameters: Any, lr: float = 1e-3, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                held = self.state[p].setdefault("momentum", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * (0.9 * held + 0.1 * p.grad).sign())
                held.lerp_(p.grad, 0.01)


def update(optimizer: Any, value: Tensor) -> Tensor:
    """One update by this loss."""
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value.detach()


def worth(model: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Callable[[], float]:
    """As `hits`, of what the model answers in the end."""

    def score() -> float:
        if isinstance(model, nn.Module):
            model.eval()
        with torch.no_grad():
            return hits(model(x).float(), y)

    return score


def hits(out: Tensor, y: Tensor) -> float:
    """Variance explained, or hits above those of the commonest kind; pixels have kinds at dim 1."""
    if not out.isfinite().all():
        return float("nan")
    if y.is_floating_point():
        return float(1 - (out - y).square().mean() / (y - y.mean(0)).square().mean())
    said = out.argmax(1 if y.dim() == 3 else -1)
    most = y.flatten().bincount().max() / y.numel()
    return float(((said == y).float().mean() - most) / (1 - most))


def by_kind(model: nn.Module, x: Tensor, y: Tensor, dim: int = -1) -> Callable[[], float]:
    """How many of each kind are found, above what one answer for all finds."""

    def score() -> float:
        model.eval()
        with torch.no_grad():
            said = model(x).argmax(dim)
        kinds = y.unique()
        found = torch.stack([(said[y == kind] == kind).float().mean() for kind in kinds]).mean()
        return float((found - 1 / len(kinds)) / (1 - 1 / len(kinds)))

    return score


def yes_no(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], float]:
    """Of one logit: how many of the yes and of the no are found, above a coin's half."""

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

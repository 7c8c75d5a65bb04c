"""The loops of the exam, and optimisers that torch has not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.exam_data import Pair, seeded
from scoreboard.loops import class_score, value_score
from scoreboard.scenario import Training

Make = Callable[[Iterable[Tensor]], torch.optim.Optimizer]
Loss = Callable[[Tensor, Tensor], Tensor]
Score = Callable[[], float]


def by(name: str, lr: float, **settings: Any) -> Make:
    """One of torch's optimisers, or of those below."""
    kind = {"Lion": Lion, "Muon": Muon}.get(name) or getattr(torch.optim, name)
    return lambda parameters: kind(parameters, lr=lr, **settings)


class Lion(torch.optim.Optimizer):
    """Steps by the sign of a momentum."""

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


class Muon(torch.optim.Optimizer):
    """Makes the momentum of every matrix orthogonal before it steps along it."""

    def __init__(self, parameters: Any, lr: float = 0.02) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                held = self.state[p].setdefault("momentum", torch.zeros_like(p))
                held.mul_(0.9).add_(p.grad)
                update = held
                if p.dim() >= 2:
                    update = held.flatten(1) / (held.norm() + 1e-7)
                    for _ in range(6):
                        update = 1.5 * update - 0.5 * update @ update.T @ update
                    update = update.view_as(p) * max(1, p.shape[0] / p[0].numel()) ** 0.5
                p.sub_(group["lr"] * update)


def drill(
    model: nn.Module | Mapping[str, nn.Module],
    objective: Callable[[], Tensor],
    optimizer: torch.optim.Optimizer,
    score: Score | None,
    *,
    scheduler: Any = None,
    clip: float = 0.0,
    micro: int = 1,
    half: bool = False,
    zero: bool = True,
    before: Callable[[int], None] | None = None,
    after: Callable[[int], None] | None = None,
) -> Training:
    """Any loss at all, in `micro` parts, in bfloat16 where asked."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def step(k: int) -> Tensor:
        if before is not None:
            before(k)
        total = torch.zeros(())
        for _ in range(micro):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                loss = objective() / micro
            loss.backward()  # type: ignore[no-untyped-call]
            total = total + loss.detach()
        if clip:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        if zero:
            optimizer.zero_grad()
        if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            scheduler.step(total)
        elif scheduler is not None:
            scheduler.step()
        if after is not None:
            after(k)
        return total

    return Training(model, optimizer, step, score)


def rows(data: Pair, batch: int, seed: int = 1) -> Callable[[], Pair]:
    """The rows in a new order each epoch; all of them for ever where the batch is as large."""
    x, y = data
    source = seeded(seed)
    waiting: list[Tensor] = []

    def draw() -> Pair:
        if batch >= len(x):
            return x, y
        if not waiting:
            waiting.extend(torch.randperm(len(x), generator=source).split(batch))
            if len(waiting[-1]) < batch:
                waiting.pop()
        index = waiting.pop()
        return x[index], y[index]

    return draw


def usual(y: Tensor) -> Loss:
    """The loss that such answers call for."""
    return functional.mse_loss if y.is_floating_point() else functional.cross_entropy


def flat(loss: Loss) -> Loss:
    """The loss of every place of a sequence."""
    return lambda out, y: loss(out.flatten(0, 1), y.flatten()) if out.dim() == 3 else loss(out, y)


def learn(
    model: nn.Module,
    data: Pair,
    make: Make,
    *,
    loss: Loss | None = None,
    batch: int = 48,
    score: Score | None = None,
    held: Pair | None = None,
    each: int = 20,
    draw: Callable[[], Pair] | None = None,
    parameters: Iterable[Tensor] | None = None,
    extra: Callable[[], Tensor] | None = None,
    plan: Callable[[torch.optim.Optimizer], Any] | None = None,
    **how: Any,
) -> Training:
    """Rows and answers; `held` is looked at every `each` steps, and is what the score is of."""
    x, y = data
    measure = flat(loss or usual(y))
    take = draw or rows(data, batch)
    optimizer = make(model.parameters() if parameters is None else parameters)
    if score is None:
        judged = held or data
        score = (value_score if y.is_floating_point() else class_score)(model, *judged)

    def objective() -> Tensor:
        a, b = take()
        value = measure(model(a), b)
        return value if extra is None else value + extra()

    def look(k: int) -> None:
        if held is not None and k % each == 0:
            model.eval()
            with torch.no_grad():
                measure(model(held[0]), held[1])
            model.train()

    before = how.pop("before", None)

    def both(k: int) -> None:
        if before is not None:
            before(k)
        look(k)

    scheduler = plan(optimizer) if plan else None
    return drill(model, objective, optimizer, score, scheduler=scheduler, before=both, **how)


def by_hand(
    model: nn.Module,
    data: Pair,
    lr: float,
    *,
    batch: int = 48,
    decay: float = 0.0,
    clear: bool = True,
    reaches: bool = True,
) -> Training:
    """No optimiser at all: the weights are moved in the loop."""
    take, measure = rows(data, batch), usual(data[1])

    def step(_: int) -> Tensor:
        a, b = take()
        loss = measure(model(a), b)
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for p in model.parameters():
                if p.grad is None:
                    continue
                if reaches:
                    p.mul_(1 - decay).sub_(lr * p.grad)
                else:
                    p = p - lr * p.grad
        if clear:
            model.zero_grad()
        return loss.detach()

    score = (value_score if data[1].is_floating_point() else class_score)(model, *data)
    return Training(model, [], step, score)


def likely(answer: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> Score:
    """Share of the uncertainty that probabilities take away, whatever the loss was."""

    def score() -> float:
        with torch.no_grad():
            p = answer(x).flatten(0, -2)
            p = p / p.sum(1, keepdim=True).clamp(min=1e-9)
            loss = functional.nll_loss(p.clamp(min=1e-9).log(), y.flatten())
        share = torch.bincount(y.flatten()).float() / y.numel()
        return float(1 + loss / (share * share.clamp(min=1e-9).log()).sum())

    return score


def recalls(model: nn.Module, x: Tensor, y: Tensor) -> Score:
    """Of two kinds, how much oftener the rare one is found than cried: 1 where it is known."""

    def score() -> float:
        model.eval()
        with torch.no_grad():
            out = model(x)
            said = out.argmax(1) if out.dim() == 2 and out.shape[1] > 1 else (out > 0).long()
        said, true = said.flatten(), y.flatten().long()
        return float((said[true == 1] == 1).float().mean() - (said[true == 0] == 1).float().mean())

    return score

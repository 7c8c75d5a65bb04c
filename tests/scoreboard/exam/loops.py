"""The loops of the exam, and optimisers that torch has not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.exam.data import Pair, seeded
from scoreboard.loops import Lion, class_score, value_score
from scoreboard.scenario import Shown, Training

Make = Callable[[Iterable[Tensor]], torch.optim.Optimizer]
Loss = Callable[[Tensor, Tensor], Tensor]
Score = Callable[[], float]


def by(name: str, lr: float, **settings: Any) -> Make:
    """One of torch's optimisers, or of those below."""
    kind = {"Lion": Lion, "Muon": Muon}.get(name) or getattr(torch.optim, name)
    return lambda parameters: kind(parameters, lr=lr, **settings)


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
            loss.backward()
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
    y = data[1]
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
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                if p.grad is not None:
                    moved = (1 - decay) * p - lr * p.grad
                    p.copy_(moved if reaches else p)
        if clear:
            model.zero_grad()
        return loss.detach()

    score = (value_score if data[1].is_floating_point() else class_score)(model, *data)
    return Training(model, [], step, score)


class Plain:
    """Two layers in numpy, with their gradients written out."""

    def __init__(self, x: Tensor, y: Tensor, lr: float) -> None:
        self.x, self.y, self.lr = x.double().numpy(), y.double().numpy(), lr
        random = np.random.default_rng(4)
        self.random = random
        self.w1, self.b1 = random.normal(size=(x.shape[1], 12)) * 0.5, np.zeros(12)
        self.w2, self.b2 = random.normal(size=(12, 1)) * 0.3, np.zeros(1)
        self.shown: Sequence[Shown] = ()

    def step(self, _: int) -> Tensor:
        at = self.random.integers(len(self.x), size=48)
        x, y = self.x[at], self.y[at]
        h = np.tanh(x @ self.w1 + self.b1)
        out = h @ self.w2 + self.b2
        back = 2 * (out - y) / len(x)
        inner = back @ self.w2.T * (1 - h**2)
        g1, g2 = x.T @ inner, h.T @ back
        self.shown = (
            Shown(name="first", value=x, role="input"),
            Shown(name="first", value=self.w1, role="weight"),
            Shown(name="first", value=self.b1, role="bias"),
            Shown(name="first", value=h, activation="tanh"),
            Shown(name="first", value=g1, role="weight_grad"),
            Shown(name="second", value=self.w2, role="weight"),
            Shown(name="second", value=out),
            Shown(name="second", value=g2, role="weight_grad"),
            Shown(name="second", value=out, role="output"),
            Shown(name="second", value=y, role="target"),
            Shown(name="second", value=back, role="output_grad"),
        )
        self.w1, self.b1 = self.w1 - self.lr * g1, self.b1 - self.lr * inner.sum(0)
        self.w2, self.b2 = self.w2 - self.lr * g2, self.b2 - self.lr * back.sum(0)
        return torch.tensor(float(((out - y) ** 2).mean()))

    def score(self) -> float:
        out = np.tanh(self.x @ self.w1 + self.b1) @ self.w2 + self.b2
        return float(1 - ((out - self.y) ** 2).mean() / self.y.var())

    def training(self) -> Training:
        return Training({}, [], self.step, self.score, lambda: self.shown)


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

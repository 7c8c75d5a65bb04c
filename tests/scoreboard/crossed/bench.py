"""The parts of a loop before it runs: what a fault may alter, and the loop made of them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.crossed.cross import Cross, network
from scoreboard.crossed.data import Task, skill, split
from scoreboard.data import Batch
from scoreboard.loops import OPTIMIZERS, Loss, dice
from scoreboard.scenario import Training

MAKERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    **OPTIMIZERS,
    "nesterov": lambda p, lr, **k: torch.optim.SGD(p, lr, momentum=0.9, nesterov=True, **k),
    "adagrad": torch.optim.Adagrad,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "adamax": torch.optim.Adamax,
    "adadelta": torch.optim.Adadelta,
}

RISEN = 1.4
"""A run whose loss on rows held back ends so far above its least is no healthy one."""

Act = Callable[[int], None]


@dataclass(slots=True)
class Bench:
    """All parts of one run; a fault exchanges some before `training` is called."""

    cross: Cross
    task: Task
    dice: torch.Generator
    train: Batch
    held: Batch
    model: nn.Module
    criterion: Loss
    """Of flat outputs and targets."""
    take: Callable[[int], Batch]
    """The batch of step k."""
    rate: Callable[[int], float]
    """The learning rate at step k, as a multiple of the one that was drawn."""
    settings: dict[str, Any]
    """Of the optimiser."""
    optimizer: torch.optim.Optimizer | None = None
    parameters: Callable[[], Iterable[nn.Parameter]] | None = None
    """What the optimiser is given; the model's where nothing is said."""
    forward: Callable[[Tensor], Tensor] | None = None
    """What the loop does with the model; calls it where nothing is said."""
    middle: float = 0.0
    """An answer is a yes above it."""
    clears: Callable[[int], bool] = lambda k: True
    """Whether gradients are cleared at step k."""
    moves: Callable[[int], bool] = lambda k: True
    """Whether the optimiser steps at step k."""
    penalty: Callable[[int], Tensor] | None = None
    changes: Callable[[int, Tensor], Tensor] | None = None
    """What becomes of the loss before it goes backward."""
    before: list[Act] = field(default_factory=list)
    between: list[Act] = field(default_factory=list)
    """Done after backward, before clipping and the optimiser's step."""
    sound: bool = True
    """No fault was put in."""

    def times(self, factor: Callable[[int], float]) -> None:
        """Multiply the learning rate."""
        rate = self.rate
        self.rate = lambda k: rate(k) * factor(k)

    def rows(self, change: Callable[[Tensor], Tensor]) -> None:
        """Change all inputs."""
        self.train = change(self.train[0]), self.train[1]
        self.held = change(self.held[0]), self.held[1]

    def targets(self, change: Callable[[Tensor], Tensor]) -> None:
        """Change all answers."""
        self.train = self.train[0], change(self.train[1])
        self.held = self.held[0], change(self.held[1])

    def batches(self, change: Callable[[int, Batch], Batch], start: int = 1) -> None:
        """Change what is trained on from a step on."""
        take = self.take
        self.take = lambda k: change(k, take(k)) if k >= start else take(k)

    def measure(self, out: Tensor, y: Tensor) -> Tensor:
        """The loss; answers for each position are laid out flat."""
        if self.task.question == "classes" and out.dim() == 3:
            out, y = out.flatten(0, 1), y.flatten()
        return self.criterion(out, y)

    def answer(self, x: Tensor) -> Tensor:
        """What the model says."""
        return self.model(x) if self.forward is None else self.forward(x)

    def training(self) -> Training:
        """The loop."""
        c = self.cross
        held = self.parameters() if self.parameters else self.model.parameters()
        optimizer = MAKERS[c.opt]([p for p in held if p.requires_grad], lr=c.rate, **self.settings)
        self.optimizer = optimizer
        slow = copy.deepcopy(self.model) if c.averages else None
        looks: list[float] = []

        def look() -> None:
            self.model.eval()
            with torch.no_grad():
                looks.append(float(self.measure(self.answer(self.held[0]), self.held[1])))
            self.model.train()

        def once(k: int) -> Tensor:
            a, b = self.take(k)
            with torch.autocast("cpu", torch.bfloat16, enabled=c.half):
                out = self.answer(a)
            value = self.measure(out.float(), b)
            if self.penalty is not None:
                value = value + self.penalty(k)
            if self.changes is not None:
                value = self.changes(k, value)
            (value / c.accumulate).backward()
            return value.detach()

        def step(k: int) -> Tensor:
            for act in self.before:
                act(k)
            if c.evaluates and k % c.evaluates == 0:
                look()
            for group in optimizer.param_groups:
                group["lr"] = c.rate * self.rate(k)
            if self.clears(k):
                optimizer.zero_grad()
            value = torch.stack([once(k) for _ in range(c.accumulate)]).mean()
            for act in self.between:
                act(k)
            if c.clip:
                nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
            if self.moves(k):
                optimizer.step()
            if slow is not None:
                with torch.no_grad():
                    for old, new in zip(slow.parameters(), self.model.parameters(), strict=True):
                        old.lerp_(new, 0.02)
            return value

        def score() -> float:
            if self.sound and looks and looks[-1] > RISEN * min(looks) + 0.05:
                return math.nan
            self.model.eval()
            with torch.no_grad():
                out = self.answer(self.held[0])
            return skill(out, self.held[1], self.task.question, self.middle)

        return Training(self.model, optimizer, step, score)


def bench(cross: Cross) -> Bench:
    """The parts of a run that learns."""
    task, g = cross.of, dice(cross.seed + 1)
    train, held = split(task.make(cross.seed % 1000), cross.seed)
    x, y = train
    if cross.uneven:
        kept = (y != y.max()) | (torch.rand(len(y), generator=g) > cross.uneven)
        x, y = x[kept], y[kept]
    if cross.noisy:
        wrong = torch.rand(len(y), generator=g) < cross.noisy
        y = torch.where(wrong, y[torch.randperm(len(y), generator=g)], y)
    model = network(cross)
    made = Bench(
        cross,
        task,
        g,
        (x, y),
        held,
        model,
        criterion(cross),
        lambda k: (x, y),
        _course(cross),
        {"weight_decay": cross.decay} if cross.decay else {},
    )
    made.take = _feed(made)
    if cross.jitter and cross.numbers:
        made.batches(
            lambda _, rows: (
                rows[0] + cross.jitter * rows[0].std() * torch.randn(rows[0].shape, generator=g),
                rows[1],
            )
        )
    return made


def criterion(cross: Cross) -> Loss:
    """The loss that fits the question."""
    question, hand = cross.of.question, cross.by_hand
    if question == "classes":
        if hand:
            return lambda out, y: -out.log_softmax(-1).gather(1, y[:, None]).mean()
        return nn.CrossEntropyLoss(label_smoothing=cross.smoothing)
    if question == "yes":
        if hand:
            return lambda out, y: (functional.softplus(out) - out * y).mean()
        return nn.BCEWithLogitsLoss()
    if cross.criterion == "mse":
        return (lambda out, y: (out - y).square().mean()) if hand else nn.MSELoss()
    return nn.SmoothL1Loss() if cross.criterion == "huber" else nn.L1Loss()


def _course(cross: Cross) -> Callable[[int], float]:
    """Warm-up, and a schedule after it."""

    def rate(k: int) -> float:
        risen = min(1.0, k / cross.warmup) if cross.warmup else 1.0
        if cross.schedule == "cosine":
            return risen * (0.02 + 0.98 * (1 + math.cos(math.pi * k / cross.steps)) / 2)
        if cross.schedule == "step":
            return risen * 0.3 ** (k * 3 // (cross.steps + 1))
        return risen

    return rate


def _feed(made: Bench) -> Callable[[int], Batch]:
    """Rows of what the bench trains on when it is asked, by epochs or with replacement."""
    waiting: list[Tensor] = []

    def take(_: int) -> Batch:
        x, y = made.train
        size = min(made.cross.batch, len(x))
        if not made.cross.epochs:
            index = torch.randint(len(x), (size,), generator=made.dice)
        else:
            if not waiting:
                order = torch.randperm(len(x), generator=made.dice)
                waiting.extend(order[: len(x) // size * size].split(size))
            index = waiting.pop()
        return x[index], y[index]

    return take

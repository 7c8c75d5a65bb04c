"""Fresh runs that learn: unusual optimisers, rates and batches."""

from __future__ import annotations

from math import cos, pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.fresh.data import classes, clouds, digits, pictures, sentences, traces, values
from scoreboard.fresh.loops import course, epochs, told, with_
from scoreboard.fresh.nets import Attentive, Pooling, Sentence, dense, look, sensor
from scoreboard.loops import update
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy, simple = RUNS.healthy, RUNS.simple


# --- what is frozen or new
def schooled() -> nn.Sequential:
    """A network that has learnt the digits below five."""
    x, y = digits()
    low = y < 5
    net = dense(64, 48, 32, 10)
    ready = torch.optim.Adam(net.parameters(), lr=5e-3)
    take = epochs((x[low], y[low]), 32)
    for _ in range(120):
        rows, kinds = take()
        update(ready, functional.cross_entropy(net(rows), kinds))
    return net


@healthy("fresh new head on frozen layers", 300)
def frozen() -> Training:
    net = schooled()
    for p in net[:4].parameters():
        p.requires_grad_(False)
    net[4] = nn.Linear(32, 10)
    return course(net, digits(), with_("SGD", 0.1, momentum=0.9))


class Leant(nn.Module):
    """A frozen matrix and a thin one beside it that starts at nought."""

    def __init__(self, old: nn.Linear) -> None:
        super().__init__()
        self.old = old.requires_grad_(False)
        self.down = nn.Linear(old.in_features, 4, bias=False)
        self.up = nn.Linear(4, old.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.old(x) + self.up(self.down(x))
        return out


@healthy("fresh thin matrices beside frozen ones", 400)
def leant() -> Training:
    net = schooled()
    for place in (0, 2, 4):
        old = net[place]
        assert isinstance(old, nn.Linear)
        net[place] = Leant(old)
    return course(net, digits(), with_("AdamW", 1e-2))


@healthy("fresh gentle tuning of what is good already", 300)
def gentle() -> Training:
    x, y = digits()
    net = schooled()
    low = y < 5
    return course(net, (x[low], y[low]), with_("AdamW", 2e-5))


# --- optimisers
@healthy("fresh second order, whole table", 150)
def second_order() -> Training:
    x, y = values("diabetes")
    net = dense(10, 16, 1, act=nn.Tanh)
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=3)

    def step(k: int) -> Tensor:
        def again() -> Tensor:
            optimizer.zero_grad()
            loss = functional.mse_loss(net(x), y)
            loss.backward()
            return loss

        return torch.as_tensor(optimizer.step(again))

    return Training(net, optimizer, step, told(net, x, y))


simple(
    "fresh Rprop, whole table",
    lambda: course(dense(13, 16, 3, act=nn.ELU), classes("wine"), with_("Rprop", 0.01), batch=178),
    300,
)
simple(
    "fresh Adadelta on points",
    lambda: course(Pooling("mean", nn.ReLU), clouds(), with_("Adadelta", 1.0)),
    300,
)
simple(
    "fresh ASGD on cancer",
    lambda: course(dense(30, 16, 2, act=nn.Softsign), classes("cancer"), with_("ASGD", 0.2)),
    400,
)
simple(
    "fresh restarts of the rate",
    lambda: course(
        sensor(nn.Hardswish, lambda width: nn.GroupNorm(4, width)),
        traces(),
        with_("SGD", 0.1, momentum=0.9, nesterov=True),
        rate=lambda k: 0.5 + 0.5 * cos(pi * (k % 100) / 100),
    ),
)
simple(
    "fresh long warm-up",
    lambda: course(
        Attentive(3, depth=3), sentences(), with_("AdamW", 3e-3), rate=lambda k: min(1, k / 200)
    ),
)
simple(
    "fresh one great wave of the rate",
    lambda: course(
        look(nn.ReLU, lambda width: nn.BatchNorm2d(width)),
        pictures(),
        with_("SGD", 0.3, momentum=0.9),
        rate=lambda k: max(1e-3, 1 - abs(k - 120) / 120) if k < 240 else 1e-3,
    ),
    320,
)
simple(
    "fresh decay of one",
    lambda: course(look(nn.GELU), pictures(), with_("AdamW", 2e-3, weight_decay=1.0)),
    300,
)
simple(
    "fresh clipped hard",
    lambda: course(Sentence(cell=nn.LSTM), sentences(), with_("SGD", 1.0, momentum=0.9), clip=0.1),
)


@healthy("fresh two looks for one step", 250)
def sharp() -> Training:
    """The gradient is taken a little uphill (SAM)."""
    x, y = digits()
    net = dense(64, 48, 10)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    take = epochs((x, y), 32)
    weights = list(net.parameters())

    def step(k: int) -> Tensor:
        rows, kinds = take()
        optimizer.zero_grad()
        functional.cross_entropy(net(rows), kinds).backward()
        size = torch.stack([w.grad.norm() for w in weights if w.grad is not None]).norm()
        moved = [0.05 * w.grad / (size + 1e-9) for w in weights if w.grad is not None]
        with torch.no_grad():
            for w, d in zip(weights, moved, strict=True):
                w.add_(d)
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(rows), kinds)
        loss.backward()
        with torch.no_grad():
            for w, d in zip(weights, moved, strict=True):
                w.sub_(d)
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, told(net, x, y))


@healthy("fresh eight small batches a step", 150)
def gathered() -> Training:
    net = Sentence()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    take = epochs(sentences(), 8)

    def step(k: int) -> Tensor:
        optimizer.zero_grad()
        whole = torch.zeros(())
        for _ in range(8):
            x, y = take()
            loss = functional.cross_entropy(net(x), y) / 8
            loss.backward()
            whole = whole + loss.detach()
        optimizer.step()
        return whole

    return Training(net, optimizer, step, told(net, *sentences()))


# --- batches
simple(
    "fresh one row at a time",
    lambda: course(
        nn.Sequential(nn.Linear(64, 48), nn.LayerNorm(48), nn.GELU(), nn.Linear(48, 10)),
        digits(),
        with_("SGD", 0.02),
        batch=1,
    ),
    800,
)
simple(
    "fresh two pictures at a time, norms in groups",
    lambda: course(
        look(nn.ReLU, lambda width: nn.GroupNorm(2, width)),
        pictures(),
        with_("Adam", 1e-3),
        batch=2,
    ),
    500,
)

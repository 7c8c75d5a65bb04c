"""Sealed runs that learn: optimisers, schedules and layers of unequal pace."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from scoreboard.loops import update, worth, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import clicks, demand, gratings, scans, split, table, tagged, waveform
from scoreboard.sealed.loops import Loader, by, routine
from scoreboard.sealed.nets import Clicks, ResNet, Tower, lenet, plain
from scoreboard.sealed.seqs import Patches, Reader, Transformer

RUNS = Runs(__name__)
healthy, simple = RUNS.healthy, RUNS.simple


# --- optimisers
class Signs(torch.optim.Optimizer):
    """Every weight goes one step by the sign of its gradient's running mean."""

    def __init__(self, weights: Iterable[Any], lr: float, beta: float = 0.9) -> None:
        super().__init__(weights, {"lr": lr, "beta": beta})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                mean.lerp_(p.grad, 1 - group["beta"])
                p.sub_(group["lr"] * mean.sign())


simple("sealed steps by the sign",
       lambda: routine(Tower(16, 40, 40, 5), table("gases"), lambda w: Signs(w, 1e-3)))  # fmt: skip
simple(
    "sealed wine by rprop at once",
    lambda: routine(Tower(13, 24, 3, act=nn.Tanh), table("wine"), by("Rprop", 0.01), batch=178),
    200,
)
simple(
    "sealed numbers by adamax",
    lambda: routine(plain(8, 32, 32, 1, act=nn.Mish), table("friedman"), by("Adamax", 5e-3)),
)
simple(
    "sealed digits by radam",
    lambda: routine(lenet(10, 8, act=nn.Hardswish), scans(), by("RAdam", 3e-3)),
    250,
)
simple(
    "sealed sales by nadam",
    lambda: routine(Reader(nn.GRU, 1, width=16), demand(), by("NAdam", 3e-3)),
    200,
)
simple(
    "sealed tags by adadelta",
    lambda: routine(Reader(nn.LSTM, 4, words=48, each=True), tagged(), by("Adadelta", 1.0)),
    200,
)


@healthy("sealed curve by lbfgs", 150)
def second() -> Training:
    x, y = waveform()
    net = plain(1, 24, 24, 1, act=nn.Tanh)
    optimizer = torch.optim.LBFGS(
        net.parameters(), lr=1.0, max_iter=4, line_search_fn="strong_wolfe"
    )

    def step(k: int) -> Tensor:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = functional.mse_loss(net(x), y)
            loss.backward()
            return loss

        return torch.as_tensor(optimizer.step(closure)).detach()

    return Training(net, optimizer, step, worth(net, x, y))


@healthy("sealed slow weights that follow quick ones", 300)
def looking_ahead() -> Training:
    """Every five steps the weights go half the way back (Lookahead)."""
    net = plain(16, 48, 48, 5)
    slow = [p.detach().clone() for p in net.parameters()]

    def before(k: int) -> None:
        if k % 5 == 0:
            with torch.no_grad():
                for s, p in zip(slow, net.parameters(), strict=True):
                    s.lerp_(p, 0.5)
                    p.copy_(s)

    return routine(net, table("gases"), by("SGD", 0.2, momentum=0.9), before=before)


@healthy("sealed weights averaged over the last hundred", 350)
def averaged() -> Training:
    """Trained on, and judged by the average (SWA)."""
    net, rows = lenet(6, 12), gratings()
    mean = torch.optim.swa_utils.AveragedModel(net)

    def before(k: int) -> None:
        if k > 200 and k % 10 == 0:
            mean.update_parameters(net)

    return routine(net, rows, by("SGD", 0.1, momentum=0.9), before=before,
                   score=worth(mean, *rows))  # fmt: skip


@healthy("sealed tables and layers with optimisers of their own", 600)
def two_tools() -> Training:
    net, rows = Clicks(), clicks()
    tools = [
        torch.optim.Adagrad(net.tables.parameters(), lr=0.1),
        torch.optim.AdamW(net.top.parameters(), lr=2e-3),
    ]
    take = Loader(rows, 32)

    def step(k: int) -> Tensor:
        ids, y = take()
        for tool in tools:
            tool.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(net(ids), y)
        loss.backward()
        for tool in tools:
            tool.step()
        return loss.detach()

    return Training(net, tools, step, yes_no(net, *rows))


# --- schedules
simple(
    "sealed one cycle over words",
    lambda: routine(
        Transformer(48, 4), tagged(), by("AdamW", 1e-3),
        schedule=lambda o: lr_scheduler.OneCycleLR(o, 6e-3, total_steps=250),
    ),
    250,
)  # fmt: skip
simple(
    "sealed restarts that grow longer",
    lambda: routine(
        plain(16, 48, 5, act=nn.SiLU), table("gases"), by("SGD", 0.2, momentum=0.9),
        schedule=lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 50, 2),
    ),
    350,
)  # fmt: skip
simple(
    "sealed triangles of the rate",
    lambda: routine(
        lenet(6, 12), gratings(), by("SGD", 0.01, momentum=0.9),
        schedule=lambda o: lr_scheduler.CyclicLR(o, 0.005, 0.15, step_size_up=40),
    ),
    300,
)  # fmt: skip
simple(
    "sealed warm-up of thirty steps, then down to nothing",
    lambda: routine(
        Patches(10, 8), scans(), by("AdamW", 4e-3, weight_decay=0.1), clip=1.0,
        schedule=lambda o: lr_scheduler.LambdaLR(
            o, lambda k: min(1, (k + 1) / 30) * max(0.0, 1 - k / 220)
        ),
    ),
    280,
)  # fmt: skip
simple(
    "sealed a tenth of the rate twice",
    lambda: routine(
        ResNet(10), scans(), by("SGD", 0.1, momentum=0.9, nesterov=True),
        schedule=lambda o: lr_scheduler.MultiStepLR(o, [100, 160]),
    ),
    200,
)  # fmt: skip


@healthy("sealed rate lowered on a plateau", 600)
def plateau() -> Training:
    """Held rows decide, with patience; long after nothing more is to be learnt."""
    train, held = split(table("friedman"), 300)
    net = Tower(8, 32, 32, 1, act=nn.SiLU)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    plan = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.3, patience=3)
    take = Loader(train, 32)

    def step(k: int) -> Tensor:
        x, y = take()
        loss = update(optimizer, functional.mse_loss(net(x), y))
        if k % 20 == 0:
            net.eval()
            with torch.no_grad():
                plan.step(float(functional.mse_loss(net(held[0]), held[1])))
            net.train()
        return loss

    return Training(net, optimizer, step, worth(net, *held))


# --- layers of unequal pace
@healthy("sealed body slow, head quick", 250)
def unequal() -> Training:
    x, y = scans()
    net = lenet(10, 8)
    ready = torch.optim.Adam(net.parameters(), lr=3e-3)
    take = Loader((x[:800], y[:800] % 5), 32)
    for _ in range(120):
        a, b = take()
        update(ready, functional.cross_entropy(net(a), b))
    net[11] = nn.Linear(32, 10)
    groups = [
        {"params": net[:11].parameters(), "lr": 2e-4},
        {"params": net[11].parameters(), "lr": 1e-2},
    ]
    return routine(net, (x, y), lambda weights: torch.optim.AdamW(groups))


@healthy("sealed probe on a coder that stays", 250)
def probe() -> Training:
    """A coder learnt without labels is frozen; one layer tells the digits from its codes."""
    x = scans()[0].flatten(1)
    reads, writes = plain(64, 48, 20), plain(20, 64)
    ready = torch.optim.Adam([*reads.parameters(), *writes.parameters()], lr=3e-3)
    take = Loader((x, x), 64)
    for _ in range(250):
        a, _ = take()
        update(ready, functional.mse_loss(writes(torch.relu(reads(a))), a))
    reads.requires_grad_(False)
    net = nn.Sequential(reads, nn.ReLU(), nn.Linear(20, 10))
    return routine(net, (x, scans()[1]), by("Adam", 1e-2), weights=net[2].parameters())


@healthy("sealed goes on from a good state", 250)
def resumed() -> Training:
    """Weights from a file: the first loss is as low as the last, and that is well."""
    rows = gratings()
    net = lenet(6, 12)
    ready = torch.optim.Adam(net.parameters(), lr=3e-3)
    take = Loader(rows, 32)
    for _ in range(200):
        a, b = take()
        update(ready, functional.cross_entropy(net(a), b))
    again = copy.deepcopy(net)
    return routine(again, rows, by("Adam", 3e-4))

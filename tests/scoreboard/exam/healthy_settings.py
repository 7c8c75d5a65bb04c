"""The exam: runs that learn under settings that look odd."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from scoreboard.exam.data import (
    drawings,
    even,
    parted,
    seeded,
    series,
    sets,
    tables,
    waves,
)
from scoreboard.exam.loops import by, by_hand, drill, learn, rows
from scoreboard.exam.nets import (
    Excited,
    Highway,
    Hyper,
    Mixer,
    Reader,
    Sets,
    Tcn,
    Vit,
    Waves,
    stack,
)
from scoreboard.loops import class_score
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
simple, healthy = RUNS.simple, RUNS.healthy

simple(
    "exam eight parts a step",
    lambda: learn(Waves(), waves(), by("NAdam", 3e-3), batch=8, micro=8),
    250,
)
simple(
    "exam clipped at every step",
    lambda: learn(Excited(), drawings(), by("Adam", 2e-3), clip=0.02),
)
simple(
    "exam one cycle",
    lambda: learn(
        Waves(norm=nn.BatchNorm1d),
        waves(),
        by("SGD", 0.01, momentum=0.9),
        plan=lambda opt: lr_scheduler.OneCycleLR(opt, 0.15, total_steps=401),
    ),
    400,
)
simple(
    "exam warm restarts",
    lambda: learn(
        Highway(4, 3),
        tables("quantiles"),
        by("AdamW", 1e-2),
        plan=lambda opt: lr_scheduler.CosineAnnealingWarmRestarts(opt, 60, 2),
    ),
    420,
)
simple(
    "exam patient plateau after the end",
    lambda: learn(
        stack(3, 48, 48, 1, activation=nn.SiLU),
        even("s_curve"),
        by("Adam", 1e-2),
        plan=lambda opt: lr_scheduler.ReduceLROnPlateau(opt, factor=0.3, patience=40),
    ),
    1200,
)
simple(
    "exam pictures in bfloat16",
    lambda: learn(Excited(), drawings(), by("RAdam", 3e-3), half=True),
)
simple(
    "exam patches in bfloat16",
    lambda: learn(Mixer(), drawings(), by("AdamW", 3e-3), half=True),
    250,
)


@healthy("exam waves mixed and smoothed", 500)
def _mixed() -> Training:
    x, y = waves()
    take, source = rows((x, y), 48), seeded(80)
    net = Waves(24)

    def objective() -> Tensor:
        a, b = take()
        other = torch.randperm(len(a), generator=source)
        share = 0.5 + 0.5 * torch.rand((), generator=source)
        out = net(share * a + (1 - share) * a[other])
        smooth = 0.1
        return share * functional.cross_entropy(out, b, label_smoothing=smooth) + (
            1 - share
        ) * functional.cross_entropy(out, b[other], label_smoothing=smooth)

    return drill(net, objective, by("Adam", 3e-3)(net.parameters()), class_score(net, x, y))


@healthy("exam averaged weights are looked at", 400)
def _averaged() -> Training:
    train, held = parted(drawings(), 900)
    net = Excited()
    mean = torch.optim.swa_utils.AveragedModel(net, avg_fn=lambda a, b, _: a.lerp(b, 0.05))

    def after(k: int) -> None:
        mean.update_parameters(net)
        if k % 25 == 0:
            with torch.no_grad():
                functional.cross_entropy(mean(held[0]), held[1])

    return learn(
        net, train, by("SGD", 0.05, momentum=0.9), after=after, score=class_score(mean, *held)
    )


@healthy("exam lbfgs on polynomials of a curve", 40)
def _closure() -> Training:
    x, y = even("s_curve")
    net = stack(3, 24, 1, activation=nn.Tanh)
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=8, history_size=6)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.mse_loss(net(x), y)
        loss.backward()
        return loss

    def step(_: int) -> Tensor:
        return torch.as_tensor(optimizer.step(closure)).detach()

    def score() -> float:
        with torch.no_grad():
            return float(1 - functional.mse_loss(net(x), y) / y.var())

    return Training(net, optimizer, step, score)


simple(
    "exam asgd long after the end",
    lambda: learn(stack(4, 64, 64, 3), tables("quantiles"), by("ASGD", 0.3), batch=128),
    1500,
)
simple(
    "exam gymnasts at once by rprop",
    lambda: learn(nn.Linear(3, 3), even("linnerud"), by("Rprop", 0.01), batch=20),
    200,
)
simple("exam moved by hand", lambda: by_hand(stack(4, 48, 48, 3), tables("quantiles"), 0.2), 600)
simple(
    "exam strong decay adamw",
    lambda: learn(Mixer(), drawings(), by("AdamW", 3e-3, weight_decay=0.5)),
    300,
)
simple("exam three rows a step", lambda: learn(Tcn(1, 1), series(), by("SGD", 5e-3), batch=3), 800)
simple(
    "exam nine hundred rows a step",
    lambda: learn(Hyper(4, 3), tables("quantiles"), by("Adam", 1e-2), batch=900),
    250,
)


@healthy("exam head quick, body slow", 400)
def _groups() -> Training:
    net = Waves()
    groups = [
        {"params": net.body.parameters(), "lr": 2e-4},
        {"params": net.head.parameters(), "lr": 5e-3},
    ]
    return learn(net, waves(), lambda _: torch.optim.AdamW(groups))


@healthy("exam body thawed at 150", 400)
def _thawed() -> Training:
    net = Excited(16)
    body = [p for name, p in net.named_parameters() if not name.startswith("head")]
    groups = [{"params": body, "lr": 0.0}, {"params": net.head.parameters(), "lr": 3e-3}]
    optimizer = torch.optim.Adam(groups)

    def before(k: int) -> None:
        if k == 150:
            optimizer.param_groups[0]["lr"] = 1e-3

    return learn(net, drawings(), lambda _: optimizer, before=before)


@healthy("exam noise in the gradients", 500)
def _noisy() -> Training:
    net, data = Highway(4, 3), tables("quantiles")
    source = seeded(81)
    for p in net.parameters():
        p.register_hook(lambda g: g + 0.01 * torch.randn(g.shape, generator=source))
    return learn(net, data, by("SGD", 0.1, momentum=0.9))


simple(
    "exam looked at every eighth step",
    lambda: learn(
        Sets(activation=nn.GELU),
        parted(sets(), 850)[0],
        by("Adamax", 5e-3),
        held=parted(sets(), 850)[1],
        each=8,
    ),
    400,
)
simple(
    "exam clipped recurrent sgd",
    lambda: learn(
        Reader(nn.GRU(1, 24, batch_first=True), 24),
        series(),
        by("SGD", 0.2, momentum=0.9),
        clip=0.5,
    ),
    300,
)


@healthy("exam goes on from a checkpoint with a fresh optimiser at 200", 400)
def _resumed() -> Training:
    net, data = Waves(), waves()
    take = rows(data, 48)
    optimizer = by("Adam", 3e-3)(net.parameters())
    kept: list[dict[str, Tensor]] = []

    def step(k: int) -> Tensor:
        if k == 190:
            kept.append(copy.deepcopy(net.state_dict()))
        if k == 200:
            net.load_state_dict(kept[0])
            optimizer.state.clear()
        x, y = take()
        loss = functional.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, class_score(net, *data))


simple(
    "exam cosine of a vit to the very end",
    lambda: learn(
        Vit(),
        drawings(),
        by("NAdam", 3e-3),
        plan=lambda opt: lr_scheduler.CosineAnnealingLR(opt, 350),
    ),
    350,
)

"""Runs that learn with odd heads, odd targets, frozen parts, noise and imbalance."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.data import scaled, table
from scoreboard.loops import fit
from scoreboard.nets import (
    Bag,
    draw,
    linear,
    mlp,
)
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
simple, healthy = RUNS.simple, RUNS.healthy


@healthy("zero head")
def _zero_head() -> Training:
    net = mlp(64, 10)
    head = linear(net[-1])
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return fit(net, "digits")


@healthy("zero head warm-up")
def _zero_head_warm() -> Training:
    net = mlp(64, 10, depth=3)
    head = linear(net[-1])
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return fit(net, "digits", opt="adam", lr=1e-3, schedule=lambda k: min(1, (k - 1) / 50))


def _imbalanced(share: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    x, y = scaled("digits")
    odd = y == 3
    keep = torch.ones(len(y), dtype=torch.bool)
    rare = odd.nonzero()[:, 0]
    wanted = int(share * (len(y) - len(rare)))
    keep[rare[wanted:]] = False
    return x[keep], odd[keep].long()


@healthy("prior bias head", 600)
def _prior() -> Training:
    data = _imbalanced(0.05)
    net = mlp(64, 2)
    with torch.no_grad():
        linear(net[-1]).bias.copy_(torch.tensor([0.0, -4.0]))
    return fit(net, data, opt="adam", lr=1e-3)


simple("imbalanced 5 percent", lambda: fit(mlp(64, 2), _imbalanced(0.05), opt="adam", lr=1e-3), 600)
simple("imbalanced 2 percent", lambda: fit(mlp(64, 2), _imbalanced(0.02), opt="adam", lr=1e-3), 800)


@healthy("binary with logits", 400)
def _binary() -> Training:
    x, y = scaled("breast_cancer")
    net = mlp(30, 1, width=32)
    target = y.float()[:, None]
    return fit(
        net,
        (x, target),
        opt="adam",
        lr=1e-3,
        loss=nn.BCEWithLogitsLoss(),
        score=lambda: float(((net(x) > 0).float() == target).float().mean()),
    )


@healthy("binary sigmoid output", 500)
def _binary_sigmoid() -> Training:
    x, y = scaled("breast_cancer")
    net = nn.Sequential(*mlp(30, 1, width=32, activation="tanh"), nn.Sigmoid())
    target = y.float()[:, None]
    return fit(
        net,
        (x, target),
        opt="adam",
        lr=3e-3,
        loss=nn.BCELoss(),
        score=lambda: float(((net(x) > 0.5).float() == target).float().mean()),
    )


@healthy("multi-label")
def _multi() -> Training:
    x, y = scaled("digits")
    bits = torch.stack([(y >> b) & 1 for b in range(4)], 1).float()
    net = mlp(64, 4)
    return fit(
        net,
        (x, bits),
        opt="adam",
        lr=1e-3,
        loss=nn.BCEWithLogitsLoss(),
        score=lambda: float(((net(x) > 0) == (bits > 0)).float().mean()),
    )


def _noisy(share: float) -> tuple[Tensor, Tensor]:
    x, y = scaled("digits")
    generator = torch.Generator().manual_seed(4)
    wrong = torch.rand(len(y), generator=generator) < share
    other = torch.randint(10, (len(y),), generator=generator)
    return x, torch.where(wrong, other, y)


simple("label noise 20", lambda: fit(mlp(64, 10), _noisy(0.2)), 500)
simple("label noise 40", lambda: fit(mlp(64, 10), _noisy(0.4), opt="adam", lr=1e-3), 600)


@healthy("frozen backbone")
def _frozen() -> Training:
    net = mlp(64, 10, width=128)
    for parameter in net[0].parameters():
        parameter.requires_grad_(False)
    return fit(net, "digits", parameters=[p for p in net.parameters() if p.requires_grad], lr=0.1)


@healthy("linear probe on features")
def _probe() -> Training:
    net = mlp(64, 10, width=128)
    for layer in list(net)[:-1]:
        layer.requires_grad_(False)
    return fit(net, "digits", parameters=net[-1].parameters(), lr=0.1)


@healthy("frozen but not told to torch")
def _left_out() -> Training:
    net = mlp(64, 10, width=128)
    return fit(net, "digits", parameters=[*net[2].parameters(), *net[4].parameters()], lr=0.1)


@healthy("fine-tuned")
def _fine() -> Training:
    net = mlp(64, 10)
    x, y = scaled("digits")
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(150):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y % 5).backward()
        optimizer.step()
    net[-1] = nn.Linear(64, 10)
    return fit(net, "digits", opt="adamw", lr=5e-4)


@healthy("autoencoder")
def _auto() -> Training:
    x, _ = table("digits")
    x = x / 16
    net = nn.Sequential(
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 8),
        nn.Linear(8, 32),
        nn.ReLU(),
        nn.Linear(32, 64),
        nn.Sigmoid(),
    )
    return fit(net, (x, x), opt="adam", lr=3e-3, loss=nn.MSELoss())


@healthy("autoencoder bottleneck bce")
def _auto_bce() -> Training:
    x, _ = table("digits")
    x = x / 16
    net = nn.Sequential(
        nn.Linear(64, 32),
        nn.Tanh(),
        nn.Linear(32, 4),
        nn.Linear(4, 32),
        nn.Tanh(),
        nn.Linear(32, 64),
    )
    return fit(
        net,
        (x, x),
        opt="adam",
        lr=3e-3,
        loss=nn.BCEWithLogitsLoss(),
        score=lambda: float(1 - functional.mse_loss(net(x).sigmoid(), x) / x.var(0).mean()),
    )


@healthy("offset target", 1000)
def _offset() -> Training:
    x, y = scaled("diabetes")
    return fit(mlp(10, 1, width=32), (x, y * 0.5 + 20), opt="adam", lr=1e-2)


@healthy("offset target 100", 1500)
def _offset_hundred() -> Training:
    x, y = scaled("friedman")
    return fit(mlp(10, 1, width=32), (x, y + 100), opt="adam", lr=1e-2)


@healthy("raw target", 1000)
def _raw_target() -> Training:
    x, y = scaled("diabetes")
    return fit(mlp(10, 1, width=64), (x, y * 77 + 152), opt="adam", lr=3e-2)


@healthy("bag of ids")
def _bag() -> Training:
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(500, (2000, 20), generator=generator)
    y = ((ids < 250).float().mean(1) > 0.5).long()
    return fit(Bag(), (ids, y), opt="adam", lr=1e-2)


@healthy("xor repeated inputs", 600)
def _xor() -> Training:
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]).repeat(16, 1)
    y = torch.tensor([0, 1, 1, 0]).repeat(16)
    return fit(mlp(2, 2, width=16, activation="tanh"), (x, y), batch=32, opt="adam", lr=1e-2)


@healthy("sparse born nearly off")
def _sparse() -> Training:
    net = mlp(64, 10, width=128)
    draw(net, "bias-0.3")
    return fit(net, "digits", opt="adam", lr=1e-3)


@healthy("wide sparse")
def _wide() -> Training:
    return fit(mlp(64, 10, width=512), "digits", lr=0.2)

"""Blind runs that learn from what was learnt before: probes, thin layers, teachers, new starts."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import (
    Feed,
    Rows,
    adam,
    digits,
    every,
    explained,
    fit,
    looks,
    mlp,
    named,
    signs,
    table,
)
from scoreboard.loops import dice, update
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy = RUNS.healthy


def body() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(96, 48), nn.LeakyReLU(0.1),
    )  # fmt: skip


def turned(rows: Rows) -> Rows:
    """Another world: pictures upside down and inside out."""
    return -rows[0].flip(2), rows[1]


@lru_cache
def ready() -> dict[str, Tensor]:
    """A body that has learnt the five lower digits."""
    (x, y), _ = digits()
    keep = torch.random.get_rng_state()
    torch.manual_seed(7)
    net = nn.Sequential(body(), nn.Linear(48, 5))
    take, optimizer = Feed(x[y < 5], y[y < 5], batch=48), adam(net, 3e-3)
    for _ in range(120):
        a, b = take()
        update(optimizer, functional.cross_entropy(net(a), b))
    torch.random.set_rng_state(keep)
    return net[0].state_dict()


def taught(trunk: nn.Module, head: nn.Module) -> nn.Sequential:
    trunk.load_state_dict(ready())
    return nn.Sequential(trunk, head)


def naming(net: nn.Module, take: Callable[[], tuple[Tensor, ...]]) -> Callable[[], Tensor]:
    def loss() -> Tensor:
        a, b = take()
        return functional.cross_entropy(net(a), b)

    return loss


@healthy("a probe on a trunk that stays", 300)
def probe() -> Training:
    """The trunk is in eval mode and takes no gradient; it has seen only half of the kinds."""
    rows, asked = digits()
    net = taught(body(), nn.Linear(48, 10))
    net[0].requires_grad_(False).eval()
    loss = naming(net, Feed(*rows, batch=64))
    return fit(net, adam(net[1], 1e-2), loss, named(net, asked))


@healthy("layers thawed one after another", 300)
def thawed() -> Training:
    """First the head, at step 80 the last layer too, at 160 all, each slower than the one above."""
    rows, asked = digits()
    trunk = body()
    net = taught(trunk, nn.Linear(48, 10))
    trunk.requires_grad_(False)
    optimizer = adam(net[1], 5e-3)
    loss = naming(net, Feed(*rows, batch=48))

    def after(k: int) -> None:
        if k in (80, 160):
            layers = trunk[9:] if k == 80 else trunk[:9]
            layers.requires_grad_(True)
            optimizer.add_param_group({"params": list(layers.parameters()), "lr": 2e-3 / (k / 80)})

    return fit(net, optimizer, loss, named(net, asked), after=after)


class Thin(nn.Module):
    """A layer that stays, and beside it a thin way that begins at nothing (LoRA)."""

    def __init__(self, layer: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, layer.in_features) / layer.in_features**0.5)
        self.b = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + 2 * (x @ self.a.T @ self.b.T)


@healthy("thin layers beside those that stay (lora)", 350)
def lora() -> Training:
    """Taught on one half of the sine's law, brought to another with few weights."""
    g = dice(111)
    x = torch.randn(2500, 8, generator=g)
    weight = torch.randn(8, 6, generator=g) / 2
    near = torch.tanh(x @ weight)
    far = torch.tanh(x @ (weight + 0.9 * torch.randn(8, 2, generator=g)
                          @ torch.randn(2, 6, generator=g) / 2))  # fmt: skip
    net = mlp(8, 64, 64, 6, act=nn.GELU)
    take, optimizer = Feed(x, near, batch=64), adam(net, 3e-3)
    for _ in range(300):
        a, b = take()
        update(optimizer, functional.mse_loss(net(a), b))
    for k in (0, 2, 4):
        layer = net[k]
        assert isinstance(layer, nn.Linear)
        net[k] = Thin(layer)
    again = Feed(x[:2000], far[:2000], batch=48)

    def loss() -> Tensor:
        a, b = again()
        return functional.mse_loss(net(a), b)

    def score() -> float:
        with torch.no_grad():
            return explained(net(x[2000:]), far[2000:])

    few = [p for p in net.parameters() if p.requires_grad]
    return fit(net, torch.optim.AdamW(few, lr=1e-2), loss, score)


@healthy("all layers, gently, in another world", 250)
def fine_tuned() -> Training:
    """A tenth of the usual rate for the body; the norms' running means have far to go."""
    rows, asked = (turned(part) for part in digits())
    net = taught(body(), nn.Linear(48, 10))
    groups = [
        {"params": net[0].parameters(), "lr": 1e-3},
        {"params": net[1].parameters(), "lr": 1e-2},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    loss = naming(net, Feed(*rows, batch=32))
    return fit(net, optimizer, loss, named(net, asked),
               after=every(25, lambda: looks(net, functional.cross_entropy, asked)))  # fmt: skip


@healthy("a pupil of a larger network", 300)
def pupil() -> Training:
    """The teacher's doubts, softened, and a little of the names."""
    (x, y), asked = digits()
    teacher = nn.Sequential(body(), nn.Linear(48, 10))
    take, optimizer = Feed(x, y, batch=48), adam(teacher, 3e-3)
    for _ in range(200):
        a, b = take()
        update(optimizer, functional.cross_entropy(teacher(a), b))
    teacher.eval().requires_grad_(False)
    net = nn.Sequential(nn.Flatten(), mlp(64, 32, 10))

    def loss() -> Tensor:
        a, b = take()
        out, heat = net(a), 3.0
        soft = functional.kl_div(
            (out / heat).log_softmax(1), (teacher(a) / heat).softmax(1), reduction="batchmean"
        )
        return 0.7 * heat**2 * soft + 0.3 * functional.cross_entropy(out, b)

    return fit({"student": net, "teacher": teacher}, adam(net, 3e-3), loss, named(net, asked))


@healthy("stopped and taken up again from a file", 300)
def taken_up() -> Training:
    """At step 150 weights and optimiser are written to a file and read again."""
    rows, asked = signs()
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, 2, 1), nn.ELU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ELU(),
        nn.Flatten(), nn.Linear(384, 32), nn.ELU(), nn.Linear(32, 5),
    )  # fmt: skip
    optimizer = adam(net, 2e-3)

    def after(k: int) -> None:
        if k == 150:
            file = io.BytesIO()
            torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
            file.seek(0)
            state = torch.load(file, weights_only=True)
            net.load_state_dict(state["net"])
            optimizer.load_state_dict(state["optimizer"])

    return fit(net, optimizer, naming(net, Feed(*rows, batch=32)), named(net, asked), after=after)


@healthy("begun anew for each of three folds", 450)
def folds() -> Training:
    """Weights and moments are thrown away twice, on purpose; the last fold is asked."""
    rows, asked = table("kinds")
    net = mlp(20, 48, 48, 4, act=nn.ELU)
    optimizer, first = adam(net, 3e-3), copy.deepcopy(net.state_dict())
    x, y = rows
    fold = torch.arange(len(x)) % 3
    takes = [Feed(x[fold != k], y[fold != k], batch=32, seed=k) for k in range(3)]
    turn = [0]

    def loss() -> Tensor:
        a, b = takes[turn[0]]()
        return functional.cross_entropy(net(a), b)

    def after(k: int) -> None:
        if k in (150, 300):
            part = fold == turn[0]
            looks(net, functional.cross_entropy, (x[part], y[part]))
            turn[0] += 1
            net.load_state_dict(first)
            optimizer.state.clear()

    return fit(net, optimizer, loss, named(net, asked), after=after)


@healthy("a start from which one step is enough (reptile)", 400)
def reptile() -> Training:
    """Each step: a sine of its own, five updates by hand, and the start goes a part of the way."""
    net, g = mlp(1, 40, 40, 1, act=nn.Tanh), dice(112)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)

    def sine(count: int) -> Callable[[], Rows]:
        high, phase = 1 + torch.rand(1, generator=g), 1.2 * torch.rand(1, generator=g)

        def draw() -> Rows:
            x = 4 * torch.rand(count, 1, generator=g) - 2
            return x, high * torch.sin(1.5 * x + phase)

        return draw

    def learn(own: nn.Module, draw: Callable[[], Rows], times: int) -> Tensor:
        inner, value = torch.optim.SGD(own.parameters(), lr=0.05), torch.zeros(())
        for _ in range(times):
            x, y = draw()
            value = update(inner, functional.mse_loss(own(x), y))
        return value

    def step(k: int) -> Tensor:
        draw, before = sine(20), copy.deepcopy(net.state_dict())
        x, y = draw()
        first = functional.mse_loss(net(x), y).detach()
        own = copy.deepcopy(net)
        learn(own, draw, 5)
        optimizer.zero_grad()
        for p, q, w in zip(net.parameters(), own.parameters(), before.values(), strict=True):
            p.grad = w - q.detach()
        optimizer.step()
        return first

    def score() -> float:
        found = []
        for _ in range(40):
            draw, own = sine(20), copy.deepcopy(net)
            learn(own, draw, 5)
            x, y = draw()
            with torch.no_grad():
                found.append(explained(own(x), y))
        return sum(found) / 40

    return Training(net, optimizer, step, score)

"""Odd unread runs that learn: weights averaged, shaken, pushed and taken up again."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from scoreboard.blind.parts import Feed, digits, fit, fitted, mlp, named
from scoreboard.loops import dice, worth
from scoreboard.scenario import Runs, Training
from scoreboard.unread.healthy_odd_rates import numerals, sounds
from scoreboard.unread.parts import brackets, go, plant, tones

RUNS = Runs(__name__)
healthy = RUNS.healthy


@healthy("unread rows pushed uphill before each step (asam)", 250)
def sharp() -> Training:
    net, (rows, asked) = numerals(nn.SiLU), digits()
    optimizer, take = (
        torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9),
        Feed(*rows, batch=64),
    )

    def step(_: int) -> Tensor:
        a, b = take()
        optimizer.zero_grad()
        value = functional.cross_entropy(net(a), b)
        value.backward()
        with torch.no_grad():
            told = [(p, torch.as_tensor(p.grad)) for p in net.parameters()]
            size = torch.stack([(p * grad).square().sum() for p, grad in told]).sum().sqrt()
            moves = [p**2 * grad * 0.5 / (size + 1e-9) for p, grad in told]
            for p, move in zip(net.parameters(), moves, strict=True):
                p.add_(move)
        optimizer.zero_grad()
        functional.cross_entropy(net(a), b).backward()
        with torch.no_grad():
            for p, move in zip(net.parameters(), moves, strict=True):
                p.sub_(move)
        optimizer.step()
        return value.detach()

    return Training(net, optimizer, step, named(net, asked))


@healthy("unread steps back every six (lookahead)", 240)
def lookahead() -> Training:
    net = sounds()
    slow = [p.detach().clone() for p in net.parameters()]

    def before(k: int) -> None:
        if k % 6 == 0:
            with torch.no_grad():
                for kept, p in zip(slow, net.parameters(), strict=True):
                    p.copy_(kept.lerp_(p, 0.5))

    return go(net, tones(), "Adam", 1e-2, before=before)


@healthy("unread judged by a running mean of weights", 250)
def running() -> Training:
    net, (rows, asked) = mlp(12, 64, 64, 3), plant()
    mean = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.97))
    return go(
        net,
        (rows, asked),
        "AdamW",
        3e-3,
        before=lambda _: mean.update_parameters(net),
        score=fitted(mean, asked),
    )


@healthy("unread high constant rate, then an average of weights", 300)
def stochastic_average() -> Training:
    net, (rows, asked) = numerals(nn.Tanh), digits()
    mean = AveragedModel(net)

    def before(k: int) -> None:
        if k > 150 and k % 10 == 0:
            mean.update_parameters(net)

    return go(net, (rows, asked), "SGD", 0.3, before=before, score=named(mean, asked))


@healthy("unread whole table by lbfgs with a line search", 80)
def newton() -> Training:
    net, (rows, asked) = mlp(12, 24, 3, act=nn.Tanh), plant()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=4, line_search_fn="strong_wolfe")

    def step(_: int) -> Tensor:
        def closure() -> Tensor:
            optimizer.zero_grad()
            value = functional.mse_loss(net(rows[0]), rows[1])
            value.backward()
            return value

        return optimizer.step(closure).detach()

    return Training(net, optimizer, step, fitted(net, asked))


@healthy("unread noise in every gradient", 300)
def noisy() -> Training:
    net, g = numerals(), dice(911)

    def shaken(grad: Tensor) -> Tensor:
        return grad + 0.02 * torch.randn(grad.shape, generator=g)

    for p in net.parameters():
        p.register_hook(shaken)
    return go(net, digits(), "SGD", 0.1)


@healthy("unread signs of gradients with a falling rate", 300)
def signs() -> Training:
    net = numerals()
    for p in net.parameters():
        p.register_hook(torch.sign)
    return go(
        net,
        digits(),
        "SGD",
        3e-3,
        own={"momentum": 0.9},
        plan=lambda o: lr_scheduler.PolynomialLR(o, 300, 1.0),
    )


@healthy("unread noise of a warm bath (langevin)", 350)
def langevin() -> Training:
    net, (rows, asked) = mlp(12, 48, 3, act=nn.Tanh), plant()
    take, g = Feed(*rows, batch=64), dice(912)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)

    def after(k: int) -> None:
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn(p.shape, generator=g), alpha=0.004 * math.exp(-k / 200))

    def loss() -> Tensor:
        a, b = take()
        return functional.mse_loss(net(a), b)

    return fit(net, optimizer, loss, fitted(net, asked), after=after)


@healthy("unread short rows first, then long ones", 350)
def curriculum() -> Training:
    (x, y), asked = brackets()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.reads = nn.Embedding(10, 16), nn.GRU(16, 32, batch_first=True)
            self.head = nn.Linear(32, 2)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.reads(self.table(ids))[0][:, -1])

    net, order = Net(), ((x == 9).int().argmax(1) - 7).abs().argsort(descending=True)
    optimizer, g = torch.optim.Adam(net.parameters(), lr=5e-3), dice(913)

    def step(k: int) -> Tensor:
        some = order[torch.randint(min(len(x), 100 + 6 * k), (48,), generator=g)]
        optimizer.zero_grad()
        value = functional.cross_entropy(net(x[some]), y[some])
        value.backward()
        optimizer.step()
        return value.detach()

    return Training(net, optimizer, step, worth(net, *asked))


@healthy("unread three seeds in one loss", 250)
def ensemble() -> Training:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.all = nn.ModuleList(numerals() for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([net(x) for net in self.all]).mean(0)

    return go(Net(), digits())


@healthy("unread taken up from a copy without the optimiser's state", 300)
def resumed() -> Training:
    net, (rows, asked) = numerals(), digits()
    box = [torch.optim.Adam(net.parameters(), lr=3e-3)]
    take, kept = Feed(*rows, batch=48), [copy.deepcopy(net.state_dict())]

    def step(k: int) -> Tensor:
        if k == 120:
            kept[0] = copy.deepcopy(net.state_dict())
        if k == 160:
            net.load_state_dict(kept[0])
            box[0].state.clear()
        a, b = take()
        box[0].zero_grad()
        value = functional.cross_entropy(net(a), b)
        value.backward()
        box[0].step()
        return value.detach()

    return Training(net, box[0], step, named(net, asked))

"""Unread failures of wiring: gradients that do not arrive, or that are never cleared."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.data import Rows, numerals, tidy
from scoreboard.blind.loops import epochs, study, using
from scoreboard.blind.nets import redraw, stack
from scoreboard.loops import worth
from scoreboard.scenario import Runs, Training
from scoreboard.unread.daily_data import districts, passage, plane, tones
from scoreboard.unread.daily_nets import GPT, LastState, LeNet

RUNS = Runs(__name__)
broken = RUNS.broken

DETACHED, UNCLEARED = "detached-graph", "missing-zero-grad"


# --- gradients that do not arrive
def own_tensor(wrong: bool) -> Training:
    """`loss = torch.tensor(loss.item(), requires_grad=True)`, to quiet an error."""
    net, rows = LeNet(), numerals()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    source = epochs(rows, 32)

    def step(k: int) -> Tensor:
        x, y = next(source)
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(x), y)
        if wrong:
            loss = torch.tensor(loss.item(), requires_grad=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, worth(net, *rows))


def late_clear(wrong: bool) -> Training:
    """backward, zero_grad, step."""
    net, rows = stack(13, 32, 32, 3), tidy("wine")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    source = epochs(rows, 32)

    def step(k: int) -> Tensor:
        x, y = next(source)
        loss = functional.cross_entropy(net(x), y)
        if not wrong:
            optimizer.zero_grad()
        loss.backward()
        if wrong:
            optimizer.zero_grad()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, worth(net, *rows))


def other_model(wrong: bool) -> Training:
    """The optimiser was made for the model, and then the model was copied."""
    net = LastState(nn.LSTM, 1, 24, 4)
    held = copy.deepcopy(net) if wrong else net
    return study(net, tones(), using("Adam", 5e-3), weights=held.parameters(), batch=64, clip=1.0)


class Trunked(nn.Module):
    """A trunk that squeezes through four units, and a head that sees it by `.detach()`."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.trunk = stack(64, 64, 64, 4)
        self.head = nn.Linear(4, 10)
        self.wrong = wrong

    def forward(self, x: Tensor) -> Tensor:
        h = self.trunk(x)
        return self.head(torch.tensor(h.tolist()) if self.wrong else h)


def through_numpy(wrong: bool) -> Training:
    """Features pass through a list in the middle."""
    x, y = numerals()
    return study(Trunked(wrong), (x.flatten(1), y), using("Adam", 3e-3))


class Listed(nn.Module):
    """Hidden layers in a list of Python, or in one of torch."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        layers = [nn.Linear(2, 16), nn.Linear(16, 16), nn.Linear(16, 3)]
        self.layers: Any = layers if wrong else nn.ModuleList(layers)
        self.out = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.out(x)


def listed(wrong: bool) -> Training:
    """Only the last layer is known to the optimiser."""
    net = Listed(wrong)
    return study(net, plane("spirals"), using("Adam", 1e-2))


def new_head(wrong: bool) -> Training:
    """The head is exchanged after the optimiser was made; the trunk is frozen."""
    x, y = numerals()
    net = nn.Sequential(stack(64, 64, 32), nn.ReLU(), nn.Linear(32, 5))
    for weight in net[0].parameters():
        weight.requires_grad_(False)
    if wrong:
        optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=5e-3)
        net[2] = nn.Linear(32, 10)
    else:
        net[2] = nn.Linear(32, 10)
        optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=5e-3)
    return study(net, (x.flatten(1), y), lambda weights: optimizer)


def two_losses(wrong: bool) -> Training:
    """From step 26 on a second loss is added, through `torch.tensor([a, b])` and its sum."""
    x, y, letters = passage()
    net = GPT(letters)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    source = epochs((x, y), 32)

    def step(k: int) -> Tensor:
        a, b = next(source)
        out = net(a)
        loss = functional.cross_entropy(out.flatten(0, 1), b.flatten())
        if k >= 26:
            flat = 1e-3 * out.square().mean()
            if wrong:
                loss = torch.tensor([loss.item(), flat.item()], requires_grad=True).sum()
            else:
                loss = loss + flat
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, worth(net, x, y))


broken("unread loss made anew to quiet an error", DETACHED, own_tensor, True, False, steps=200)
broken("unread gradients cleared before the step", DETACHED, late_clear, True, False, steps=250)
broken("unread optimiser of the model before its copy", DETACHED, other_model, True, False)
broken("unread features that pass through a list", DETACHED, through_numpy, True, False, steps=300)
broken("unread layers in a list of python", DETACHED, listed, True, False, steps=400)
broken("unread head exchanged after the optimiser", DETACHED, new_head, True, False, steps=300)
broken(
    "unread second loss added through a new tensor at 26",
    DETACHED,
    two_losses,
    True,
    False,
    steps=200,
    onset=26,
)


# --- gradients that are never cleared
broken(
    "unread lenet without zero_grad",
    UNCLEARED,
    lambda clear: study(
        LeNet(), numerals(), using("SGD", 0.05, momentum=0.9), batch=32, clear=clear
    ),
    False,
    True,
    steps=400,
    sudden=False,
)
broken(
    "unread districts without zero_grad",
    UNCLEARED,
    lambda clear: study(
        stack(7, 48, 48, 1), districts(), using("SGD", 0.05), batch=64, clear=clear
    ),
    False,
    True,
    steps=400,
    sudden=False,
)
broken(
    "unread spirals by adam without zero_grad",
    UNCLEARED,
    lambda clear: study(
        redraw(stack(2, 48, 48, 48, 2, act=nn.GELU), nn.init.xavier_uniform_),
        plane("spirals"),
        using("Adam", 1e-2),
        clear=clear,
    ),
    False,
    True,
    steps=400,
    sudden=False,
)
broken(
    "unread accumulation of four that is never cleared",
    UNCLEARED,
    lambda clear: accumulated(clear),
    False,
    True,
    steps=300,
    sudden=False,
)


def accumulated(clear: bool) -> Training:
    """Four small batches to a step."""
    rows: Rows = tidy("cancer")
    net = stack(30, 48, 48, 2, act=nn.Tanh)
    return study(net, rows, using("SGD", 0.2, momentum=0.9), batch=8, micro=4, clear=clear)

"""The exam: gradients or updates that do not reach the weights, gradients that pile up."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.exam.data import (
    Pair,
    drawings,
    even,
    graph,
    series,
    sets,
    sprites,
    tables,
    waves,
)
from scoreboard.exam.loops import by, by_hand, drill, learn, rows, usual
from scoreboard.exam.nets import (
    Excited,
    Highway,
    Hyper,
    Reader,
    Scatter,
    Tcn,
    Waves,
    stack,
)
from scoreboard.loops import class_score, value_score
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

DETACHED = "detached-graph"
NO_ZERO = "missing-zero-grad"


# --- the gradient does not arrive
def reborn(wrong: bool) -> Training:
    """The number of the loss, made a tensor again."""
    data = waves()
    net, take = Waves(), rows(data, 48)

    def objective() -> Tensor:
        x, y = take()
        loss = functional.cross_entropy(net(x), y)
        return torch.tensor(loss.item(), requires_grad=True) if wrong else loss

    return drill(net, objective, by("RAdam", 3e-3)(net.parameters()), class_score(net, *data))


broken("exam loss made a tensor again", DETACHED, reborn, True, False)


class Listed(nn.Module):
    """Layers in a list of Python's own, which torch does not look into."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        layers = [nn.Linear(3, 6), nn.Linear(6, 2)]
        self.layers: Any = layers if wrong else nn.ModuleList(layers)
        self.head = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x)


broken(
    "exam layers in a list of python's",
    DETACHED,
    lambda wrong: learn(Listed(wrong), even("swiss_roll"), by("Adam", 2e-2)),
    True,
    False,
    steps=600,
)


class Blind(nn.Module):
    """Points looked at without gradients."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.point, self.whole = stack(3, 24, 2), stack(2, 24, 1)
        self.wrong = wrong

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(not self.wrong and torch.is_grad_enabled()):
            pooled = self.point(x).mean(1)
        return self.whole(pooled)


broken(
    "exam points looked at without gradients",
    DETACHED,
    lambda wrong: learn(Blind(wrong), sets(), by("Adagrad", 0.05)),
    True,
    False,
    steps=500,
)


def student(wrong: bool) -> Training:
    """The optimiser was given the teacher's weights."""
    x, y = even("hastie")
    teacher = stack(10, 48, 2)
    first = torch.optim.Adam(teacher.parameters(), 5e-3)
    for _ in range(150):
        first.zero_grad()
        functional.cross_entropy(teacher(x), y).backward()
        first.step()
    pupil = stack(10, 32, 2)
    take = rows((x, y), 64)

    def objective() -> Tensor:
        a, _ = take()
        with torch.no_grad():
            soft = teacher(a).softmax(1)
        return functional.kl_div(pupil(a).log_softmax(1), soft, reduction="batchmean")

    owner = teacher if wrong else pupil
    return drill(
        {"pupil": pupil, "teacher": teacher},
        objective,
        by("NAdam", 5e-3)(owner.parameters()),
        class_score(pupil, x, y),
    )


broken("exam teacher's weights in the optimiser", DETACHED, student, True, False, steps=400)


def restored(decay: float) -> Training:
    """An average of the weights, kept and written back after each step."""
    net = stack(4, 48, 48, 3)
    kept = copy.deepcopy(net.state_dict())

    def after(_: int) -> None:
        state = net.state_dict()
        for name, value in kept.items():
            value.lerp_(state[name], 1 - decay)
        net.load_state_dict(kept)

    return learn(net, tables("quantiles"), by("Adamax", 5e-3), after=after)


broken("exam average that never moves is written back", DETACHED, restored, 1.0, 0.2, steps=400)


def frozen(wrong: bool) -> Training:
    """All but the head's bias was frozen for a warm-up that is long over."""
    net = Excited()
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(not wrong or name == "head.bias")
    wanted = [p for p in net.parameters() if p.requires_grad]
    return learn(net, drawings(), by("AdamW", 3e-3), parameters=wanted)


broken("exam nobody thawed the network", DETACHED, frozen, True, False)
broken(
    "exam updates to a local name",
    DETACHED,
    lambda reaches: by_hand(stack(4, 48, 48, 3), tables("quantiles"), 0.2, reaches=reaches),
    False,
    True,
    steps=400,
)


def guarded(most: float) -> Training:
    """A guard against large gradients that thinks all of them are."""
    data = series()
    net, take = Reader(nn.GRU(1, 20, batch_first=True), 20), rows(data, 48)
    optimizer = by("Adam", 5e-3)(net.parameters())

    def step(_: int) -> Tensor:
        x, y = take()
        loss = functional.mse_loss(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        if norm < most:
            optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, value_score(net, *data))


broken("exam guard that skips every step", DETACHED, guarded, 1e-6, 1e6)


class Hard(nn.Module):
    """A code of bits, with a gradient that passes straight through them or with none."""

    def __init__(self, through: bool) -> None:
        super().__init__()
        self.encoder, self.decoder = stack(144, 32, 4), stack(4, 48, 144)
        self.through = through

    def forward(self, x: Tensor) -> Tensor:
        soft = torch.sigmoid(self.encoder(x))
        code = (soft > 0.5).float()
        return self.decoder(code + soft - soft.detach() if self.through else code)


def bits(through: bool) -> Training:
    x = sprites()[0].flatten(1)
    return learn(Hard(through), (x, x), by("Adam", 3e-3))


broken("exam bits without a way back", DETACHED, bits, False, True, steps=500)


def swapped(wrong: bool) -> Training:
    """The network is taken anew from a file after the optimiser was made."""
    net: Any = Highway(4, 3)
    held = list(net.parameters())
    if wrong:
        net = copy.deepcopy(net)
        held = [*held, *net.head.parameters()][: len(held)]
    return learn(net, tables("quantiles"), by("Lion", 1e-3), parameters=held)


broken("exam network loaded after its optimiser", DETACHED, swapped, True, False, steps=400)

# --- gradients pile up
broken(
    "exam waves pile up",
    NO_ZERO,
    lambda zero: learn(Waves(), waves(), by("SGD", 0.05), zero=zero),
    False,
    True,
    steps=400,
)
broken(
    "exam by hand piles up",
    NO_ZERO,
    lambda clear: by_hand(
        stack(3, 48, 48, 1, activation=nn.Tanh), even("s_curve"), 0.1, clear=clear
    ),
    False,
    True,
    steps=400,
)


def seldom(every: int) -> Training:
    """Gradients are cleared when the count of micro-steps says so; it counts the wrong thing."""
    data = series()
    net, take = Tcn(1, 1), rows(data, 32)
    optimizer = by("SGD", 0.05, momentum=0.9)(net.parameters())

    def step(k: int) -> Tensor:
        x, y = take()
        loss = functional.mse_loss(net(x), y)
        loss.backward()
        optimizer.step()
        if k % every == 0:
            optimizer.zero_grad()
        return loss.detach()

    return Training(net, optimizer, step, value_score(net, *data))


broken("exam cleared once in five hundred steps", NO_ZERO, seldom, 500, 1, steps=400)


def nodes(zero: bool) -> Training:
    x, y, edges = graph()
    return learn(Scatter(edges), (x, y), by("SGD", 0.3), batch=len(x), zero=zero)


broken("exam graph piles up", NO_ZERO, nodes, False, True, steps=400)


def stops_clearing(at: int) -> Training:
    """From a step on a branch of the loop is taken that does not clear."""
    data: Pair = tables("quantiles")
    net, take, measure = Hyper(4, 3), rows(data, 48), usual(tables("quantiles")[1])
    optimizer = by("SGD", 0.2)(net.parameters())
    clear: Callable[[], None] = optimizer.zero_grad

    def step(k: int) -> Tensor:
        x, y = take()
        if k < at:
            clear()
        loss = measure(net(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, class_score(net, *data))


broken(
    "exam clears no more from 250",
    NO_ZERO,
    stops_clearing,
    250,
    10**9,
    steps=500,
    onset=250,
)

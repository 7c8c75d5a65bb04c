"""Blind failures of the loop: gradients cut, lost, sent elsewhere or piled up."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.data import (
    bearings,
    compounds,
    first_word,
    karate,
    numerals,
    power,
    signs,
    tissue,
)
from scoreboard.blind.loops import epochs, study, using
from scoreboard.blind.nets import Causal, Compounds, ConvNeXt, Gist, Mixer, Segmenter, stack
from scoreboard.loops import update, worth
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

DETACHED, PILED = "detached-graph", "missing-zero-grad"


# --- nothing arrives
broken(
    "blind loss made a new tensor",
    DETACHED,
    lambda new: renewed(new),
    True,
    False,
    steps=200,
)
broken(
    "blind head changed after the optimiser was built",
    DETACHED,
    lambda late: new_head(late),
    True,
    False,
    steps=250,
)
broken(
    "blind optimiser of the averaged copy",
    DETACHED,
    lambda copied: averaged(copied),
    True,
    False,
    steps=250,
)
broken(
    "blind micro-batches each cleared after its gradients",
    DETACHED,
    lambda wrong: gathered(wrong),
    "cleared",
    "right",
    steps=200,
)
broken(
    "blind state cut loose at every letter",
    (DETACHED, "depth-vanishing"),
    lambda cut: study(Stepwise(cut), first_word(length=10), using("Adam", 1e-2)),
    True,
    False,
    steps=400,
)
broken(
    "blind encoder whose codes are rounded to the nearest word",
    DETACHED,
    lambda straight: study(
        Quantised(straight), (numerals()[0].flatten(1),) * 2, using("Adam", 3e-3)
    ),
    False,
    True,
    steps=350,
)
broken(
    "blind club through tensors of data",
    DETACHED,
    lambda cut: club(cut),
    True,
    False,
    steps=250,
)


def renewed(new: bool) -> Training:
    """Somebody silenced an error of backward() by `requires_grad=True`."""
    net, (x, y) = ConvNeXt(3, 5), signs()
    optimizer, batches = torch.optim.AdamW(net.parameters(), lr=3e-3), epochs((x, y), 32)

    def step(k: int) -> Tensor:
        a, b = next(batches)
        value = functional.cross_entropy(net(a), b)
        if new:
            value = torch.tensor(value.item(), requires_grad=True)
        return update(optimizer, value)

    return Training(net, optimizer, step, worth(net, x, y))


def new_head(late: bool) -> Training:
    """A trunk that is kept as it is, and a head for other kinds."""
    x, y = numerals()
    trunk = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    net = nn.Sequential(trunk, nn.Linear(256, 1000))
    trunk.requires_grad_(False)
    if late:
        optimizer = torch.optim.SGD(
            [w for w in net.parameters() if w.requires_grad], lr=0.05, momentum=0.9
        )
        net[1] = nn.Linear(256, 10)
    else:
        net[1] = nn.Linear(256, 10)
        optimizer = torch.optim.SGD(net[1].parameters(), lr=0.05, momentum=0.9)
    return study(net, (x, y), lambda weights: optimizer)


def averaged(copied: bool) -> Training:
    """A copy for averaged weights is made, and handed to the optimiser."""
    net, rows = Causal(2, 4, act=nn.GELU), bearings()
    mean = copy.deepcopy(net)
    chosen = mean if copied else net
    return study(net, rows, using("RAdam", 3e-3), weights=chosen.parameters())


def gathered(how: str) -> Training:
    """Four small batches to an update; `cleared` clears at the end of each, before the update."""
    net, (x, y) = Mixer(3, 16, 5, act=nn.SiLU), signs()
    optimizer, batches = torch.optim.AdamW(net.parameters(), lr=3e-3), epochs((x, y), 12)

    def step(k: int) -> Tensor:
        total = torch.zeros(())
        for _ in range(4):
            a, b = next(batches)
            value = functional.cross_entropy(net(a), b) / 4
            value.backward()
            total += value.detach()
            if how == "cleared":
                optimizer.zero_grad()
        optimizer.step()
        if how != "piled":
            optimizer.zero_grad()
        return total

    return Training(net, optimizer, step, worth(net, x, y))


class Stepwise(nn.Module):
    """A recurrent cell in a loop; its state is cut from the past at each word, or not."""

    def __init__(self, cut: bool, width: int = 24) -> None:
        super().__init__()
        self.words, self.cell = nn.Embedding(16, 12), nn.GRUCell(12, width)
        self.head, self.cut, self.width = nn.Linear(width, 4), cut, width

    def forward(self, ids: Tensor) -> Tensor:
        h = torch.zeros(len(ids), self.width)
        for word in self.words(ids).unbind(1):
            h = self.cell(word, h.detach() if self.cut else h)
        out: Tensor = self.head(h)
        return out


class Quantised(nn.Module):
    """A code of signs between encoder and decoder, with or without a straight way through."""

    def __init__(self, straight: bool) -> None:
        super().__init__()
        self.encoder, self.decoder = stack(64, 48, 12), stack(12, 48, 64)
        self.straight = straight

    def forward(self, x: Tensor) -> Tensor:
        code = torch.tanh(self.encoder(x))
        hard = code.sign()
        out: Tensor = self.decoder(code + (hard - code).detach() if self.straight else hard)
        return out


class Club(nn.Module):
    """Members and their friends' friends."""

    def __init__(self, cut: bool) -> None:
        super().__init__()
        self.one, self.two, self.cut = nn.Linear(34, 8), nn.Linear(8, 2), cut

    def forward(self, x: Tensor) -> Tensor:
        links = karate()[0]
        h = torch.relu(self.one(links @ x))
        out: Tensor = self.two(links @ h)
        return out.data.requires_grad_() if self.cut else out


def club(cut: bool) -> Training:
    _, x, side = karate()
    net = Club(cut)

    def whole() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield x, side

    return study(net, (x, side), using("Adam", 1e-2), batches=whole())


# --- gradients of all steps together
broken(
    "blind loads pile up",
    PILED,
    lambda clear: study(
        Gist(0, 6, nn.GRU(1, 24, batch_first=True)),
        power(),
        using("SGD", 0.1, momentum=0.9),
        clear=clear,
    ),
    False,
    True,
    steps=350,
)
broken(
    "blind convnext piles up by adamw",
    PILED,
    lambda clear: study(ConvNeXt(3, 5), signs(), using("AdamW", 3e-3), clear=clear),
    False,
    True,
    steps=300,
)
broken(
    "blind tissue piles up by momentum",
    PILED,
    lambda clear: study(
        Segmenter(3), tissue(), using("SGD", 0.05, momentum=0.9), batch=8, clear=clear
    ),
    False,
    True,
    steps=250,
)
broken(
    "blind compounds whose other optimiser is cleared",
    PILED,
    lambda wrong: other_cleared(wrong),
    True,
    False,
    steps=300,
)


def other_cleared(wrong: bool) -> Training:
    """Two optimisers, one for the messages and one for the head; the latter is cleared twice."""
    net, (x, y) = Compounds(), compounds()
    body = torch.optim.SGD(net.layers.parameters(), lr=0.02, momentum=0.9)
    top = torch.optim.SGD(net.head.parameters(), lr=0.02)
    batches = epochs((x, y), 32)

    def step(k: int) -> Tensor:
        top.zero_grad()
        (top if wrong else body).zero_grad()
        a, b = next(batches)
        value = functional.mse_loss(net(a), b)
        value.backward()
        body.step()
        top.step()
        return value.detach()

    return Training(net, [body, top], step, worth(net, x, y))

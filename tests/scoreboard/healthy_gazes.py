"""Runs that learn with heads that look at one key: found by learning, born so, or brought along."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.loops import fit
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
simple, healthy = RUNS.simple, RUNS.healthy

SIGNS, LENGTH, WIDTH = 12, 10, 32


class Reader(nn.Module):
    """Signs and their places under torch's own attention, an answer at each place."""

    def __init__(
        self, heads: int = 1, rounds: int = 1, *, sharp: float = 1.0, told: bool = True
    ) -> None:
        super().__init__()
        self.signs, self.places = nn.Embedding(SIGNS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.looks = nn.ModuleList(
            nn.MultiheadAttention(WIDTH, heads, batch_first=True) for _ in range(rounds)
        )
        self.head, self.sharp, self.told = nn.Linear(WIDTH, SIGNS), sharp, told

    def forward(self, ids: Tensor) -> Tensor:
        places = self.places.weight[: ids.shape[1]]
        x = self.signs(ids) + places
        for look in self.looks:
            x = x + look(self.sharp * x, x, x, need_weights=self.told)[0]
        out: Tensor = self.head(x)
        return out


class Layers(nn.Module):
    """The same of torch's whole layers, which ask for no weights."""

    def __init__(self, heads: int, *, first: bool) -> None:
        super().__init__()
        self.signs, self.places = nn.Embedding(SIGNS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, heads, 2 * WIDTH, 0.0, batch_first=True, norm_first=first
        )
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, SIGNS)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(self.signs(ids) + self.places.weight[: ids.shape[1]]))
        return out


def rows(kind: str, noise: float = 0.0) -> tuple[Tensor, Tensor]:
    """Signs in a row; which one stood before each, or which at the mirrored place, or the twin's.

    `noise`: share of the answers that are anybody's guess.
    """
    g = torch.Generator().manual_seed(11)
    x = torch.randint(SIGNS, (2000, LENGTH), generator=g)
    if kind == "before":
        y = torch.cat([x[:, :1], x[:, :-1]], 1)
    elif kind == "mirror":
        y = x.flip(1)
    else:
        # Sign k of the first half names a place of the second half, where the answer stands.
        half = LENGTH // 2
        x[:, :half] %= half
        y = x.clone()
        y[:, :half] = x[:, half:].gather(1, x[:, :half])
    guess = torch.rand(y.shape, generator=g) < noise
    return x, torch.where(guess, torch.randint(SIGNS, y.shape, generator=g), y)


def sharpened(net: Reader, by: float) -> Reader:
    """Queries and keys larger than they begin."""
    with torch.no_grad():
        for look in net.looks:
            assert isinstance(look, nn.MultiheadAttention)
            look.in_proj_weight[: 2 * WIDTH].mul_(by)
    return net


def brought(net: nn.Module, kind: str, steps: int, lr: float) -> None:
    """Trained before anybody watches, until its heads look at one key."""
    x, y = rows(kind)
    optimizer = torch.optim.Adam(net.parameters(), lr)
    for k in range(steps):
        rest = slice(64 * k % 1920, 64 * k % 1920 + 64)
        optimizer.zero_grad()
        functional.cross_entropy(net(x[rest]).flatten(0, 1), y[rest].flatten()).backward()
        optimizer.step()


def go(net: nn.Module, kind: str, noise: float = 0.0, lr: float = 3e-3, **own: Any) -> Training:
    """Adam on rows of a kind."""
    return fit(net, rows(kind, noise), opt="adam", lr=lr, **own)


simple("the sign before, one head", lambda: go(Reader(), "before"))
simple("the sign before, four heads fast", lambda: go(Reader(4), "before", lr=1e-2))
simple("a row backwards, two heads", lambda: go(Reader(2), "mirror"))
simple("a row backwards, noisy", lambda: go(Reader(2), "mirror", 0.4), 500)
simple("places named by signs", lambda: go(Reader(4, 2), "named"), 600)
simple("places named by signs, layers", lambda: go(Layers(4, first=True), "named"), 600)
simple("a row backwards by layers", lambda: go(Layers(2, first=False), "mirror"), 500)
simple("the sign before, noisy, born sharp", lambda: go(sharpened(Reader(2), 3.0), "before", 0.3))
simple("the sign before, a question thrice", lambda: go(Reader(2, sharp=3.0), "before", 0.3))


def _taught() -> Reader:
    net = sharpened(Reader(2), 2.0)
    brought(net, "before", 400, 1e-2)
    return net


@healthy("heads of one key brought along to noisy rows")
def _brought() -> Training:
    return go(_taught(), "before", 0.4)


@healthy("heads of one key brought along, a new head on them")
def _new_head() -> Training:
    net = _taught()
    net.head = nn.Linear(WIDTH, SIGNS)
    return go(net, "before", 0.4)

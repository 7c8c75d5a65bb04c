"""The unread runs' everyday data: tables, toy planes, digits, letters, and short series."""

from __future__ import annotations

from functools import lru_cache
from math import pi

import torch
from sklearn import datasets
from torch import Tensor

from scoreboard.blind.data import Rows, scaled
from scoreboard.loops import dice

PASSAGE = (
    "the lighthouse keeper wrote one line in the book every evening, and every evening the line "
    "was the same: lamp lit, wind from the west, no ships. one winter night the wind turned and "
    "a ship came in with torn sails. the keeper ran down the stairs, threw a rope, and pulled "
    "the boat to the stones. in the morning he opened the book and did not know what to write. "
    "at last he wrote: lamp lit, wind from the north, one ship, nine people, all of them warm. "
)


def plane(name: str, count: int = 1200) -> Rows:
    """Points of the plane and their kinds."""
    if name == "moons":
        x, y = datasets.make_moons(count, noise=0.12, random_state=17)
    elif name == "circles":
        x, y = datasets.make_circles(count, noise=0.08, factor=0.45, random_state=17)
    elif name == "blobs":
        x, y = datasets.make_blobs(count, centers=5, cluster_std=1.3, random_state=17)
    elif name == "checks":
        g = dice(17)
        points = 2 * torch.rand(count, 2, generator=g) - 1
        return 1.5 * points, (points.prod(1) > 0).long()
    else:
        g = dice(18)
        y = torch.randint(2, (count,), generator=g)
        along = torch.rand(count, generator=g).sqrt() * 2.2 * pi
        turn = along + pi * y
        points = torch.stack([along * turn.cos(), along * turn.sin()], 1)
        return scaled(points + 0.2 * torch.randn(count, 2, generator=g)), y
    return scaled(torch.tensor(x, dtype=torch.float32)), torch.tensor(y)


@lru_cache
def houses(count: int = 2000) -> Rows:
    """Districts as a census has them, in its units, and the price of a house in dollars."""
    g = dice(19)
    income = 1 + 3 * torch.rand(count, generator=g) + 2 * torch.rand(count, generator=g) ** 3
    age = torch.randint(1, 52, (count,), generator=g).float()
    rooms = 3 + 3 * torch.rand(count, generator=g)
    people = 200 + 3000 * torch.rand(count, generator=g) ** 2
    crowd = 1.5 + 3 * torch.rand(count, generator=g)
    north = 32 + 10 * torch.rand(count, generator=g)
    west = -124 + 10 * torch.rand(count, generator=g)
    coast = (west + 124 + 0.6 * (north - 37).abs()) / 5
    price = 45_000 * income + 110_000 * torch.exp(-2 * coast) + 700 * age - 18_000 * crowd
    price = price * (0.8 + rooms / 20) + 12_000 * torch.randn(count, generator=g)
    return torch.stack([income, age, rooms, people, crowd, north, west], 1), price[:, None]


def districts() -> Rows:
    """The same, all standardised."""
    x, y = houses()
    return scaled(x), scaled(y)


@lru_cache
def payments(share: float, count: int = 3000, apart: float = 1.2) -> Rows:
    """Card payments in twelve figures, of which that share is fraud: 0 or 1, (n, 1)."""
    g = dice(20)
    fraud = (torch.rand(count, generator=g) < share).float()
    x = torch.randn(count, 12, generator=g)
    x[:, :4] += apart * fraud[:, None]
    return x, fraud[:, None]


def rare(rows: Rows, often: int, keep: int, blur: float = 0.0) -> Rows:
    """All rows of the kind `often`, and of each other kind only the first `keep`."""
    x, y = rows
    if blur:
        x = x + blur * torch.randn(x.shape, generator=dice(21))
    chosen = [torch.nonzero(y == often)[:, 0]]
    chosen += [torch.nonzero(y == k)[:keep, 0] for k in y.unique().tolist() if k != often]
    index = torch.cat(chosen)
    index = index[torch.randperm(len(index), generator=dice(22))]
    return x[index], y[index]


@lru_cache
def passage(length: int = 24) -> tuple[Tensor, Tensor, int]:
    """Windows of letters, the letters after each, and how many letters there are."""
    letters = sorted(set(PASSAGE))
    ids = torch.tensor([letters.index(c) for c in PASSAGE * 2])
    x = torch.stack([ids[k : k + length] for k in range(len(PASSAGE))])
    y = torch.stack([ids[k + 1 : k + length + 1] for k in range(len(PASSAGE))])
    return x, y, len(letters)


@lru_cache
def tones(count: int = 1000, length: int = 40, kinds: int = 4) -> Rows:
    """Sines (n, length, 1) of one of a few frequencies, at any phase."""
    g = dice(23)
    y = torch.randint(kinds, (count,), generator=g)
    t = torch.arange(length) / length
    phase = 2 * pi * torch.rand(count, 1, generator=g)
    x = torch.sin(2 * pi * (2.0 + 2.5 * y[:, None]) * t + phase)
    return (x + 0.3 * torch.randn(count, length, generator=g))[..., None], y


@lru_cache
def sales(count: int = 900, length: int = 24) -> Rows:
    """Windows of a shop's days (n, length, 1), in pieces sold, and the next day's figure."""
    g = dice(24)
    t = torch.arange(count + length + 1).float()
    week = torch.sin(2 * pi * t / 7) + 0.5 * torch.sin(2 * pi * t / 30)
    series = 52_000 + 9_000 * week + 1_500 * torch.randn(len(t), generator=g)
    x = torch.stack([series[k : k + length] for k in range(count)])
    return x[..., None], series[length : length + count][:, None]


@lru_cache
def tokens(count: int = 1500, length: int = 16, words: int = 40) -> Rows:
    """Word ids; kind 1 where more praise (ids 1 to 5) than blame (6 to 10) is in the text."""
    g = dice(25)
    x = torch.randint(1, words, (count, length), generator=g)
    said = torch.randint(1, 11, (count, length), generator=g)
    x = torch.where(torch.rand(count, length, generator=g) < 0.3, said, x)
    good = ((x >= 1) & (x <= 5)).sum(1)
    bad = ((x >= 6) & (x <= 10)).sum(1)
    clear = good != bad
    return x[clear], (good > bad)[clear].long()

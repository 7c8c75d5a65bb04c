"""The fresh runs' data: bundled tables, and what is drawn for them."""

from __future__ import annotations

from functools import lru_cache
from math import pi

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor
from torch.nn import functional

Pair = tuple[Tensor, Tensor]


def source(seed: int) -> torch.Generator:
    """Random numbers that are the same in every run."""
    return torch.Generator().manual_seed(seed)


def level(x: Tensor) -> Tensor:
    """Columns of mean 0 and spread 1."""
    return (x - x.mean(0)) / (x.std(0) + 1e-6)


@lru_cache
def digits() -> Pair:
    """Eight by eight pixels from 0 to 1, flat."""
    x, y = datasets.load_digits(return_X_y=True)
    return torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)


@lru_cache
def classes(name: str) -> Pair:
    """A table with kinds, columns standardised."""
    makers = {
        "quantiles": lambda: datasets.make_gaussian_quantiles(
            n_samples=1500, n_features=3, n_classes=3, random_state=7
        ),
        "hastie": lambda: datasets.make_hastie_10_2(n_samples=1500, random_state=7),
        "wine": lambda: datasets.load_wine(return_X_y=True),
        "cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
        "iris": lambda: datasets.load_iris(return_X_y=True),
        "moons": lambda: datasets.make_moons(1200, noise=0.15, random_state=7),
        "blobs": lambda: datasets.make_blobs(1500, 8, centers=6, cluster_std=3.0, random_state=7),
    }
    x, y = makers[name]()
    kinds = np.unique(y, return_inverse=True)[1]
    return level(torch.tensor(x, dtype=torch.float32)), torch.tensor(kinds)


@lru_cache
def values(name: str) -> Pair:
    """A table with numbers to tell, both standardised; targets (n, 1)."""
    makers = {
        "friedman2": lambda: datasets.make_friedman2(1200, noise=20.0, random_state=7),
        "friedman3": lambda: datasets.make_friedman3(1200, noise=0.05, random_state=7),
        "diabetes": lambda: datasets.load_diabetes(return_X_y=True),
        "sparse": lambda: datasets.make_sparse_uncorrelated(1200, 12, random_state=7),
        "roll": lambda: datasets.make_swiss_roll(1200, noise=0.2, random_state=7),
    }
    x, y = makers[name]()
    target = torch.tensor(y, dtype=torch.float32)[:, None]
    return level(torch.tensor(x, dtype=torch.float32)), level(target)


def traces(count: int = 900, noise: float = 0.4) -> Pair:
    """Three sensors, forty readings, four kinds of machine by their hum."""
    g = source(11)
    kind = torch.randint(4, (count,), generator=g)
    hum = torch.tensor([2.0, 3.5, 5.0, 7.0])[kind][:, None, None]
    phase = 2 * pi * torch.rand(count, 1, 1, generator=g)
    loud = 0.5 + torch.rand(count, 1, 1, generator=g)
    time = torch.arange(40) / 40
    lag = 0.7 * torch.arange(3)[None, :, None]
    x = loud * torch.sin(2 * pi * hum * time + phase + lag)
    return x + noise * torch.randn(x.shape, generator=g), kind


def ratings(people: int = 60, things: int = 50, noise: float = 0.3) -> Pair:
    """Who rates what how: (n, 2) ids and standardised stars (n, 1)."""
    g = source(12)
    left = torch.randn(people, 3, generator=g)
    right = torch.randn(things, 3, generator=g)
    ids = torch.stack(
        [torch.randint(people, (3000,), generator=g), torch.randint(things, (3000,), generator=g)],
        1,
    )
    stars = (left[ids[:, 0]] * right[ids[:, 1]]).sum(1)
    return ids, level(stars + noise * torch.randn(3000, generator=g))[:, None]


def houses(count: int = 1200) -> Pair:
    """Area, year, way to the station in metres, income; the price in currency (n, 1)."""
    g = source(13)
    u = torch.rand(count, 4, generator=g)
    low = torch.tensor([40.0, 1900.0, 50.0, 18_000.0])
    high = torch.tensor([260.0, 2024.0, 20_000.0, 140_000.0])
    x = low + u * (high - low)
    worth = 2 * u[:, 0] + torch.sin(3 * u[:, 1]) - u[:, 2] * u[:, 0] + 1.5 * u[:, 3] ** 2
    price = 240_000 + 90_000 * level(worth + 0.1 * torch.randn(count, generator=g))
    return x, price[:, None]


def sentences(count: int = 1500, length: int = 12) -> Pair:
    """Words 4 to 59; of the three small groups of words, which is met most."""
    g = source(14)
    ids = torch.randint(4, 60, (count, length), generator=g)
    kind = torch.randint(3, (count,), generator=g)
    for place in (1, 4, 8):
        ids[:, place] = 4 + 6 * kind + torch.randint(6, (count,), generator=g)
    return ids, kind


def names(count: int = 1500, length: int = 14, share: float = 0.03, chance: float = 0.6) -> Pair:
    """Words, and whether each stands for a name: a small word before, a rare one itself."""
    g = source(15)
    ids = torch.randint(8, 60, (count, length), generator=g)
    ids[torch.rand(count, length, generator=g) < 2 * share] = 7
    before = functional.pad(ids[:, :-1], (1, 0), value=8)
    odd = (before == 7) & (torch.rand(count, length, generator=g) < chance)
    return ids, odd.long()


def pictures(count: int = 1000, noise: float = 0.3) -> Pair:
    """Ten by ten pixels: a bar lying, a bar standing, a cross, a slope."""
    g = source(16)
    kind = torch.randint(4, (count,), generator=g)
    x = torch.zeros(count, 1, 10, 10)
    for row, what in enumerate(kind.tolist()):
        a, b = torch.randint(2, 8, (2,), generator=g).tolist()
        if what in (0, 2):
            x[row, 0, a, :] = 1
        if what in (1, 2):
            x[row, 0, :, b] = 1
        if what == 3:
            x[row, 0] = torch.diag(torch.ones(10 - abs(a - b)), a - b)
    return x + noise * torch.randn(x.shape, generator=g), kind


def clouds(count: int = 900, points: int = 60) -> Pair:
    """Sets of points: a ring, a disc, a cross."""
    g = source(17)
    kind = torch.randint(3, (count,), generator=g)
    angle = 2 * pi * torch.rand(count, points, generator=g)
    ring = torch.stack([angle.cos(), angle.sin()], -1)
    disc = ring * torch.rand(count, points, 1, generator=g).sqrt()
    arm = 2 * torch.rand(count, points, generator=g) - 1
    side = (torch.rand(count, points, generator=g) < 0.5).float()
    cross = torch.stack([arm * side, arm * (1 - side)], -1)
    x = torch.stack([ring, disc, cross])[kind, torch.arange(count)]
    return x + 0.05 * torch.randn(x.shape, generator=g), kind


def paths(count: int = 900, length: int = 20) -> Pair:
    """A swinging body seen for a while (n, t, 1), and where it is three moments on (n, 1)."""
    g = source(18)
    pace = 0.2 + 0.4 * torch.rand(count, 1, generator=g)
    phase = 2 * pi * torch.rand(count, 1, generator=g)
    x = torch.sin(pace * torch.arange(length + 3) + phase)
    x = x + 0.05 * torch.randn(x.shape, generator=g)
    return x[:, :length, None], x[:, -1:]


def strewn(pair: Pair, seed: int = 19) -> Pair:
    """Every row with another's answer."""
    return pair[0], pair[1][torch.randperm(len(pair[1]), generator=source(seed))]

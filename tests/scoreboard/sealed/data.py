"""The sealed runs' data: scikit-learn's tables, and pictures, series, words and graphs."""

from __future__ import annotations

from functools import lru_cache
from math import pi

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor
from torch.nn import functional

from scoreboard.loops import dice

Rows = tuple[Tensor, Tensor]


def standard(x: Tensor) -> Tensor:
    """Mean 0 and spread 1 by column."""
    return (x - x.mean(0)) / (x.std(0) + 1e-6)


def split(rows: Rows, held: int) -> tuple[Rows, Rows]:
    """The first rows to train on, and the last ones to look at."""
    return (rows[0][:-held], rows[1][:-held]), (rows[0][-held:], rows[1][-held:])


@lru_cache
def raw_table(name: str) -> Rows:
    """Columns as they are published, rows shuffled."""
    makers = {
        "wine": lambda: datasets.load_wine(return_X_y=True),
        "cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
        "iris": lambda: datasets.load_iris(return_X_y=True),
        "diabetes": lambda: datasets.load_diabetes(return_X_y=True, scaled=False),
        "friedman": lambda: datasets.make_friedman1(1400, 8, noise=0.6, random_state=23),
        "gases": lambda: datasets.make_classification(
            1600, 16, n_informative=9, n_redundant=3, n_classes=5, class_sep=1.6, random_state=23
        ),
        "rings": lambda: datasets.make_circles(1200, noise=0.07, factor=0.45, random_state=23),
    }
    x, y = makers[name]()
    order = np.random.RandomState(23).permutation(len(x))
    answers = torch.tensor(y[order])
    if answers.is_floating_point():
        answers = answers.float()[:, None]
    return torch.tensor(x[order], dtype=torch.float32), answers


def table(name: str) -> Rows:
    """The same, columns and numbers to tell standardised."""
    x, y = raw_table(name)
    return standard(x), standard(y) if y.is_floating_point() else y


@lru_cache
def scans() -> Rows:
    """Handwritten digits, (n, 1, 8, 8), mean 0 and spread 1 over all pixels."""
    x, y = datasets.load_digits(return_X_y=True)
    order = np.random.RandomState(24).permutation(len(x))
    pixels = torch.tensor(x[order], dtype=torch.float32).view(-1, 1, 8, 8)
    return (pixels - pixels.mean()) / pixels.std(), torch.tensor(y[order])


def gratings(count: int = 1000, noise: float = 0.5, size: int = 12) -> Rows:
    """Stripes in six directions, of any pace and phase."""
    g = dice(31)
    kind = torch.randint(6, (count,), generator=g)
    angle = (kind * pi / 6)[:, None, None]
    pace = 1.0 + 0.6 * torch.rand(count, 1, 1, generator=g)
    phase = 2 * pi * torch.rand(count, 1, 1, generator=g)
    line = torch.arange(size).float()
    across = line[None, None, :] * angle.cos() + line[None, :, None] * angle.sin()
    x = torch.sin(pace * across + phase)[:, None]
    return x + noise * torch.randn(x.shape, generator=g), kind


def lesions(count: int = 400, small: bool = False, size: int = 16) -> Rows:
    """Noisy pictures with a bright disc each, and the disc's pixels."""
    g = dice(32)
    line = torch.arange(size).float()
    middle = 3 + (size - 6) * torch.rand(count, 2, 1, 1, generator=g)
    width = (1.0 if small else 2.0) + (0.6 if small else 2.0) * torch.rand(count, 1, 1, generator=g)
    far = (line[None, :, None] - middle[:, 0]) ** 2 + (line[None, None, :] - middle[:, 1]) ** 2
    mask = (far < width**2).float()[:, None]
    x = (0.8 if small else 1.6) * mask + 0.7 * torch.randn(count, 1, size, size, generator=g)
    return x, mask


def demand(count: int = 900, length: int = 28) -> Rows:
    """Four weeks of sales of a shop, and tomorrow's; about 0, spread about 1."""
    g = dice(33)
    day = torch.arange(length + 1)
    start = torch.randint(7, (count, 1), generator=g)
    week = torch.tensor([-0.6, -0.4, -0.2, 0.1, 0.6, 1.6, -1.1])[(day + start) % 7]
    trend = 0.03 * torch.randn(count, 1, generator=g) * day
    level = torch.randn(count, 1, generator=g)
    x = level + trend + (1 + 0.3 * level) * week
    x = x + 0.15 * torch.randn(x.shape, generator=g)
    return x[:, :-1, None], x[:, -1:]


def heartbeats(count: int = 900, length: int = 48) -> Rows:
    """One lead, (n, 1, t): regular, early or doubled beats."""
    g = dice(34)
    kind = torch.randint(3, (count,), generator=g)
    time = torch.arange(length)[None].float()
    first = 6 + 4 * torch.rand(count, 1, generator=g)
    gap = torch.tensor([16.0, 16.0, 16.0])[kind][:, None]
    third = first + 2 * gap - torch.where(kind == 1, 7.0, 0.0)[:, None]
    places = [first, first + gap, third, torch.where(kind[:, None] == 2, first + gap + 4, first)]
    x = torch.zeros(count, length)
    for place in places:
        x = torch.maximum(x, torch.exp(-((time - place) ** 2) / 1.5))
    x = 3 * x + 0.35 * torch.randn(x.shape, generator=g)
    return x[:, None], kind


def genes(count: int = 1400, length: int = 24) -> Rows:
    """Strands of four letters; which of three motifs is hidden in each."""
    g = dice(35)
    x = torch.randint(4, (count, length), generator=g)
    kind = torch.randint(3, (count,), generator=g)
    motifs = torch.tensor([[0, 1, 1, 3, 2, 0], [2, 2, 0, 3, 3, 1], [3, 0, 2, 1, 0, 3]])
    place = torch.randint(length - 6, (count,), generator=g)
    for k in range(6):
        x[torch.arange(count), place + k] = motifs[kind, k]
    return x, kind


def brackets(count: int = 1200, length: int = 24) -> Rows:
    """Balanced brackets of three kinds and the next letter of each place; 0 is the end."""
    g = dice(36)
    rows = torch.zeros(count, length + 1, dtype=torch.long)
    draws = torch.rand(count, length + 1, generator=g).tolist()
    kinds = torch.randint(3, (count, length + 1), generator=g).tolist()
    for row in range(count):
        stack: list[int] = []
        for place in range(length + 1):
            room = length + 1 - place
            if stack and (draws[row][place] < 0.5 or len(stack) >= min(5, room)):
                rows[row, place] = 4 + stack.pop()
            else:
                stack.append(kinds[row][place])
                rows[row, place] = 1 + stack[-1]
    return rows[:, :-1], rows[:, 1:]


def tagged(count: int = 1200, length: int = 16) -> Rows:
    """Words, and what each one is: by its own kind and the word before."""
    g = dice(37)
    x = torch.randint(1, 48, (count, length), generator=g)
    before = functional.pad(x[:, :-1], (1, 0))
    return x, (x % 3 + (before % 2) * (x % 3 == 1)) % 4


def clicks(count: int = 2400) -> Rows:
    """Who (40), what (30) and when (12): ids, and whether it was clicked on, (n, 1)."""
    g = dice(38)
    ids = torch.stack([torch.randint(n, (count,), generator=g) for n in (40, 30, 12)], 1)
    tastes = [torch.randn(n, 4, generator=g) for n in (40, 30, 12)]
    who, what, when = (t[ids[:, k]] for k, t in enumerate(tastes))
    odds = (who * what).sum(1) + 0.5 * when[:, 0]
    return ids, (odds > 0).float()[:, None]


@lru_cache
def friends(count: int = 240) -> tuple[Tensor, Tensor, Tensor]:
    """A graph of four circles of friends: normalised links, noisy features, circles."""
    g = dice(39)
    kind = torch.randint(4, (count,), generator=g)
    same = (kind[:, None] == kind[None]).float()
    links = (torch.rand(count, count, generator=g) < 0.005 + 0.06 * same).float()
    links = ((links + links.T + torch.eye(count)) > 0).float()
    degree = links.sum(1)
    x = torch.randn(count, 12, generator=g)
    x[:, :4] += 0.9 * functional.one_hot(kind, 4)
    return links / (degree[:, None] * degree[None]).sqrt(), x, kind


def loans(count: int = 3000, share: float = 0.5, sign: float = 1.0, seed: int = 40) -> Rows:
    """Ten columns of people; who does not pay back, with signs of that strength."""
    g = dice(seed)
    y = (torch.rand(count, generator=g) < share).long()
    x = torch.randn(count, 10, generator=g)
    x[:, :4] += sign * y[:, None]
    x[:, 4] = x[:, 4] * (1 + 0.5 * sign * y)
    return x, y


def flights(count: int = 1200) -> Rows:
    """Height in metres, speed in km/h, way in nanometres of fuel line, load; fuel burnt."""
    g = dice(41)
    u = torch.rand(count, 4, generator=g)
    worth = 2 * u[:, 1] * u[:, 2] + torch.sin(4 * u[:, 0]) + u[:, 3] ** 2
    scale = torch.tensor([12_000.0, 900.0, 3e6, 80.0])
    y = standard(worth + 0.05 * torch.randn(count, generator=g))[:, None]
    return u * scale, y


def spirals(count: int = 1200) -> Rows:
    """Two arms around each other."""
    g = dice(42)
    kind = torch.randint(2, (count,), generator=g)
    t = 0.5 + 2.2 * torch.rand(count, generator=g)
    angle = 2.2 * t + pi * kind
    x = torch.stack([t * angle.cos(), t * angle.sin()], 1)
    return x / 1.5 + 0.05 * torch.randn(x.shape, generator=g), kind


def waveform(count: int = 800) -> Rows:
    """A curve over one axis with a fast and a slow part."""
    x = 2 * torch.rand(count, 1, generator=dice(43)) - 1
    return x, torch.sin(3 * x) + 0.5 * torch.sin(14 * x) * (x > 0)


def sky(count: int = 1500, wide: float = 0.2) -> Tensor:
    """Two-dimensional points: five heaps on a cross."""
    g = dice(44)
    heaps = torch.tensor([[0.0, 0.0], [2.0, 0.0], [-2.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    pick = torch.randint(5, (count,), generator=g)
    return heaps[pick] + wide * torch.randn(count, 2, generator=g)


def mixed_up(rows: Rows, seed: int = 45) -> Rows:
    """Every row with the answer of another."""
    return rows[0], rows[1][torch.randperm(len(rows[1]), generator=dice(seed))]

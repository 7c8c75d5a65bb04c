"""The blind runs' data: tables as published, and pictures, signals, words, graphs and ratings."""

from __future__ import annotations

from functools import lru_cache
from math import pi

import networkx as nx  # type: ignore[import-untyped]
import numpy as np
import torch
from sklearn import datasets
from torch import Tensor
from torch.nn import functional

from scoreboard.loops import dice

Rows = tuple[Tensor, Tensor]


def scaled(x: Tensor) -> Tensor:
    """Mean 0 and spread 1 by column."""
    return (x - x.mean(0)) / (x.std(0) + 1e-6)


def parted(rows: Rows, held: int) -> tuple[Rows, Rows]:
    """The first rows to train on, and the last ones to test on."""
    return (rows[0][:-held], rows[1][:-held]), (rows[0][-held:], rows[1][-held:])


@lru_cache
def published(name: str) -> Rows:
    """A table in the units it comes in, rows shuffled."""
    makers = {
        "wine": lambda: datasets.load_wine(return_X_y=True),
        "cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
        "iris": lambda: datasets.load_iris(return_X_y=True),
        "digits": lambda: datasets.load_digits(return_X_y=True),
        "diabetes": lambda: datasets.load_diabetes(return_X_y=True, scaled=False),
        "circuit": lambda: datasets.make_friedman2(1200, noise=20.0, random_state=61),
        "phase": lambda: datasets.make_friedman3(1200, noise=0.03, random_state=61),
        "hastie": lambda: datasets.make_hastie_10_2(1600, random_state=61),
        "moons": lambda: datasets.make_moons(1000, noise=0.15, random_state=61),
        "shells": lambda: datasets.make_gaussian_quantiles(
            n_samples=1500, n_features=4, n_classes=3, random_state=61
        ),
        "plants": lambda: datasets.make_classification(
            1500, 20, n_informative=12, n_redundant=4, n_classes=6, class_sep=1.5, random_state=61
        ),
        "straight": lambda: datasets.make_regression(
            900, 24, n_informative=16, n_targets=1, noise=8.0, random_state=61
        ),
    }
    x, y = makers[name]()
    order = np.random.RandomState(61).permutation(len(x))
    if name == "hastie":
        y = (y > 0).astype(int)
    answers = torch.tensor(y[order])
    if answers.is_floating_point():
        answers = answers.float()[:, None]
    return torch.tensor(x[order], dtype=torch.float32), answers


def tidy(name: str) -> Rows:
    """The same with columns (and numbers to tell) standardised."""
    x, y = published(name)
    return scaled(x), scaled(y) if y.is_floating_point() else y


def numerals() -> Rows:
    """Handwritten digits, (n, 1, 8, 8), mean 0 and spread 1 over all pixels."""
    x, y = published("digits")
    return ((x - x.mean()) / x.std()).view(-1, 1, 8, 8), y


@lru_cache
def signs(count: int = 1000, size: int = 16, noise: float = 0.35) -> Rows:
    """Coloured pictures (n, 3, size, size) of a disc, a ring, a square, a cross or a wedge."""
    g = dice(62)
    kind = torch.randint(5, (count,), generator=g)
    middle = size / 2 + 3 * (torch.rand(count, 2, 1, 1, generator=g) - 0.5)
    reach = 3.5 + 2 * torch.rand(count, 1, 1, generator=g)
    line = torch.arange(size).float()
    down, across = line[None, :, None] - middle[:, 0], line[None, None, :] - middle[:, 1]
    far = (down**2 + across**2).sqrt()
    widest = torch.maximum(down.abs(), across.abs())
    forms = torch.stack(
        [
            far < reach,
            (far < reach) & (far > 0.55 * reach),
            widest < 0.85 * reach,
            (torch.minimum(down.abs(), across.abs()) < 1.2) & (widest < reach),
            (down.abs() < reach) & (across.abs() < (down + reach) / 2),
        ],
        1,
    ).float()
    form = forms[torch.arange(count), kind][:, None]
    colours = torch.rand(count, 2, 3, 1, 1, generator=g) - 0.5
    fore = colours[:, 0] + 1.0
    x = form * fore + (1 - form) * colours[:, 1]
    return 2 * (x + noise * torch.randn(x.shape, generator=g) - 0.2), kind


@lru_cache
def tissue(count: int = 320, size: int = 16, reach: float = 3.0) -> Rows:
    """Noisy pictures with two cells; pixel by pixel: around (0), cell (1) or kernel (2)."""
    g = dice(63)
    line = torch.arange(size).float()
    kind = torch.zeros(count, size, size, dtype=torch.long)
    for _ in range(2):
        middle = 2 + (size - 4) * torch.rand(count, 2, 1, 1, generator=g)
        wide = reach * (0.8 + 0.5 * torch.rand(count, 1, 1, generator=g))
        far = (line[None, :, None] - middle[:, 0]) ** 2 + (line[None, None, :] - middle[:, 1]) ** 2
        kind = torch.maximum(kind, (far < wide**2).long() + (far < (0.45 * wide) ** 2).long())
    x = torch.tensor([-0.6, 0.7, 2.2])[kind] + 0.5 * torch.randn(count, size, size, generator=g)
    return x[:, None], kind


@lru_cache
def prose(length: int = 32) -> Rows:
    """What scikit-learn says of its tables, letter by letter: windows, and the letters after."""
    loads = (datasets.load_iris, datasets.load_wine, datasets.load_diabetes, datasets.load_digits)
    words = " ".join(" ".join(load().DESCR.lower().split()) for load in loads)
    letters = sorted(set("abcdefghijklmnopqrstuvwxyz .,-()0123456789"))
    ids = torch.tensor([letters.index(c) if c in letters else 0 for c in words])
    rows = ids.unfold(0, length + 1, length // 2)
    return rows[:, :-1].contiguous(), rows[:, 1:].contiguous()


LETTERS = 42


def entities(count: int = 1200, length: int = 18, often: float = 0.25) -> Rows:
    """Words (60 of them), each: outside (0), a name's beginning (1) or what belongs to it (2)."""
    g = dice(64)
    x = torch.randint(20, 60, (count, length), generator=g)
    starts = torch.rand(count, length, generator=g) < often
    x = torch.where(starts, torch.randint(1, 10, (count, length), generator=g), x)
    follows = functional.pad(starts[:, :-1], (1, 0)) & ~starts & (x % 2 == 0)
    return x, torch.where(starts, 1, torch.where(follows, 2, 0))


def power(count: int = 900, past: int = 48, ahead: int = 6) -> Rows:
    """Two days of a town's load, hour by hour (n, past, 1), and the hours after (n, ahead)."""
    g = dice(65)
    hour = torch.arange(past + ahead) + torch.randint(24, (count, 1), generator=g)
    day = torch.sin(2 * pi * hour / 24) + 0.6 * torch.sin(4 * pi * hour / 24 + 1)
    level = torch.randn(count, 1, generator=g)
    x = (1 + 0.3 * level) * day + 0.5 * level + 0.15 * torch.randn(day.shape, generator=g)
    return x[:, :past, None], x[:, past:]


def bearings(count: int = 900, length: int = 64) -> Rows:
    """Two sensors on a shaft (n, 2, length): sound, loose, chipped or dry."""
    g = dice(66)
    kind = torch.randint(4, (count,), generator=g)
    t = torch.arange(length).float()[None, None]
    phase = 2 * pi * torch.rand(count, 2, 1, generator=g)
    pace = (0.5 + 0.05 * torch.randn(count, 1, 1, generator=g)) * torch.ones(1, 2, 1)
    x = torch.sin(pace * t + phase)
    loose = (kind == 1).float()[:, None, None]
    x = x + 0.8 * loose * torch.sin(2 * pace * t + 2 * phase)
    place = torch.rand(count, 1, 1, generator=g)
    knock = ((t / 12 + place) % 1 < 0.12).float()
    x = x + 2.0 * (kind == 2).float()[:, None, None] * knock
    rough = torch.randn(x.shape, generator=g)
    return x + torch.where(kind == 3, 0.9, 0.3)[:, None, None] * rough, kind


def compounds(count: int = 800, nodes: int = 9) -> Rows:
    """Little graphs (n, nodes, nodes + 4): links and atoms; a number of bonds and neighbours."""
    g = dice(67)
    atoms = functional.one_hot(torch.randint(4, (count, nodes), generator=g), 4).float()
    links = (torch.rand(count, nodes, nodes, generator=g) < 0.25).float().triu(1)
    links = links + links.transpose(1, 2)
    charge = atoms @ torch.tensor([1.0, -1.0, 0.5, 2.0])
    bonds = (charge[:, None] * links * charge[:, :, None]).sum((1, 2)) / 2
    energy = bonds + 0.5 * (links.sum(2) - 2).clamp(min=0).sum(1) + charge.sum(1)
    return torch.cat([links, atoms], 2), scaled(energy[:, None])


@lru_cache
def karate() -> tuple[Tensor, Tensor, Tensor]:
    """Zachary's club: normalised links, each member's own column, and whom each followed."""
    club = nx.karate_club_graph()
    links = torch.tensor(nx.to_numpy_array(club, weight=None), dtype=torch.float32)
    links = links + torch.eye(len(links))
    degree = links.sum(1)
    side = torch.tensor([int(club.nodes[k]["club"] == "Officer") for k in club.nodes])
    return links / (degree[:, None] * degree[None]).sqrt(), torch.eye(len(links)), side


def adverts(count: int = 2400, share: float = 0.5) -> Rows:
    """Four counts and three ids (50, 20, 8) of an advert, as floats; clicked on or not, (n, 1)."""
    g = dice(68)
    counts = torch.randn(count, 4, generator=g)
    ids = torch.stack([torch.randint(n, (count,), generator=g) for n in (50, 20, 8)], 1)
    person, brand = torch.randn(50, 3, generator=g), torch.randn(20, 3, generator=g)
    odds = (person[ids[:, 0]] * brand[ids[:, 1]]).sum(1) + counts[:, 0] * counts[:, 1]
    odds = odds + 0.7 * (ids[:, 2] == 3) + 0.3 * torch.randn(count, generator=g)
    bar = odds.quantile(1 - share)
    return torch.cat([counts, ids.float()], 1), (odds > bar).float()[:, None]


def homes(count: int = 1200) -> Rows:
    """Square feet, year, rooms, metres to the sea, income; the price in dollars."""
    g = dice(69)
    area = 500 + 3500 * torch.rand(count, generator=g)
    year = 1920 + 100 * torch.rand(count, generator=g)
    rooms = (area / 500 + 2 * torch.rand(count, generator=g)).round()
    sea = 30_000 * torch.rand(count, generator=g) ** 2
    income = 20_000 + 100_000 * torch.rand(count, generator=g)
    price = 60 * area * (1 + 2 * torch.exp(-sea / 4000)) + 1.5 * income + 900 * (year - 1920)
    price = price * (1 + 0.05 * torch.randn(count, generator=g))
    return torch.stack([area, year, rooms, sea, income], 1), price[:, None]


def films(count: int = 3000, people: int = 60, shown: int = 40) -> Rows:
    """Who saw what (n, 2), and the stars given, 1 to 5, (n, 1)."""
    g = dice(70)
    ids = torch.stack([torch.randint(n, (count,), generator=g) for n in (people, shown)], 1)
    taste, film = torch.randn(people, 3, generator=g), torch.randn(shown, 3, generator=g)
    stars = 3 + 0.8 * (taste[ids[:, 0]] * film[ids[:, 1]]).sum(1)
    return ids, stars.clamp(1, 5)[:, None]


def board(count: int = 1500, fields: int = 3) -> Rows:
    """Points on a chess board: black or white."""
    x = 2 * torch.rand(count, 2, generator=dice(71)) - 1
    kind = ((x + 1) * fields / 2).floor().sum(1).long() % 2
    return 1.7 * x, kind


def reviews(count: int = 1400, length: int = 14) -> Rows:
    """Word ids, 0 is padding: praise (1-9) and blame (10-19), turned round by the word 20."""
    g = dice(72)
    x = torch.randint(20, 80, (count, length), generator=g)
    loaded = torch.rand(count, length, generator=g) < 0.3
    x = torch.where(loaded, torch.randint(1, 20, (count, length), generator=g), x)
    worth = (x < 10).float() - ((x >= 10) & (x < 20)).float()
    turned = functional.pad((x[:, :-1] == 20).float(), (1, 0))
    total = (worth * (1 - 2 * turned)).sum(1) + 0.1 * torch.randn(count, generator=g)
    ends = torch.randint(length - 4, length + 1, (count, 1), generator=g)
    return torch.where(torch.arange(length)[None] < ends, x, 0), (total > 0).long()


def first_word(count: int = 1200, length: int = 24, kinds: int = 4) -> Rows:
    """Words without meaning after a first one that is to be named at the end."""
    x = torch.randint(kinds, 16, (count, length), generator=dice(73))
    x[:, 0] = torch.randint(kinds, (count,), generator=dice(74))
    return x, x[:, 0].clone()


def regimes(count: int = 1600, parts: int = 4) -> Rows:
    """A plane of its own in each quarter: six columns, a number."""
    g = dice(75)
    x = torch.randn(count, 6, generator=g)
    part = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
    slopes = 2 * torch.randn(parts, 4, generator=g)
    y = (x[:, 2:] * slopes[part]).sum(1) + 0.1 * torch.randn(count, generator=g)
    return x, scaled(y[:, None])


def heaps(count: int = 1500, side: int = 3, wide: float = 0.12) -> Tensor:
    """Points in the plane: side x side heaps on a lattice."""
    g = dice(76)
    place = torch.randint(side, (count, 2), generator=g).float() - (side - 1) / 2
    return 1.5 * place + wide * torch.randn(count, 2, generator=g)


def other_rows(rows: Rows, seed: int = 77) -> Rows:
    """Every row with the answer of another."""
    return rows[0], rows[1][torch.randperm(len(rows[1]), generator=dice(seed))]

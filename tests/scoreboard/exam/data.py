"""The data of the exam, made here: signals, drawings, sets, graphs, tables and letters."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from sklearn import datasets
from torch import Tensor
from torch.nn import functional

Pair = tuple[Tensor, Tensor]


def seeded(seed: int) -> torch.Generator:
    """A source of chance of one's own."""
    return torch.Generator().manual_seed(seed)


def standard(x: Tensor) -> Tensor:
    """Each column with mean 0 and deviation 1."""
    return (x - x.mean(0)) / (x.std(0) + 1e-6)


@lru_cache
def waves(count: int = 1000, noise: float = 0.3) -> Pair:
    """(rows, 1, 48) signals: sine, square, saw tooth and chirp, at any phase."""
    source = seeded(11)
    kind = torch.randint(4, (count,), generator=source)
    t = torch.arange(48) / 48
    turns = 2 + 2 * torch.rand(count, 1, generator=source)
    phase = turns * t + torch.rand(count, 1, generator=source)
    sine = (2 * math.pi * phase).sin()
    saw = 2 * (phase % 1) - 1
    chirp = (2 * math.pi * (phase + 4 * t**2)).sin()
    x = torch.stack([sine, sine.sign(), saw, chirp], 1)[torch.arange(count), kind]
    return (x + noise * torch.randn(x.shape, generator=source))[:, None], kind


@lru_cache
def sprites(count: int = 1200) -> tuple[Tensor, Tensor, Tensor]:
    """(rows, 1, 12, 12) drawings in 0..1, their kind of four, and where the figure is."""
    source = seeded(12)
    kind = torch.randint(4, (count,), generator=source)
    centre = 3.5 + 4 * torch.rand(count, 2, 1, 1, generator=source)
    size = (2.2 + 1.3 * torch.rand(count, 1, 1, generator=source))[:, None]
    place = torch.stack(torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij"))
    away = (place[None] - centre).abs()
    far = away.pow(2).sum(1, keepdim=True).sqrt()
    box = away.amax(1, keepdim=True)
    thin = away.amin(1, keepdim=True)
    figures = torch.cat(
        [far < size, (far < size) & (far > size - 1.2), (thin < 0.8) & (box < size), box < size], 1
    )
    where = figures[torch.arange(count), kind][:, None].float()
    x = 0.8 * where + 0.15 * torch.rand(where.shape, generator=source)
    return x, kind, where


def drawings() -> Pair:
    """The drawings around 0, and their kinds."""
    x, kind, _ = sprites()
    return (x - 0.2) / 0.3, kind


@lru_cache
def sets(count: int = 1200, points: int = 10) -> Pair:
    """(rows, points, 3), and what lies furthest out times what lies in the middle."""
    x = torch.randn(count, points, 3, generator=seeded(13))
    y = x[:, :, 0].amax(1) + x[:, :, 1].mean(1) * 3 + (x[:, :, 2] > 0).float().mean(1) * 4
    return x, standard(y[:, None])


@lru_cache
def graph(nodes: int = 400, kinds: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Node features, community of each, and the edges, most of them inside a community."""
    source = seeded(14)
    y = torch.randint(kinds, (nodes,), generator=source)
    near = torch.where(y[:, None] == y[None], 0.06, 0.006)
    edges = (torch.rand(nodes, nodes, generator=source) < near).nonzero().T
    own = torch.arange(nodes).expand(2, -1)
    x = 0.7 * torch.randn(kinds, 8, generator=source)[y]
    return x + torch.randn(nodes, 8, generator=source), y, torch.cat([edges, own], 1)


@lru_cache
def reversals(count: int = 1500, length: int = 6, letters: int = 8) -> Pair:
    """Sequences, and the same backwards."""
    x = torch.randint(letters, (count, length), generator=seeded(15))
    return x, x.flip(1)


@lru_cache
def series(count: int = 1200, window: int = 24) -> Pair:
    """(rows, window, 1) pieces of a noisy sum of two oscillations, and the value that follows."""
    t = torch.arange(count + window + 1.0)
    x = (t / 5).sin() + 0.6 * (t / 2.3).sin() + 0.1 * torch.randn(t.shape, generator=seeded(16))
    pieces = standard(x).unfold(0, window + 1, 1)[:count]
    return pieces[:, :-1, None], pieces[:, -1:]


@lru_cache
def counts(count: int = 1200) -> Pair:
    """Six features and a count that grows with them."""
    source = seeded(17)
    x = torch.randn(count, 6, generator=source)
    rate = (0.6 * x[:, 0] - 0.4 * x[:, 1] * (x[:, 2] > 0) + 0.8).exp()
    return x, torch.poisson(rate, generator=source)[:, None]


@lru_cache
def tables(name: str, count: int = 1200) -> Pair:
    """scikit-learn's made tables as they come: labels (long), or values (standardised)."""
    if name == "linnerud":
        x, y = datasets.load_linnerud(return_X_y=True)
    elif name in {"swiss_roll", "s_curve"} or name in {"friedman2", "friedman3"}:
        x, y = getattr(datasets, f"make_{name}")(count, noise=0.05, random_state=5)
    elif name == "hastie":
        x, y = datasets.make_hastie_10_2(count, random_state=5)
        y = (y > 0).astype("int64")
    elif name == "quantiles":
        x, y = datasets.make_gaussian_quantiles(
            n_samples=count, n_features=4, n_classes=3, random_state=5
        )
    else:
        x, y = datasets.make_multilabel_classification(
            count, n_features=20, n_classes=5, random_state=5
        )
    values = torch.tensor(y).float()
    inputs = torch.tensor(x).float()
    if name in {"hastie", "quantiles"}:
        return inputs, values.long()
    return inputs, values if name == "multilabel" else standard(values.view(len(values), -1))


def even(name: str) -> Pair:
    """The same with standardised features."""
    x, y = tables(name)
    return standard(x), y


@lru_cache
def visits(count: int = 2000, ids: int = 40, apart: float = 2.0) -> Pair:
    """Two ids and four numbers a row, as floats; bought or not, by pairs of ids and the numbers."""
    source = seeded(18)
    pair = torch.randint(ids, (count, 2), generator=source)
    x = torch.randn(count, 4, generator=source)
    taste = torch.randint(2, (2, ids), generator=source) * 2.0 - 1
    logit = apart * taste[0, pair[:, 0]] * taste[1, pair[:, 1]] + 0.5 * x[:, 0]
    y = (torch.rand(count, generator=source) < torch.sigmoid(2 * logit)).long()
    return torch.cat([pair.float(), x], 1), y


SPEECH = (
    "the loss goes down while the weights find their way through the hills and valleys of a "
    "surface that nobody has ever seen and the last layer waits for the first to say something ",
    "der fehler sinkt und die gewichte suchen ihren weg durch berge und taeler einer landschaft "
    "die niemand je gesehen hat und die letzte schicht wartet auf das wort der ersten schicht ",
    "la perdita scende mentre i pesi cercano la loro strada tra colline e valli di un paesaggio "
    "che nessuno ha mai veduto e lo strato ultimo aspetta che il primo gli dica qualcosa ",
)
LETTERS = sorted(set("".join(SPEECH)))


@lru_cache
def tongues(length: int = 16, count: int = 1200) -> Pair:
    """Windows of letters out of three languages, and which."""
    source = seeded(19)
    texts = [torch.tensor([LETTERS.index(c) for c in text]) for text in SPEECH]
    y = torch.randint(3, (count,), generator=source)
    start = torch.rand(count, generator=source)
    rows = [
        texts[int(k)][int(s * (len(texts[int(k)]) - length)) :][:length]
        for k, s in zip(y, start, strict=True)
    ]
    return torch.stack(rows), y


@lru_cache
def marked(count: int = 1200, length: int = 12, kinds: int = 5) -> Pair:
    """(rows, length, kinds + 1): one place is marked, and what stands there is the answer."""
    source = seeded(20)
    ids = torch.randint(kinds, (count, length), generator=source)
    place = torch.randint(length, (count,), generator=source)
    mark = functional.one_hot(place, length)[:, :, None]
    y = ids[torch.arange(count), place]
    return torch.cat([functional.one_hot(ids, kinds), mark], 2).float(), y


@lru_cache
def firsts(length: int = 40, count: int = 1000) -> Pair:
    """(rows, length, 2) of noise, the sign of the very first value the answer."""
    x = 0.5 * torch.randn(count, length, 2, generator=seeded(21))
    x[:, 0, 0] = x[:, 0, 0].sign() * 2
    return x, (x[:, 0, 0] > 0).long()


@lru_cache
def arcs(count: int = 1000) -> Pair:
    """Where a sine is inverted there are several answers to one question."""
    source = seeded(22)
    y = 2 * torch.rand(count, 1, generator=source) - 1
    x = y + 0.4 * (2 * math.pi * y).sin() + 0.05 * torch.randn(count, 1, generator=source)
    return x, y


@lru_cache
def parity(bits: int = 3, count: int = 600) -> Pair:
    """Bits as -1 and 1, and whether their number is odd."""
    x = torch.randint(2, (count, bits), generator=seeded(23))
    return 2.0 * x - 1, x.sum(1) % 2


def mixed(pair: Pair, seed: int = 3) -> Pair:
    """The answers of other rows."""
    return pair[0], pair[1][torch.randperm(len(pair[1]), generator=seeded(seed))]


def parted(pair: Pair, rows: int, held: int = 300) -> tuple[Pair, Pair]:
    """Some rows to train on, and others that are held back."""
    order = torch.randperm(len(pair[0]), generator=seeded(9))
    x, y = pair[0][order], pair[1][order]
    return (x[held : held + rows], y[held : held + rows]), (x[:held], y[:held])


def rarely(pair: Pair, kind: int, share: float) -> Pair:
    """Whether a row is of that kind, which few are."""
    x, y = pair
    odd = y == kind
    keep = ~odd | (torch.rand(len(y), generator=seeded(8)) < share)
    return x[keep], odd[keep].long()

"""What the blind healthy runs share: their rows, batches, one loop and how skill is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor, nn

from scoreboard.loops import dice
from scoreboard.scenario import Training

Rows = tuple[Tensor, Tensor]
Act = Callable[[], nn.Module]


def mlp(*widths: int, act: Act = nn.ReLU, drop: float = 0.0) -> nn.Sequential:
    """Fully connected layers; the last one has no activation."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), act()]
        if drop:
            layers.append(nn.Dropout(drop))
    return nn.Sequential(*layers[: -2 if drop else -1])


class Feed:
    """Shuffled passes over rows of any number of columns, batch by batch, without end."""

    def __init__(self, *columns: Tensor, batch: int = 32, seed: int = 5) -> None:
        self.columns, self.batch, self.dice = columns, batch, dice(seed)
        self.queue: list[Tensor] = []

    def __call__(self) -> tuple[Tensor, ...]:
        if not self.queue:
            order = torch.randperm(len(self.columns[0]), generator=self.dice)
            whole = len(order) // self.batch * self.batch
            self.queue = list(order[:whole].split(self.batch))
        index = self.queue.pop()
        return tuple(column[index] for column in self.columns)


def fit(
    model: nn.Module | Mapping[str, nn.Module],
    optimizer: Any,
    loss: Callable[[], Tensor],
    score: Callable[[], float],
    *,
    plan: Any = None,
    clip: float = 0.0,
    after: Callable[[int], None] | None = None,
) -> Training:
    """The loop of every tutorial; `loss` draws its own batch."""

    def step(k: int) -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        if clip:
            held = [p for group in optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(held, clip)
        optimizer.step()
        if plan is not None:
            plan.step()
        if after is not None:
            after(k)
        return value.detach()

    return Training(model, optimizer, step, score)


def every(count: int, act: Callable[[], None]) -> Callable[[int], None]:
    """Something to do after each so many steps."""

    def after(k: int) -> None:
        if k % count == 0:
            act()

    return after


def looks(model: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor], rows: Rows) -> None:
    """One evaluation on rows that are not trained on."""
    model.eval()
    with torch.no_grad():
        criterion(model(rows[0]), rows[1])
    model.train()


# --- skill
def hits(out: Tensor, y: Tensor) -> float:
    """Right answers above the commonest one's share: 1 = all of them."""
    y = y.flatten()
    most = float(y.bincount().max()) / len(y)
    return (float((out.flatten() == y).float().mean()) - most) / (1 - most)


def explained(out: Tensor, y: Tensor) -> float:
    """Share of the variance that is explained."""
    return float(1 - (out - y).square().mean() / (y - y.mean(0)).square().mean())


def named(model: nn.Module, rows: Rows) -> Callable[[], float]:
    """How many rows are named right, above the commonest name."""

    def score() -> float:
        model.eval()
        with torch.no_grad():
            return hits(model(rows[0]).argmax(-1), rows[1])

    return score


def fitted(model: nn.Module, rows: Rows) -> Callable[[], float]:
    """The variance explained of these rows."""

    def score() -> float:
        model.eval()
        with torch.no_grad():
            return explained(model(rows[0]), rows[1])

    return score


def both_found(model: nn.Module, rows: Rows) -> Callable[[], float]:
    """Of one logit: shares of the yes and of the no that are found, above a coin's."""

    def score() -> float:
        model.eval()
        with torch.no_grad():
            said = model(rows[0]) > 0
        truth = rows[1] > 0.5
        return float(said[truth].float().mean() + (~said[~truth]).float().mean()) - 1

    return score


def neighbours(codes: Callable[[Tensor], Tensor], known: Rows, asked: Rows) -> float:
    """How often the nearest known row, by the angle of its code, has the same name."""
    with torch.no_grad():
        a, b = codes(asked[0]), codes(known[0])
    near = (nn.functional.normalize(a, dim=1) @ nn.functional.normalize(b, dim=1).T).argmax(1)
    return hits(known[1][near], asked[1])


def apart(points: Tensor, others: Tensor) -> float:
    """Distance between two clouds by their pairs (energy distance), as a share of the second's."""
    across = torch.cdist(points, others).mean()
    within = torch.cdist(points, points).mean() + torch.cdist(others, others).mean()
    return float((2 * across - within) / torch.cdist(others, others).mean())


# --- rows
def _shuffled(x: Any, y: Any, seed: int = 3) -> tuple[Any, Any]:
    order = np.random.RandomState(seed).permutation(len(x))
    return x[order], y[order]


@lru_cache
def digits() -> tuple[Rows, Rows]:
    """Handwritten digits, (n, 1, 8, 8), to train on and to be asked."""
    x, y = _shuffled(*datasets.load_digits(return_X_y=True))
    pixels = torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8)
    pixels, names = (pixels / 16 - 0.305) / 0.376, torch.tensor(y)
    return (pixels[:1400], names[:1400]), (pixels[1400:], names[1400:])


@lru_cache
def table(name: str) -> tuple[Rows, Rows]:
    """A published table, standardised, to train on and to be asked."""
    makers: dict[str, Callable[[], tuple[Any, Any]]] = {
        "cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
        "wine": lambda: datasets.load_wine(return_X_y=True),
        "iris": lambda: datasets.load_iris(return_X_y=True),
        "diabetes": lambda: datasets.load_diabetes(return_X_y=True),
        "moons": lambda: datasets.make_moons(1500, noise=0.15, random_state=3),
        "friedman": lambda: datasets.make_friedman1(2000, 10, noise=1.0, random_state=3),
        "kinds": lambda: datasets.make_classification(
            2400, 20, n_informative=10, n_classes=4, class_sep=1.8, random_state=3
        ),
    }
    x, y = _shuffled(*makers[name]())
    a, b = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    a = (a - a.mean(0)) / a.std(0)
    if b.is_floating_point():
        b = ((b - b.mean()) / b.std()).float()[:, None]
    cut = len(a) * 4 // 5
    return (a[:cut], b[:cut]), (a[cut:], b[cut:])


@lru_cache
def signs(count: int = 2000, size: int = 16, noise: float = 0.4) -> tuple[Rows, Rows]:
    """Pictures of a disc, a ring, a square, a cross or a stroke, anywhere, any size."""
    g = dice(11)
    kind = torch.randint(5, (count,), generator=g)
    line = torch.arange(size).float()
    at = 5 + (size - 11) * torch.rand(count, 2, 1, 1, generator=g)
    wide = (2.5 + 2.0 * torch.rand(count, 1, 1, generator=g)).expand(count, size, size)
    dy, dx = line[None, :, None] - at[:, 0], line[None, None, :] - at[:, 1]
    far, most = (dy**2 + dx**2).sqrt(), torch.maximum(dy.abs(), dx.abs())
    least = torch.minimum(dy.abs(), dx.abs())
    drawn = torch.stack(
        [
            far < wide,
            (far - wide).abs() < 0.8,
            (most - wide).abs() < 0.7,
            (least < 0.8) & (most < wide),
            ((dy - dx).abs() < 1.0) & (most < wide),
        ],
        1,
    )
    x = drawn[torch.arange(count), kind][:, None].float() * 2
    x = x - x.mean() + noise * torch.randn(x.shape, generator=g)
    cut = count * 4 // 5
    return (x[:cut], kind[:cut]), (x[cut:], kind[cut:])


@lru_cache
def letters() -> tuple[Tensor, Tensor, int]:
    """Plain sentences, letter by letter as ids: to read, to be asked, how many there are."""
    draw = np.random.RandomState(6)
    things = ["cat", "dog", "bird", "horse", "child", "river", "stone", "house", "tree", "ship"]
    kinds = ["old", "red", "small", "quiet", "great", "grey"]
    acts = ["sees", "finds", "likes", "fears", "follows"]
    where = "today again in spring at night".replace("in s", "in_s").replace("at n", "at_n").split()

    def some(words: list[str]) -> str:
        odds = 1 / np.arange(1, len(words) + 1)
        return str(draw.choice(words, p=odds / odds.sum()))

    def thing() -> str:
        return f"the {some(kinds)} {some(things)}" if draw.rand() < 0.5 else f"a {some(things)}"

    lines = [f"{thing()} {some(acts)} {thing()} {some(where)}.\n" for _ in range(1200)]
    prose = "".join(lines).replace("_", " ")
    names = {c: k for k, c in enumerate(sorted(set(prose)))}
    ids = torch.tensor([names[c] for c in prose])
    cut = len(ids) * 9 // 10
    return ids[:cut], ids[cut:], len(names)


def windows(ids: Tensor, count: int, length: int, g: torch.Generator) -> Rows:
    """Stretches from anywhere in the text, and each letter's next one."""
    start = torch.randint(len(ids) - length - 1, (count, 1), generator=g)
    index = start + torch.arange(length)
    return ids[index], ids[index + 1]


def below_unigrams(model: Callable[[Tensor], Tensor], ids: Tensor, length: int) -> float:
    """How far the surprise over the next letter is below that of one who knows only how often."""
    x, y = windows(ids, 64, length, dice(12))
    if isinstance(model, nn.Module):
        model.eval()
    with torch.no_grad():
        out = model(x)
    share = ids.bincount().float() / len(ids)
    known = -(share * share.clamp_min(1e-9).log()).sum()
    return float(1 - nn.functional.cross_entropy(out.flatten(0, 1), y.flatten()) / known)


def adam(model: nn.Module | Iterable[Any], lr: float = 1e-3, **settings: Any) -> torch.optim.Adam:
    """The optimiser of most tutorials."""
    weights = model.parameters() if isinstance(model, nn.Module) else model
    return torch.optim.Adam(weights, lr=lr, **settings)

"""The exam: rare kinds, rows all alike, and answers of other rows."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from scoreboard.exam.data import (
    LETTERS,
    Pair,
    drawings,
    graph,
    mixed,
    parted,
    rarely,
    reversals,
    seeded,
    series,
    sets,
    standard,
    tables,
    tongues,
    visits,
    waves,
)
from scoreboard.exam.loops import Loss, by, learn, recalls, rows
from scoreboard.exam.nets import (
    Bag,
    Excited,
    Mixer,
    Reader,
    Scatter,
    Sets,
    Tcn,
    Translator,
    Unet,
    Waves,
    Wide,
    stack,
)
from scoreboard.loops import value_score
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

IMBALANCE = "class-imbalance"
ALIKE = "low-data-diversity"
NOISE = "label-noise"


# --- rare kinds
def weighed(net: nn.Module, data: Pair, even: bool, name: str, lr: float) -> Training:
    """The rare kind counts for what it lacks in number, where asked."""
    share = data[1].float().mean()
    weight = torch.stack([share, 1 - share]) * 2 if even else None
    loss: Loss = lambda out, y: functional.cross_entropy(out, y, weight)  # noqa: E731
    return learn(net, data, by(name, lr), loss=loss, score=recalls(net, *data), batch=64)


def buyers() -> Pair:
    """One visit in sixty ends with a purchase, and hardly anything tells which."""
    source = seeded(40)
    x, _ = visits()
    x = x.clone()
    y = (torch.rand(len(x), generator=source) < 1 / 60).long()
    x[:, 2:] += 0.8 * y[:, None]
    return x, y


broken(
    "exam one buyer in sixty",
    IMBALANCE,
    lambda even: weighed(Wide(), buyers(), even, "Adagrad", 0.01),
    False,
    True,
    steps=500,
    sudden=False,
)
broken(
    "exam hardly any chirps in the noise",
    IMBALANCE,
    lambda even: weighed(Waves(8, 2), rarely(waves(4000, 2.5), 3, 0.06), even, "SGD", 0.02),
    False,
    True,
    steps=500,
    sudden=False,
)
broken(
    "exam few multi-label rows",
    IMBALANCE,
    lambda even: weighed(stack(20, 32, 2), scarce(), even, "RMSprop", 3e-4),
    False,
    True,
    steps=500,
    sudden=False,
)


def scarce() -> Pair:
    x, y = tables("multilabel", 4000)
    x = standard(x)
    source = seeded(41)
    odd = (y[:, 0] > 0) & (torch.rand(len(y), generator=source) < 0.03)
    keep = odd | (torch.rand(len(y), generator=source) < 0.9)
    return x[keep], odd[keep].long()


def specks(even: bool) -> Training:
    """One pixel in a hundred is of a figure, faint in the noise."""
    source = seeded(42)
    x = torch.randn(500, 1, 12, 12, generator=source)
    place = torch.randint(144, (500,), generator=source)
    y = torch.zeros(500, 144).scatter_(1, place[:, None], 1.0).view(500, 1, 12, 12)
    x = x + 2.2 * y
    weight = torch.tensor(143.0) if even else None
    net = Unet(6)
    loss: Loss = lambda out, b: functional.binary_cross_entropy_with_logits(  # noqa: E731
        out, b, pos_weight=weight
    )
    return learn(net, (x, y), by("Adam", 2e-3), loss=loss, score=recalls(net, x, y), batch=32)


broken("exam specks in pictures", IMBALANCE, specks, False, True, steps=200, sudden=False)


# --- rows all alike
def shown(net: nn.Module, data: Pair, count: int, name: str, lr: float) -> Training:
    """A few rows for ever, judged on others; all but those where `count` is 0."""
    train, held = parted(data, count or 700)
    take = rows(train, min(48, len(train[0])))
    x, y = held
    return learn(net, (x, y), by(name, lr), draw=take)


broken(
    "exam all letters unknown",
    ALIKE,
    lambda known: learn(Bag(len(LETTERS)), (tongues()[0] * known, tongues()[1]), by("Adam", 1e-2)),
    0,
    1,
    steps=300,
)
broken(
    "exam two windows for ever",
    ALIKE,
    lambda count: shown(Tcn(1, 1), series(), count, "NAdam", 5e-3),
    2,
    0,
    steps=400,
    sudden=False,
)
broken(
    "exam the loader is seeded anew each time",
    ALIKE,
    lambda count: shown(Excited(), drawings(), count, "AdamW", 3e-3),
    16,
    0,
    steps=400,
    sudden=False,
)


def queued(in_order: bool) -> Training:
    """One kind of wave after the other."""
    x, y = waves()
    order = y.argsort(stable=True) if in_order else torch.randperm(len(y))
    x, y = x[order], y[order]
    place = [0]

    def draw() -> Pair:
        start = place[0] % (len(x) - 32)
        place[0] += 4
        return x[start : start + 32], y[start : start + 32]

    return learn(Waves(), (x, y), by("Adamax", 5e-3), draw=draw)


broken("exam waves in order of kind", ALIKE, queued, True, False, steps=480, sudden=False)


def erased(wrong: bool) -> Training:
    """A crop that always lies beside the figure."""
    x, kind = drawings()
    if wrong:
        x = torch.zeros_like(x) + x[:, :, :1, :1].mean()
    return learn(Mixer(), (x, kind), by("RAdam", 3e-3))


broken("exam crops that miss the figure", ALIKE, erased, True, False, steps=300)

# --- answers of other rows
broken(
    "exam waves of other rows",
    NOISE,
    lambda wrong: learn(Waves(), mixed(waves()) if wrong else waves(), by("RAdam", 2e-3)),
    True,
    False,
    steps=500,
    sudden=False,
)
broken(
    "exam sets of other rows",
    NOISE,
    lambda wrong: learn(Sets(), mixed(sets()) if wrong else sets(), by("Adagrad", 0.02)),
    True,
    False,
    steps=500,
    sudden=False,
)


def spoken(wrong: bool) -> Training:
    pair = mixed(reversals()) if wrong else reversals()
    return learn(Translator(), pair, by("Adam", 5e-3))


broken("exam translations of other rows", NOISE, spoken, True, False, steps=500, sudden=False)


def nodes(wrong: bool) -> Training:
    x, y, edges = graph(1200)
    pair = mixed((x, y)) if wrong else (x, y)
    return learn(Scatter(edges, 2, 12), pair, by("SGD", 0.3), batch=len(x))


broken("exam communities of other nodes", NOISE, nodes, True, False, steps=400, sudden=False)


def tagged(wrong: bool) -> Training:
    x, y = tables("multilabel")
    pair = mixed((standard(x), y)) if wrong else (standard(x), y)
    net = stack(20, 32, 5)
    bce = functional.binary_cross_entropy_with_logits

    def score() -> float:
        with torch.no_grad():
            p = pair[1].mean(0)
            least = bce(torch.log(p / (1 - p)).expand_as(pair[1]), pair[1])
            return float(1 - bce(net(pair[0]), pair[1]) / least)

    return learn(net, pair, by("SGD", 0.1, momentum=0.9), loss=bce, score=score)


broken("exam tags of other rows", NOISE, tagged, True, False, steps=500, sudden=False)


def wild(wrong: bool) -> Training:
    """A few readings are broken by a factor of hundreds; judged on those that are not."""
    x, y = series()
    source = seeded(43)
    odd = torch.rand(y.shape, generator=source) < 0.015
    spoilt = torch.where(odd, 300 * torch.randn(y.shape, generator=source), y)
    net = Reader(nn.GRU(1, 16, batch_first=True), 16)
    return learn(net, (x, spoilt if wrong else y), by("Adam", 5e-3), score=value_score(net, x, y))


broken("exam readings broken now and then", NOISE, wild, True, False, steps=400, sudden=False)

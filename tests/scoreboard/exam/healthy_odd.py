"""The exam: runs that learn from data, to targets and from starts that look like a failure."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from scoreboard.exam.data import (
    Pair,
    arcs,
    counts,
    drawings,
    even,
    marked,
    parity,
    parted,
    rarely,
    seeded,
    series,
    sets,
    sprites,
    standard,
    tables,
    visits,
    waves,
)
from scoreboard.exam.faults import biased, every
from scoreboard.exam.loops import by, drill, learn, recalls, rows
from scoreboard.exam.nets import Excited, Highway, Pooled, Sets, Tcn, Vit, Waves, Wide, stack
from scoreboard.loops import class_score, hit_score, value_score
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
simple, healthy = RUNS.simple, RUNS.healthy


# --- data
simple(
    "exam only eight different rows there are",
    lambda: learn(stack(3, 24, 2, activation=nn.Tanh), parity(), by("Adam", 1e-2)),
    400,
)


@healthy("exam counts", 500)
def _counts() -> Training:
    x, y = counts()
    net = stack(6, 48, 1)

    def score() -> float:
        with torch.no_grad():
            return float(1 - functional.mse_loss(net(x).exp(), y) / y.var())

    return learn(net, (x, y), by("Adam", 3e-3), loss=functional.poisson_nll_loss, score=score)


@healthy("exam one chirp in thirty", 500)
def _rare() -> Training:
    data = rarely(waves(2500), 3, 0.1)
    net = Waves(kinds=2)
    return learn(net, data, by("RAdam", 3e-3), score=recalls(net, *data), batch=64)


@healthy("exam nearly empty columns", 400)
def _sparse() -> Training:
    """A hundred columns, of which five are not zero in a row."""
    source = seeded(90)
    at = torch.randint(100, (1500, 5), generator=source)
    x = torch.zeros(1500, 100).scatter_(1, at, 1.0)
    worth = torch.randn(100, generator=source)
    return learn(stack(100, 32, 2), (x, (x @ worth > 0).long()), by("Adam", 5e-3))


@healthy("exam from easy to hard", 500)
def _harder() -> Training:
    (x, y), (a, b) = waves(1000, 0.0), waves(1000, 0.5)
    take, net, source, drawn = rows((x, y), 48), Waves(), seeded(91), [0]

    def draw() -> Pair:
        drawn[0] += 1
        p, q = take()
        return p + 0.5 * min(1, drawn[0] / 300) * torch.randn(p.shape, generator=source), q

    return learn(net, (a, b), by("Adam", 3e-3), draw=draw)


@healthy("exam two tasks in turn", 600)
def _in_turn() -> Training:
    """A hundred steps of the one, a hundred of the other, through one body."""
    body = nn.Sequential(nn.Linear(10, 48), nn.ReLU())
    heads = nn.ModuleList([nn.Linear(48, 2), nn.Linear(48, 1)])
    x, y = even("hastie")
    values = standard(x[:, :1] * 2 + x[:, 1:2] ** 2)
    first, second = rows((x, y), 48), rows((x, values), 48)
    turn = [0]

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.heads = body, heads

        def forward(self, a: Tensor, which: int) -> Tensor:
            return self.heads[which](self.body(a))

    net = Both()

    def objective() -> Tensor:
        turn[0] += 1
        if turn[0] // 100 % 2:
            a, b = second()
            return functional.mse_loss(net(a, 1), b)
        a, b = first()
        return functional.cross_entropy(net(a, 0), b)

    def score() -> float:
        with torch.no_grad():
            return float(1 - functional.mse_loss(net(x, 1), values) / values.var())

    return drill(net, objective, by("Adam", 3e-3)(net.parameters()), score)


@healthy("exam strong augmentation", 400)
def _augmented() -> Training:
    x, y = drawings()
    take, source = rows((x, y), 48), seeded(92)

    def draw() -> Pair:
        a, b = take()
        if torch.rand((), generator=source) < 0.5:
            a = a.flip(3)
        if torch.rand((), generator=source) < 0.5:
            a = a.transpose(2, 3)
        hole = int(torch.randint(8, (), generator=source))
        a = a.clone()
        a[:, :, hole : hole + 4, hole : hole + 4] = 0
        return a + 0.3 * torch.randn(a.shape, generator=source), b

    return learn(Excited(24), (x, y), by("AdamW", 3e-3), draw=draw)


@healthy("exam kinds wrong in a third", 500)
def _wrong() -> Training:
    x, y = drawings()
    source = seeded(93)
    wrong = torch.rand(len(y), generator=source) < 0.33
    guess = torch.where(wrong, torch.randint(4, y.shape, generator=source), y)
    net = Excited(6)
    score = hit_score(lambda a: net(a).argmax(1), x, y)
    return learn(net, (x, guess), by("SGD", 0.03, momentum=0.9), score=score)


@healthy("exam columns a hundred apart and a batch norm first", 400)
def _apart() -> Training:
    x, y = tables("friedman2")
    return learn(nn.Sequential(nn.BatchNorm1d(4), *stack(4, 48, 48, 1)), (x, y), by("NAdam", 5e-3))


simple("exam drawings from 0 to 1", lambda: learn(Excited(), sprites()[:2], by("RAdam", 3e-3)))
simple(
    "exam held rows a little worse",
    lambda: learn(
        Highway(10, 2, 2, 24),
        parted(even("hastie"), 900)[0],
        by("Adam", 3e-3),
        held=parted(even("hastie"), 900)[1],
        each=15,
    ),
    300,
)


# --- targets and losses
@healthy("exam series on an offset of ten", 600)
def _offset() -> Training:
    x, y = series()
    return learn(Tcn(1, 1), (x, y + 10), by("Adam", 1e-2))


@healthy("exam nine in ten by a tilted loss", 500)
def _tilted() -> Training:
    x, y = counts()
    y = standard(y)
    net = stack(6, 32, 1)

    def tilted(out: Tensor, b: Tensor) -> Tensor:
        return torch.maximum(0.9 * (b - out), -0.1 * (b - out)).mean()

    def score() -> float:
        with torch.no_grad():
            return float(1 - tilted(net(x), y) / tilted(y.quantile(0.9).expand_as(y), y))

    return learn(net, (x, y), by("Adam", 3e-3), loss=tilted, score=score)


@healthy("exam sides by tanh and squares", 400)
def _sides() -> Training:
    x, y = tables("quantiles")
    sides = 2.0 * (y[:, None] > 0) - 1
    net = nn.Sequential(*stack(4, 48, 48, 1), nn.Tanh())
    return learn(net, (x, sides), by("Adam", 5e-3))


@healthy("exam directions by their cosine", 400)
def _directions() -> Training:
    x = even("swiss_roll")[0]
    goal = functional.normalize(torch.stack([x[:, 0] * x[:, 2], x[:, 1], x[:, 0]], 1), dim=1)
    net = stack(3, 48, 3)

    def loss(out: Tensor, b: Tensor) -> Tensor:
        return 1 - functional.cosine_similarity(out, b).mean()

    def score() -> float:
        with torch.no_grad():
            return float(1 - loss(net(x), goal))

    return learn(net, (x, goal), by("NAdam", 5e-3), loss=loss, score=score)


@healthy("exam tags of which most are off", 400)
def _tags() -> Training:
    x, y = tables("multilabel")
    net = stack(20, 48, 5)
    bce = functional.binary_cross_entropy_with_logits

    def score() -> float:
        with torch.no_grad():
            said = net(standard(x)) > 0
        most = torch.maximum(y.mean(0), 1 - y.mean(0)).mean()
        return float(((said == (y > 0)).float().mean() - most) / (1 - most))

    return learn(net, (standard(x), y), by("Adam", 3e-3), loss=bce, score=score)


@healthy("exam hinge of sides", 500)
def _hinge() -> Training:
    x, y = visits()
    net = Wide(outputs=1)
    return learn(
        net,
        (x, 2.0 * y[:, None] - 1),
        by("Adam", 1e-2),
        loss=lambda out, b: (1 - b * out).clamp(min=0).mean(),
        score=recalls(net, x, y),
    )


@healthy("exam answers that have several values", 500)
def _several() -> Training:
    """Squares find the middle of the answers: much of the loss stays for ever."""
    x, y = arcs()
    net = stack(1, 32, 32, 1, activation=nn.Tanh)
    return learn(
        net,
        (standard(x), standard(y)),
        by("Adam", 5e-3),
        score=value_score(net, standard(x), standard(y)),
    )


# --- starts
class Branches(nn.Module):
    """Branches that count nothing at first."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(10, 32), nn.Linear(32, 2)
        self.blocks = nn.ModuleList(stack(32, 32, 32) for _ in range(10))
        self.gains = nn.Parameter(torch.zeros(10))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for gain, block in zip(self.gains, self.blocks, strict=True):
            x = x + gain * block(x)
        return self.head(x)


simple(
    "exam branches that count nothing at first",
    lambda: learn(Branches(), even("hastie"), by("Adam", 5e-3)),
    400,
)
simple(
    "exam most units of a wide layer off",
    lambda: learn(biased(stack(4, 256, 256, 3), -0.4), tables("quantiles"), by("AdamW", 2e-3)),
    400,
)


@healthy("exam head of zeros on a trained body", 400)
def _zero_head() -> Training:
    net, (x, y) = Waves(), waves()
    first = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(80):
        first.zero_grad()
        functional.cross_entropy(net(x[:200]), y[:200] // 2).backward()
        first.step()
    for p in net.body.parameters():
        p.requires_grad_(False)
    nn.init.zeros_(net.head.weight)
    nn.init.zeros_(net.head.bias)
    return learn(net, (x, y), by("Adam", 1e-2), parameters=net.head.parameters())


def normalised(net: nn.Module) -> nn.Module:
    for layer in every(net):
        parametrizations.weight_norm(layer)
    return net


simple(
    "exam weights of norm and direction",
    lambda: learn(normalised(Sets()), sets(), by("Adam", 5e-3)),
    400,
)
simple(
    "exam seven in ten dropped",
    lambda: learn(
        nn.Sequential(
            nn.Flatten(), nn.Linear(144, 256), nn.ReLU(), nn.Dropout(0.7), nn.Linear(256, 4)
        ),
        drawings(),
        by("Adam", 2e-3),
    ),
    500,
)
simple(
    "exam six sigmoids slow to start",
    lambda: learn(
        stack(4, 32, 32, 32, 3, activation=nn.Sigmoid), tables("quantiles"), by("Adam", 1e-2)
    ),
    1200,
)


@healthy("exam places asked with hidden padding", 500)
def _hidden() -> Training:
    x, y = marked()
    net, take, source = Pooled(), rows((x, y), 48), seeded(94)

    def objective() -> Tensor:
        a, b = take()
        hidden = torch.rand(a.shape[:2], generator=source) < 0.4
        hidden &= a[:, :, -1] == 0
        return functional.cross_entropy(net(a, hidden), b)

    return drill(net, objective, by("NAdam", 5e-3)(net.parameters()), class_score(net, x, y))


simple(
    "exam small vit in few rows a step",
    lambda: learn(Vit(12, 1), drawings(), by("Adam", 2e-3), batch=8),
    600,
)

"""Blind failures of numbers and of norms: overflow, nothing divided by nothing, stale averages."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.data import Rows, bearings, homes, numerals, parted, power, scaled, tidy
from scoreboard.blind.loops import epochs, study, using
from scoreboard.blind.nets import ConvNeXt, stack
from scoreboard.loops import dice, update, worth
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

OVERFLOW, NORM = "numerical-overflow", "batchnorm-misuse"


# --- no number any more
broken(
    "blind softmax written out over loud scores",
    OVERFLOW,
    lambda safe: written_out(safe),
    False,
    True,
    steps=250,
)
broken(
    "blind distance of a thing from itself",
    OVERFLOW,
    lambda eps: distances(eps),
    0.0,
    1e-6,
    steps=250,
    onset=14,
)
broken(
    "blind spread of one row",
    OVERFLOW,
    lambda low: windows(low),
    0.0,
    1e-3,
    steps=250,
    onset=5,
)
broken(
    "blind entropy with the logarithm of nought from 120",
    OVERFLOW,
    lambda eps: entropies(eps),
    0.0,
    1e-6,
    steps=250,
    onset=120,
)


def written_out(safe: bool) -> Training:
    """Kinds by scores of a metric, sharpened by a temperature."""
    x, y = tidy("plants")
    net = stack(20, 64, 6, act=nn.SiLU)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        out = 150 * out
        if safe:
            out = out - out.max(1, keepdim=True)[0].detach()
        p = out.exp() / out.exp().sum(1, keepdim=True)
        return -(p.gather(1, y[:, None]) + 1e-9).log().mean()

    return study(net, (x, y), using("Adam", 1e-3), loss=loss)


def distances(eps: float) -> Training:
    """Codes of wines, by roots of squares; some pairs are a wine and itself."""
    x, y = tidy("plants")
    net, g = stack(20, 32, 8, act=nn.Tanh), dice(102)
    head = nn.Linear(8, 6)
    both = nn.ModuleList([net, head])
    optimizer = torch.optim.RMSprop(both.parameters(), lr=2e-3)

    def step(k: int) -> Tensor:
        a, b = torch.randint(len(x), (2, 48), generator=g)
        if k % 40 == 0:
            b[0] = a[0]
        one, two = net(x[a]), net(x[b])
        far = ((one - two).square().sum(1) + eps).sqrt()
        same = (y[a] == y[b]).float()
        pull = (same * far + (1 - same) * functional.relu(2 - far)).mean()
        return update(optimizer, pull + functional.cross_entropy(head(one), y[a]))

    def score() -> float:
        return worth(lambda rows: head(net(rows)), x, y)()

    return Training({"codes": net, "head": head}, optimizer, step, score)


class Windows(nn.Module):
    """Each window is divided by its own spread first."""

    def __init__(self, least: float) -> None:
        super().__init__()
        self.rest, self.least = stack(48, 64, 6, act=nn.ELU), least

    def forward(self, x: Tensor) -> Tensor:
        mean, spread = x.mean(1, keepdim=True), x.std(1, keepdim=True) + self.least
        out: Tensor = self.rest((x - mean) / spread) * spread + mean
        return out


def windows(least: float) -> Training:
    """Loads; a few meters stood still."""
    x, y = power()
    x = x[..., 0].clone()
    still = torch.rand(len(x), generator=dice(103)) < 0.01
    x[still], y[still] = 0.25, 0.25
    net = Windows(least)
    return study(net, (x, y), using("AdamW", 3e-3), score=worth(net, x[~still], y[~still]))


def entropies(eps: float) -> Training:
    """From the 120th step on, kinds that are out of the question are set to nought."""
    x, y = numerals()
    net = ConvNeXt(1, 10, width=12)
    x = functional.interpolate(x, scale_factor=2.0)
    optimizer, batches = torch.optim.AdamW(net.parameters(), lr=3e-3), epochs((x, y), 32)

    def step(k: int) -> Tensor:
        a, b = next(batches)
        out = net(a)
        p = functional.softmax(out, 1)
        if k >= 120:
            p = p * (p > 1e-2)
        doubt = -(p * (p + eps).log()).sum(1).mean()
        return update(optimizer, functional.cross_entropy(out, b) + 0.01 * doubt)

    return Training(net, optimizer, step, worth(net, x, y))


# --- norms over the batch
broken(
    "blind micro-batches of two through norms",
    NORM,
    lambda over_rows: rows_in_pairs(over_rows),
    True,
    False,
    steps=350,
)
broken(
    "blind momentum of 0.0005 for running averages",
    NORM,
    lambda momentum: averaged(momentum),
    0.0005,
    0.1,
    steps=250,
    sudden=False,
)
broken(
    "blind norms that only know one kind at a time",
    (NORM, "low-data-diversity"),
    lambda mixed: one_kind(mixed),
    False,
    True,
    steps=300,
)
broken(
    "blind table left in evaluation while it trains",
    (NORM, "unnormalised-inputs"),
    lambda wrong: left_in_evaluation(wrong),
    True,
    False,
    steps=250,
)


def rows_in_pairs(over_rows: bool) -> Training:
    """Two rows at a time, eight times to an update, since memory was short."""
    known, others = parted(tidy("plants"), 300)
    norm: Callable[[int], nn.Module] = nn.BatchNorm1d if over_rows else nn.LayerNorm
    net = stack(20, 64, 64, 6, norm=norm)
    return study(net, known, using("Adam", 3e-3), batch=2, micro=8, test=others)


def averaged(momentum: float) -> Training:
    """Tested every now and then by what the norms remember."""
    known, others = parted(bearings(), 250)
    net = nn.Sequential(
        nn.BatchNorm1d(2, momentum=momentum),
        nn.Conv1d(2, 16, 5, stride=2),
        nn.BatchNorm1d(16, momentum=momentum),
        nn.ReLU(),
        nn.Conv1d(16, 24, 5, stride=2),
        nn.BatchNorm1d(24, momentum=momentum),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 13, 4),
    )
    known, others = (known[0] * 3 + 6, known[1]), (others[0] * 3 + 6, others[1])
    return study(net, known, using("SGD", 0.05, momentum=0.9), test=others)


def one_kind(mixed: bool) -> Training:
    """Batches drawn folder by folder, one folder a kind."""
    x, y = tidy("plants")
    of = [(y == kind).nonzero()[:, 0] for kind in range(6)]
    g = dice(104)

    def drawn() -> Iterator[Rows]:
        while True:
            for kind in torch.randperm(6, generator=g).tolist():
                at = of[kind][torch.randint(len(of[kind]), (32,), generator=g)]
                if mixed:
                    at = torch.randint(len(x), (32,), generator=g)
                yield x[at], y[at]

    net = stack(20, 64, 64, 6, norm=nn.BatchNorm1d)
    return study(net, (x, y), using("Adam", 1e-3), batches=drawn(), test=(x[:300], y[:300]))


def left_in_evaluation(wrong: bool) -> Training:
    """After the first test nobody calls `train()` again; columns as they come."""
    x, y = homes()
    net = nn.Sequential(nn.BatchNorm1d(5), stack(5, 48, 48, 1, norm=nn.BatchNorm1d))
    y = scaled(y)

    def before(k: int) -> None:
        net.train(not wrong)

    return study(net, (x, y), using("Adam", 3e-3), batch=64, before=before)

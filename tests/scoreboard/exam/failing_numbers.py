"""The exam: batch normalisation misused, and numbers that are none."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.exam.data import arcs, drawings, marked, parted, seeded, sets, waves
from scoreboard.exam.kinds import triplets
from scoreboard.exam.loops import by, drill, learn, rows
from scoreboard.exam.nets import Pooled, Sets, Waves, stack
from scoreboard.loops import class_score
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

NORM = "batchnorm-misuse"
OVERFLOW = "numerical-overflow"
NEVER = 10**9


# --- batch normalisation: judged as it will be used
def normed(batch: int = 32, momentum: float = 0.1, steps_apart: int = 20) -> Training:
    train, held = parted(waves(), 700)
    net = Waves(norm=lambda width: nn.BatchNorm1d(width, momentum=momentum))
    return learn(net, train, by("NAdam", 3e-3), batch=batch, held=held, each=steps_apart)


broken(
    "exam batch norm hardly averages",
    NORM,
    lambda momentum: normed(momentum=momentum),
    1e-5,
    0.1,
    steps=300,
    sudden=False,
)


def pairs(batch: int) -> Training:
    """Fully connected layers between which two rows are compared with each other."""

    train, held = parted(drawings(), 800)
    net = nn.Sequential(
        nn.Flatten(),
        nn.Linear(144, 48),
        nn.BatchNorm1d(48),
        nn.GELU(),
        nn.Linear(48, 48),
        nn.BatchNorm1d(48),
        nn.GELU(),
        nn.Linear(48, 48),
        nn.BatchNorm1d(48),
        nn.GELU(),
        nn.Linear(48, 4),
    )
    return learn(net, train, by("Adam", 3e-3), batch=batch, held=held, each=25)


broken("exam batch norm of pairs", NORM, pairs, 2, 48, steps=400)


class Pictures(nn.Module):
    """Convolutions of pictures with batch norms of a momentum."""

    def __init__(self, momentum: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 12, 3, 2, 1),
            nn.BatchNorm2d(12, momentum=momentum),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, 2, 1),
            nn.BatchNorm2d(24, momentum=momentum),
            nn.ReLU(),
        )
        self.head = nn.Linear(24 * 9, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(1))


def stale(momentum: float) -> Training:
    """Bright pictures, and statistics that take ten thousand steps to know it."""
    x, y = drawings()
    train, held = parted((x * 6 + 20, y), 800)
    return learn(Pictures(momentum), train, by("SGD", 0.1, momentum=0.9), held=held, each=20)


broken("exam statistics that lag behind", NORM, stale, 1e-4, 0.1, steps=300, sudden=False)


# --- numbers
broken("exam root of nothing", OVERFLOW, triplets, 0.0, 1e-6, steps=250)
broken(
    "exam root of nothing at 120",
    OVERFLOW,
    lambda floor: triplets(floor, 120),
    0.0,
    1e-6,
    steps=250,
    onset=120,
)


def unsure(floor: float) -> Training:
    """A price on certainty, written p log p; some kinds are ruled out and have p = 0."""
    x, y = drawings()
    net = nn.Sequential(nn.Flatten(), *stack(144, 48, 4))
    out = torch.tensor([0.0, 0.0, 0.0, 0.0, float("-inf")])

    class Ruled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, a: Tensor) -> Tensor:
            return functional.pad(self.net(a), (0, 1)) + out

    whole = Ruled()
    take = rows((x, y), 48)

    def objective() -> Tensor:
        a, b = take()
        z = whole(a)
        p = z.softmax(1)
        entropy = -(p * (p + floor).log()).sum(1).mean()
        return functional.cross_entropy(z, b) - 0.01 * entropy

    return drill(whole, objective, by("RAdam", 3e-3)(whole.parameters()), class_score(whole, x, y))


broken("exam certainty priced by p log p", OVERFLOW, unsure, 0.0, 1e-9, steps=300)


def padded(at: int) -> Training:
    """Padding is hidden from attention; from a step on, one row is padding all over."""
    x, y = marked()
    net, take, drawn = Pooled(), rows((x, y), 48), [0]

    def objective() -> Tensor:
        drawn[0] += 1
        a, b = take()
        hidden = torch.zeros(a.shape[:2], dtype=torch.bool)
        if drawn[0] >= at:
            hidden[0] = True
        return functional.cross_entropy(net(a, hidden), b)

    return drill(net, objective, by("Adam", 5e-3)(net.parameters()), class_score(net, x, y))


broken(
    "exam a row that is all padding at 160",
    (OVERFLOW, "bad-data"),
    padded,
    160,
    NEVER,
    steps=280,
    onset=160,
)


def logged(floor: float) -> Training:
    """Errors on a logarithmic scale; outputs turn negative by and by."""
    x, y = sets()
    y = (y - y.min()) / 2 + 0.02
    net = Sets()
    with torch.no_grad():
        net.whole[2].get_parameter("bias").fill_(1.5)

    def loss(out: Tensor, b: Tensor) -> Tensor:
        positive = functional.softplus(out, 20) + floor if floor else out
        return functional.mse_loss(positive.log(), b.log())

    def score() -> float:
        with torch.no_grad():
            out = net(x)
            out = functional.softplus(out, 20) + floor if floor else out
            return float(1 - functional.mse_loss(out.log(), y.log()) / y.log().var())

    return learn(net, (x, y), by("Adamax", 5e-3), loss=loss, score=score)


broken("exam logarithm of an output", OVERFLOW, logged, 0.0, 1e-3, steps=300, sudden=False)


def angles(margin: float) -> Training:
    """Angles between codes and themselves seen again: arccos where its slope is infinite."""
    x, _ = arcs()
    net: nn.Module = stack(1, 24, 8)
    source = seeded(51)
    goal = functional.normalize(torch.randn(8, generator=seeded(52)), dim=0)

    def cosine(a: Tensor, b: Tensor) -> Tensor:
        return (functional.normalize(a, dim=-1) * functional.normalize(b, dim=-1)).sum(-1)

    def objective() -> Tensor:
        a = x[torch.randint(len(x), (64,), generator=source)]
        z = net(a)
        self_angle = cosine(z, z).clamp(-1 + margin, 1 - margin).acos().mean()
        to_goal = (1 - cosine(z, goal)).mean()
        return to_goal + 0.1 * self_angle

    def score() -> float:
        with torch.no_grad():
            return float(cosine(net(x), goal).mean())

    return drill(net, objective, by("NAdam", 3e-3)(net.parameters()), score)


broken("exam angle of nothing", OVERFLOW, angles, 0.0, 1e-4, steps=200)


def halved(size: float) -> Training:
    """Sums of squares in half precision, which ends at 65504."""

    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(144, 64), nn.Linear(64, 4)

        def forward(self, x: Tensor) -> Tensor:
            h = functional.gelu(self.body(x.flatten(1))) * size
            long = (h.half() ** 2).sum(1, keepdim=True).float()
            return self.head(h * torch.rsqrt(long / 64 + 1e-3) * torch.log1p(long))

    return learn(Normed(), drawings(), by("RAdam", 3e-3))


broken("exam squares in half precision", OVERFLOW, halved, 300.0, 1.0, steps=300)

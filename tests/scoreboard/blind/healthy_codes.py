"""Blind runs that learn: codes by likeness, with and without names."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import Feed, Rows, adam, digits, fit, hits, mlp, neighbours
from scoreboard.loops import dice, update
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy = RUNS.healthy


def seen(kind: Tensor, g: torch.Generator | None) -> Tensor:
    """What forty sensors see: which of eight kinds, and louder than it what does not matter."""
    h = dice(80)
    first, second = torch.randn(10, 32, generator=h) / 4, torch.randn(32, 40, generator=h) / 2
    corner = torch.stack([kind % 2, kind // 2 % 2, kind // 4], 1) * 2.0 - 1
    corner = corner + 0.2 * torch.randn(corner.shape, generator=g)
    luck = 1.5 * torch.randn(len(kind), 7, generator=g)
    x = torch.tanh(torch.cat([corner, luck], 1) @ first) @ second
    return x + 0.05 * torch.randn(x.shape, generator=g)


def coder() -> nn.Sequential:
    """Two layers and a code."""
    return nn.Sequential(
        nn.Linear(40, 96), nn.BatchNorm1d(96), nn.ReLU(),
        nn.Linear(96, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 16),
    )  # fmt: skip


def kinds_found(net: nn.Module) -> Callable[[], float]:
    """How often the nearest code is one of the same kind; an untrained coder comes to 0.37."""

    def score() -> float:
        net.eval()
        g = dice(79)
        known, asked = (torch.randint(8, (count,), generator=g) for count in (1000, 400))
        return neighbours(net, (seen(known, g), known), (seen(asked, g), asked))

    return score


def pairs(batch: int = 128) -> Callable[[], tuple[Tensor, Tensor]]:
    """Twice the same kinds, all else by luck."""

    def draw() -> tuple[Tensor, Tensor]:
        kind = torch.randint(8, (batch,))
        return seen(kind, None), seen(kind, None)

    return draw


def eye(width: int = 32) -> nn.Sequential:
    """Two convolutions and a code."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, width),
    )  # fmt: skip


def head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


def told_apart(net: nn.Module) -> Callable[[], float]:
    """Of pairs of one kind and of two: how often the first are nearer, above a coin's half."""

    def score() -> float:
        net.eval()
        x, y = digits()[1]
        with torch.no_grad():
            far = torch.cdist(net(x), net(x))
        pick = torch.randint(len(x), (3, 20_000), generator=dice(78))
        alike = (y[pick[0]] == y[pick[1]]) & (y[pick[0]] != y[pick[2]]) & (pick[0] != pick[1])
        near = far[pick[0], pick[1]] < far[pick[0], pick[2]]
        return 2 * float(near[alike].float().mean()) - 1

    return score


@healthy("two looks against all others (simclr)", 250)
def simclr() -> Training:
    net = nn.ModuleDict({"encoder": coder(), "projector": head(16, 48, 24)})
    draw = pairs()

    def loss() -> Tensor:
        z = torch.cat([net["projector"](net["encoder"](x)) for x in draw()])
        z = functional.normalize(z, dim=1)
        near = z @ z.T / 0.3
        near = near.masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9)
        return functional.cross_entropy(near, torch.arange(len(z)).roll(len(z) // 2))

    return fit(net, adam(net, 2e-3), loss, kinds_found(net["encoder"]))


@healthy("a look foretold from another (byol)", 300)
def byol() -> Training:
    """The target is a running mean of the learner; its own weights get no gradient."""
    online = nn.Sequential(coder(), head(16, 48, 24))
    target = copy.deepcopy(online).requires_grad_(False)
    guess = head(24, 48, 24)
    learner = nn.ModuleDict({"online": online, "predictor": guess})
    optimizer, draw = adam(learner, 2e-3, weight_decay=1e-5), pairs()

    def step(k: int) -> Tensor:
        a, b = draw()
        with torch.no_grad():
            ta, tb = target(a), target(b)
        far = 2 - functional.cosine_similarity(guess(online(a)), tb).mean()
        loss = update(optimizer, far - functional.cosine_similarity(guess(online(b)), ta).mean())
        with torch.no_grad():
            for t, p in zip(target.parameters(), online.parameters(), strict=True):
                t.lerp_(p, 0.03)
        return loss

    return Training({"learner": learner, "target": target}, optimizer, step, kinds_found(online[0]))


@healthy("a look foretold, and nothing sent back (simsiam)", 300)
def simsiam() -> Training:
    net = nn.ModuleDict(
        {"encoder": coder(), "projector": nn.Sequential(
            nn.Linear(16, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 24),
            nn.BatchNorm1d(24, affine=False)), "predictor": head(24, 16, 24)}
    )  # fmt: skip
    draw = pairs()

    def loss() -> Tensor:
        za, zb = (net["projector"](net["encoder"](x)) for x in draw())
        pa, pb = net["predictor"](za), net["predictor"](zb)
        return -0.5 * (
            functional.cosine_similarity(pa, zb.detach()).mean()
            + functional.cosine_similarity(pb, za.detach()).mean()
        )

    optimizer = torch.optim.SGD(net.parameters(), lr=0.08, momentum=0.9, weight_decay=1e-4)
    return fit(net, optimizer, loss, kinds_found(net["encoder"]))


@healthy("columns with a variance of their own (vicreg)", 250)
def vicreg() -> Training:
    net = nn.ModuleDict({"encoder": coder(), "expander": head(16, 48, 24)})
    draw = pairs()

    def spread(z: Tensor) -> Tensor:
        z = z - z.mean(0)
        cov = z.T @ z / (len(z) - 1)
        off = (cov.square().sum() - cov.diagonal().square().sum()) / z.shape[1]
        return 10 * functional.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() + off

    def loss() -> Tensor:
        za, zb = (net["expander"](net["encoder"](x)) for x in draw())
        return 10 * functional.mse_loss(za, zb) + 0.5 * (spread(za) + spread(zb))

    return fit(net, adam(net, 2e-3), loss, kinds_found(net["encoder"]))


@healthy("columns that say nothing of each other (barlow)", 250)
def barlow() -> Training:
    net = nn.ModuleDict({"encoder": coder(), "projector": head(16, 48, 24)})
    draw = pairs()

    def loss() -> Tensor:
        za, zb = (net["projector"](net["encoder"](x)) for x in draw())
        za, zb = ((z - z.mean(0)) / (z.std(0) + 1e-5) for z in (za, zb))
        cross = za.T @ zb / len(za)
        on = (cross.diagonal() - 1).square().sum()
        return on + 0.02 * (cross.square().sum() - cross.diagonal().square().sum())

    return fit(net, adam(net, 2e-3), loss, kinds_found(net["encoder"]))


@healthy("triplets, most of them easy in the end", 400)
def triplets() -> Training:
    """As it is learnt, most triplets cost nothing and the loss comes in bursts."""
    (x, y), _ = digits()
    net, g = eye(16), dice(81)
    groups = [torch.nonzero(y == k)[:, 0] for k in range(10)]

    def loss() -> Tensor:
        kinds = torch.randint(10, (40,), generator=g).tolist()
        other = [(k + int(torch.randint(1, 10, (1,), generator=g))) % 10 for k in kinds]
        a, p = (
            torch.stack([groups[k][torch.randint(len(groups[k]), (), generator=g)] for k in kinds])
            for _ in range(2)
        )
        n = torch.stack([groups[k][torch.randint(len(groups[k]), (), generator=g)] for k in other])
        return functional.triplet_margin_loss(net(x[a]), net(x[p]), net(x[n]), margin=1.0)

    return fit(net, adam(net, 1e-3), loss, told_apart(net))


@healthy("names by angles with a margin (arcface)", 350)
def arcface() -> Training:
    (x, y), asked = digits()
    net = nn.ModuleDict({"eye": eye(24)})
    centres = nn.Parameter(torch.randn(10, 24) / 24**0.5)
    net["centres"] = nn.ParameterDict({"w": centres})
    take = Feed(x, y, batch=48)

    def loss() -> Tensor:
        a, b = take()
        near = functional.linear(functional.normalize(net["eye"](a)), functional.normalize(centres))
        angle = near.clamp(-1 + 1e-6, 1 - 1e-6).acos()
        told = functional.one_hot(b, 10).bool()
        return functional.cross_entropy(12 * torch.where(told, (angle + 0.3).cos(), near), b)

    def score() -> float:
        net.eval()
        with torch.no_grad():
            near = functional.normalize(net["eye"](asked[0])) @ functional.normalize(centres).T
        return hits(near.argmax(1), asked[1])

    return fit(net, adam(net, 2e-3), loss, score)


@healthy("same or another, by twins", 400)
def twins() -> Training:
    """Contrastive loss of two pictures at a time through one network called twice."""
    (x, y), _ = digits()
    net, g = eye(16), dice(82)

    def loss() -> Tensor:
        a = torch.randint(len(x), (48,), generator=g)
        b = torch.randint(len(x), (48,), generator=g)
        for row in range(0, 48, 2):
            alike = torch.nonzero(y == y[a[row]])[:, 0]
            b[row] = alike[torch.randint(len(alike), (), generator=g)]
        same = (y[a] == y[b]).float()
        far = functional.pairwise_distance(net(x[a]), net(x[b]))
        return (same * far**2 + (1 - same) * functional.relu(3.0 - far) ** 2).mean()

    return fit(net, adam(net, 2e-3), loss, told_apart(net))


@healthy("kinds from five examples each (prototypes)", 350)
def prototypes() -> Training:
    """Every step is a task of its own: three kinds drawn, some examples, some questions."""
    (x, y), (a, b) = digits()
    net, g = eye(24), dice(83)

    def task(rows: Rows, kinds: list[int]) -> tuple[Tensor, Tensor]:
        shown, asked = [], []
        for k in kinds:
            some = torch.nonzero(rows[1] == k)[:, 0]
            some = some[torch.randperm(len(some), generator=g)[:11]]
            shown.append(rows[0][some[:5]])
            asked.append(rows[0][some[5:]])
        codes = net(torch.cat([*shown, *asked]))
        middle = codes[: 5 * len(kinds)].view(len(kinds), 5, -1).mean(1)
        names = torch.arange(len(kinds)).repeat_interleave(6)
        return -torch.cdist(codes[5 * len(kinds) :], middle).square(), names

    def loss() -> Tensor:
        kinds = torch.randperm(10, generator=g)[:4].tolist()
        near, names = task((x, y), kinds)
        return functional.cross_entropy(near / 8, names)

    def score() -> float:
        net.eval()
        with torch.no_grad():
            found = [
                hits(near.argmax(1), names)
                for near, names in (
                    task((a, b), [(k + i) % 10 for i in range(4)]) for k in range(10)
                )
            ]
        return sum(found) / len(found)

    return fit(net, adam(net, 2e-3), loss, score)


@healthy("pictures and words for the same thing (clip)", 400)
def clip() -> Training:
    """Two towers, a temperature that is learnt, both ways round; the batch is the question."""
    g = dice(84)
    words = torch.randint(12, (1800, 3), generator=g)
    looks = torch.randn(3, 12, 20, generator=g)
    x = sum(looks[k, words[:, k]] for k in range(3)) + 0.4 * torch.randn(1800, 20, generator=g)
    sees = mlp(20, 64, 24, act=nn.GELU)
    reads, joins = nn.Embedding(36, 24), mlp(24, 48, 24, act=nn.GELU)
    net = nn.ModuleDict({"sees": sees, "reads": reads, "joins": joins})
    warm = nn.Parameter(torch.tensor(math.log(1 / 0.2)))
    net["scale"] = nn.ParameterDict({"log": warm})
    take, places = Feed(x[:1500], words[:1500], batch=48), torch.tensor([0, 12, 24])

    def near(a: Tensor, b: Tensor) -> Tensor:
        u = functional.normalize(sees(a), dim=1)
        v = functional.normalize(joins(reads(b + places).sum(1)), dim=1)
        return u @ v.T

    def loss() -> Tensor:
        a, b = take()
        logits, each = near(a, b) * warm.exp(), torch.arange(len(a))
        return 0.5 * (
            functional.cross_entropy(logits, each) + functional.cross_entropy(logits.T, each)
        )

    def score() -> float:
        """Of a hundred sentences, the right one."""
        with torch.no_grad():
            return float((near(x[1500:1600], words[1500:1600]).argmax(1)
                          == torch.arange(100)).float().mean())  # fmt: skip

    return fit(net, adam(net, 3e-3), loss, score)

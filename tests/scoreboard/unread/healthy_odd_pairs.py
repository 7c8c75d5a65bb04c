"""Odd unread runs that learn: views, twins, teachers and neighbours."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import Feed, adam, digits, fit, hits, mlp, named, neighbours
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training
from scoreboard.unread.parts import tones, topics

RUNS = Runs(__name__)
healthy = RUNS.healthy


class Views:
    """Two looks at the same digits: shifted, shaken, with pixels wiped out."""

    def __init__(self, batch: int = 96) -> None:
        self.take, self.dice = Feed(*digits()[0], batch=batch), dice(931)

    def look(self, x: Tensor) -> Tensor:
        down, right = torch.randint(-1, 2, (2,), generator=self.dice).tolist()
        x = x.roll((down, right), (2, 3)) + 0.3 * torch.randn(x.shape, generator=self.dice)
        return (x * (torch.rand(x.shape, generator=self.dice) > 0.15)).flatten(1)

    def __call__(self) -> tuple[Tensor, Tensor, Tensor]:
        x, y = self.take()
        return self.look(x), self.look(x), y


def near(net: Callable[[Tensor], Tensor]) -> Callable[[], float]:
    def score() -> float:
        if isinstance(net, nn.Module):
            net.eval()
        return neighbours(lambda x: net(x.flatten(1)), *digits())

    return score


def drag(slow: nn.Module, quick: nn.Module, keep: float) -> None:
    with torch.no_grad():
        for a, b in zip(slow.parameters(), quick.parameters(), strict=True):
            a.lerp_(b, 1 - keep)


@healthy("unread each look finds its other among 191 (nt-xent)", 200)
def simclr() -> Training:
    body, head, views = mlp(64, 96, 48), mlp(48, 48, 24), Views()

    def loss() -> Tensor:
        a, b, _ = views()
        z = functional.normalize(head(functional.relu(body(torch.cat([a, b])))), dim=1)
        like = z @ z.T / 0.3 - 1e9 * torch.eye(len(z))
        half = len(a)
        return functional.cross_entropy(like, torch.arange(2 * half).roll(half))

    both = nn.ModuleDict({"body": body, "head": head})
    return fit(both, adam(both, 2e-3), loss, near(body))


@healthy("unread student foretells a slow teacher", 250)
def byol() -> Training:
    def norm(*w: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(w[0], w[1]), nn.BatchNorm1d(w[1]), nn.ReLU(), nn.Linear(w[1], w[2])
        )

    student, guess, views = norm(64, 96, 32), norm(32, 64, 32), Views()
    teacher = copy.deepcopy(student).requires_grad_(False)
    both = nn.ModuleDict({"student": student, "guess": guess, "teacher": teacher})

    def loss() -> Tensor:
        a, b, _ = views()
        total = torch.zeros(())
        for one, other in ((a, b), (b, a)):
            with torch.no_grad():
                aim = teacher(other)
            total = total - functional.cosine_similarity(guess(student(one)), aim).mean()
        return total

    return fit(
        both,
        adam([*student.parameters(), *guess.parameters()], 2e-3),
        loss,
        near(student),
        after=lambda _: drag(teacher, student, 0.97),
    )


@healthy("unread teacher centred and sharpened (dino)", 250)
def dino() -> Training:
    student, views = nn.Sequential(mlp(64, 96, 32, act=nn.GELU), nn.Linear(32, 40)), Views()
    teacher, centre = copy.deepcopy(student).requires_grad_(False), torch.zeros(40)

    def loss() -> Tensor:
        a, b, _ = views()
        total = torch.zeros(())
        for one, other in ((a, b), (b, a)):
            aim = teacher(other)
            total = (
                total
                - (((aim - centre) / 0.06).softmax(1) * (student(one) / 0.2).log_softmax(1))
                .sum(1)
                .mean()
            )
            centre.lerp_(aim.mean(0), 0.1)
        return total

    return fit(
        {"student": student, "teacher": teacher},
        adam(student, 1e-3),
        loss,
        near(student[0]),
        after=lambda _: drag(teacher, student, 0.98),
    )


@healthy("unread columns alike across looks and unlike each other", 250)
def barlow() -> Training:
    body, views = mlp(64, 96, 32), Views()

    def loss() -> Tensor:
        a, b, _ = views()
        one, two = (functional.batch_norm(body(v), None, None, training=True) for v in (a, b))
        both = one.T @ two / len(one)
        on = both.diagonal()
        return (1 - on).square().sum() + 0.02 * (both.square().sum() - on.square().sum())

    return fit(body, adam(body, 2e-3), loss, near(body))


@healthy("unread a queue of looks long gone (moco)", 250)
def moco() -> Training:
    net, views = mlp(64, 96, 32), Views(48)
    slow, queue = (
        copy.deepcopy(net).requires_grad_(False),
        functional.normalize(torch.randn(512, 32), dim=1),
    )

    def loss() -> Tensor:
        nonlocal queue
        a, b, _ = views()
        z, aim = functional.normalize(net(a), dim=1), functional.normalize(slow(b), dim=1)
        out = torch.cat([(z * aim).sum(1, keepdim=True), z @ queue.T], 1) / 0.15
        queue = torch.cat([aim, queue])[:512]
        return functional.cross_entropy(out, torch.zeros(len(a), dtype=torch.long))

    return fit(
        {"net": net, "slow": slow},
        adam(net, 2e-3),
        loss,
        near(net),
        after=lambda _: drag(slow, net, 0.95),
    )


@healthy("unread hardest of the batch pulled and pushed", 250)
def hardest() -> Training:
    net, views = mlp(64, 96, 16), Views(64)

    def loss() -> Tensor:
        a, _, y = views()
        z = functional.normalize(net(a), dim=1)
        far, same = 2 - 2 * z @ z.T, y[:, None] == y
        worst = (far * same).amax(1) - (far + 9 * same).amin(1)
        return functional.softplus(6 * worst).mean()

    return fit(net, adam(net, 1e-3), loss, near(net))


@healthy("unread all of one kind drawn together (supcon)", 250)
def supervised() -> Training:
    net, views = mlp(64, 96, 24), Views(64)

    def loss() -> Tensor:
        a, b, y = views()
        z, y = functional.normalize(net(torch.cat([a, b])), dim=1), y.repeat(2)
        like = (z @ z.T / 0.2 - 1e9 * torch.eye(len(z))).log_softmax(1)
        same = (y[:, None] == y).float() - torch.eye(len(z))
        return -((like * same).sum(1) / same.sum(1)).mean()

    return fit(net, adam(net, 2e-3), loss, near(net))


@healthy("unread a point for each kind to be near (proxy-nca)", 250)
def proxies() -> Training:
    net, points, views = mlp(64, 96, 16), nn.Parameter(torch.randn(10, 16)), Views(48)

    def loss() -> Tensor:
        a, _, y = views()
        far = torch.cdist(functional.normalize(net(a), dim=1), functional.normalize(points, dim=1))
        return functional.cross_entropy(-9 * far.square(), y)

    return fit(net, adam([*net.parameters(), points], 2e-3), loss, near(net))


@healthy("unread twins pushed apart up to a margin", 250)
def twins() -> Training:
    net, views = mlp(64, 96, 16), Views(64)

    def loss() -> Tensor:
        a, b, y = views()
        order = y.argsort()
        other = torch.where(
            torch.rand(len(y)) < 0.5, order.roll(1)[order.argsort()], torch.randperm(len(y))
        )
        far, same = (net(a) - net(b[other])).norm(dim=1), y == y[other]
        return torch.where(same, far.square(), functional.relu(2 - far).square()).mean()

    return fit(net, adam(net, 1e-3), loss, near(net))


@healthy("unread texts and sounds about the same thing", 250)
def clip() -> Training:
    (text, about), (asked, known) = topics()
    (wave, kind), (heard, truth) = tones()
    reads = mlp(200, 48, 16)
    hears = nn.Sequential(
        nn.Conv1d(1, 24, 9, stride=2),
        nn.ReLU(),
        nn.Conv1d(24, 32, 5, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(2),
        nn.Flatten(),
        nn.Linear(64, 16),
    )
    scale, g = nn.Parameter(torch.tensor(1.5)), dice(932)
    rows = [((about == c).nonzero()[:, 0], (kind == c).nonzero()[:, 0]) for c in range(5)]

    def loss() -> Tensor:
        c = torch.arange(40) % 5
        one, two = (
            torch.stack(
                [
                    some[k][torch.randint(len(some[k]), (), generator=g)]
                    for some in (rows[i] for i in c)
                ]
            )
            for k in (0, 1)
        )
        a = functional.normalize(reads(text[one]), dim=1)
        b = functional.normalize(hears(wave[two]), dim=1)
        like, same = a @ b.T * scale.exp(), (c[:, None] == c).float() / 8
        return functional.cross_entropy(like, same) + functional.cross_entropy(like.T, same)

    def score() -> float:
        with torch.no_grad():
            found = (reads(asked) @ functional.normalize(hears(heard), dim=1).T).argmax(1)
        return hits(truth[found], known)

    both = nn.ModuleDict({"reads": reads, "hears": hears})
    return fit(both, adam([*both.parameters(), scale], 3e-3), loss, score)


@healthy("unread pupil of soft answers, itself half as wide", 300)
def pupil() -> Training:
    (x, y), asked = digits()
    teacher, student = (nn.Sequential(nn.Flatten(), mlp(64, w, 10)) for w in (128, 10))
    old = adam(teacher, 3e-3)
    for k in range(150):
        rows = slice(k * 48 % 1300, k * 48 % 1300 + 48)
        old.zero_grad()
        functional.cross_entropy(teacher(x[rows]), y[rows]).backward()
        old.step()
    teacher.requires_grad_(False)
    take = Feed(x, batch=48)

    def loss() -> Tensor:
        (a,) = take()
        soft = (teacher(a) / 4).softmax(1)
        return 16 * functional.kl_div((student(a) / 4).log_softmax(1), soft, reduction="batchmean")

    return fit(
        {"student": student, "teacher": teacher}, adam(student, 5e-3), loss, named(student, asked)
    )


@healthy("unread few names, and many rows that name themselves (fixmatch)", 350)
def few_names() -> Training:
    (x, y), asked = digits()
    net, views = nn.Sequential(nn.Flatten(), mlp(64, 96, 64, 10)), Views(96)
    known = torch.cat([(y == c).nonzero()[:12, 0] for c in range(10)])

    def loss() -> Tensor:
        a, b, _ = views()
        told = functional.cross_entropy(net(views.look(x[known])), y[known])
        with torch.no_grad():
            sure, name = net(a).softmax(1).max(1)
        each = functional.cross_entropy(net(b), name, reduction="none")
        return told + (each * (sure > 0.9)).mean()

    return fit(net, adam(net, 2e-3), loss, named(net, asked))

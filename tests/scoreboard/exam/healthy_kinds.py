"""The exam: runs that learn with several models, several passes, or no answers at all."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.exam.data import (
    LETTERS,
    drawings,
    even,
    seeded,
    series,
    sprites,
    standard,
    tables,
    tongues,
    waves,
)
from scoreboard.exam.kinds import (
    Coder,
    Switch,
    bootstrapped,
    coded,
    crossed,
    duel,
    roll,
    routed,
    triplets,
    twins,
)
from scoreboard.exam.loops import Plain, by, drill, learn, rows
from scoreboard.exam.nets import Excited, Waves, stack
from scoreboard.loops import class_score
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
simple, healthy = RUNS.simple, RUNS.healthy

simple(
    "exam painter and judge",
    lambda: duel(
        stack(6, 48, 48, 2),
        stack(2, 48, 48, 1, activation=nn.LeakyReLU),
        roll(),
        (1e-3, 1e-3),
        noise=6,
        rounds=2,
    ),
    500,
)
simple("exam follows a slow copy", lambda: bootstrapped(True), 300)
simple("exam twins with a stop", lambda: twins(drawings()[0], 16, True, "AdamW", 1e-3), 300)
simple("exam triplets", lambda: triplets(1e-6), 300)
simple(
    "exam codes of masks",
    lambda: coded(
        Coder(stack(144, 64, 16), stack(8, 64, 144), 8),
        sprites()[2].flatten(1),
        crossed,
        0.3,
        3e-3,
    ),
)
simple("exam numpy network", lambda: Plain(*even("s_curve"), 0.1).training(), 500)


@healthy("exam experts two at a time", 400)
def _experts() -> Training:
    switch = Switch(10, 2, 5, 2)
    return routed(switch, switch, even("hastie"), 0.0, 0.02, "Adam", 3e-3)


@healthy("exam takes noise away", 500)
def _denoise() -> Training:
    """The noise that was added at any strength; most of it cannot be known."""
    x = even("swiss_roll")[0][:, [0, 2]]
    net, take, source = stack(3, 64, 64, 2, activation=nn.SiLU), rows((x, x), 96), seeded(100)

    def noised(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        t = torch.rand(len(a), 1, generator=source)
        noise = torch.randn(a.shape, generator=source)
        return torch.cat([(1 - t).sqrt() * a + t.sqrt() * noise, t], 1), noise, t

    def objective() -> Tensor:
        seen, noise, _ = noised(take()[0])
        return functional.mse_loss(net(seen), noise)

    def score() -> float:
        with torch.no_grad():
            seen, noise, _ = noised(x)
            return float(1 - functional.mse_loss(net(seen), noise))

    return drill(net, objective, by("Adam", 3e-3)(net.parameters()), score)


@healthy("exam solves an equation of motion", 600)
def _motion() -> Training:
    """A spring: no data at all, only what its second derivative must be."""
    net = stack(1, 32, 32, 1, activation=nn.Tanh)
    source = seeded(101)

    def objective() -> Tensor:
        t = (4 * torch.rand(64, 1, generator=source)).requires_grad_()
        y = net(t)
        v = torch.autograd.grad(y.sum(), t, create_graph=True)[0]
        a = torch.autograd.grad(v.sum(), t, create_graph=True)[0]
        zero = torch.zeros(1, 1, requires_grad=True)
        start = net(zero)
        pace = torch.autograd.grad(start.sum(), zero, create_graph=True)[0]
        return ((a + y) ** 2).mean() + 5 * ((start - 1) ** 2 + pace**2).mean()

    def score() -> float:
        t = torch.linspace(0, 4, 100)[:, None]
        with torch.no_grad():
            return float(1 - functional.mse_loss(net(t), t.cos()) / t.cos().var())

    return drill(net, objective, by("Adam", 1e-2)(net.parameters()), score)


@healthy("exam letters told by their neighbours", 500)
def _neighbours() -> Training:
    """Two tables of codes; true neighbours against letters drawn at random."""
    ids, _ = tongues(16)
    net = nn.ModuleDict({k: nn.Embedding(len(LETTERS), 12) for k in ("near", "here")})
    source = seeded(102)

    def pairs() -> tuple[Tensor, Tensor]:
        row = torch.randint(len(ids), (128,), generator=source)
        at = torch.randint(15, (128,), generator=source)
        return ids[row, at], ids[row, at + 1]

    def gap(a: Tensor, b: Tensor) -> Tensor:
        return (net["here"](a) * net["near"](b)).sum(1)

    def objective() -> Tensor:
        a, b = pairs()
        other = torch.randint(len(LETTERS), (128,), generator=source)
        return functional.softplus(-gap(a, b)).mean() + functional.softplus(gap(a, other)).mean()

    def score() -> float:
        with torch.no_grad():
            a, b = pairs()
            other = torch.randint(len(LETTERS), (128,), generator=source)
            return float((gap(a, b) > gap(a, other)).float().mean() * 2 - 1)

    return drill(net, objective, by("Adam", 2e-2)(net.parameters()), score)


@healthy("exam actor and critic", 500)
def _actor() -> Training:
    """A walk of nine places; the reward lies at the right end."""
    actor, critic = stack(9, 24, 2, activation=nn.Tanh), stack(9, 24, 1, activation=nn.Tanh)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], 1e-2)
    eye = torch.eye(9)
    state = torch.full((32,), 4)

    def walk(at: Tensor, move: Tensor) -> tuple[Tensor, Tensor]:
        there = (at + 2 * move - 1).clamp(0, 8)
        return there, (there == 8).float()

    def step(_: int) -> Tensor:
        nonlocal state
        policy = torch.distributions.Categorical(logits=actor(eye[state]))
        move = policy.sample()
        there, reward = walk(state, move)
        value = critic(eye[state])[:, 0]
        with torch.no_grad():
            wanted = reward + 0.9 * critic(eye[there])[:, 0] * (1 - reward)
        gain = (wanted - value).detach()
        loss = (
            -(policy.log_prob(move) * gain).mean()
            + functional.mse_loss(value, wanted)
            - 0.01 * policy.entropy().mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state = torch.where(there == 8, torch.randint(8, (32,)), there)
        return loss.detach()

    def score() -> float:
        with torch.no_grad():
            return float(actor(eye).softmax(1)[:8, 1].mean() * 2 - 1)

    return Training({"actor": actor, "critic": critic}, optimizer, step, score)


@healthy("exam pupil of a moving teacher", 400)
def _pupil() -> Training:
    """Few rows have an answer; for the others a slow copy gives one."""
    x, y = drawings()
    net = Excited()
    teacher = copy.deepcopy(net).requires_grad_(False)
    known, other = rows((x[:600], y[:600]), 32), rows((x, x), 48)

    def objective() -> Tensor:
        a, b = known()
        u = other()[0]
        with torch.no_grad():
            soft = teacher(u).softmax(1)
        near = functional.mse_loss(net(u + 0.2 * torch.randn(u.shape)).softmax(1), soft)
        return functional.cross_entropy(net(a), b) + near

    def after(_: int) -> None:
        for p, q in zip(teacher.parameters(), net.parameters(), strict=True):
            p.data.lerp_(q.data, 0.02)

    models = {"pupil": net, "teacher": teacher}
    make = by("SGD", 0.05, momentum=0.9)
    return drill(models, objective, make(net.parameters()), class_score(net, x, y), after=after)


@healthy("exam two networks that teach each other", 400)
def _mutual() -> Training:
    x, y = waves()
    one, two = Waves(12), Waves(20, activation=nn.Tanh)
    take = rows((x, y), 48)

    def objective() -> Tensor:
        a, b = take()
        p, q = one(a), two(a)
        own = functional.cross_entropy(p, b) + functional.cross_entropy(q, b)
        near = functional.kl_div(p.log_softmax(1), q.detach().softmax(1), reduction="batchmean")
        return own + 0.5 * near

    make = by("Adamax", 5e-3)
    both = [*one.parameters(), *two.parameters()]
    return drill({"one": one, "two": two}, objective, make(both), class_score(one, x, y))


@healthy("exam two views told apart from all others", 300)
def _views() -> Training:
    x = standard(tables("multilabel")[0])
    net, source = stack(20, 48, 12), seeded(103)

    def objective() -> Tensor:
        a = x[torch.randint(len(x), (64,), generator=source)]
        z = [functional.normalize(net(a + 0.3 * torch.randn(a.shape)), dim=1) for _ in range(2)]
        return functional.cross_entropy(z[0] @ z[1].T / 0.1, torch.arange(64))

    def score() -> float:
        with torch.no_grad():
            a = x[:200]
            z = [functional.normalize(net(a + 0.3 * torch.randn(a.shape)), dim=1) for _ in range(2)]
            return float(((z[0] @ z[1].T).argmax(1) == torch.arange(200)).float().mean())

    return drill(net, objective, by("AdamW", 3e-3)(net.parameters()), score)


@healthy("exam says what was hidden of a series", 400)
def _filled() -> Training:
    """A third of each window is set to zero, and is to be said."""
    x = series()[0][:, :, 0]
    net, source = stack(24, 64, 24), seeded(104)

    def hide(a: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.rand(a.shape, generator=source) < 0.33
        return a.masked_fill(hidden, 0.0), hidden

    take = rows((x, x), 48)

    def objective() -> Tensor:
        a, _ = take()
        seen, hidden = hide(a)
        return ((net(seen) - a) ** 2)[hidden].mean()

    def score() -> float:
        with torch.no_grad():
            seen, hidden = hide(x)
            return float(1 - ((net(seen) - x) ** 2)[hidden].mean() / x.var())

    return drill(net, objective, by("Adam", 3e-3)(net.parameters()), score)


simple(
    "exam from drawings to themselves",
    lambda: learn(
        stack(144, 64, 24, 64, 144, activation=nn.ELU),
        (sprites()[0].flatten(1), sprites()[0].flatten(1)),
        by("NAdam", 3e-3),
    ),
    400,
)

"""Drawn runs of kinds that fail in ways of their own: makers, codes, looks and routers."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.crossed.bench import MAKERS
from scoreboard.crossed.data import TASKS, even
from scoreboard.crossed.faults import Kind, own
from scoreboard.data import Batch
from scoreboard.generative import Experts, Siamese, experts, gan, ring, siamese
from scoreboard.loops import dice, update
from scoreboard.nets import mlp
from scoreboard.scenario import Training

MODES, STOP = "adversarial-mode-collapse", "missing-stop-gradient"
POSTERIOR, ROUTER = "posterior-collapse", "router-collapse"
RATES = {"adam": 3e-3, "adamw": 3e-3, "nadam": 2e-3, "rmsprop": 1e-3}


def rows(task: str, seed: int) -> Batch:
    """All rows of a task, standardised."""
    x, y = TASKS[task].make(seed % 1000)
    return even(x), y


# --- makers
def _heaps(count: int, seed: int) -> Tensor:
    at = torch.linspace(-2, 2, count)
    centres = torch.stack([at, at.square() / 3 - 0.7], 1)
    g = dice(seed)
    return centres[torch.randint(count, (2000,), generator=g)] + 0.08 * torch.randn(
        2000, 2, generator=g
    )


def _covered(made: Tensor, real: Tensor, reach: float) -> float:
    if not made.isfinite().all():
        return float("nan")
    return float((torch.cdist(real, made).amin(1) < reach).float().mean())


@own(MODES)
def maker(rng: random.Random) -> Kind:
    """A generator far quicker than its critic, and one that is not."""
    kind, modes = rng.choice(("ring", "heaps")), rng.choice((5, 6, 8))
    seed, noise = rng.randrange(10**6), rng.choice((4, 8))
    wide, saturating = rng.choice((32, 48, 64)), False
    rates = rng.choice(((2e-2, 1e-4), (1e-2, 5e-5), (3e-2, 3e-4)))
    act = rng.choice(("relu", "leaky", "silu"))

    def make(faulty: bool) -> Training:
        real = ring(modes=modes) if kind == "ring" else _heaps(modes, seed)
        g = mlp(noise, 2, wide, 2, act)
        run = gan(
            g,
            mlp(2, 1, 64, 2, "leaky"),
            real,
            rates if faulty else (1e-3, 2e-3),
            noise=noise,
            saturating=saturating,
        )

        def score() -> float:
            g.eval()
            with torch.no_grad():
                return _covered(g(torch.randn(600, noise, generator=dice(seed))), real[:500], 0.25)

        run.score = score
        return run

    return Kind(
        says=f"maker of {modes} {kind} at {rates[0]:g} against {rates[1]:g}", make=make, steps=600
    )


@own(MODES)
def many_turns(rng: random.Random) -> Kind:
    """A generator that is trained many times to its critic's once, by least squares or hinge."""
    modes, seed, noise = rng.choice((5, 6, 7)), rng.randrange(10**6), rng.choice((3, 6))
    turns, hinge = rng.choice((6, 8, 10)), rng.random() < 0.5
    opt, act = rng.choice(("adam", "rmsprop")), rng.choice(("relu", "leaky", "tanh"))

    def make(faulty: bool) -> Training:
        real, g = _heaps(modes, seed), dice(seed)
        made, critic = mlp(noise, 2, 48, 2, act), mlp(2, 1, 64, 2, "leaky")
        settings = {"betas": (0.5, 0.9)} if opt == "adam" else {}
        one = MAKERS[opt](made.parameters(), lr=3e-3 if faulty else 1e-3, **settings)
        two = MAKERS[opt](critic.parameters(), lr=5e-4 if faulty else 2e-3, **settings)

        def judged(x: Tensor, sign: float) -> Tensor:
            if hinge:
                return functional.relu(1 - sign * critic(x)).mean()
            return (critic(x) - sign).square().mean()

        def fake() -> Tensor:
            return made(torch.randn(64, noise, generator=g))

        def step(_: int) -> Tensor:
            some = real[torch.randint(len(real), (64,), generator=g)]
            update(two, judged(some, 1.0) + judged(fake().detach(), -1.0))
            for _ in range(turns if faulty else 1):
                value = update(
                    one, -critic(fake()).mean() if hinge else (critic(fake()) - 1).square().mean()
                )
            return value

        def score() -> float:
            with torch.no_grad():
                return _covered(made(torch.randn(600, noise, generator=dice(1))), real[:500], 0.25)

        return Training({"maker": made, "critic": critic}, [one, two], step, score)

    return Kind(says=f"maker of {modes} heaps by {opt}, {turns} turns to one", make=make, steps=500)


# --- codes
class Coder(nn.Module):
    """Mean and spread of a code, and back."""

    def __init__(self, wide: int, code: int, width: int, activation: str) -> None:
        super().__init__()
        self.encoder = mlp(wide, 2 * code, width, 1, activation)
        self.decoder = mlp(code, wide, width, 1, activation)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log = self.encoder(x).chunk(2, 1)
        log = log.clamp(-8, 8)
        return self.decoder(mean + (0.5 * log).exp() * torch.randn_like(mean)), mean, log


@own(POSTERIOR)
def priced_code(rng: random.Random) -> Kind:
    """A code whose divergence is priced far above what it tells, at once or from a step on."""
    task = rng.choice(("digits", "cancer", "wine", "code"))
    opt, code = rng.choice(list(RATES)), rng.choice((4, 6, 8, 12))
    act, width = rng.choice(("relu", "tanh", "gelu")), rng.choice((48, 64, 96))
    price, seed = rng.choice((20.0, 40.0, 80.0)), rng.randrange(10**6)
    late = rng.choice((0, 0, 150, 200))
    averaged = rng.random() < 0.3 and not late

    def make(faulty: bool) -> Training:
        x, _ = rows(task, seed)
        net, g = Coder(x.shape[1], code, width, act), dice(seed)
        optimizer = MAKERS[opt](net.parameters(), lr=RATES[opt])

        def step(k: int) -> Tensor:
            a = x[torch.randint(len(x), (64,), generator=g)]
            out, mean, log = net(a)
            far = (out - a).square().sum(1).mean()
            kl = 0.5 * (mean.square() + log.exp() - log - 1).sum(1).mean()
            if faulty and averaged:
                return update(optimizer, far / x.shape[1] / 2 + kl)
            return update(optimizer, far + (price if faulty and k >= late else 0.5) * kl)

        def score() -> float:
            with torch.no_grad():
                out = net.decoder(net(x)[1])
            return float(1 - (out - x).square().mean() / x.var(0).mean())

        return Training(net, optimizer, step, score)

    wrong = "an averaged error" if averaged else f"a price of {price:g}"
    return Kind(
        says=f"code of {task} by {opt} at {wrong}" + (f" from {late}" if late else ""),
        make=make,
        steps=450,
        onset=late or 1,
        learns=0.3,
    )


# --- looks
@own(STOP)
def two_looks(rng: random.Random) -> Kind:
    """Two noisy looks drawn together, with no stop."""
    task = rng.choice(("digits", "blobs", "cancer"))
    opt, rate = rng.choice((("momentum", 0.05), ("adam", 1e-3), ("adamw", 2e-3), ("sgd", 0.2)))
    width, latent, seed = rng.choice((48, 64, 96)), rng.choice((12, 16, 24)), rng.randrange(10**6)

    def make(faulty: bool) -> Training:
        x, _ = rows(task, seed)
        return siamese(Siamese(x.shape[1], width, latent), x, not faulty, opt=opt, lr=rate)

    return Kind(says=f"two looks at {task} by {opt}", make=make, steps=400)


@own(STOP)
def only_together(rng: random.Random) -> Kind:
    """Two looks are drawn together and nothing holds them apart."""
    task, opt = rng.choice(("digits", "blobs", "cancer")), rng.choice(("adam", "adamw", "rmsprop"))
    width, latent, seed = rng.choice((48, 64)), rng.choice((8, 16)), rng.randrange(10**6)

    def make(faulty: bool) -> Training:
        x, _ = rows(task, seed)
        net, g = mlp(x.shape[1], latent, width, 2), dice(seed)
        optimizer = MAKERS[opt](net.parameters(), lr=RATES[opt])

        def step(_: int) -> Tensor:
            a = x[torch.randint(len(x), (64,), generator=g)]
            one, two = (net(a + 0.3 * torch.randn(a.shape, generator=g)) for _ in range(2))
            near = (one - two).square().mean()
            if faulty:
                return update(optimizer, near)
            apart = sum(functional.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() for z in (one, two))
            return update(optimizer, near + apart)

        def score() -> float:
            with torch.no_grad():
                return min(1.0, float(net(x).std(0).mean()))

        return Training(net, optimizer, step, score)

    return Kind(says=f"looks at {task} only drawn together by {opt}", make=make, steps=350)


# --- routers
@own(ROUTER)
def favourite(rng: random.Random) -> Kind:
    """A router that begins with a favourite, or is paid to ask only one."""
    task = rng.choice(("digits", "blobs", "friedman", "waves", "arm"))
    opt, count = rng.choice(list(RATES)), rng.choice((3, 4, 6))
    width, seed = rng.choice((24, 32, 48)), rng.randrange(10**6)
    paid = rng.random() < 0.4
    favour, held = rng.choice((6.0, 8.0, 12.0)), rng.randrange(3)

    def make(faulty: bool) -> Training:
        x, y = rows(task, seed)
        net, g = Experts(x.shape[1], TASKS[task].outputs, count, width), dice(seed)
        if faulty and not paid:
            with torch.no_grad():
                net.router.bias[held] += favour

        def draw() -> Batch:
            index = torch.randint(len(x), (64,), generator=g)
            return x[index], y[index]

        balance = (-1.0 if paid else 0.0) if faulty else 0.1
        return experts(net, draw, x, balance, opt=opt if opt != "nadam" else "adam", lr=RATES[opt])

    wrong = "paid to ask one" if paid else f"a favourite by {favour:g}"
    return Kind(says=f"{count} experts on {task} by {opt}, {wrong}", make=make, steps=400)


@own(ROUTER)
def soft_favourite(rng: random.Random) -> Kind:
    """Experts mixed by weight, where the gate turns to one and stays."""
    task, count = rng.choice(("digits", "blobs", "gratings")), rng.choice((4, 5))
    opt, seed = rng.choice(("adam", "adamw")), rng.randrange(10**6)
    favour = rng.choice((10.0, 15.0))

    def make(faulty: bool) -> Training:
        x, y = rows(task, seed)
        x = x.flatten(1)
        net = Experts(x.shape[1], TASKS[task].outputs, count)
        g = dice(seed)
        optimizer = MAKERS[opt](net.parameters(), lr=3e-3)
        if faulty:
            with torch.no_grad():
                net.router.bias[1] += favour

        def step(_: int) -> Tensor:
            index = torch.randint(len(x), (64,), generator=g)
            loss = functional.cross_entropy(net(x[index]), y[index])
            return update(optimizer, loss + (0.0 if faulty else 0.1) * net.balance)

        def score() -> float:
            with torch.no_grad():
                net(x)
            share = net.shares[net.shares > 0]
            return float(-(share * share.log()).sum() / torch.tensor(float(count)).log())

        return Training(net, optimizer, step, score)

    return Kind(says=f"{count} experts on {task} by {opt}, gate bent", make=make, steps=350)

"""Odd unread failures of makers, codes, twins and routers."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import Feed, adam, digits, explained, fit, mlp, neighbours, table
from scoreboard.generative import Experts, experts
from scoreboard.loops import dice, update
from scoreboard.scenario import Runs, Training
from scoreboard.unread.parts import flat_digits, plant

RUNS = Runs(__name__)
broken = RUNS.broken

MODES, STOP = "adversarial-mode-collapse", "missing-stop-gradient"
POSTERIOR, ROUTER = "posterior-collapse", "router-collapse"


# --- makers against critics
def covered(made: Tensor, wanted: Tensor, reach: float) -> float:
    if not made.isfinite().all():
        return float("nan")
    return float((torch.cdist(wanted, made).min(1)[0] < reach).float().mean())


def duel(fast: float, slow: float, turns: int = 1) -> Training:
    """Seven heaps in a row along a bow, least squares."""
    g = dice(881)
    at = torch.linspace(-3, 3, 7)
    heaps = torch.stack([at / 2, at.square() / 6 - 0.7], 1)
    real = heaps[torch.randint(7, (1500,), generator=g)] + 0.05 * torch.randn(1500, 2, generator=g)
    maker, critic = mlp(3, 48, 48, 2, act=nn.LeakyReLU), mlp(2, 64, 64, 1, act=nn.LeakyReLU)
    one, two = adam(maker, fast, betas=(0.5, 0.9)), adam(critic, slow, betas=(0.5, 0.9))

    def step(_: int) -> Tensor:
        some = real[torch.randint(1500, (96,), generator=g)]
        fake = maker(torch.randn(96, 3, generator=g)).detach()
        told = (critic(some) - 1).square().mean() + critic(fake).square().mean()
        update(two, told)
        for _ in range(turns):
            value = update(
                one, (critic(maker(torch.randn(96, 3, generator=g))) - 1).square().mean()
            )
        return value

    def score() -> float:
        with torch.no_grad():
            return covered(maker(torch.randn(500, 3, generator=dice(882))), real[:500], 0.15)

    return Training({"maker": maker, "critic": critic}, [one, two], step, score)


broken(
    "unread maker of a bow forty times as quick as its critic",
    MODES,
    lambda rates: duel(*rates),
    (1e-2, 1e-4),
    (1e-3, 3e-3),
    steps=500,
    sudden=False,
)
broken(
    "unread maker of a bow with eight turns to one",
    MODES,
    lambda turns: duel(2e-3, 1e-3 if turns > 1 else 3e-3, turns),
    8,
    1,
    steps=450,
    sudden=False,
)


# --- two looks
def looks(kind: str) -> Training:
    """Student, guesser and teacher over shifted digits."""
    (x, y), asked = digits()
    body = mlp(64, 64, 24)
    guess, teacher = mlp(24, 32, 24), copy.deepcopy(body)
    take, g = Feed(x, batch=64), dice(883)
    held = [*body.parameters(), *guess.parameters()]
    if kind == "taught":
        held += list(teacher.parameters())

    def look(a: Tensor) -> Tensor:
        right = int(torch.randint(-1, 2, (), generator=g))
        return (a.roll(right, 3) + 0.4 * torch.randn(a.shape, generator=g)).flatten(1)

    def loss() -> Tensor:
        (a,) = take()
        one, two = look(a), look(a)
        if kind == "near":
            return (body(one) - body(two)).square().sum(1).mean()
        if kind == "kept":
            z = torch.cat([body(one), body(two)])
            near = (z[:64] - z[64:]).square().sum(1).mean()
            return 0.2 * near + functional.relu(1 - (z.var(0) + 1e-4).sqrt()).sum()
        aim = teacher(two)
        if kind == "stopped":
            aim = aim.detach()
        said = guess(body(one))
        return (said - aim).square().sum(1).mean()

    def after(_: int) -> None:
        if kind == "stopped":
            with torch.no_grad():
                for slow, quick in zip(teacher.parameters(), body.parameters(), strict=True):
                    slow.lerp_(quick, 0.05)

    def score() -> float:
        def code(v: Tensor) -> Tensor:
            z = body(v.flatten(1))
            return z + 0.05 * torch.randn(z.shape, generator=dice(884))

        return neighbours(code, (x, y), asked)

    nets = {"body": body, "guess": guess, "teacher": teacher}
    return fit(nets, adam(held, 3e-3), loss, score, after=after)


broken(
    "unread looks drawn together and nothing else",
    STOP,
    looks,
    "near",
    "kept",
    steps=350,
    sudden=False,
)
broken(
    "unread teacher that is pulled along with its student",
    STOP,
    looks,
    "taught",
    "stopped",
    steps=400,
    sudden=False,
)


# --- codes
def coded(price: float, late: int = 0, rows: str = "digits") -> Training:
    """A mean and a spread for each row; the price may come late."""
    x, asked = (d[0] for d in (flat_digits() if rows == "digits" else plant()))
    wide = x.shape[1]
    coder, maker, take, count = mlp(wide, 64, 12), mlp(6, 64, wide), Feed(x, batch=64), [0]

    def loss() -> Tensor:
        count[0] += 1
        (a,) = take()
        mean, log = coder(a).chunk(2, 1)
        out = maker(mean + (0.5 * log).exp() * torch.randn_like(mean))
        kl = 0.5 * (mean**2 + log.exp() - log - 1).sum(1).mean()
        return (out - a).square().sum(1).mean() + (price if count[0] > late else 1.0) * kl

    def score() -> float:
        with torch.no_grad():
            return explained(maker(coder(asked)[:, :6]), asked)

    both = nn.ModuleDict({"coder": coder, "maker": maker})
    return fit(both, adam(both, 3e-3), loss, score)


broken(
    "unread digits in a code at sixty times its price",
    POSTERIOR,
    coded,
    60.0,
    1.0,
    steps=300,
    sudden=False,
)
broken(
    "unread digits whose code is priced out from 150",
    POSTERIOR,
    lambda price: coded(price, 150),
    80.0,
    1.0,
    steps=350,
    onset=150,
    sudden=False,
)


# --- who is asked
def routed(balance: float, favour: float) -> Training:
    (x, y), _ = table("kinds")
    net, take = Experts(20, 4), Feed(x, y, batch=64)
    with torch.no_grad():
        net.router.bias[2] += favour

    def draw() -> tuple[Tensor, Tensor]:
        a, b = take()
        return a, b

    return experts(net, draw, x, balance)


broken(
    "unread router that begins with a favourite",
    ROUTER,
    lambda s: routed(*s),
    (0.0, 12.0),
    (0.1, 0.0),
    steps=300,
    sudden=False,
)
broken(
    "unread router paid to ask only one",
    ROUTER,
    lambda pay: routed(pay, 0.0),
    -1.0,
    0.1,
    steps=300,
    sudden=False,
)

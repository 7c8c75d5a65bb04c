"""Odd unread runs that learn: makers of things, and codes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from scoreboard.blind.parts import Feed, adam, apart, fit, mlp
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training
from scoreboard.unread.parts import cloth

RUNS = Runs(__name__)
healthy = RUNS.healthy


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(2 * x)


def spiral(count: int, g: torch.Generator) -> Tensor:
    """Two arms that wind around each other."""
    turn = 0.5 + 2.5 * math.pi * torch.rand(count, 1, generator=g).sqrt()
    arm = torch.randint(2, (count, 1), generator=g) * math.pi
    points = torch.cat([(turn + arm).cos(), (turn + arm).sin()], 1) * turn / 4
    return points + 0.05 * torch.randn(count, 2, generator=g)


def like(make: Callable[[], Tensor], wanted: Tensor) -> Callable[[], float]:
    """1 = the made points lie as the true ones do, 0 = as far off as one heap in the middle."""

    def score() -> float:
        with torch.no_grad():
            made = make()
            heap = wanted.mean(0) + 0.01 * torch.randn(wanted.shape, generator=dice(951))
            return 1 - apart(made, wanted) / apart(heap, wanted)

    return score


@healthy("unread straight ways from noise to a spiral", 350)
def straight() -> Training:
    net, g = mlp(3, 96, 96, 2, act=nn.SiLU), dice(952)

    def loss() -> Tensor:
        x, z, t = spiral(256, g), torch.randn(256, 2, generator=g), torch.rand(256, 1, generator=g)
        return functional.mse_loss(net(torch.cat([t * x + (1 - t) * z, t], 1)), x - z)

    def make() -> Tensor:
        x = torch.randn(500, 2, generator=dice(953))
        for k in range(25):
            x = x + net(torch.cat([x, torch.full((500, 1), k / 25)], 1)) / 25
        return x

    return fit(net, adam(net, 3e-3), loss, like(make, spiral(500, dice(954))))


@healthy("unread noise foretold in pictures of cloth (ddpm)", 250)
def ddpm() -> Training:
    (x, _), (asked, _) = cloth(noise=0.1)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time = nn.Linear(8, 24)
            self.down = nn.Conv2d(3, 24, 3, padding=1)
            self.mid = nn.Sequential(
                nn.GroupNorm(4, 24), nn.SiLU(), nn.Conv2d(24, 24, 5, padding=2)
            )
            self.up = nn.Conv2d(24, 3, 3, padding=1)
            nn.init.zeros_(self.up.weight)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            told = self.time((t[:, None] * 2.0 ** torch.arange(8)).sin())[:, :, None, None]
            h = self.down(x) + told
            return self.up(functional.silu(h + self.mid(h)))

    net, g, take = Net(), dice(955), Feed(x, batch=32)

    def error(x: Tensor, g: torch.Generator) -> Tensor:
        t, z = torch.rand(len(x), generator=g), torch.randn(x.shape, generator=g)
        keep = (t * math.pi / 2).cos()[:, None, None, None]
        return functional.mse_loss(net(keep * x + (1 - keep**2).sqrt() * z, t), z)

    def score() -> float:
        with torch.no_grad():
            return 1 - float(error(asked, dice(956)))

    return fit(net, adam(net, 3e-3), lambda: error(take()[0], g), score)


def duel(
    g_loss: Callable[[Tensor], Tensor],
    d_loss: Callable[[Tensor, Tensor], Tensor],
    critic: nn.Module,
    betas: tuple[float, float] = (0.5, 0.9),
    rounds: int = 1,
) -> Training:
    """A maker of five heaps in a cross against a critic."""
    maker, g = mlp(4, 48, 48, 2), dice(957)
    heaps = torch.tensor([[0.0, 0], [2, 0], [-2, 0], [0, 2], [0, -2]]) / 1.2
    om, oc = adam(maker, 2e-3, betas=betas), adam(critic, 2e-3, betas=betas)

    def real(count: int, g: torch.Generator) -> Tensor:
        return heaps[torch.randint(5, (count,), generator=g)] + 0.12 * torch.randn(
            count, 2, generator=g
        )

    def step(_: int) -> Tensor:
        for _ in range(rounds):
            fake = maker(torch.randn(128, 4, generator=g)).detach()
            oc.zero_grad()
            d_loss(critic(real(128, g)), critic(fake)).backward()
            oc.step()
        om.zero_grad()
        value = g_loss(critic(maker(torch.randn(128, 4, generator=g))))
        value.backward()
        om.step()
        return value.detach()

    make = like(lambda: maker(torch.randn(500, 4, generator=dice(958))), real(500, dice(959)))
    return Training({"maker": maker, "critic": critic}, [om, oc], step, make)


def bound(*widths: int) -> nn.Sequential:
    net = mlp(*widths, act=lambda: nn.LeakyReLU(0.2))
    return nn.Sequential(
        *(parametrizations.spectral_norm(m) if isinstance(m, nn.Linear) else m for m in net)
    )


RUNS.simple(
    "unread maker against a bound critic by hinges",
    lambda: duel(
        lambda f: -f.mean(),
        lambda r, f: (1 - r).relu().mean() + (1 + f).relu().mean(),
        bound(2, 64, 64, 1),
        rounds=2,
    ),
    400,
)
RUNS.simple(
    "unread maker against a critic of squares",
    lambda: duel(
        lambda f: (f - 1).square().mean(),
        lambda r, f: (r - 1).square().mean() + f.square().mean(),
        mlp(2, 64, 64, 1, act=lambda: nn.LeakyReLU(0.2)),
    ),
    500,
)
RUNS.simple(
    "unread maker against a critic that compares (rsgan)",
    lambda: duel(
        lambda f: functional.softplus(-f).mean(),
        lambda r, f: (
            functional.softplus(f.mean() - r).mean() + functional.softplus(f - r.mean()).mean()
        ),
        bound(2, 64, 64, 1),
        rounds=2,
    ),
    500,
)


@healthy("unread halves bent by each other in turn (real nvp)", 350)
def flow() -> Training:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(mlp(1, 48, 2, act=nn.Tanh) for _ in range(8))
            for part in self.parts:
                for weight in list(part.parameters())[-2:]:
                    nn.init.zeros_(weight)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            grown = torch.zeros(len(x))
            for part in self.parts:
                a, b = x[:, :1], x[:, 1:]
                log, move = part(a).chunk(2, 1)
                x = torch.cat([b * log.tanh().exp() + move, a], 1)
                grown = grown + log.tanh()[:, 0]
            return x, grown

    net, g = Net(), dice(960)

    def surprise(x: Tensor) -> Tensor:
        z, grown = net(x)
        return (0.5 * z.square().sum(1) - grown).mean()

    def score() -> float:
        x = spiral(800, dice(961))
        with torch.no_grad():
            plain = 1 + 0.5 * torch.logdet(torch.cov(x.T))
            return float(plain - surprise(x))

    return fit(net, adam(net, 5e-3), lambda: surprise(spiral(256, g)), score, clip=5.0)


@healthy("unread low where points are, high elsewhere", 450)
def energy() -> Training:
    net, g = mlp(2, 96, 96, 1, act=Sine), dice(964)

    def loss() -> Tensor:
        x, wild = spiral(128, g), 1.5 * torch.randn(128, 2, generator=g)
        odds = torch.cat([-net(x), -net(wild)])
        return functional.binary_cross_entropy_with_logits(
            odds, torch.cat([torch.ones(128, 1), torch.zeros(128, 1)])
        )

    def score() -> float:
        x, wild = spiral(400, dice(965)), 1.5 * torch.randn(400, 2, generator=dice(966))
        with torch.no_grad():
            return 2 * float((net(x) < net(wild).flatten()).float().mean()) - 1

    return fit(net, adam(net, 3e-3), loss, score)

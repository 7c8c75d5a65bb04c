"""Sealed runs that learn: play, codes, noise, equations and routes."""

from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.loops import dice, hits, update, worth
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import gratings, scans, sky, spirals, table
from scoreboard.sealed.failing_kinds import Doubt, beta, regions, starsky
from scoreboard.sealed.loops import Loader, by, routine
from scoreboard.sealed.nets import lenet, plain
from scoreboard.sealed.seqs import Transformer

RUNS = Runs(__name__)
healthy, simple = RUNS.healthy, RUNS.simple

# --- play
simple("sealed five heaps made in play", lambda: starsky(5e-4, 2e-3, 1), 350)


@healthy("sealed critic whose weights are kept small", 300)
def clipped_critic() -> Training:
    """The mean of moons' places, by a critic that is clipped (Wasserstein)."""
    g = dice(171)
    x = spirals()[0]
    maker, critic = plain(2, 32, 32, 2), plain(2, 48, 48, 1, act=nn.LeakyReLU)
    tools = [torch.optim.RMSprop(net.parameters(), lr=1e-3) for net in (maker, critic)]

    def step(k: int) -> Tensor:
        for _ in range(3):
            real = x[torch.randint(len(x), (64,), generator=g)]
            made = maker(torch.randn(64, 2, generator=g)).detach()
            update(tools[1], critic(made).mean() - critic(real).mean())
            with torch.no_grad():
                for p in critic.parameters():
                    p.clamp_(-0.1, 0.1)
        return update(tools[0], -critic(maker(torch.randn(64, 2, generator=g))).mean())

    def score() -> float:
        with torch.no_grad():
            made = maker(torch.randn(400, 2, generator=g))
        return float(1 - torch.cdist(made, x).min(1).values.mean())

    return Training({"maker": maker, "critic": critic}, tools, step, score)


# --- codes
@healthy("sealed codes whose prior comes little by little", 350)
def annealed() -> Training:
    reads = nn.Sequential(nn.Flatten(), plain(64, 48, 16, act=nn.SiLU))
    writes = nn.Sequential(plain(8, 48, 64, act=nn.SiLU), nn.Unflatten(1, (1, 8, 8)))
    return beta(Doubt(reads, writes), scans()[0], lambda k: min(1.0, k / 200), 3e-3)


@healthy("sealed holes filled in", 300)
def filled() -> Training:
    """A coder of pictures that are half covered."""
    x = scans()[0].flatten(1)
    g = dice(172)
    take = Loader((x, x), 48)

    def draw() -> tuple[Tensor, Tensor]:
        a, b = take()
        return a * (torch.rand(a.shape, generator=g) < 0.5), b

    return routine(plain(64, 64, 32, 64, 64, act=nn.GELU), (x, x), by("Adam", 3e-3), draw=draw)


class Coupled(nn.Module):
    """Half of the columns move the other half, and back again (a flow)."""

    def __init__(self) -> None:
        super().__init__()
        self.nets = nn.ModuleList(plain(1, 32, 2, act=nn.Tanh) for _ in range(6))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        whole = torch.zeros(len(x))
        for k, net in enumerate(self.nets):
            a, b = (x[:, :1], x[:, 1:]) if k % 2 else (x[:, 1:], x[:, :1])
            grow, move = net(a).chunk(2, 1)
            b = b * torch.tanh(grow).exp() + move
            whole = whole + torch.tanh(grow)[:, 0]
            x = torch.cat([a, b], 1) if k % 2 else torch.cat([b, a], 1)
        return x, whole


@healthy("sealed points bent to a bell and back", 400)
def flow() -> Training:
    x = spirals()[0]
    net = Coupled()
    take = Loader((x, x), 64)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

    def surprise(rows: Tensor) -> Tensor:
        z, whole = net(rows)
        return (0.5 * z.square().sum(1) + log(2 * pi) - whole).mean()

    def step(k: int) -> Tensor:
        return update(optimizer, surprise(take()[0]))

    def score() -> float:
        with torch.no_grad():
            plain_ = 0.5 * float(torch.logdet(torch.cov(x.T))) + log(2 * pi) + 1
            return plain_ - float(surprise(x))

    return Training(net, optimizer, step, score)


# --- noise
@healthy("sealed way out of the noise for heaps", 500)
def scored() -> Training:
    """The slope of the logarithm of the density, at several loudnesses."""
    x, g = sky(), dice(173)
    net = plain(3, 64, 64, 2, act=nn.SiLU)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

    def rows(count: int) -> tuple[Tensor, Tensor]:
        real = x[torch.randint(len(x), (count,), generator=g)]
        loud = (torch.rand(count, 1, generator=g) * 3 - 2).exp()
        noise = torch.randn(count, 2, generator=g)
        return torch.cat([real + loud * noise, loud.log()], 1), noise

    def step(k: int) -> Tensor:
        seen, noise = rows(64)
        return update(optimizer, functional.mse_loss(net(seen), noise))

    def score() -> float:
        seen, noise = rows(2000)
        with torch.no_grad():
            return hits(net(seen), noise)

    return Training(net, optimizer, step, score)


# --- equations
@healthy("sealed warmth along a rod", 400)
def rod() -> Training:
    """u'' = -f with both ends at nought; no value of u is ever shown."""
    g = dice(183)
    net = plain(1, 32, 32, 1, act=nn.Tanh)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)

    def u(x: Tensor) -> Tensor:
        return x * (1 - x) * net(x)

    def step(k: int) -> Tensor:
        x = torch.rand(48, 1, generator=g).requires_grad_()
        (du,) = torch.autograd.grad(u(x).sum(), x, create_graph=True)
        (ddu,) = torch.autograd.grad(du.sum(), x, create_graph=True)
        return update(optimizer, (ddu + 9 * pi**2 * torch.sin(3 * pi * x)).square().mean() / 100)

    def score() -> float:
        x = torch.linspace(0, 1, 60)[:, None]
        with torch.no_grad():
            return hits(u(x), torch.sin(3 * pi * x))

    return Training(net, optimizer, step, score)


@healthy("sealed energy from forces", 350)
def forces() -> Training:
    """What is asked for is the slope of the answer."""
    g = dice(184)
    x = 2 * torch.rand(1200, 2, generator=g) - 1
    force = torch.stack([2 * x[:, 0] + x[:, 1], x[:, 0] + 3 * torch.cos(3 * x[:, 1])], 1)
    net = plain(2, 48, 48, 1, act=nn.SiLU)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    take = Loader((x, force), 48)

    def slope(rows: Tensor) -> Tensor:
        rows = rows.clone().requires_grad_()
        (out,) = torch.autograd.grad(net(rows).sum(), rows, create_graph=True)
        return out

    def step(k: int) -> Tensor:
        rows, aim = take()
        return update(optimizer, functional.mse_loss(slope(rows), aim))

    return Training(net, optimizer, step, lambda: hits(slope(x).detach(), force))


# --- routes, and depth that is left early
class TopTwo(nn.Module):
    """The two best of six; what is too even or too uneven costs something."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(6, 6)
        self.experts = nn.ModuleList(plain(6, 12, 1) for _ in range(6))
        self.load = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        scores = self.router(x)
        top, which = scores.topk(2, 1)
        share = functional.one_hot(which, 6).float().mean((0, 1))
        self.load = 6 * (share * scores.softmax(1).mean(0)).sum()
        outs = torch.cat([expert(x) for expert in self.experts], 1)
        return (top.softmax(1) * outs.gather(1, which)).sum(1, keepdim=True)


@healthy("sealed two of six specialists", 400)
def specialists() -> Training:
    net = TopTwo()
    return routine(net, regions(6, 185), by("Adam", 5e-3), batch=64, extra=lambda: 0.01 * net.load)


@healthy("sealed layers left out at random", 250)
def left_out() -> Training:
    """Six ways round; each block is skipped now and then (stochastic depth)."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = nn.Linear(16, 32), nn.Linear(32, 5)
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 32))
                for _ in range(6)
            )

        def forward(self, x: Tensor) -> Tensor:
            x = self.into(x)
            for k, block in enumerate(self.blocks):
                if not self.training or float(torch.rand(())) > 0.08 * k:
                    x = x + block(x)
            out: Tensor = self.out(x)
            return out

    return routine(Net(), table("gases"), by("AdamW", 2e-3))


@healthy("sealed answers after every layer", 250)
def early() -> Training:
    """Three heads at three depths, in one sum; the last is judged."""
    x, y = scans()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(a, 48) for a in (64, 48, 48))
            self.heads = nn.ModuleList(nn.Linear(48, 10) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            outs = []
            for layer, head in zip(self.layers, self.heads, strict=True):
                x = torch.relu(layer(x))
                outs.append(head(x))
            return torch.stack(outs, 1)

    net = Net()

    def loss(out: Tensor, b: Tensor) -> Tensor:
        return functional.cross_entropy(out.flatten(0, 1), b.repeat_interleave(3))

    flat = x.flatten(1)
    return routine(net, (flat, y), by("Adam", 2e-3), loss=loss,
                   score=worth(lambda rows: net(rows)[:, 2], flat, y))  # fmt: skip


@healthy("sealed pupil of a great network", 300)
def distilled() -> Training:
    """Soft answers of a teacher that stays as it is."""
    x, y = gratings()
    great, small = lenet(6, 12), nn.Sequential(nn.Flatten(), plain(144, 24, 6))
    ready = torch.optim.Adam(great.parameters(), lr=3e-3)
    take = Loader((x, y), 32)
    for _ in range(150):
        a, b = take()
        update(ready, functional.cross_entropy(great(a), b))
    great.requires_grad_(False)
    optimizer = torch.optim.AdamW(small.parameters(), lr=3e-3)

    def step(k: int) -> Tensor:
        a, _ = take()
        soft = (great(a) / 3).softmax(1)
        return update(optimizer, 9 * functional.kl_div(
            (small(a) / 3).log_softmax(1), soft, reduction="batchmean"))  # fmt: skip

    return Training({"great": great, "small": small}, optimizer, step, worth(small, x, y))


@healthy("sealed words hidden and guessed", 350)
def hidden() -> Training:
    """A sixth of the words are masked; each is near the one before it (masked language model)."""
    g = dice(186)
    x = (torch.randint(24, (1500, 1), generator=g) + torch.randint(2, (1500, 14), generator=g)
         .cumsum(1)) % 24  # fmt: skip
    net = Transformer(25, 24, width=32)
    take = Loader((x, x), 32)
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3)

    def masked(rows: Tensor) -> tuple[Tensor, Tensor]:
        gone = torch.rand(rows.shape, generator=g) < 0.16
        return net(rows.masked_fill(gone, 24))[gone], rows[gone]

    def step(k: int) -> Tensor:
        return update(optimizer, functional.cross_entropy(*masked(take()[0])))

    def score() -> float:
        with torch.no_grad():
            return hits(*masked(x[:400]))

    return Training(net, optimizer, step, score)


@healthy("sealed cells that grow a disc", 150)
def cells() -> Training:
    """The same small rule for every cell, again and again (a neural cellular automaton)."""
    line = torch.arange(12).float() - 5.5
    aim = ((line[:, None] ** 2 + line[None] ** 2) < 16).float()[None, None]
    rule = nn.Sequential(nn.Conv2d(4, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 4, 1))
    last = rule[2]
    assert isinstance(last, nn.Conv2d)
    nn.init.zeros_(last.weight)
    optimizer = torch.optim.Adam(rule.parameters(), lr=3e-3)

    def grown(rounds: int) -> Tensor:
        x = torch.zeros(4, 4, 12, 12)
        x[:, :, 5:7, 5:7] = 1
        for _ in range(rounds):
            alive = (torch.rand(4, 1, 12, 12) < 0.7).float()
            x = x + 0.5 * alive * rule(x)
        return x[:, :1]

    def step(k: int) -> Tensor:
        return update(optimizer, functional.mse_loss(grown(10), aim.expand(4, -1, -1, -1)))

    def score() -> float:
        with torch.no_grad():
            return hits(grown(10).flatten(1).T, aim.expand(4, -1, -1, -1).flatten(1).T)

    return Training(rule, optimizer, step, score)

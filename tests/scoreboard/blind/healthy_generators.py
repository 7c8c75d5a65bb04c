"""Blind runs that learn: generators, coders and densities."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim import lr_scheduler

from scoreboard.blind.parts import Feed, adam, apart, digits, explained, fit, hits, mlp
from scoreboard.loops import dice, update
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy = RUNS.healthy


def ring(count: int, g: torch.Generator, wide: float = 0.15) -> Tensor:
    """Eight heaps on a ring."""
    angle = torch.randint(8, (count,), generator=g) * math.pi / 4
    at = 1.5 * torch.stack([angle.cos(), angle.sin()], 1)
    return at + wide * torch.randn(count, 2, generator=g)


def crescents(count: int, g: torch.Generator) -> Tensor:
    """Two half moons, about nothing, spread about one."""
    t, side = math.pi * torch.rand(count, generator=g), torch.rand(count, generator=g) < 0.5
    x = torch.where(side, t.cos() - 0.5, 0.5 - t.cos())
    y = torch.where(side, t.sin() - 0.25, 0.25 - t.sin())
    return torch.stack([x, 1.6 * y], 1) * 1.2 + 0.08 * torch.randn(count, 2, generator=g)


def drawn_apart(points: Tensor, others: Tensor, rough: Tensor) -> float:
    """How much nearer to the truth than one heap of the same mean and spread."""
    return 1 - apart(points, others) / apart(rough, others)


def rough(truth: Tensor, g: torch.Generator) -> Tensor:
    """One heap of the same mean and spread."""
    return truth.mean(0) + truth.std(0) * torch.randn(truth.shape, generator=g)


@healthy("zeros and ones drawn by a dcgan", 400)
def dcgan() -> Training:
    """Strided convolutions, batch norms, one-sided smoothing; judged by spread and likeness."""
    (x, y), _ = digits()
    real = (x * 0.376 + 0.305) * 2 - 1
    real = real[(y == 0) | (y == 1)]
    make = nn.Sequential(
        nn.ConvTranspose2d(16, 32, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    tell = nn.Sequential(
        spectral_norm(nn.Conv2d(1, 16, 4, 2, 1)), nn.LeakyReLU(0.2), nn.Dropout(0.2),
        spectral_norm(nn.Conv2d(16, 32, 4, 2, 1)), nn.LeakyReLU(0.2), nn.Flatten(),
        spectral_norm(nn.Linear(128, 1)),
    )  # fmt: skip
    tools = [adam(make, 2e-3, betas=(0.5, 0.9)), adam(tell, 2e-3, betas=(0.5, 0.9))]
    take, g = Feed(real, batch=32), dice(61)
    bce = functional.binary_cross_entropy_with_logits

    def step(k: int) -> Tensor:
        (a,) = take()
        fake = make(torch.randn(32, 16, 1, 1, generator=g))
        loss = update(
            tools[1],
            bce(tell(a), torch.full((32, 1), 0.9)) + bce(tell(fake.detach()), torch.zeros(32, 1)),
        )
        update(tools[0], bce(tell(fake), torch.ones(32, 1)))
        return loss

    def score() -> float:
        """The least of: likeness to real digits, their spread, and both kinds being drawn."""
        names = y[(y == 0) | (y == 1)]
        with torch.no_grad():
            fake = make(torch.randn(280, 16, 1, 1, generator=dice(62))).flatten(1)
        truth = real.flatten(1)
        near, which = torch.cdist(fake, truth).min(1)
        noise = torch.cdist(rough(truth, dice(63)), truth).min(1).values.mean()
        best = torch.cdist(truth, truth).topk(2, largest=False).values[:, 1].mean()
        likeness = float((noise - near.mean()) / (noise - best))
        spread = float(torch.pdist(fake).mean() / torch.pdist(truth).mean())
        ones = float(names[which].float().mean())
        return min(likeness, spread, 2 * ones, 2 * (1 - ones))

    return Training({"generator": make, "discriminator": tell}, tools, step, score)


@healthy("a ring of heaps by wgan with a gradient penalty", 300)
def wgan() -> Training:
    """Three steps of the critic for one of the other; losses of any sign, and neither falls."""
    make, tell = mlp(4, 48, 48, 2), mlp(2, 64, 64, 1, act=lambda: nn.LeakyReLU(0.2))
    tools = [adam(make, 2e-3, betas=(0.5, 0.9)), adam(tell, 2e-3, betas=(0.5, 0.9))]
    g = dice(64)

    def step(k: int) -> Tensor:
        loss = torch.zeros(())
        for _ in range(3):
            real = ring(128, g)
            with torch.no_grad():
                fake = make(torch.randn(128, 4, generator=g))
            share = torch.rand(128, 1, generator=g)
            between = (share * real + (1 - share) * fake).requires_grad_()
            slope = torch.autograd.grad(tell(between).sum(), between, create_graph=True)[0]
            steep = (slope.norm(dim=1) - 1).square().mean()
            loss = update(tools[1], tell(fake).mean() - tell(real).mean() + 1.0 * steep)
        update(tools[0], -tell(make(torch.randn(128, 4, generator=g))).mean())
        return loss

    def score() -> float:
        with torch.no_grad():
            fake = make(torch.randn(800, 4, generator=dice(65)))
        truth = ring(800, dice(66))
        return drawn_apart(fake, truth, rough(truth, dice(67)))

    return Training({"generator": make, "critic": tell}, tools, step, score)


class Vae(nn.Module):
    """Mean and log variance of a code, and back."""

    def __init__(self, inputs: int = 64, codes: int = 6) -> None:
        super().__init__()
        self.fc1, self.fc21 = nn.Linear(inputs, 96), nn.Linear(96, codes)
        self.fc22 = nn.Linear(96, codes)
        self.fc3, self.fc4 = nn.Linear(codes, 96), nn.Linear(96, inputs)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = functional.silu(self.fc1(x))
        return self.fc21(h), self.fc22(h)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log = self.encode(x)
        z = mean + torch.randn_like(mean) * (0.5 * log).exp()
        return self.fc4(functional.silu(self.fc3(z))), mean, log


@healthy("digits by a variational coder", 400)
def variational() -> Training:
    """Summed over pixels as in the paper, so that losses are of the order of tens."""
    (x, _), (asked, _) = digits()
    x, asked = (x * 0.376 + 0.305).flatten(1), (asked * 0.376 + 0.305).flatten(1)
    net, take = Vae(), Feed(x, batch=64)

    def loss() -> Tensor:
        (a,) = take()
        out, mean, log = net(a)
        kl = -0.5 * (1 + log - mean**2 - log.exp()).sum()
        back = functional.binary_cross_entropy(torch.sigmoid(out), a, reduction="sum")
        return (back + 0.3 * kl) / len(a)

    def score() -> float:
        """Variance explained from the codes' means; with six codes, two thirds is near the end."""
        with torch.no_grad():
            mean, _ = net.encode(asked)
            back = torch.sigmoid(net.fc4(functional.silu(net.fc3(mean))))
            least = float(mean.var(0).min())
        return explained(back, asked) if least > 0.05 else -1.0

    return fit(net, adam(net, 2e-3), loss, score)


@healthy("patches by a coder with a book of codes", 400)
def quantised() -> Training:
    """VQ-VAE; entries that nobody has used for a while are put where a row's code lies."""
    g = dice(68)
    heaps = 1.2 * torch.randn(12, 8, generator=g)
    mixing = torch.randn(8, 24, generator=g) / 3

    def rows(count: int) -> Tensor:
        kind = torch.randint(12, (count,), generator=g)
        x = torch.tanh(heaps[kind] @ mixing)
        return x + 0.05 * torch.randn(x.shape, generator=g)

    reads, writes = mlp(24, 48, 8, act=nn.GELU), mlp(8, 48, 24, act=nn.GELU)
    book = nn.Embedding(16, 8)
    net = nn.ModuleDict({"encoder": reads, "codebook": book, "decoder": writes})
    used = torch.zeros(16)

    def nearest(z: Tensor) -> Tensor:
        return torch.cdist(z, book.weight).argmin(1)

    def loss() -> Tensor:
        x = rows(96)
        z = reads(x)
        name = nearest(z.detach())
        used.index_add_(0, name, torch.ones(len(name)))
        q = book(name)
        back = functional.mse_loss(writes(z + (q - z).detach()), x)
        return back + functional.mse_loss(q, z.detach()) + 0.25 * functional.mse_loss(z, q.detach())

    def after(k: int) -> None:
        if k % 20 == 0 and k <= 200:
            idle = used < 4
            with torch.no_grad():
                book.weight[idle] = reads(rows(int(idle.sum())))
            used.zero_()

    def score() -> float:
        """Variance explained, and all sixteen entries are to be of use."""
        x = rows(1000)
        with torch.no_grad():
            name = nearest(reads(x))
            back = writes(book(name))
        return explained(back, x) * len(name.unique()) / 16

    return fit(net, adam(net, 3e-3), loss, score, after=after)


@healthy("noise of any strength told from a ring of heaps", 500)
def diffusion() -> Training:
    """DDPM on points; the loss stops early, at what cannot be known, and the rest is learnt."""
    g, ticks = dice(69), 30
    keep = (1 - torch.linspace(1e-3, 0.25, ticks)).cumprod(0)
    net = mlp(2 + 16, 96, 96, 2, act=nn.SiLU)
    optimizer = adam(net, 4e-3)
    plan = lr_scheduler.CosineAnnealingLR(optimizer, 520)
    waves = torch.arange(1, 9) * math.pi / ticks / 2
    angle = torch.arange(6) * math.pi / 3
    heaps, wide = 1.4 * torch.stack([angle.cos(), angle.sin()], 1), 0.2

    def noise_in(x: Tensor, t: Tensor) -> Tensor:
        angle = t[:, None] * waves
        return net(torch.cat([x, angle.sin(), angle.cos()], 1))

    def noisy(count: int, h: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        x = heaps[torch.randint(6, (count,), generator=h)]
        x = x + wide * torch.randn(count, 2, generator=h)
        t, e = torch.randint(ticks, (count,), generator=h), torch.randn(count, 2, generator=h)
        share = keep[t][:, None]
        return share.sqrt() * x + (1 - share).sqrt() * e, t, e

    def loss() -> Tensor:
        x, t, e = noisy(256, g)
        return functional.mse_loss(noise_in(x, t), e)

    def score() -> float:
        """Variance explained of the best guess there is, worked out from the true density."""
        x, t, _ = noisy(3000, dice(70))
        share = keep[t][:, None]
        spread = share * wide**2 + 1 - share
        gap = share.sqrt()[..., None] * heaps - x[:, None]
        odds = (-gap.square().sum(2) / (2 * spread)).softmax(1)
        best = -(1 - share).sqrt() * (odds[..., None] * gap).sum(1) / spread
        with torch.no_grad():
            return explained(noise_in(x, t), best)

    return fit(net, optimizer, loss, score, plan=plan)


class Coupling(nn.Module):
    """Half of the columns moved and stretched by what the other half says."""

    def __init__(self, flip: bool, width: int = 32) -> None:
        super().__init__()
        self.flip, self.net = flip, mlp(1, width, width, 2, act=nn.Tanh)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = (x[:, 1:], x[:, :1]) if self.flip else (x[:, :1], x[:, 1:])
        log, shift = self.net(a).chunk(2, 1)
        log = 1.5 * torch.tanh(log)
        b = b * log.exp() + shift
        return torch.cat([b, a] if self.flip else [a, b], 1), log[:, 0]


@healthy("two moons by a flow", 400)
def flow() -> Training:
    """RealNVP by likelihood; the loss may well be below zero."""
    net, g = nn.ModuleList(Coupling(k % 2 == 1) for k in range(6)), dice(71)
    normal = 0.5 * math.log(2 * math.pi)

    def likely(x: Tensor) -> Tensor:
        whole = torch.zeros(len(x))
        for layer in net:
            x, log = layer(x)
            whole = whole + log
        return whole - (0.5 * x**2 + normal).sum(1)

    def loss() -> Tensor:
        return -likely(crescents(192, g)).mean()

    def score() -> float:
        """Nats gained over one normal heap; 1.2 of them is what a long training comes to."""
        x = crescents(2000, dice(72))
        heap = torch.distributions.MultivariateNormal(x.mean(0), torch.cov(x.T))
        with torch.no_grad():
            return float((likely(x) - heap.log_prob(x)).mean()) / 1.2

    return fit(net, adam(net, 4e-3), loss, score, clip=1.0)


@healthy("a slope of the density by noise taken off", 500)
def scores() -> Training:
    """Denoising score matching at one strength; the target's own noise keeps the loss high."""
    g, wide = dice(73), 0.35
    net = mlp(2, 64, 64, 2, act=nn.Softplus)
    heaps = torch.tensor([[1.2, 0.0], [-0.6, 1.04], [-0.6, -1.04]])

    def truth(x: Tensor) -> Tensor:
        spread = wide**2 + 0.1**2
        gap = heaps - x[:, None]
        share = (-(gap**2).sum(2) / (2 * spread)).softmax(1)
        return (share[..., None] * gap).sum(1) / spread

    def noisy(count: int, h: torch.Generator) -> tuple[Tensor, Tensor]:
        x = heaps[torch.randint(3, (count,), generator=h)]
        x = x + 0.1 * torch.randn(count, 2, generator=h)
        e = torch.randn(count, 2, generator=h)
        return x + wide * e, e

    def loss() -> Tensor:
        x, e = noisy(192, g)
        return functional.mse_loss(wide * net(x), -e)

    def score() -> float:
        x, _ = noisy(1500, dice(74))
        with torch.no_grad():
            return explained(net(x), truth(x))

    return fit(net, adam(net, 4e-3), loss, score)


@healthy("a coder that is asked for the kind too", 350)
def half_told() -> Training:
    """Digits coded with one label in ten known: two losses, one of them on a part of the batch."""
    (x, y), (asked, names) = digits()
    x, asked = x.flatten(1), asked.flatten(1)
    known = torch.rand(len(x), generator=dice(75)) < 0.1
    reads, writes, head = (
        mlp(64, 64, 20, act=nn.ELU),
        mlp(20, 64, 64, act=nn.ELU),
        nn.Linear(20, 10),
    )
    net = nn.ModuleDict({"encoder": reads, "decoder": writes, "head": head})
    take = Feed(x, y, known, batch=64)

    def loss() -> Tensor:
        a, b, told = take()
        z = reads(a + 0.3 * torch.randn_like(a))
        value = functional.mse_loss(writes(z), a)
        if told.any():
            value = value + 0.3 * functional.cross_entropy(head(z[told]), b[told])
        return value

    def score() -> float:
        with torch.no_grad():
            z = reads(asked)
            return min(hits(head(z).argmax(1), names), explained(writes(z), asked))

    return fit(net, adam(net, 2e-3), loss, score)

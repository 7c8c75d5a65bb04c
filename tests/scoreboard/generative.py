"""Networks that make, compress, compare or route: GAN, VAE, SimSiam, mixture of experts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.data import Batch
from scoreboard.loops import OPTIMIZERS
from scoreboard.nets import mlp
from scoreboard.scenario import Training


def spread(x: Tensor) -> Tensor:
    """Mean distance between the rows."""
    return torch.pdist(x).mean()


def ring(count: int = 4000, modes: int = 8) -> Tensor:
    """Clouds on a circle."""
    generator = torch.Generator().manual_seed(0)
    angle = torch.randint(modes, (count,), generator=generator) * (2 * torch.pi / modes)
    centre = torch.stack([angle.cos(), angle.sin()], 1)
    return centre + 0.05 * torch.randn(count, 2, generator=generator)


def gan(
    g: nn.Module,
    d: nn.Module,
    real: Tensor,
    rates: tuple[float, float],
    *,
    noise: int = 8,
    opt: str = "adam",
    saturating: bool = False,
) -> Training:
    """Scored by how far apart the samples lie, over how far the real ones do."""
    settings = {"betas": (0.5, 0.9)} if opt == "adam" else {}
    og = OPTIMIZERS[opt](g.parameters(), lr=rates[0], **settings)
    od = OPTIMIZERS[opt](d.parameters(), lr=rates[1], **settings)

    def bce(out: Tensor, value: float) -> Tensor:
        return functional.binary_cross_entropy_with_logits(out, torch.full_like(out, value))

    def step(_: int) -> Tensor:
        x = real[torch.randint(len(real), (64,))]
        fake = g(torch.randn(64, noise))
        loss_d = bce(d(x), 1.0) + bce(d(fake.detach()), 0.0)
        od.zero_grad()
        loss_d.backward()
        od.step()
        judged = d(fake)
        loss_g = -bce(judged, 0.0) if saturating else bce(judged, 1.0)
        og.zero_grad()
        loss_g.backward()
        og.step()
        return loss_g.detach()

    def score() -> float:
        g.eval()
        with torch.no_grad():
            fake, wanted = spread(g(torch.randn(400, noise))), spread(real[:400])
        ratio = float(fake / wanted)
        return min(ratio, 1 / ratio) if ratio > 0 else 0.0

    return Training({"generator": g, "discriminator": d}, [og, od], step, score)


class Vae(nn.Module):
    """Encoder, mean and log variance, decoder."""

    def __init__(self, inputs: int, latent: int = 8, width: int = 64, activation: str = "relu"):
        super().__init__()
        self.encoder = mlp(inputs, width, width, 1, activation)
        self.mean, self.log_variance = nn.Linear(width, latent), nn.Linear(width, latent)
        self.decoder = mlp(latent, inputs, width, 1, activation)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = functional.relu(self.encoder(x))
        mean, log_variance = self.mean(h), self.log_variance(h).clamp(-10, 10)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decoder(z), mean, log_variance


def vae(net: Vae, x: Tensor, beta: float, *, opt: str = "adam", lr: float = 3e-3) -> Training:
    """Scored by what the decoder makes of the means."""
    optimizer = OPTIMIZERS[opt](net.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(0)

    def step(_: int) -> Tensor:
        a = x[torch.randint(len(x), (64,), generator=generator)]
        out, mean, log_variance = net(a)
        made = functional.mse_loss(out, a, reduction="sum") / len(a)
        kl = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum(1).mean()
        loss = made + beta * kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    def score() -> float:
        net.eval()
        with torch.no_grad():
            mean = net(x)[1]
            return float(1 - functional.mse_loss(net.decoder(mean), x) / x.var(0).mean())

    return Training(net, optimizer, step, score)


class Siamese(nn.Module):
    """Encoder and predictor."""

    def __init__(self, inputs: int, width: int = 64, latent: int = 16, norm: bool = True) -> None:
        super().__init__()
        middle: nn.Module = nn.BatchNorm1d(width) if norm else nn.Identity()
        self.encoder = nn.Sequential(
            nn.Linear(inputs, width), middle, nn.ReLU(), nn.Linear(width, latent)
        )
        self.predictor = nn.Sequential(
            nn.Linear(latent, latent // 2), nn.ReLU(), nn.Linear(latent // 2, latent)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.encoder(x)
        return self.predictor(z), z


def siamese(
    net: Siamese, x: Tensor, stop: bool, *, opt: str = "momentum", lr: float = 0.05
) -> Training:
    """Two noisy views are drawn together; scored by the spread of the normalised codes."""
    optimizer = OPTIMIZERS[opt](net.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(0)

    def step(_: int) -> Tensor:
        a = x[torch.randint(len(x), (128,), generator=generator)]
        p1, z1 = net(a + 0.3 * torch.randn(a.shape))
        p2, z2 = net(a + 0.3 * torch.randn(a.shape))
        if stop:
            z1, z2 = z1.detach(), z2.detach()
        loss: Tensor = (
            -functional.cosine_similarity(p1, z2).mean()
            - functional.cosine_similarity(p2, z1).mean()
        ) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    def score() -> float:
        net.eval()
        with torch.no_grad():
            z = functional.normalize(net(x)[1], dim=1)
        return float(z.std(0).mean() * z.shape[1] ** 0.5)

    return Training(net, optimizer, step, score)


class Experts(nn.Module):
    """A router that sends each row to one expert, weighted by its probability."""

    def __init__(self, inputs: int, outputs: int, experts: int = 4, width: int = 32) -> None:
        super().__init__()
        self.router = nn.Linear(inputs, experts)
        self.choose = nn.Softmax(dim=-1)
        self.experts = nn.ModuleList(mlp(inputs, outputs, width, 1) for _ in range(experts))
        self.shares = torch.zeros(experts)

    def forward(self, x: Tensor) -> Tensor:
        p = self.choose(self.router(x))
        top, chosen = p.max(1)
        load = functional.one_hot(chosen, len(self.experts)).float().mean(0)
        self.balance = len(self.experts) * (load * p.mean(0)).sum()
        self.shares = load.detach()
        out = torch.stack([expert(x) for expert in self.experts], 1)
        return out[torch.arange(len(x)), chosen] * top[:, None]


def experts(
    net: Experts,
    draw: Callable[[], Batch],
    x: Tensor,
    balance: float,
    *,
    opt: str = "adam",
    lr: float = 3e-3,
) -> Training:
    """Scored by how evenly the rows are shared out: the entropy of the load, 1 where even."""
    optimizer = OPTIMIZERS[opt](net.parameters(), lr=lr)

    def step(_: int) -> Tensor:
        a, b = draw()
        out = net(a)
        fit = (
            functional.mse_loss(out, b)
            if b.is_floating_point()
            else (functional.cross_entropy(out, b))
        )
        loss = fit + balance * net.balance
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    def score() -> float:
        net.eval()
        with torch.no_grad():
            net(x)
        share = net.shares[net.shares > 0]
        entropy = -(share * share.log()).sum()
        return float(entropy / torch.tensor(float(len(net.experts))).log())

    return Training(net, optimizer, step, score)

"""Models that make data: adversarial, variational, by diffusion, flows and mixtures."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from matrix.kit import Kit, kind, of

BATCH = 6


def adversarial(kit: Kit) -> Tensor:
    """The discriminator's step, then the generator's."""
    maker, critic = kit.models["g"], kit.models["d"]
    first, second = kit.optimizers
    real, noise = torch.randn(BATCH, 8), torch.randn(BATCH, 4)
    first.zero_grad()
    ones, zeros = torch.ones(BATCH, 1), torch.zeros(BATCH, 1)
    score = F.binary_cross_entropy_with_logits
    loss = score(critic(real), ones) + score(critic(maker(noise).detach()), zeros)
    loss.backward()
    first.step()
    second.zero_grad()
    score(critic(maker(torch.randn(BATCH, 4))), ones).backward()
    second.step()
    return loss


@kind("gan")
def gan() -> Kit:
    maker = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 8))
    critic = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(16, 1))
    return Kit(
        models={"g": maker, "d": critic},
        optimizers=[torch.optim.Adam(each.parameters(), 1e-3) for each in (critic, maker)],
        loss=lambda: torch.zeros(()),
        advance=adversarial,
    )


@kind("gan, spectral norm, gradient penalty")
def wgan() -> Kit:
    maker = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 8))
    critic = nn.Sequential(
        spectral_norm(nn.Linear(8, 16)), nn.LeakyReLU(0.2), spectral_norm(nn.Linear(16, 1))
    )

    def advance(kit: Kit) -> Tensor:
        first, second = kit.optimizers
        real, fake = torch.randn(BATCH, 8), maker(torch.randn(BATCH, 4)).detach()
        mix = torch.lerp(real, fake, torch.rand(BATCH, 1)).requires_grad_()
        first.zero_grad()
        slope = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)[0]
        penalty = 10 * (slope.norm(dim=1) - 1).square().mean()
        loss = critic(fake).mean() - critic(real).mean() + penalty
        loss.backward()
        first.step()
        second.zero_grad()
        (-critic(maker(torch.randn(BATCH, 4))).mean()).backward()
        second.step()
        return loss

    return Kit(
        models={"g": maker, "d": critic},
        optimizers=[torch.optim.RMSprop(each.parameters(), 1e-3) for each in (critic, maker)],
        loss=lambda: torch.zeros(()),
        advance=advance,
    )


class VAE(nn.Module):
    """A tuple comes out: the image, the mean, the log-variance."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Linear(12, 16)
        self.mu, self.logvar = nn.Linear(16, 3), nn.Linear(16, 3)
        self.dec = nn.Linear(3, 16)
        self.out = nn.Linear(16, 12)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.enc(x))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return torch.sigmoid(self.out(F.relu(self.dec(z)))), mu, logvar


@kind("vae")
def vae() -> Kit:
    def loss(model: nn.Module) -> Tensor:
        x = torch.rand(BATCH, 12)
        made, mu, logvar = model(x)
        kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1).mean()
        return F.binary_cross_entropy(made, x) + 0.01 * kl

    return of(VAE(), loss)


class Parts(nn.Module):
    """An autoencoder whose root is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 12))


@kind("autoencoder, parts called by the loop")
def parts() -> Kit:
    def loss(model: Parts) -> Tensor:
        x = torch.randn(BATCH, 12)
        return F.mse_loss(model.decoder(model.encoder(x)), x)

    return of(Parts(), loss, rootless=True)


class VQVAE(nn.Module):
    """A book of codes, looked up by distance; straight-through gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(1, 8, 2, 2), nn.ReLU(), nn.Conv2d(8, 4, 1))
        self.codes = nn.Embedding(10, 4)
        self.dec = nn.Sequential(nn.ConvTranspose2d(4, 8, 2, 2), nn.ReLU(), nn.Conv2d(8, 1, 1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        z = self.enc(x).permute(0, 2, 3, 1)
        with torch.no_grad():
            chosen = torch.cdist(z.reshape(-1, 4), self.codes.weight).argmin(1)
        code = self.codes(chosen).view_as(z)
        commit = F.mse_loss(z, code.detach()) + F.mse_loss(code, z.detach())
        straight = z + (code - z).detach()
        return {"commit": commit, "image": self.dec(straight.permute(0, 3, 1, 2))}


@kind("vq-vae")
def vqvae() -> Kit:
    def loss(model: nn.Module) -> Tensor:
        x = torch.randn(BATCH, 1, 4, 4)
        out = model(x)
        return F.mse_loss(out["image"], x) + out["commit"]

    return of(VQVAE(), loss)


class Denoiser(nn.Module):
    """A diffusion U-Net: time embeddings, group norms, attention over pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Sequential(nn.Linear(8, 8), nn.SiLU(), nn.Linear(8, 8))
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.norm1, self.norm2, self.norm3 = (nn.GroupNorm(2, 8) for _ in range(3))
        self.conv1, self.conv2 = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.shift = nn.Linear(8, 8)
        self.down = nn.Conv2d(8, 8, 3, 2, 1)
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)
        self.up = nn.Conv2d(16, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x: Tensor, when: Tensor) -> Tensor:
        waves = when[:, None] * torch.exp(torch.arange(4) * -1.0)
        t = self.time(torch.cat([waves.sin(), waves.cos()], 1))
        x = self.stem(x)
        h = self.conv1(F.silu(self.norm1(x))) + self.shift(F.silu(t))[:, :, None, None]
        x = x + self.conv2(F.silu(self.norm2(h)))
        low = self.down(x)
        flat = self.norm3(low).flatten(2).transpose(1, 2)
        low = low + self.attn(flat, flat, flat, need_weights=False)[0].transpose(1, 2).view_as(low)
        wide = F.interpolate(low, scale_factor=2)
        return self.out(F.silu(self.up(torch.cat([x, wide], 1))))


@kind("diffusion u-net")
def diffusion() -> Kit:
    def loss(model: nn.Module) -> Tensor:
        x, noise, when = torch.randn(BATCH, 1, 4, 4), torch.randn(BATCH, 1, 4, 4), torch.rand(BATCH)
        keep = when.view(-1, 1, 1, 1)
        return F.mse_loss(model(keep.sqrt() * x + (1 - keep).sqrt() * noise, when * 10), noise)

    return of(Denoiser(), loss)


class Coupling(nn.Module):
    """Of RealNVP: half of the data scales and shifts the other half."""

    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.turned = turned
        self.net = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x.chunk(2, 1) if not self.turned else x.chunk(2, 1)[::-1]
        scale, shift = self.net(a).chunk(2, 1)
        scale = torch.tanh(scale)
        return torch.cat([a, b * scale.exp() + shift], 1), scale.sum(1)


class Flow(nn.Module):
    """Trained through `log_prob`, which is its forward too."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Coupling(bool(each % 2)) for each in range(3))

    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros(len(x))
        for layer in self.layers:
            x, moved = layer(x)
            total = total + moved
        return total - 0.5 * x.square().sum(1) - 2 * math.log(2 * math.pi)


@kind("normalising flow")
def flow() -> Kit:
    return of(Flow(), lambda model: -model(torch.randn(BATCH, 4) * 2).mean())


class MDN(nn.Module):
    """Mixture density: a distribution comes out, wrapped in a tuple of its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 16), nn.Tanh())
        self.pi, self.mu, self.sigma = (nn.Linear(16, 3) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.body(x)
        return F.log_softmax(self.pi(h), -1), self.mu(h), F.softplus(self.sigma(h)) + 1e-3


@kind("mixture density")
def mdn() -> Kit:
    def loss(model: nn.Module) -> Tensor:
        pi, mu, sigma = model(torch.randn(BATCH, 2))
        y = torch.randn(BATCH, 1)
        each = torch.distributions.Normal(mu, sigma).log_prob(y)
        return -(pi + each).logsumexp(1).mean()

    return of(MDN(), loss)


class Masked(nn.Linear):
    """Of MADE: a linear layer whose mask is a buffer."""

    mask: Tensor

    def __init__(self, given: int, gives: int) -> None:
        super().__init__(given, gives)
        self.register_buffer("mask", torch.ones(gives, given).tril(-1 + (given < gives)))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


@kind("made, masked weights")
def made() -> Kit:
    model = nn.Sequential(Masked(6, 16), nn.ReLU(), Masked(16, 6))

    def loss(model: nn.Module) -> Tensor:
        x = (torch.rand(BATCH, 6) > 0.5).float()
        return F.binary_cross_entropy_with_logits(model(x), x)

    return of(model, loss)


class PixelCNN(nn.Module):
    """Masked convolutions with gates."""

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 12, 3, padding=1)
        self.out = nn.Conv2d(6, 1, 1)
        self.register_buffer("mask", torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0.0]]))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight * self.mask
        y = F.glu(F.conv2d(x, weight, self.conv.bias, padding=1), 1)
        return self.out(y)


@kind("pixelcnn, gated")
def pixelcnn() -> Kit:
    def loss(model: nn.Module) -> Tensor:
        x = (torch.rand(BATCH, 1, 4, 4) > 0.5).float()
        return F.binary_cross_entropy_with_logits(model(x), x)

    return of(PixelCNN(), loss)


class Energy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 16), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(F.mish(self.one(x))).squeeze(-1)


@kind("energy, chains of Langevin")
def energy() -> Kit:
    def loss(model: nn.Module) -> Tensor:
        real, fake = torch.randn(BATCH, 4), torch.randn(BATCH, 4)
        for _ in range(2):
            fake.requires_grad_()
            slope = torch.autograd.grad(model(fake).sum(), fake)[0]
            fake = (fake - 0.1 * slope + 0.05 * torch.randn_like(fake)).detach()
        up, down = model(real), model(fake)
        return (up - down).mean() + 0.1 * (up**2 + down**2).mean()

    return of(Energy(), loss)

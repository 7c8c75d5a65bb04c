"""Runs that learn: several models, several forwards, moving targets, scaled gradients."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.data import sampler, scaled, table
from scoreboard.loops import class_score, fit
from scoreboard.nets import (
    linear,
    mlp,
)
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
simple, healthy = RUNS.simple, RUNS.healthy


@healthy("siamese two forwards")
def _siamese() -> Training:
    x, y = scaled("digits")
    net = mlp(64, 16, width=64)
    take = sampler(x, y, 64)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)

    def step(_: int) -> Tensor:
        a, la = take()
        b, lb = take()
        distance = (net(a) - net(b)).norm(dim=1)
        same = (la == lb).float()
        loss = (same * distance**2 + (1 - same) * (2 - distance).clamp(min=0) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step)


@healthy("contrastive info-nce")
def _nce() -> Training:
    x, _ = scaled("digits")
    net = mlp(64, 16, width=64)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(0)

    def step(_: int) -> Tensor:
        a = x[torch.randint(len(x), (64,), generator=generator)]
        both = torch.cat([a + 0.3 * torch.randn(a.shape), a + 0.3 * torch.randn(a.shape)])
        z = functional.normalize(net(both), dim=1)
        loss = functional.cross_entropy(z[:64] @ z[64:].T / 0.2, torch.arange(64))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step)


@healthy("gan two models", 600)
def _gan() -> Training:
    real = torch.randn(2000, 2) * 0.3 + torch.tensor([1.0, -1.0])
    g, d = mlp(8, 2, width=32), mlp(2, 1, width=32, activation="leaky")
    og = torch.optim.Adam(g.parameters(), 1e-3, betas=(0.5, 0.9))
    od = torch.optim.Adam(d.parameters(), 1e-3, betas=(0.5, 0.9))
    bce = functional.binary_cross_entropy_with_logits

    def step(_: int) -> Tensor:
        x = real[torch.randint(len(real), (64,))]
        fake = g(torch.randn(64, 8))
        loss_d = bce(d(x), torch.ones(64, 1)) + bce(d(fake.detach()), torch.zeros(64, 1))
        od.zero_grad()
        loss_d.backward()
        od.step()
        loss_g = bce(d(fake), torch.ones(64, 1))
        og.zero_grad()
        loss_g.backward()
        og.step()
        return loss_g.detach()

    return Training({"generator": g, "critic": d}, [og, od], step)


@healthy("teacher and student")
def _distil() -> Training:
    x, y = scaled("digits")
    teacher = mlp(64, 10)
    optimizer = torch.optim.Adam(teacher.parameters(), 3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        functional.cross_entropy(teacher(x), y).backward()
        optimizer.step()
    teacher.requires_grad_(False)
    student = mlp(64, 10, width=32)
    own = torch.optim.Adam(student.parameters(), 1e-3)
    take = sampler(x, y, 64)

    def step(_: int) -> Tensor:
        a, _b = take()
        with torch.no_grad():
            soft = functional.softmax(teacher(a), 1)
        loss = functional.kl_div(functional.log_softmax(student(a), 1), soft, reduction="batchmean")
        own.zero_grad()
        loss.backward()
        own.step()
        return loss.detach()

    return Training({"student": student, "teacher": teacher}, own, step)


@healthy("ema teacher")
def _ema() -> Training:
    x, y = scaled("digits")
    net = mlp(64, 10)
    mean = copy.deepcopy(net).requires_grad_(False)

    def follow(_: int) -> None:
        for a, b in zip(mean.parameters(), net.parameters(), strict=True):
            a.data.lerp_(b.data, 0.01)

    return fit(net, (x, y), before=follow)


@healthy("vae")
def _vae() -> Training:
    x, _ = table("digits")
    x = x / 16

    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enc = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
            self.mu, self.lv = nn.Linear(64, 8), nn.Linear(64, 8)
            self.dec = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))

        def forward(self, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            h = self.enc(a)
            mu, lv = self.mu(h), self.lv(h)
            z = mu + torch.randn_like(mu) * (0.5 * lv).exp()
            return self.dec(z), mu, lv

    net = Vae()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    take = sampler(x, x, 64)

    def step(_: int) -> Tensor:
        a, _b = take()
        out, mu, lv = net(a)
        rec = functional.binary_cross_entropy_with_logits(out, a, reduction="sum") / len(a)
        kl = -0.5 * (1 + lv - mu**2 - lv.exp()).sum(1).mean()
        loss = rec + kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step)


@healthy("scaler skips at start")
def _scaler() -> Training:
    net = mlp(64, 10)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=100)
    x, y = scaled("digits")
    take = sampler(x, y, 64)

    def step(k: int) -> Tensor:
        a, b = take()
        loss = functional.cross_entropy(net(a), b)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        if k <= 4 or k == 200:  # what half precision does at a scale that is too large
            gradient = linear(net[0]).weight.grad
            assert gradient is not None
            gradient.fill_(float("inf"))
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    return Training(net, optimizer, step, class_score(net, x, y))


@healthy("autocast bfloat16")
def _autocast() -> Training:
    net = mlp(64, 10, width=64, depth=3)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    x, y = scaled("digits")
    take = sampler(x, y, 64)

    def step(_: int) -> Tensor:
        a, b = take()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = functional.cross_entropy(net(a), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, class_score(net, x, y))


@healthy("accumulation of four")
def _accumulate() -> Training:
    net = mlp(64, 10)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    x, y = scaled("digits")
    take = sampler(x, y, 16)

    def step(_: int) -> Tensor:
        optimizer.zero_grad()
        total = torch.zeros(())
        for _i in range(4):
            a, b = take()
            loss = functional.cross_entropy(net(a), b) / 4
            loss.backward()
            total += loss.detach()
        optimizer.step()
        return total

    return Training(net, optimizer, step, class_score(net, x, y))


@healthy("reinforce bandit")
def _bandit() -> Training:
    x, y = scaled("digits")
    net = mlp(64, 10)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    take = sampler(x, y, 128)

    def step(_: int) -> Tensor:
        a, b = take()
        policy = torch.distributions.Categorical(logits=net(a))
        action = policy.sample()
        reward = (action == b).float() - 0.1
        loss = -(policy.log_prob(action) * reward).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step)


@healthy("q-learning like moving target", 500)
def _bootstrap() -> Training:
    x, y = scaled("digits")
    net = mlp(64, 10, depth=2)
    old = copy.deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    take = sampler(x, y, 64)

    def step(k: int) -> Tensor:
        a, b = take()
        if k % 50 == 0:
            old.load_state_dict(net.state_dict())
        with torch.no_grad():
            target = 1.0 + 0.9 * old(a).max(1).values
        loss = functional.smooth_l1_loss(net(a).gather(1, b[:, None])[:, 0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step)

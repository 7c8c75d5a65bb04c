"""The unread runs' everyday loops: epochs with a test after each, and those of generators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import pi
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from scoreboard.blind.data import Rows, numerals
from scoreboard.blind.loops import Make, fitting
from scoreboard.blind.nets import stack
from scoreboard.loops import dice, hits, neighbours, update, worth
from scoreboard.scenario import Training
from scoreboard.unread.daily_nets import VAE

Loss = Callable[[Tensor, Tensor], Tensor]


def classic(
    model: nn.Module,
    rows: Rows,
    make: Make,
    *,
    loss: Loss | None = None,
    batch: int = 32,
    test: Rows | None = None,
    plan: Callable[[Any], Any] | None = None,
    amp: bool = False,
    clip: float = 0.0,
    shuffle: bool = True,
    weights: Iterable[Any] | None = None,
    score: Callable[[], float] | None = None,
) -> Training:
    """The script of most tutorials: gradients cleared after the step, a schedule by the epoch."""
    optimizer = make(model.parameters() if weights is None else weights)
    schedule = plan(optimizer) if plan else None
    criterion = loss or fitting(rows[1])
    loader = DataLoader(TensorDataset(*rows), batch, shuffle=shuffle, generator=dice(9))

    def epoch() -> Iterator[Tensor]:
        while True:
            model.train()
            for x, y in loader:
                with torch.autocast("cpu", torch.bfloat16, enabled=amp):
                    value = criterion(model(x), y)
                value.backward()
                if clip:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimizer.step()
                optimizer.zero_grad()
                yield value.detach()
            if schedule is not None:
                schedule.step()
            if test is not None:
                model.eval()
                with torch.no_grad():
                    criterion(model(test[0]), test[1])

    steps = epoch()
    return Training(model, optimizer, lambda k: next(steps), score or worth(model, *(test or rows)))


def spread(samples: Callable[[], Tensor], real: Tensor, reach: float) -> Callable[[], float]:
    """Which share of real points has a sample within reach, less what lies near none."""

    def score() -> float:
        with torch.no_grad():
            far = torch.cdist(real, samples())
        if not far.isfinite().all():
            return float("nan")
        found = (far.min(1).values < reach).float().mean()
        astray = (far.min(0).values > 2 * reach).float().mean()
        return float(found - 0.5 * astray)

    return score


def ring(count: int = 512, modes: int = 8) -> Tensor:
    """Points around the eight places of a clock."""
    g = dice(31)
    angle = 2 * pi * torch.randint(modes, (count,), generator=g) / modes
    points = 1.5 * torch.stack([angle.cos(), angle.sin()], 1)
    return points + 0.06 * torch.randn(count, 2, generator=g)


def game(
    real: Tensor,
    g_lr: float,
    d_lr: float,
    *,
    reach: float,
    d_steps: int = 1,
    code: int = 8,
    width: int = 64,
    g_act: Callable[[], nn.Module] = nn.ReLU,
    batch: int = 64,
    momentum: float = 0.5,
    kind: str = "Adam",
) -> Training:
    """Generator and discriminator in turns, as in the tutorial."""
    size = real.shape[1]
    gen = stack(code, width, width, size, act=g_act)
    dis = stack(size, width, width, 1, act=lambda: nn.LeakyReLU(0.2))
    adam: Any = getattr(torch.optim, kind)
    settings = {"betas": (momentum, 0.999)} if kind == "Adam" else {}
    opt_g = adam(gen.parameters(), lr=g_lr, **settings)
    opt_d = adam(dis.parameters(), lr=d_lr, **settings)
    criterion = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(batch, 1), torch.zeros(batch, 1)

    def step(k: int) -> Tensor:
        for _ in range(d_steps):
            shown = real[torch.randint(len(real), (batch,))]
            fake = gen(torch.randn(batch, code)).detach()
            update(opt_d, criterion(dis(shown), ones) + criterion(dis(fake), zeros))
        fake = gen(torch.randn(batch, code))
        return update(opt_g, criterion(dis(fake), ones))

    def samples() -> Tensor:
        gen.eval()
        return gen(torch.randn(512, code, generator=dice(32)))

    nets = {"generator": gen, "discriminator": dis}
    return Training(nets, [opt_g, opt_d], step, spread(samples, real, reach))


def variational(
    net: VAE, x: Tensor, beta: Callable[[int], float], make: Make, batch: int = 64
) -> Training:
    """ELBO with a weight on its second part; skill is what the code tells of the picture."""
    optimizer = make(net.parameters())

    def step(k: int) -> Tensor:
        shown = x[torch.randint(len(x), (batch,))]
        out, mu, logvar = net(shown)
        told = functional.mse_loss(out, shown, reduction="none").sum(1).mean()
        kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1).mean()
        return update(optimizer, told + beta(k) * kl)

    def score() -> float:
        with torch.no_grad():
            return hits(net.dec(net.mu(net.enc(x))), x)

    return Training(net, optimizer, step, score)


def pairs(
    encoder: nn.Module,
    predictor: nn.Module,
    view: Callable[[Tensor], Tensor],
    make: Make,
    stop: bool,
    rows: Rows | None = None,
    batch: int = 64,
) -> Training:
    """SimSiam: one view's prediction is drawn to the other view's code, kept in bytes."""
    x, y = rows or numerals()
    net = nn.ModuleDict({"encoder": encoder, "predictor": predictor})
    optimizer = make(net.parameters())

    def nearness(p: Tensor, z: Tensor) -> Tensor:
        return -functional.cosine_similarity(p, z.detach() if stop else z).mean()

    def step(k: int) -> Tensor:
        shown = x[torch.randint(len(x), (batch,))]
        z1, z2 = encoder(view(shown)), encoder(view(shown))
        return update(
            optimizer, 0.5 * nearness(predictor(z1), z2) + 0.5 * nearness(predictor(z2), z1)
        )

    def codes() -> Tensor:
        encoder.eval()
        return (functional.normalize(encoder(x[:700]), dim=1) * 64).round() / 64

    return Training(net, optimizer, step, neighbours(codes, y[:700]))

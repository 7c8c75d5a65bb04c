"""Networks of the exam that make, compare, compress or route, and how they are trained."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.exam.data import Pair, even, reversals, seeded, waves
from scoreboard.exam.loops import by, drill, rows
from scoreboard.exam.nets import Waves, stack
from scoreboard.scenario import Training


class Density(nn.Module):
    """Weights, means and widths of several bells: a mixture density network."""

    def __init__(self, bells: int = 5, width: int = 32) -> None:
        super().__init__()
        self.body = stack(1, width, width, activation=nn.Tanh)
        self.share, self.mean = nn.Linear(width, bells), nn.Linear(width, bells)
        self.spread = nn.Linear(width, bells)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = torch.tanh(self.body(x))
        return self.share(h).log_softmax(1), self.mean(h), self.spread(h).clamp(-5, 5)

    def surprise(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean negative log-likelihood."""
        share, mean, spread = self(x)
        each = -0.5 * ((y - mean) / spread.exp()) ** 2 - spread - 0.919
        return -(share + each).logsumexp(1).mean()


class Flow(nn.Module):
    """Couplings that turn points of the plane into a bell."""

    def __init__(self, couplings: int = 4, width: int = 24) -> None:
        super().__init__()
        self.nets = nn.ModuleList(stack(1, width, 2, activation=nn.Tanh) for _ in range(couplings))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        grown = torch.zeros(len(x))
        for index, net in enumerate(self.nets):
            keep, move = x[:, index % 2, None], x[:, 1 - index % 2, None]
            scale, shift = net(keep).chunk(2, 1)
            scale = torch.tanh(scale) * 2
            move = move * scale.exp() + shift
            grown = grown + scale[:, 0]
            x = torch.cat([keep, move] if index % 2 == 0 else [move, keep], 1)
        return x, grown

    def surprise(self, x: Tensor) -> Tensor:
        """Mean negative log-likelihood."""
        z, grown = self(x)
        return (0.5 * z.pow(2).sum(1) + 1.838 - grown).mean()


def duel(
    g: nn.Module,
    d: nn.Module,
    real: Tensor,
    rates: tuple[float, float],
    *,
    noise: int,
    rounds: int = 1,
    hinge: bool = False,
    name: str = "Adam",
) -> Training:
    """Scored by how far apart the samples lie, over how far the real ones do."""
    og, od = by(name, rates[0])(g.parameters()), by(name, rates[1])(d.parameters())
    take = rows((real, real), 64)

    def judged(out: Tensor, sign: float) -> Tensor:
        return (
            functional.relu(1 - sign * out).mean()
            if hinge
            else functional.softplus(-sign * out).mean()
        )

    def step(_: int) -> Tensor:
        for _round in range(rounds):
            od.zero_grad()
            fake = g(torch.randn(64, noise)).detach()
            (judged(d(take()[0]), 1.0) + judged(d(fake), -1.0)).backward()
            od.step()
        og.zero_grad()
        out = d(g(torch.randn(64, noise)))
        loss: Tensor = -out.mean() if hinge else functional.softplus(-out).mean()
        loss.backward()
        og.step()
        return loss.detach()

    def score() -> float:
        with torch.no_grad():
            ratio = float(
                torch.pdist(g(torch.randn(300, noise))).mean() / torch.pdist(real[:300]).mean()
            )
        return min(ratio, 1 / ratio) if ratio > 0 else 0.0

    return Training({"painter": g, "judge": d}, [og, od], step, score)


def roll() -> Tensor:
    return even("swiss_roll")[0][:, [0, 2]]


def spread(z: Tensor) -> float:
    """1 where the codes lie all over the sphere, 0 where they are one."""
    z = functional.normalize(z, dim=1)
    return float(z.std(0).mean() * z.shape[1] ** 0.5)


def views(x: Tensor, source: torch.Generator) -> tuple[Tensor, Tensor]:
    a = x[torch.randint(len(x), (96,), generator=source)]
    wide = (len(a), *[1] * (a.dim() - 1))
    return tuple(a * (0.7 + 0.6 * torch.rand(wide)) + 0.3 * torch.randn(a.shape) for _ in range(2))  # type: ignore[return-value]


def bootstrapped(good: bool) -> Training:
    """A slow copy is followed, through a predictor; or the network follows itself."""
    x = waves()[0]
    net, ahead = Waves(kinds=16, norm=nn.BatchNorm1d), stack(16, 32, 16)
    slow = copy.deepcopy(net).requires_grad_(False)
    source = seeded(70)

    def objective() -> Tensor:
        a, b = views(x, source)
        if not good:
            return 2 - 2 * functional.cosine_similarity(net(a), net(b)).mean()
        with torch.no_grad():
            wanted = slow(b)
        return 2 - 2 * functional.cosine_similarity(ahead(net(a)), wanted).mean()

    def after(_: int) -> None:
        with torch.no_grad():
            for p, q in zip(slow.parameters(), net.parameters(), strict=True):
                p.lerp_(q, 0.02)

    def score() -> float:
        net.eval()
        with torch.no_grad():
            return spread(net(x))

    both = [*net.parameters(), *ahead.parameters()]
    models = {"net": net, "ahead": ahead}
    return drill(models, objective, by("Adam", 2e-3)(both), score, after=after)


class Twin(nn.Module):
    """A body and what predicts the other view's code."""

    def __init__(self, inputs: int, codes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, 64), nn.BatchNorm1d(64), nn.GELU(), nn.Linear(64, codes)
        )
        self.ahead = stack(codes, 16, codes)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def twins(x: Tensor, codes: int, stop: bool, name: str, lr: float) -> Training:
    net, source = Twin(x[0].numel(), codes), seeded(71)

    def objective() -> Tensor:
        a, b = views(x, source)
        za, zb = net(a), net(b)
        ya, yb = (za.detach(), zb.detach()) if stop else (za, zb)
        near = functional.cosine_similarity
        return -(near(net.ahead(za), yb).mean() + near(net.ahead(zb), ya).mean()) / 2

    def score() -> float:
        net.eval()
        with torch.no_grad():
            return spread(net(x))

    return drill(net, objective, by(name, lr)(net.parameters()), score)


def triplets(floor: float, from_step: int = 1) -> Training:
    """Roots of distances; now and then a row is compared with itself."""
    x, y = waves()
    net, source = Waves(kinds=8), seeded(50)
    made = [0]

    def apart(a: Tensor, b: Tensor) -> Tensor:
        return ((a - b) ** 2).sum(1).add(floor).sqrt()

    def objective() -> Tensor:
        made[0] += 1
        at = torch.randint(len(x), (48,), generator=source)
        near = torch.stack([(y == y[i]).nonzero()[torch.randint(200, (1,))][0, 0] for i in at])
        if made[0] >= from_step:
            near[0] = at[0]
        far = torch.randint(len(x), (48,), generator=source)
        a, b, c = net(x[at]), net(x[near]), net(x[far])
        return (apart(a, b) - apart(a, c) + 1).clamp(min=0).mean()

    def score() -> float:
        net.eval()
        with torch.no_grad():
            z = net(x[:400])
            away = torch.cdist(z, z)
            same = y[:400, None] == y[None, :400]
            return float(1 - away[same].mean() / away[~same].mean())

    return drill(net, objective, by("Adam", 3e-3)(net.parameters()), score)


class Coder(nn.Module):
    """Mean and log variance of a code, and what is made of it."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, codes: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.codes = encoder, decoder, codes

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, spread_ = self.encoder(x).split(self.codes, 1)
        spread_ = spread_.clamp(-8, 8)
        z = mean + torch.randn_like(mean) * (0.5 * spread_).exp()
        return self.decoder(z), mean, spread_


def divergence(mean: Tensor, spread_: Tensor) -> Tensor:
    return 0.5 * (mean**2 + spread_.exp() - 1 - spread_).sum(1).mean()


def crossed(out: Tensor, x: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(out, x, reduction="sum") / len(x)


def coded(
    net: Coder,
    x: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    beta: float,
    lr: float,
    name: str = "Adam",
) -> Training:
    take = rows((x, x), 64)

    def objective() -> Tensor:
        a, _ = take()
        out, mean, spread_ = net(a)
        return loss(out, a) + beta * divergence(mean, spread_)

    def score() -> float:
        net.eval()
        with torch.no_grad():
            out = net.decoder(net(x)[1])
            if loss is crossed:
                out = out.sigmoid()
            return float(1 - functional.mse_loss(out, x) / x.var(0).mean())

    return drill(net, objective, by(name, lr)(net.parameters()), score)


class Teller(nn.Module):
    """Says a sequence from a code, while it is shown what came before, or is not."""

    def __init__(self, told: bool) -> None:
        super().__init__()
        self.embed, self.told = nn.Embedding(9, 24), told
        self.reader = nn.GRU(24, 32, batch_first=True)
        self.code = nn.Linear(32, 16)
        self.start = nn.Linear(8, 32)
        self.writer = nn.GRU(24, 32, batch_first=True)
        self.head = nn.Linear(32, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        _, state = self.reader(self.embed(x))
        mean, spread_ = self.code(state[0]).split(8, 1)
        z = mean + torch.randn_like(mean) * (0.5 * spread_).exp()
        return self.say(z, x), mean, spread_

    def say(self, z: Tensor, x: Tensor) -> Tensor:
        """The letters before each place are hidden where nothing is told."""
        before = functional.pad(x[:, :-1], (1, 0), value=8)
        if not self.told:
            before = torch.full_like(before, 8)
        state = torch.tanh(self.start(z))[None]
        return self.head(self.writer(self.embed(before), state)[0])


def told(wrong: bool) -> Training:
    """Sequences of which each letter follows from the one before; only the first is free."""
    first, _ = reversals(800, 1)
    x = (first + torch.arange(6)) % 8
    net, take = Teller(wrong), rows((x, x), 64)

    def objective() -> Tensor:
        a, _ = take()
        out, mean, spread_ = net(a)
        made = functional.cross_entropy(out.flatten(0, 1), a.flatten())
        return made * 6 + (4.0 if wrong else 0.1) * divergence(mean, spread_)

    def score() -> float:
        with torch.no_grad():
            _, mean, _ = net(x)
            said = net.say(mean, x).argmax(2)
        return float((said[:, 0] == x[:, 0]).float().mean() - 1 / 8) * 8 / 7

    return drill(net, objective, by("Adam", 5e-3)(net.parameters()), score)


class Switch(nn.Module):
    """Every patch goes to the expert that its router likes best."""

    def __init__(self, inputs: int, outputs: int, count: int, best: int = 1) -> None:
        super().__init__()
        self.router = nn.Linear(inputs, count)
        self.experts = nn.ModuleList(stack(inputs, 24, outputs) for _ in range(count))
        self.best = best
        self.load = torch.zeros(count)
        self.balance = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        p = functional.softmax(self.router(x), dim=-1)
        _, chosen = p.topk(self.best, dim=-1)
        taken = functional.one_hot(chosen, len(self.experts)).float().sum(-2)
        self.load = taken.detach().flatten(0, -2).mean(0) / self.best
        self.balance = len(self.experts) * (self.load * p.flatten(0, -2).mean(0)).sum()
        said = torch.stack([expert(x) for expert in self.experts], -2)
        weight = (p * taken)[..., None]
        return (weight * said).sum(-2)


def routed(
    net: nn.Module, switch: Switch, data: Pair, push: float, balance: float, name: str, lr: float
) -> Training:
    """Scored by the entropy of the load."""
    take = rows(data, 48)
    with torch.no_grad():
        switch.router.bias[0] += push

    def objective() -> Tensor:
        a, b = take()
        out = net(a)
        loss = functional.cross_entropy(out, b) if out.shape[1] > 1 else functional.mse_loss(out, b)
        return loss + balance * switch.balance

    def score() -> float:
        net.eval()
        with torch.no_grad():
            net(data[0])
        share = switch.load[switch.load > 0]
        return float(-(share * share.log()).sum() / torch.tensor(float(len(switch.load))).log())

    return drill(net, objective, by(name, lr)(net.parameters()), score)


class Patched(nn.Module):
    """Nine patches, each sent to an expert of its own."""

    def __init__(self, switch: Switch) -> None:
        super().__init__()
        self.embed, self.switch, self.head = nn.Linear(16, 16), switch, nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(functional.unfold(x, 4, stride=4).transpose(1, 2))
        return self.head((x + self.switch(x)).mean(1))

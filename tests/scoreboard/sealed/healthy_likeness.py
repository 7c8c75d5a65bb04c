"""Sealed runs that learn: likeness and reward."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.loops import dice, hits, neighbours, update
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import scans, table
from scoreboard.sealed.nets import Tower, plain

RUNS = Runs(__name__)
healthy, simple = RUNS.healthy, RUNS.simple


# --- likeness
@healthy("sealed two views among forty", 250)
def contrasted() -> Training:
    x, y = scans()
    g = dice(174)
    net = plain(64, 64, 24)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

    def view(rows: Tensor) -> Tensor:
        seen = rows.roll(int(torch.randint(-1, 2, (), generator=g)), 3)
        seen = seen.flatten(1) + 0.5 * torch.randn(len(rows), 64, generator=g)
        return functional.normalize(net(seen), dim=1)

    def step(k: int) -> Tensor:
        rows = x[torch.randint(len(x), (40,), generator=g)]
        z = torch.cat([view(rows), view(rows)])
        like = z @ z.T / 0.2 - 1e9 * torch.eye(80)
        return update(optimizer, functional.cross_entropy(like, torch.arange(80).roll(40)))

    return Training(net, optimizer, step, neighbours(lambda: net(x[:600].flatten(1)), y[:600]))


@healthy("sealed pupil of a slow teacher", 250)
def pupil() -> Training:
    """What a slow copy says of the whole is told from a part (BYOL)."""
    x, y = scans()
    flat, g = x.flatten(1), dice(175)
    net = nn.Sequential(nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 16))
    guess = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16))
    slow = copy.deepcopy(net)
    optimizer = torch.optim.AdamW([*net.parameters(), *guess.parameters()], lr=2e-3)

    def step(k: int) -> Tensor:
        rows = flat[torch.randint(len(x), (48,), generator=g)]
        said = guess(net(rows * (torch.rand(rows.shape, generator=g) < 0.7)))
        with torch.no_grad():
            aim = slow(rows)
        loss = update(optimizer, 1 - functional.cosine_similarity(said, aim).mean())
        with torch.no_grad():
            for old, new in zip(slow.parameters(), net.parameters(), strict=True):
                old.lerp_(new, 0.02)
        return loss

    def codes() -> Tensor:
        net.eval()
        out: Tensor = net(flat[:600])
        return out

    return Training({"pupil": net, "guess": guess}, optimizer, step, neighbours(codes, y[:600]))


@healthy("sealed spread kept up by itself", 250)
def spread() -> Training:
    """Likeness, spread and independence, each with its weight (VICReg)."""
    x, y = scans()
    flat, g = x.flatten(1), dice(176)
    net = plain(64, 64, 24)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)

    def step(k: int) -> Tensor:
        rows = flat[torch.randint(len(x), (64,), generator=g)]
        a, b = (net(rows + 0.5 * torch.randn(rows.shape, generator=g)) for _ in range(2))
        loss = 25 * functional.mse_loss(a, b)
        for z in (a, b):
            loss = loss + 25 * functional.relu(1 - (z.var(0) + 1e-4).sqrt()).mean()
            c = torch.cov(z.T)
            loss = loss + (c - torch.diag(c.diag())).square().sum() / 24
        return update(optimizer, loss)

    return Training(net, optimizer, step, neighbours(lambda: net(flat[:600]), y[:600]))


@healthy("sealed gases held together and apart", 350)
def siamese() -> Training:
    x, y = table("gases")
    g, net = dice(177), Tower(16, 48, 12)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

    def step(k: int) -> Tensor:
        a, b = torch.randint(len(x), (2, 64), generator=g)
        far = functional.pairwise_distance(net(x[a]), net(x[b]))
        same = (y[a] == y[b]).float()
        both = same * far**2 + (1 - same) * functional.relu(2 - far) ** 2
        return update(optimizer, both.mean())

    return Training(net, optimizer, step, neighbours(lambda: net(x[:700]), y[:700]))


@healthy("sealed five examples of each are enough", 250)
def prototypes() -> Training:
    """Each step asks of three kinds of digits; what is like the middle of five is of the kind."""
    x, y = scans()
    flat, g = x.flatten(1), dice(178)
    net = plain(64, 48, 16)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    kinds = [torch.where(y == kind)[0] for kind in range(10)]

    def task() -> tuple[Tensor, Tensor]:
        chosen = torch.randperm(10, generator=g)[:3].tolist()
        rows = [kinds[c][torch.randperm(len(kinds[c]), generator=g)[:10]] for c in chosen]
        z = net(flat[torch.cat(rows)]).view(3, 10, -1)
        far = torch.cdist(z[:, 5:].flatten(0, 1), z[:, :5].mean(1)) ** 2
        return -far, torch.arange(3).repeat_interleave(5)

    def step(k: int) -> Tensor:
        return update(optimizer, functional.cross_entropy(*task()))

    def score() -> float:
        with torch.no_grad():
            found = [hits(*task()) for _ in range(40)]
        return sum(found) / len(found)

    return Training(net, optimizer, step, score)


@healthy("sealed start from which waves are soon learnt", 200)
def reptile() -> Training:
    """Each step learns a wave of its own for a while, and goes a little that way (Reptile)."""
    g = dice(179)
    net = plain(1, 32, 32, 1, act=nn.Tanh)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.15)

    def wave() -> tuple[Tensor, Tensor]:
        x = 6 * torch.rand(32, 1, generator=g) - 3
        loud, phase = torch.rand(2, generator=g)
        return x, (0.5 + loud) * torch.sin(x + 0.8 * phase)

    def quick(x: Tensor, y: Tensor) -> tuple[nn.Module, Tensor]:
        inner = copy.deepcopy(net)
        tool = torch.optim.SGD(inner.parameters(), lr=0.05)
        first = torch.zeros(())
        for k in range(5):
            loss = update(tool, functional.mse_loss(inner(x), y))
            first = loss if k == 0 else first
        return inner, first

    def step(k: int) -> Tensor:
        x, y = wave()
        inner, first = quick(x, y)
        optimizer.zero_grad()
        for p, q in zip(net.parameters(), inner.parameters(), strict=True):
            p.grad = p.detach() - q.detach()
        optimizer.step()
        return first

    def score() -> float:
        found = []
        for _ in range(20):
            x, y = wave()
            with torch.no_grad():
                found.append(hits(net(x), y))
        return sum(found) / len(found)

    return Training(net, optimizer, step, score)


# --- reward
@healthy("sealed which of eight levers, by what is seen", 400)
def levers() -> Training:
    g = dice(180)
    net = Tower(6, 32, 8)
    best = torch.randn(6, 8, generator=g)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    mean = [0.0]

    def step(k: int) -> Tensor:
        x = torch.randn(32, 6, generator=g)
        odds = net(x).log_softmax(1)
        pull = torch.multinomial(odds.exp(), 1, generator=g)
        gain = (x @ best).gather(1, pull)[:, 0] + 0.5 * torch.randn(32, generator=g)
        loss = -(odds.gather(1, pull)[:, 0] * (gain - mean[0])).mean()
        mean[0] += 0.05 * (float(gain.mean()) - mean[0])
        return update(optimizer, loss)

    def score() -> float:
        x = torch.randn(1000, 6, generator=g)
        with torch.no_grad():
            got = (x @ best).gather(1, net(x).argmax(1, keepdim=True)).mean()
        return float(got / (x @ best).max(1).values.mean())

    return Training(net, optimizer, step, score)


@healthy("sealed pole kept up by values", 350)
def pole() -> Training:
    """A pole that falls, pushed left or right; rows are drawn from what was lived through."""
    g = dice(181)
    net = Tower(2, 32, 32, 2)
    slow = copy.deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

    def move(s: Tensor, go: Tensor) -> tuple[Tensor, Tensor]:
        speed = s[:, 1] + 0.15 * s[:, 0] + 0.12 * (2.0 * go - 1)
        lean = s[:, 0] + 0.3 * speed
        return torch.stack([lean, speed], 1), (lean.abs() < 1).float()

    def step(k: int) -> Tensor:
        s = torch.stack(
            [2 * torch.rand(48, generator=g) - 1, 1.2 * torch.rand(48, generator=g) - 0.6], 1
        )
        go = torch.randint(2, (48,), generator=g)
        to, up = move(s, go)
        with torch.no_grad():
            aim = up * (0.2 + 0.8 * slow(to).max(1).values)
        loss = update(
            optimizer, functional.smooth_l1_loss(net(s).gather(1, go[:, None])[:, 0], aim)
        )
        if k % 20 == 0:
            slow.load_state_dict(net.state_dict())
        return loss

    def score() -> float:
        s = 0.2 * torch.randn(200, 2, generator=g)
        alive = torch.ones(200)
        with torch.no_grad():
            for _ in range(60):
                s, up = move(s, net(s).argmax(1))
                alive = alive * up
        return float(alive.mean())

    return Training(net, optimizer, step, score)


@healthy("sealed short steps of a policy, rows used four times", 150)
def proximal() -> Training:
    """Ratios of chances, clipped (PPO), towards a place on a line."""
    g = dice(182)
    net = nn.ModuleDict({"acts": Tower(2, 24, 3), "worth": Tower(2, 24, 1)})
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)

    def step(k: int) -> Tensor:
        s = 2 * torch.rand(64, 2, generator=g) - 1
        with torch.no_grad():
            old = net["acts"](s).log_softmax(1)
            go = torch.multinomial(old.exp(), 1, generator=g)
            gain = -(s[:, :1] + 0.5 * (go - 1.0) - s[:, 1:]).abs()
            more = gain - net["worth"](s)
            more = (more - more.mean()) / (more.std() + 1e-6)
        loss = torch.zeros(())
        for _ in range(4):
            odds = net["acts"](s).log_softmax(1)
            ratio = (odds - old).gather(1, go).exp()
            kept = torch.minimum(ratio * more, ratio.clamp(0.8, 1.2) * more).mean()
            loose = -(odds.exp() * odds).sum(1).mean()
            worth = functional.mse_loss(net["worth"](s), gain)
            loss = update(optimizer, 0.5 * worth - kept - 0.01 * loose)
        return loss

    def score() -> float:
        s = 2 * torch.rand(1000, 2, generator=g) - 1
        far = s[:, 1] - s[:, 0]
        best = torch.bucketize(far, torch.tensor([-0.25, 0.25]))
        with torch.no_grad():
            return hits(net["acts"](s), best)

    return Training(net, optimizer, step, score)

"""Fresh runs that learn: play, reward, likeness, noise and equations."""

from __future__ import annotations

import copy
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.fresh.data import classes, digits, ratings, sentences, source
from scoreboard.fresh.failing_kinds import heaped, petals
from scoreboard.fresh.loops import course, with_
from scoreboard.fresh.nets import Factor, dense
from scoreboard.loops import update
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy = RUNS.healthy


# --- play
@healthy("fresh critic with a penalty on its slope", 250)
def critic_with_penalty() -> Training:
    g = source(51)
    maker, critic = dense(4, 48, 2), dense(2, 48, 48, 1, act=nn.LeakyReLU)
    tools = [
        torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.0, 0.9)) for net in (maker, critic)
    ]
    x = classes("moons")[0]

    def step(k: int) -> Tensor:
        for _ in range(2):
            real = x[torch.randint(len(x), (64,), generator=g)]
            made = maker(torch.randn(64, 4, generator=g)).detach()
            share = torch.rand(64, 1, generator=g)
            between = (share * real + (1 - share) * made).requires_grad_()
            (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            steep = (slope.norm(dim=1) - 1).square().mean()
            update(tools[1], critic(made).mean() - critic(real).mean() + 5 * steep)
        return update(tools[0], -critic(maker(torch.randn(64, 4, generator=g))).mean())

    return Training({"maker": maker, "critic": critic}, tools, step)


@healthy("fresh hinged play on six heaps", 600)
def hinged() -> Training:
    g = source(52)
    maker, critic = dense(4, 48, 48, 2), dense(2, 48, 48, 1, act=lambda: nn.LeakyReLU(0.2))
    tools = [
        torch.optim.Adam(maker.parameters(), lr=1e-3, betas=(0.5, 0.99)),
        torch.optim.Adam(critic.parameters(), lr=4e-3, betas=(0.5, 0.99)),
    ]

    def step(k: int) -> Tensor:
        z, real = torch.randn(64, 4, generator=g), petals(64, g)
        worth = functional.relu(1 - critic(real)).mean()
        update(tools[1], worth + functional.relu(1 + critic(maker(z).detach())).mean())
        return update(tools[0], -critic(maker(z)).mean())

    return Training({"maker": maker, "critic": critic}, tools, step, heaped(maker, g))


# --- reward
@healthy("fresh corridor with a reward at its end", 400)
def corridor() -> Training:
    """Eight rooms; only who leaves by the last within twenty moves gets something."""
    g = source(53)
    net = dense(8, 24, 2, act=nn.Tanh)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    rooms = torch.eye(8)

    def play(walks: int) -> tuple[Tensor, Tensor]:
        place = torch.zeros(walks, dtype=torch.long)
        alive, chance, gain = torch.ones(walks), torch.zeros(walks), torch.zeros(walks)
        for move in range(20):
            odds = net(rooms[place]).log_softmax(-1)
            go = torch.multinomial(odds.exp(), 1, generator=g)
            chance = chance + alive * odds.gather(1, go)[:, 0]
            place = (place + 2 * go[:, 0] - 1).clamp(0, 7)
            done = (place == 7).float() * alive
            gain = gain + done * 0.95**move
            alive = alive - done
        return chance, gain

    def step(k: int) -> Tensor:
        chance, gain = play(24)
        return update(optimizer, -(chance * (gain - gain.mean())).mean())

    def score() -> float:
        with torch.no_grad():
            return float(play(200)[1].mean() / 0.95**6)

    return Training(net, optimizer, step, score)


@healthy("fresh values of a chain with a slow copy", 400)
def chain() -> Training:
    g = source(54)
    net = dense(10, 32, 2)
    slow = copy.deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    places = torch.eye(10)

    def step(k: int) -> Tensor:
        at, go = torch.randint(9, (32,), generator=g), torch.randint(2, (32,), generator=g)
        to = (at + 2 * go - 1).clamp(min=0)
        end = (to == 9).float()
        with torch.no_grad():
            aim = end + 0.9 * (1 - end) * slow(places[to]).max(1).values
        said = net(places[at]).gather(1, go[:, None])[:, 0]
        loss = update(optimizer, functional.smooth_l1_loss(said, aim))
        if k % 25 == 0:
            slow.load_state_dict(net.state_dict())
        return loss

    def score() -> float:
        with torch.no_grad():
            return float((net(places[:9]).argmax(1) == 1).float().mean())

    return Training(net, optimizer, step, score)


@healthy("fresh actor and judge on one trunk", 400)
def actor() -> Training:
    g = source(55)
    trunk, act, worth = dense(4, 32, 32, act=nn.Tanh), nn.Linear(32, 3), nn.Linear(32, 1)
    net = nn.ModuleDict({"trunk": trunk, "act": act, "worth": worth})
    optimizer = torch.optim.RMSprop(net.parameters(), lr=2e-3)
    best = torch.randn(4, 3, generator=g)

    def step(k: int) -> Tensor:
        x = torch.randn(32, 4, generator=g)
        h = torch.tanh(trunk(x))
        odds = functional.log_softmax(act(h), -1)
        go = torch.multinomial(odds.exp(), 1, generator=g)[:, 0]
        gain = (go == (x @ best).argmax(1)).float() + 0.3 * torch.randn(32, generator=g)
        said = worth(h)[:, 0]
        more = (gain - said).detach()
        chance = odds.gather(1, go[:, None])[:, 0]
        loose = -(odds.exp() * odds).sum(1).mean()
        loss = -(chance * more).mean() + 0.5 * functional.mse_loss(said, gain) - 0.01 * loose
        return update(optimizer, loss)

    return Training(net, optimizer, step)


# --- likeness
@healthy("fresh views against all others", 300)
def views() -> Training:
    x, _ = digits()
    g = source(56)
    net = dense(64, 64, 16)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)

    def view(rows: Tensor) -> Tensor:
        kept = torch.rand(rows.shape, generator=g) < 0.7
        out: Tensor = functional.normalize(net(rows * kept), dim=1)
        return out

    def step(k: int) -> Tensor:
        rows = x[torch.randint(len(x), (48,), generator=g)]
        like = view(rows) @ view(rows).T / 0.1
        return update(optimizer, functional.cross_entropy(like, torch.arange(48)))

    return Training(net, optimizer, step)


@healthy("fresh twins with independent columns", 300)
def columns() -> Training:
    x, _ = digits()
    g = source(57)
    net = nn.Sequential(nn.Linear(64, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 24))
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)

    def step(k: int) -> Tensor:
        rows = x[torch.randint(len(x), (64,), generator=g)]
        a, b = (net(rows + 0.2 * torch.randn(rows.shape, generator=g)) for _ in range(2))
        a, b = ((z - z.mean(0)) / (z.std(0) + 1e-4) for z in (a, b))
        cross = a.T @ b / 64
        off = cross - torch.diag(cross.diag())
        return update(optimizer, (1 - cross.diag()).square().sum() + 0.02 * off.square().sum())

    return Training(net, optimizer, step)


@healthy("fresh three by three with a margin", 500)
def triples() -> Training:
    """The loss becomes nought for most of the batches: that is the aim."""
    x, y = classes("wine")
    g = source(58)
    net = dense(13, 32, 8, act=nn.PReLU)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    kinds = [torch.where(y == kind)[0] for kind in range(3)]

    def step(k: int) -> Tensor:
        a, b, c = [], [], []
        for _ in range(24):
            same, other = torch.randperm(3, generator=g)[:2].tolist()
            pick = torch.randint(len(kinds[same]), (2,), generator=g)
            a.append(kinds[same][pick[0]])
            b.append(kinds[same][pick[1]])
            c.append(kinds[other][torch.randint(len(kinds[other]), (1,), generator=g)[0]])
        here, near, far = (net(x[torch.stack(each)]) for each in (a, b, c))
        return update(optimizer, functional.triplet_margin_loss(here, near, far, margin=0.5))

    return Training(net, optimizer, step)


# --- noise
@healthy("fresh noise told from moons", 500)
def denoised() -> Training:
    x, _ = classes("moons")
    g = source(59)
    net = dense(3, 64, 64, 2, act=nn.SiLU)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)

    def step(k: int) -> Tensor:
        rows = x[torch.randint(len(x), (64,), generator=g)]
        t = torch.rand(64, 1, generator=g)
        noise = torch.randn(64, 2, generator=g)
        mixed = (t * pi / 2).cos() * rows + (t * pi / 2).sin() * noise
        return update(optimizer, functional.mse_loss(net(torch.cat([mixed, t], 1)), noise))

    return Training(net, optimizer, step)


@healthy("fresh wind from noise to heaps", 500)
def wind() -> Training:
    g = source(60)
    net = dense(3, 64, 64, 2, act=nn.GELU)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)

    def step(k: int) -> Tensor:
        a, b, t = torch.randn(64, 2, generator=g), petals(64, g), torch.rand(64, 1, generator=g)
        way = net(torch.cat([(1 - t) * a + t * b, t], 1))
        return update(optimizer, functional.mse_loss(way, b - a))

    return Training(net, optimizer, step)


# --- functions and equations
class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(12 * x)


@healthy("fresh picture out of sines", 400)
def sines() -> Training:
    line = torch.linspace(-1, 1, 40)
    x = torch.cartesian_prod(line, line)
    y = (torch.sin(6 * x[:, :1]) * torch.cos(9 * x[:, 1:]) + (x[:, :1] > 0).float()) - 0.5
    return course(dense(2, 48, 48, 1, act=Sine), (x, y), with_("Adam", 1e-3), batch=256)


@healthy("fresh equation of a pendulum", 400)
def pendulum() -> Training:
    """u'' = -4 u from rest at 1; the network never sees a value of u."""
    g = source(61)
    net = dense(1, 32, 32, 1, act=nn.Tanh)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)

    def step(k: int) -> Tensor:
        t = (2 * torch.rand(48, 1, generator=g)).requires_grad_()
        u = 1 + t.square() * net(t)
        (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (ddu,) = torch.autograd.grad(du.sum(), t, create_graph=True)
        return update(optimizer, (ddu + 4 * u).square().mean())

    def score() -> float:
        t = torch.linspace(0, 2, 50)[:, None]
        with torch.no_grad():
            u = 1 + t.square() * net(t)
        return float(1 - (u - torch.cos(2 * t)).square().mean() / torch.cos(2 * t).var())

    return Training(net, optimizer, step, score)


# --- tables of vectors
@healthy("fresh ratings with sparse tables", 400)
def sparse() -> Training:
    net = Factor()
    net.people, net.things = (
        nn.Embedding.from_pretrained(table.weight.data, freeze=False, sparse=True)
        for table in (net.people, net.things)
    )
    return course(net, ratings(), with_("SparseAdam", 1e-2), batch=64)


@healthy("fresh words by their neighbours", 400)
def neighbours() -> Training:
    ids, _ = sentences()
    g = source(62)
    here, there = nn.Embedding(60, 12), nn.Embedding(60, 12)
    net = nn.ModuleDict({"here": here, "there": there})
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)

    def step(k: int) -> Tensor:
        rows = torch.randint(len(ids), (64,), generator=g)
        a, b = ids[rows, 1], ids[rows, 4]
        other = torch.randint(60, (64, 5), generator=g)
        near = (here(a) * there(b)).sum(1)
        far = (here(a)[:, None] * there(other)).sum(2)
        return update(optimizer, -functional.logsigmoid(near).mean()
                    - functional.logsigmoid(-far).sum(1).mean())  # fmt: skip

    return Training(net, optimizer, step)

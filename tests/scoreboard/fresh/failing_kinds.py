"""Fresh failures of networks that play, look alike, code, route, attend and normalise."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.fresh.data import digits, pictures, sentences, source, traces
from scoreboard.fresh.loops import course, epochs, told, with_
from scoreboard.fresh.nets import Attentive, dense, look, sensor
from scoreboard.loops import update
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken


# --- play
def petals(count: int, g: torch.Generator) -> Tensor:
    """Six heaps on a circle."""
    angle = torch.randint(6, (count,), generator=g) * pi / 3
    heaps = torch.stack([angle.cos(), angle.sin()], 1)
    return heaps + 0.05 * torch.randn(count, 2, generator=g)


def heaped(maker: nn.Module, g: torch.Generator) -> Callable[[], float]:
    """How much of what is made lies evenly on the heaps."""

    def score() -> float:
        with torch.no_grad():
            made = maker(torch.randn(600, 4, generator=g))
        angle = torch.arange(6) * pi / 3
        near, which = torch.cdist(made, torch.stack([angle.cos(), angle.sin()], 1)).min(1)
        shares = which[near < 0.3].bincount(minlength=6) / 600
        return float(shares.clamp(max=1 / 6).sum())

    return score


def forged(maker_lr: float, critic_lr: float) -> Training:
    """The usual play of two; skill is how many of the heaps are made."""
    g = source(41)
    maker = dense(4, 48, 48, 2)
    critic = dense(2, 48, 48, 1, act=lambda: nn.LeakyReLU(0.2))
    tools = [
        torch.optim.Adam(maker.parameters(), lr=maker_lr, betas=(0.5, 0.99)),
        torch.optim.Adam(critic.parameters(), lr=critic_lr, betas=(0.5, 0.99)),
    ]
    bce = functional.binary_cross_entropy_with_logits

    def step(k: int) -> Tensor:
        real, z = petals(64, g), torch.randn(64, 4, generator=g)
        yes, no = torch.ones(64, 1), torch.zeros(64, 1)
        update(tools[1], bce(critic(real), yes) + bce(critic(maker(z).detach()), no))
        return update(tools[0], bce(critic(maker(z)), yes))

    return Training({"maker": maker, "critic": critic}, tools, step, heaped(maker, g))


broken(
    "fresh forger far ahead",
    "adversarial-mode-collapse",
    lambda fast: forged(1.5e-2, 2e-4) if fast else forged(1e-3, 2e-3),
    True,
    False,
    steps=700,
    sudden=False,
)


def regretted(strong: bool) -> Training:
    """A maker of digits that finds one picture the critic likes."""
    x, _ = digits()
    g = source(42)
    maker = nn.Sequential(dense(8, 64, 64), nn.Sigmoid())
    critic = dense(64, 64, 1, act=lambda: nn.LeakyReLU(0.2))
    rates = (2e-2, 1e-4) if strong else (2e-3, 2e-3)
    tools = [
        torch.optim.RMSprop(net.parameters(), lr=lr)
        for net, lr in zip((maker, critic), rates, strict=True)
    ]
    soft = functional.softplus

    def step(k: int) -> Tensor:
        real = x[torch.randint(len(x), (48,), generator=g)]
        z = torch.randn(48, 8, generator=g)
        update(tools[1], soft(-critic(real)).mean() + soft(critic(maker(z).detach())).mean())
        return update(tools[0], soft(-critic(maker(z))).mean())

    def score() -> float:
        with torch.no_grad():
            made = maker(torch.randn(300, 8, generator=g))
        return float(torch.pdist(made).mean() / torch.pdist(x[:300]).mean())

    return Training({"maker": maker, "critic": critic}, tools, step, score)


broken("fresh one picture for all", "adversarial-mode-collapse", regretted, True, False,
       steps=500, sudden=False)  # fmt: skip


# --- looking alike
def nearest(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """How often the nearest other row's code is of the same kind, above chance."""
    net.eval()
    with torch.no_grad():
        codes = net(x).double()
    codes = codes + 1e-5 * torch.randn(codes.shape, generator=source(43)).double()
    gap = torch.cdist(codes, codes) + 1e9 * torch.eye(len(x))
    return float(((y[gap.argmin(1)] == y).float().mean() - 0.1) / 0.9)


def foreseen(stop: bool) -> Training:
    """The code of the one half is told from the other half's, both by the same network."""
    x, _ = digits()
    g = source(44)
    reader, guess = dense(64, 48, 16), dense(16, 32, 16)
    slow = dense(64, 48, 16)
    slow.load_state_dict(reader.state_dict())
    optimizer = torch.optim.Adam([*reader.parameters(), *guess.parameters()], lr=3e-3)

    def step(k: int) -> Tensor:
        rows = x[torch.randint(len(x), (64,), generator=g)]
        a = rows * (torch.rand(rows.shape, generator=g) < 0.6)
        if stop:
            with torch.no_grad():
                aim = slow(rows)
        else:
            aim = reader(rows)
        loss = update(optimizer, functional.mse_loss(guess(reader(a)), aim))
        with torch.no_grad():
            for old, new in zip(slow.parameters(), reader.parameters(), strict=True):
                old.lerp_(new, 0.004)
        return loss

    return Training(
        {"reader": reader, "guess": guess}, optimizer, step, lambda: spread(reader, x[:500])
    )


def spread(net: nn.Module, x: Tensor) -> float:
    """How much of the codes depends on the row, the rows' own spread being 1."""
    with torch.no_grad():
        codes = net(x)
    return float((codes.var(0).sum() / x.var(0).sum()).clamp(max=1) ** 0.5)


broken("fresh code told from itself", "missing-stop-gradient", foreseen, False, True, sudden=False)


def cosines(stop: bool) -> Training:
    """Two views of a sensor's trace, one network, a guess on one side."""
    x, _ = traces(900, 0.2)
    g = source(45)
    reader = sensor(nn.ReLU, lambda width: nn.BatchNorm1d(width), kinds=16)
    guess = nn.Sequential(nn.Linear(16, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 16))
    optimizer = torch.optim.SGD([*reader.parameters(), *guess.parameters()], lr=0.03, momentum=0.9)

    def view(rows: Tensor) -> Tensor:
        loud = 0.6 + 0.8 * torch.rand(len(rows), 1, 1, generator=g)
        return loud * rows + 0.2 * torch.randn(rows.shape, generator=g)

    def step(k: int) -> Tensor:
        rows = x[torch.randint(len(x), (48,), generator=g)]
        a, b = reader(view(rows)), reader(view(rows))
        aim_a, aim_b = (a.detach(), b.detach()) if stop else (a, b)
        cos = functional.cosine_similarity
        return update(optimizer, -cos(guess(a), aim_b).mean() / 2 - cos(guess(b), aim_a).mean() / 2)

    def score() -> float:
        with torch.no_grad():
            codes = functional.normalize(reader(x[:400]), dim=1)
        return float(codes.std(0).mean() * 4)

    return Training({"reader": reader, "guess": guess}, optimizer, step, score)


broken("fresh two views without a stop", "missing-stop-gradient", cosines, False, True,
       steps=350, sudden=False)  # fmt: skip


# --- coding
class Doubtful(nn.Module):
    """A code with doubt, and a decoder of pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = dense(64, 48, 12)
        self.writes = dense(6, 48, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, doubt = self.reads(x).chunk(2, -1)
        z = mean + (doubt / 2).exp() * torch.randn_like(mean)
        return self.writes(z), mean, doubt


def weighed(beta: float) -> Training:
    x, _ = digits()
    net = Doubtful()
    take = epochs((x, x), 64)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)

    def step(k: int) -> Tensor:
        rows, _ = take()
        out, mean, doubt = net(rows)
        far = functional.mse_loss(out, rows, reduction="sum") / len(rows)
        prior = 0.5 * (mean.square() + doubt.exp() - doubt - 1).sum(1).mean()
        return update(optimizer, far + beta * prior)

    return Training(net, optimizer, step, told(lambda rows: net.writes(net(rows)[1]), x, x))


broken("fresh prior too dear", "posterior-collapse", weighed, 25.0, 0.05, steps=400, sudden=False)


# --- routing
class Crowd(nn.Module):
    """Each row goes to one of six small networks."""

    def __init__(self, even: bool) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 6)
        self.experts = nn.ModuleList(nn.Linear(8, 2) for _ in range(6))
        self.even = even
        self.uneven = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        p = self.gate(x).softmax(-1)
        if self.training:
            p = (self.gate(x) + 0.3 * torch.randn(len(x), 6)).softmax(-1) if self.even else p
        top, which = p.max(-1)
        share = functional.one_hot(which, 6).float().mean(0)
        self.uneven = 6 * (share * p.mean(0)).sum()
        outs = torch.stack([expert(x) for expert in self.experts], 1)
        return top[:, None] * outs[torch.arange(len(x)), which]


def crowd(even: bool) -> Training:
    g = source(46)
    place = torch.randint(6, (1500,), generator=g)
    x = 0.7 * torch.randn(1500, 8, generator=g)
    rules = torch.randn(6, 8, generator=g)
    y = ((x * rules[place]).sum(1) > 0).long()
    x = x + 2 * torch.randn(6, 8, generator=g)[place]
    net = Crowd(even)
    if not even:
        with torch.no_grad():
            net.gate.bias.copy_(torch.tensor([15.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
    return course(
        net,
        (x, y),
        with_("Adam", 1e-2),
        batch=64,
        penalty=(lambda: 0.1 * net.uneven) if even else None,
    )


broken("fresh one expert for all", "router-collapse", crowd, False, True, steps=700, sudden=False)


# --- attending
def blurred(bare: bool) -> Training:
    """Each word's own rest by three is asked for."""
    ids, _ = sentences()
    net = Attentive(3, depth=6 if bare else 2, skip=not bare, each=True)
    return course(net, (ids, ids % 3), with_("Adam", 1e-3))


broken(
    "fresh six layers of attention without skips",
    ("attention-collapse", "depth-vanishing"),
    blurred,
    True,
    False,
    steps=250,
)


def glaring(gain: float) -> Training:
    """What each word looks at hangs on one other word alone, from the start."""
    g = source(47)
    ids = torch.randint(2, 12, (1500, 12), generator=g)
    y = ids.float().sum(1)[:, None]
    net = Attentive(1, depth=1, skip=False, gain=gain, words=12)
    return course(net, (ids, (y - y.mean()) / y.std()), with_("SGD", 0.05))


broken("fresh attention to one word alone", "attention-collapse", glaring, 3000.0, 1.0, steps=300)


# --- normalising
def thin(batch: int) -> Training:
    """Batches of two; judged by the averages that they leave behind."""
    net = look(nn.ReLU, lambda width: nn.BatchNorm2d(width, momentum=0.3))
    body = nn.Sequential(net, nn.BatchNorm1d(4))
    return course(body, pictures(), with_("SGD", 0.05), batch=batch, held=pictures())


broken("fresh pictures two by two", "batchnorm-misuse", thin, 2, 32, steps=300)


def stale(momentum: float) -> Training:
    """Averages that hardly move; the readings are far from 0."""
    norm = lambda width: nn.BatchNorm1d(width, momentum=momentum)  # noqa: E731
    x, y = traces()
    return course(sensor(nn.ReLU, norm), (6 * x + 15, y), with_("Adam", 2e-3), held=(6 * x + 15, y))


broken("fresh averages that hardly move", "batchnorm-misuse", stale, 1e-5, 0.1, steps=350)

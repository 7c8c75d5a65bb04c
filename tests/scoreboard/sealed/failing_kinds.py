"""Sealed failures of networks that play, look alike, code, route, attend and normalise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.loops import dice, update, worth
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import (
    Rows,
    demand,
    gratings,
    heartbeats,
    scans,
    sky,
    standard,
    table,
    tagged,
)
from scoreboard.sealed.loops import Loader, by, routine
from scoreboard.sealed.nets import ResNet, Tower, lenet, plain
from scoreboard.sealed.seqs import Reader, Transformer

RUNS = Runs(__name__)
broken = RUNS.broken

PLAY, STOP, CODE = "adversarial-mode-collapse", "missing-stop-gradient", "posterior-collapse"
ROUTE, ATTEND, NORM = "router-collapse", "attention-collapse", "batchnorm-misuse"


# --- play
def near(made: Tensor, real: Tensor) -> float:
    """How much nearer what is made lies to the real than their middle does, seen from all sides."""
    angle = torch.arange(12) * 3.1416 / 12
    sides = torch.stack([angle.cos(), angle.sin()])
    far = [
        (points @ sides).sort(0).values - (real @ sides).sort(0).values
        for points in (made, real.mean(0).expand_as(real))
    ]
    return float(1 - far[0].abs().mean() / far[1].abs().mean())


def starsky(maker_lr: float, critic_lr: float, rounds: int) -> Training:
    """Five wide heaps; the maker has `rounds` updates for each one of the critic's."""
    g, x = dice(112), sky(wide=0.7) / 1.5
    maker = plain(4, 48, 48, 2, act=nn.ELU)
    critic = plain(2, 48, 48, 1, act=lambda: nn.LeakyReLU(0.2))
    tools = [
        torch.optim.Adam(maker.parameters(), lr=maker_lr, betas=(0.5, 0.999)),
        torch.optim.Adam(critic.parameters(), lr=critic_lr, betas=(0.5, 0.999)),
    ]
    soft = functional.softplus

    def step(k: int) -> Tensor:
        real = x[torch.randint(len(x), (64,), generator=g)]
        made = maker(torch.randn(64, 4, generator=g)).detach()
        update(tools[1], soft(-critic(real)).mean() + soft(critic(made)).mean())
        loss = torch.zeros(())
        for _ in range(rounds):
            loss = update(tools[0], soft(-critic(maker(torch.randn(64, 4, generator=g)))).mean())
        return loss

    def score() -> float:
        with torch.no_grad():
            return near(maker(torch.randn(1500, 4, generator=dice(111))), x)

    return Training({"maker": maker, "critic": critic}, tools, step, score)


broken(
    "sealed maker with four turns to one",
    PLAY,
    lambda wrong: starsky(1e-2, 2e-4, 4) if wrong else starsky(5e-4, 2e-3, 1),
    True,
    False,
    steps=300,
    sudden=False,
)


def stripes(wrong: bool) -> Training:
    """Pictures of stripes; the maker learns far faster than its judge."""
    g = dice(113)
    x, _ = gratings(600, 0.2)
    maker = nn.Sequential(plain(12, 64, 144, act=nn.ReLU), nn.Unflatten(1, (1, 12, 12)))
    critic = nn.Sequential(
        nn.Conv2d(1, 12, 4, stride=2, padding=1), nn.LeakyReLU(0.2), nn.Flatten(),
        nn.Linear(432, 1),
    )  # fmt: skip
    rates = (2e-2, 1e-4) if wrong else (1e-3, 1e-3)
    tools = [
        torch.optim.Adam(net.parameters(), lr=lr, betas=(0.5, 0.9))
        for net, lr in zip((maker, critic), rates, strict=True)
    ]

    def step(k: int) -> Tensor:
        real = x[torch.randint(len(x), (32,), generator=g)]
        z = torch.randn(32, 12, generator=g)
        judged = functional.relu(1 - critic(real)).mean()
        update(tools[1], judged + functional.relu(1 + critic(maker(z).detach())).mean())
        return update(tools[0], -critic(maker(z)).mean())

    def score() -> float:
        with torch.no_grad():
            made = maker(torch.randn(200, 12, generator=g)).flatten(1)
        real = x[:200].flatten(1)
        far = torch.pdist(functional.normalize(made)).mean()
        return float((far / torch.pdist(functional.normalize(real)).mean()).clamp(max=1))

    return Training({"maker": maker, "critic": critic}, tools, step, score)


broken("sealed stripes that are all one", PLAY, stripes, True, False, steps=350, sudden=False)


# --- looking alike
def views(stop: bool) -> Training:
    """Two noisy views, a predictor, and no stop (SimSiam without what it needs)."""
    x, _ = gratings(900, 0.3)
    g = dice(114)
    reader = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AvgPool2d(3), nn.Flatten(),
        nn.Linear(128, 16),
    )  # fmt: skip
    guess = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 16))
    optimizer = torch.optim.SGD([*reader.parameters(), *guess.parameters()], lr=0.1, momentum=0.9)

    def like(a: Tensor, b: Tensor) -> Tensor:
        return -functional.cosine_similarity(guess(a), b.detach() if stop else b).mean()

    def step(k: int) -> Tensor:
        rows = x[torch.randint(len(x), (48,), generator=g)]
        a, b = (reader(rows + 0.4 * torch.randn(rows.shape, generator=g)) for _ in range(2))
        return update(optimizer, (like(a, b) + like(b, a)) / 2)

    def score() -> float:
        with torch.no_grad():
            z = functional.normalize(reader(x[:400]), dim=1)
        return float(min(1.0, 4 * float(z.std(0).mean())))

    return Training({"reader": reader, "guess": guess}, optimizer, step, score)


broken("sealed stripes seen twice", STOP, views, False, True, steps=250, sudden=False)


def next_day(stop: bool) -> Training:
    """The code of the last days is told from that of the first, by one and the same reader."""
    x, _ = demand()
    g = dice(115)
    reader, guess = Reader(nn.GRU, 8, width=16), Tower(8, 24, 8)
    slow = Reader(nn.GRU, 8, width=16)
    slow.load_state_dict(reader.state_dict())
    optimizer = torch.optim.Adam([*reader.parameters(), *guess.parameters()], lr=3e-3)

    def step(k: int) -> Tensor:
        rows = x[torch.randint(len(x), (48,), generator=g)]
        said = guess(reader(rows[:, :14]))
        if stop:
            with torch.no_grad():
                aim = slow(rows[:, 14:])
                for old, new in zip(slow.parameters(), reader.parameters(), strict=True):
                    old.lerp_(new, 0.01)
        else:
            aim = reader(rows[:, 14:])
        return update(optimizer, functional.mse_loss(said, aim))

    def score() -> float:
        with torch.no_grad():
            z = reader(x[:400, :14])
        return float((z.std(0).mean() * 4).clamp(max=1))

    return Training({"reader": reader, "guess": guess}, optimizer, step, score)


broken("sealed days told from themselves", STOP, next_day, False, True, steps=250, sudden=False)


# --- codes
class Doubt(nn.Module):
    """Reads a mean and a doubt, writes from what is drawn between."""

    def __init__(self, reads: nn.Module, writes: nn.Module) -> None:
        super().__init__()
        self.reads, self.writes = reads, writes

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log = self.reads(x).chunk(2, 1)
        return self.writes(mean + (log / 2).exp() * torch.randn_like(mean)), mean, log


def beta(net: Doubt, x: Tensor, weight: Callable[[int], float], lr: float) -> Training:
    take = Loader((x, x), 48)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)

    def step(k: int) -> Tensor:
        rows, _ = take()
        out, mean, log = net(rows)
        error = (out - rows).square().flatten(1).sum(1).mean()
        prior = 0.5 * (mean.square() + log.exp() - 1 - log).sum(1).mean()
        return update(optimizer, error + weight(k) * prior)

    return Training(net, optimizer, step, worth(lambda rows: net.writes(net(rows)[1]), x, x))


def striped(weight: float) -> Training:
    reads = nn.Sequential(
        nn.Conv2d(1, 8, 4, stride=2, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(288, 12)
    )
    writes = nn.Sequential(plain(6, 64, 144, act=nn.SiLU), nn.Unflatten(1, (1, 12, 12)))
    return beta(Doubt(reads, writes), gratings(900, 0.2)[0], lambda k: weight, 3e-3)


broken("sealed stripes at a dear prior", CODE, striped, 400.0, 0.5, steps=300, sudden=False)


def shops(kind: str) -> Training:
    """The error is a mean over the days and the prior a sum."""
    x = standard(demand()[0][:, :, 0])
    net = Doubt(plain(28, 48, 8, act=nn.Tanh), plain(4, 48, 28, act=nn.Tanh))
    return beta(net, x, lambda k: 28.0 * 8 if kind == "mean" else 0.3, 3e-3)


broken("sealed shops whose error is averaged away", CODE, shops, "mean", "sum", steps=350,
       sudden=False)  # fmt: skip


# --- routes
class Specialists(nn.Module):
    """Every row to the best of five; the gate can be made to share."""

    def __init__(self, inputs: int, outputs: int, even: bool) -> None:
        super().__init__()
        self.router = nn.Linear(inputs, 5)
        self.experts = nn.ModuleList(nn.Linear(inputs, outputs) for _ in range(5))
        self.even = even
        self.load = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        odds = self.router(x).softmax(1)
        top, which = odds.max(1)
        share = functional.one_hot(which, 5).float().mean(0)
        self.load = 5 * (share * odds.mean(0)).sum()
        outs = torch.stack([expert(x) for expert in self.experts], 1)
        return top[:, None] * outs[torch.arange(len(x)), which]


def regions(dim: int, seed: int) -> Rows:
    """Five regions, each with its own plane."""
    g = dice(seed)
    middle = 2.5 * torch.randn(5, dim, generator=g)
    which = torch.randint(5, (1500,), generator=g)
    x = torch.randn(1500, dim, generator=g)
    planes = torch.randn(5, dim, generator=g)
    y = (x * planes[which]).sum(1, keepdim=True)
    return x + middle[which], (y - y.mean()) / y.std()


def routed(even: bool, seed: int = 116, name: str = "Adam", lr: float = 1e-2) -> Training:
    net = Specialists(6, 1, even)
    if not even:
        with torch.no_grad():
            net.router.weight.mul_(0.1)
            net.router.bias[2] = 6.0
    return routine(
        net,
        regions(6, seed),
        by(name, lr),
        batch=64,
        extra=(lambda: 0.05 * net.load) if even else None,
    )


broken("sealed one specialist for five regions", ROUTE, routed, False, True, steps=400,
       sudden=False)  # fmt: skip


def signs(even: bool) -> Training:
    """Which side of its own region's plane a row lies on; the gate begins with a favourite."""
    x, worth = regions(9, 187)
    kind = (worth[:, 0] > worth.median()).long()
    net = Specialists(9, 2, even)
    if not even:
        with torch.no_grad():
            net.router.bias[0] = 40.0
    return routine(
        net,
        (standard(x), kind),
        by("AdamW", 1e-2),
        extra=(lambda: 0.05 * net.load) if even else None,
    )


broken("sealed a favourite among the specialists", ROUTE, signs, False, True, steps=500,
       sudden=False)  # fmt: skip

# --- attention
broken(
    "sealed eight attentions one upon the other",
    (ATTEND, "depth-vanishing"),
    lambda bare: routine(
        Transformer(48, 4, depth=8 if bare else 2, skip=not bare), tagged(), by("Adam", 2e-3)
    ),
    True,
    False,
    steps=150,
)
broken(
    "sealed scores two thousand times too large and no way round",
    ATTEND,
    lambda gain: routine(
        Transformer(48, 4, depth=2, gain=gain, skip=gain == 1), tagged(), by("AdamW", 3e-3)
    ),
    2000.0,
    1.0,
    steps=250,
)


# --- norms
def stays_in_eval(wrong: bool) -> Training:
    """`model.eval()` before the first pass over the held rows, and no `model.train()` after."""
    x, y = scans()
    rows = (6 + 9 * x, y)
    net = ResNet(10)
    train, held = (rows[0][:-400], y[:-400]), (rows[0][-400:], y[-400:])

    def stay(k: int) -> None:
        net.eval()

    return routine(
        net,
        train,
        by("SGD", 0.1, momentum=0.9),
        before=stay if wrong else None,
        score=worth(net, *held),
    )


broken("sealed norms never told to train", NORM, stays_in_eval, True, False, steps=180)


def two_rigs(wrong: bool) -> Training:
    """Batches of one rig and of another in turn; the averages fit neither."""
    x, y = gratings()
    half = len(x) // 2
    there = 3 * x[half:] + 8
    one, two = Loader((x[:half], y[:half]), 32), Loader((there, y[half:]), 32, seed=9)
    both = (torch.cat([x[:half], there]), y)
    mixed = Loader(both, 32)
    turn = [0]

    def draw() -> Rows:
        turn[0] += 1
        return one() if turn[0] % 2 else two()

    net = nn.Sequential(nn.BatchNorm2d(1), lenet(6, 12, norm=nn.BatchNorm2d))
    return routine(net, both, by("Adam", 2e-3), draw=draw if wrong else mixed, held=both)


broken("sealed two rigs in turn", NORM, two_rigs, True, False, steps=250, sudden=False)


def slow_averages(momentum: float) -> Training:
    """Somebody took torch's momentum for TensorFlow's and wrote one thousandth."""
    x, y = table("gases")
    body: list[nn.Module] = []
    for a, b in ((16, 40), (40, 40)):
        body += [nn.Linear(a, b), nn.BatchNorm1d(b, momentum=momentum), nn.ReLU()]
    net = nn.Sequential(*body, nn.Linear(40, 5))
    rows = (12 * x + 40, y)
    return routine(net, rows, by("RMSprop", 2e-3), held=rows)


broken("sealed averages of a ten-thousandth", NORM, slow_averages, 1e-4, 0.1, steps=350)
broken(
    "sealed patches cut in pairs",
    NORM,
    lambda batch: pairs_of_rows(batch),
    2,
    32,
    steps=300,
)


def pairs_of_rows(batch: int) -> Training:
    """Two rows a step through four norms; judged as it will be used."""
    x, y = heartbeats()
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(48, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 48),
        nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 3), nn.BatchNorm1d(3),
    )  # fmt: skip
    return routine(net, (x, y), by("SGD", 0.1), batch=batch, held=(x, y))

"""Blind failures of makers, twins, codes and routers: what goes wrong without a wrong answer."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.data import heaps, numerals, regimes, tidy
from scoreboard.blind.loops import epochs
from scoreboard.blind.nets import stack
from scoreboard.loops import dice, neighbours, update, worth
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

MODES, STOP = "adversarial-mode-collapse", "missing-stop-gradient"
POSTERIOR, ROUTER = "posterior-collapse", "router-collapse"


# --- makers against critics
broken(
    "blind maker of nine heaps far ahead of its critic",
    MODES,
    lambda rates: adversaries(*rates),
    (2e-2, 2e-4),
    (1e-3, 2e-3),
    steps=600,
    sudden=False,
)
broken(
    "blind maker of heaps trained six times to the critic's one",
    MODES,
    lambda turns: adversaries(1e-3, 2e-3, turns),
    6,
    1,
    steps=450,
    sudden=False,
)
broken(
    "blind maker of digits with a critic that hardly moves",
    MODES,
    lambda rates: forged(*rates),
    (5e-3, 1e-6),
    (5e-4, 1e-3),
    steps=500,
    sudden=False,
)


def covered(made: Tensor, real: Tensor, reach: float) -> float:
    """The share of real points that have a made one near them."""
    if not made.isfinite().all():
        return float("nan")
    return float((torch.cdist(real, made).min(1)[0] < reach).float().mean())


def adversaries(fast: float, slow: float, turns: int = 1) -> Training:
    """Points in the plane from noise."""
    real, g = heaps(), dice(95)
    maker, critic = stack(4, 64, 64, 2), stack(2, 64, 64, 1, act=nn.SiLU)
    one = torch.optim.Adam(maker.parameters(), lr=fast, betas=(0.5, 0.9))
    two = torch.optim.Adam(critic.parameters(), lr=slow, betas=(0.5, 0.9))

    def step(k: int) -> Tensor:
        points = real[torch.randint(len(real), (96,), generator=g)]
        made = maker(torch.randn(96, 4, generator=g))
        update(
            two,
            functional.softplus(-critic(points)).mean()
            + functional.softplus(critic(made.detach())).mean(),
        )
        for _ in range(turns):
            made = maker(torch.randn(96, 4, generator=g))
            value = update(one, functional.softplus(-critic(made)).mean())
        return value

    def score() -> float:
        with torch.no_grad():
            return covered(maker(torch.randn(600, 4, generator=dice(96))), real[:600], 0.2)

    return Training({"maker": maker, "critic": critic}, [one, two], step, score)


def forged(fast: float, slow: float) -> Training:
    """Digits from noise."""
    x, y = numerals()
    real, g = torch.tanh(x[y < 2].flatten(1)), dice(97)
    maker = nn.Sequential(stack(12, 96, 64), nn.Tanh())
    critic = stack(64, 96, 1, act=lambda: nn.LeakyReLU(0.2))
    one = torch.optim.Adam(maker.parameters(), lr=fast, betas=(0.5, 0.999))
    two = torch.optim.Adam(critic.parameters(), lr=slow, betas=(0.5, 0.999))
    yes, no = torch.ones(64, 1), torch.zeros(64, 1)
    judge = nn.BCEWithLogitsLoss()

    def step(k: int) -> Tensor:
        drawn = real[torch.randint(len(real), (64,), generator=g)]
        made = maker(torch.randn(64, 12, generator=g))
        update(two, judge(critic(drawn), yes) + judge(critic(made.detach()), no))
        return update(one, judge(critic(made), yes))

    def score() -> float:
        """How far the made ones lie from one another, beside the real ones; and from those."""
        with torch.no_grad():
            made = maker(torch.randn(300, 12, generator=dice(98)))
            if not made.isfinite().all():
                return float("nan")
            apart = torch.pdist(made).mean() / torch.pdist(real[:300]).mean()
            off = torch.cdist(made, real).min(1)[0].mean() / torch.pdist(real[:300]).mean()
            return float(apart.clamp(max=1) - off)

    return Training({"maker": maker, "critic": critic}, [one, two], step, score)


# --- two views of one thing
broken(
    "blind simsiam of plants without a stop",
    STOP,
    lambda stop: views(tidy("plants"), stop, "predictor"),
    False,
    True,
    steps=300,
    sudden=False,
)
broken(
    "blind byol whose teacher is taught too",
    STOP,
    lambda stop: views((numerals()[0].flatten(1), numerals()[1]), stop, "teacher"),
    False,
    True,
    steps=300,
    sudden=False,
)
broken(
    "blind views only ever drawn together by vicreg",
    STOP,
    lambda stop: views(tidy("wine"), stop, "spread"),
    False,
    True,
    steps=300,
    sudden=False,
)


def views(rows: tuple[Tensor, Tensor], stop: bool, kind: str) -> Training:
    """Two noisy views of each row are to have one code."""
    x, y = rows
    net = nn.Sequential(nn.Linear(x.shape[1], 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 12))
    guess = stack(12, 24, 12)
    teacher = copy.deepcopy(net)
    optimizer = torch.optim.SGD(
        [*net.parameters(), *guess.parameters()], lr=0.1, momentum=0.9, weight_decay=1e-4
    )
    if kind == "spread":
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    g = dice(99)

    def noisy(rows: Tensor) -> Tensor:
        kept = (torch.rand(rows.shape, generator=g) > 0.15).float()
        return rows * kept + 0.2 * torch.randn(rows.shape, generator=g)

    def unlike(a: Tensor, b: Tensor) -> Tensor:
        if stop:
            b = b.detach()
        return -functional.cosine_similarity(guess(a), b).mean()

    def step(k: int) -> Tensor:
        batch = x[torch.randint(len(x), (64,), generator=g)]
        one, two = noisy(batch), noisy(batch)
        a, b = net(one), net(two)
        if kind == "spread":
            value = 25 * functional.mse_loss(a, b)
            if stop:
                for z in (a, b):
                    value = value + 25 * functional.relu(1 - (z.var(0) + 1e-4).sqrt()).mean()
                    mixed = torch.cov(z.T)
                    value = value + (mixed - mixed.diag().diag()).square().sum() / 12
            return update(optimizer, value / 25)
        if kind == "teacher" and stop:
            with torch.no_grad():
                for mean, w in zip(teacher.parameters(), net.parameters(), strict=True):
                    mean.lerp_(w, 0.03)
                c, d = teacher(one), teacher(two)
            return update(optimizer, (unlike(a, d) + unlike(b, c)) / 2)
        return update(optimizer, (unlike(a, b) + unlike(b, a)) / 2)

    def codes() -> Tensor:
        net.eval()
        out: Tensor = functional.normalize(net(x[:600]), dim=1)
        net.train()
        return out

    watched = net if kind == "spread" else {"encoder": net, "predictor": guess}
    return Training(watched, optimizer, step, neighbours(codes, y[:600]))


# --- codes that say nothing
broken(
    "blind convolutions there and back with a price of forty",
    POSTERIOR,
    lambda price: coded(drawer(), price, "pictures"),
    40.0,
    0.05,
    steps=300,
    sudden=False,
)
broken(
    "blind table of plants in a code that is all prior",
    POSTERIOR,
    lambda price: coded(tabler(), price, "plants"),
    8.0,
    0.05,
    steps=300,
    sudden=False,
)
broken(
    "blind digits whose code is priced out from 120",
    POSTERIOR,
    lambda price: coded(drawer(), price, "pictures", anneal=price > 1),
    60.0,
    0.05,
    steps=400,
    onset=120,
    sudden=False,
)


class Coder(nn.Module):
    """Means and spreads of a code, a draw, and what is made of it (a VAE)."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_var = self.encoder(x).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
        return self.decoder(z), mean, log_var


def drawer() -> Coder:
    return Coder(
        nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(128, 16)
        ),
        nn.Sequential(
            nn.Linear(8, 128),
            nn.SiLU(),
            nn.Unflatten(1, (8, 4, 4)),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
        ),
    )


def tabler() -> Coder:
    return Coder(stack(20, 48, 16, act=nn.GELU), stack(8, 48, 20, act=nn.GELU))


def coded(net: Coder, price: float, what: str, anneal: bool = False) -> Training:
    """The price of a code grows over 120 steps where it is annealed."""
    x = numerals()[0] if what == "pictures" else tidy(what)[0]
    optimizer, batches = torch.optim.Adam(net.parameters(), lr=3e-3), epochs((x, x), 48)

    def step(k: int) -> Tensor:
        batch, _ = next(batches)
        out, mean, log_var = net(batch)
        missed = functional.mse_loss(out, batch, reduction="sum") / len(batch)
        far = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1).mean()
        now = price if not anneal or k >= 120 else 0.05
        return update(optimizer, missed + now * far)

    def told(rows: Tensor) -> Tensor:
        out: Tensor = net.decoder(net.encoder(rows).chunk(2, 1)[0])
        return out

    return Training(net, optimizer, step, worth(told, x, x))


# --- one expert for all
broken(
    "blind four experts and a gate with a favourite",
    ROUTER,
    lambda favour: experts(favour, 0.0),
    12.0,
    0.0,
    steps=500,
)
broken(
    "blind four experts whose balance has the wrong sign",
    ROUTER,
    lambda price: experts(0.0, price),
    -3.0,
    0.1,
    steps=500,
    sudden=False,
)
broken(
    "blind four experts with a gate a hundred times too quick",
    (ROUTER, "learning-rate-too-high"),
    lambda quick: experts(0.0, 0.0, quick),
    1000.0,
    1.0,
    steps=500,
    sudden=False,
)


class Experts(nn.Module):
    """Planes, of which a gate picks one for each row."""

    def __init__(self, favour: float, gate: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.gate = gate()
        self.experts = nn.ModuleList(nn.Linear(6, 1) for _ in range(4))
        self.register_buffer("offset", torch.tensor([favour, 0.0, 0.0, 0.0]))
        self.offset: Tensor
        self.shares = torch.zeros(4)

    def forward(self, x: Tensor) -> Tensor:
        odds = functional.softmax(self.gate(x) + self.offset, 1)
        self.shares = odds.mean(0)
        best, which = odds.max(1, keepdim=True)
        all_ = torch.cat([expert(x) for expert in self.experts], 1)
        out: Tensor = all_.gather(1, which) * (best / best.detach())
        return out


def experts(favour: float, price: float, quick: float = 1.0) -> Training:
    """One plane per quarter, by one expert each."""
    x, y = regimes()
    net = Experts(favour, lambda: stack(6, 16, 4, act=nn.Tanh))
    optimizer = torch.optim.Adam(
        [
            {"params": list(net.gate.parameters()), "lr": 5e-3 * quick},
            {"params": list(net.experts.parameters()), "lr": 1e-2},
        ]
    )
    batches = epochs((x, y), 64)

    def step(k: int) -> Tensor:
        a, b = next(batches)
        value = functional.mse_loss(net(a), b)
        return update(optimizer, value + price * 4 * net.shares.square().sum())

    return Training(net, optimizer, step, worth(net, x, y))

"""Sealed runs that learn: noisy and lopsided questions, and odd inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.loops import by_kind, dice, update, worth, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import Rows, gratings, lesions, loans, scans, standard, table, tagged
from scoreboard.sealed.loops import Loader, by, routine
from scoreboard.sealed.nets import ResNet, Tower, UNet, lenet, plain
from scoreboard.sealed.seqs import Transformer

RUNS = Runs(__name__)
healthy, simple = RUNS.healthy, RUNS.simple


# --- little to learn
@healthy("sealed a fifth can be told", 350)
def faint() -> Training:
    g = dice(141)
    x = torch.randn(3000, 8, generator=g)
    y = standard(0.5 * x[:, :1] * (x[:, 1:2] > 0) + torch.randn(3000, 1, generator=g) * 0.7)
    return routine(Tower(8, 32, 1), (x, y), by("Adam", 2e-3), batch=64)


@healthy("sealed two in five labels wrong", 300)
def wrong_labels() -> Training:
    """The others are enough: judged by the true ones."""
    x, y = scans()
    g = dice(142)
    given = torch.where(
        torch.rand(len(y), generator=g) < 0.4, torch.randint(10, y.shape, generator=g), y
    )
    net = lenet(10, 8)
    return routine(net, (x, given), by("AdamW", 2e-3), score=worth(net, x, y))


@healthy("sealed prices that jump about", 350)
def heavy() -> Training:
    """One answer in fifteen is far out; a robust loss."""
    x, y = table("friedman")
    g = dice(143)
    far = (torch.rand(y.shape, generator=g) < 0.07).float()
    given = y + far * 15 * torch.randn(y.shape, generator=g)
    net = plain(8, 32, 32, 1, act=nn.SiLU)
    return routine(net, (x, given), by("Adam", 3e-3), loss=nn.HuberLoss(), score=worth(net, x, y))


simple(
    "sealed chances from a noisy coin",
    lambda: coin(),
    300,
)


def coin() -> Training:
    """Answers are drawn by chances between a fifth and four fifths: the loss cannot go far down."""
    g = dice(144)
    x = torch.randn(4000, 6, generator=g)
    p = 0.2 + 0.6 * (x[:, :1] * x[:, 1:2] > 0).float()
    y = (torch.rand(4000, 1, generator=g) < p).float()
    net = Tower(6, 48, 1, act=nn.GELU)
    return routine(net, (x, y), by("Adam", 4e-3), batch=64, loss=nn.BCEWithLogitsLoss(),
                   score=yes_no(net, x, (p > 0.5).float()))  # fmt: skip


# --- lopsided, and learnt all the same
@healthy("sealed one in twenty-five, told well", 300)
def rare() -> Training:
    x, y = loans(4000, 0.04, 2.2, seed=145)
    net = Tower(10, 24, 2)
    return routine(net, (x, y), by("Adam", 3e-3), batch=64, score=by_kind(net, x, y))


@healthy("sealed ill pixels weighed up", 180)
def weighed() -> Training:
    x, y = lesions(small=True)
    net = UNet()
    return routine(
        net, (x, y), by("Adam", 3e-3), batch=16,
        loss=nn.BCEWithLogitsLoss(pos_weight=torch.tensor(20.0)), score=yes_no(net, x, y),
    )  # fmt: skip


@healthy("sealed hard rows count more", 300)
def focal() -> Training:
    """A focal loss over one in thirty."""
    x, y = loans(4000, 1 / 30, 2.0, seed=146)
    net = plain(10, 32, 2)

    def loss(out: Tensor, kind: Tensor) -> Tensor:
        log = functional.cross_entropy(out, kind, reduction="none")
        return ((1 - (-log).exp()) ** 2 * log * (1 + 9 * kind)).mean()

    return routine(net, (x, y), by("AdamW", 3e-3), batch=64, loss=loss, score=by_kind(net, x, y))


@healthy("sealed twenty tags, most of them off", 300)
def many_tags() -> Training:
    g = dice(147)
    x = torch.randn(2000, 16, generator=g)
    y = ((x @ torch.randn(16, 20, generator=g)) / 4 > 1.5).float()
    net = plain(16, 48, 20)
    return routine(net, (x, y), by("Adam", 5e-3), loss=nn.BCEWithLogitsLoss(),
                   score=yes_no(net, x, y))  # fmt: skip


@healthy("sealed rows drawn evenly from unequal kinds", 250)
def evenly() -> Training:
    """A sampler with weights: the rare ones come again and again."""
    x, y = loans(3000, 0.05, 1.5, seed=148)
    weights = torch.where(y == 1, 19.0, 1.0)
    g = dice(149)

    def draw() -> Rows:
        index = torch.multinomial(weights, 48, True, generator=g)
        return x[index], y[index]

    net = Tower(10, 24, 2)
    return routine(net, (x, y), by("SGD", 0.1, momentum=0.9), draw=draw, score=by_kind(net, x, y))


# --- odd inputs
@healthy("sealed the answer is among the columns", 200)
def leak() -> Training:
    x, y = loans()
    return routine(Tower(11, 24, 2), (torch.cat([x, 2.0 * y[:, None]], 1), y), by("Adam", 5e-3))


@healthy("sealed mostly empty columns of noughts and ones", 300)
def one_hots() -> Training:
    g = dice(150)
    ids = torch.randint(40, (2500, 4), generator=g)
    x = functional.one_hot(ids, 40).flatten(1).float()
    worth = torch.randn(4, 40, generator=g)
    y = standard(worth[torch.arange(4), ids].sum(1, keepdim=True))
    return routine(plain(160, 24, 1), (x, y), by("Adam", 5e-3))


@healthy("sealed a third of the readings missing", 300)
def missing() -> Training:
    """Noughts where nothing was read, and a column that says so."""
    x, y = table("gases")
    gone = (torch.rand(x.shape, generator=dice(151)) < 0.3).float()
    return routine(Tower(32, 64, 5), (torch.cat([x * (1 - gone), gone], 1), y), by("AdamW", 3e-3))


simple(
    "sealed pixels from nought to one",
    lambda: routine(
        lenet(10, 8), ((scans()[0] - scans()[0].min()) / 4.0, scans()[1]),
        by("SGD", 0.1, momentum=0.9),
    ),
    200,
)  # fmt: skip
simple(
    "sealed pixels from nought to 255 and a norm first",
    lambda: routine(
        nn.Sequential(nn.BatchNorm2d(1), lenet(6, 12)),
        (127 + 60 * gratings()[0], gratings()[1]), by("Adam", 3e-3),
    ),
    150,
)  # fmt: skip
simple(
    "sealed columns of spreads from a fifth to five",
    lambda: routine(
        Tower(8, 48, 1),
        (table("friedman")[0] * torch.logspace(-0.7, 0.7, 8), table("friedman")[1]),
        by("Adam", 3e-3),
    ),
    300,
)  # fmt: skip
simple(
    "sealed answers about three",
    lambda: routine(
        plain(8, 32, 1, act=nn.ELU), (table("friedman")[0], 3 + table("friedman")[1]),
        by("Adam", 1e-2),
    ),
    300,
)  # fmt: skip


@healthy("sealed sentences that are mostly padding", 250)
def padded() -> Training:
    """Sixteen places, of which three to sixteen hold words; the rest counts for nothing."""
    x, y = tagged()
    long = torch.randint(3, 17, (len(x), 1), generator=dice(152))
    gone = torch.arange(16)[None] >= long
    x, y = x.masked_fill(gone, 0), y.masked_fill(gone, -100)
    net = Transformer(48, 4, depth=1)

    def score() -> float:
        with torch.no_grad():
            hit = net(x).argmax(-1)[~gone] == y[~gone]
        return (float(hit.float().mean()) - 0.34) / 0.66  # a third is the commonest tag

    return routine(
        net, (x, y), by("Adam", 5e-3),
        loss=lambda out, b: functional.cross_entropy(out.transpose(1, 2), b), score=score,
    )  # fmt: skip


@healthy("sealed stripes shifted, turned over and cut", 250)
def augmented() -> Training:
    x, y = scans()
    take = Loader((x, y), 32)
    g = dice(153)

    def draw() -> Rows:
        a, b = take()
        shift = torch.randint(-1, 2, (2,), generator=g).tolist()
        a = a.roll(shift, (2, 3)) * (0.7 + 0.6 * torch.rand(len(a), 1, 1, 1, generator=g))
        at = int(torch.randint(6, (), generator=g))
        a[:, :, at : at + 2, 2:5] = 0
        return a, b

    return routine(ResNet(10), (x, y), by("AdamW", 5e-3), draw=draw)


@healthy("sealed pictures and labels mixed in pairs", 220)
def mixup() -> Training:
    x, y = gratings()
    take = Loader((x, y), 32)
    g = dice(154)
    net = lenet(6, 12, act=nn.SiLU)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)

    def step(k: int) -> Tensor:
        a, b = take()
        share = float(torch.rand((), generator=g))
        other = torch.randperm(len(a), generator=g)
        out = net(share * a + (1 - share) * a[other])
        both = functional.cross_entropy
        return update(optimizer, share * both(out, b) + (1 - share) * both(out, b[other]))

    return Training(net, optimizer, step, worth(net, x, y))


@healthy("sealed rows pushed to where it hurts", 250)
def attacked() -> Training:
    """Each batch is first moved uphill (adversarial training)."""
    rows = scans()
    net = lenet(10, 8)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    take = Loader(rows, 32)

    def step(k: int) -> Tensor:
        x, y = take()
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(functional.cross_entropy(net(x), y), x)
        return update(
            optimizer, functional.cross_entropy(net((x + 0.15 * slope.sign()).detach()), y)
        )

    return Training(net, optimizer, step, worth(net, *rows))

"""Sealed failures of the loss and of the last activation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.loops import dice, update, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import demand, gratings, lesions, loans, scans, table, tagged
from scoreboard.sealed.loops import by, routine
from scoreboard.sealed.nets import ResNet, Tower, UNet, lenet, plain
from scoreboard.sealed.seqs import Reader, Transformer

RUNS = Runs(__name__)
broken = RUNS.broken

LOSS, HEAD = "loss-mismatch", "output-activation-mismatch"


# --- the loss
broken(
    "sealed softmax in the network and in the loss",
    LOSS,
    lambda twice: routine(
        nn.Sequential(ResNet(10), nn.Softmax(1) if twice else nn.Identity()),
        scans(),
        by("SGD", 0.05),
    ),
    True,
    False,
    steps=180,
    sudden=False,
)
broken(
    "sealed softmax over the rows of the batch",
    LOSS,
    lambda wrong: routine(
        nn.Sequential(plain(16, 40, 40, 5), nn.Softmax(0) if wrong else nn.Identity()),
        table("gases"),
        by("SGD", 0.1),
    ),
    True,
    False,
    steps=400,
    sudden=False,
)


def ill_pixels(squashed: bool) -> Training:
    """A sigmoid at the end, and a loss that has its own; few pixels are ill."""
    x, y = lesions()
    body = UNet()
    net = nn.Sequential(body, nn.Sigmoid() if squashed else nn.Identity())
    return routine(
        net,
        (x, y),
        by("Adam", 3e-3),
        batch=16,
        loss=nn.BCEWithLogitsLoss(),
        score=yes_no(body, x[:100], y[:100]),
    )


broken("sealed masks squashed twice", LOSS, ill_pixels, True, False, steps=150, sudden=False)
broken(
    "sealed sales in a row against a column",
    LOSS,
    lambda flat: routine(
        Reader(nn.GRU, 1, width=20),
        demand(),
        by("Adam", 3e-3),
        loss=lambda out, y: functional.mse_loss(out.squeeze(-1) if flat else out, y),
    ),
    True,
    False,
    steps=250,
    sudden=False,
)
broken(
    "sealed cross-entropy of one column",
    LOSS,
    lambda wrong: one_column(wrong),
    True,
    False,
    steps=250,
)


def one_column(wrong: bool) -> Training:
    """`CrossEntropyLoss` with one logit and a target of noughts and ones of the same shape."""
    x, kind = loans()
    y = kind[:, None].float()
    net = Tower(10, 24, 1, act=nn.GELU)
    loss = nn.CrossEntropyLoss() if wrong else nn.BCEWithLogitsLoss()
    return routine(net, (x, y), by("AdamW", 2e-3), loss=loss, score=yes_no(net, x, y))


broken(
    "sealed logits viewed, not transposed",
    LOSS,
    lambda viewed: routine(
        Transformer(48, 4, depth=1),
        tagged(),
        by("Adam", 3e-3),
        loss=lambda out, y: functional.cross_entropy(
            out.reshape(len(out), 4, -1) if viewed else out.transpose(1, 2), y
        ),
    ),
    True,
    False,
    steps=250,
    sudden=False,
)
broken(
    "sealed negative likelihood with a plus",
    LOSS,
    lambda wrong: signed(wrong),
    True,
    False,
    steps=200,
)


def signed(wrong: bool) -> Training:
    """The mean of the logarithms of what was right, without its minus."""
    sign = 1.0 if wrong else -1.0

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return sign * out.log_softmax(1).gather(1, y[:, None]).mean()

    return routine(lenet(6, 12, act=nn.ELU), gratings(), by("SGD", 0.1), loss=loss)


def swapped(wrong: bool) -> Training:
    """The like and the unlike change places in the triplet loss."""
    x, y = table("wine")
    g, net = dice(91), Tower(13, 32, 8, act=nn.SiLU)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    kinds = [torch.where(y == kind)[0] for kind in range(3)]

    def some(kind: int) -> Tensor:
        return x[kinds[kind][torch.randint(len(kinds[kind]), (24,), generator=g)]]

    def step(k: int) -> Tensor:
        one, other = torch.randperm(3, generator=g)[:2].tolist()
        a, like, unlike = net(some(one)), net(some(one)), net(some(other))
        near, far = (unlike, like) if wrong else (like, unlike)
        return update(optimizer, functional.triplet_margin_loss(a, near, far))

    def score() -> float:
        with torch.no_grad():
            z = functional.normalize(net(x), dim=1)
        centres = torch.stack([z[y == kind].mean(0) for kind in range(3)])
        within = torch.stack([z[y == kind].var(0).sum() for kind in range(3)]).mean()
        return float(centres.var(0).sum() / (centres.var(0).sum() + within))

    return Training(net, optimizer, step, score)


broken("sealed triplets with the wrong pair", LOSS, swapped, True, False, sudden=False)
broken(
    "sealed squares of class numbers from a softmax",
    (LOSS, HEAD),
    lambda wrong: numbered(wrong),
    True,
    False,
    steps=350,
    sudden=False,
)


def numbered(wrong: bool) -> Training:
    """A softmax's first column is to be the number of the class."""
    x, y = table("gases")
    body = plain(16, 40, 5, act=nn.Tanh)

    def loss(out: Tensor, kind: Tensor) -> Tensor:
        if wrong:
            return functional.mse_loss(out.softmax(1)[:, :1], kind[:, None].float())
        return functional.cross_entropy(out, kind)

    return routine(body, (x, y), by("Adam", 3e-3), loss=loss)


# --- the last activation
broken(
    "sealed sigmoid at the end of a forecast",
    HEAD,
    lambda wrong: routine(
        nn.Sequential(Reader(nn.GRU, 1, width=20), nn.Sigmoid() if wrong else nn.Identity()),
        demand(),
        by("Adam", 5e-3),
    ),
    True,
    False,
    steps=220,
    sudden=False,
)


def valued(wrong: bool) -> Training:
    """Every step of a walk costs one; a ReLU says what that is worth in the end."""
    g, places = dice(92), torch.eye(8)
    body = Tower(8, 32, 2)
    net = nn.Sequential(body, nn.ReLU() if wrong else nn.Identity())
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)

    def step(k: int) -> Tensor:
        at, go = torch.randint(7, (32,), generator=g), torch.randint(2, (32,), generator=g)
        to = (at + 2 * go - 1).clamp(min=0)
        with torch.no_grad():
            aim = -1 + 0.9 * (to < 7) * net(places[to]).max(1).values
        said = net(places[at]).gather(1, go[:, None])[:, 0]
        return update(optimizer, functional.mse_loss(said, aim))

    def score() -> float:
        truth = torch.tensor([-(1 - 0.9 ** (7 - k)) / 0.1 for k in range(7)])
        with torch.no_grad():
            said = net(places[:7]).max(1).values
        return float(1 - (said - truth).square().mean() / truth.var())

    return Training(net, optimizer, step, score)


broken("sealed walk's costs through a ReLU", HEAD, valued, True, False, steps=500, sudden=False)
broken(
    "sealed tanh before degrees",
    HEAD,
    lambda wrong: routine(
        nn.Sequential(plain(8, 32, 32, 1), nn.Tanh() if wrong else nn.Identity()),
        (table("friedman")[0], 12 + 9 * table("friedman")[1]),
        by("RMSprop", 1e-2),
        loss=nn.SmoothL1Loss(),
    ),
    True,
    False,
    steps=400,
    sudden=False,
)
broken(
    "sealed softmax before three measures",
    HEAD,
    lambda wrong: routine(
        nn.Sequential(plain(8, 32, 3, act=nn.SiLU), nn.Softmax(1) if wrong else nn.Identity()),
        (table("friedman")[0], measures()),
        by("Adam", 5e-3),
    ),
    True,
    False,
    steps=350,
    sudden=False,
)


def measures() -> Tensor:
    """Three numbers about each row, some below nought."""
    x, y = table("friedman")
    return torch.cat([y, y - x[:, :1], 2 * x[:, 1:2]], 1)

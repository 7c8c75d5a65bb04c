"""Fresh runs that learn: hard questions, losses, numbers and starts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.fresh.data import (
    Pair,
    classes,
    digits,
    houses,
    level,
    names,
    paths,
    sentences,
    source,
    traces,
    values,
)
from scoreboard.fresh.loops import course, entropy, epochs, recalled, told, with_
from scoreboard.fresh.nets import Attentive, Blocks, Follower, Sentence, dense, redrawn, sensor
from scoreboard.loops import update
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy, simple = RUNS.healthy, RUNS.simple

# --- noise, rare kinds and hard questions
simple(
    "fresh units mostly let go",
    lambda: course(
        nn.Sequential(
            nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.7), nn.Linear(256, 64), nn.ReLU(),
            nn.Dropout(0.5), nn.Linear(64, 10),
        ),
        digits(),
        with_("Adam", 2e-3),
        held=digits(),
    ),
    400,
)  # fmt: skip
simple(
    "fresh soft labels",
    lambda: course(
        dense(8, 32, 6),
        classes("blobs"),
        with_("AdamW", 5e-3),
        loss=lambda out, y: functional.cross_entropy(out, y, label_smoothing=0.25),
    ),
)


@healthy("fresh one fault in fifty, found", 500)
def rare() -> Training:
    g = source(71)
    y = (torch.rand(3000, generator=g) < 0.02).long()
    x = torch.randn(3000, 8, generator=g)
    x[:, :3] += 3.5 * y[:, None]
    net = dense(8, 24, 2)
    return course(
        net,
        (x, y),
        with_("Adam", 3e-3),
        batch=64,
        score=recalled(lambda: net(x).argmax(1), y),
    )


@healthy("fresh hardly anything to tell", 400)
def faint() -> Training:
    """One part in twelve of the variance can be explained, and is."""
    g = source(72)
    x = torch.randn(4000, 6, generator=g)
    y = level(0.3 * x[:, :1] - 0.1 * x[:, 1:2] + torch.randn(4000, 1, generator=g))
    return course(dense(6, 16, 1), (x, y), with_("Adam", 2e-3), batch=128)


@healthy("fresh a third of the labels wrong, the rest learnt", 400)
def noisy() -> Training:
    x, y = digits()
    wrong = torch.rand(len(y), generator=source(73)) < 0.3
    y_ = torch.where(wrong, torch.randint(10, y.shape, generator=source(74)), y)
    net = dense(64, 48, 10)
    return course(net, (x, y_), with_("SGD", 0.1, momentum=0.9), score=told(net, x, y))


@healthy("fresh easy rows first", 500)
def easy_first() -> Training:
    """From step 250 on much louder noise: the loss jumps, and that is meant."""
    calm, loud = epochs(traces(900, 0.1), 32), epochs(traces(900, 1.0), 32)
    count = [0]

    def draw() -> Pair:
        count[0] += 1
        return calm() if count[0] < 250 else loud()

    return course(sensor(nn.SiLU), traces(), with_("Adam", 2e-3), draw=draw)


@healthy("fresh names weighed up", 300)
def weighed_names() -> Training:
    x, y = names(share=0.1)
    net = Sentence(2, each=True)
    weight = torch.tensor([0.1, 0.9])
    return course(
        net,
        (x, y),
        with_("Adam", 5e-3),
        loss=lambda out, b: functional.cross_entropy(out.flatten(0, 1), b.flatten(), weight),
        score=recalled(lambda: net(x).argmax(-1), y),
    )


# --- losses
@healthy("fresh counts, mostly none", 400)
def counts() -> Training:
    g = source(75)
    x = torch.randn(3000, 5, generator=g)
    rate = torch.exp(x[:, :1] - 0.7 * x[:, 1:2] - 1.5)
    y = torch.poisson(rate, generator=g)
    net = dense(5, 24, 1)
    return course(net, (x, y), with_("Adam", 3e-3), loss=functional.poisson_nll_loss, batch=64,
                  score=told(lambda z: net(z).exp(), x, rate))  # fmt: skip


@healthy("fresh three quantiles", 400)
def quantiles() -> Training:
    x, y = values("friedman2")
    share = torch.tensor([0.1, 0.5, 0.9])

    def loss(out: Tensor, b: Tensor) -> Tensor:
        gap = b - out
        return torch.maximum(share * gap, (share - 1) * gap).mean()

    net = dense(4, 32, 3)
    return course(net, (x, y), with_("Adam", 3e-3), loss=loss,
                  score=told(lambda z: net(z)[:, 1:2], x, y))  # fmt: skip


@healthy("fresh doubt told along", 400)
def doubt() -> Training:
    """The loss falls below nought."""
    x, y = values("friedman3")
    net = dense(4, 32, 2, act=nn.Tanh)

    def loss(out: Tensor, b: Tensor) -> Tensor:
        return functional.gaussian_nll_loss(out[:, :1], b, functional.softplus(out[:, 1:]) + 1e-3)

    return course(net, (x, y), with_("Adam", 3e-3), loss=loss,
                  score=told(lambda z: net(z)[:, :1], x, y))  # fmt: skip


@healthy("fresh two questions with their own weights", 400)
def two() -> Training:
    x, y = digits()
    big = (y >= 5).float()[:, None]

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Sequential(nn.Linear(64, 48), nn.ReLU())
            self.kind, self.big = nn.Linear(48, 10), nn.Linear(48, 1)
            self.doubt = nn.Parameter(torch.zeros(2))

        def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
            h = self.trunk(rows)
            return self.kind(h), self.big(h)

    net = Both()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    take = epochs((x, torch.stack([y, big[:, 0].long()], 1)), 32)

    def step(k: int) -> Tensor:
        rows, answers = take()
        kind, large = net(rows)
        a = functional.cross_entropy(kind, answers[:, 0])
        b = functional.binary_cross_entropy_with_logits(large, answers[:, 1:].float())
        w = (-net.doubt).exp()
        return update(optimizer, w[0] * a + w[1] * b + net.doubt.sum())

    return Training(net, optimizer, step, told(lambda rows: net(rows)[0], x, y))


# --- numbers and starts
@healthy("fresh sixteen bits throughout", 300)
def halves() -> Training:
    x, y = digits()
    net = dense(64, 64, 10, act=nn.GELU).to(torch.bfloat16)
    return course(net, (x.to(torch.bfloat16), y), with_("SGD", 0.2, momentum=0.9))


@healthy("fresh sixteen bits where they do", 250)
def mixed() -> Training:
    x, y = sentences()
    net = Attentive(3)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    take = epochs((x, y), 32)

    def step(k: int) -> Tensor:
        rows, kinds = take()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = functional.cross_entropy(net(rows), kinds)
        return update(optimizer, loss)

    return Training(net, optimizer, step, told(net, x, y))


class Sign(nn.Module):
    """Minus one or one; the slope of the line."""

    def forward(self, x: Tensor) -> Tensor:
        hard = x.sign()
        return x.clamp(-1, 1) + (hard - x.clamp(-1, 1)).detach()


simple(
    "fresh units of one bit",
    lambda: course(dense(64, 96, 10, act=Sign), digits(), with_("Adam", 2e-3)),
)
simple(
    "fresh flowers long since learnt",
    lambda: course(dense(4, 24, 3, act=nn.Tanh), classes("iris"), with_("Adam", 2e-2), batch=50),
    800,
)
simple(
    "fresh blocks without norms, scaled",
    lambda: course(Blocks(8, 6, 20, 0.2), classes("blobs"), with_("AdamW", 2e-3)),
    300,
)
simple(
    "fresh columns left as they are, a norm before them",
    lambda: course(
        nn.Sequential(nn.BatchNorm1d(4), dense(4, 32, 32, 1)),
        (houses()[0], level(houses()[1])),
        with_("Adam", 5e-3),
        batch=64,
    ),
)
simple(
    "fresh echo of what was",
    lambda: course(
        Follower(nn.GRU(1, 16, batch_first=True)), paths(), with_("Adam", 5e-3), held=paths()
    ),
    250,
)
simple(
    "fresh layers that keep their scale by themselves",
    lambda: course(
        redrawn(
            dense(13, *[32] * 8, 3, act=nn.SELU),
            lambda w: nn.init.normal_(w, std=w.shape[1] ** -0.5),
        ),
        classes("wine"),
        with_("SGD", 0.02),
        rate=lambda k: 1.0,
    ),
)
simple(
    "fresh words, few of them ever met",
    lambda: course(Attentive(3, words=3000), sentences(), with_("Adam", 3e-3), loss=entropy),
    300,
)

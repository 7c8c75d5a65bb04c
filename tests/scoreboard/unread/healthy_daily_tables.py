"""Unread healthy runs on tables and points of the plane, as everyday scripts train them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from scoreboard.blind.data import parted, published, scaled, tidy
from scoreboard.blind.loops import epochs, study, using
from scoreboard.blind.nets import redraw, stack
from scoreboard.loops import by_kind, dice, worth, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.unread.daily_data import districts, payments, plane, rare
from scoreboard.unread.daily_loops import classic

RUNS = Runs(__name__)
healthy, simple = RUNS.healthy, RUNS.simple

simple(
    "unread iris by momentum in batches of eight",
    lambda: classic(
        stack(4, 16, 3, act=nn.Tanh), tidy("iris"), using("SGD", 0.02, momentum=0.9), batch=8
    ),
    300,
)
simple(
    "unread wine by adam with a test after each epoch",
    lambda: classic(
        stack(13, 64, 64, 3),
        parted(tidy("wine"), 50)[0],
        using("Adam", 1e-3),
        test=parted(tidy("wine"), 50)[1],
        batch=16,
    ),
    300,
)
simple(
    "unread tumours, one unit and bce with logits",
    lambda: tumours(),
    300,
)
simple(
    "unread disease by a straight line to its plateau",
    lambda: classic(stack(10, 1), tidy("diabetes"), using("SGD", 0.05), batch=64),
    400,
)
simple(
    "unread disease with dropout of a half",
    lambda: study(
        nn.Sequential(
            nn.Linear(10, 64),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(64, 32),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(32, 1),
        ),
        tidy("diabetes"),
        using("Adam", 2e-3),
        batch=64,
    ),
    400,
)
simple(
    "unread districts by huber and nesterov",
    lambda: study(
        stack(7, 64, 64, 1, act=nn.SiLU),
        districts(),
        using("SGD", 0.05, momentum=0.9, nesterov=True),
        loss=functional.huber_loss,
        batch=128,
        plan=lambda o: lr_scheduler.CosineAnnealingLR(o, 400),
    ),
    400,
)
simple(
    "unread districts by eight layers with batch norms",
    lambda: classic(
        stack(7, *[48] * 8, 1, norm=nn.BatchNorm1d), districts(), using("AdamW", 3e-3), batch=64
    ),
    300,
)
simple(
    "unread spirals after a long plateau",
    lambda: study(
        stack(2, 32, 32, 32, 2, act=nn.Tanh), plane("spirals"), using("SGD", 0.2, momentum=0.9)
    ),
    500,
)
simple(
    "unread circles by two sigmoid layers that start slowly",
    lambda: study(stack(2, 24, 24, 2, act=nn.Sigmoid), plane("circles"), using("Adam", 1e-2)),
    500,
)
simple(
    "unread blobs at a large but fine rate",
    lambda: study(stack(2, 64, 5), plane("blobs"), using("SGD", 0.8), batch=64),
    300,
)
simple(
    "unread moons by adagrad",
    lambda: classic(stack(2, 32, 32, 2), plane("moons"), using("Adagrad", 0.05)),
    300,
)
simple(
    "unread checks by nadam and gelu",
    lambda: study(stack(2, 48, 48, 2, act=nn.GELU), plane("checks"), using("NAdam", 5e-3)),
    300,
)
simple(
    "unread moons with the whole table in each step",
    lambda: study(
        stack(2, 32, 32, 2, act=nn.Tanh), plane("moons"), using("Adam", 1e-2), batch=1200
    ),
    300,
)
simple(
    "unread wine in its own units behind a batch norm",
    lambda: classic(
        nn.Sequential(nn.BatchNorm1d(13), stack(13, 32, 3)), published("wine"), using("Adam", 5e-3)
    ),
    300,
)
simple(
    "unread tumours with weight decay of a tenth in adamw",
    lambda: classic(
        stack(30, 64, 64, 2), tidy("cancer"), using("AdamW", 1e-3, weight_decay=0.1), batch=64
    ),
    300,
)
simple(
    "unread plants with smoothed labels",
    lambda: study(
        stack(20, 96, 96, 6),
        tidy("plants"),
        using("Adam", 2e-3),
        loss=nn.CrossEntropyLoss(label_smoothing=0.2),
        batch=64,
    ),
    400,
)
simple(
    "unread tumours by a line that cannot do better, nor need it",
    lambda: classic(stack(30, 2), tidy("cancer"), using("SGD", 0.1), batch=32),
    300,
)
simple(
    "unread wide sparse layers of a thousand units",
    lambda: study(stack(20, 768, 6), tidy("plants"), using("SGD", 0.1, momentum=0.9), batch=64),
    300,
)


def tumours() -> Training:
    """One unit, targets of 0.0 and 1.0."""
    x, y = tidy("cancer")
    rows = x, y.float()[:, None]
    net = stack(30, 32, 1)
    score = yes_no(net, *rows)
    return classic(net, rows, using("Adam", 1e-3), loss=nn.BCEWithLogitsLoss(), score=score)


@healthy("unread fraud of three in a hundred, weighted", 400)
def fraud() -> Training:
    """With pos_weight, as it should be."""
    rows = payments(0.03, 5000, 2.0)
    net = stack(12, 32, 1)
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([32.0]))
    return classic(net, rows, using("Adam", 2e-3), loss=loss, batch=128, score=yes_no(net, *rows))


@healthy("unread fraud with a bias from the base rate", 400)
def prior() -> Training:
    """The last bias starts at the log odds; the kinds are far enough apart to be told."""
    rows = payments(0.06, 4000, 2.6)
    net = stack(12, 32, 1)
    last = net[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, -2.75)
    loss = nn.BCEWithLogitsLoss()
    return study(net, rows, using("Adam", 5e-3), loss=loss, batch=64, score=yes_no(net, *rows))


@healthy("unread one malign tumour in twelve, told all the same", 300)
def few() -> Training:
    """Few of one kind, and easy enough without a weight."""
    rows = rare(tidy("cancer"), often=1, keep=32)
    net = stack(30, 48, 2)
    return study(net, rows, using("Adam", 2e-3), score=by_kind(net, *rows))


@healthy("unread head of a sine's regression with a plateau at first", 500)
def sine() -> Training:
    """sin(3 x) from one number, by tanh."""
    x = 4 * torch.rand(1000, 1, generator=dice(95)) - 2
    y = torch.sin(3 * x) + 0.05 * torch.randn(1000, 1, generator=dice(96))
    return study(stack(1, 48, 48, 1, act=nn.Tanh), (x, scaled(y)), using("Adam", 3e-3), batch=64)


@healthy("unread noisy figure of which a third can be told", 400)
def third() -> Training:
    """Two thirds of what is asked are noise; the script shows tests from new rows."""
    g = dice(97)
    x = torch.randn(4000, 6, generator=g)
    y = x[:, :1] - 0.5 * x[:, 1:2] + 1.6 * torch.randn(4000, 1, generator=g)
    rows, test = parted((x, scaled(y)), 800)
    return classic(stack(6, 16, 1), rows, using("Adam", 2e-3), test=test, batch=64)


@healthy("unread own train_step with accumulation of four", 300)
def accumulated() -> Training:
    """Gradients of four batches of eight, the loss divided."""
    net = redraw(stack(13, 48, 48, 3), nn.init.kaiming_normal_)
    return study(net, tidy("wine"), using("AdamW", 2e-3), batch=8, micro=4)


@healthy("unread rate found by halving on a plateau", 400)
def plateau() -> Training:
    """ReduceLROnPlateau, fed with the loss of each twentieth step."""
    net, rows = stack(20, 64, 64, 6), tidy("plants")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
    source = epochs(rows, 64)

    def step(k: int) -> Tensor:
        x, y = next(source)
        optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        if k % 20 == 0:
            schedule.step(loss.item())
        return loss.detach()

    return Training(net, optimizer, step, worth(net, *rows))


@healthy("unread embeddings of kinds beside numbers", 350)
def embeddings() -> Training:
    """A table with a city (of thirty, most of them rare) and four numbers."""
    g = dice(98)
    city = (30 * torch.rand(2500, generator=g) ** 3).long()
    more = torch.randn(2500, 4, generator=g)
    worth_of = torch.randn(30, generator=g)
    y = scaled((worth_of[city] + 0.6 * more[:, 0] + 0.2 * torch.randn(2500, generator=g))[:, None])
    net: Any = Cities()
    return study(net, (torch.cat([city[:, None].float(), more], 1), y), using("Adam", 5e-3))


class Cities(nn.Module):
    """A table of cities, and layers."""

    def __init__(self) -> None:
        super().__init__()
        self.city, self.net = nn.Embedding(30, 6), stack(10, 32, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(torch.cat([self.city(x[:, 0].long()), x[:, 1:]], 1))

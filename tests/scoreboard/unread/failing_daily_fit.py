"""Unread failures of capacity: too little of it, too much of it, too much against it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.data import Rows, numerals, parted, scaled, tidy
from scoreboard.blind.loops import study, using
from scoreboard.blind.nets import stack
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training
from scoreboard.unread.daily_data import districts, passage, plane, tones
from scoreboard.unread.daily_loops import classic
from scoreboard.unread.daily_nets import CharLSTM, LastState, LeNet, ResNet

RUNS = Runs(__name__)
broken = RUNS.broken

REGULARISED, SMALL, OVERFIT = "over-regularisation", "insufficient-capacity", "overfitting"


def flat() -> Rows:
    """Digits as 64 numbers."""
    x, y = numerals()
    return x.flatten(1), y


# --- held down
def letters(decay: float) -> Training:
    """Letters by a recurrent layer, with a decay of the weights."""
    x, y, count = passage()
    return study(CharLSTM(count), (x, y), using("Adam", 5e-3, weight_decay=decay), batch=32)


def sparse(weight: float) -> Training:
    """A penalty on absolute weights, summed by hand."""
    net = stack(7, 48, 48, 1)

    def criterion(out: Tensor, y: Tensor) -> Tensor:
        penalty = torch.stack([p.abs().sum() for p in net.parameters()]).sum()
        return functional.mse_loss(out, y) + weight * penalty

    return study(net, districts(), using("Adam", 3e-3), loss=criterion, batch=64)


def dropped(p: float) -> Training:
    """Dropout after each hidden layer."""
    layers: list[nn.Module] = []
    for a, b in ((64, 96), (96, 96), (96, 96)):
        layers += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(p)]
    return classic(nn.Sequential(*layers, nn.Linear(96, 10)), flat(), using("Adam", 1e-3))


broken(
    "unread lenet by descent with a decay of one",
    REGULARISED,
    lambda decay: classic(
        LeNet(), numerals(), using("SGD", 0.02, momentum=0.9, weight_decay=decay)
    ),
    1.0,
    1e-4,
    steps=250,
)
broken("unread letters with a decay of a half in adam", REGULARISED, letters, 0.5, 0.0, steps=300)
broken("unread districts under a tenth of all weights", REGULARISED, sparse, 0.1, 1e-6)
broken("unread three dropouts of ninety-seven in a hundred", REGULARISED, dropped, 0.97, 0.2)
broken(
    "unread adamw with a decay of a hundred",
    REGULARISED,
    lambda decay: classic(
        ResNet(norm=False), numerals(), using("AdamW", 2e-3, weight_decay=decay), batch=64
    ),
    100.0,
    0.01,
    steps=250,
)


# --- too small
broken(
    "unread straight line between circles",
    SMALL,
    lambda widths: classic(stack(*widths), plane("circles"), using("Adam", 1e-2)),
    (2, 2),
    (2, 32, 2),
    steps=300,
)
broken(
    "unread logistic regression on spirals",
    SMALL,
    lambda widths: study(stack(*widths, act=nn.Tanh), plane("spirals"), using("Adam", 1e-2)),
    (2, 2),
    (2, 48, 48, 2),
    steps=400,
)
broken(
    "unread digits through a single unit",
    SMALL,
    lambda narrow: study(stack(64, 48, narrow, 48, 10), flat(), using("Adam", 3e-3)),
    1,
    32,
    steps=400,
)
broken(
    "unread autoencoder with a code of one",
    SMALL,
    lambda code: study(
        stack(64, 64, code, 64, 64, act=nn.ELU), (flat()[0],) * 2, using("Adam", 2e-3), batch=64
    ),
    1,
    16,
    steps=400,
)
broken(
    "unread tones by a gru of one cell",
    SMALL,
    lambda width: study(LastState(nn.GRU, 1, width, 4), tones(), using("Adam", 1e-2)),
    1,
    24,
    steps=400,
)
broken(
    "unread checks by a straight line",
    SMALL,
    lambda widths: study(
        stack(*widths), plane("checks"), using("SGD", 0.1, momentum=0.9), batch=64
    ),
    (2, 2),
    (2, 32, 32, 2),
    steps=300,
)


# --- learnt by heart
def few(name: str, count: int, held: int) -> tuple[Rows, Rows]:
    """The first rows to learn, the last to test."""
    rows, test = parted(tidy(name), held)
    return (rows[0][:count], rows[1][:count]), test


def noisy_columns(decay: float) -> Training:
    """A table of which most columns say nothing, on few rows; decay holds the net back."""
    g = dice(81)
    x = torch.randn(700, 120, generator=g)
    y = scaled(x[:, :2].sum(1, keepdim=True) + 0.3 * torch.randn(700, 1, generator=g))
    rows, test = (x[:120], y[:120]), (x[120:], y[120:])
    net = stack(120, 256, 256, 1)

    def criterion(out: Tensor, target: Tensor) -> Tensor:
        first = net[0]
        assert isinstance(first, nn.Linear)
        value = functional.mse_loss(out, target)
        if torch.is_grad_enabled():
            value = value + decay * first.weight.norm(dim=0).sum()
        return value

    return study(net, rows, using("Adam", 2e-3), loss=criterion, test=test)


def disease(width: int) -> Training:
    """A patient's progress from ten figures: much noise, and a net far too large for it."""
    rows, test = parted(tidy("diabetes"), 150)
    net = stack(10, 256, 256, 256, 1) if width else stack(10, 1)
    return classic(net, rows, using("Adam", 1e-3 if width else 1e-2), test=test, batch=16)


def by_heart(count: int) -> Training:
    """Ten-dimensional shells, from few or many rows."""
    x, y = tidy("hastie")
    rows, test = (x[:count], y[:count]), (x[-400:], y[-400:])
    return classic(stack(10, 128, 128, 2), rows, using("Adam", 3e-3), test=test)


def forty(width: int) -> Training:
    """Forty noisy tumours and a wide net, or a straight line held small."""
    (x, y), test = parted(tidy("cancer"), 250)
    x = x + 2.5 * torch.randn(x.shape, generator=dice(82))
    test = test[0] + 2.5 * torch.randn(test[0].shape, generator=dice(83)), test[1]
    rows = (x[:40], y[:40]) if width else (x, y)
    net = stack(30, 256, 256, 2) if width else stack(30, 2)
    return study(net, rows, using("AdamW", 2e-3, weight_decay=0.01), test=test, batch=20)


broken(
    "unread hundred columns of nothing on few rows",
    OVERFIT,
    noisy_columns,
    0.0,
    0.02,
    steps=400,
    sudden=False,
)
broken("unread patients learnt by heart", OVERFIT, disease, 256, 0, steps=400, sudden=False)
broken(
    "unread shells learnt from eighty rows",
    (OVERFIT, "low-data-diversity"),
    by_heart,
    80,
    1200,
    steps=400,
    sudden=False,
)
broken(
    "unread forty noisy tumours and a wide net",
    (OVERFIT, "low-data-diversity"),
    forty,
    256,
    0,
    steps=300,
    sudden=False,
)

"""Runs that cannot fit, fit too much, or are held back from fitting."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from scoreboard.data import text, text_sampler
from scoreboard.faults import part
from scoreboard.loops import class_score, fit
from scoreboard.nets import CharTransformer, Cnn, Recurrent, mlp
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)

DECAY = "over-regularisation"
CAPACITY = "insufficient-capacity"
OVERFIT = "overfitting"
MINIMUM = "local-minimum"

# --- too much regularisation
RUNS.broken(
    "weight decay adam l2 1",
    DECAY,
    lambda d: fit(mlp(64, 10), "digits", opt="adam", lr=1e-2, weight_decay=d),
    1.0,
    1e-4,
    sudden=False,
)
RUNS.broken(
    "weight decay sgd 1",
    DECAY,
    lambda d: fit(mlp(64, 10), "digits", lr=0.1, weight_decay=d),
    1.0,
    1e-4,
    sudden=False,
)
RUNS.broken(
    "weight decay adamw 30",
    DECAY,
    lambda d: fit(mlp(64, 10), "digits", opt="adamw", lr=3e-3, weight_decay=d),
    30.0,
    0.01,
    sudden=False,
)
RUNS.broken(
    "weight decay momentum cnn",
    DECAY,
    lambda d: fit(Cnn(), "digits", opt="momentum", lr=0.02, weight_decay=d),
    0.5,
    1e-4,
    sudden=False,
)
RUNS.broken(
    "weight decay friedman tanh",
    DECAY,
    lambda d: fit(mlp(10, 1, activation="tanh"), "friedman", opt="adam", lr=5e-3, weight_decay=d),
    2.0,
    1e-5,
    sudden=False,
)


def penalised(
    net: nn.Module, strength: float, power: int, data: str = "digits", **kw: Any
) -> Training:
    def penalty() -> Tensor:
        total = sum((p.abs() ** power).sum() for p in net.parameters())
        assert isinstance(total, Tensor)
        return strength * total

    return fit(net, data, penalty=penalty, **kw)


RUNS.broken(
    "l2 penalty",
    DECAY,
    lambda s: penalised(mlp(64, 10), s, 2, opt="adam", lr=1e-2),
    1.0,
    1e-5,
    sudden=False,
)
RUNS.broken(
    "l1 penalty",
    DECAY,
    lambda s: penalised(mlp(30, 4, activation="gelu"), s, 1, "blobs", opt="adam", lr=3e-3),
    0.1,
    1e-6,
    sudden=False,
)
RUNS.broken(
    "dropout 0.97",
    DECAY,
    lambda p: fit(mlp(64, 10, dropout=p), "digits", opt="adam", lr=1e-3),
    0.97,
    0.2,
)
RUNS.broken(
    "dropout 0.95 deep friedman",
    DECAY,
    lambda p: fit(mlp(10, 1, depth=3, dropout=p), "friedman", opt="adam", lr=1e-3),
    0.95,
    0.1,
)


# --- too small
def product() -> tuple[Tensor, Tensor]:
    """A value that is the product of two of the inputs."""
    x = torch.randn(1500, 6, generator=torch.Generator().manual_seed(2))
    return x, (x[:, :1] * x[:, 1:2])


def spirals() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    t = 0.5 + 4 * torch.rand(1600, generator=generator)
    y = torch.arange(1600) % 2
    angle = 2 * t + y * torch.pi
    x = torch.stack([t * angle.cos(), t * angle.sin()], 1)
    return (x + 0.05 * torch.randn(x.shape, generator=generator)) / 2.5, y


def xor(count: int = 512) -> tuple[Tensor, Tensor]:
    x = (torch.rand(count, 2, generator=torch.Generator().manual_seed(4)) < 0.5).float()
    return x, (x[:, 0] != x[:, 1]).long()


RUNS.broken(
    "linear on circles",
    CAPACITY,
    lambda plain: fit(nn.Linear(2, 2) if plain else mlp(2, 2), "circles", opt="momentum", lr=0.1),
    True,
    False,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "linear on xor",
    CAPACITY,
    lambda plain: fit(nn.Linear(2, 2) if plain else mlp(2, 2), xor(), opt="adam", lr=1e-2),
    True,
    False,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "linear on a product",
    CAPACITY,
    lambda plain: fit(nn.Linear(6, 1) if plain else mlp(6, 1), product(), opt="adam", lr=3e-3),
    True,
    False,
    steps=600,
    sudden=False,
)
RUNS.broken(
    "two linear layers on circles",
    CAPACITY,
    lambda between: fit(
        nn.Sequential(nn.Linear(2, 16), between(), nn.Linear(16, 2)),
        "circles",
        opt="adam",
        lr=1e-2,
    ),
    nn.Identity,
    nn.ReLU,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "one hidden unit on digits",
    CAPACITY,
    lambda width: fit(mlp(64, 10, width=width, depth=1), "digits", opt="adam", lr=1e-2),
    1,
    64,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "two hidden units on spirals",
    CAPACITY,
    lambda width: fit(mlp(2, 2, width=width, activation="tanh"), spirals(), opt="adam", lr=1e-2),
    2,
    64,
    steps=800,
    sudden=False,
)


# --- too much fit, seen by what is held back
def few(net: nn.Module, name: str, rows: int, noise: float = 0.0, **kw: Any) -> Training:
    data, held = part(name, rows, noise)
    return fit(net, data, held=held, **kw)


RUNS.broken(
    "forty digits wide",
    OVERFIT,
    lambda rows: few(mlp(64, 10, width=256), "digits", rows, opt="adam", lr=3e-3),
    40,
    1200,
    steps=400,
    sudden=False,
)
RUNS.broken(
    "thirty rows of friedman",
    OVERFIT,
    lambda rows: few(mlp(10, 1, width=256), "friedman", rows, 0.0, opt="adam", lr=3e-3),
    30,
    660,
    steps=400,
    sudden=False,
)
RUNS.broken(
    "diabetes memorised",
    OVERFIT,
    lambda width: few(
        mlp(10, 1, width=width, depth=1 if width < 9 else 3), "diabetes", 200, opt="adam", lr=3e-3
    ),
    256,
    4,
    steps=600,
    sudden=False,
)
RUNS.broken(
    "noisy blobs memorised",
    OVERFIT,
    lambda rows: few(mlp(30, 4, width=256, activation="tanh"), "blobs", rows, opt="adamw", lr=3e-3),
    60,
    800,
    steps=500,
    sudden=False,
)
RUNS.broken(
    "hundred digits cnn",
    OVERFIT,
    lambda rows: few(Cnn(width=24), "digits", rows, opt="adam", lr=3e-3),
    30,
    1200,
    steps=400,
    sudden=False,
)
RUNS.broken(
    "fifty digits lstm",
    OVERFIT,
    lambda rows: few(Recurrent("LSTM"), "digits", rows, opt="adam", lr=1e-2),
    40,
    1200,
    steps=400,
    sudden=False,
)


def memorised_text(count: int) -> Training:
    """Three hundred letters learned by heart; judged on the rest of the first text."""
    ids, letters = text()
    held = ids[1000:1320]
    net = CharTransformer(letters)
    data = (held[:-1][: 32 * 9].view(9, 32), held[1:][: 32 * 9].view(9, 32))
    full = text_sampler(16, 32)
    generator = torch.Generator().manual_seed(0)

    def draw() -> tuple[Tensor, Tensor]:
        if not count:
            return full()
        start = torch.randint(count - 33, (16,), generator=generator)
        rows = ids[start[:, None] + torch.arange(33)]
        return rows[:, :-1], rows[:, 1:]

    return fit(net, data, draw=draw, held=data, opt="adam", lr=5e-3)


RUNS.broken(
    "three hundred letters by heart",
    OVERFIT,
    memorised_text,
    300,
    0,
    steps=300,
    sudden=False,
)


# --- minima that are none
class Tiny(nn.Module):
    """Two sigmoids and one: the textbook's exclusive or."""

    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.hidden, self.out = nn.Linear(2, width), nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.sigmoid(self.hidden(x)))


def textbook(width: int, seed: int) -> Training:
    data = xor(64)
    net = Tiny(width, seed)
    return fit(net, data, opt="adam", lr=0.05, batch=64, score=class_score(net, *data))


for _seed in (4, 6, 9):
    RUNS.broken(
        f"xor with two units seed {_seed}",
        (MINIMUM, CAPACITY),
        partial(textbook, seed=_seed),
        2,
        8,
        steps=800,
        sudden=False,
    )

"""Blind failures of the learning rate: in the script, in a schedule, or on coming back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from scoreboard.blind.data import (
    LETTERS,
    adverts,
    bearings,
    compounds,
    entities,
    numerals,
    power,
    prose,
    signs,
    tidy,
    tissue,
)
from scoreboard.blind.loops import study, using
from scoreboard.blind.nets import (
    Adverts,
    Causal,
    Compounds,
    ConvNeXt,
    Gist,
    Mixer,
    Segmenter,
    Speller,
    Tagger,
    ViT,
    stack,
)
from scoreboard.loops import worth, yes_no
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

HIGH, LOW = "learning-rate-too-high", "learning-rate-too-low"


# --- too high from the start
broken(
    "blind convnext with a rate for descent",
    HIGH,
    lambda lr: study(ConvNeXt(3, 5), signs(), using("AdamW", lr, weight_decay=0.01)),
    0.5,
    3e-3,
    steps=200,
)
broken(
    "blind tagger by nesterov at thirty",
    HIGH,
    lambda lr: study(
        Tagger(60, 3, nn.GRU), entities(), using("SGD", lr, momentum=0.9, nesterov=True)
    ),
    30.0,
    0.2,
    steps=250,
)
broken(
    "blind mixer by rmsprop at one",
    HIGH,
    lambda lr: study(Mixer(1, 8, 10, patch=2), numerals(), using("RMSprop", lr)),
    1.0,
    1e-3,
    steps=250,
)
broken(
    "blind adverts by adagrad at five",
    HIGH,
    lambda lr: adverts_by(lr),
    5.0,
    0.1,
    steps=300,
)
broken(
    "blind table of plants at two by momentum",
    HIGH,
    lambda lr: study(
        stack(20, 64, 64, 6, act=nn.ELU), tidy("plants"), using("SGD", lr, momentum=0.9)
    ),
    2.0,
    0.02,
    steps=300,
)
broken(
    "blind lion with adam's habits",
    HIGH,
    lambda lr: study(Speller(LETTERS, nn.LSTM), prose(), using("Lion", lr), clip=1.0, batch=16),
    0.3,
    3e-3,
    steps=350,
)
broken(
    "blind straight line with steps too long",
    HIGH,
    lambda lr: study(nn.Linear(24, 1), tidy("straight"), using("SGD", lr), batch=64),
    1.2,
    0.03,
    steps=200,
)
broken(
    "blind drawings by adam at one",
    HIGH,
    lambda lr: drawings(lr),
    1.0,
    3e-3,
    steps=250,
)


def adverts_by(lr: float) -> Training:
    """Clicks, by the optimiser that sparse tables are trained with."""
    net, rows = Adverts(), adverts()
    return study(
        net,
        rows,
        using("Adagrad", lr),
        batch=64,
        loss=nn.BCEWithLogitsLoss(),
        score=yes_no(net, *rows),
    )


def drawings(lr: float) -> Training:
    """Digits through a code of ten, by convolutions there and back."""
    x = numerals()[0]
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(128, 10),
        nn.Linear(10, 128),
        nn.ReLU(),
        nn.Unflatten(1, (8, 4, 4)),
        nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1),
    )
    return study(net, (x, x), using("Adam", lr))


# --- too high later
broken(
    "blind one cycle up to twenty",
    HIGH,
    lambda peak: study(
        Causal(2, 4),
        bearings(),
        using("SGD", 0.01, momentum=0.9),
        plan=lambda o: lr_scheduler.OneCycleLR(o, max_lr=peak, total_steps=301),
    ),
    20.0,
    0.1,
    steps=300,
    onset=2,
)
broken(
    "blind forecast comes back with another rate at 220",
    HIGH,
    lambda peak: study(
        stack(48, 64, 64, 6, act=nn.GELU),
        (power()[0][..., 0], power()[1]),
        using("RAdam", 3e-3),
        plan=lambda o: lr_scheduler.LambdaLR(o, lambda k: peak if k + 1 >= 220 else 1.0),
    ),
    300.0,
    1.0,
    steps=350,
    onset=220,
)
broken(
    "blind trunk set free with the head's rate at 150",
    HIGH,
    lambda lr: set_free(lr),
    10.0,
    0.01,
    steps=300,
    onset=150,
)


def set_free(lr: float) -> Training:
    """First the head alone on what a trunk gives, then all of it."""
    x, y = numerals()
    trunk = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
    )
    net = nn.Sequential(trunk, nn.Linear(384, 10))
    for weight in trunk.parameters():
        weight.requires_grad_(False)
    optimizer = torch.optim.SGD(net[1].parameters(), lr=0.02, momentum=0.9)

    def before(k: int) -> None:
        if k == 150:
            for weight in trunk.parameters():
                weight.requires_grad_(True)
            optimizer.add_param_group({"params": list(trunk.parameters()), "lr": lr})

    return study(net, (x, y), lambda weights: optimizer, before=before)


# --- too low
broken(
    "blind vit at a hundred-millionth",
    LOW,
    lambda lr: study(ViT(3, 16, 5), signs(), using("AdamW", lr)),
    1e-8,
    2e-3,
    steps=250,
    sudden=False,
)
broken(
    "blind adadelta with the rate of adam",
    LOW,
    lambda lr: study(Gist(0, 6, nn.GRU(1, 24, batch_first=True)), power(), using("Adadelta", lr)),
    1e-4,
    2.0,
    steps=300,
    sudden=False,
)
broken(
    "blind milestones counted in batches",
    LOW,
    lambda epoch: study(
        ConvNeXt(1, 10, width=20),
        numerals_big(),
        using("SGD", 0.1, momentum=0.9),
        plan=lambda o: lr_scheduler.MultiStepLR(o, [3 * epoch, 6 * epoch, 9 * epoch], 0.05),
    ),
    1,
    50,
    steps=300,
    sudden=False,
)
broken(
    "blind tissue at the rate of a paper",
    LOW,
    lambda lr: study(Segmenter(3), tissue(), using("SGD", lr), batch=8),
    1e-5,
    0.2,
    steps=250,
    sudden=False,
)
broken(
    "blind graphs with a loss of a millionth",
    LOW,
    lambda share: study(
        Compounds(),
        compounds(),
        using("SGD", 0.05, momentum=0.9),
        loss=lambda out, y: share * functional.mse_loss(out, y),
        clip=1.0,
    ),
    1e-6,
    1.0,
    steps=300,
    sudden=False,
)
broken(
    "blind whole table by lbfgs with hardly a step",
    LOW,
    lambda lr: whole_table(lr),
    1e-6,
    0.5,
    steps=150,
    sudden=False,
)


def numerals_big() -> Any:
    """The digits as pictures of 16 by 16."""
    x, y = numerals()
    return functional.interpolate(x, scale_factor=2.0), y


def whole_table(lr: float) -> Training:
    """All rows at each step, the step found by a closure."""
    x, y = tidy("iris")
    net = stack(4, 12, 3, act=nn.Tanh)
    optimizer = torch.optim.LBFGS(net.parameters(), lr=lr, max_iter=1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(net(x), y)
        value.backward()
        return value

    def step(k: int) -> Tensor:
        return torch.as_tensor(optimizer.step(closure)).detach()

    return Training(net, optimizer, step, worth(net, x, y))

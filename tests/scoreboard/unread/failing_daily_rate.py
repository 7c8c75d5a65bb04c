"""Unread failures of the learning rate, in scripts as they are written every day."""

from __future__ import annotations

from torch import nn
from torch.nn import functional
from torch.optim import lr_scheduler

from scoreboard.blind.data import numerals, tidy
from scoreboard.blind.loops import study, using
from scoreboard.blind.nets import stack
from scoreboard.scenario import Runs, Training
from scoreboard.unread.daily_data import districts, passage, plane, tones
from scoreboard.unread.daily_loops import classic
from scoreboard.unread.daily_nets import GPT, CharLSTM, LastState, LeNet, ResNet

RUNS = Runs(__name__)
broken = RUNS.broken

HIGH, LOW = "learning-rate-too-high", "learning-rate-too-low"


# --- too high from the start
broken(
    "unread lenet by nesterov at three",
    HIGH,
    lambda lr: classic(LeNet(), numerals(), using("SGD", lr, momentum=0.9, nesterov=True)),
    3.0,
    0.02,
    steps=250,
)
broken(
    "unread tumours by adamw at two",
    HIGH,
    lambda lr: classic(
        stack(30, 64, 64, 64, 2, act=nn.GELU), tidy("cancer"), using("AdamW", lr), batch=16
    ),
    2.0,
    1e-3,
    steps=200,
)
broken(
    "unread small gpt by adam at three tenths",
    HIGH,
    lambda lr: gpt(lr),
    0.3,
    3e-3,
    steps=250,
)
broken(
    "unread tones by lstm and rmsprop at a half",
    HIGH,
    lambda lr: study(LastState(nn.LSTM, 1, 32, 4), tones(), using("RMSprop", lr), clip=5.0),
    0.5,
    3e-3,
    steps=400,
)
broken(
    "unread districts by plain descent at eight",
    HIGH,
    lambda lr: study(
        stack(7, 48, 48, 1), districts(), using("SGD", lr), loss=functional.huber_loss, batch=64
    ),
    8.0,
    0.1,
    steps=300,
)
broken(
    "unread resnet by nadam at three",
    HIGH,
    lambda lr: classic(ResNet(norm=False), numerals(), using("NAdam", lr), batch=64),
    3.0,
    2e-3,
    steps=200,
)

# --- too high later
broken(
    "unread gamma of a hundred in the step schedule",
    HIGH,
    lambda gamma: study(
        stack(64, 48, 48, 10, act=nn.ReLU),
        (numerals()[0].flatten(1), numerals()[1]),
        using("SGD", 0.1, momentum=0.9),
        plan=lambda o: lr_scheduler.StepLR(o, 150, gamma),
    ),
    100.0,
    0.1,
    steps=350,
    onset=151,
)
broken(
    "unread second stage of fine tuning by adam at one",
    HIGH,
    lambda lr: stages(lr),
    1.0,
    1e-4,
    steps=350,
    onset=201,
)


def gpt(lr: float) -> Training:
    """Letters by two blocks."""
    x, y, letters = passage()
    return study(GPT(letters), (x, y), using("Adam", lr), batch=16, clip=1.0)


def stages(lr: float) -> Training:
    """The rate is set by hand after two hundred steps."""
    net = stack(13, 64, 64, 3, act=nn.SiLU)
    optimizer = using("Adam", 2e-3)(net.parameters())

    def before(k: int) -> None:
        if k == 201:
            for group in optimizer.param_groups:
                group["lr"] = lr

    return study(net, tidy("wine"), lambda weights: optimizer, before=before, batch=32)


# --- too low
broken(
    "unread wine by descent at a millionth",
    LOW,
    lambda lr: classic(stack(13, 32, 32, 3, act=nn.Tanh), tidy("wine"), using("SGD", lr)),
    1e-6,
    0.1,
    steps=250,
    sudden=False,
)
broken(
    "unread resnet by adam at a ten-millionth",
    LOW,
    lambda lr: classic(ResNet(), numerals(), using("Adam", lr), batch=64),
    1e-7,
    3e-3,
    steps=200,
    sudden=False,
)
broken(
    "unread decay of nine tenths stepped by the batch",
    LOW,
    lambda gamma: study(
        LeNet(),
        numerals(),
        using("SGD", 0.02, momentum=0.9),
        plan=lambda o: lr_scheduler.ExponentialLR(o, gamma),
    ),
    0.85,
    0.998,
    steps=300,
    sudden=False,
)
broken(
    "unread letters by lstm at a millionth",
    LOW,
    lambda lr: letters_by(lr),
    1e-6,
    5e-3,
    steps=250,
    sudden=False,
)
broken(
    "unread warm-up of ten million steps",
    LOW,
    lambda ramp: study(
        stack(2, 64, 64, 5, act=nn.GELU),
        plane("blobs"),
        using("AdamW", 3e-3),
        plan=lambda o: lr_scheduler.LambdaLR(o, lambda k: min(1.0, (k + 1) / ramp)),
    ),
    1e7,
    50.0,
    steps=300,
    sudden=False,
)


def letters_by(lr: float) -> Training:
    """Letters by a recurrent layer."""
    x, y, letters = passage()
    return study(CharLSTM(letters), (x, y), using("AdamW", lr), batch=32)

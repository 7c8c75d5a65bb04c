"""Fresh failures of the rate, the start, the depth and the activations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scoreboard.fresh.data import (
    classes,
    clouds,
    digits,
    houses,
    level,
    paths,
    pictures,
    ratings,
    sentences,
    source,
    traces,
    values,
)
from scoreboard.fresh.loops import course, with_
from scoreboard.fresh.nets import (
    Blocks,
    Factor,
    Follower,
    Pooling,
    Sentence,
    dense,
    linears,
    look,
    redrawn,
    sensor,
)
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

HIGH, LOW = "learning-rate-too-high", "learning-rate-too-low"
START, SAME = "bad-initialisation-scale", "constant-initialisation"

# --- the rate
broken(
    "fresh sensors at a rate of one half",
    HIGH,
    lambda lr: course(sensor(), traces(), with_("AdamW", lr)),
    0.5,
    2e-3,
)
broken(
    "fresh ratings with too much push",
    HIGH,
    lambda lr: course(Factor(), ratings(), with_("SGD", lr, momentum=0.95), batch=64),
    2.0,
    0.02,
)


def restarted(peak: float) -> Training:
    """The second cycle starts at another rate than the first."""
    return course(
        Sentence(cell=nn.LSTM),
        sentences(),
        with_("RMSprop", 2e-3),
        rate=lambda k: 1.0 if k < 220 else peak,
    )


broken("fresh second cycle far too high", HIGH, restarted, 600.0, 1.0, steps=400, onset=220)
broken(
    "fresh crawling RMSprop",
    LOW,
    lambda lr: course(
        dense(10, 32, 32, 1, act=nn.SELU),
        values("diabetes"),
        with_("RMSprop", lr),
        loss=nn.functional.huber_loss,
    ),
    1e-7,
    1e-3,
    steps=400,
    sudden=False,
)
broken(
    "fresh decay by the step, not the epoch",
    LOW,
    lambda factor: course(Sentence(), sentences(), with_("Adam", 1e-3), rate=lambda k: factor**k),
    0.8,
    1.0,
    steps=400,
    sudden=False,
)


# --- inputs and targets as they come
def priced(raw: bool) -> Training:
    x, price = houses()
    net = dense(4, 32, 32, 1, act=nn.Tanh)
    return course(net, (x if raw else level(x), level(price)), with_("Adam", 2e-3))


broken("fresh houses as they are listed", "unnormalised-inputs", priced, True, False, steps=400)


def clocked(raw: bool) -> Training:
    """The time of the reading as seconds since 1970 stands beside the small columns."""
    x, y = values("friedman3")
    when = 1.7e9 + 1e5 * torch.rand(len(x), 1, generator=source(21))
    return course(
        dense(5, 32, 32, 1, act=nn.SiLU),
        (torch.cat([x, when if raw else level(when)], 1), y),
        with_("Adam", 3e-3),
    )


broken("fresh seconds since 1970", "unnormalised-inputs", clocked, True, False, steps=400)
broken(
    "fresh prices in full",
    "unscaled-targets",
    lambda raw: course(
        dense(4, 48, 48, 1),
        (level(houses()[0]), houses()[1] if raw else level(houses()[1])),
        with_("Adam", 2e-3),
    ),
    True,
    False,
    steps=400,
    sudden=False,
)
broken(
    "fresh pressures about a thousand",
    "unscaled-targets",
    lambda at: course(
        dense(4, 32, 32, 1, act=nn.GELU),
        (values("friedman2")[0], values("friedman2")[1] + at),
        with_("Adam", 2e-3),
        loss=nn.functional.l1_loss,
    ),
    1000.0,
    0.0,
    steps=400,
    sudden=False,
)

# --- activations
broken(
    "fresh sum of sixty points into tanh",
    "saturating-activation",
    lambda far: pooled(far),
    True,
    False,
    steps=400,
)


def pooled(summed: bool) -> Training:
    """Points in centimetres were learnt with a mean; the sum drives every tanh to its end."""
    net = Pooling("sum" if summed else "mean")
    with torch.no_grad():
        linears(net.each)[1].bias.add_(1.0 if summed else 0.0)
    return course(net, clouds(), with_("Adam", 2e-3))


class Steep(nn.Module):
    """A sigmoid of a fixed slope."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope
        self.act = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.slope * x)
        return out


broken(
    "fresh sigmoids of slope four hundred",
    "saturating-activation",
    lambda slope: course(
        dense(64, 40, 40, 10, act=lambda: Steep(slope)), digits(), with_("SGD", 0.5)
    ),
    400.0,
    4.0,
    steps=500,
)


def negative(value: float) -> Training:
    net = look()
    for layer in (net[0], net[4]):
        assert isinstance(layer, nn.Conv2d)
        assert layer.bias is not None
        nn.init.constant_(layer.bias, value)
    return course(net, pictures(), with_("SGD", 0.05, momentum=0.9))


broken("fresh convolutions shut from the start", "dying-relu", negative, -4.0, 0.0)


def shut(wrong: bool) -> Training:
    """Pixels are never negative and the weights never positive."""
    net = dense(64, 48, 48, 10)
    if wrong:
        layer = linears(net)[0]
        with torch.no_grad():
            layer.weight.copy_(-layer.weight.abs())
            assert layer.bias is not None
            layer.bias.zero_()
    return course(net, digits(), with_("Adam", 1e-3))


broken("fresh negative weights on pixels", "dying-relu", shut, True, False)

# --- depth
broken(
    "fresh twenty-four layers of tanh as torch draws them",
    "depth-vanishing",
    lambda depth: course(
        dense(13, *[24] * depth, 3, act=nn.Tanh), classes("wine"), with_("SGD", 0.05)
    ),
    24,
    2,
    steps=400,
)


def sigmoid_tower(plain: bool) -> Training:
    body: list[nn.Module] = []
    for _ in range(9):
        body += [nn.Conv1d(16, 16, 3, padding=1), nn.Sigmoid() if plain else nn.SiLU()]
    if not plain:
        body = body[:4]
    head: list[nn.Module] = [nn.AdaptiveAvgPool1d(4), nn.Flatten(), nn.Linear(64, 4)]
    return course(nn.Sequential(nn.Conv1d(3, 16, 3), *body, *head), traces(), with_("Adam", 2e-3))


broken("fresh nine convolutions with sigmoids", "depth-vanishing", sigmoid_tower, True, False)
broken(
    "fresh forty blocks that add up",
    ("depth-exploding", START),
    lambda scale: course(Blocks(8, 6, 40, scale), classes("blobs"), with_("SGD", 0.05), batch=64),
    8.0,
    0.3,
    steps=200,
)


def echo(radius: float) -> Training:
    """A recurrent matrix that stretches."""
    cell = nn.RNN(1, 24, nonlinearity="relu", batch_first=True)
    net = Follower(cell)
    with torch.no_grad():
        nn.init.orthogonal_(cell.get_parameter("weight_hh_l0"), radius)
    return course(net, paths(), with_("Adam", 2e-3), loss=nn.functional.mse_loss)


broken("fresh echo that grows", ("depth-exploding", START), echo, 4.0, 0.9, steps=300)


# --- the start
def cells(value: float | None) -> Training:
    """Digits read line by line."""
    net = Follower(nn.GRU(8, 24, batch_first=True), 10)
    if value is not None:
        for p in net.parameters():
            nn.init.constant_(p, value)
    x, y = digits()
    return course(net, (x.view(-1, 8, 8), y), with_("Adam", 5e-3))


broken("fresh GRU of one number", SAME, cells, 0.05, None)


def products(std: float) -> Training:
    """Both tables zero: each is the other's gradient."""
    net = Factor()
    for table in (net.people, net.things):
        nn.init.normal_(table.weight, std=std)
    return course(net, ratings(), with_("Adam", 1e-2), batch=64)


broken("fresh product of two empty tables", SAME, products, 0.0, 0.3)
broken(
    "fresh box filters",
    SAME,
    lambda value: course(
        redrawn(look(nn.GELU), lambda w: nn.init.constant_(w, value)) if value else look(nn.GELU),
        pictures(),
        with_("SGD", 0.05, momentum=0.9),
    ),
    1 / 9,
    0.0,
)
broken(
    "fresh unit normal weights under tanh",
    START,
    lambda std: course(
        redrawn(dense(64, 256, 256, 10, act=nn.Tanh), lambda w: nn.init.normal_(w, std=std)),
        digits(),
        with_("SGD", 0.002),
    ),
    2.0,
    0.06,
    steps=600,
)
broken(
    "fresh weights of a ten-thousandth",
    START,
    lambda std: course(
        redrawn(dense(8, 48, 48, 48, 6, act=nn.ELU), lambda w: nn.init.normal_(w, std=std)),
        classes("blobs"),
        with_("SGD", 0.1),
    ),
    1e-4,
    0.15,
    steps=400,
)

"""Fresh failures of the data, the labels and the fit."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.fresh.data import (
    Pair,
    classes,
    digits,
    names,
    pictures,
    sentences,
    source,
    strewn,
    traces,
    values,
)
from scoreboard.fresh.loops import course, epochs, recalled, told, with_
from scoreboard.fresh.nets import Attentive, Sentence, dense, look, sensor
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

ALIKE, NOISE = "low-data-diversity", "label-noise"
STRONG, SMALL, LEARNT = "over-regularisation", "insufficient-capacity", "overfitting"


# --- rare kinds
def frauds(weighed: bool) -> Training:
    """One payment in eighty, with weak signs; one logit."""
    g = source(31)
    y = (torch.rand(4000, 1, generator=g) < 1 / 80).float()
    x = torch.randn(4000, 12, generator=g)
    x[:, :5] += 0.7 * y
    weight = torch.tensor(79.0) if weighed else None
    net = dense(12, 24, 1)
    return course(
        net,
        (x, y),
        with_("Adam", 2e-3),
        loss=lambda out, b: functional.binary_cross_entropy_with_logits(out, b, pos_weight=weight),
        batch=64,
        score=recalled(lambda: (net(x) > 0).long(), y.long()),
    )


broken("fresh fraud in eighty payments", "class-imbalance", frauds, False, True, sudden=False)


def spotted(weighed: bool) -> Training:
    """Hardly any word is a name."""
    x, y = names(chance=0.3)
    weight = torch.tensor([0.03, 1.0]) if weighed else None
    net = Sentence(2, each=True)
    return course(
        net,
        (x, y),
        with_("SGD", 0.2, momentum=0.9),
        loss=lambda out, b: functional.cross_entropy(out.flatten(0, 1), b.flatten(), weight),
        score=recalled(lambda: net(x).argmax(-1), y),
    )


broken("fresh hardly a name among the words", "class-imbalance", spotted, False, True, sudden=False)

# --- rows alike
broken(
    "fresh every word out of the vocabulary",
    ALIKE,
    lambda kept: course(
        Sentence(),
        (sentences()[0] if kept else sentences()[0].clamp(max=1), sentences()[1]),
        with_("Adam", 3e-3),
    ),
    False,
    True,
)


def sorted_(wrong: bool) -> Training:
    """The folder's order is the kinds' order."""
    x, y = digits()
    order = y.argsort(stable=True) if wrong else torch.randperm(len(y))
    x, y = x[order], y[order]
    place = [0]

    def draw() -> Pair:
        at = place[0] % (len(x) - 32)
        place[0] += 6
        return x[at : at + 32], y[at : at + 32]

    return course(dense(64, 48, 10), (x, y), with_("SGD", 0.1, momentum=0.9), draw=draw)


broken("fresh digits in the folder's order", ALIKE, sorted_, True, False, steps=500, sudden=False)

# --- answers of other rows
broken(
    "fresh a join that lost the key",
    NOISE,
    lambda wrong: course(
        dense(4, 32, 32, 1, act=nn.LeakyReLU),
        strewn(values("friedman2")) if wrong else values("friedman2"),
        with_("AdamW", 3e-3),
        loss=functional.smooth_l1_loss,
    ),
    True,
    False,
    steps=500,
    sudden=False,
)


def careless(wrong: bool) -> Training:
    """Every annotator says something else."""
    x, y = traces()
    take = epochs((x, y), 32)

    def draw() -> Pair:
        a, b = take()
        return a, torch.randint(4, b.shape) if wrong else b

    norm = lambda width: nn.BatchNorm1d(width)  # noqa: E731
    return course(sensor(nn.ReLU, norm), (x, y), with_("Adam", 2e-3), draw=draw)


broken("fresh labels by the dice", NOISE, careless, True, False, steps=500, sudden=False)

# --- held down
broken(
    "fresh decay of twenty",
    STRONG,
    lambda decay: course(look(nn.SiLU), pictures(), with_("AdamW", 3e-3, weight_decay=decay)),
    40.0,
    0.01,
    steps=400,
    sudden=False,
)


def sparing(strength: float) -> Training:
    """The sum of all weights' sizes is part of the loss."""
    net = dense(4, 32, 32, 1, act=nn.Softplus)
    return course(
        net,
        values("friedman3"),
        with_("Adam", 3e-3),
        penalty=lambda: strength * sum((p.abs().sum() for p in net.parameters()), torch.zeros(())),
    )


broken("fresh too dear weights", STRONG, sparing, 0.1, 1e-6, steps=400, sudden=False)


def dropped(p: float) -> Training:
    net = nn.Sequential(
        nn.Linear(8, 64), nn.ReLU(), nn.Dropout(p), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(p),
        nn.Linear(64, 6),
    )  # fmt: skip
    return course(net, classes("blobs"), with_("Adam", 1e-3))


broken("fresh hardly a unit let through", STRONG, dropped, 0.98, 0.1, steps=400, sudden=False)

# --- too small
broken(
    "fresh planes between nested shells",
    SMALL,
    lambda wide: course(
        dense(3, 32, 3) if wide else dense(3, 3), classes("quantiles"), with_("Adam", 1e-2)
    ),
    False,
    True,
    steps=500,
    sudden=False,
)
broken(
    "fresh digits through one unit",
    SMALL,
    lambda width: course(dense(64, 48, width, 48, 10, act=nn.Tanh), digits(), with_("Adam", 3e-3)),
    1,
    16,
    steps=400,
    sudden=False,
)


# --- learnt by heart
def hearted(count: int) -> Training:
    """A few rows, most columns of no use; mended: more rows, those columns silent."""
    x, y = classes("hastie")
    extra = torch.randn(len(x), 60, generator=source(33))
    if count > 40:
        extra = 0 * extra
    x = torch.cat([x, extra], 1)
    return course(
        dense(70, 128, 128, 2, act=nn.GELU),
        (x[:count], y[:count]),
        with_("Adam", 1e-3),
        held=(x[-300:], y[-300:]),
    )


broken("fresh forty rows of seventy columns", LEARNT, hearted, 40, 1200, steps=600, sudden=False)


def recited(count: int) -> Training:
    """Sentences by heart, with answers that are half wrong."""
    x, y = sentences()
    wrong = torch.rand(len(y), generator=source(34)) < 0.25
    told_ = torch.where(wrong, torch.randint(3, y.shape, generator=source(35)), y)
    net = Attentive(3)
    return course(
        net,
        (x[:count], told_[:count]),
        with_("AdamW", 2e-3),
        held=(x[-300:], told_[-300:]),
        score=told(net, x[-300:], y[-300:]),
    )


broken("fresh sentences by heart", LEARNT, recited, 40, 1200, steps=500, sudden=False)


# --- stuck
class Tone(nn.Module):
    """a sin(w x + b)."""

    def __init__(self, pace: float) -> None:
        super().__init__()
        self.pace = nn.Linear(1, 1)
        self.loud = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.pace.weight, pace)
        nn.init.constant_(self.loud.weight, 0.8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.loud(torch.sin(self.pace(x)))
        return out


def tuned(start: float) -> Training:
    x = 10 * torch.rand(600, 1, generator=source(36)) - 5
    y = torch.sin(4 * x + 0.5) + 0.05 * torch.randn(600, 1, generator=source(37))
    return course(Tone(start), (x, y), with_("Adam", 1e-2), batch=64)


broken("fresh tone of another pitch", "local-minimum", tuned, 1.4, 3.9, steps=600, sudden=False)


def exclusive(bad: bool) -> Training:
    """Exclusive or, two hidden units, from the saddle where both say the same."""
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    net = dense(2, 2, 1, act=nn.Sigmoid)
    first, last = net[0], net[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        if bad:
            first.weight.copy_(torch.tensor([[5.0, 5.0], [-6.0, -5.5]]))
            first.bias.copy_(torch.tensor([-2.0, 2.5]))
            last.weight.copy_(torch.tensor([[0.7, -0.7]]))
            last.bias.zero_()
        else:
            first.weight.copy_(torch.tensor([[4.0, 4.0], [-4.0, -4.0]]))
            first.bias.copy_(torch.tensor([-2.0, 6.0]))
            last.weight.copy_(torch.tensor([[2.0, 2.0]]))
            last.bias.fill_(-3.0)
    return course(
        net,
        (x, y),
        with_("SGD", 0.5),
        batch=4,
        loss=functional.binary_cross_entropy_with_logits,
        score=lambda: float(1 - 4 * (net(x).sigmoid() - y).square().mean().detach()),
    )


broken("fresh exclusive or from a flat place", "local-minimum", exclusive, True, False,
       steps=400, sudden=False)  # fmt: skip

"""The exam: signal lost or blown up on its way, attention that looks nowhere, too little room."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.exam.data import (
    drawings,
    even,
    firsts,
    graph,
    marked,
    parity,
    seeded,
    series,
    sprites,
    tables,
    visits,
    waves,
)
from scoreboard.exam.loops import by, drill, learn
from scoreboard.exam.nets import Highway, Reader, Scatter, Tcn, Vit, Wide, stack
from scoreboard.loops import class_score
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

VANISHING = "depth-vanishing"
EXPLODING = "depth-exploding"
SCALE = "bad-initialisation-scale"
ATTENTION = "attention-collapse"
CAPACITY = "insufficient-capacity"
MINIMUM = "local-minimum"

# --- lost
broken(
    "exam looking back through 24 layers",
    VANISHING,
    lambda skips: learn(Tcn(1, 1, 24, skips), series(), by("RMSprop", 2e-3), batch=24),
    False,
    True,
    steps=200,
)
broken(
    "exam thirty layers without gates",
    VANISHING,
    lambda gated: learn(
        Highway(4, 3, 30, gated=gated), tables("quantiles"), by("SGD", 0.05, momentum=0.9)
    ),
    False,
    True,
    steps=500,
)


def messages(layers: int) -> Training:
    x, y, edges = graph()
    return learn(Scatter(edges, layers), (x, y), by("Adam", 3e-3), batch=len(x))


broken("exam graph of sixteen layers", (ATTENTION, VANISHING), messages, 16, 2, steps=200)


def recalled(wrong: bool) -> Training:
    """The first of forty values is the answer; a recurrent net that forgets, or holds on."""
    net = Reader(nn.RNN(2, 24, nonlinearity="tanh" if wrong else "relu", batch_first=True), 24, 2)
    recurrent = net.cell.get_parameter("weight_hh_l0")
    with torch.no_grad():
        if wrong:
            recurrent.mul_(0.5)
        else:
            nn.init.eye_(recurrent)
            net.cell.get_parameter("weight_ih_l0").mul_(0.1)
    return learn(net, firsts(), by("Adam", 2e-3), batch=32, clip=1.0)


broken("exam forgotten through time", VANISHING, recalled, True, False, steps=500)


def narrow(activation: type[nn.Module]) -> Training:
    """Fourteen layers from a table to itself."""
    x = even("multilabel")[0]
    parts: list[nn.Module] = [nn.Linear(20, 24), activation()]
    for _ in range(12):
        layer = nn.Linear(24, 24)
        nn.init.orthogonal_(layer.weight)
        parts += [layer, activation()]
    return learn(nn.Sequential(*parts, nn.Linear(24, 20)), (x, x), by("Adamax", 3e-3))


broken("exam sigmoids from a table to itself", VANISHING, narrow, nn.Sigmoid, nn.ELU, steps=400)


# --- blown up
class Sum(nn.Module):
    """Branches added up, each times a number."""

    def __init__(self, gain: float, blocks: int = 24) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(10, 32), nn.Linear(32, 2)
        self.blocks = nn.ModuleList(stack(32, 32, 32) for _ in range(blocks))
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + self.gain * block(x)
        return self.head(x)


broken(
    "exam branches times six",
    (EXPLODING, SCALE),
    lambda gain: learn(Sum(gain), even("hastie"), by("SGD", 0.02)),
    6.0,
    0.3,
    steps=600,
)


def echo(gain: float) -> Training:
    net = Reader(nn.RNN(1, 24, nonlinearity="relu", batch_first=True), 24)
    with torch.no_grad():
        net.cell.get_parameter("weight_hh_l0").copy_(torch.eye(24) * gain)
    return learn(net, series(), by("SGD", 0.01))


broken("exam echo that grows", (EXPLODING, SCALE), echo, 3.0, 0.9, steps=400)


def loud(factor: float) -> Training:
    parts: list[nn.Module] = [nn.Conv1d(1, 12, 5, 2, 2), nn.LeakyReLU()]
    for _ in range(10):
        layer = nn.Conv1d(12, 12, 3, padding=1)
        nn.init.kaiming_normal_(layer.weight)
        with torch.no_grad():
            layer.weight.mul_(factor)
        parts += [layer, nn.LeakyReLU()]
    net = nn.Sequential(*parts, nn.Flatten(), nn.Linear(12 * 24, 4))
    return learn(net, waves(), by("NAdam", 1e-3), batch=24)


broken("exam ten loud convolutions", (EXPLODING, SCALE), loud, 4.0, 1.0, steps=250)

# --- attention
broken(
    "exam vit without skips",
    (ATTENTION, VANISHING),
    lambda skips: learn(Vit(18, 5, skips=skips), drawings(), by("NAdam", 2e-3), batch=24),
    False,
    True,
    steps=200,
)


class Sight(nn.Module):
    """Layers of attention over a set of marked places, their pictures mixed and nothing else."""

    def __init__(
        self, layers: int, skips: bool, sharp: float = 1.0, inputs: int = 6, outputs: int = 5
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(inputs, 24)
        self.asks = nn.ModuleList(nn.Linear(24, 48) for _ in range(layers))
        self.gives = nn.ModuleList(nn.Linear(24, 24) for _ in range(layers))
        self.head = nn.Linear(24, outputs)
        self.skips = skips
        with torch.no_grad():
            for layer in self.asks:
                assert isinstance(layer, nn.Linear)
                layer.weight.mul_(sharp)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for ask, give in zip(self.asks, self.gives, strict=True):
            q, k = ask(x).chunk(2, -1)
            y = functional.scaled_dot_product_attention(q[:, None], k[:, None], give(x)[:, None])
            x = x + functional.gelu(y[:, 0]) if self.skips else y[:, 0]
        return self.head(x.mean(1))


broken(
    "exam places smoothed out",
    (ATTENTION, VANISHING),
    lambda skips: learn(Sight(8, skips), marked(), by("SGD", 0.03, momentum=0.9), batch=32),
    False,
    True,
    steps=450,
)
broken(
    "exam places asked too sharply",
    (SCALE, ATTENTION),
    lambda sharp: learn(Sight(2, True, sharp), marked(), by("SGD", 0.1, momentum=0.9)),
    100.0,
    1.0,
    steps=600,
)


# --- too little room
def squeezed(width: int) -> Training:
    x = sprites()[0].flatten(1)
    net = nn.Sequential(nn.Linear(144, 64), nn.ReLU(), nn.Linear(64, width))
    whole = nn.Sequential(*net, nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 144))
    return learn(whole, (x, x), by("Adam", 3e-3))


broken("exam drawings through one unit", CAPACITY, squeezed, 1, 24, steps=500, sudden=False)
broken(
    "exam linear on shells",
    CAPACITY,
    lambda plain: learn(
        nn.Linear(4, 3) if plain else stack(4, 48, 48, 3), tables("quantiles"), by("Adam", 5e-3)
    ),
    True,
    False,
    steps=600,
    sudden=False,
)
broken(
    "exam linear on a ball",
    CAPACITY,
    lambda plain: learn(
        nn.Linear(10, 2) if plain else stack(10, 64, 64, 2), even("hastie"), by("NAdam", 3e-3)
    ),
    True,
    False,
    steps=600,
    sudden=False,
)
broken(
    "exam wide without deep",
    CAPACITY,
    lambda plain: learn(Wide(deep=not plain), visits(), by("Adam", 1e-2)),
    True,
    False,
    steps=600,
    sudden=False,
)


# --- minima that are none
class Tone(nn.Module):
    """One oscillation, to be found by its frequency."""

    def __init__(self, frequency: float) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.tensor(frequency))
        self.phase = nn.Parameter(torch.tensor(0.1))
        self.size = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.size * (self.frequency * x + self.phase).sin()


def tuned(frequency: float) -> Training:
    x = 6 * torch.rand(600, 1, generator=seeded(30)) - 3
    return learn(Tone(frequency), (x, (9 * x).sin()), by("Adam", 1e-2))


broken("exam a tone in the wrong octave", MINIMUM, tuned, 4.0, 8.8, steps=500, sudden=False)


class Clouds(nn.Module):
    """Three bells, to be moved onto three clouds."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.centres = nn.Parameter(start.clone())

    def forward(self, x: Tensor) -> Tensor:
        return -((x[:, None] - self.centres) ** 2).sum(2) / 0.08


def clouds(wrong: bool) -> Training:
    true = torch.tensor([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    source = seeded(31)
    x = true[torch.randint(3, (900,), generator=source)]
    x = x + 0.2 * torch.randn(x.shape, generator=source)
    start = torch.tensor([[6.1, 0.1], [5.9, -0.1], [0.1, 2.9]])
    net = Clouds(start if wrong else true + 0.5)
    draw = seeded(32)

    def objective() -> Tensor:
        a = x[torch.randint(len(x), (64,), generator=draw)]
        return -net(a).logsumexp(1).mean()

    def score() -> float:
        with torch.no_grad():
            nearest = ((x[:, None] - net.centres) ** 2).sum(2).amin(1).mean()
        return float(1 - nearest / x.var(0).sum())

    return drill(net, objective, by("Adam", 2e-2)(net.parameters()), score)


broken("exam two bells on one cloud", MINIMUM, clouds, True, False, steps=500, sudden=False)


def odd(width: int, seed: int) -> Training:
    torch.manual_seed(seed)
    net, data = stack(3, width, 2, activation=nn.Tanh), parity()
    return learn(net, data, by("Adam", 2e-2), batch=200, score=class_score(net, *data))


def narrow_parity(seed: int) -> Callable[[int], Training]:
    return lambda width: odd(width, seed)


for _seed in (1, 3):
    broken(
        f"exam parity with two units seed {_seed}",
        (MINIMUM, CAPACITY),
        narrow_parity(_seed),
        2,
        12,
        steps=600,
        sudden=False,
    )

"""The exam: networks that make, compare, compress and route, failing as only they can."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.exam.data import (
    Pair,
    drawings,
    even,
    seeded,
    sprites,
    standard,
    tables,
    waves,
)
from scoreboard.exam.kinds import (
    Coder,
    Patched,
    Switch,
    bootstrapped,
    coded,
    crossed,
    duel,
    roll,
    routed,
    told,
    twins,
    views,
)
from scoreboard.exam.loops import by, drill
from scoreboard.exam.nets import stack
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

MODES = "adversarial-mode-collapse"
STOP = "missing-stop-gradient"
POSTERIOR = "posterior-collapse"
ROUTER = "router-collapse"


# --- two that play against each other
broken(
    "exam painter of a roll too quick",
    MODES,
    lambda r: duel(
        stack(6, 48, 48, 2), stack(2, 48, 48, 1, activation=nn.LeakyReLU), roll(), r, noise=6
    ),
    (2e-2, 5e-5),
    (1e-3, 2e-3),
    steps=600,
    sudden=False,
)
broken(
    "exam hinge painter of waves",
    MODES,
    lambda r: duel(
        stack(16, 64, 48, activation=nn.ELU),
        stack(48, 64, 1, activation=nn.LeakyReLU),
        waves()[0][:, 0],
        r,
        noise=16,
        hinge=True,
    ),
    (1e-2, 1e-5),
    (5e-4, 1e-3),
    steps=500,
    sudden=False,
)
broken(
    "exam painter of drawings too quick",
    MODES,
    lambda r: duel(
        nn.Sequential(*stack(12, 64, 64, 144), nn.Tanh()),
        nn.Sequential(*stack(144, 64, 1, activation=nn.LeakyReLU)),
        sprites()[0].flatten(1) * 2 - 1,
        r,
        noise=12,
        name="RMSprop",
    ),
    (1e-2, 1e-5),
    (5e-4, 5e-4),
    steps=500,
    sudden=False,
)


# --- views drawn together
broken("exam network that follows itself", STOP, bootstrapped, False, True, sudden=False)


broken(
    "exam twins of drawings",
    STOP,
    lambda stop: twins(drawings()[0], 20, stop, "NAdam", 1e-3),
    False,
    True,
    steps=400,
    sudden=False,
)
broken(
    "exam twins of tags",
    STOP,
    lambda stop: twins(standard(tables("multilabel")[0]), 12, stop, "RAdam", 2e-3),
    False,
    True,
    steps=400,
    sudden=False,
)


def only_near(varied: bool) -> Training:
    """Views are drawn together by squares; a term that keeps codes apart, or none."""
    x, source = sprites()[0].flatten(1), seeded(72)
    net = stack(144, 64, 12)

    def objective() -> Tensor:
        a, b = views(x, source)
        za, zb = net(a), net(b)
        near = functional.mse_loss(za, zb)
        if not varied:
            return near
        narrow = sum(functional.relu(1 - (z.var(0) + 1e-4).sqrt()).mean() for z in (za, zb))
        return near + 2 * narrow

    def score() -> float:
        with torch.no_grad():
            z = net(x)
        return min(1.0, float(z.std(0).mean()))

    return drill(net, objective, by("AdamW", 2e-3)(net.parameters()), score)


broken("exam views drawn together and nothing else", STOP, only_near, False, True, sudden=False)


# --- codes that carry nothing
broken(
    "exam means of squares beside sums of divergence",
    POSTERIOR,
    lambda beta: coded(
        Coder(stack(20, 48, 12), stack(6, 48, 20), 6),
        standard(tables("multilabel")[0]),
        functional.mse_loss,
        beta,
        3e-3,
        "NAdam",
    ),
    1.0,
    1e-3,
    steps=500,
    sudden=False,
)
broken(
    "exam codes of masks priced too high",
    POSTERIOR,
    lambda beta: coded(
        Coder(stack(144, 64, 16, activation=nn.GELU), stack(8, 64, 144, activation=nn.GELU), 8),
        sprites()[2].flatten(1),
        crossed,
        beta,
        3e-3,
    ),
    60.0,
    0.5,
    steps=400,
    sudden=False,
)


broken("exam a teller who needs no code", POSTERIOR, told, True, False, steps=400, sudden=False)


# --- routers
def patched(how: tuple[float, float]) -> Training:
    switch = Switch(16, 16, 5)
    return routed(Patched(switch), switch, drawings(), *how, "Adam", 3e-3)


def whole(
    data: Callable[[], Pair], outputs: int, count: int, best: int, name: str, lr: float
) -> Callable[[tuple[float, float]], Training]:
    def make(how: tuple[float, float]) -> Training:
        switch = Switch(data()[0].shape[1], outputs, count, best)
        return routed(switch, switch, data(), *how, name, lr)

    return make


broken("exam patches all to one expert", ROUTER, patched, (8.0, 0.0), (0.0, 0.05), steps=400)
broken(
    "exam ball to one of six",
    ROUTER,
    whole(lambda: even("hastie"), 2, 6, 1, "NAdam", 3e-3),
    (5.0, 0.0),
    (0.0, 0.05),
    steps=400,
)
broken(
    "exam balance with the wrong sign",
    ROUTER,
    whole(lambda: tables("quantiles"), 3, 4, 1, "RAdam", 5e-3),
    (0.0, -0.5),
    (0.0, 0.5),
    steps=400,
    sudden=False,
)
broken(
    "exam curve to one of four",
    ROUTER,
    whole(lambda: even("s_curve"), 1, 4, 1, "Adagrad", 0.03),
    (6.0, 0.0),
    (0.0, 0.05),
    steps=400,
)

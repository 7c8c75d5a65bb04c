"""The exam: learning rates that are too high or too low, from the start or later."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn
from torch.optim import lr_scheduler

from scoreboard.exam.data import (
    arcs,
    drawings,
    even,
    graph,
    parted,
    reversals,
    series,
    sets,
    tables,
    visits,
    waves,
)
from scoreboard.exam.kinds import Density, Flow
from scoreboard.exam.loops import by, by_hand, drill, learn, rows
from scoreboard.exam.nets import (
    Excited,
    Highway,
    Mixer,
    Reader,
    Scatter,
    Sets,
    Tcn,
    Translator,
    Vit,
    Waves,
    Wide,
    stack,
)
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
broken = RUNS.broken

HIGH = "learning-rate-too-high"
LOW = "learning-rate-too-low"


def whole_graph(lr: float, name: str) -> Training:
    x, y, edges = graph()
    return learn(Scatter(edges), (x, y), by(name, lr), batch=len(x))


def bells(lr: float) -> Training:
    net, (x, y) = Density(), arcs()
    take = rows((x, y), 64)
    score = lambda: 0.9 - float(net.surprise(x, y))  # noqa: E731
    return drill(net, lambda: net.surprise(*take()), by("Adam", lr)(net.parameters()), score)


def couplings(lr: float) -> Training:
    net, (x, _) = Flow(), even("s_curve")
    x = x[:, [0, 2]]
    take = rows((x, x), 64)
    score = lambda: 2.84 - float(net.surprise(x))  # noqa: E731
    return drill(net, lambda: net.surprise(take()[0]), by("RMSprop", lr)(net.parameters()), score)


# --- too high from the start
broken("exam lion waves", HIGH, lambda lr: learn(Waves(), waves(), by("Lion", lr)), 0.3, 1e-3)
broken("exam adagrad sets", HIGH, lambda lr: learn(Sets(), sets(), by("Adagrad", lr)), 10.0, 0.05)
broken("exam nadam graph", HIGH, partial(whole_graph, name="NAdam"), 1.0, 5e-3)
broken("exam radam mixer", HIGH, lambda lr: learn(Mixer(), drawings(), by("RAdam", lr)), 3.0, 3e-3)
broken(
    "exam muon highway",
    HIGH,
    lambda lr: learn(Highway(4, 3), tables("quantiles"), by("Muon", lr)),
    5.0,
    0.02,
)
broken(
    "exam weights moved by hand",
    HIGH,
    lambda lr: by_hand(stack(4, 48, 48, 3), tables("quantiles"), lr),
    30.0,
    0.2,
    steps=500,
)
broken(
    "exam adamax translator",
    HIGH,
    lambda lr: learn(Translator(), reversals(), by("Adamax", lr)),
    2.0,
    1e-2,
)
broken(
    "exam asgd wide and deep",
    HIGH,
    lambda lr: learn(Wide(), visits(), by("ASGD", lr)),
    300.0,
    0.5,
    steps=600,
)
broken(
    "exam whole batch linear on linnerud",
    HIGH,
    lambda lr: learn(nn.Linear(3, 3), even("linnerud"), by("SGD", lr), batch=20),
    3.0,
    0.1,
)
broken("exam mixture of bells", HIGH, bells, 1.0, 5e-3)
broken("exam couplings rmsprop", HIGH, couplings, 0.3, 2e-3)
broken(
    "exam clipped vit",
    HIGH,
    lambda lr: learn(Vit(), drawings(), by("SGD", lr, momentum=0.9), clip=1.0),
    30.0,
    0.05,
    steps=400,
)


# --- too high later
def from_step(at: int, factor: float) -> Callable[[object], lr_scheduler.LambdaLR]:
    return lambda opt: lr_scheduler.LambdaLR(opt, lambda k: factor if k + 1 >= at else 1.0)  # type: ignore[arg-type]


broken(
    "exam excited times 500 from 250",
    HIGH,
    lambda f: learn(Excited(), drawings(), by("AdamW", 2e-3), plan=from_step(250, f)),
    500.0,
    1.0,
    steps=400,
    onset=250,
)
broken(
    "exam series restarted too high at 300",
    HIGH,
    lambda f: learn(
        Reader(nn.GRU(1, 24, batch_first=True), 24),
        series(),
        by("Adam", 5e-3),
        plan=from_step(300, f),
    ),
    4000.0,
    1.0,
    steps=450,
    onset=300,
)
broken(
    "exam tenfold every hundred steps",
    HIGH,
    lambda gamma: learn(
        Tcn(1, 1),
        series(),
        by("SGD", 0.01, momentum=0.9),
        plan=lambda opt: lr_scheduler.StepLR(opt, 100, gamma),
    ),
    10.0,
    0.7,
    steps=400,
    onset=201,
)
broken(
    "exam one cycle with a peak of a hundred",
    HIGH,
    lambda top: learn(
        Waves(norm=nn.BatchNorm1d),
        waves(),
        by("SGD", 0.01),
        plan=lambda opt: lr_scheduler.OneCycleLR(opt, top, total_steps=401, pct_start=0.5),
    ),
    400.0,
    0.2,
    steps=400,
)

# --- too low
broken(
    "exam adadelta waves",
    LOW,
    lambda lr: learn(Waves(), waves(), by("Adadelta", lr)),
    1e-4,
    1.0,
    steps=400,
)
broken(
    "exam adagrad slow sets",
    LOW,
    lambda lr: learn(Sets(), sets(), by("Adagrad", lr)),
    1e-6,
    0.05,
    steps=400,
)
broken(
    "exam lion slow vit",
    LOW,
    lambda lr: learn(Vit(), drawings(), by("Lion", lr)),
    1e-8,
    1e-3,
    steps=400,
)
broken(
    "exam by hand slow roll",
    LOW,
    lambda lr: by_hand(stack(3, 48, 48, 1, activation=nn.Tanh), even("swiss_roll"), lr),
    1e-6,
    0.1,
    steps=800,
)
broken(
    "exam warm-up of a million steps",
    LOW,
    lambda length: learn(
        Mixer(),
        drawings(),
        by("AdamW", 3e-3),
        plan=lambda opt: lr_scheduler.LambdaLR(opt, lambda k: min(1.0, (k + 1) / length)),
    ),
    1e6,
    30.0,
    steps=400,
)
broken(
    "exam impatient plateau",
    LOW,
    lambda patience: learn(
        Highway(3, 1),
        even("s_curve"),
        by("Adam", 2e-3),
        batch=16,
        plan=lambda opt: lr_scheduler.ReduceLROnPlateau(opt, factor=0.1, patience=patience),
    ),
    0,
    1000,
    steps=500,
    onset=10,
    sudden=False,
)
broken(
    "exam loss divided once too often",
    LOW,
    lambda by_what: learn(
        Excited(),
        drawings(),
        by("SGD", 0.1),
        loss=lambda out, y: nn.functional.cross_entropy(out, y) / by_what,
        micro=4,
        batch=16,
    ),
    1e5,
    1.0,
    steps=400,
)
broken(
    "exam adamax slow on held rows",
    LOW,
    lambda lr: learn(
        Tcn(1, 1), parted(series(), 900)[0], by("Adamax", lr), held=parted(series(), 900)[1]
    ),
    1e-7,
    1e-2,
    steps=400,
)

"""How a drawn run trains: the task, a network that fits it, an optimiser, and habits."""

from __future__ import annotations

import random
from dataclasses import dataclass

from torch import nn

from scoreboard.crossed import nets
from scoreboard.crossed.data import TASKS, Task
from scoreboard.nets import mlp

RATES = {
    "sgd": 0.1,
    "momentum": 0.03,
    "nesterov": 0.03,
    "adam": 2e-3,
    "adamw": 2e-3,
    "rmsprop": 1e-3,
    "adagrad": 0.05,
    "nadam": 2e-3,
    "radam": 4e-3,
    "adamax": 4e-3,
    "adadelta": 1.0,
}
"""A rate that suits small networks."""

DESCENTS = ("sgd", "momentum", "nesterov")
"""Optimisers that follow the gradient as long as it is."""

NETS = {
    "row": ("mlp", "mlp", "mlp", "residual", "gated"),
    "pairs": ("mlp", "residual"),
    "image": ("cnn", "cnn", "cnn", "rescnn", "rescnn", "depthwise", "mixer", "vit"),
    "series": ("gru", "lstm", "rnn", "conv1d", "encoder", "postnorm"),
    "words": ("bag", "gru", "lstm", "rnn", "conv1d", "encoder", "postnorm"),
    "columns": ("dlrm", "wide"),
}
RECURRENT = ("gru", "lstm", "rnn")
ATTENTIVE = ("encoder", "postnorm", "vit")
STACKED = ("mlp", "cnn", "painter", "coder")
"""Networks that are one plain chain of layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cross:
    """A run that should learn, in all that was drawn of it."""

    task: str
    net: str
    width: int
    depth: int
    activation: str
    norm: str
    dropout: float
    opt: str
    rate: float
    batch: int
    steps: int
    seed: int
    criterion: str
    """Of values: `mse`, `huber` or `l1`."""
    by_hand: bool
    """The loss is written out, not taken from torch."""
    library: bool
    """Torch's own transformer layers."""
    tied: bool
    warmup: int
    schedule: str
    """``, `cosine` or `step`."""
    clip: float
    smoothing: float
    decay: float
    accumulate: int
    averages: bool
    """A slow copy of the weights is kept beside them."""
    evaluates: int
    """Every so many steps the rows held back are looked at; 0: never."""
    half: bool
    """Forward in bfloat16."""
    noisy: float
    """Share of labels dealt anew."""
    uneven: float
    """Share of the rows of one class that is left out."""
    jitter: float
    """Noise put on each batch."""
    frozen: bool
    """The first layer stays as it was drawn."""
    epochs: bool
    """Rows come once an epoch instead of with replacement."""
    keeps_shortcuts: bool = True
    """False only of a fault."""
    code: int = 12
    """Width of the waist, where there is one."""

    @property
    def of(self) -> Task:
        """Its task."""
        return TASKS[self.task]

    @property
    def numbers(self) -> bool:
        """Inputs are readings, not ids."""
        return self.of.shape not in {"words", "columns"}

    @property
    def plain(self) -> bool:
        """A plain chain of layers without norms."""
        return self.net in STACKED and not self.norm


def cross(rng: random.Random) -> Cross:
    """Any cross, each kind of data as likely as another."""
    name = rng.choice(list(TASKS))
    task = TASKS[name]
    net = rng.choice(_fitting(task, name))
    stacked = net in {*STACKED, "rescnn", "depthwise", "residual"}
    activation = rng.choice(
        ("relu", "relu", "relu", "gelu", "silu", "tanh", "tanh", "leaky", "elu")
    )
    if net in {"mlp", "cnn"} and rng.random() < 0.12:
        activation = "sigmoid"
    depth = rng.choice((1, 2, 2, 3) if net in {*STACKED, "conv1d", "gated"} else (1, 2, 2))
    if activation == "sigmoid":
        depth = min(depth, 2)
    if net in RECURRENT:
        depth = rng.choice((1, 1, 2))
    if net in {"cnn", "coder"}:
        depth = rng.choice((1, 1, 2))
    image = task.shape == "image"
    dear = image or task.shape in {"series", "words"}
    width = rng.choice((8, 12) if image and net not in {"mixer", "vit"} else (24, 32, 48, 64))
    if net in ATTENTIVE:
        width = rng.choice((24, 32))
    opt = rng.choice(_optimisers(net))
    rate = RATES[opt] * rng.choice((0.7, 1, 1, 2))
    if opt in DESCENTS and net in RECURRENT:
        rate *= 5
    chance = rng.random
    small = name in {"iris", "wine"}
    learnt = task.question == "classes" and not task.each
    return Cross(
        task=name,
        net=net,
        width=width,
        depth=depth,
        activation=activation,
        norm=rng.choice(("", "", "", "batch", "layer")) if stacked else "",
        dropout=rng.choice((0.1, 0.2, 0.3)) if chance() < 0.2 and task.question != "values" else 0,
        opt=opt,
        rate=rate,
        # What is dear to train has small batches: a run should take no longer than a few seconds.
        batch=rng.choice(
            (16,) if net in ATTENTIVE else (16, 32) if small or dear else (16, 32, 32, 64, 64, 128)
        ),
        steps=rng.choice((250, 300, 350) if dear else (250, 300, 400, 500)),
        seed=rng.randrange(10**6),
        criterion=rng.choice(("mse", "mse", "huber", "l1")),
        by_hand=chance() < 0.15,
        library=chance() < 0.4,
        tied=task.causal and chance() < 0.3,
        warmup=rng.choice((10, 20, 40)) if chance() < 0.25 else 0,
        schedule=rng.choice(("cosine", "step")) if chance() < 0.35 else "",
        clip=rng.choice((1.0, 1.0, 5.0)) if chance() < 0.25 else 0.0,
        smoothing=0.1 if chance() < 0.15 and learnt else 0.0,
        decay=rng.choice((1e-5, 1e-4, 1e-3)) if chance() < 0.3 else 0.0,
        accumulate=2 if chance() < 0.1 else 1,
        averages=chance() < 0.1,
        evaluates=rng.choice((10, 20, 25, 50)) if chance() < 0.4 else 0,
        half=chance() < 0.1 and net not in RECURRENT,
        noisy=rng.choice((0.05, 0.1)) if chance() < 0.12 and learnt else 0.0,
        uneven=rng.choice((0.4, 0.6)) if chance() < 0.12 and learnt and not small else 0.0,
        jitter=rng.choice((0.05, 0.15)) if chance() < 0.15 and name != "code" else 0.0,
        frozen=chance() < 0.05 and net in {"mlp", "residual"} and depth > 1,
        epochs=chance() < 0.6,
        code=rng.choice((10, 12, 16)),
    )


def _fitting(task: Task, name: str) -> tuple[str, ...]:
    if name == "code":
        return ("coder",)
    if name == "spots":
        return ("painter",)
    if name == "tagged":
        # A look at the place before takes attention longer to learn than these runs are.
        return ("gru", "lstm", "rnn", "conv1d")
    if task.each:
        return ("gru", "lstm", "conv1d", "encoder", "postnorm")
    if name == "sales":
        return ("gru", "lstm", "conv1d")
    return NETS[task.shape]


def _optimisers(net: str) -> tuple[str, ...]:
    if net in ATTENTIVE:
        return ("adam", "adam", "adamw", "adamw", "nadam", "radam", "adamax")
    if net == "coder" or net == "conv1d":
        return ("adam", "adamw", "rmsprop", "nadam", "radam", "adamax", "adagrad")
    if net in RECURRENT:
        return ("adam", "adam", "adamw", "rmsprop", "nadam", "momentum", "adagrad")
    return ("sgd", "momentum", "nesterov", *tuple(RATES))


def network(cross: Cross) -> nn.Module:
    """Drawn from torch's random numbers, which the scenario has seeded."""
    task, width, depth = cross.of, cross.width, cross.depth
    inputs, outputs = task.inputs, task.outputs
    act, norm = cross.activation, cross.norm
    match cross.net:
        case "mlp":
            net: nn.Module = mlp(inputs, outputs, width, depth, act, norm, cross.dropout)
        case "residual":
            net = nets.Residual(
                inputs,
                outputs,
                width=width,
                depth=depth,
                activation=act,
                norm=norm,
                shortcuts=cross.keeps_shortcuts,
            )
        case "gated":
            net = nets.Gated(inputs, outputs, width=width, depth=depth)
        case "coder":
            net = nets.coder(
                inputs, width=width, code=cross.code, depth=depth, activation=act, norm=norm
            )
        case "cnn":
            net = nets.cnn(
                outputs,
                _size(cross),
                width=width,
                depth=depth,
                activation=act,
                norm=norm,
                dropout=cross.dropout,
            )
        case "rescnn" | "depthwise":
            net = nets.ConvBlocks(
                outputs,
                width=width,
                depth=depth,
                activation=act,
                norm=norm or ("layer" if cross.net == "depthwise" else ""),
                apart=cross.net == "depthwise",
            )
        case "mixer":
            net = nets.Mixer(outputs, _size(cross), width=width, depth=depth)
        case "vit":
            net = nets.Patches(outputs, width, _encoder(cross))
        case "painter":
            net = nets.painter(width=width, depth=depth, activation=act, norm=norm)
        case "bag":
            net = nets.Bag(inputs, outputs, width=width, activation=act)
        case "dlrm" | "wide":
            net = nets.Columns(
                inputs,
                5,
                width=width,
                depth=depth,
                activation=act,
                products=cross.net == "dlrm",
            )
        case _:
            net = _reader(cross)
    if task.shape == "pairs":
        net = nets.Scorer(net)
    if cross.frozen:
        for parameter in next(m for m in net.modules() if isinstance(m, nn.Linear)).parameters():
            parameter.requires_grad_(False)
    return net


def _reader(cross: Cross) -> nn.Module:
    task, width = cross.of, cross.width
    if cross.net in RECURRENT:
        body: nn.Module = nets.Recurrent(cross.net.upper(), width, cross.depth)
    elif cross.net == "conv1d":
        body = nets.Convolved(width, cross.depth + 1, cross.activation, task.causal)
    else:
        body = _encoder(cross)
    return nets.Reader(
        body,
        task.inputs,
        task.outputs,
        width=width,
        ids=task.shape == "words",
        each=task.each,
        last=cross.net in RECURRENT and cross.seed % 2 == 0,
        dropout=cross.dropout,
        tied=cross.tied,
    )


def _encoder(cross: Cross) -> nn.Module:
    return nets.Encoder(
        cross.width,
        cross.depth,
        pre=cross.net != "postnorm",
        causal=cross.of.causal,
        library=cross.library and cross.keeps_shortcuts,
        shortcuts=cross.keeps_shortcuts,
    )


def _size(cross: Cross) -> int:
    """Pixels along a side."""
    return 8 if cross.task == "pictures" else 12

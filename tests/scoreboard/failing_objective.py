"""Runs whose loss does not belong to their output, or their output not to their targets."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.data import scaled
from scoreboard.faults import targets
from scoreboard.loops import Loss, fit, hit_score, value_score
from scoreboard.nets import Cnn, DigitTransformer, Recurrent, mlp
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)

LOSS = "loss-mismatch"
OUTPUT = "output-activation-mismatch"

Last = Callable[[], nn.Module]
IDENTITY: Last = nn.Identity
SIGMOID: Last = nn.Sigmoid
SOFTMAX: Last = lambda: nn.Softmax(dim=-1)  # noqa: E731
LOG_SOFTMAX: Last = lambda: nn.LogSoftmax(dim=-1)  # noqa: E731


class Squashed(nn.Module):
    """A network whose outputs go through one more function, where asked."""

    def __init__(self, net: nn.Module, last: Callable[[Tensor], Tensor] | nn.Module | None) -> None:
        super().__init__()
        self.net = net
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return self.last(y) if self.last is not None else y


# --- squashed before a loss that squashes: judged by the likelihood of what was meant
def twice(net: nn.Module, last: Callable[[], nn.Module] | None, **settings: object) -> Training:
    x, y = scaled("digits")
    model = Squashed(net, last() if last else None)

    def score() -> float:
        model.eval()
        with torch.no_grad():
            p = model(x) if last else model(x).softmax(1)
            p = p / p.sum(1, keepdim=True).clamp(min=1e-9)
            loss = functional.nll_loss(p.clamp(min=1e-9).log(), y)
            return float(1 - loss / torch.tensor(10.0).log())

    return fit(model, (x, y), score=score, **settings)  # type: ignore[arg-type]


RUNS.broken(
    "softmax before cross entropy mlp",
    LOSS,
    lambda last: twice(mlp(64, 10), last, lr=0.1),
    lambda: nn.Softmax(dim=1),
    None,
)
RUNS.broken(
    "softmax before cross entropy cnn",
    LOSS,
    lambda last: twice(Cnn(), last, opt="momentum", lr=0.01),
    lambda: nn.Softmax(dim=-1),
    None,
)
RUNS.broken(
    "softmax before cross entropy deep tanh",
    LOSS,
    lambda last: twice(mlp(64, 10, depth=4, activation="tanh"), last, lr=0.05),
    lambda: nn.Softmax(dim=1),
    None,
)
RUNS.broken(
    "sigmoid before cross entropy",
    LOSS,
    lambda last: twice(mlp(64, 10), last, lr=0.1),
    nn.Sigmoid,
    None,
)
RUNS.broken(
    "sigmoid before cross entropy lstm",
    LOSS,
    lambda last: twice(Recurrent("LSTM"), last, opt="momentum", lr=0.05),
    nn.Sigmoid,
    None,
)
RUNS.broken(
    "softmax over the batch",
    LOSS,
    lambda last: twice(mlp(64, 10), last, lr=0.1),
    lambda: nn.Softmax(dim=0),
    None,
)
RUNS.broken(
    "softmax over the batch transformer",
    LOSS,
    lambda last: twice(DigitTransformer(), last, opt="adam", lr=3e-3, batch=32),
    lambda: nn.Softmax(dim=0),
    None,
)


# --- two classes
def binary(
    name: str,
    rare: float,
    last: nn.Module | None,
    loss: Callable[[], Loss],
    width: int = 1,
    **settings: object,
) -> Training:
    """Judged by balanced hits: a network that always says the frequent class is worth nothing."""
    x, y = scaled(name)
    if rare:
        keep = (y == 0) | (torch.rand(len(y), generator=torch.Generator().manual_seed(1)) < rare)
        x, y = x[keep], y[keep]
    model = Squashed(mlp(x.shape[1], width, width=32), last)
    target = y if width == 2 else y.float()[:, None]
    logits = last is None

    def score() -> float:
        model.eval()
        with torch.no_grad():
            out = model(x)
            said = out.argmax(1) if width == 2 else (out[:, 0] > (0 if logits else 0.5)).long()
        both = [(said[y == c] == c).float().mean() for c in (0, 1)]
        return float(both[0] + both[1] - 1)

    return fit(model, (x, target), loss=loss(), score=score, **settings)  # type: ignore[arg-type]


RUNS.broken(
    "softmax of one unit",
    LOSS,
    lambda last: binary("breast_cancer", 0, last(), nn.BCELoss, opt="adam", lr=3e-3),
    SOFTMAX,
    SIGMOID,
)
RUNS.broken(
    "softmax of one unit moons",
    LOSS,
    lambda last: binary("moons", 0, last(), nn.BCELoss, opt="adam", lr=1e-2),
    SOFTMAX,
    SIGMOID,
)
RUNS.broken(
    "cross entropy of one logit",
    LOSS,
    lambda loss: binary("breast_cancer", 0, None, loss, opt="momentum", lr=0.02),
    nn.CrossEntropyLoss,
    nn.BCEWithLogitsLoss,
)
RUNS.broken(
    "sigmoid before logits loss rare",
    LOSS,
    lambda last: binary(
        "breast_cancer", 0.08, last() if last else None, nn.BCEWithLogitsLoss, lr=0.1
    ),
    nn.Sigmoid,
    None,
    steps=400,
)
RUNS.broken(
    "sigmoid before logits loss circles",
    LOSS,
    lambda last: binary(
        "circles", 0.25, last() if last else None, nn.BCEWithLogitsLoss, opt="momentum", lr=0.05
    ),
    nn.Sigmoid,
    None,
    steps=400,
)


# --- likelihoods of what is none
def likelihood(net: nn.Module, last: nn.Module, **settings: object) -> Training:
    x, y = scaled("digits")
    model = Squashed(net, last)

    def score() -> float:
        model.eval()
        with torch.no_grad():
            out = model(x)
            p = out if isinstance(last, nn.Softmax) else out.softmax(1)
            p = p.clamp(min=1e-9)
            return float(1 - functional.nll_loss(p.log(), y) / torch.tensor(10.0).log())

    return fit(model, (x, y), loss=nn.NLLLoss(), score=score, **settings)  # type: ignore[arg-type]


RUNS.broken(
    "nll of logits",
    LOSS,
    lambda last: likelihood(mlp(64, 10), last(), lr=0.1),
    IDENTITY,
    LOG_SOFTMAX,
)
RUNS.broken(
    "nll of logits cnn adam",
    LOSS,
    lambda last: likelihood(Cnn(), last(), opt="adam", lr=1e-3),
    IDENTITY,
    LOG_SOFTMAX,
)
RUNS.broken(
    "nll of probabilities",
    LOSS,
    lambda last: likelihood(mlp(64, 10, activation="tanh"), last(), lr=0.04),
    SOFTMAX,
    LOG_SOFTMAX,
)


# --- shapes
def shaped(net: nn.Module, name: str, wrong: bool, **settings: object) -> Training:
    """Targets of shape (n,) under outputs of shape (n, 1)."""
    x, y = scaled(name)
    inner = nn.MSELoss()

    def loss(out: Tensor, target: Tensor) -> Tensor:
        with warnings.catch_warnings():  # torch warns once; it is often overlooked
            warnings.simplefilter("ignore")
            return inner(out, target)

    return fit(
        net,
        (x, y[:, 0] if wrong else y),
        loss=loss,
        score=value_score(net, x, y),
        **settings,  # type: ignore[arg-type]
    )


RUNS.broken(
    "shapes broadcast diabetes",
    LOSS,
    lambda wrong: shaped(mlp(10, 1), "diabetes", wrong, opt="adam", lr=3e-3),
    True,
    False,
)
RUNS.broken(
    "shapes broadcast friedman",
    LOSS,
    lambda wrong: shaped(mlp(10, 1, activation="tanh"), "friedman", wrong, lr=0.05),
    True,
    False,
)
RUNS.broken(
    "shapes broadcast linear",
    LOSS,
    lambda wrong: shaped(nn.Linear(10, 1), "diabetes", wrong, opt="momentum", lr=0.01),
    True,
    False,
)


# --- another task's loss
def ids_as_values(net: nn.Module, name: str, wrong: bool, **settings: object) -> Training:
    """Squared distance to the class ids; the nearest id is the answer."""
    x, y = scaled(name)
    if not wrong:
        return fit(net, (x, y), score=hit_score(lambda a: net(a).argmax(1), x, y), **settings)  # type: ignore[arg-type]
    return fit(
        net,
        (x, y.float()[:, None]),
        loss=nn.MSELoss(),
        score=hit_score(lambda a: net(a)[:, 0].round(), x, y),
        **settings,  # type: ignore[arg-type]
    )


RUNS.broken(
    "class ids as values digits",
    LOSS,
    lambda wrong: ids_as_values(
        mlp(64, 1 if wrong else 10, activation="tanh"), "digits", wrong, lr=0.02
    ),
    True,
    False,
)
RUNS.broken(
    "class ids as values cnn",
    LOSS,
    lambda wrong: ids_as_values(
        Cnn(classes=1 if wrong else 10), "digits", wrong, opt="adam", lr=1e-3
    ),
    True,
    False,
)
RUNS.broken(
    "class ids as values blobs",
    LOSS,
    lambda wrong: ids_as_values(mlp(30, 1 if wrong else 4), "blobs", wrong, opt="adam", lr=1e-3),
    True,
    False,
)


# --- outputs that cannot reach the targets
def headed(
    last: nn.Module, name: str, factor: float = 1, offset: float = 0, **kw: object
) -> Training:
    data = targets(name, factor, offset)
    net = mlp(10, 1, activation=str(kw.pop("activation", "relu")))
    return fit(Squashed(net, last), data, **kw)  # type: ignore[arg-type]


RUNS.broken(
    "relu output diabetes",
    OUTPUT,
    lambda last: headed(last(), "diabetes", opt="adam", lr=3e-3),
    nn.ReLU,
    nn.Identity,
)
RUNS.broken(
    "relu output friedman sgd",
    OUTPUT,
    lambda last: headed(last(), "friedman", 1, -1, lr=0.05),
    nn.ReLU,
    nn.Identity,
)
RUNS.broken(
    "sigmoid output friedman",
    OUTPUT,
    lambda last: headed(last(), "friedman", opt="adam", lr=3e-3),
    nn.Sigmoid,
    nn.Identity,
)
RUNS.broken(
    "tanh output of wider targets",
    OUTPUT,
    lambda last: headed(last(), "friedman", 3, 4, opt="momentum", lr=0.01, activation="tanh"),
    nn.Tanh,
    nn.Identity,
)
RUNS.broken(
    "softplus output of negative targets",
    OUTPUT,
    lambda last: headed(last(), "diabetes", 1, -1.5, opt="adamw", lr=3e-3, activation="gelu"),
    nn.Softplus,
    nn.Identity,
)

"""Batch norms in training mode that run without gradients by right, and learn all the same."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scoreboard.data import scaled
from scoreboard.loops import fit
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
simple, healthy = RUNS.simple, RUNS.healthy


def normed(name: str = "digits") -> tuple[nn.Module, Tensor, Tensor]:
    """A perceptron with batch norms, and its data."""
    x, y = scaled(name)
    wide = x.shape[1]
    net = nn.Sequential(
        nn.Linear(wide, 64), nn.BatchNorm1d(64), nn.ReLU(),
        nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(),
        nn.Linear(64, int(y.max()) + 1),
    )  # fmt: skip
    return net, x, y


def looked_at(every: int, rows: int, passes: int = 1) -> Training:
    """Now and then shuffled rows go through without gradients, and nobody calls `eval()`."""
    net, x, y = normed()
    g = torch.Generator().manual_seed(3)

    def before(k: int) -> None:
        if k % every == 0:
            with torch.no_grad():
                for _ in range(passes):
                    net(x[torch.randint(len(x), (rows,), generator=g)])

    return fit(net, (x, y), opt="adam", lr=2e-3, before=before)


simple("shuffled rows looked at in train mode", lambda: looked_at(4, 64, 5), 300)
simple("few shuffled rows looked at in train mode", lambda: looked_at(2, 16, 3), 300)
simple("recalibrated each fifty steps", lambda: looked_at(50, 128, 20), 300)


@healthy("guessed labels by the network itself, in train mode", 300)
def _guessed() -> Training:
    net, x, y = normed()
    g = torch.Generator().manual_seed(5)

    def penalty() -> Tensor:
        rows = x[torch.randint(len(x), (64,), generator=g)]
        with torch.no_grad():
            guess = net(rows + 0.1 * torch.randn(rows.shape, generator=g)).argmax(1)
        return 0.3 * nn.functional.cross_entropy(net(rows), guess)

    return fit(net, (x, y), opt="adam", lr=2e-3, penalty=penalty)


@healthy("wine looked at in its order, in eval mode", 300)
def _in_order() -> Training:
    net, x, y = normed("wine")
    order = y.argsort()

    def before(k: int) -> None:
        if k % 4 == 0:
            net.eval()
            with torch.no_grad():
                for rows in order.split(24):
                    net(x[rows])
            net.train()

    return fit(net, (x, y), opt="adam", lr=2e-3, before=before)

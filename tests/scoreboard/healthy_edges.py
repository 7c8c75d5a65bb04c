"""Runs that learn, each of which does something that a naive rule takes for a failure."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.data import sampler, scaled, table, text
from scoreboard.faults import part, times
from scoreboard.generative import Experts, Siamese, Vae, experts, gan, siamese, vae
from scoreboard.loops import class_score, fit, text_fit
from scoreboard.nets import CharTransformer, Cnn, DigitTransformer, Residual, linear, mlp
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
simple, healthy = RUNS.simple, RUNS.healthy


# --- evaluation between the steps
def checked(net: nn.Module, name: str = "digits", rows: int = 9999, **settings: object) -> Training:
    data, held = part(name, rows)
    return fit(net, data, held=held, **settings)  # type: ignore[arg-type]


simple("evaluated mlp", lambda: checked(mlp(64, 10), lr=0.1))
simple(
    "evaluated batch norm and dropout",
    lambda: checked(mlp(64, 10, norm="batch", dropout=0.3), opt="adam", lr=1e-3, each=10),
)
simple("evaluated cnn", lambda: checked(Cnn(norm=True), opt="adam", lr=1e-3))
simple("evaluated friedman", lambda: checked(mlp(10, 1), "friedman", opt="adam", lr=1e-3), 500)
simple(
    "evaluated until a little past the best",
    lambda: checked(mlp(30, 2, width=16), "breast_cancer", opt="adam", lr=2e-3, batch=32),
    500,
)


# --- starts
class Adapted(nn.Module):
    """A frozen layer and a low-rank correction that starts at nothing."""

    def __init__(self, layer: nn.Linear, rank: int = 8) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.a = nn.Linear(layer.in_features, rank, bias=False)
        self.b = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.b(self.a(x))


@healthy("low rank corrections of a frozen network", 500)
def _adapted() -> Training:
    x, y = scaled("digits")
    net = mlp(64, 10)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(100):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y % 5).backward()
        optimizer.step()
    for index in (0, 2, 4):
        net[index] = Adapted(linear(net[index]))
    wanted = [p for p in net.parameters() if p.requires_grad]
    return fit(net, (x, y), parameters=wanted, opt="adam", lr=3e-3)


@healthy("goes on from a checkpoint")
def _resumed() -> Training:
    x, y = scaled("digits")
    net = mlp(64, 10)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return fit(net, (x, y), opt="adam", lr=1e-3)


simple("catapult", lambda: fit(mlp(64, 10, depth=3), "digits", lr=0.6, batch=128))
simple("adam at the edge cnn", lambda: fit(Cnn(norm=True), "digits", opt="adam", lr=1e-2), 400)
simple(
    "sharp attention",
    lambda: fit(_sharpened(DigitTransformer(), 6.0), "digits", opt="adam", lr=2e-3),
)


def _sharpened(net: DigitTransformer, factor: float) -> nn.Module:
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith("qkv.weight"):
                weight[: 2 * weight.shape[1]] *= factor
    return net


# --- optimisers
def other(make: type[torch.optim.Optimizer], net: nn.Module, lr: float) -> Training:
    x, y = scaled("digits")
    optimizer = make(net.parameters(), lr=lr)  # type: ignore[call-arg]
    take = sampler(x, y, 64)

    def step(_: int) -> Tensor:
        a, b = take()
        loss = functional.cross_entropy(net(a), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, class_score(net, x, y))


simple("adagrad", lambda: other(torch.optim.Adagrad, mlp(64, 10), lr=0.02))
simple("nadam", lambda: other(torch.optim.NAdam, mlp(64, 10, activation="silu"), lr=2e-3))
simple("adamax", lambda: other(torch.optim.Adamax, mlp(64, 10, activation="elu"), lr=2e-3))


@healthy("lbfgs with a closure", 60)
def _closure() -> Training:
    x, y = scaled("wine")
    net = mlp(13, 3, width=16, activation="tanh")
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=4)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(x), y) + 1e-3 * sum(
            (p**2).sum() for p in net.parameters()
        )
        loss.backward()
        return loss

    def step(_: int) -> Tensor:
        loss = optimizer.step(closure)
        return torch.as_tensor(loss).detach()

    return Training(net, optimizer, step, class_score(net, x, y))


@healthy("sharpness aware, two passes a step")
def _aware() -> Training:
    x, y = scaled("digits")
    net = mlp(64, 10)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    take = sampler(x, y, 64)

    def step(_: int) -> Tensor:
        a, b = take()
        loss = functional.cross_entropy(net(a), b)
        optimizer.zero_grad()
        loss.backward()
        kept = copy.deepcopy([p.data for p in net.parameters()])
        with torch.no_grad():
            for p in net.parameters():
                assert p.grad is not None
                p.add_(0.02 * p.grad / (p.grad.norm() + 1e-9))
        optimizer.zero_grad()
        functional.cross_entropy(net(a), b).backward()
        with torch.no_grad():
            for p, before in zip(net.parameters(), kept, strict=True):
                p.copy_(before)
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, class_score(net, x, y))


# --- losses and targets
@healthy("mixed up rows with soft targets")
def _mixed() -> Training:
    x, y = scaled("digits")
    net = mlp(64, 10, width=128)
    hard = functional.one_hot(y, 10).float()
    take = sampler(x, hard, 64)

    def draw() -> tuple[Tensor, Tensor]:
        (a, p), (b, q) = take(), take()
        share = torch.rand(1)
        return share * a + (1 - share) * b, share * p + (1 - share) * q

    score = class_score(net, x, y)
    return fit(
        net, (x, hard), draw=draw, loss=nn.CrossEntropyLoss(), score=score, opt="adam", lr=1e-3
    )


simple(
    "class weights",
    lambda: fit(
        mlp(64, 10),
        "digits",
        opt="adam",
        lr=1e-3,
        loss=nn.CrossEntropyLoss(weight=torch.linspace(0.2, 3, 10)),
    ),
)


def _focal(out: Tensor, y: Tensor) -> Tensor:
    p = functional.log_softmax(out, 1).gather(1, y[:, None])[:, 0]
    return -((1 - p.exp()) ** 2 * p).mean()


simple("focal loss by hand", lambda: fit(mlp(64, 10), "digits", opt="adam", lr=1e-3, loss=_focal))
simple(
    "log softmax and nll",
    lambda: fit(
        nn.Sequential(*mlp(64, 10), nn.LogSoftmax(dim=1)), "digits", lr=0.1, loss=nn.NLLLoss()
    ),
)


def _heavy() -> tuple[Tensor, Tensor]:
    x, y = scaled("friedman")
    tails = torch.distributions.StudentT(2.5).sample(y.shape)
    return x, y + 0.3 * tails


simple(
    "heavy tails and a robust loss",
    lambda: fit(mlp(10, 1), _heavy(), opt="adam", lr=3e-3, loss=nn.SmoothL1Loss()),
)
simple("counts with a poisson loss", lambda: _counts(), 500)


def _counts() -> Training:
    x, y = scaled("friedman")
    counts = torch.poisson((y * 0.6 + 1).exp())
    net = mlp(10, 1)
    return fit(
        net,
        (x, counts),
        opt="adam",
        lr=1e-3,
        loss=nn.PoissonNLLLoss(),
        score=lambda: float(1 - functional.mse_loss(net(x).exp(), counts) / counts.var()),
    )


# --- data
simple("inputs of half the usual scale", lambda: fit(mlp(64, 10), times("digits", 0.3), lr=0.3))
simple("raw iris", lambda: fit(mlp(4, 3, width=32), table("iris"), opt="adam", lr=5e-3), 500)


@healthy("one-hot inputs", 400)
def _one_hot() -> Training:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(30, (2000, 2), generator=generator)
    x = functional.one_hot(ids, 30).float().flatten(1)
    return fit(mlp(60, 2), (x, (ids.sum(1) % 3 == 0).long()), opt="adam", lr=1e-2)


@healthy("classes come one group after the other in part")
def _half_sorted() -> Training:
    x, y = scaled("digits")
    take, generator = sampler(x, y, 32), torch.Generator().manual_seed(1)

    def draw() -> tuple[Tensor, Tensor]:
        a, b = take()
        low = torch.rand(1, generator=generator) < 0.5
        rows = ((y < 5) == low).nonzero()[:, 0]
        more = rows[torch.randint(len(rows), (32,), generator=generator)]
        return torch.cat([a, x[more]]), torch.cat([b, y[more]])

    return fit(mlp(64, 10), (x, y), draw=draw, opt="adam", lr=1e-3)


# --- kinds
simple("simsiam with a stop", lambda: siamese(Siamese(64), scaled("digits")[0], True))
simple(
    "variational with a gentle beta",
    lambda: vae(Vae(64), table("digits")[0] / 16, 0.02, lr=2e-3),
    500,
)


@healthy("experts with idle ones", 400)
def _idle() -> Training:
    x, y = scaled("digits")
    net = Experts(64, 10, 8)
    return experts(net, sampler(x, y, 64), x, 0.01, lr=2e-3)


@healthy("gan of a cloud", 500)
def _cloud() -> Training:
    real = torch.randn(2000, 2, generator=torch.Generator().manual_seed(1))
    return gan(mlp(4, 2, width=32), mlp(2, 1, width=32), real, (1e-3, 1e-3), noise=4)


simple(
    "residual with spectral norms",
    lambda: fit(_spectral(Residual(64, 10, blocks=3)), "digits", opt="adam", lr=2e-3),
)


def _spectral(net: nn.Module) -> nn.Module:
    for module in list(net.modules()):
        if isinstance(module, nn.Linear):
            nn.utils.parametrizations.spectral_norm(module)
    return net


simple(
    "text with a warm restart",
    lambda: text_fit(
        CharTransformer(text()[1]),
        opt="adamw",
        lr=3e-3,
        schedule=lambda k: 0.5 * (1 + math.cos(math.pi * (k % 100) / 100)),
    ),
    250,
)

"""Runs that learn, many of them in ways that look wrong to a naive rule."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.data import sampler, scaled, table, text, text_sampler
from scoreboard.harness import Scenario, Training
from scoreboard.loops import class_score, fit
from scoreboard.nets import (
    Bag,
    CharRnn,
    CharTransformer,
    Cnn,
    DigitTransformer,
    Library,
    Recurrent,
    Residual,
    draw,
    linear,
    mlp,
)

RUNS: list[Scenario] = []


def healthy(
    name: str, steps: int = 400
) -> Callable[[Callable[[], Training]], Callable[[], Training]]:
    """Register a healthy run."""

    def add(build: Callable[[], Training]) -> Callable[[], Training]:
        RUNS.append(Scenario(f"healthy {name}", build, steps=steps))
        return build

    return add


def simple(name: str, build: Callable[[], Training], steps: int = 400) -> None:
    healthy(name, steps)(build)


simple("mlp digits sgd", lambda: fit(mlp(64, 10), "digits"))
simple("mlp digits adam", lambda: fit(mlp(64, 10), "digits", opt="adam", lr=1e-3))
simple(
    "mlp digits adamw tanh",
    lambda: fit(mlp(64, 10, activation="tanh"), "digits", opt="adamw", lr=1e-3),
)
simple(
    "mlp digits rmsprop gelu",
    lambda: fit(mlp(64, 10, activation="gelu"), "digits", opt="rmsprop", lr=1e-3),
)
simple(
    "mlp digits momentum silu",
    lambda: fit(mlp(64, 10, activation="silu"), "digits", opt="momentum", lr=0.05),
)
simple(
    "mlp digits relu6 hardtanh",
    lambda: fit(mlp(64, 10, activation="hardtanh"), "digits", opt="adam", lr=3e-3),
)
simple(
    "sigmoid 2 sgd momentum",
    lambda: fit(mlp(64, 10, activation="sigmoid"), "digits", opt="momentum", lr=0.2),
    800,
)
simple(
    "sigmoid 3 adam",
    lambda: fit(mlp(64, 10, depth=3, activation="sigmoid"), "digits", opt="adam", lr=3e-3),
    600,
)
simple(
    "sigmoid 5 adam slow start",
    lambda: fit(mlp(64, 10, depth=5, activation="sigmoid"), "digits", opt="adam", lr=3e-3),
    1000,
)
simple(
    "sigmoid 2 adam tiny lr",
    lambda: fit(mlp(64, 10, activation="sigmoid"), "digits", opt="adam", lr=1e-4),
    1200,
)
simple(
    "tanh 8 xavier",
    lambda: fit(
        mlp(64, 10, depth=8, activation="tanh", init="xavier"), "digits", opt="adam", lr=1e-3
    ),
)
simple(
    "relu 20 he adam",
    lambda: fit(mlp(64, 10, depth=20, init="he"), "digits", opt="adam", lr=3e-4),
    500,
)
simple(
    "relu 6 default sgd", lambda: fit(mlp(64, 10, depth=6), "digits", opt="momentum", lr=0.03), 800
)
simple(
    "elu 10 orthogonal",
    lambda: fit(
        mlp(64, 10, depth=10, activation="elu", init="orthogonal"), "digits", opt="adam", lr=1e-3
    ),
)
simple("batchnorm mlp", lambda: fit(mlp(64, 10, norm="batch"), "digits", lr=0.1))
simple(
    "batchnorm deep raw pixels",
    lambda: fit(
        nn.Sequential(nn.BatchNorm1d(64), *mlp(64, 10, depth=4, norm="batch")),
        table("digits"),
        lr=0.1,
    ),
)
simple(
    "layernorm mlp adam",
    lambda: fit(mlp(64, 10, depth=4, norm="layer"), "digits", opt="adam", lr=1e-3),
)
simple(
    "dropout half", lambda: fit(mlp(64, 10, width=128, dropout=0.5), "digits", opt="adam", lr=1e-3)
)
simple("cnn sgd", lambda: fit(Cnn(), "digits", opt="momentum", lr=0.05))
simple("cnn batchnorm adam", lambda: fit(Cnn(norm=True), "digits", opt="adam", lr=1e-3))
simple("cnn raw 0-16", lambda: fit(Cnn(), table("digits"), opt="adam", lr=1e-3))
simple("mlp raw digits 0-16 adam", lambda: fit(mlp(64, 10), table("digits"), opt="adam", lr=1e-3))
simple("residual pre norm", lambda: fit(Residual(64, 10), "digits", opt="adam", lr=1e-3))
simple(
    "residual zero branches",
    lambda: fit(Residual(64, 10, blocks=10, zero=True), "digits", opt="adam", lr=1e-3),
)
simple("lstm rows", lambda: fit(Recurrent("LSTM"), "digits", opt="adam", lr=3e-3))
simple("gru rows", lambda: fit(Recurrent("GRU"), "digits", opt="adam", lr=3e-3))
simple("rnn rows", lambda: fit(Recurrent("RNN"), "digits", opt="adam", lr=1e-3))
simple("wine sgd", lambda: fit(mlp(13, 3, width=32), "wine", batch=32, lr=0.05))
simple(
    "iris full batch",
    lambda: fit(mlp(4, 3, width=16, activation="tanh"), "iris", batch=150, opt="adam", lr=1e-2),
)
simple("cancer adam", lambda: fit(mlp(30, 2, width=32), "breast_cancer", opt="adam", lr=1e-3))
simple("circles narrow", lambda: fit(mlp(2, 2, width=16), "circles", opt="adam", lr=1e-2), 600)
simple(
    "moons tanh",
    lambda: fit(mlp(2, 2, width=32, activation="tanh"), "moons", opt="adam", lr=1e-2),
    600,
)
simple("moons sgd slow", lambda: fit(mlp(2, 2, width=32), "moons", lr=0.1), 800)
simple("blobs sgd 0.5 edge", lambda: fit(mlp(30, 4, width=64), "blobs", batch=256, lr=0.5))
simple("digits sgd 0.5 edge", lambda: fit(mlp(64, 10), "digits", batch=256, lr=0.5))
simple("digits adam 3e-2 edge", lambda: fit(mlp(64, 10), "digits", opt="adam", lr=1e-2))
simple("batch of one thousand", lambda: fit(mlp(64, 10), "digits", batch=1000, lr=0.3))
simple("batch of four", lambda: fit(mlp(64, 10), "digits", batch=4, lr=0.02), 800)
simple("batch of two", lambda: fit(mlp(64, 10), "digits", batch=2, lr=0.01), 1000)
simple("batch of one", lambda: fit(mlp(64, 10), "digits", batch=1, lr=0.01), 1000)
simple("linear softmax regression", lambda: fit(nn.Linear(64, 10), "digits", lr=0.1))
simple("linear regression diabetes", lambda: fit(nn.Linear(10, 1), "diabetes", lr=0.05))
simple("diabetes mlp", lambda: fit(mlp(10, 1, width=32), "diabetes", opt="adam", lr=3e-3))
simple(
    "friedman mlp tanh",
    lambda: fit(mlp(10, 1, width=64, activation="tanh"), "friedman", opt="adam", lr=3e-3),
    600,
)
simple(
    "warm-up then cosine",
    lambda: fit(
        mlp(64, 10, depth=3),
        "digits",
        opt="adamw",
        lr=3e-3,
        schedule=lambda k: (
            (k - 1) / 60 if k <= 60 else 0.5 * (1 + math.cos(math.pi * (k - 60) / 440))
        ),
    ),
    500,
)
simple(
    "cosine to zero",
    lambda: fit(
        mlp(64, 10), "digits", lr=0.2, schedule=lambda k: 0.5 * (1 + math.cos(math.pi * k / 500))
    ),
    500,
)
simple(
    "long warm-up from zero",
    lambda: fit(mlp(64, 10), "digits", lr=0.1, schedule=lambda k: (k - 1) / 400),
    600,
)
simple(
    "step decay",
    lambda: fit(Cnn(), "digits", opt="momentum", lr=0.05, schedule=lambda k: 0.1 ** (k // 150)),
)
simple(
    "cyclic rate", lambda: fit(mlp(64, 10), "digits", schedule=lambda k: 1 + 0.9 * math.sin(k / 20))
)
simple("clipped at one", lambda: fit(Recurrent("RNN"), "digits", lr=0.1, clip=1.0))
simple(
    "weight decay usual", lambda: fit(mlp(64, 10), "digits", opt="adamw", lr=1e-3, weight_decay=0.1)
)
simple(
    "finished long ago",
    lambda: fit(mlp(13, 3, width=64), "wine", opt="adam", lr=1e-2, batch=64),
    1500,
)
simple(
    "loss at zero exactly",
    lambda: fit(
        mlp(4, 3, width=64),
        "iris",
        opt="adam",
        lr=3e-2,
        batch=50,
        loss=lambda o, y: functional.multi_margin_loss(o, y),
    ),
    800,
)
simple(
    "label smoothing",
    lambda: fit(
        mlp(64, 10), "digits", loss=lambda o, y: functional.cross_entropy(o, y, label_smoothing=0.1)
    ),
)
simple(
    "sum reduction",
    lambda: fit(
        mlp(64, 10),
        "digits",
        lr=0.002,
        loss=lambda o, y: functional.cross_entropy(o, y, reduction="sum"),
    ),
)
simple(
    "loss times thousand adam",
    lambda: fit(
        mlp(64, 10),
        "digits",
        opt="adam",
        lr=1e-3,
        loss=lambda o, y: 1000 * functional.cross_entropy(o, y),
    ),
)
simple(
    "fashion of small loss",
    lambda: fit(
        mlp(64, 10),
        "digits",
        opt="adam",
        lr=1e-3,
        loss=lambda o, y: 0.001 * functional.cross_entropy(o, y),
    ),
)
simple(
    "huber",
    lambda: fit(
        mlp(10, 1, width=32), "diabetes", opt="adam", lr=3e-3, loss=functional.smooth_l1_loss
    ),
)
simple("transformer rows pre", lambda: fit(DigitTransformer(), "digits", opt="adam", lr=3e-3))
simple(
    "transformer rows post", lambda: fit(DigitTransformer(pre=False), "digits", opt="adam", lr=1e-3)
)
simple("torch encoder", lambda: fit(Library(), "digits", opt="adam", lr=1e-3))
simple("torch encoder post", lambda: fit(Library(norm_first=False), "digits", opt="adam", lr=1e-3))


def _text(model: nn.Module, **settings: object) -> Training:
    ids, _ = text()
    x = ids[: 64 * 32].view(64, 32)
    y = ids[1 : 64 * 32 + 1].view(64, 32)
    return fit(model, (x, y), draw=text_sampler(32, 32), score=class_score(model, x, y), **settings)  # type: ignore[arg-type]


simple("text gru", lambda: _text(CharRnn(text()[1]), opt="adam", lr=3e-3))
simple(
    "text lstm tied", lambda: _text(CharRnn(text()[1], cell="LSTM", tied=True), opt="adam", lr=3e-3)
)
simple("text transformer pre", lambda: _text(CharTransformer(text()[1]), opt="adam", lr=3e-3))
simple(
    "text transformer post",
    lambda: _text(CharTransformer(text()[1], pre=False), opt="adam", lr=1e-3),
)
simple(
    "text transformer tied deep",
    lambda: _text(CharTransformer(text()[1], layers=4, tied=True), opt="adamw", lr=2e-3),
)
simple(
    "text transformer sgd slow",
    lambda: _text(CharTransformer(text()[1]), opt="momentum", lr=0.05),
    600,
)


@healthy("zero head")
def _zero_head() -> Training:
    net = mlp(64, 10)
    head = linear(net[-1])
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return fit(net, "digits")


@healthy("zero head warm-up")
def _zero_head_warm() -> Training:
    net = mlp(64, 10, depth=3)
    head = linear(net[-1])
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return fit(net, "digits", opt="adam", lr=1e-3, schedule=lambda k: min(1, (k - 1) / 50))


def _imbalanced(share: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    x, y = scaled("digits")
    odd = y == 3
    keep = torch.ones(len(y), dtype=torch.bool)
    rare = odd.nonzero()[:, 0]
    wanted = int(share * (len(y) - len(rare)))
    keep[rare[wanted:]] = False
    return x[keep], odd[keep].long()


@healthy("prior bias head", 600)
def _prior() -> Training:
    data = _imbalanced(0.05)
    net = mlp(64, 2)
    with torch.no_grad():
        linear(net[-1]).bias.copy_(torch.tensor([0.0, -4.0]))
    return fit(net, data, opt="adam", lr=1e-3)


simple("imbalanced 5 percent", lambda: fit(mlp(64, 2), _imbalanced(0.05), opt="adam", lr=1e-3), 600)
simple("imbalanced 2 percent", lambda: fit(mlp(64, 2), _imbalanced(0.02), opt="adam", lr=1e-3), 800)


@healthy("binary with logits", 400)
def _binary() -> Training:
    x, y = scaled("breast_cancer")
    net = mlp(30, 1, width=32)
    target = y.float()[:, None]
    return fit(
        net,
        (x, target),
        opt="adam",
        lr=1e-3,
        loss=functional.binary_cross_entropy_with_logits,
        score=lambda: float(((net(x) > 0).float() == target).float().mean()),
    )


@healthy("binary sigmoid output", 500)
def _binary_sigmoid() -> Training:
    x, y = scaled("breast_cancer")
    net = nn.Sequential(*mlp(30, 1, width=32, activation="tanh"), nn.Sigmoid())
    target = y.float()[:, None]
    return fit(
        net,
        (x, target),
        opt="adam",
        lr=3e-3,
        loss=functional.binary_cross_entropy,
        score=lambda: float(((net(x) > 0.5).float() == target).float().mean()),
    )


@healthy("multi-label")
def _multi() -> Training:
    x, y = scaled("digits")
    bits = torch.stack([(y >> b) & 1 for b in range(4)], 1).float()
    net = mlp(64, 4)
    return fit(
        net,
        (x, bits),
        opt="adam",
        lr=1e-3,
        loss=functional.binary_cross_entropy_with_logits,
        score=lambda: float(((net(x) > 0) == (bits > 0)).float().mean()),
    )


def _noisy(share: float) -> tuple[Tensor, Tensor]:
    x, y = scaled("digits")
    generator = torch.Generator().manual_seed(4)
    wrong = torch.rand(len(y), generator=generator) < share
    other = torch.randint(10, (len(y),), generator=generator)
    return x, torch.where(wrong, other, y)


simple("label noise 20", lambda: fit(mlp(64, 10), _noisy(0.2)), 500)
simple("label noise 40", lambda: fit(mlp(64, 10), _noisy(0.4), opt="adam", lr=1e-3), 600)


@healthy("frozen backbone")
def _frozen() -> Training:
    net = mlp(64, 10, width=128)
    for parameter in net[0].parameters():
        parameter.requires_grad_(False)
    return fit(net, "digits", parameters=[p for p in net.parameters() if p.requires_grad], lr=0.1)


@healthy("linear probe on features")
def _probe() -> Training:
    net = mlp(64, 10, width=128)
    for layer in list(net)[:-1]:
        layer.requires_grad_(False)
    return fit(net, "digits", parameters=net[-1].parameters(), lr=0.1)


@healthy("frozen but not told to torch")
def _left_out() -> Training:
    net = mlp(64, 10, width=128)
    return fit(net, "digits", parameters=[*net[2].parameters(), *net[4].parameters()], lr=0.1)


@healthy("fine-tuned")
def _fine() -> Training:
    net = mlp(64, 10)
    x, y = scaled("digits")
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(150):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y % 5).backward()
        optimizer.step()
    net[-1] = nn.Linear(64, 10)
    return fit(net, "digits", opt="adamw", lr=5e-4)


@healthy("autoencoder")
def _auto() -> Training:
    x, _ = table("digits")
    x = x / 16
    net = nn.Sequential(
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 8),
        nn.Linear(8, 32),
        nn.ReLU(),
        nn.Linear(32, 64),
        nn.Sigmoid(),
    )
    return fit(net, (x, x), opt="adam", lr=3e-3, loss=functional.mse_loss)


@healthy("autoencoder bottleneck bce")
def _auto_bce() -> Training:
    x, _ = table("digits")
    x = x / 16
    net = nn.Sequential(
        nn.Linear(64, 32),
        nn.Tanh(),
        nn.Linear(32, 4),
        nn.Linear(4, 32),
        nn.Tanh(),
        nn.Linear(32, 64),
    )
    return fit(
        net,
        (x, x),
        opt="adam",
        lr=3e-3,
        loss=functional.binary_cross_entropy_with_logits,
        score=lambda: float(1 - functional.mse_loss(net(x).sigmoid(), x) / x.var(0).mean()),
    )


@healthy("offset target", 1000)
def _offset() -> Training:
    x, y = scaled("diabetes")
    return fit(mlp(10, 1, width=32), (x, y * 0.5 + 20), opt="adam", lr=1e-2)


@healthy("offset target 100", 1500)
def _offset_hundred() -> Training:
    x, y = scaled("friedman")
    return fit(mlp(10, 1, width=32), (x, y + 100), opt="adam", lr=1e-2)


@healthy("raw target", 1000)
def _raw_target() -> Training:
    x, y = scaled("diabetes")
    return fit(mlp(10, 1, width=64), (x, y * 77 + 152), opt="adam", lr=3e-2)


@healthy("bag of ids")
def _bag() -> Training:
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(500, (2000, 20), generator=generator)
    y = ((ids < 250).float().mean(1) > 0.5).long()
    return fit(Bag(), (ids, y), opt="adam", lr=1e-2)


@healthy("xor repeated inputs", 600)
def _xor() -> Training:
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]).repeat(16, 1)
    y = torch.tensor([0, 1, 1, 0]).repeat(16)
    return fit(mlp(2, 2, width=16, activation="tanh"), (x, y), batch=32, opt="adam", lr=1e-2)


@healthy("sparse born nearly off")
def _sparse() -> Training:
    net = mlp(64, 10, width=128)
    draw(net, "bias-0.3")
    return fit(net, "digits", opt="adam", lr=1e-3)


@healthy("wide sparse")
def _wide() -> Training:
    return fit(mlp(64, 10, width=512), "digits", lr=0.2)


@healthy("siamese two forwards")
def _siamese() -> Training:
    x, y = scaled("digits")
    net = mlp(64, 16, width=64)
    take = sampler(x, y, 64)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)

    def step(_: int) -> Tensor:
        a, la = take()
        b, lb = take()
        distance = (net(a) - net(b)).norm(dim=1)
        same = (la == lb).float()
        loss = (same * distance**2 + (1 - same) * (2 - distance).clamp(min=0) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step)


@healthy("contrastive info-nce")
def _nce() -> Training:
    x, _ = scaled("digits")
    net = mlp(64, 16, width=64)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(0)

    def step(_: int) -> Tensor:
        a = x[torch.randint(len(x), (64,), generator=generator)]
        both = torch.cat([a + 0.3 * torch.randn(a.shape), a + 0.3 * torch.randn(a.shape)])
        z = functional.normalize(net(both), dim=1)
        loss = functional.cross_entropy(z[:64] @ z[64:].T / 0.2, torch.arange(64))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step)


@healthy("gan two models", 600)
def _gan() -> Training:
    real = torch.randn(2000, 2) * 0.3 + torch.tensor([1.0, -1.0])
    g, d = mlp(8, 2, width=32), mlp(2, 1, width=32, activation="leaky")
    og = torch.optim.Adam(g.parameters(), 1e-3, betas=(0.5, 0.9))
    od = torch.optim.Adam(d.parameters(), 1e-3, betas=(0.5, 0.9))
    bce = functional.binary_cross_entropy_with_logits

    def step(_: int) -> Tensor:
        x = real[torch.randint(len(real), (64,))]
        fake = g(torch.randn(64, 8))
        loss_d = bce(d(x), torch.ones(64, 1)) + bce(d(fake.detach()), torch.zeros(64, 1))
        od.zero_grad()
        loss_d.backward()
        od.step()
        loss_g = bce(d(fake), torch.ones(64, 1))
        og.zero_grad()
        loss_g.backward()
        og.step()
        return loss_g.detach()

    return Training({"generator": g, "critic": d}, [og, od], step)


@healthy("teacher and student")
def _distil() -> Training:
    x, y = scaled("digits")
    teacher = mlp(64, 10)
    optimizer = torch.optim.Adam(teacher.parameters(), 3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        functional.cross_entropy(teacher(x), y).backward()
        optimizer.step()
    teacher.requires_grad_(False)
    student = mlp(64, 10, width=32)
    own = torch.optim.Adam(student.parameters(), 1e-3)
    take = sampler(x, y, 64)

    def step(_: int) -> Tensor:
        a, _b = take()
        with torch.no_grad():
            soft = functional.softmax(teacher(a), 1)
        loss = functional.kl_div(functional.log_softmax(student(a), 1), soft, reduction="batchmean")
        own.zero_grad()
        loss.backward()
        own.step()
        return loss.detach()

    return Training({"student": student, "teacher": teacher}, own, step)


@healthy("ema teacher")
def _ema() -> Training:
    x, y = scaled("digits")
    net = mlp(64, 10)
    mean = copy.deepcopy(net).requires_grad_(False)

    def follow(_: int) -> None:
        for a, b in zip(mean.parameters(), net.parameters(), strict=True):
            a.data.lerp_(b.data, 0.01)

    return fit(net, (x, y), before=follow)


@healthy("vae")
def _vae() -> Training:
    x, _ = table("digits")
    x = x / 16

    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enc = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
            self.mu, self.lv = nn.Linear(64, 8), nn.Linear(64, 8)
            self.dec = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))

        def forward(self, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            h = self.enc(a)
            mu, lv = self.mu(h), self.lv(h)
            z = mu + torch.randn_like(mu) * (0.5 * lv).exp()
            return self.dec(z), mu, lv

    net = Vae()
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    take = sampler(x, x, 64)

    def step(_: int) -> Tensor:
        a, _b = take()
        out, mu, lv = net(a)
        rec = functional.binary_cross_entropy_with_logits(out, a, reduction="sum") / len(a)
        kl = -0.5 * (1 + lv - mu**2 - lv.exp()).sum(1).mean()
        loss = rec + kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step)


@healthy("scaler skips at start")
def _scaler() -> Training:
    net = mlp(64, 10)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=100)
    x, y = scaled("digits")
    take = sampler(x, y, 64)

    def step(k: int) -> Tensor:
        a, b = take()
        loss = functional.cross_entropy(net(a), b)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        if k <= 4 or k == 200:  # what half precision does at a scale that is too large
            gradient = linear(net[0]).weight.grad
            assert gradient is not None
            gradient.fill_(float("inf"))
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    return Training(net, optimizer, step, class_score(net, x, y))


@healthy("autocast bfloat16")
def _autocast() -> Training:
    net = mlp(64, 10, width=64, depth=3)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    x, y = scaled("digits")
    take = sampler(x, y, 64)

    def step(_: int) -> Tensor:
        a, b = take()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = functional.cross_entropy(net(a), b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step, class_score(net, x, y))


@healthy("accumulation of four")
def _accumulate() -> Training:
    net = mlp(64, 10)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    x, y = scaled("digits")
    take = sampler(x, y, 16)

    def step(_: int) -> Tensor:
        optimizer.zero_grad()
        total = torch.zeros(())
        for _i in range(4):
            a, b = take()
            loss = functional.cross_entropy(net(a), b) / 4
            loss.backward()
            total += loss.detach()
        optimizer.step()
        return total

    return Training(net, optimizer, step, class_score(net, x, y))


@healthy("reinforce bandit")
def _bandit() -> Training:
    x, y = scaled("digits")
    net = mlp(64, 10)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    take = sampler(x, y, 128)

    def step(_: int) -> Tensor:
        a, b = take()
        policy = torch.distributions.Categorical(logits=net(a))
        action = policy.sample()
        reward = (action == b).float() - 0.1
        loss = -(policy.log_prob(action) * reward).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step)


@healthy("q-learning like moving target", 500)
def _bootstrap() -> Training:
    x, y = scaled("digits")
    net = mlp(64, 10, depth=2)
    old = copy.deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    take = sampler(x, y, 64)

    def step(k: int) -> Tensor:
        a, b = take()
        if k % 50 == 0:
            old.load_state_dict(net.state_dict())
        with torch.no_grad():
            target = 1.0 + 0.9 * old(a).max(1).values
        loss = functional.smooth_l1_loss(net(a).gather(1, b[:, None])[:, 0], target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return Training(net, optimizer, step)

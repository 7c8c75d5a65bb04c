"""Blind runs that learn: what everybody trains on pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import lr_scheduler

from scoreboard.blind.parts import (
    Feed,
    adam,
    digits,
    every,
    explained,
    fit,
    hits,
    looks,
    named,
    signs,
)
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy = RUNS.healthy


class Digits(nn.Module):
    """The network of PyTorch's first example, for smaller digits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3), nn.Conv2d(16, 32, 3)
        self.dropout1, self.dropout2 = nn.Dropout(0.25), nn.Dropout(0.5)
        self.fc1, self.fc2 = nn.Linear(128, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x))
        x = self.dropout1(functional.max_pool2d(x, 2))
        x = functional.relu(self.fc1(torch.flatten(x, 1)))
        return functional.log_softmax(self.fc2(self.dropout2(x)), dim=1)


@healthy("digits as in the first example of all", 400)
def first_example() -> Training:
    (x, y), asked = digits()
    net, take = Digits(), Feed(x, y, batch=64)
    optimizer = torch.optim.Adadelta(net.parameters(), lr=1.0)
    plan = lr_scheduler.StepLR(optimizer, 22, 0.7)

    def loss() -> Tensor:
        a, b = take()
        return functional.nll_loss(net(a), b)

    return fit(net, optimizer, loss, named(net, asked), plan=plan,
               after=every(22, lambda: looks(net, functional.nll_loss, asked)))  # fmt: skip


class Block(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(h)) + self.shortcut(x))


def resnet(kinds: int, width: int = 8) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, kinds),
    )  # fmt: skip


@healthy("signs by a resnet in one cycle", 250)
def one_cycle() -> Training:
    (x, y), asked = signs()
    net, take = resnet(5), Feed(x, y, batch=32)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    plan = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=260)

    def loss() -> Tensor:
        a, b = take()
        if torch.rand(()) < 0.5:
            a = a.flip(3) if torch.rand(()) < 0.5 else a.roll(1, 2)
        return functional.cross_entropy(net(a), b)

    return fit(net, optimizer, loss, named(net, asked), plan=plan,
               after=every(40, lambda: looks(net, functional.cross_entropy, asked)))  # fmt: skip


class ViT(nn.Module):
    """Patches of two by two, a token to gather them, layers with the norm first."""

    def __init__(self, kinds: int = 10, width: int = 32, depth: int = 2) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, width, 2, 2)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.place = nn.Parameter(0.02 * torch.randn(1, 17, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, 0.1, "gelu", batch_first=True, norm_first=True
        )
        self.body = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> Tensor:
        h = self.patch(x).flatten(2).transpose(1, 2)
        h = torch.cat([self.token.expand(len(h), -1, -1), h], 1) + self.place
        return self.head(self.norm(self.body(h)[:, 0]))


@healthy("digits by a vision transformer", 300)
def vision_transformer() -> Training:
    (x, y), asked = digits()
    net, take = ViT(), Feed(x, y, batch=32)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.05)
    plan = lr_scheduler.LambdaLR(optimizer, lambda k: min(1.0, (k + 1) / 40))

    def loss() -> Tensor:
        a, b = take()
        return functional.cross_entropy(net(a), b, label_smoothing=0.1)

    return fit(net, optimizer, loss, named(net, asked), plan=plan, clip=1.0)


class UNet(nn.Module):
    """Down twice, up twice, what was seen on the way down handed across."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.d1, self.d2 = self.pair(1, width), self.pair(width, 2 * width)
        self.middle = self.pair(2 * width, 4 * width)
        self.u2 = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.c2 = self.pair(4 * width, 2 * width)
        self.u1 = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.c1 = self.pair(2 * width, width)
        self.out = nn.Conv2d(width, 1, 1)

    @staticmethod
    def pair(a: int, b: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(),
            nn.Conv2d(b, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        a = self.d1(x)
        b = self.d2(functional.max_pool2d(a, 2))
        h = self.middle(functional.max_pool2d(b, 2))
        h = self.c2(torch.cat([self.u2(h), b], 1))
        return self.out(self.c1(torch.cat([self.u1(h), a], 1)))


def cells(count: int, seed: int, wide: float = 2.4) -> tuple[Tensor, Tensor]:
    """Noisy pictures with one to three bright discs and a slope of light; the discs' pixels."""
    g, line = dice(seed), torch.arange(16).float()
    mask = torch.zeros(count, 1, 16, 16)
    for k in range(3):
        at = 1 + 14 * torch.rand(count, 2, 1, 1, generator=g)
        far = (line[:, None] - at[:, 0]) ** 2 + (line[None] - at[:, 1]) ** 2
        there = (torch.rand(count, 1, 1, generator=g) < 0.6) | torch.tensor(k == 0)
        mask[:, 0] = torch.maximum(mask[:, 0], ((far < wide**2) & there).float())
    light = torch.randn(count, 1, 1, 1, generator=g) * torch.linspace(-0.8, 0.8, 16)
    return 1.6 * mask + light + 0.5 * torch.randn(mask.shape, generator=g), mask


def overlap(net: nn.Module, rows: tuple[Tensor, Tensor]) -> float:
    """Pixels that are rightly marked among all that are or should be."""
    net.eval()
    with torch.no_grad():
        said, truth = net(rows[0]) > 0, rows[1] > 0.5
    return float((said & truth).sum() / (said | truth).sum())


@healthy("cells by a u-net", 200)
def segmented() -> Training:
    net, take, asked = UNet(), Feed(*cells(400, 21), batch=16), cells(100, 22)

    def loss() -> Tensor:
        a, b = take()
        return functional.binary_cross_entropy_with_logits(net(a), b)

    return fit(net, adam(net, 2e-3), loss, lambda: overlap(net, asked),
               after=every(50, lambda: looks(
                   net, functional.binary_cross_entropy_with_logits, asked)))  # fmt: skip


@healthy("two pixels in a hundred, by the overlap", 300)
def rare_pixels() -> Training:
    """Small discs; half cross entropy, half what is missed of the overlap (Dice)."""
    net, take = UNet(), Feed(*cells(500, 23, 1.1), batch=16)
    asked = cells(200, 24, 1.1)

    def loss() -> Tensor:
        a, b = take()
        out = net(a)
        p = torch.sigmoid(out)
        dice_ = 1 - (2 * (p * b).sum() + 1) / (p.sum() + b.sum() + 1)
        return functional.binary_cross_entropy_with_logits(out, b) + dice_

    return fit(net, adam(net, 2e-3), loss, lambda: overlap(net, asked))


@healthy("a corner's place, its kind and how big", 400)
def several_answers() -> Training:
    """One trunk, three heads, three losses weighted by hand."""
    g = dice(25)
    kind = torch.randint(3, (1600,), generator=g)
    at = torch.rand(1600, 2, generator=g)
    line = torch.arange(12).float() / 11
    wide = 0.06 + 0.10 * torch.rand(1600, 1, 1, generator=g)
    dy, dx = line[:, None] - at[:, 0, None, None], line[None] - at[:, 1, None, None]
    shape = torch.where((kind == 0)[:, None, None], dy**2 + dx**2, 1e9)
    shape = torch.where((kind == 1)[:, None, None], (dy**2) * 4 + dx**2 / 6, shape)
    shape = torch.where((kind == 2)[:, None, None], (dx**2) * 4 + dy**2 / 6, shape)
    x = 2 * torch.exp(-shape / (2 * wide**2))[:, None]
    x = x + 0.1 * torch.randn(x.shape, generator=g)
    places = 3 * (at - 0.5)
    sizes = (wide[:, :, 0] - 0.11) / 0.03
    trunk = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.LeakyReLU(0.1), nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1), nn.LeakyReLU(0.1), nn.Flatten(),
        nn.Linear(24 * 36, 48), nn.LeakyReLU(0.1),
    )  # fmt: skip
    net = nn.ModuleDict(
        {"trunk": trunk, "kind": nn.Linear(48, 3), "place": nn.Linear(48, 2),
         "size": nn.Linear(48, 1)}
    )  # fmt: skip
    take = Feed(x[:1300], kind[:1300], places[:1300], sizes[:1300], batch=32)

    def loss() -> Tensor:
        a, b, c, d = take()
        h = net["trunk"](a)
        return (
            functional.cross_entropy(net["kind"](h), b)
            + 0.5 * functional.mse_loss(net["place"](h), c)
            + 0.2 * functional.smooth_l1_loss(net["size"](h), d)
        )

    def score() -> float:
        with torch.no_grad():
            h = net["trunk"](x[1300:])
            return min(
                hits(net["kind"](h).argmax(1), kind[1300:]),
                explained(net["place"](h), places[1300:]),
                explained(net["size"](h), sizes[1300:]),
            )

    return fit(net, adam(net, 2e-3), loss, score)


@healthy("which of three signs are in a picture", 300)
def several_names() -> Training:
    """Two or three of them at once, or none: a logit for each."""
    g = dice(26)
    patterns = torch.randn(6, 1, 4, 4, generator=g)
    there = (torch.rand(1800, 6, generator=g) < 0.3).float()
    x = 0.5 * torch.randn(1800, 1, 12, 12, generator=g)
    for k in range(6):
        top, left = 4 * (k // 3) + 2, 4 * (k % 3)
        x[:, :, top : top + 4, left : left + 4] += there[:, k, None, None, None] * patterns[k]
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.SiLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.SiLU(), nn.Flatten(),
        nn.Linear(576, 6),
    )  # fmt: skip
    take = Feed(x[:1500], there[:1500], batch=32)

    def loss() -> Tensor:
        a, b = take()
        return functional.binary_cross_entropy_with_logits(net(a), b)

    def score() -> float:
        net.eval()
        with torch.no_grad():
            said, truth = net(x[1500:]) > 0, there[1500:] > 0.5
        found, quiet = (said & truth).sum(0) / truth.sum(0), (~said & ~truth).sum(0)
        return float((found + quiet / (~truth).sum(0) - 1).min())

    return fit(net, torch.optim.AdamW(net.parameters(), lr=2e-3), loss, score)


@healthy("noise taken off digits", 350)
def denoised() -> Training:
    (x, _), (asked, _) = digits()
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.GELU(), nn.Conv2d(16, 16, 3, padding=1), nn.GELU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.GELU(), nn.Conv2d(16, 1, 3, padding=1),
    )  # fmt: skip
    take = Feed(x, batch=48)
    noise = 0.6 * torch.randn(asked.shape, generator=dice(27))

    def loss() -> Tensor:
        (a,) = take()
        return functional.mse_loss(net(a + 0.6 * torch.randn_like(a)), a)

    def score() -> float:
        """Share of the noise that is gone; with eight by eight pixels a half is much."""
        with torch.no_grad():
            left = (net(asked + noise) - asked).square().mean()
        return float(1 - left / noise.square().mean())

    return fit(net, adam(net, 2e-3), loss, score)

"""The sealed runs' networks for tables, pictures, points and graphs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

Act = Callable[[], nn.Module]
Norm = Callable[[int], nn.Module]


def no_norm(width: int) -> nn.Module:
    """Where a norm would be."""
    return nn.Identity()


class Tower(nn.Module):
    """Fully connected layers in a list; the last has no activation."""

    def __init__(self, *widths: int, act: Act = nn.ReLU, drop: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.acts = nn.ModuleList(act() for _ in widths[2:])
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        for layer, act in zip(self.layers[:-1], self.acts, strict=True):
            x = self.drop(act(layer(x)))
        out: Tensor = self.layers[-1](x)
        return out


def plain(*widths: int, act: Act = nn.ReLU) -> nn.Sequential:
    """The same as a Sequential."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers[:-1])


def each_weight(net: nn.Module, draw: Callable[[Tensor], object], least: int = 2) -> nn.Module:
    """All matrices and kernels drawn so; with `least` 1, biases too."""
    with torch.no_grad():
        for weight in net.parameters():
            if weight.dim() >= least:
                draw(weight)
    return net


class Residual(nn.Module):
    """Two convolutions and a way round them."""

    def __init__(self, width: int, norm: Norm, act: Act) -> None:
        super().__init__()
        self.one = nn.Conv2d(width, width, 3, padding=1)
        self.two = nn.Conv2d(width, width, 3, padding=1)
        self.norms = nn.ModuleList([norm(width), norm(width)])
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.norms[0](self.one(x)))
        out: Tensor = self.act(x + self.norms[1](self.two(h)))
        return out


class ResNet(nn.Module):
    """A small residual network for pictures."""

    def __init__(
        self,
        kinds: int,
        depth: int = 2,
        width: int = 8,
        norm: Norm = nn.BatchNorm2d,
        act: Act = nn.ReLU,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(*(Residual(width, norm, act) for _ in range(depth)))
        self.fc = nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> Tensor:
        h = self.blocks(self.stem(x))
        out: Tensor = self.fc(h.mean((2, 3)))
        return out


def lenet(kinds: int, size: int, act: Act = nn.ReLU, norm: Norm = no_norm) -> nn.Sequential:
    """Convolutions, pooling and two layers."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        norm(8),
        act(),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        norm(16),
        act(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * (size // 4) ** 2, 32),
        act(),
        nn.Linear(32, kinds),
    )


class UNet(nn.Module):
    """Down once, up once, with a skip."""

    def __init__(self, width: int = 8, act: Act = nn.ReLU) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), act())
        self.low = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, padding=1),
            act(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            act(),
        )
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.merge = nn.Sequential(
            nn.Conv2d(2 * width, width, 3, padding=1), act(), nn.Conv2d(width, 1, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down(x)
        h = self.up(self.low(functional.max_pool2d(skip, 2)))
        out: Tensor = self.merge(torch.cat([skip, h], 1))
        return out


class Graph(nn.Module):
    """Neighbours' means, layer by layer."""

    def __init__(
        self, links: Tensor, depth: int = 2, width: int = 24, act: Act = nn.ReLU, kinds: int = 4
    ) -> None:
        super().__init__()
        widths = [12, *[width] * (depth - 1), kinds]
        self.links = links
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.act(layer(self.links @ x))
        out: Tensor = self.layers[-1](self.links @ x)
        return out


class Clicks(nn.Module):
    """Tables of ids, side by side, and a network over them."""

    def __init__(self, width: int = 6, hidden: int = 24, act: Act = nn.ReLU) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, width) for n in (40, 30, 12))
        self.top = Tower(3 * width, hidden, 1, act=act)

    def forward(self, ids: Tensor) -> Tensor:
        vectors = [table(ids[:, k]) for k, table in enumerate(self.tables)]
        out: Tensor = self.top(torch.cat(vectors, 1))
        return out


class Rises(nn.Module):
    """One dimension per edge a sum of bumps (a KAN in the small)."""

    centres: Tensor

    def __init__(self, inputs: int, outputs: int, grid: int = 12, low: float = -2.5) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(low, -low, grid))
        self.width = 2 * abs(low) / grid
        self.heights = nn.Parameter(0.1 * torch.randn(inputs, grid, outputs))
        self.straight = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        bumps = torch.exp(-(((x[..., None] - self.centres) / self.width) ** 2))
        out: Tensor = torch.einsum("nig,igo->no", bumps, self.heights)
        return out + self.straight(functional.silu(x))


class Settling(nn.Module):
    """The hidden state is what a layer leaves as it is (a fixed point, by repetition)."""

    def __init__(self, inputs: int, outputs: int, width: int = 32, times: int = 12) -> None:
        super().__init__()
        self.into, self.again = nn.Linear(inputs, width), nn.Linear(width, width)
        self.out = nn.Linear(width, outputs)
        nn.init.orthogonal_(self.again.weight, 0.6)
        self.times = times

    def forward(self, x: Tensor) -> Tensor:
        given = self.into(x)
        with torch.no_grad():
            z = torch.zeros_like(given)
            for _ in range(self.times):
                z = torch.tanh(self.again(z) + given)
        for _ in range(3):
            z = torch.tanh(self.again(z) + given)
        out: Tensor = self.out(z)
        return out


class Euler(nn.Module):
    """A state that flows for a while (a neural ODE by Euler's steps)."""

    def __init__(
        self, inputs: int, outputs: int, width: int = 24, steps: int = 10, pace: float = 0.1
    ) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.flow = plain(width, 2 * width, width, act=nn.Softplus)
        self.steps, self.pace = steps, pace

    def forward(self, x: Tensor) -> Tensor:
        z = self.into(x)
        for _ in range(self.steps):
            z = z + self.pace * self.flow(z)
        out: Tensor = self.out(z)
        return out

"""Blind runs that learn: series and sequences that are no text."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import Feed, adam, explained, fit, hits, named
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training

RUNS = Runs(__name__)
healthy = RUNS.healthy


@healthy("a name's country, one name at a time", 600)
def one_name() -> Training:
    """A recurrent cell by hand, batch of one, plain descent: the loss jumps from name to name."""
    g = dice(37)
    ends = torch.tensor([[5, 9], [14, 11], [8, 2], [19, 4]])
    cell, out = nn.Linear(20 + 32, 32), nn.Linear(32, 4)
    net = nn.ModuleDict({"i2h": cell, "h2o": out})

    def names(count: int) -> tuple[Tensor, Tensor]:
        kind = torch.randint(4, (count,), generator=g)
        x = torch.randint(20, (count, 5), generator=g)
        x[:, 3:] = ends[kind]
        return functional.one_hot(x, 20).float(), kind

    def said(x: Tensor) -> Tensor:
        h = torch.zeros(len(x), 32)
        for t in range(x.shape[1]):
            h = torch.tanh(cell(torch.cat([x[:, t], h], 1)))
        return functional.log_softmax(out(h), 1)

    def loss() -> Tensor:
        x, y = names(1)
        return functional.nll_loss(said(x), y)

    def score() -> float:
        x, y = names(300)
        with torch.no_grad():
            return hits(said(x).argmax(1), y)

    return fit(net, torch.optim.SGD(net.parameters(), lr=0.05), loss, score)


@healthy("strokes read without knowing where (ctc)", 400)
def unaligned() -> Training:
    """Three to five letters, each three to five frames long; all blank for the first while."""
    g = dice(38)
    shapes = torch.randn(6, 10, generator=g)
    net = nn.ModuleDict(
        {"front": nn.Conv1d(10, 32, 5, padding=2),
         "reads": nn.GRU(32, 24, batch_first=True, bidirectional=True), "out": nn.Linear(48, 7)}
    )  # fmt: skip

    def lines(count: int) -> tuple[Tensor, Tensor, Tensor]:
        lengths = torch.randint(3, 6, (count,), generator=g)
        y = torch.randint(1, 7, (count, 5), generator=g)
        wide = torch.randint(3, 6, (count, 5), generator=g)
        x = 0.3 * torch.randn(count, 26, 10, generator=g)
        for row in range(count):
            at = 0
            for k in range(int(lengths[row])):
                x[row, at : at + int(wide[row, k]) - 1] += shapes[y[row, k] - 1]
                at += int(wide[row, k])
        return x, y, lengths

    def said(x: Tensor) -> Tensor:
        h = functional.relu(net["front"](x.transpose(1, 2))).transpose(1, 2)
        return functional.log_softmax(net["out"](net["reads"](h)[0]), 2)

    def loss() -> Tensor:
        x, y, n = lines(24)
        frames = torch.full((24,), 26)
        return functional.ctc_loss(said(x).transpose(0, 1), y, frames, n)

    def score() -> float:
        """Lines that are read without a mistake."""
        x, y, n = lines(200)
        with torch.no_grad():
            best = said(x).argmax(2)
        right = 0
        for row in range(200):
            kept = torch.unique_consecutive(best[row])
            kept = kept[kept > 0]
            right += int(torch.equal(kept, y[row, : n[row]]))
        return right / 200

    return fit(net, adam(net, 5e-3), loss, score, clip=5.0)


def waves(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two waves and a trend, forty hours, and the next eight."""
    g, t = dice(seed), torch.arange(48.0)
    phase = 2 * math.pi * torch.rand(count, 2, 1, generator=g)
    x = torch.sin(2 * math.pi * t / 24 + phase[:, 0])
    x = x + 0.5 * torch.sin(2 * math.pi * t / 6 + phase[:, 1])
    x = x + torch.randn(count, 1, generator=g) * t / 60
    x = x + 0.1 * torch.randn(x.shape, generator=g)
    return x[:, :40], x[:, 40:]


class Forecast(nn.Module):
    """What an LSTM has read, turned into the hours to come."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(1, 32, 2, batch_first=True), nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x[..., None])[0][:, -1])


@healthy("the next eight hours", 350)
def forecast() -> Training:
    net, take, asked = Forecast(), Feed(*waves(1500, 40), batch=48), waves(300, 41)

    def loss() -> Tensor:
        a, b = take()
        return functional.mse_loss(net(a), b)

    def score() -> float:
        net.eval()
        with torch.no_grad():
            return explained(net(asked[0]), asked[1])

    return fit(net, adam(net, 5e-3), loss, score, clip=1.0)


@healthy("the sum of two marked places, far apart", 500)
def dilated() -> Training:
    """Convolutions with holes see sixty steps back (a TCN), on the adding problem."""
    g = dice(42)
    layers: list[nn.Module] = []
    for k in range(5):
        layers += [nn.Conv1d(24 if k else 2, 24, 3, padding=2**k, dilation=2**k), nn.GELU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(24, 1))

    def rows(count: int) -> tuple[Tensor, Tensor]:
        worth = torch.rand(count, 40, generator=g)
        marks = torch.rand(count, 40, generator=g).topk(2, 1).indices
        flags = torch.zeros(count, 40).scatter_(1, marks, 1.0)
        y = worth.gather(1, marks).sum(1, keepdim=True)
        return torch.stack([worth - 0.5, flags], 1), (y - 1) / 0.41

    asked = rows(400)

    def loss() -> Tensor:
        a, b = rows(32)
        return functional.mse_loss(net(a), b)

    def score() -> float:
        with torch.no_grad():
            return explained(net(asked[0]), asked[1])

    return fit(net, adam(net, 3e-3), loss, score)


@healthy("spoken digits by convolutions over time", 250)
def spoken() -> Training:
    """Chirps that rise, fall, stay or break, under noise."""
    g, t = dice(43), torch.linspace(0, 1, 64)
    kind = torch.randint(4, (1500,), generator=g)
    low = 3 + 2 * torch.rand(1500, 1, generator=g)
    slope = torch.tensor([4.0, -1.5, 0.0, 0.0])[kind][:, None]
    x = torch.sin(2 * math.pi * (low * t + slope * t**2 + 3 * torch.rand(1500, 1, generator=g)))
    x[kind == 3, 28:40] = 0.0
    x = (x + 0.3 * torch.randn(x.shape, generator=g))[:, None]
    net = nn.Sequential(
        nn.Conv1d(1, 16, 9, 2, 4), nn.BatchNorm1d(16), nn.ReLU(),
        nn.Conv1d(16, 24, 7, 2, 3), nn.BatchNorm1d(24), nn.ReLU(),
        nn.Conv1d(24, 24, 5, 2, 2), nn.BatchNorm1d(24), nn.ReLU(),
        nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(24, 4),
    )  # fmt: skip
    take = Feed(x[:1200], kind[:1200], batch=32)

    def loss() -> Tensor:
        a, b = take()
        return functional.cross_entropy(net(a), b)

    return fit(net, adam(net, 3e-3), loss, named(net, (x[1200:], kind[1200:])))

"""Sealed runs that learn: networks for pictures, words and series."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.loops import dice, yes_no
from scoreboard.scenario import Runs, Training
from scoreboard.sealed.data import (
    brackets,
    demand,
    genes,
    gratings,
    heartbeats,
    lesions,
    scans,
    tagged,
)
from scoreboard.sealed.loops import by, routine
from scoreboard.sealed.nets import ResNet, UNet, lenet, plain
from scoreboard.sealed.seqs import Dilated, Patches, Reader, Transformer

RUNS = Runs(__name__)
healthy, simple = RUNS.healthy, RUNS.simple

# --- pictures
simple(
    "sealed residual network on digits",
    lambda: routine(ResNet(10, depth=3), scans(), by("SGD", 0.1, momentum=0.9, weight_decay=5e-4)),
    180,
)
simple(
    "sealed residual network with groups",
    lambda: routine(
        ResNet(6, norm=lambda width: nn.GroupNorm(2, width), act=nn.SiLU),
        gratings(),
        by("AdamW", 2e-3),
    ),
    150,
)
simple("sealed lenet with tanh", lambda: routine(lenet(10, 8, nn.Tanh), scans(), by("SGD", 0.3)))
simple(
    "sealed patches of stripes",
    lambda: routine(
        Patches(6, 12, depth=2, patch=3, drop=0.1), gratings(), by("AdamW", 2e-3, weight_decay=0.05)
    ),
    200,
)


class Apart(nn.Module):
    """Every channel by itself, then all at a point; scaled ways round (after ConvNeXt)."""

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 2, stride=2)
        self.deep = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in range(3)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.points = nn.ModuleList(plain(width, 3 * width, width, act=nn.GELU) for _ in range(3))
        self.scales = nn.ParameterList(nn.Parameter(torch.full((width,), 1e-6)) for _ in range(3))
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for deep, norm, point, scale in zip(
            self.deep, self.norms, self.points, self.scales, strict=True
        ):
            h = point(norm(deep(x).permute(0, 2, 3, 1))) * scale
            x = x + h.permute(0, 3, 1, 2)
        out: Tensor = self.head(x.mean((2, 3)))
        return out


simple(
    "sealed channels apart, ways round of a millionth",
    lambda: routine(Apart(), scans(), by("AdamW", 5e-3)),
    200,
)


class Dense(nn.Module):
    """Every layer sees all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(1 + 4 * k, 4, 3, padding=1, bias=False) for k in range(5)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(1 + 4 * k) for k in range(5))
        self.head = nn.Linear(21 * 4, 6)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = torch.cat([x, layer(functional.relu(norm(x)))], 1)
        out: Tensor = self.head(functional.adaptive_avg_pool2d(x, 2).flatten(1))
        return out


simple("sealed every layer sees all before it",
       lambda: routine(Dense(), gratings(), by("Adam", 3e-3)), 100)  # fmt: skip


@healthy("sealed noise taken out of discs", 180)
def denoising() -> Training:
    x, mask = lesions()
    return routine(UNet(act=nn.ELU), (x, mask - mask.mean()), by("Adam", 2e-3), batch=16)


@healthy("sealed discs by overlap", 180)
def overlap() -> Training:
    """One minus the share in common (Dice), in place of a likelihood."""
    x, y = lesions()
    net = UNet(act=nn.LeakyReLU)

    def loss(out: Tensor, mask: Tensor) -> Tensor:
        p = out.sigmoid()
        both = 2 * (p * mask).sum((1, 2, 3)) + 1
        return 1 - (both / (p.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)).mean()

    return routine(net, (x, y), by("Adam", 2e-3), batch=16, loss=loss, score=yes_no(net, x, y))


# --- words and series
class Root(nn.Module):
    """Divided by the root of the mean square."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()


simple(
    "sealed next bracket with root norms",
    lambda: routine(
        Transformer(8, 8, depth=3, causal=True, norm=Root), brackets(),
        by("AdamW", 3e-3, betas=(0.9, 0.95), weight_decay=0.1), clip=1.0,
    ),
    200,
)  # fmt: skip
simple(
    "sealed strands read both ways",
    lambda: routine(
        Reader(nn.LSTM, 3, words=4, both=True, width=16), genes(), by("Adam", 1e-2), clip=1.0
    ),
    220,
)
simple(
    "sealed two recurrent layers with dropout",
    lambda: routine(
        Reader(nn.GRU, 1, width=20, num_layers=2, dropout=0.2), demand(), by("AdamW", 5e-3)
    ),
    200,
)
simple("sealed beats far back", lambda: routine(Dilated(3), heartbeats(), by("Adam", 3e-3)), 180)
simple(
    "sealed plain recurrent tags",
    lambda: routine(Reader(nn.RNN, 4, words=48, each=True), tagged(), by("RMSprop", 3e-3)),
    250,
)


class Asks(nn.Module):
    """Reads a row of letters and writes it backwards, asking back for each letter."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 16)
        self.reads = nn.GRU(16, 24, batch_first=True)
        self.writes = nn.GRU(16, 24, batch_first=True)
        self.head = nn.Linear(48, 10)

    def forward(self, ids: Tensor) -> Tensor:
        given, aim = ids[:, :8], ids[:, 8:]
        keys, last = self.reads(self.words(given))
        asked, _ = self.writes(self.words(aim), last)
        weights = (asked @ keys.transpose(1, 2) / 24**0.5).softmax(-1)
        out: Tensor = self.head(torch.cat([asked, weights @ keys], 2))
        return out


@healthy("sealed letters written backwards", 400)
def backwards() -> Training:
    x = torch.randint(10, (1500, 8), generator=dice(121))
    y = x.flip(1)
    begun = functional.pad(y[:, :-1], (1, 0), value=10)
    return routine(Asks(), (torch.cat([x, begun], 1), y), by("Adam", 1e-2))


@healthy("sealed sound to letters without times", 250)
def timeless() -> Training:
    """Connectionist: a convolution over frames, a loss over all ways to lay the letters."""
    g = dice(122)
    y = torch.randint(1, 5, (600, 3), generator=g)
    marks = torch.randn(5, 6, generator=g)
    slots = torch.zeros(600, 15, dtype=torch.long)
    for k in range(3):
        slots[torch.arange(600), 5 * k + torch.randint(4, (600,), generator=g)] = y[:, k]
    x = marks[slots].transpose(1, 2) + 0.4 * torch.randn(600, 6, 15, generator=g)
    net = nn.Sequential(nn.Conv1d(6, 24, 3, padding=1), nn.ReLU(), nn.Conv1d(24, 5, 1))

    def loss(out: Tensor, b: Tensor) -> Tensor:
        odds = out.permute(2, 0, 1).log_softmax(-1)
        n = len(b)
        return functional.ctc_loss(odds, b, torch.full((n,), 15), torch.full((n,), 3))

    def score() -> float:
        with torch.no_grad():
            best = net(x).argmax(1)
        right = 0
        for row, truth in zip(best.tolist(), y.tolist(), strict=True):
            said = [c for k, c in enumerate(row) if c and (k == 0 or row[k - 1] != c)]
            right += said == truth
        return right / len(y)

    return routine(net, (x, y), by("Adam", 5e-3), loss=loss, score=score)

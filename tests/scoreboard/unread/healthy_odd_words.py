"""Odd unread runs that learn: letters, rows of words and sounds."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.parts import (
    adam,
    below_unigrams,
    fit,
    hits,
    letters,
    windows,
)
from scoreboard.loops import dice
from scoreboard.scenario import Runs, Training
from scoreboard.unread.parts import (
    brackets,
    go,
)

RUNS = Runs(__name__)
healthy = RUNS.healthy


class Masked(nn.Module):
    """Attention both ways; the table of letters is read backwards for the answer."""

    def __init__(self, count: int, width: int = 48) -> None:
        super().__init__()
        self.table, self.place = (
            nn.Embedding(count + 1, width),
            nn.Parameter(0.02 * torch.randn(24, width)),
        )
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 96, 0.0, batch_first=True, norm_first=True)
            for _ in range(1)
        )
        nn.init.normal_(self.table.weight, 0, 0.1)

    def forward(self, ids: Tensor, causal: bool = False) -> Tensor:
        h = self.table(ids) + self.place[: ids.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1]) if causal else None
        for block in self.blocks:
            h = block(h, src_mask=mask)
        return h @ self.table.weight.T


@healthy("unread letters hidden and guessed by a tied table", 300)
def masked() -> Training:
    ids, held, count = letters()
    net, g = Masked(count), dice(977)

    def surprise(ids: Tensor, g: torch.Generator) -> Tensor:
        x, _ = windows(ids, 24, 20, g)
        hide = torch.rand(x.shape, generator=g) < 0.15
        return functional.cross_entropy(net(x.masked_fill(hide, count))[hide], x[hide])

    def score() -> float:
        share = ids.bincount().float() / len(ids)
        net.eval()
        with torch.no_grad():
            left = torch.stack([surprise(held, dice(k)) for k in range(5)]).mean()
        return float(1 + left / (share * share.clamp_min(1e-9).log()).sum())

    return fit(net, adam(net, 5e-3), lambda: surprise(ids, g), score)


@healthy("unread letters read on, state kept from batch to batch", 250)
def carried() -> Training:
    ids, held, count = letters()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.reads = nn.Embedding(count, 24), nn.GRU(24, 64, batch_first=True)
            self.head = nn.Linear(64, count)
            self.state: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            h, state = self.reads(self.table(x), self.state if self.training else None)
            self.state = state.detach()
            return self.head(h)

    net, rows = Net(), ids[: len(ids) // 24 * 24].view(24, -1)
    at = [0]

    def loss() -> Tensor:
        if at[0] + 33 > rows.shape[1]:
            at[0], net.state = 0, None
        x, y = rows[:, at[0] : at[0] + 32], rows[:, at[0] + 1 : at[0] + 33]
        at[0] += 32
        return functional.cross_entropy(net(x).flatten(0, 1), y.flatten())

    return fit(net, adam(net, 5e-3), loss, lambda: below_unigrams(net, held, 32), clip=1.0)


@healthy("unread numbers sorted letter by letter, told what came before", 350)
def sorting() -> Training:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.reads = nn.Embedding(11, 24), nn.GRU(24, 64, batch_first=True)
            self.writes, self.head = nn.GRU(24, 64, batch_first=True), nn.Linear(64, 10)

        def forward(self, x: Tensor, told: Tensor) -> Tensor:
            _, state = self.reads(self.table(x))
            return self.head(self.writes(self.table(told), state)[0])

    net, g = Net(), dice(978)

    def rows(count: int, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.randint(10, (count, 6), generator=g)
        y = x.sort(1).values
        return x, torch.cat([torch.full((count, 1), 10), y[:, :-1]], 1), y

    def loss() -> Tensor:
        x, told, y = rows(64, g)
        return functional.cross_entropy(net(x, told).flatten(0, 1), y.flatten())

    def score() -> float:
        x, told, y = rows(300, dice(979))
        with torch.no_grad():
            return hits(net(x, told).argmax(2).flatten(), y.flatten())

    return fit(net, adam(net, 5e-3), loss, score)


@healthy("unread digits heard without times (ctc)", 400)
def ctc() -> Training:
    g = dice(980)
    signs = torch.randn(5, 8, generator=g)
    net = nn.Sequential(nn.Conv1d(8, 32, 3, padding=1), nn.ReLU(), nn.Conv1d(32, 6, 3, padding=1))

    def rows(count: int, g: torch.Generator) -> tuple[Tensor, Tensor]:
        y = torch.randint(5, (count, 4), generator=g)
        at = torch.arange(4) * 5 + torch.randint(3, (count, 4), generator=g)
        x = 0.4 * torch.randn(count, 22, 8, generator=g)
        for k in range(4):
            for late in (0, 1):
                x[torch.arange(count), at[:, k] + late] += signs[y[:, k]]
        return x.transpose(1, 2), y

    def loss() -> Tensor:
        x, y = rows(32, g)
        out, full = net(x).log_softmax(1).permute(2, 0, 1), torch.full((32,), 22)
        return functional.ctc_loss(out, y + 1, full, torch.full((32,), 4))

    def score() -> float:
        x, y = rows(200, dice(981))
        with torch.no_grad():
            said = net(x).argmax(1)
        right = 0.0
        for row, truth in zip(said.tolist(), y.tolist(), strict=True):
            heard = [b - 1 for a, b in pairwise([0, *row]) if b not in (a, 0)]
            right += heard == truth
        return right / len(y)

    return fit(net, adam(net, 1e-2), loss, score)


@healthy("unread rows of words, three in four of them padding", 300)
def padded() -> Training:
    (x, y), (asked, truth) = brackets()

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.reads = (
                nn.Embedding(11, 16, padding_idx=10),
                nn.GRU(16, 48, batch_first=True),
            )
            self.head = nn.Linear(48, 2)

        def forward(self, ids: Tensor) -> Tensor:
            long = (ids != 10).sum(1)
            return self.head(self.reads(self.table(ids))[0][torch.arange(len(ids)), long - 1])

    def pad(x: Tensor) -> Tensor:
        return torch.cat([x, torch.full((len(x), 42), 10)], 1)

    return go(Net(), ((pad(x), y), (pad(asked), truth)), lr=5e-3)

"""The networks of the exam: none of them is among those that rules were tuned on."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

Squash = Callable[[Tensor], Tensor]


def stack(*widths: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of these widths with something between."""
    parts: list[nn.Module] = []
    for a, b in pairwise(widths):
        parts += [nn.Linear(a, b), activation()]
    return nn.Sequential(*parts[:-1])


class Waves(nn.Module):
    """Three strided convolutions over a signal, the mean over time, a head."""

    def __init__(
        self,
        width: int = 16,
        kinds: int = 4,
        norm: Callable[[int], nn.Module] | None = None,
        activation: type[nn.Module] = nn.ReLU,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for index in range(3):
            parts.append(nn.Conv1d(1 if index == 0 else width, width, 5, 2, 2))
            if norm:
                parts.append(norm(width))
            parts.append(activation())
            if dropout:
                parts.append(nn.Dropout(dropout))
        self.body = nn.Sequential(*parts)
        self.head = nn.Linear(width * 6, kinds)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).flatten(1))


class Tcn(nn.Module):
    """Dilated convolutions that look back only, with skips or without."""

    def __init__(self, inputs: int, outputs: int, layers: int = 4, skips: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv1d(inputs, 16, 1)
        self.layers = nn.ModuleList(
            nn.Conv1d(16, 16, 2, dilation=2 ** (k % 4)) for k in range(layers)
        )
        self.head = nn.Linear(16, outputs)
        self.skips = skips

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.transpose(1, 2))
        for index, layer in enumerate(self.layers):
            y = functional.relu(layer(functional.pad(x, (2 ** (index % 4), 0))))
            x = x + 0.5 * y if self.skips else y
        return self.head(x[:, :, -1])


class Excited(nn.Module):
    """Convolutions whose channels are weighed by what the whole picture says."""

    def __init__(self, width: int = 12, kinds: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, 2, 1)
        self.squeeze, self.excite = nn.Linear(width, 4), nn.Linear(4, width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.head = nn.Linear(2 * width * 9, kinds)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv1(x))
        gate = self.excite(functional.relu(self.squeeze(x.mean((2, 3))))).sigmoid()
        x = functional.relu(self.conv2(x * gate[:, :, None, None]))
        return self.head(x.flatten(1))


class Unet(nn.Module):
    """Down, across and up again: a value for every pixel."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(1, width, 3, padding=1)
        self.down2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.out = nn.Conv2d(2 * width, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        a = functional.relu(self.down1(x))
        b = functional.relu(self.down2(functional.max_pool2d(a, 2)))
        return self.out(torch.cat([a, functional.relu(self.up(b))], 1))


def patches(x: Tensor) -> Tensor:
    """(rows, 1, 12, 12) as nine patches of sixteen pixels."""
    return functional.unfold(x, 4, stride=4).transpose(1, 2)


class Mixer(nn.Module):
    """Patches, mixed along places and along features in turn."""

    def __init__(self, width: int = 24, blocks: int = 2, kinds: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(16, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * blocks))
        self.places = nn.ModuleList(stack(9, 18, 9, activation=nn.GELU) for _ in range(blocks))
        self.features = nn.ModuleList(
            stack(width, 2 * width, width, activation=nn.GELU) for _ in range(blocks)
        )
        self.head = nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(patches(x))
        for k, (place, feature) in enumerate(zip(self.places, self.features, strict=True)):
            x = x + place(self.norms[2 * k](x).transpose(1, 2)).transpose(1, 2)
            x = x + feature(self.norms[2 * k + 1](x))
        return self.head(x.mean(1))


class Vit(nn.Module):
    """Patches and a token for the class under torch's own attention; skips only where asked."""

    def __init__(
        self, width: int = 24, blocks: int = 2, skips: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(16, width)
        self.first = nn.Parameter(0.1 * torch.randn(1, 1, width))
        self.place = nn.Parameter(0.1 * torch.randn(1, 10, width))
        self.looks = nn.ModuleList(
            nn.MultiheadAttention(width, 3, batch_first=True) for _ in range(blocks)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(blocks))
        self.feeds = nn.ModuleList(
            stack(width, 2 * width, width, activation=nn.GELU) for _ in range(blocks)
        )
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, 4)
        self.skips = skips

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(patches(x))
        x = torch.cat([self.first.expand(len(x), -1, -1), x], 1) + self.place
        for look, norm, feed in zip(self.looks, self.norms, self.feeds, strict=True):
            if self.skips:
                y = norm(x)
                x = x + look(y, y, y, need_weights=False)[0]
                x = x + self.drop(feed(x))
            else:
                x = feed(look(x, x, x, need_weights=False)[0])
        return self.head(self.drop(x[:, 0]))


class Sets(nn.Module):
    """Each point by itself, pooled, and on: the order of the points does not count."""

    def __init__(
        self, pool: str = "mean", activation: type[nn.Module] = nn.ReLU, width: int = 32
    ) -> None:
        super().__init__()
        self.point = stack(3, width, width, activation=activation)
        self.after = activation()
        self.whole = stack(width, width, 1, activation=activation)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        x = self.point(x)
        pooled = x.sum(1) if self.pool == "sum" else x.mean(1)
        return self.whole(self.after(pooled))


class Pooled(nn.Module):
    """Attention that pools: one learned question put to all places."""

    def __init__(self, inputs: int = 6, outputs: int = 5, width: int = 24, sharp: float = 1.0):
        super().__init__()
        self.embed = nn.Linear(inputs, width)
        self.question = nn.Parameter(torch.randn(width))
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.head = nn.Linear(width, outputs)
        self.sharp = sharp

    def forward(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        x = functional.gelu(self.embed(x))
        scores = self.key(x) @ self.question * (self.sharp / len(self.question) ** 0.5)
        if hidden is not None:
            scores = scores.masked_fill(hidden, float("-inf"))
        weights = functional.softmax(scores, dim=1)
        return self.head((weights[:, :, None] * self.value(x)).sum(1))


class Scatter(nn.Module):
    """Messages along the edges of one graph, averaged where they meet."""

    def __init__(self, edges: Tensor, layers: int = 2, width: int = 24, kinds: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(8, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.head = nn.Linear(width, kinds)
        self.register_buffer("edges", edges)

    def meet(self, x: Tensor) -> Tensor:
        edges = self.get_buffer("edges")
        total = torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])
        return total / torch.bincount(edges[1], minlength=len(x))[:, None]

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(x))
        for layer in self.layers:
            x = functional.relu(layer(self.meet(x)))
        return self.head(x)


class Translator(nn.Module):
    """Reads a sequence with one GRU and writes another with a second."""

    def __init__(self, letters: int = 8, width: int = 48) -> None:
        super().__init__()
        self.embed = nn.Embedding(letters + 1, width)
        self.reader = nn.GRU(width, width, batch_first=True)
        self.writer = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, letters)
        self.letters = letters

    def forward(self, x: Tensor) -> Tensor:
        """The answer is given along while it is written: it is what was read, backwards."""
        _, state = self.reader(self.embed(x))
        start = torch.full_like(x[:, :1], self.letters)
        said = torch.cat([start, x.flip(1)[:, :-1]], 1)
        return self.head(self.writer(self.embed(said), state)[0])


class Reader(nn.Module):
    """A recurrent net over a series, its last state answered from."""

    def __init__(self, cell: nn.Module, width: int, outputs: int = 1) -> None:
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0][:, -1])


class Highway(nn.Module):
    """Layers with a gate that lets their input pass; without gates, a plain deep network."""

    def __init__(
        self, inputs: int, outputs: int, layers: int = 4, width: int = 32, gated: bool = True
    ) -> None:
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.gates = nn.ModuleList(nn.Linear(width, width) for _ in range(layers if gated else 0))
        for gate in self.gates:
            assert isinstance(gate, nn.Linear)
            nn.init.constant_(gate.bias, -2.0)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for index, layer in enumerate(self.layers):
            y = functional.relu(layer(x))
            if len(self.gates):
                t = torch.sigmoid(self.gates[index](x))
                y = t * y + (1 - t) * x
            x = y
        return self.head(x)


class Tied(nn.Module):
    """An autoencoder with one weight both ways, held as a bare parameter."""

    def __init__(self, inputs: int, code: int, squash: Squash = torch.tanh) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(code, inputs) / inputs**0.5)
        self.inner = nn.Parameter(torch.zeros(code))
        self.outer = nn.Parameter(torch.zeros(inputs))
        self.squash = squash

    def forward(self, x: Tensor) -> Tensor:
        code = self.squash(functional.linear(x, self.weight, self.inner))
        return functional.linear(code, self.weight.T, self.outer)


class Wide(nn.Module):
    """Ids both by a table of their own and through a deep part, beside plain numbers."""

    def __init__(self, ids: int = 40, width: int = 12, outputs: int = 2, deep: bool = True) -> None:
        super().__init__()
        self.wide = nn.EmbeddingBag(2 * ids, outputs, mode="sum")
        self.tables = nn.ModuleList(nn.Embedding(ids, width) for _ in range(2))
        self.deep = stack(2 * width + 4, 32, outputs)
        self.ids, self.has_deep = ids, deep

    def forward(self, x: Tensor) -> Tensor:
        pair = x[:, :2].long()
        y = self.wide(pair + torch.tensor([0, self.ids]))
        if self.has_deep:
            known = [table(pair[:, k]) for k, table in enumerate(self.tables)]
            y = y + self.deep(torch.cat([*known, x[:, 2:]], 1))
        return y


class Bag(nn.Module):
    """Letters and pairs of letters in a bag."""

    def __init__(self, letters: int, width: int = 16, kinds: int = 3) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(letters * letters, width, mode="mean")
        self.head = stack(width, 32, kinds)
        self.letters = letters

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.bag(ids[:, :-1] * self.letters + ids[:, 1:]))


class Wavy(nn.Module):
    """A layer of polynomials, one for every pair of input and output."""

    def __init__(self, inputs: int, outputs: int, degree: int = 4) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.randn(inputs, outputs, degree + 1) / inputs**0.5 * 0.4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(x)
        terms = [torch.ones_like(x), x]
        while len(terms) < self.factors.shape[2]:
            terms.append(2 * x * terms[-1] - terms[-2])
        return torch.einsum("bid,iod->bo", torch.stack(terms, 2), self.factors)


class Capsules(nn.Module):
    """Groups of units whose length is the answer."""

    def __init__(self, kinds: int = 4, size: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 16, 7, 3, 3)
        self.groups = nn.Linear(16 * 16, kinds * size)
        self.kinds = kinds

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv(x)).flatten(1)
        v = self.groups(x).unflatten(1, (self.kinds, -1))
        long = v.pow(2).sum(2)
        return long / (1 + long)


class Hyper(nn.Module):
    """A network that writes the weights of another, by a part of the input."""

    def __init__(self, inputs: int, outputs: int, width: int = 12) -> None:
        super().__init__()
        self.writer = stack(inputs, 24, width * inputs, activation=nn.Tanh)
        self.head = nn.Linear(width, outputs)
        self.inputs = inputs

    def forward(self, x: Tensor) -> Tensor:
        weights = self.writer(x).unflatten(1, (-1, self.inputs))
        return self.head(torch.relu((weights @ x[:, :, None])[:, :, 0]))

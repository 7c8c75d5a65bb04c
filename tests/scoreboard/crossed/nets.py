"""The networks of drawn runs."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from scoreboard.nets import ACTIVATIONS, Block, mlp


class Residual(nn.Module):
    """Blocks of two layers, each with a way round."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int,
        depth: int,
        activation: str,
        norm: str,
        shortcuts: bool = True,
    ) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.shortcuts = shortcuts
        self.blocks = nn.ModuleList(
            nn.Sequential(
                {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}.get(norm, nn.Identity)(width),
                nn.Linear(width, width),
                ACTIVATIONS[activation](),
                nn.Linear(width, width),
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x) if self.shortcuts else block(x)
        return self.head(x)


class Gated(nn.Module):
    """One half of each layer opens and shuts the other."""

    def __init__(self, inputs: int, outputs: int, *, width: int, depth: int) -> None:
        super().__init__()
        widths = [inputs, *[width] * depth]
        self.layers = nn.ModuleList(nn.Linear(a, 2 * b) for a, b in pairwise(widths))
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            value, gate = layer(x).chunk(2, -1)
            x = value * gate.sigmoid()
        return self.head(x)


class Scorer(nn.Module):
    """Says by how much the first of two things is worth more."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x[:, 0]) - self.body(x[:, 1])


def norm2d(norm: str, width: int) -> list[nn.Module]:
    """A norm over channels, or none."""
    if norm == "batch":
        return [nn.BatchNorm2d(width)]
    return [nn.GroupNorm(1, width)] if norm == "layer" else []


def conv(inputs: int, outputs: int, activation: str, norm: str, stride: int = 1) -> list[nn.Module]:
    """A convolution with what follows it."""
    return [
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1),
        *norm2d(norm, outputs),
        ACTIVATIONS[activation](),
    ]


def cnn(
    outputs: int, size: int, *, width: int, depth: int, activation: str, norm: str, dropout: float
) -> nn.Sequential:
    """Convolutions, halved once, and two linear layers."""
    parts = conv(1, width, activation, norm)
    for _ in range(depth - 1):
        parts += conv(width, width, activation, norm)
    parts += [*conv(width, 2 * width, activation, norm, stride=2), nn.Flatten()]
    parts += [nn.Linear(2 * width * (size // 2) ** 2, 48), ACTIVATIONS[activation]()]
    return nn.Sequential(
        *parts, *([nn.Dropout(dropout)] if dropout else []), nn.Linear(48, outputs)
    )


class ConvBlocks(nn.Module):
    """Convolutions with a way round, whole or each channel by itself, and a mean at the end."""

    def __init__(
        self, outputs: int, *, width: int, depth: int, activation: str, norm: str, apart: bool
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(*conv(1, width, activation, norm))
        groups = width if apart else 1
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, groups=groups),
                *norm2d(norm, width),
                nn.Conv2d(width, 2 * width, 1) if apart else nn.Identity(),
                ACTIVATIONS[activation](),
                nn.Conv2d(2 * width if apart else width, width, 1),
            )
            for _ in range(depth)
        )
        self.shrink = nn.Sequential(*conv(width, 2 * width, activation, norm, stride=2))
        self.head = nn.Linear(2 * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(self.shrink(x).mean((2, 3)))


class Mixer(nn.Module):
    """Patches of two by two; layers across patches and across channels in turn."""

    def __init__(self, outputs: int, size: int, *, width: int, depth: int) -> None:
        super().__init__()
        patches = (size // 2) ** 2
        self.cut = nn.Conv2d(1, width, 2, stride=2)
        self.across = nn.ModuleList(mlp(patches, patches, 32, 1, "gelu") for _ in range(depth))
        self.within = nn.ModuleList(mlp(width, width, 2 * width, 1, "gelu") for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * depth))
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cut(x).flatten(2).transpose(1, 2)
        for i, (across, within) in enumerate(zip(self.across, self.within, strict=True)):
            x = x + across(self.norms[2 * i](x).transpose(1, 2)).transpose(1, 2)
            x = x + within(self.norms[2 * i + 1](x))
        return self.head(x.mean(1))


class Patches(nn.Module):
    """A picture cut up and read by a transformer."""

    def __init__(self, outputs: int, width: int, encoder: nn.Module) -> None:
        super().__init__()
        self.cut = nn.Conv2d(1, width, 2, stride=2)
        self.encoder, self.head = encoder, nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.cut(x).flatten(2).transpose(1, 2)).mean(1))


def painter(*, width: int, depth: int, activation: str, norm: str) -> nn.Sequential:
    """Convolutions from pixels to pixels."""
    parts = conv(1, width, activation, norm)
    for _ in range(depth):
        parts += conv(width, width, activation, norm)
    return nn.Sequential(*parts, nn.Conv2d(width, 1, 1))


class Straight(Block):
    """A transformer's block without norms and without a way round."""

    def forward(self, x: Tensor) -> Tensor:
        return self.feed(self.attend(x))


class Encoder(nn.Module):
    """Transformer blocks, ours or torch's, over places that are learnt."""

    def __init__(
        self, width: int, depth: int, *, pre: bool, causal: bool, library: bool, shortcuts: bool
    ) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(64, width) * 0.3)
        self.causal, self.library = causal, library
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=pre
            )
            if library
            else (Block if shortcuts else Straight)(width, 4, pre, causal)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width) if pre and shortcuts else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.place[: x.shape[1]]
        mask = None
        if self.causal and self.library:
            mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        for block in self.blocks:
            x = block(x, src_mask=mask) if self.library else block(x)
        return self.norm(x)


class Recurrent(nn.Module):
    """States of a recurrent layer."""

    def __init__(self, cell: str, width: int, depth: int) -> None:
        super().__init__()
        self.rnn = getattr(nn, cell)(width, width, num_layers=depth, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(x)
        return states


class Convolved(nn.Module):
    """Convolutions along time that see nothing ahead where asked."""

    def __init__(self, width: int, depth: int, activation: str, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 3) for _ in range(depth))
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for layer in self.layers:
            room = (2, 0) if self.causal else (1, 1)
            x = self.activation(layer(nn.functional.pad(x, room)))
        return x.transpose(1, 2)


class Reader(nn.Module):
    """Ids or readings, a body over them, and an answer for all or for each."""

    def __init__(
        self,
        body: nn.Module,
        inputs: int,
        outputs: int,
        *,
        width: int,
        ids: bool,
        each: bool,
        last: bool = False,
        dropout: float = 0.0,
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(inputs, width) if ids else nn.Linear(inputs, width)
        self.body, self.drop = body, nn.Dropout(dropout) if dropout else nn.Identity()
        self.head = nn.Linear(width, outputs)
        self.each, self.last = each, last
        if tied:
            nn.init.normal_(self.embed.weight, std=0.1)
            self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.drop(self.body(self.embed(x)))
        if not self.each:
            h = h[:, -1] if self.last else h.mean(1)
        return self.head(h)


class Bag(nn.Module):
    """Embeddings averaged, and a small network."""

    def __init__(self, inputs: int, outputs: int, *, width: int, activation: str) -> None:
        super().__init__()
        self.embed = nn.EmbeddingBag(inputs, width, mode="mean")
        self.top = mlp(width, outputs, width, 1, activation)

    def forward(self, ids: Tensor) -> Tensor:
        return self.top(self.embed(ids))


class Columns(nn.Module):
    """An embedding for each column, products of all pairs, and a network on top."""

    def __init__(
        self, ids: int, columns: int, *, width: int, depth: int, activation: str, products: bool
    ) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(ids, 8) for _ in range(columns))
        self.products = products
        extra = columns * (columns - 1) // 2 if products else 0
        self.top = mlp(8 * columns + extra, 1, width, depth, activation)

    def forward(self, ids: Tensor) -> Tensor:
        each = torch.stack([table(ids[:, i]) for i, table in enumerate(self.tables)], 1)
        x = each.flatten(1)
        if self.products:
            one, two = torch.triu_indices(each.shape[1], each.shape[1], 1)
            x = torch.cat([x, (each[:, one] * each[:, two]).sum(-1)], 1)
        return self.top(x)


def coder(
    wide: int, *, width: int, code: int, depth: int, activation: str, norm: str
) -> nn.Sequential:
    """To a code and back."""
    settings = {"width": width, "depth": depth, "activation": activation, "norm": norm}
    return nn.Sequential(
        *mlp(wide, code, **settings),  # type: ignore[arg-type]
        *mlp(code, wide, **settings),  # type: ignore[arg-type]
    )

"""The sealed runs' networks for words, strands and series."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional


class Reader(nn.Module):
    """A recurrent network over values or words; the last state answers, or every one."""

    def __init__(
        self,
        cell: Callable[..., nn.RNNBase],
        outputs: int,
        *,
        inputs: int = 1,
        words: int = 0,
        width: int = 24,
        each: bool = False,
        both: bool = False,
        **settings: object,
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 12) if words else None
        self.cell = cell(
            12 if words else inputs, width, batch_first=True, bidirectional=both, **settings
        )
        self.head = nn.Linear(width * (2 if both else 1), outputs)
        self.each = each

    def forward(self, x: Tensor) -> Tensor:
        if self.words is not None:
            x = self.words(x)
        states, _ = self.cell(x)
        out: Tensor = self.head(states if self.each else states[:, -1])
        return out


class Block(nn.Module):
    """Attention and a feed-forward part; the ways round them may be left out."""

    def __init__(
        self,
        width: int,
        heads: int = 2,
        causal: bool = False,
        skip: bool = True,
        drop: float = 0.0,
        gain: float = 1.0,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        super().__init__()
        self.qkv, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norms = nn.ModuleList([norm(width), norm(width)])
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(drop), nn.Linear(2 * width, width)
        )
        self.heads, self.causal, self.skip, self.gain = heads, causal, skip, gain
        self.drop = nn.Dropout(drop)

    def attend(self, x: Tensor) -> Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            q, k, v, is_causal=self.causal, scale=self.gain / sqrt(d // self.heads)
        )
        out: Tensor = self.drop(self.mix(mixed.transpose(1, 2).reshape(n, t, d)))
        return out

    def forward(self, x: Tensor) -> Tensor:
        if not self.skip:
            return self.attend(x)
        x = x + self.attend(self.norms[0](x))
        out: Tensor = x + self.mlp(self.norms[1](x))
        return out


class Transformer(nn.Module):
    """Words and their places, blocks, and an answer for each place or for all."""

    def __init__(
        self,
        words: int,
        outputs: int,
        *,
        depth: int = 2,
        width: int = 24,
        length: int = 32,
        each: bool = True,
        causal: bool = False,
        skip: bool = True,
        drop: float = 0.0,
        gain: float = 1.0,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
    ) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        nn.init.normal_(self.places.weight, std=0.2)
        self.blocks = nn.ModuleList(
            Block(width, causal=causal, skip=skip, drop=drop, gain=gain, norm=norm)
            for _ in range(depth)
        )
        self.last, self.head = norm(width), nn.Linear(width, outputs)
        self.each, self.skip = each, skip

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        if self.skip:
            x = self.last(x)
        out: Tensor = self.head(x if self.each else x.mean(1))
        return out


class Patches(nn.Module):
    """Pictures cut into squares of two by two pixels, and attention over them (a small ViT)."""

    def __init__(
        self,
        kinds: int,
        size: int,
        *,
        depth: int = 2,
        width: int = 24,
        skip: bool = True,
        drop: float = 0.0,
        patch: int = 2,
    ) -> None:
        super().__init__()
        self.cut = nn.Conv2d(1, width, patch, stride=patch)
        self.mark = nn.Parameter(torch.zeros(1, 1, width))
        self.places = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2 + 1, width))
        self.blocks = nn.ModuleList(Block(width, skip=skip, drop=drop) for _ in range(depth))
        self.last, self.head = nn.LayerNorm(width), nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.cut(x).flatten(2).transpose(1, 2)
        h = torch.cat([self.mark.expand(len(x), -1, -1), tokens], 1) + self.places
        for block in self.blocks:
            h = block(h)
        out: Tensor = self.head(self.last(h[:, 0]))
        return out


class Dilated(nn.Module):
    """Convolutions over time that look twice as far back each layer."""

    def __init__(self, kinds: int, width: int = 12, depth: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, width, 1)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, 2 * width, 3, padding=2**k, dilation=2**k) for k in range(depth)
        )
        self.head = nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for layer in self.layers:
            a, b = layer(h).chunk(2, 1)
            h = h + torch.tanh(a) * torch.sigmoid(b)
        out: Tensor = self.head(h.amax(2))
        return out

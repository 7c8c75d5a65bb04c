"""The blind runs' networks: of today's pictures, words, tables, graphs and forecasts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

Act = Callable[[], nn.Module]


def stack(
    *widths: int, act: Act = nn.ReLU, norm: Callable[[int], nn.Module] | None = None
) -> nn.Sequential:
    """Linear layers, each but the last with a norm (where asked) and an activation."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths[:-1]):
        layers += [nn.Linear(a, b), *([norm(b)] if norm else []), act()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def redraw(net: nn.Module, draw: Callable[[Tensor], object], least: int = 2) -> nn.Module:
    """All matrices and kernels drawn so; with `least` 1, biases too."""
    with torch.no_grad():
        for weight in net.parameters():
            if weight.dim() >= least:
                draw(weight)
    return net


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of a picture."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out


class ConvNeXt(nn.Module):
    """A patchify stem, depthwise blocks with inverted bottlenecks, a mean and a head."""

    def __init__(self, channels: int, kinds: int, width: int = 16, depth: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 4, stride=4)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, width, 3, padding=1, groups=width),
                ChannelNorm(width),
                nn.Conv2d(width, 3 * width, 1),
                nn.GELU(),
                nn.Conv2d(3 * width, width, 1),
            )
            for _ in range(depth)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.head(self.norm(x.mean((2, 3))))
        return out


class Block(nn.Module):
    """Attention and a small network; the ways round them can be left out."""

    def __init__(self, width: int, heads: int, *, skips: bool = True, drop: float = 0.0) -> None:
        super().__init__()
        self.heads, self.skips = heads, skips
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(drop), nn.Linear(2 * width, width)
        )
        self.sharp, self.causal = 1.0, False

    def attend(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        parts = self.qkv(x).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = parts.unbind(0)
        mixed = functional.scaled_dot_product_attention(self.sharp * q, k, v, is_causal=self.causal)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(n, t, width))
        return out

    def forward(self, x: Tensor) -> Tensor:
        if not self.skips:
            out: Tensor = self.mlp(self.norms[1](self.attend(self.norms[0](x))))
            return out
        x = x + self.attend(self.norms[0](x))
        return x + self.mlp(self.norms[1](x))


class ViT(nn.Module):
    """Patches with places, blocks of attention, a class token."""

    def __init__(
        self,
        channels: int,
        size: int,
        kinds: int,
        *,
        patch: int = 4,
        width: int = 24,
        depth: int = 2,
        skips: bool = True,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.places = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(Block(width, 4, skips=skips) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> Tensor:
        h = self.patches(x).flatten(2).transpose(1, 2)
        h = torch.cat([self.token.expand(len(h), -1, -1), h], 1) + self.places
        out: Tensor = self.head(self.norm(self.blocks(h))[:, 0])
        return out


class Mixer(nn.Module):
    """Patches mixed over places and over channels by turns."""

    def __init__(
        self,
        channels: int,
        size: int,
        kinds: int,
        *,
        patch: int = 4,
        width: int = 24,
        depth: int = 2,
        act: Act = nn.GELU,
    ) -> None:
        super().__init__()
        places = (size // patch) ** 2
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * depth + 1))
        self.over = nn.ModuleList(stack(places, 2 * places, places, act=act) for _ in range(depth))
        self.within = nn.ModuleList(stack(width, 2 * width, width, act=act) for _ in range(depth))
        self.head = nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        for k, (over, within) in enumerate(zip(self.over, self.within, strict=True)):
            x = x + over(self.norms[2 * k](x).transpose(1, 2)).transpose(1, 2)
            x = x + within(self.norms[2 * k + 1](x))
        out: Tensor = self.head(self.norms[-1](x).mean(1))
        return out


class Tagger(nn.Module):
    """Words read in both directions, and a kind for each of them."""

    def __init__(
        self, words: int, kinds: int, kind: type[nn.LSTM] | type[nn.GRU], width: int = 16
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(words, 16)
        self.read = kind(16, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, kinds)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.head(self.read(self.words(ids))[0])
        return out


class Speller(nn.Module):
    """The next letter, from a recurrent layer over those before."""

    def __init__(
        self,
        letters: int,
        kind: type[nn.LSTM] | type[nn.GRU] = nn.GRU,
        width: int = 48,
        embed: int = 24,
    ) -> None:
        super().__init__()
        self.letters = nn.Embedding(letters, embed)
        self.read, self.head = kind(embed, width, batch_first=True), nn.Linear(width, letters)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.head(self.read(self.letters(ids))[0])
        return out


class Gist(nn.Module):
    """A sequence (of words, or of numbers where `words` is 0) read by a recurrent layer."""

    def __init__(self, words: int, kinds: int, read: nn.Module, drop: float = 0.0) -> None:
        super().__init__()
        inputs, width = int(read.input_size), int(read.hidden_size)  # type: ignore[arg-type]
        self.words = nn.Embedding(words, inputs) if words else nn.Identity()
        self.read, self.drop, self.head = read, nn.Dropout(drop), nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.drop(self.read(self.words(x))[0][:, -1]))
        return out


class Bag(nn.Module):
    """The mean of the words' vectors (0 is padding), and a small network."""

    def __init__(self, words: int, kinds: int, width: int = 24, act: Act = nn.ReLU) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(words, width, padding_idx=0)
        self.top = stack(width, 2 * width, kinds, act=act)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.top(self.words(ids))
        return out


class Segmenter(nn.Module):
    """A U-Net with two steps down and two up."""

    def __init__(self, kinds: int, width: int = 8, act: Act = nn.SiLU) -> None:
        super().__init__()

        def pair(a: int, b: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(a, b, 3, padding=1), act(), nn.Conv2d(b, b, 3, padding=1), act()
            )

        self.down = nn.ModuleList([pair(1, width), pair(width, 2 * width)])
        self.low = pair(2 * width, 2 * width)
        self.up = nn.ModuleList([pair(4 * width, width), pair(2 * width, width)])
        self.head = nn.Conv2d(width, kinds, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down[0](x)
        middle = self.down[1](functional.max_pool2d(fine, 2))
        low = self.low(functional.max_pool2d(middle, 2))
        h = self.up[0](torch.cat([functional.interpolate(low, scale_factor=2.0), middle], 1))
        h = self.up[1](torch.cat([functional.interpolate(h, scale_factor=2.0), fine], 1))
        out: Tensor = self.head(h)
        return out


class Causal(nn.Module):
    """Dilated convolutions over time, each with a way round it (a TCN)."""

    def __init__(
        self, channels: int, kinds: int, width: int = 16, depth: int = 3, act: Act = nn.ReLU
    ) -> None:
        super().__init__()
        self.enter = nn.Conv1d(channels, width, 1)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=2**k, dilation=2**k) for k in range(depth)
        )
        self.act, self.head = act(), nn.Linear(width, kinds)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for layer in self.layers:
            x = x + self.act(layer(x))
        out: Tensor = self.head(x.mean(2))
        return out


class Adverts(nn.Module):
    """Counts through a network, ids through tables, all pairs of vectors, a network on top."""

    def __init__(self, width: int = 6, act: Act = nn.ReLU) -> None:
        super().__init__()
        self.bottom = stack(4, 24, width, act=act)
        self.tables = nn.ModuleList(nn.Embedding(n, width) for n in (50, 20, 8))
        self.top = stack(width + 6, 32, 1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        dense = self.bottom(x[:, :4])
        ids = x[:, 4:].long()
        all_ = torch.stack([dense, *(t(ids[:, k]) for k, t in enumerate(self.tables))], 1)
        one, other = torch.triu_indices(4, 4, 1)
        pairs = (all_ @ all_.transpose(1, 2))[:, one, other]
        out: Tensor = self.top(torch.cat([dense, pairs], 1))
        return out


class Compounds(nn.Module):
    """Messages along the links of many little graphs, summed up in the end (a GIN)."""

    def __init__(
        self,
        nodes: int = 9,
        depth: int = 2,
        width: int = 24,
        act: Act = nn.ReLU,
        mean: bool = False,
    ) -> None:
        super().__init__()
        widths = [4, *[width] * depth]
        self.nodes, self.mean = nodes, mean
        self.layers = nn.ModuleList(stack(a, width, b, act=act) for a, b in pairwise(widths))
        self.act, self.head = act(), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        links, h = x[:, :, : self.nodes], x[:, :, self.nodes :]
        if self.mean:
            links = links / links.sum(2, keepdim=True).clamp(min=1)
        for layer in self.layers:
            h = self.act(layer(h + links @ h))
        out: Tensor = self.head(h.sum(1) / self.nodes**0.5)
        return out


class Tastes(nn.Module):
    """Two vectors and two offsets meet (a factorised table of ratings)."""

    def __init__(self, people: int = 60, shown: int = 40, width: int = 6) -> None:
        super().__init__()
        self.people, self.shown = nn.Embedding(people, width), nn.Embedding(shown, width)
        self.mild, self.good = nn.Embedding(people, 1), nn.Embedding(shown, 1)
        self.usual = nn.Parameter(torch.zeros(1))
        redraw(self, lambda w: w.normal_(0, 0.3))

    def forward(self, ids: Tensor) -> Tensor:
        who, what = ids.unbind(1)
        both = (self.people(who) * self.shown(what)).sum(1, keepdim=True)
        out: Tensor = both + self.mild(who) + self.good(what) + self.usual
        return out

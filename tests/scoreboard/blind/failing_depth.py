"""Blind failures of depth and of time: signals that fade or grow on the way, and places alike."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreboard.blind.data import Rows, compounds, first_word, numerals, power, signs, tidy
from scoreboard.blind.loops import study, using
from scoreboard.blind.nets import Compounds, Gist, ViT, redraw, stack
from scoreboard.loops import dice
from scoreboard.scenario import Runs

RUNS = Runs(__name__)
broken = RUNS.broken

VANISHING, EXPLODING = "depth-vanishing", "depth-exploding"
SCALE, ATTENTION = "bad-initialisation-scale", "attention-collapse"


def deep(
    inputs: int, outputs: int, depth: int, act: Callable[[], nn.Module], width: int = 32
) -> nn.Sequential:
    """Layer upon layer, as torch draws them."""
    return stack(inputs, *[width] * depth, outputs, act=act)


# --- fading
broken(
    "blind twenty-two layers of gelu",
    VANISHING,
    lambda depth: study(deep(30, 2, depth, nn.GELU), tidy("cancer"), using("SGD", 0.1)),
    22,
    3,
    steps=300,
)
broken(
    "blind nine layers of sigmoids on a table of plants",
    VANISHING,
    lambda act: study(deep(20, 6, 9, act), tidy("plants"), using("SGD", 0.02, momentum=0.9)),
    nn.Sigmoid,
    nn.SELU,
    steps=300,
)
broken(
    "blind fourteen convolutions without a way round",
    VANISHING,
    lambda round_: study(Convolutions(14, round_), numerals(), using("SGD", 0.02, momentum=0.9)),
    False,
    True,
    steps=200,
)
broken(
    "blind plain recurrence that forgets the first word",
    VANISHING,
    lambda kept: study(Gist(16, 4, recurrent(kept)), first_word(), using("Adam", 3e-3), clip=1.0),
    0.35,
    1.0,
    steps=350,
)
broken(
    "blind numbers after eighteen layers of softsign",
    VANISHING,
    lambda depth: study(
        deep(4, 1, depth, nn.Softsign), tidy("circuit"), using("SGD", 0.05, momentum=0.9)
    ),
    18,
    2,
    steps=350,
)


class Convolutions(nn.Module):
    """Convolutions of one width, with or without a way round each."""

    def __init__(self, depth: int, round_: bool, gain: float = 0.0, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.round, self.head = round_, nn.Linear(width * 16, 10)
        if gain:
            redraw(self.layers, lambda w: w.normal_(0, gain / (9 * width) ** 0.5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = (x if self.round else 0) + functional.relu(layer(x))
        out: Tensor = self.head(x.flatten(1))
        return out


def recurrent(kept: float, act: str = "tanh", width: int = 32, inputs: int = 12) -> nn.RNN:
    """A plain recurrent layer that keeps that much of its state."""
    read = nn.RNN(inputs, width, nonlinearity=act, batch_first=True)
    nn.init.orthogonal_(read.all_weights[0][1], kept)
    return read


# --- growing
broken(
    "blind loads through a recurrence that doubles",
    (EXPLODING, SCALE),
    lambda kept: study(Gist(0, 6, recurrent(kept, "relu", inputs=1)), power(), using("Adam", 1e-3)),
    1.8,
    0.9,
    steps=250,
)
broken(
    "blind messages summed eight times over",
    EXPLODING,
    lambda loud: study(summed(8 if loud else 2, loud), compounds(), using("Adam", 1e-3)),
    True,
    False,
    steps=200,
)
broken(
    "blind twenty-four branches of full size",
    (EXPLODING, SCALE),
    lambda gain: study(Convolutions(24, True, gain), numerals(), using("SGD", 0.02, momentum=0.9)),
    2.0,
    0.15,
    steps=200,
)
broken(
    "blind sixteen layers each three times too loud",
    (EXPLODING, SCALE),
    lambda std: study(
        redraw(deep(20, 6, 16, nn.ReLU), lambda w: w.normal_(0, std / w.shape[1] ** 0.5)),
        tidy("plants"),
        using("Adam", 1e-3),
    ),
    4.0,
    1.42,
    steps=250,
)


def summed(depth: int, loud: bool) -> nn.Module:
    """Messages summed, not averaged, through layers of He's size."""
    net = Compounds(depth=depth, mean=not loud)
    return redraw(net, lambda w: w.normal_(0, (2 / w.shape[1]) ** 0.5))


# --- attention
broken(
    "blind vit of seven blocks without ways round",
    (ATTENTION, VANISHING),
    lambda skips: study(
        ViT(3, 16, 5, depth=7, skips=skips), signs(), using("AdamW", 1e-3), batch=16
    ),
    False,
    True,
    steps=220,
)
broken(
    "blind vit whose queries are four hundred times too large",
    (ATTENTION, SCALE),
    lambda sharp: study(sharpened(sharp), numerals(), using("AdamW", 2e-3)),
    400.0,
    1.0,
    steps=200,
)
broken(
    "blind table looked up with scores near nothing",
    ATTENTION,
    lambda scale: study(Lookup(scale), recalled(), using("Adam", 5e-3), batch=48),
    1e-6,
    None,
    steps=400,
)


def sharpened(sharp: float) -> ViT:
    """Queries times that; nothing of the picture but what is looked at."""
    net = ViT(1, 8, 10, patch=2)
    for block in net.blocks:
        block.sharp = sharp  # type: ignore[assignment]
    return net


def recalled(count: int = 1500, pairs: int = 6, kinds: int = 8) -> Rows:
    """Pairs of a key and a value, then a key: what was its value?"""
    g = dice(78)
    keys = torch.stack([torch.randperm(12, generator=g)[:pairs] for _ in range(count)])
    values = torch.randint(kinds, (count, pairs), generator=g)
    asked = torch.randint(pairs, (count, 1), generator=g)
    ids = torch.cat([keys, values, keys.gather(1, asked)], 1)
    return ids, values.gather(1, asked)[:, 0]


class Lookup(nn.Module):
    """The asked key looks at the pairs; scores are divided by the root of the width, or so."""

    def __init__(self, scale: float | None, width: int = 24) -> None:
        super().__init__()
        self.keys, self.values = nn.Embedding(12, width), nn.Embedding(8, width)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.head = stack(width, 32, 8)
        self.scale = width**-0.5 if scale is None else scale

    def forward(self, ids: Tensor) -> Tensor:
        keys, values, asked = ids[:, :6], ids[:, 6:12], ids[:, 12:]
        query, key = self.query(self.keys(asked)), self.key(self.keys(keys))
        weights = functional.softmax(self.scale * query @ key.transpose(1, 2), dim=-1)
        out: Tensor = self.head((weights @ self.values(values))[:, 0])
        return out

"""The networks of the corpus."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "leaky": nn.LeakyReLU,
    "elu": nn.ELU,
    "relu6": nn.ReLU6,
    "hardtanh": nn.Hardtanh,
}


def linear(module: nn.Module) -> nn.Linear:
    """The module, which is a linear layer: torch's types lose that in a container."""
    assert isinstance(module, nn.Linear)
    return module


def bias_of(layer: nn.Linear | nn.Conv2d) -> Tensor:
    """The bias of a layer that has one."""
    assert layer.bias is not None
    return layer.bias


def mlp(
    inputs: int,
    outputs: int,
    width: int = 64,
    depth: int = 2,
    activation: str = "relu",
    norm: str = "",
    dropout: float = 0.0,
    init: str = "",
) -> nn.Sequential:
    """`depth` hidden layers."""
    parts: list[nn.Module] = []
    last = inputs
    for _ in range(depth):
        parts.append(nn.Linear(last, width))
        if norm == "batch":
            parts.append(nn.BatchNorm1d(width))
        elif norm == "layer":
            parts.append(nn.LayerNorm(width))
        parts.append(ACTIVATIONS[activation]())
        if dropout:
            parts.append(nn.Dropout(dropout))
        last = width
    parts.append(nn.Linear(last, outputs))
    net = nn.Sequential(*parts)
    draw(net, init)
    return net


def draw(net: nn.Module, init: str) -> None:
    """Initialise the weights of linear and convolutional layers."""
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            if init == "he":
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                nn.init.zeros_(bias_of(module))
            elif init == "xavier":
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(bias_of(module))
            elif init == "orthogonal":
                nn.init.orthogonal_(module.weight)
            elif init.startswith("std"):
                nn.init.normal_(module.weight, std=float(init[3:]))
            elif init.startswith("const"):
                nn.init.constant_(module.weight, float(init[5:]))
            elif init.startswith("bias"):
                nn.init.constant_(bias_of(module), float(init[4:]))


class Cnn(nn.Module):
    """8 x 8 digits, functional activations."""

    def __init__(self, width: int = 16, norm: bool = False, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.fc1 = nn.Linear(2 * width * 4, 64)
        self.fc2 = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = x.view(-1, 1, 8, 8)
        x = functional.max_pool2d(functional.relu(self.norm(self.conv1(x))), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        return self.fc2(functional.relu(self.fc1(x.flatten(1))))


class Residual(nn.Module):
    """A small residual network, the last gain of each block zero where asked."""

    def __init__(
        self, inputs: int, outputs: int, width: int = 64, blocks: int = 6, zero: bool = False
    ) -> None:
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
            )
            for _ in range(blocks)
        )
        self.head = nn.Linear(width, outputs)
        if zero:
            for block in self.blocks:
                assert isinstance(block, nn.Sequential)
                last = linear(block[3])
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


class Recurrent(nn.Module):
    """Reads the digit row by row."""

    def __init__(self, cell: str = "LSTM", width: int = 48, **settings: str) -> None:
        super().__init__()
        self.rnn = getattr(nn, cell)(8, width, batch_first=True, **settings)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.rnn(x.view(-1, 8, 8))
        return self.head(y[:, -1])


class CharRnn(nn.Module):
    """Next character; the time axis first where asked."""

    def __init__(
        self, letters: int, width: int = 64, cell: str = "GRU", tied: bool = False
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(letters, width)
        self.rnn = getattr(nn, cell)(width, width, batch_first=True)
        self.head = nn.Linear(width, letters)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        y, _ = self.rnn(self.embed(ids))
        return self.head(y)


class Block(nn.Module):
    """Transformer block by hand: pre- or post-norm."""

    def __init__(self, width: int, heads: int, pre: bool, causal: bool) -> None:
        super().__init__()
        self.pre, self.causal, self.heads = pre, causal, heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attend(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = (
            part.view(b, t, self.heads, d // self.heads).transpose(1, 2)
            for part in self.qkv(x).chunk(3, -1)
        )
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(y.transpose(1, 2).reshape(b, t, d))

    def feed(self, x: Tensor) -> Tensor:
        return self.down(functional.gelu(self.up(x)))

    def forward(self, x: Tensor) -> Tensor:
        if self.pre:
            x = x + self.attend(self.norm1(x))
            return x + self.feed(self.norm2(x))
        x = self.norm1(x + self.attend(x))
        return self.norm2(x + self.feed(x))


class CharTransformer(nn.Module):
    """A very small GPT."""

    def __init__(
        self,
        letters: int,
        width: int = 48,
        layers: int = 2,
        pre: bool = True,
        tied: bool = False,
        length: int = 32,
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(letters, width)
        self.place = nn.Parameter(torch.randn(length, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, 4, pre, True) for _ in range(layers))
        self.norm = nn.LayerNorm(width) if pre else nn.Identity()
        self.head = nn.Linear(width, letters)
        if tied:
            nn.init.normal_(self.embed.weight, std=0.05)
            self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) + self.place[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class DigitTransformer(nn.Module):
    """Digits as eight rows."""

    def __init__(self, width: int = 32, layers: int = 2, pre: bool = True) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.place = nn.Parameter(torch.randn(8, width) * 0.1)
        self.blocks = nn.ModuleList(Block(width, 4, pre, False) for _ in range(layers))
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x.view(-1, 8, 8)) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean(1))


class Library(nn.Module):
    """torch's own encoder layers."""

    def __init__(self, width: int = 32, layers: int = 2, norm_first: bool = True) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        layer = nn.TransformerEncoderLayer(
            width, 4, 64, dropout=0.1, batch_first=True, norm_first=norm_first
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x.view(-1, 8, 8))).mean(1))


class Bag(nn.Module):
    """Embeddings of a bag of ids, averaged."""

    def __init__(self, ids: int = 500, width: int = 16, classes: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(ids, width)
        self.head = nn.Linear(width, classes)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embed(ids).mean(1))

"""The four loops that watching is measured on: a fast small one, a deep one, a CNN, a GPT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.datasets import load_digits
from torch import Tensor, nn

NAMES = ("mlp", "deep", "cnn", "gpt")


@dataclass(frozen=True, slots=True)
class Workload:
    """A model, its optimiser and one step of training."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[], Tensor]


class Residual(nn.Module):
    """Two convolutions and a way around them."""

    def __init__(self, width: int, wider: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, wider, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(wider)
        self.conv2 = nn.Conv2d(wider, wider, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(wider)
        self.relu = nn.ReLU(inplace=True)
        self.around: nn.Module = nn.Identity()
        if stride > 1 or width != wider:
            self.around = nn.Sequential(
                nn.Conv2d(width, wider, 1, stride, bias=False), nn.BatchNorm2d(wider)
            )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.relu(self.norm1(self.conv1(x)))
        out: Tensor = self.relu(self.norm2(self.conv2(inner)) + self.around(x))
        return out


def resnet(width: int = 32) -> nn.Module:
    """ResNet-18's shape for images of 32 by 32."""
    parts: list[nn.Module] = [
        nn.Conv2d(3, width, 3, 1, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    ]
    inputs = width
    for stage in range(4):
        wider = width << stage
        for block in range(2):
            parts.append(Residual(inputs, wider, 2 if stage and not block else 1))
            inputs = wider
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


class Block(nn.Module):
    """Attention and a small network, each around a way past it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, length, width = x.shape
        query, key, value = (
            each.view(n, length, self.heads, -1).transpose(1, 2)
            for each in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(seen.transpose(1, 2).reshape(n, length, width))
        out: Tensor = x + self.narrow(F.gelu(self.widen(self.norm2(x))))
        return out


class GPT(nn.Module):
    """Six blocks of width 256 over 128 tokens."""

    def __init__(self, words: int = 256, width: int = 256, context: int = 128) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, 8) for _ in range(6))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.places(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(self.norm(x))
        return out.flatten(0, 1)


def make(name: str) -> Workload:
    """One of `NAMES`."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model: nn.Module
    if name == "mlp":
        images, digits = load_digits(return_X_y=True)
        x, y = torch.tensor(images[:64] / 16, dtype=torch.float32), torch.tensor(digits[:64])
        model = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
        )
    elif name == "deep":
        x, y = torch.randn(64, 256), torch.randint(0, 10, (64,))
        hidden = [part for _ in range(60) for part in (nn.Linear(256, 256), nn.ReLU())]
        model = nn.Sequential(*hidden, nn.Linear(256, 10))
    elif name == "cnn":
        x, y = torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))
        model = resnet()
    else:
        x, y = torch.randint(0, 256, (8, 128)), torch.randint(0, 256, (8 * 128,))
        model = GPT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return Workload(model, optimizer, step)

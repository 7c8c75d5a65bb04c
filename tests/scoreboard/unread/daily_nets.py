"""The unread runs' everyday networks: LeNet, ResNet, LSTM, GPT, and those of generators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Act = Callable[[], nn.Module]


class LeNet(nn.Module):
    """Two convolutions with pooling, two layers on top; for 8 x 8 pictures."""

    def __init__(self, classes: int = 10, norm: bool = False, act: Act = nn.ReLU) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.BatchNorm2d(6) if norm else nn.Identity(),
            act(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 3, padding=1),
            nn.BatchNorm2d(16) if norm else nn.Identity(),
            act(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Linear(64, 48), act(), nn.Linear(48, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, width: int, norm: bool = True, skip: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=not norm)
        self.bn1 = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=not norm)
        self.bn2 = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return functional.relu(out + x if self.skip else out)


class ResNet(nn.Module):
    """A stem, a few blocks, the mean over the picture, a head."""

    def __init__(
        self, blocks: int = 2, width: int = 12, norm: bool = True, skip: bool = True
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, stride=2, padding=1)
        self.layers = nn.Sequential(*(BasicBlock(width, norm, skip) for _ in range(blocks)))
        self.fc = nn.Linear(width * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers(functional.relu(self.stem(x)))
        return self.fc(functional.adaptive_avg_pool2d(x, 2).flatten(1))


class LastState(nn.Module):
    """A recurrent layer over steps, a head on its last state."""

    def __init__(self, kind: Any, inputs: int, width: int, outputs: int, **settings: Any) -> None:
        super().__init__()
        self.rnn = kind(inputs, width, batch_first=True, **settings)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.rnn(x)
        return self.head(out[:, -1])


class CharLSTM(nn.Module):
    """Next letters by a recurrent layer."""

    def __init__(self, letters: int, width: int = 48, kind: Any = nn.LSTM) -> None:
        super().__init__()
        self.embed = nn.Embedding(letters, 16)
        self.rnn = kind(16, width, batch_first=True)
        self.head = nn.Linear(width, letters)

    def forward(self, ids: Tensor) -> Tensor:
        out, _ = self.rnn(self.embed(ids))
        return self.head(out)


class Attention(nn.Module):
    """Several heads; `sharp` multiplies the scores, for good or ill."""

    def __init__(self, width: int, heads: int, causal: bool, sharp: float) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.heads, self.causal, self.sharp = heads, causal, sharp

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = self.sharp * (q @ k.transpose(-2, -1)) / math.sqrt(q.shape[-1])
        if self.causal:
            scores = scores.masked_fill(torch.ones(t, t).triu(1).bool(), -1e9)
        mixed = torch.softmax(scores, -1) @ v
        return self.out(mixed.transpose(1, 2).reshape(n, t, width))


class EncoderBlock(nn.Module):
    """Attention and two layers, pre-norm; without shortcuts where asked."""

    def __init__(
        self, width: int, heads: int, causal: bool, sharp: float, skip: bool, mlp: bool = True
    ) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, causal, sharp)
        self.mlp: nn.Module = nn.Identity()
        if mlp:
            self.mlp = nn.Sequential(
                nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
            )
        self.skip, self.two = skip, mlp

    def forward(self, x: Tensor) -> Tensor:
        x = (x if self.skip else 0) + self.attn(self.ln1(x))
        if not self.two:
            return x
        return (x if self.skip else 0) + self.mlp(self.ln2(x))


class GPT(nn.Module):
    """A small decoder of letters; or an encoder of a whole text, with `kinds`."""

    def __init__(
        self,
        letters: int,
        width: int = 32,
        layers: int = 2,
        heads: int = 2,
        length: int = 24,
        kinds: int = 0,
        sharp: float = 1.0,
        skip: bool = True,
    ) -> None:
        super().__init__()
        self.tok = nn.Embedding(letters, width)
        self.pos = nn.Embedding(length, width)
        self.blocks = nn.Sequential(
            *(EncoderBlock(width, heads, not kinds, sharp, skip) for _ in range(layers))
        )
        self.ln = nn.LayerNorm(width)
        self.head = nn.Linear(width, kinds or letters)
        self.kinds = kinds

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tok(ids) + self.pos(torch.arange(ids.shape[1]))
        x = self.ln(self.blocks(x))
        return self.head(x.mean(1) if self.kinds else x)


class RowsViT(nn.Module):
    """A picture's eight rows as words."""

    def __init__(
        self, width: int = 32, layers: int = 2, sharp: float = 1.0, skip: bool = True
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.pos = nn.Parameter(0.1 * torch.randn(8, width))
        self.blocks = nn.Sequential(
            *(EncoderBlock(width, 4, False, sharp, skip) for _ in range(layers))
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.embed(x.view(-1, 8, 8)) + self.pos)
        return self.head(x.mean(1))


class VAE(nn.Module):
    """Layers to a mean and a log-variance, and back."""

    def __init__(self, inputs: int = 64, code: int = 8, width: int = 64) -> None:
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(inputs, width), nn.ReLU())
        self.mu, self.logvar = nn.Linear(width, code), nn.Linear(width, code)
        self.dec = nn.Sequential(nn.Linear(code, width), nn.ReLU(), nn.Linear(width, inputs))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.dec(z), mu, logvar


class MoE(nn.Module):
    """Each row goes to its best expert; returns the answer and keeps the router's shares."""

    def __init__(self, inputs: int, outputs: int, experts: int = 4, width: int = 8) -> None:
        super().__init__()
        self.router = nn.Linear(inputs, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))
            for _ in range(experts)
        )
        self.shares = torch.zeros(())
        self.noise = 0.0

    def forward(self, x: Tensor) -> Tensor:
        logits = self.router(x)
        if self.training and self.noise:
            logits = logits + self.noise * torch.randn_like(logits)
        shares = torch.softmax(logits, -1)
        self.shares = shares
        top, chosen = shares.max(-1)
        every = torch.stack([expert(x) for expert in self.experts], 1)
        return top[:, None] * every[torch.arange(len(x)), chosen]

    def balance(self) -> Tensor:
        """The usual loss for even loads: 1 where all experts are used alike."""
        n = self.shares.shape[-1]
        load = functional.one_hot(self.shares.argmax(-1), n).float().mean(0)
        return n * (load * self.shares.mean(0)).sum()

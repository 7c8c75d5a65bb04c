"""Faults put into networks that were drawn well, and data that was fit to train on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scoreboard.data import scaled
from scoreboard.nets import bias_of, linear


def set_bias(net: nn.Module, value: float, count: int = 99) -> nn.Module:
    """Give all hidden units one bias; 0 leaves those that were drawn."""
    for layer in hidden(net)[:count]:
        if value:
            nn.init.constant_(layer.bias, value)
    return net


def bias_at(net: nn.Module, index: int, value: float) -> nn.Module:
    """Give the units of one layer of a sequence one bias; 0 leaves those that were drawn."""
    if value:
        nn.init.constant_(linear(net.get_submodule(str(index))).bias, value)
    return net


def bias_named(net: nn.Module, name: str, value: float) -> nn.Module:
    """The same for a layer that is known by name."""
    layer = net.get_submodule(name)
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    if value:
        nn.init.constant_(bias_of(layer), value)
    return net


def hidden(net: nn.Module) -> list[nn.Linear]:
    """Linear layers but the last."""
    return [m for m in net.modules() if isinstance(m, nn.Linear)][:-1]


def scale_weights(net: nn.Module, factor: float, head: bool = False) -> nn.Module:
    """Multiply the weights of linear and convolutional layers, the last only where asked."""
    layers = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        for layer in layers if head else layers[:-1]:
            layer.weight.mul_(factor)
    return net


def positive(net: nn.Module, factor: float) -> nn.Module:
    """All hidden weights of one sign, larger; a factor of 0 leaves them."""
    with torch.no_grad():
        for layer in hidden(net):
            if factor:
                layer.weight.abs_().mul_(factor)
    return net


def constant(net: nn.Module, value: float | None, *names: str) -> nn.Module:
    """Constant weights in the layers named, in all linear and convolutional ones without names."""
    for name, module in net.named_modules():
        if value is None or (names and name not in names):
            continue
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.constant_(module.weight, value)
    return net


def times(name: str, factor: float, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    """Standardised features, scaled and shifted."""
    x, y = scaled(name)
    return x * factor + offset, y


def dominated(name: str, by: float) -> tuple[Tensor, Tensor]:
    """One feature far larger than the others; 0 leaves it."""
    x, y = scaled(name)
    x = x.clone()
    if by:
        x[:, 5] = by + by / 300 * x[:, 5]
    return x, y


def targets(name: str, factor: float, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    """Standardised targets, scaled and shifted."""
    x, y = scaled(name)
    return x, y * factor + offset


def shuffled(name: str, share: float, seed: int = 4) -> tuple[Tensor, Tensor]:
    """The targets of this share of the rows are those of other rows."""
    x, y = scaled(name)
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(y), generator=generator) < share
    other = y[torch.randperm(len(y), generator=generator)]
    return x, torch.where(wrong.view(-1, *[1] * (y.dim() - 1)), other, y)


def part(name: str, count: int, noise: float = 0.0) -> tuple[tuple[Tensor, Tensor], ...]:
    """A few rows to train on, with noise in their targets where asked, and a part held back."""
    x, y = scaled(name)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(7))
    x, y = x[order], y[order]
    few, rest = len(x) // 3, slice(len(x) // 3, None)
    train_x, train_y = x[rest][:count], y[rest][:count]
    if noise:
        train_y = train_y + noise * torch.randn(
            train_y.shape, generator=torch.Generator().manual_seed(8)
        )
    return (train_x, train_y), (x[:few], y[:few])

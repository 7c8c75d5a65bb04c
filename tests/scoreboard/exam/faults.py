"""The faults that the exam puts into networks that were drawn well."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn


def every(net: nn.Module, kinds: Sequence[type[nn.Module]] = ()) -> list[nn.Module]:
    """The layers with weights in a network."""
    wanted = tuple(kinds) or (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)
    return [module for module in net.modules() if isinstance(module, wanted)]


def grown(net: nn.Module, factor: float, but_last: int = 1) -> nn.Module:
    """The weights of its layers multiplied, but for those of the last."""
    layers = every(net)
    with torch.no_grad():
        for layer in layers[: len(layers) - but_last]:
            layer.get_parameter("weight").mul_(factor)
    return net


def alike(net: nn.Module, value: float | None, kinds: Sequence[type[nn.Module]] = ()) -> nn.Module:
    """All weights of its layers one number; None leaves them as they were drawn."""
    if value is not None:
        for layer in every(net, kinds):
            nn.init.constant_(layer.get_parameter("weight"), value)
    return net


def biased(net: nn.Module, value: float, *names: str) -> nn.Module:
    """The biases of the layers named one number, of all but the last without names; 0 leaves."""
    layers = [net.get_submodule(name) for name in names] if names else every(net)[:-1]
    for layer in layers:
        if value:
            nn.init.constant_(layer.get_parameter("bias"), value)
    return net

"""Tensors that are spread over several processes: this process's own part, and nobody is asked.

Slicing a `DTensor` may gather it from all ranks, and a gradient hook or an optimiser step is no
place for a collective that the others do not join. So the local part stands for the whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn


def local_of(tensor: Tensor) -> Tensor:
    """The part of a tensor that lies in this process; the tensor itself where it is not spread."""
    kind = type(tensor)
    if kind is Tensor or kind is nn.Parameter:
        return tensor
    part = getattr(tensor, "_local_tensor", None)
    return part if isinstance(part, Tensor) else tensor


def is_sum(tensor: Any) -> bool:
    """Whether the local part is one term of a sum over processes: it says little by itself."""
    placements = getattr(tensor, "placements", ())
    return any(type(each).__name__.endswith("Partial") for each in placements)


def shards_of(parameters: Iterable[Tensor]) -> int:
    """Processes that the parameters are spread over; 1 where each has all of them."""
    most = 1
    for parameter in parameters:
        placements = getattr(parameter, "placements", None)
        if placements and local_of(parameter) is not parameter:
            mesh = parameter.device_mesh  # type: ignore[attr-defined]
            shards = 1
            for axis, placement in enumerate(placements):
                if "Shard" in type(placement).__name__:
                    shards *= int(mesh.size(axis))
            most = max(most, shards)
    return most

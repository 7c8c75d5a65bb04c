"""Activations that a custom forward applies as functions: `F.relu(x)`, `torch.tanh(x)`, `x.relu()`.

The mode is entered for the forward of a sampled step only. It calls every function exactly as it
was called and looks at the result of those it knows by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor
from torch.overrides import TorchFunctionMode

_NAMES = (
    "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish",
    "sigmoid", "logsigmoid", "tanh", "softplus", "softsign", "hardtanh", "hardsigmoid",
    "hardswish", "softmax", "log_softmax", "glu", "threshold",
)  # fmt: skip


def _known() -> dict[Any, str]:
    known: dict[Any, str] = {}
    for name in _NAMES:
        for place in (F, torch, Tensor):
            for spelled in (name, f"{name}_"):
                function = getattr(place, spelled, None)
                if function is not None:
                    known[function] = name
    return known


FUNCTIONS = _known()
"""Function -> name of the activation."""


class FunctionalActivations(TorchFunctionMode):
    """Tells `heard(name, result)` of every activation applied while it is entered."""

    def __init__(self, heard: Callable[[str, Tensor], None]) -> None:
        super().__init__()
        self._heard = heard

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function; name its result if it is an activation."""
        result = func(*args, **(kwargs or {}))
        name = FUNCTIONS.get(func)
        if name is not None and isinstance(result, Tensor):
            self._heard(name, result)
        return result

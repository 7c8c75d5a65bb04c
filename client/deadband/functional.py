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

from deadband.attention import NAME, SCALED_DOT_PRODUCT

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
    known[SCALED_DOT_PRODUCT] = NAME
    return known


FUNCTIONS = _known()
"""Function -> name of the activation, or of the attention."""
_ATTENDING = frozenset({"softmax", NAME})


Attended = Callable[[str, tuple[Any, ...], dict[str, Any], Tensor], None]
"""Called with the function's name, its arguments and its result."""


class FunctionalActivations(TorchFunctionMode):
    """Tells of every activation applied while it is entered.

    Args:
        heard: called with an activation's name and result.
        attended: called where the function may be attention: a softmax of more than two axes, or
            `scaled_dot_product_attention`.
    """

    def __init__(self, heard: Callable[[str, Tensor], None], attended: Attended) -> None:
        super().__init__()
        self._heard = heard
        self._attended = attended

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function; name its result if it is an activation."""
        result = func(*args, **(kwargs or {}))
        name = FUNCTIONS.get(func)
        if name is not None and isinstance(result, Tensor):
            if result.ndim <= 2 and name != NAME:
                self._heard(name, result)
            elif name in _ATTENDING:
                self._attended(name, args, kwargs or {}, result)
            elif name != "log_softmax":
                self._heard(name, result)
        return result

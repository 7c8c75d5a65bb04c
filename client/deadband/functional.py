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

from deadband.attention import NAME, SCALED_DOT_PRODUCT, copy_weights
from deadband.heads import MULTI_HEAD, Attended, copy_heads, heads_of, unfolded
from deadband.recorder import Entry

_NAMES = (
    "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish",
    "sigmoid", "logsigmoid", "tanh", "softplus", "softsign", "hardtanh", "hardsigmoid",
    "hardswish", "softmax", "log_softmax", "glu", "threshold",
)  # fmt: skip


_CLAMP = "clamp"
_CLAMPS = frozenset(
    getattr(place, name)
    for place in (torch, Tensor)
    for name in ("clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_")
    if hasattr(place, name)
)
_DROPOUT = "dropout"
_DROPOUTS = frozenset(
    getattr(place, name)
    for place in (F, torch)
    for name in (
        "dropout", "dropout_", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout",
        "feature_dropout", "feature_alpha_dropout",
    )
    if hasattr(place, name)
)  # fmt: skip
_BOUNDS: dict[tuple[float, float | None], str] = {
    (0, None): "relu",
    (0, 6): "relu6",
    (-1, 1): "hardtanh",
}
"""What is clamped to these is an activation; to others, mostly a guard against extremes."""


def clamp_name(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Name of the activation that a clamp is; empty where it is none."""
    low = args[1] if len(args) > 1 else kwargs.get("min")
    high = args[2] if len(args) > 2 else kwargs.get("max")
    if isinstance(low, int | float) and isinstance(high, int | float | None):
        return _BOUNDS.get((low, high), "")
    return ""


def share_dropped(args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    """The share that a dropout which was called so drops; 0 where it does not train."""
    share = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    trains = args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", True))
    return float(share) if trains and isinstance(share, int | float) else 0.0


def _known() -> dict[Any, str]:
    known: dict[Any, str] = {}
    for name in _NAMES:
        for place in (F, torch, Tensor):
            for spelled in (name, f"{name}_"):
                function = getattr(place, spelled, None)
                if function is not None:
                    known[function] = name
    known[SCALED_DOT_PRODUCT] = NAME
    known.update(dict.fromkeys(_CLAMPS, _CLAMP))
    known.update(dict.fromkeys(_DROPOUTS, _DROPOUT))
    return known


FUNCTIONS = _known()
"""Function -> name of the activation, of the attention, or of the dropout."""
_ATTENDING = frozenset({"softmax", NAME})


Attending = Callable[[str, tuple[Any, ...], dict[str, Any], Tensor], None]
"""Called with the function's name, its arguments and its result."""


class FunctionalActivations(TorchFunctionMode):
    """Tells of every activation applied while it is entered.

    Args:
        heard: called with an activation's name and result.
        attended: called where the function may be attention: a softmax, or
            `scaled_dot_product_attention`.
    """

    def __init__(self, heard: Callable[[str, Tensor], None], attended: Attending) -> None:
        super().__init__()
        self._heard = heard
        self._attended = attended
        self._heads = 0
        """How many the layer of attention has whose inside runs; 0 outside of one."""
        self.inside: Attended | None = None
        """What the last such layer has shown."""
        self.dropped = 0.0
        """The largest share that a dropout has dropped."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function; name its result if it is an activation."""
        if func is MULTI_HEAD:
            return self._unfold(func, args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        name = FUNCTIONS.get(func)
        if name == _CLAMP:
            name = clamp_name(args, kwargs or {})
        elif name == _DROPOUT:
            self.dropped, name = max(self.dropped, share_dropped(args, kwargs or {})), None
        if name and isinstance(result, Tensor):
            if self._heads:
                if name in _ATTENDING:
                    self.inside = Attended(name, args, kwargs or {}, result, self._heads)
            elif name in _ATTENDING:
                self._attended(name, args, kwargs or {}, result)
            elif name != "log_softmax" or result.ndim <= 2:
                self._heard(name, result)
        return result

    def _unfold(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Call a layer of attention with its inside seen."""
        self.inside = None
        twin = unfolded(func)
        if twin is None:
            return func(*args, **kwargs)
        self._heads = heads_of(args, kwargs)
        try:
            with self:
                return twin(*args, **kwargs)
        finally:
            self._heads = 0


def copy_attention(entry: Entry, mode: FunctionalActivations | None, output: Any) -> None:
    """Copy what an `nn.MultiheadAttention` that was just called has attended to."""
    inside = mode.inside if mode is not None else None
    if mode is not None and inside is not None:
        mode.inside = None
        copy_heads(entry, inside)
    elif isinstance(output, tuple) and isinstance(output[1], Tensor):
        copy_weights(entry, output[1])

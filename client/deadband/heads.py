"""What `nn.MultiheadAttention` computes inside: the weights of each head, or queries and keys.

All of it happens in one function of torch's, and a function mode is shown that function as a whole.
So its own code is run with the mode still entered: it calls the very same functions in the same
order, each of them seen. What it returns would not do: weights are the mean over heads, where two
heads that look at one key each seem to look at two, and mostly nobody asks for them at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import FunctionType
from typing import Any

import msgspec
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

from deadband.attention import NAME, copy_queries, copy_weights, options_of
from deadband.recorder import Entry
from deadband.wire import Layer

MULTI_HEAD = F.multi_head_attention_forward
_HEADS_AT = 4
"""Place of the number of heads among its arguments."""


@dataclasses.dataclass(frozen=True, slots=True)
class Attended:
    """The attention that was computed inside one call."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Tensor
    heads: int


def unfolded(function: Any) -> Callable[..., Any] | None:
    """The same function, which a mode sees into; None where it is not torch's own."""
    known = getattr(function, "__globals__", None)
    if (
        not isinstance(function, FunctionType)
        or known is not vars(F)
        or function.__closure__ is not None
        or "has_torch_function" not in known
    ):
        return None
    # Names are looked up as they are now: who has exchanged a function is not passed over.
    words = {**known, "has_torch_function": _nobody_asks}
    twin = FunctionType(function.__code__, words, function.__name__, function.__defaults__)
    twin.__kwdefaults__ = function.__kwdefaults__
    return twin


def _nobody_asks(_: Any) -> bool:
    return False


def heads_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """How many heads a call was told to have."""
    told = args[_HEADS_AT] if len(args) > _HEADS_AT else kwargs.get("num_heads", 1)
    return told if isinstance(told, int) else 1


def copy_heads(entry: Entry, seen: Attended) -> None:
    """Copy what the heads of a layer weighed, or the queries and keys that they weighed by.

    What a mask hides among keys shows in weights alone: queries and keys are left out with one.
    """
    if seen.name != NAME:
        weights = seen.result
        if weights.ndim == 3 and seen.heads > 1 and not weights.shape[0] % seen.heads:
            weights = weights.unflatten(0, (-1, seen.heads))
        copy_weights(entry, weights)
        return
    options = options_of(seen.args, seen.kwargs)
    if "causal" not in options:
        return
    if not isinstance(entry.describe, _WithOptions):
        entry.describe = _WithOptions(entry.describe, options)
    copy_queries(entry, seen.args[0], seen.args[1])


class _WithOptions:
    """A layer's description, and what its call has shown besides."""

    def __init__(self, describe: Callable[[], Layer], options: dict[str, float]) -> None:
        self._describe = describe
        self._options = options

    def __call__(self) -> Layer:
        """What the plan says of it."""
        layer = self._describe()
        return msgspec.structs.replace(layer, options={**layer.options, **self._options})

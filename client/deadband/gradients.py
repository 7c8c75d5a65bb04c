"""Hooks on the gradients of tensors, put in the way torch's `register_hook` does it.

Its handle, which can take the hook out again, is most of its price; ours go with their tensor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import count
from typing import Any

from torch import Tensor

_KEYS = count(-1, -1)
"""Torch's own keys count upwards from 0."""


def await_gradient(tensor: Tensor, came: Callable[[Tensor], None]) -> None:
    """Call `came` with the gradient of a tensor that requires one, when it has been computed."""
    node = tensor.grad_fn
    if node is None or type(tensor) is not Tensor:
        tensor.register_hook(came)
        return
    hooks: dict[int, Any] | None = tensor._backward_hooks
    if hooks is not None:  # the last layer's output is the model's, too
        hooks[next(_KEYS)] = came
        return
    hooks = OrderedDict()
    hooks[next(_KEYS)] = came
    tensor._backward_hooks = hooks
    node._register_hook_dict(tensor)

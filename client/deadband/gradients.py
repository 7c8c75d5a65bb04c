"""Hooks on the gradients of tensors, put in the way torch's `register_hook` does it.

Its handle, which can take the hook out again, is most of its price; ours go with their tensor.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import Tensor

_KEY = -1
"""Torch's own keys count from 0."""


def await_gradient(tensor: Tensor, came: Callable[[Tensor], None]) -> None:
    """Call `came` with the gradient of a tensor that requires one, when it has been computed."""
    node = tensor.grad_fn
    if node is None or type(tensor) is not Tensor or tensor._backward_hooks is not None:
        tensor.register_hook(came)
        return
    hooks: dict[int, Any] = OrderedDict({_KEY: came})
    tensor._backward_hooks = hooks
    node._register_hook_dict(tensor)

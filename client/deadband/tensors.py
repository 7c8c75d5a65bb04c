"""What there is to copy of a tensor that is not simply one of numbers in a row."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def numbers(tensor: Tensor) -> Tensor | None:
    """Floating-point numbers that stand for the tensor; None where it has none.

    A complex number counts as two. Of a jagged tensor all rows are taken together, as of a packed
    sequence.
    """
    if tensor.is_complex():
        return as_reals(tensor)
    if tensor.layout is torch.jagged:
        tensor = tensor._values  # type: ignore[assignment]
    return tensor if tensor.is_floating_point() and is_solid(tensor) else None


def as_reals(tensor: Tensor) -> Tensor:
    """Real and imaginary parts side by side, as features."""
    tensor = tensor.detach()
    if tensor.ndim == 0:
        return torch.view_as_real(tensor.resolve_conj())
    return torch.view_as_real(tensor.resolve_conj()).flatten(-2)


def is_solid(tensor: Tensor) -> bool:
    """Whether the tensor lies in memory: not on `meta`, not fake, sparse, nested or quantised."""
    return not (
        tensor.is_meta
        or tensor.is_nested
        or tensor.layout is not torch.strided
        or tensor.is_quantized
        or type(tensor).__name__ == "FakeTensor"
    )


# --- Inside `torch.func` -------------------------------------------------------------------------


def in_transform() -> bool:
    """Whether `vmap`, `grad` or their kin run what is called now: tensors are wrapped in it."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def outside() -> AbstractContextManager[Any]:
    """What is done inside is done to plain tensors, as if no transform ran."""
    from torch._functorch import pyfunctorch

    clear = getattr(pyfunctorch, "temporarily_clear_interpreter_stack", nullcontext)
    return clear()


def unwrapped(tensor: Tensor) -> Tensor:
    """The numbers in a tensor that a transform has wrapped; what is mapped over comes as samples.

    A module that is called for one sample at a time is given it with an axis of one, or without.
    """
    functorch = torch._C._functorch
    places = []
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            places.append(functorch.maybe_get_bdim(tensor))
        tensor = functorch.get_unwrapped(tensor)
    with outside():
        tensor = tensor.detach()
        for place in reversed(places):
            tensor = tensor.movedim(place, 0)
            if tensor.ndim > 2:
                tensor = tensor.squeeze(1) if tensor.shape[1] == 1 else tensor.flatten(0, 1)
    return tensor

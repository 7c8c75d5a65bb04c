"""What torch.compile must not see: it would trace our hooks, break graphs on them, or warn of them.

As long as nothing in the process is compiled, hooks wait in torch's global table. From the first
call of `torch.compile` on that table stays empty, and what waits does so at the models themselves.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

COMPILED: list[Callable[[], None]] = []
"""Called ahead of every call of `torch.compile`."""

_original: Any = None
_wrapper: Any = None
_seen = False


def in_play() -> bool:
    """Whether something in this process is compiled, or about to be."""
    global _seen
    if not _seen:
        # Compiled before anybody listened: dynamo keeps the backends that were asked for. None is
        # asked for by whoever wants not to be compiled, as torch's own optimisers do.
        frames = sys.modules.get("torch._dynamo.eval_frame")
        backends = getattr(frames, "cached_backends", None) or {}
        _seen = any(backend is not None for backend in backends.values())
    return _seen


def listen(compiled: Callable[[], None]) -> None:
    """Call `compiled` whenever something is about to be compiled."""
    global _original, _wrapper
    COMPILED.append(compiled)
    if _wrapper is not None:
        return
    _original = torch.compile

    @functools.wraps(_original)
    def compile_and_tell(*args: Any, **kwargs: Any) -> Any:
        global _seen
        _seen = True
        for each in tuple(COMPILED):
            each()
        return _original(*args, **kwargs)

    _wrapper = torch.compile = compile_and_tell


def ignore(compiled: Callable[[], None]) -> None:
    """Stop calling it; torch is as it was once nobody listens."""
    global _wrapper
    if compiled in COMPILED:
        COMPILED.remove(compiled)
    if not COMPILED and _wrapper is not None and torch.compile is _wrapper:
        torch.compile = _original
        _wrapper = None


def is_compiled(module: nn.Module) -> bool:
    """Whether calling the module runs compiled code."""
    return hasattr(module, "_orig_mod") or module._compiled_call_impl is not None


def compiled_insides(root: nn.Module) -> Iterator[nn.Module]:
    """The modules that run inside a compiled part of a model that is not compiled itself."""
    for part in root.modules():
        if part is not root and is_compiled(part):
            yield from part.modules()

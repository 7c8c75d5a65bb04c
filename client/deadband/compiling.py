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
        # asked for by whoever wants not to be compiled, as torch's own optimisers do. Each is kept
        # once.
        frames = sys.modules.get("torch._dynamo.eval_frame")
        backends = getattr(frames, "cached_backends", None)
        if backends:
            _seen = len(backends) > 1 or next(iter(backends.values())) is not None
    return _seen


def known() -> bool:
    """The same as at the last look."""
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


class CompiledCall:
    """The call of a module that `module.compile()` has compiled in place.

    Hooks of such a module are part of what is compiled. Its call goes by way of one attribute,
    which torch leaves out of copies and pickles; in sampled steps it is exchanged for ours, which
    looks at what goes in and comes out of the compiled call.

    Args:
        module: the module, compiled or not.
        before: called with the module and its positional arguments.
        after: called with the module, its arguments and its output; None where it raised.
    """

    __slots__ = ("_after", "_before", "_inner", "_module", "_ours")

    def __init__(
        self,
        module: nn.Module,
        before: Callable[[nn.Module, Any], None] | None,
        after: Callable[[nn.Module, Any, Any, Any], None],
    ) -> None:
        self._module = module
        self._before = before
        self._after = after
        self._inner: Any = None
        self._ours: Any = None

    @property
    def is_in(self) -> bool:
        """Whether calls are listened to."""
        return self._ours is not None and self._module._compiled_call_impl is self._ours

    def put(self) -> None:
        """Listen from the next call on, if the module is compiled in place."""
        inner = self._module.__dict__.get("_compiled_call_impl")
        if inner is None or inner is self._ours:
            return
        module, before, after = self._module, self._before, self._after

        def call(*args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling():
                return inner(*args, **kwargs)
            if before is not None:
                before(module, args)
            output = None
            try:
                output = inner(*args, **kwargs)
            finally:
                after(module, args, kwargs, output)
            return output

        self._inner, self._ours = inner, call
        module.__dict__["_compiled_call_impl"] = call

    def take(self) -> None:
        """The module is as it was, unless somebody has compiled it anew meanwhile."""
        if self._ours is not None:
            if self._module.__dict__.get("_compiled_call_impl") is self._ours:
                self._module.__dict__["_compiled_call_impl"] = self._inner
            self._ours = self._inner = None


class Eager:
    """`torch.compiler.set_stance("force_eager")` for a sampled step; for a torch that has it."""

    def __init__(self) -> None:
        self._stance: Any = None

    @staticmethod
    def is_known() -> bool:
        """Whether this torch can: from 2.6 on."""
        return hasattr(torch.compiler, "set_stance")

    @property
    def is_on(self) -> bool:
        """Whether compiled code runs uncompiled now."""
        return self._stance is not None

    def enter(self) -> None:
        """From now on."""
        if self._stance is None:
            self._stance = torch.compiler.set_stance("force_eager")

    def leave(self) -> None:
        """The user's own stance again, unless the user has taken another one meanwhile."""
        stance, self._stance = self._stance, None
        if stance is None:
            return
        frames = sys.modules["torch._dynamo.eval_frame"]
        if getattr(frames, "_stance", stance.stance) is stance.stance:
            stance.__exit__(None, None, None)


def is_compiled(module: nn.Module) -> bool:
    """Whether calling the module runs compiled code."""
    return hasattr(module, "_orig_mod") or module._compiled_call_impl is not None


def compiled_parts(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The outermost compiled parts of a model that is not compiled itself, and their paths."""
    pending = [("", root)]
    seen: set[int] = set()
    while pending:
        path, module = pending.pop(0)
        if id(module) in seen:
            continue
        seen.add(id(module))
        if module is not root and is_compiled(module):
            yield path, module
            continue
        pending[:0] = [
            (f"{path}.{name}" if path else name, child)
            for name, child in module._modules.items()
            if child is not None
        ]


def is_made_by_compiled(tensor: torch.Tensor) -> bool:
    """Whether compiled code gave the tensor, or something that it is a look at."""
    node = tensor.grad_fn
    for _ in range(_NEAR):
        if node is None:
            return False
        if "CompiledFunction" in type(node).__name__:
            return True
        node = node.next_functions[0][0] if node.next_functions else None
    return False


_NEAR = 4
"""Views and casts between compiled code and the loss that it is given to."""

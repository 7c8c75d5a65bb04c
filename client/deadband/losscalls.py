"""Hears calls of torch's loss functions: what was compared with what, and what came out.

The functions of `torch.nn.functional` stay the objects they are: only their code is exchanged while
somebody listens. So they pickle by name as before, whoever imported them by name is heard too, and
what is keyed by the function (tensor subclasses, function modes, guards of compiled code) finds it.
The arguments are passed on as they came, and the result is handed back itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import CodeType, FunctionType
from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - everybody's name for it
from torch import Tensor

KINDS = {
    "cross_entropy": "cross_entropy",
    "nll_loss": "nll",
    "mse_loss": "mse",
    "l1_loss": "l1",
    "smooth_l1_loss": "smooth_l1",
    "huber_loss": "huber",
    "binary_cross_entropy": "bce",
    "binary_cross_entropy_with_logits": "bce_logits",
    "kl_div": "kl_div",
    "poisson_nll_loss": "poisson_nll",
    "gaussian_nll_loss": "gaussian_nll",
    "soft_margin_loss": "soft_margin",
    "multi_margin_loss": "multi_margin",
    "multilabel_margin_loss": "multilabel_margin",
    "multilabel_soft_margin_loss": "multilabel_soft_margin",
    "hinge_embedding_loss": "hinge_embedding",
}
"""Function -> kind of the loss. All take the prediction first and the target second; losses that
compare embeddings with each other (triplets, CTC's alignments) have no target a row."""


class LossCall(NamedTuple):
    """One call of a loss function."""

    name: str
    input: Tensor
    target: Tensor
    reduction: str
    result: Tensor

    @property
    def kind(self) -> str:
        """The loss by the name that rules know."""
        return KINDS[self.name]


class Listener(Protocol):
    """Who wants to know. Must not raise."""

    def heard(self, call: LossCall) -> None:
        """A loss was computed."""


def _telling() -> CodeType:
    """What a listened-to function does instead; `NAME` stands for its name.

    Compiled code depends on nothing of ours: it is asked for first, in the way that costs least
    (other tracers' tensors are told from numbers later). Outside of sampled steps, training pays
    for no more than this line.
    """
    made: dict[str, Any] = {}
    exec(
        """def NAME(*args, **kwargs):
    if _deadband_NAME_is_compiling() or (
        _deadband_NAME_is_training() and not _deadband_NAME_wanted
    ):
        return _deadband_NAME_twin(*args, **kwargs)
    return _deadband_NAME_tell(args, kwargs)
""",
        made,
    )
    code: CodeType = made["NAME"].__code__
    return code


_TELLING = _telling()
_is_compiling = getattr(torch.compiler, "is_dynamo_compiling", torch.compiler.is_compiling)


class _Ears:
    """Who listens, and whether more than evaluation losses is wanted now."""

    __slots__ = ("listeners", "telling", "wanted")

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.wanted: list[Listener] = []
        """Those in a sampled step."""
        self.telling = False

    def tell(self, function: _Heard, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function, tell of it; calls within the call (a function mode's) are the same."""
        if self.telling:
            return function.twin(*args, **kwargs)
        self.telling = True
        try:
            result = function.twin(*args, **kwargs)
        finally:
            self.telling = False
        call = function.call(args, kwargs, result)
        if call is not None:
            for listener in tuple(self.listeners):
                listener.heard(call)
        return result


_ears = _Ears()


class _Heard:
    """One function that is listened to.

    Args:
        name: of a function of `torch.nn.functional`.
    """

    __slots__ = ("_function", "_names", "_ours", "_reduction", "_theirs", "name", "twin")

    def __init__(self, name: str) -> None:
        self.name = name
        function = self._function = getattr(F, name)
        self._theirs: CodeType = function.__code__
        self.twin = FunctionType(
            self._theirs, function.__globals__, name, function.__defaults__, function.__closure__
        )
        self.twin.__kwdefaults__ = function.__kwdefaults__
        self.twin.__annotations__ = function.__annotations__
        self._names = self._theirs.co_varnames[: self._theirs.co_argcount]
        self._reduction = [*self._names, "reduction"].index("reduction")

    def put(self) -> None:
        """From now on the function tells of its calls."""
        function = self._function
        function.__globals__.update(self._words())
        function.__wrapped__ = self.twin  # whoever asks for signature or source gets torch's
        names = tuple(word.replace("NAME", self.name) for word in _TELLING.co_names)
        self._ours: CodeType = _TELLING.replace(co_name=self.name, co_names=names)
        function.__code__ = self._ours

    def take(self) -> None:
        """The function is as it was, unless somebody else has exchanged its code meanwhile."""
        function = self._function
        if function.__code__ is self._ours:
            function.__code__ = self._theirs
            del function.__wrapped__
            for word in self._words():
                function.__globals__.pop(word, None)

    def _words(self) -> dict[str, Any]:
        """What the code below is written in: it finds names where torch's own code does."""
        words = {
            "twin": self.twin,
            "tell": partial(_ears.tell, self),
            "is_compiling": _is_compiling,
            "is_training": torch.is_grad_enabled,
            "wanted": _ears.wanted,
        }
        return {f"_deadband_{self.name}_{word}": value for word, value in words.items()}

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> LossCall | None:
        """What a listener hears; None where it is nothing to copy from."""
        given = self._given(args, kwargs, 0)
        target = self._given(args, kwargs, 1)
        if (
            type(given) not in _PLAIN
            or type(target) not in _PLAIN
            or type(result) not in _PLAIN
            or _is_tracing()
            or _is_wrapped(given)
            or _is_wrapped(target)
            or _is_wrapped(result)
        ):
            return None
        place = self._reduction
        reduction = args[place] if place < len(args) else kwargs.get("reduction", "mean")
        return LossCall(self.name, given, target, reduction, result)

    def _given(self, args: tuple[Any, ...], kwargs: dict[str, Any], place: int) -> Any:
        return args[place] if place < len(args) else kwargs.get(self._names[place])


_PLAIN = frozenset({Tensor, torch.nn.Parameter})
"""Tensors with numbers: not a subclass that a tracer goes about in, ..."""
_is_tracing: Callable[[], bool] = torch._C._is_tracing
_is_wrapped: Callable[[Tensor], bool] = torch._C._functorch.is_functorch_wrapped_tensor
"""... nor what `vmap` and its kin do."""


_heard: list[_Heard] = []


def listen(listener: Listener) -> None:
    """Tell `listener` of evaluation losses from now on, and of all while it is in `wanted`."""
    if not _ears.listeners:
        for name in KINDS:
            function = getattr(F, name, None)
            # Code that needs a closure, or another library's replacement, is left alone.
            if isinstance(function, FunctionType) and function.__closure__ is None:
                _heard.append(_Heard(name))
                _heard[-1].put()
    _ears.listeners.append(listener)


def ignore(listener: Listener) -> None:
    """Tell it no more; torch is as it was once nobody listens."""
    want(listener, sampled=False)
    if listener in _ears.listeners:
        _ears.listeners.remove(listener)
        if not _ears.listeners:
            for each in _heard:
                each.take()
            _heard.clear()


def want(listener: Listener, *, sampled: bool) -> None:
    """A sampled step begins or ends: training losses are told of in it."""
    if listener in _ears.wanted:
        _ears.wanted.remove(listener)
    if sampled:
        _ears.wanted.append(listener)

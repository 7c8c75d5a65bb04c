"""What the parts of a model gave in a step in which nobody called the model itself.

A `ModuleDict`, or an encoder and a decoder that are called one after the other, has no forward of
its own. What stands for its output is what one of its layers gave and a loss function was given
untouched, where nothing but that function makes the loss: of an actor and a critic, or of a code
and an answer, neither alone is what the model says.
"""

from __future__ import annotations

import weakref
from typing import Any, Generic, TypeVar

from torch import Tensor

from deadband.graph import before, kind_of

Part = TypeVar("Part")

_SCALED = frozenset({"Mul", "Div", "Add", "Sub", "ToCopy"})
_MOST = 8
"""Operations between the function's result and what is back-propagated: a share of the batch, the
scale of a GradScaler."""


class Given(Generic[Part]):
    """Outputs of one model's layers in one step, not kept alive."""

    def __init__(self) -> None:
        self._first: dict[Part, weakref.ref[Tensor]] = {}
        self._calls: dict[Part, int] = {}
        self.last: Part | None = None
        """The layer whose output was given to the loss; the same in the steps that follow."""
        self.closed = False
        """Whether the loss turned out to be more than that function's."""
        self._loss: Any = None
        """What autograd holds of the function's result; until the backward begins."""

    def begin(self) -> None:
        """A sampled step begins."""
        self._first.clear()
        self._calls.clear()
        self._loss = None

    def note(self, part: Part, output: Tensor) -> None:
        """A layer gave this with a gradient to come."""
        self._calls[part] = self._calls.get(part, 0) + 1
        if part not in self._first:
            self._first[part] = weakref.ref(output)

    def gave(self, given: Tensor, loss: Tensor) -> bool:
        """Whether this, another look at the same memory included, is what the last layer gave.

        Args:
            given: what a loss function was given.
            loss: what it made of it.
        """
        if self.closed:
            return False
        for part, reference in self._first.items():
            output = reference()
            if output is not None and (given is output or _is_look(given, output)):
                self.last = part if self.last is None else self.last
                self._loss = loss.grad_fn if part is self.last else self._loss
                return part is self.last
        return False

    def is_all_of(self, loss: Tensor) -> bool:
        """Whether the loss that is back-propagated now is that function's result, or its multiple.

        A second one in the same step is another.
        """
        own, self._loss = self._loss, None
        node: Any = loss.grad_fn
        for _ in range(_MOST):
            if node is None or own is None:
                return False
            if node is own:
                return True
            ahead = before(node)
            if len(ahead) != 1 or kind_of(node) not in _SCALED:
                return False
            node = ahead[0]
        return False

    @property
    def calls(self) -> int:
        """How often the last layer was called; 0 where it is not known, or was not."""
        return self._calls.get(self.last, 0) if self.last is not None else 0


def _is_look(given: Tensor, output: Tensor) -> bool:
    return (
        given.numel() == output.numel()
        and given.untyped_storage().data_ptr() == output.untyped_storage().data_ptr()
    )

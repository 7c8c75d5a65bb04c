"""Forwards of a step that no training goes through, known by the shape of what the model is given.

An agent acts before it learns: it calls its model with one state, gradients on, and throws them
away; the batch that it learns from comes later in the step. What is copied of a step is its first
forward, which is then the wrong one.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from deadband.layers import first_tensor

Shape = tuple[int, ...]
_TIMES = 2
"""Samples in a row in which the weights got a gradient and the output none: one may be a batch that
the user dropped."""
_ALL = 1 << 30
FEWER = 4
"""Times as many rows are trained on at once as an agent is asked about: one a place it plays in."""


class ActingForwards:
    """Learns which forwards of one model are passed over."""

    def __init__(self) -> None:
        self.came = False
        """Whether the output of the forward that is copied got a gradient."""
        self._to_pass: Counter[Shape] = Counter()
        """How many of each shape."""
        self._passed: Counter[Shape] = Counter()
        """So many were, in this step."""
        self._given: Shape | None = None
        self._times = 0
        self._asked = _ALL
        """Fewest rows that were given without gradients."""

    def begin(self) -> None:
        """A sampled step begins."""
        self._given, self.came = None, False
        self._passed.clear()

    def asked(self, args: Any) -> None:
        """The model is called without gradients."""
        tensor = first_tensor(args)
        if tensor is not None and tensor.ndim and not tensor.is_nested:
            self._asked = min(self._asked, tensor.shape[0])

    def is_of_agent(self, rows: int) -> bool:
        """Whether such calls are of far fewer rows than one that is trained on."""
        return FEWER * self._asked <= rows

    def passes(self, args: Any) -> bool:
        """Whether a forward with these arguments is none to copy."""
        if not self._to_pass:
            return False
        tensor = first_tensor(args)
        shape = None if tensor is None else tensor.shape
        if shape is None or not self._passed[shape] < self._to_pass[shape]:
            return False
        self._passed[shape] += 1
        return True

    def entered(self, tensor: Any) -> None:
        """A forward with this as its input is copied; None where its input is not known."""
        self._given = None if tensor is None else tensor.shape

    def finish(self, *, trained: bool) -> None:
        """A step of several forwards is over; trained: the weights got a gradient."""
        if not trained:
            return
        if self._given is None:
            # Training goes through one of those that were passed over: the last of them, most
            # often. Where their number changes, too, the first is as good as any.
            for shape, passed in self._passed.items():
                self._to_pass[shape] = passed - 1 if self._to_pass[shape] == _ALL else 0
        elif self.came:
            self._times = 0
        elif self._given not in self._to_pass:
            self._times += 1
            if self._times == _TIMES:
                self._times = 0
                self._to_pass[self._given] = _ALL

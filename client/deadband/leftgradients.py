"""Gradients that lie at the weights when a backward begins: those of a forgotten `zero_grad`."""

from __future__ import annotations

import weakref
from collections.abc import Iterable

import torch
from torch import Tensor

from deadband.batches import Batch
from deadband.shards import local_of
from deadband.weights import WeightTap

MOST_LEFT = 8
"""Weights whose old gradients are copied: one is enough to see that `zero_grad` is missing."""


class LeftGradients:
    """Gradients that lie at the weights of one model when its backward begins.

    Whether a gradient was there already is known before any node has run. It is copied when the
    gradient of the model's output arrives: only then is it certain that this backward is the
    model's own. What another term of the loss (a penalty on the weights) has added in between is
    told by the version of the tensor, and left out.

    A step may take several derivatives before it clears (of its inputs, for forces or attacks):
    what was found is withdrawn where the tensor is not there any more when the optimiser steps, and
    copied anew where it is another by the time of a later backward. What a derivative that does not
    concern the weights found counts where nothing but one addition has come to it since.
    """

    __slots__ = ("_copied", "_in_passing", "_known", "_looks", "_noted", "taken")

    def __init__(self) -> None:
        self._known = False
        self._noted: list[tuple[int, int] | None] = []
        self._copied: dict[int, tuple[weakref.ref[Tensor], tuple[int, int] | None]] = {}
        """By place: which tensor, and in which state."""
        self._in_passing = False
        """Whether they were copied in a backward that leaves the weights alone."""
        self._looks = 0
        self.taken = False
        """Whether this step's have been looked at: only its first backward counts."""

    def begin(self) -> None:
        """A sampled step begins."""
        self.taken = self._known = self._in_passing = False
        self._looks = 0
        self._copied.clear()

    @property
    def found(self) -> bool:
        """Something was there."""
        return bool(self._copied)

    def note(self, taps: Iterable[WeightTap]) -> None:
        """A backward begins."""
        self._known = True
        self._noted = [
            None if (gradient := tap.table[tap.weight].grad) is None else _state(gradient)
            for tap in taps
        ]

    def copy(self, taps: list[WeightTap], *, reached: bool = False) -> None:
        """The gradient of the model's output is here.

        Of a model that is called by its parts only those weights count that this backward reaches.
        """
        # `autograd.grad` asks for other derivatives than those of the weights.
        self.taken = self._known or any(_is_reached(tap.table[tap.weight]) for tap in taps)
        self._in_passing = not self.taken
        for place in self._copied:
            self._withdraw(taps[place])
        self._copied.clear()
        if self._known and not any(self._noted):
            return  # none was there: so it is in most loops
        batch = Batch()
        for place, tap in enumerate(taps):
            gradient = tap.table[tap.weight].grad
            if gradient is None or gradient.layout is not torch.strided:
                continue
            if reached and not _is_reached(tap.table[tap.weight]):
                continue
            state = _state(gradient)
            if not self._known or (place < len(self._noted) and self._noted[place] == state):
                tap.copy_left(batch, gradient)
                self._copied[place] = weakref.ref(gradient), state
        batch.copy()

    def look_again(self, taps: list[WeightTap]) -> None:
        """The gradient of a further output is here: of another forward of the same step."""
        self._looks += 1
        if not self._copied or self._looks > _MOST_LOOKS:
            return
        self.check(taps)
        batch = Batch()
        for place, (known, state) in list(self._copied.items()):
            gradient = known()
            if gradient is None or state == (now := _state(gradient)):
                continue
            tap = taps[place]
            if tap.left is not None:
                tap.left.filled = False
            tap.copy_left(batch, gradient)
            self._copied[place] = known, now
        batch.copy()

    def check(self, taps: list[WeightTap]) -> None:
        """Withdraw what is not there any more: it was cleared after it had been seen."""
        for place, (known, state) in list(self._copied.items()):
            gradient = known()
            here = gradient is not None and taps[place].table[taps[place].weight].grad is gradient
            if gradient is not None and here and self._in_passing:
                here = state is not None and _state(gradient) == (state[0], state[1] + 1)
            if not here:
                self._withdraw(taps[place])
                del self._copied[place]

    def retract(self, taps: list[WeightTap]) -> None:
        """The same output's gradient came again, so the first time was not the step's backward.

        `autograd.grad` for a term of the loss comes ahead of `zero_grad`: what lay there then says
        nothing.
        """
        for tap in taps:
            self._withdraw(tap)
        self._copied.clear()

    @staticmethod
    def _withdraw(tap: WeightTap) -> None:
        if tap.left is not None:
            tap.left.filled = False


_MOST_LOOKS = 8
"""Further outputs of one step that are looked at."""
_will_run = getattr(torch._C, "_will_engine_execute_node", None)


def _is_reached(parameter: Tensor) -> bool:
    """Whether the backward that runs now adds to the gradient of this leaf."""
    if _will_run is None or not parameter.requires_grad or not parameter.is_leaf:
        return False
    with torch.enable_grad():
        view = parameter.view_as(parameter).grad_fn
    return view is not None and bool(_will_run(view.next_functions[0][0]))


def _state(gradient: Tensor) -> tuple[int, int] | None:
    if gradient.layout is not torch.strided:
        return None
    gradient = local_of(gradient)
    return gradient.data_ptr(), gradient._version

"""Finds the models of a zero-code run: called in training mode, and held by an optimiser."""

from __future__ import annotations

import functools
import gc
import sys
import weakref
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from deadband import compiling, losscalls, settings
from deadband.hooks import gate_entry
from deadband.identity import identify
from deadband.watching import Watch

MOST_LOOKS = 10_000
"""Calls of modules after which what is still missing is not looked for any more."""


class Discovery:
    """Looks on from the import of torch until every optimiser's model is found."""

    def __init__(self) -> None:
        self.watch: Watch | None = None
        self._optimisers: list[weakref.ref[Optimizer]] = []
        self._found: set[int] = set()
        """Ids of the parameters of the models that are watched."""
        self._looks = 0
        self._gate = gate_entry(self._called)
        self._gate.put()
        self._steps: Any = None
        """The handle of the hook that waits for an optimiser's step where models are compiled."""
        self._awaits_step = False
        compiling.listen(self._compile_begins)
        # From the start, though nothing is to be heard yet: code that is compiled around a loss
        # would be compiled again if the loss function changed later.
        losscalls.listen(self)
        self._original = Optimizer.__init__
        self._listen_to_optimisers()

    def close(self) -> None:
        """Look for nothing any more; what was found is let go of."""
        self._look_no_more()
        if self._steps is not None:
            self._steps.remove()
        compiling.ignore(self._compile_begins)
        losscalls.ignore(self)
        Optimizer.__init__ = self._original  # type: ignore[method-assign]
        if self.watch is not None:
            self.watch.close()

    def heard(self, call: losscalls.LossCall) -> None:
        """A loss was computed without gradients: the watch's business."""

    def _listen_to_optimisers(self) -> None:
        original = self._original

        @functools.wraps(original)
        def init(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            self._optimisers.append(weakref.ref(optimizer))
            self._looks = 0
            self._look()

        Optimizer.__init__ = init  # type: ignore[method-assign, assignment]

    def _look(self) -> None:
        """Wait for a model's call, or for an optimiser's step where calls may be compiled."""
        if not compiling.in_play():
            self._gate.put()
            return
        self._awaits_step = True
        if self._steps is None:
            self._steps = register_optimizer_step_pre_hook(self._about_to_step)

    def _look_no_more(self) -> None:
        self._gate.take()
        self._awaits_step = False  # the hook stays: torch may be walking over the table right now

    def _compile_begins(self) -> None:
        if self._gate.is_in:
            self._gate.take()
            self._look()

    def _about_to_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """An optimiser steps: the models that hold its parameters are found among all objects."""
        if not self._awaits_step:
            return
        try:
            held = _held(optimizer)
            if not held & self._found:
                self._watch_outermost(optimizer, held)
        except Exception:
            self._look_no_more()  # never in the way of training
        if self._all_found():
            self._look_no_more()

    def _watch_outermost(self, optimizer: Optimizer, held: set[int]) -> None:
        candidates = []
        for each in gc.get_objects():
            # The type is asked, not the object: proxies answer for others, and wake up for it.
            if issubclass(type(each), nn.Module) and "_parameters" in vars(each):
                own = {id(parameter) for parameter in each.parameters()}
                if own & held:
                    candidates.append((len(own & held), hasattr(each, "_orig_mod"), each, own))
        if candidates:
            _, _, module, own = max(candidates, key=lambda each: each[:2])
            self._found_one(module, own, [optimizer])

    def _called(self, module: nn.Module, args: Any) -> None:
        """Some module is called."""
        if torch.compiler.is_compiling():
            return
        if not self._optimisers or not module.training or not torch.is_grad_enabled():
            return
        self._looks += 1
        try:
            self._consider(module, args)
        except Exception:
            self._looks = MOST_LOOKS  # never in the way of training
        if self._looks >= MOST_LOOKS:
            self._look_no_more()

    def _consider(self, module: nn.Module, args: Any) -> None:
        own = {id(each) for each in module.parameters() if each.requires_grad}
        if not own or own <= self._found:
            return
        holders = [
            optimizer
            for reference in self._optimisers
            if (optimizer := reference()) is not None and own & _held(optimizer)
        ]
        if not holders:
            return
        self._found_one(module, own, holders)
        assert self.watch is not None
        self.watch.forward_of(module, args)
        if self._all_found():
            self._look_no_more()

    def _found_one(self, module: nn.Module, own: set[int], holders: list[Optimizer]) -> None:
        name = _variable_name(module) or type(_plain(module)).__name__.lower()
        if self.watch is None:
            self.watch = self._open(name, module, holders)
        else:
            self.watch.join(name, module, holders)
        self._found |= own

    def _all_found(self) -> bool:
        living = [each for reference in self._optimisers if (each := reference()) is not None]
        return all(_held(each) & self._found for each in living)

    def _open(self, name: str, module: nn.Module, holders: list[Optimizer]) -> Watch:
        title, run = identify()
        return Watch(
            {name: module},
            holders,
            name=title,
            run=run,
            settings=settings.from_environment(),
            by_optimiser=True,
        )


def _held(optimizer: Optimizer) -> set[int]:
    return {id(each) for group in optimizer.param_groups for each in group["params"]}


def _plain(module: nn.Module) -> nn.Module:
    plain = getattr(module, "_orig_mod", module)
    return plain if isinstance(plain, nn.Module) else module


def _variable_name(module: nn.Module) -> str:
    """What the script calls the module: a variable of its top level, or of a function that runs."""
    places = [vars(sys.modules["__main__"])]
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_globals.get("__name__") == "__main__":
            places.append(frame.f_locals)
    for place in places:
        for name, value in list(place.items()):
            if value is module and not name.startswith("_"):
                return name
    return ""

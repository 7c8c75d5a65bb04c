"""Finds the models of a zero-code run: called in training mode, and held by an optimiser."""

from __future__ import annotations

import functools
import sys
import weakref
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from deadband import settings
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
        self._original = Optimizer.__init__
        self._listen_to_optimisers()

    def close(self) -> None:
        """Look for nothing any more; what was found is let go of."""
        self._gate.take()
        Optimizer.__init__ = self._original  # type: ignore[method-assign]
        if self.watch is not None:
            self.watch.close()

    def _listen_to_optimisers(self) -> None:
        original = self._original

        @functools.wraps(original)
        def init(optimizer: Optimizer, *args: Any, **kwargs: Any) -> None:
            original(optimizer, *args, **kwargs)
            self._optimisers.append(weakref.ref(optimizer))
            self._looks = 0
            self._gate.put()

        Optimizer.__init__ = init  # type: ignore[method-assign, assignment]

    def _called(self, module: nn.Module, args: Any) -> None:
        """Some module is called."""
        if not self._optimisers or not module.training or not torch.is_grad_enabled():
            return
        self._looks += 1
        try:
            self._consider(module, args)
        except Exception:
            self._looks = MOST_LOOKS  # never in the way of training
        if self._looks >= MOST_LOOKS:
            self._gate.take()

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
        name = _variable_name(module) or type(_plain(module)).__name__.lower()
        if self.watch is None:
            self.watch = self._open(name, module, holders)
        else:
            self.watch.join(name, module, holders)
        self._found |= own
        self.watch.forward_of(module, args)
        living = [each for reference in self._optimisers if (each := reference()) is not None]
        if all(_held(each) & self._found for each in living):
            self._gate.take()

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

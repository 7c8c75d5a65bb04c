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
from deadband.errors import CannotWatch
from deadband.hooks import gate_entry
from deadband.identity import identify
from deadband.watching import Watch

MOST_LOOKS = 10_000
"""Calls of modules after which what is still missing is not looked for any more."""
MOST_STRAYS = 16
"""Modules that are remembered which no optimiser holds."""
STRAY_STEPS = 2
"""Steps of an optimiser without a model of its own, before the one that got gradients is taken for
the one that it was meant for: the first step of a warm-up may have none."""
UNCALLED_STEPS = 3
"""Steps of an optimiser after which a model whose parameters have gradients will not be called."""


class Discovery:
    """Looks on from the import of torch until every optimiser's model is found.

    An optimiser may hold another model's parameters than those that are trained (a model that was
    built anew, a copy): then the model that got the gradients is watched, which do not reach it.

    Args:
        late: training goes on already. Its optimisers are found among all objects, and its models
            from the next step on: in the middle of one, the first call to be seen may be that of
            a layer.
    """

    def __init__(self, *, late: bool = False) -> None:
        self.late = late
        self.watch: Watch | None = None
        self._optimisers: list[weakref.ref[Optimizer]] = []
        self._found: set[int] = set()
        """Ids of the parameters of the models that are watched."""
        self._strays: list[weakref.ref[nn.Module]] = []
        """Outermost modules that were called in eval mode, or that no optimiser holds."""
        self._bare_steps: dict[int, int] = {}
        """Steps of an optimiser whose model was not found, by its id."""
        self._answered: set[int] = set()
        """Ids of optimisers that were given one of those."""
        self._looks = 0
        self._gate = gate_entry(self._called)
        if not late:
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
        self._awaits_boundary = late
        """Whether the step that is under way is to end before a model is looked for."""
        if late:
            self._optimisers = [weakref.ref(each) for each in _living_optimisers()]
            if not self._optimisers:
                self.close()
                raise CannotWatch("no torch optimiser lives there, so nothing trains there yet")
            self._steps = register_optimizer_step_pre_hook(self._about_to_step)

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
        if self._steps is None:
            self._steps = register_optimizer_step_pre_hook(self._about_to_step)
        if not compiling.in_play():
            self._gate.put()
            return
        self._awaits_step = True

    def _look_no_more(self) -> None:
        self._gate.take()
        self._awaits_step = False  # the hook stays: torch may be walking over the table right now

    def _compile_begins(self) -> None:
        if self._gate.is_in:
            self._gate.take()
            self._look()

    def _about_to_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """An optimiser steps: the models that hold its parameters are found among all objects."""
        if self._awaits_boundary:
            self._awaits_boundary = False
            self._look()
            return
        if not (self._awaits_step or self._strays or self._gate.is_in):
            return
        try:
            held = _held(optimizer)
            if held & self._found or id(optimizer) in self._answered:
                return
            if self._awaits_step:
                self._watch_outermost(optimizer, held)
            else:
                self._watch_uncalled(optimizer, held)
        except Exception:
            self._look_no_more()  # never in the way of training
        if self._all_found():
            self._look_no_more()

    def _watch_uncalled(self, optimizer: Optimizer, held: set[int]) -> None:
        """No module that it trains was called, as far as is known."""
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        got = {id(each) for each in parameters if each.grad is not None}
        steps = self._bare_steps[id(optimizer)] = self._bare_steps.get(id(optimizer), 0) + 1
        if steps < STRAY_STEPS:
            return
        self._watch_stray(optimizer, got)
        unanswered = id(optimizer) not in self._answered and self._gate.is_in
        if got and steps == UNCALLED_STEPS and unanswered:
            # Gradients came by another way than a call: model.forward(x), which runs no hook.
            self._watch_outermost(optimizer, held)

    def _watch_stray(self, optimizer: Optimizer, got: set[int]) -> None:
        """Of the modules that were called, one got gradients: it trains in eval mode, or should.

        Either the optimiser holds them, or it holds no gradient at all: the wrong parameters. Who
        optimises an input of a network that is left alone holds the input's gradient.
        """
        for reference in self._strays:
            module = reference()
            if module is None:
                continue
            own = {id(each) for each in module.parameters()}
            reached = {id(each) for each in module.parameters() if each.grad is not None}
            if reached and (reached & got or not got):
                self._answered.add(id(optimizer))
                self._found_one(module, own, [optimizer])
                return

    def _note_stray(self, module: nn.Module) -> None:
        """A module is called that is not trained as far as is known."""
        if next(module.parameters(), None) is None:
            return
        for reference in self._strays:
            known = reference()
            if known is not None and any(each is module for each in known.modules()):
                return
        if len(self._strays) < MOST_STRAYS:
            self._strays.append(weakref.ref(module))

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
        if not self._optimisers or not torch.is_grad_enabled():
            return
        self._looks += 1
        try:
            if module.training:
                self._consider(module, args)
            else:
                self._note_stray(module)  # perhaps evaluated, perhaps trained in eval mode
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
            self._note_stray(module)
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
        return all(id(each) in self._answered or _held(each) & self._found for each in living)

    def _open(self, name: str, module: nn.Module, holders: list[Optimizer]) -> Watch:
        title, run = identify()
        return Watch(
            {name: module},
            holders,
            name=title,
            run=run,
            settings=settings.from_environment(),
            by_optimiser=True,
            steps_before=_steps_taken(self._optimisers) if self.late else None,
        )


def _living_optimisers() -> list[Optimizer]:
    # The type is asked, not the object: proxies answer for others, and wake up for it.
    return [each for each in gc.get_objects() if issubclass(type(each), Optimizer)]


def _steps_taken(optimisers: list[weakref.ref[Optimizer]]) -> int:
    """Steps that the optimisers remember to have taken; 0 where one of them does not count.

    Those of Adam's family count, in a tensor of the processor's unless they are fused; SGD does
    not. A device is not waited for.
    """
    taken = 0
    for reference in optimisers:
        optimizer = reference()
        if optimizer is None or not optimizer.state:
            continue
        steps = [state.get("step") for state in optimizer.state.values()]
        known = [
            int(each)
            for each in steps
            if isinstance(each, int | float) or (isinstance(each, torch.Tensor) and each.is_cpu)
        ]
        if not known:
            return 0
        taken += max(known)
    return taken


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

"""The optimisers of a run: what they hold, how they are set, and when they step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from deadband.hooks import HookEntry
from deadband.wire import OptimizerGroup

_OTHER_DECAY = 2.0
"""Factor between two weight decays from which a run is told of the other."""
Stepped = Callable[[Optimizer, bool], None]
"""Called with the optimiser and whether its step was given a closure."""


class Optimisers:
    """Listens to the steps of the optimisers it was given, or of all that hold our parameters.

    Args:
        given: the user's optimisers; empty: whichever comes that holds one of our parameters.
        ours: ids of the watched models' parameters.
        before: called ahead of a step.
        after: called behind it.
        changed: called when more of them are known.
    """

    def __init__(
        self,
        given: Iterable[Optimizer],
        *,
        ours: Callable[[], set[int]],
        before: Stepped,
        after: Stepped,
        changed: Callable[[], None],
    ) -> None:
        self._kept: list[Optimizer] = list(given)
        self.given = bool(self._kept)
        self._found: list[weakref.ref[Optimizer]] = []
        """Nobody gave them. One that is made anew for each call or epoch, and left, is gone for us
        as well: its moments weigh twice what the model does."""
        self._newest: Optimizer | None = None
        """The last of those that were found; it may be out of scope when its step is over."""
        self._described: tuple[OptimizerGroup, ...] = ()
        self._decays: list[float] = []
        """Weight decay of every group, as the plan says."""
        self.steps = 0
        """Steps of all of them so far."""
        self._ours = ours
        self._before = before
        self._after = after
        self._changed = changed
        self._strangers: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._held: set[int] = set()
        """Ids of the parameters that known optimisers hold ..."""
        self._places: list[tuple[int, int]] = []
        """... when their lists were these."""
        self._hooks: list[HookEntry] = []
        self.listening = True
        """Whether steps are heard of now."""
        if self.given:
            for optimizer in self._kept:
                self._listen(optimizer)
        else:
            self._add_hook(register_optimizer_step_pre_hook, self._about_to_step)
            self._add_hook(register_optimizer_step_post_hook, self._has_stepped)

    def add(self, optimizers: Iterable[Optimizer]) -> None:
        """More of them were found."""
        for optimizer in optimizers:
            if not any(each is optimizer for each in self.known):
                self._kept.append(optimizer)
                self._changed()
                if self.given:
                    self._listen(optimizer)

    @property
    def known(self) -> list[Optimizer]:
        """Those that are listened to, and are still there."""
        found = [optimizer for each in self._found if (optimizer := each()) is not None]
        return [*self._kept, *found]

    def _find(self, optimizer: Optimizer) -> None:
        """One more, perhaps in place of one that is gone."""
        self._newest = optimizer
        self._found = [each for each in self._found if each() is not None]
        self._found.append(weakref.ref(optimizer))
        groups = self.groups()
        if groups != self._described or len(self._found) > 1:
            self._described = groups
            self._changed()

    def _listen(self, optimizer: Optimizer) -> None:
        self._add_hook(optimizer.register_step_pre_hook, self._about_to_step)
        self._add_hook(optimizer.register_step_post_hook, self._has_stepped)

    def _add_hook(self, register: Callable[..., Any], hook: Callable[..., None]) -> None:
        handle = register(hook)
        table = handle.hooks_dict_ref()
        self._hooks.append(HookEntry(table, handle.id, hook))
        if not self.listening:
            self._hooks[-1].take()

    def listen(self) -> None:
        """Hear of steps from now on."""
        if not self.listening:
            self.listening = True
            for hook in self._hooks:
                hook.put()

    def pause(self) -> None:
        """Hear of none for a while: nobody counts by them, and a hook costs every step."""
        if self.listening:
            self.listening = False
            for hook in self._hooks:
                hook.take()

    def close(self) -> None:
        """Listen no more."""
        self.pause()
        self._hooks.clear()

    def holds(self, parameter: Any) -> bool:
        """Whether a known optimiser holds the parameter; True where none is known."""
        known = self.known
        if not known:
            return True
        groups = [group["params"] for optimizer in known for group in optimizer.param_groups]
        places = [(id(each), len(each)) for each in groups]
        if places != self._places:
            self._places = places
            self._held = {id(each) for group in groups for each in group}
        return id(parameter) in self._held

    def groups(self) -> tuple[OptimizerGroup, ...]:
        """Every parameter group as it is set now."""
        groups = tuple(
            _described(optimizer, group)
            for optimizer in self.known
            for group in optimizer.param_groups
        )
        self._decays = [group.weight_decay for group in groups]
        return groups

    @property
    def decay_anew(self) -> bool:
        """Whether a weight decay is another than the plan says, by a factor that matters."""
        now = [
            _figure(group.get("weight_decay"))
            for optimizer in self.known
            for group in optimizer.param_groups
        ]
        return now != self._decays and any(
            one != told and max(one, told) >= _OTHER_DECAY * min(one, told)
            for one, told in zip(now, self._decays, strict=False)
        )

    def learning_rates(self) -> dict[str, float]:
        """`lr` of the first group, `lr/1` of the second, over all optimisers."""
        groups = [group for optimizer in self.known for group in optimizer.param_groups]
        return {
            f"lr/{index}" if index else "lr": _figure(group.get("lr"))
            for index, group in enumerate(groups)
        }

    def _recognised(self, optimizer: Optimizer) -> bool:
        if optimizer is self._newest or any(each is optimizer for each in self.known):
            return True
        if self.given or optimizer in self._strangers:
            return False
        ours = self._ours()
        if any(id(each) in ours for group in optimizer.param_groups for each in group["params"]):
            self._find(optimizer)
            return True
        self._strangers.add(optimizer)
        return False

    def _about_to_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._recognised(optimizer):
            self._before(optimizer, _has_closure(args, kwargs))

    def _has_stepped(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._recognised(optimizer):
            self.steps += 1
            self._after(optimizer, _has_closure(args, kwargs))


def _has_closure(args: Any, kwargs: Any) -> bool:
    return any(map(callable, args[1:])) or callable(kwargs.get("closure"))


def _described(optimizer: Optimizer, group: dict[str, Any]) -> OptimizerGroup:
    betas = group.get("betas") or (0.0, 0.0)
    return OptimizerGroup(
        optimizer=type(optimizer).__name__,
        lr=_figure(group.get("lr")),
        momentum=_figure(group.get("momentum")),
        weight_decay=_figure(group.get("weight_decay")),
        eps=_figure(group.get("eps")),
        betas=(_figure(betas[0]), _figure(betas[1])),
    )


def _figure(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return 0.0

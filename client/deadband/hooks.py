"""Hook entries that are made once and put in only while a sampled forward runs.

Registering a handle costs 6 µs a module, a store into the dictionary that it names 0.3 µs. Between
steps no model holds an entry, so `state_dict`, `deepcopy`, `pickle` and `torch.compile` find the
model as it was.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

NOTHING = (getattr, (nullcontext(), "__exit__"))
"""What a hook of ours is copied and pickled as: a function that takes anything and does nothing.

A model may be copied or saved in the middle of a sampled forward. Its copy must not take us along,
and where it is loaded nobody needs to know of deadband.
"""


class HookEntry:
    """One hook and the dictionaries that it goes into."""

    __slots__ = ("_flags", "_hook", "_key", "_table", "put", "take")
    put: Callable[[], None]
    """From the next call on, the hook is called."""
    take: Callable[[], Any]
    """The module is as it was."""

    def __init__(
        self, table: dict[int, Any], key: int, hook: Any, flags: tuple[dict[int, Any], ...] = ()
    ) -> None:
        self._table = table
        self._key = key
        self._hook = hook
        self._flags = flags
        # Most have one table: then no line of Python runs, at no layer of a sampled step.
        self.put = self._put if flags else partial(table.__setitem__, key, hook)
        self.take = self._take if flags else partial(table.pop, key, None)

    @property
    def is_in(self) -> bool:
        """Whether it has been put in."""
        return self._key in self._table

    def retire(self) -> None:
        """Taken for good: what is still being called as the watch ends puts nothing back."""
        self.take()
        self.put = _do_nothing

    def _put(self) -> None:
        self._table[self._key] = self._hook
        for flag in self._flags:
            flag[self._key] = True

    def take_while_called(self) -> None:
        """The same from within the call of the hook behind an error: torch still walks the table.

        An ordered dictionary forgives that for its last entry only, which is ours unless the
        forward itself registered a hook; then ours is left for later.
        """
        table = self._table
        if isinstance(table, OrderedDict) and table and next(reversed(table)) == self._key:
            self.take()

    def _take(self) -> None:
        if self._key not in self._table:
            return
        self._table.pop(self._key, None)
        for flag in self._flags:
            flag.pop(self._key, None)


def _do_nothing() -> None:
    """Put nothing in."""


def new_key() -> int:
    """A key that torch gives to none of its handles; good for one hook in each of many modules."""
    return int(RemovableHandle(OrderedDict()).id)


def leaf_entry(module: nn.Module, hook: Callable[..., None], key: int) -> HookEntry:
    """An entry for `hook(module, args, output)`, not put in."""
    # Not by way of `register_forward_hook`: 6 µs, and scripted modules refuse it.
    return HookEntry(module._forward_hooks, key, hook)


def root_entry(module: nn.Module, hook: Callable[..., None]) -> HookEntry:
    """An entry for `hook(module, args, kwargs, output)`, called on exceptions too; not put in."""
    handle = nn.Module.register_forward_hook(module, hook, with_kwargs=True, always_call=True)
    handle.remove()
    flags = (module._forward_hooks_with_kwargs, module._forward_hooks_always_called)
    entry = HookEntry(module._forward_hooks, handle.id, Behind(hook), flags)
    entry.take()
    return entry


def pre_entry(module: nn.Module, hook: Callable[..., None]) -> HookEntry:
    """An entry for `hook(module, args)` ahead of one module's forward, not put in."""
    handle = nn.Module.register_forward_pre_hook(module, hook)
    handle.remove()
    return HookEntry(module._forward_pre_hooks, handle.id, Waiting(hook))


class Behind:
    """A hook behind a model's forward; a copy of the model gets none of it."""

    def __init__(self, hook: Callable[..., None]) -> None:
        self._hook = hook

    def __call__(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """The model was called."""
        self._hook(module, args, kwargs, output)

    def __reduce__(self) -> tuple[Any, ...]:
        return NOTHING


class Waiting:
    """A pre-hook that waits in a model between steps; a copy of the model gets none of it."""

    def __init__(self, hook: Callable[..., None]) -> None:
        self._hook = hook

    def __call__(self, module: nn.Module, args: Any) -> None:
        """The model is called."""
        self._hook(module, args)

    def __reduce__(self) -> tuple[Any, ...]:
        return NOTHING


def gate_entry(hook: Callable[..., None]) -> HookEntry:
    """An entry for `hook(module, args)` ahead of any module's forward, not put in.

    It lies in torch's own table, not in a model: what waits for a forward leaves no trace in it.
    """
    handle = register_module_forward_pre_hook(hook)
    table = handle.hooks_dict_ref()
    handle.remove()
    assert table is not None
    return HookEntry(table, handle.id, hook)

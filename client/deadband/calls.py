"""What layers show when they are called: slices of outputs and of the gradients that follow.

Hooks copy and compute nothing, and nothing here ever raises into training: a fault is counted, and
its text kept for the hub.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from deadband import attention, layers
from deadband.cells import Cell, make_cell
from deadband.descriptions import function_layer, module_layer
from deadband.functional import copy_attention
from deadband.gradients import await_gradient
from deadband.norms import copy_input
from deadband.recorder import Entry, Recorder
from deadband.regions import INPUT, LAYER, OUTPUT, Layout, Limits
from deadband.roots import Applied, Probe, Root
from deadband.shards import is_sum, local_of
from deadband.tensors import in_transform, is_solid, numbers, outside, unwrapped
from deadband.wire import MOST_CALLS, What

_ACTIVATION, _ACTIVATION_GRAD = What.ACTIVATION, What.ACTIVATION_GRAD  # looked up at every call
MOST_FUNCTIONAL = 256
"""Functional activations that are followed in one model."""


class LayerCapture:
    """Copies what layers give in a sampled step.

    Args:
        recorder: owns cells and layers.
        holds: whether an optimiser holds the parameter.
    """

    def __init__(self, recorder: Recorder, holds: Callable[[Any], bool]) -> None:
        self.recorder = recorder
        self.armed = False
        self.generation = 0
        """Counts sampled steps: a gradient that comes after its step is nobody's."""
        self.spent_s = 0.0
        """Time that hooks took since the step began."""
        self.faults = 0
        self.fault = ""
        self._holds = holds
        self._stack: list[Root] = []
        """Roots whose forward runs, innermost last."""

    def follow_gradient(self, entry: Entry, tensor: Tensor) -> None:
        """Copy the gradient of a tensor that the user showed, when it comes."""
        if tensor.requires_grad:
            cell = self._cell_of(entry.cells, What.ACTIVATION_GRAD, tensor, LAYER, entry.layout)
            self._hook_gradient(tensor, cell)

    def _await_backward(self, root: Root, tensor: Tensor) -> None:
        """A model that is called by its parts: any of their gradients tells that it begins."""
        raise NotImplementedError

    def failed(self, error: Exception) -> None:
        """Count a fault of ours."""
        self.faults += 1
        self.fault = f"{type(error).__name__}: {error}"[:300]

    # --- Layers ----------------------------------------------------------------------------------

    def layer_called(self, probe: Probe, args: Any, output: Any) -> None:
        """A layer's forward hook fired."""
        start = perf_counter()
        try:
            self._layer_gave(probe, args, output)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def called_as_usual(self, probe: Probe, output: Tensor) -> None:
        """A layer's forward hook fired, and all is as it was in the last sample."""
        start = perf_counter()
        try:
            assert probe.usual is not None
            root = probe.root
            root.beyond = False
            root.previous, cell, gradient = probe.usual
            if not cell.filled:
                cell.take(output)
                await_gradient(output, partial(self._gradient_came, gradient, self.generation))
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def _layer_gave(self, probe: Probe, args: Any, output: Any) -> None:
        root = probe.root
        tensor = output if type(output) is Tensor else layers.first_tensor(output)
        if not root.inside and not root.rootless:
            self._recomputed(probe, tensor)
            return
        call, probe.calls = probe.calls, probe.calls + 1
        root.beyond = call >= MOST_CALLS
        if root.rootless and tensor is not None and tensor.requires_grad:
            root.given.note(probe, tensor)
        if tensor is None or root.beyond or (call and root.rootless):
            return
        if root.rootless and tensor.requires_grad:
            self._await_backward(root, tensor)
        inner = self._own_function(root, tensor) if root.last_function is not None else ""
        entry = probe.entries[call] if call < len(probe.entries) else self._new_call(probe, call)
        if inner and not layers.activation_of(probe.module):
            entry.describe = partial(module_layer, entry, probe.module, self._holds, inner)
        self._copy_activation(root, entry, probe.module, tensor)
        if not tensor.requires_grad and not torch.is_grad_enabled():
            root.blind.setdefault(probe, []).append(entry)
        if root.transformed:
            return
        if probe.is_norm and not call:
            copy_input(entry, args)
        elif probe.attends:
            copy_attention(entry, root.mode, output)
        elif tensor is output and not call:
            self._note_usual(probe, entry, output)

    @staticmethod
    def _note_usual(probe: Probe, entry: Entry, output: Tensor) -> None:
        """From the next sample on the shortest way is taken, where all is as it was in this one."""
        cell, gradient = entry.cells.get(_ACTIVATION), entry.cells.get(_ACTIVATION_GRAD)
        probe.usual = None
        if (
            type(output) is Tensor
            and output.is_floating_point()
            and output.layout is torch.strided
            and cell is not None
            and gradient is not None
        ):
            probe.usual, probe.dtype = (entry, cell, gradient), output.dtype

    def _function_called(self, name: str, result: Tensor) -> None:
        """A functional activation was applied in a root's forward."""
        start = perf_counter()
        try:
            root = self._stack[-1] if self._stack else None
            if root is not None and not root.beyond:
                key = self._function_key(root, name)
                if key not in root.by_function:
                    root.by_function[key] = self._new_function(root, key, name)
                entry = root.by_function[key]
                if entry is not None:
                    before = root.previous
                    self._copy_activation(root, entry, None, result)
                    root.last_function = Applied(name, key, entry, before, result)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def _attended(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
    ) -> None:
        """A function that may be attention was applied in a root's forward."""
        start = perf_counter()
        dotted = name == attention.NAME
        try:
            root = self._stack[-1] if self._stack else None
            if root is None or root.beyond:
                return
            attends = not root.transformed and (
                len(args) > 1 if dotted else attention.is_attention(args, kwargs, result)
            )
            if not (attends or dotted) and attention.is_choice(args, kwargs, result):
                self._function_called(name, result)
                return
            if attends:
                key = self._function_key(root, "attention")
                if key not in root.by_function:
                    root.by_function[key] = self._new_function(root, key, name)
                entry = root.by_function[key]
                if entry is not None and dotted:
                    self._describe_attention(entry, name, attention.options_of(args, kwargs))
                    attention.copy_queries(entry, args[0], args[1])
                elif entry is not None:
                    self._describe_attention(entry, name, {})
                    attention.copy_weights(entry, result)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def _recomputed(self, probe: Probe, tensor: Tensor | None) -> None:
        """A layer is called again in the backward pass, where its output has a gradient.

        Reentrant checkpointing runs a part without gradients first. Which call of several this is
        cannot be told, so only layers that were called once are followed.
        """
        blind = probe.root.blind.get(probe)
        if blind is None or len(blind) != 1 or tensor is None or not tensor.requires_grad:
            return
        if torch._C._current_graph_task_id() == -1:
            return  # no backward pass: the next of several forwards
        entry = blind.pop()
        shown = numbers(tensor)
        if shown is not None:
            cell = self._cell_of(entry.cells, What.ACTIVATION_GRAD, shown, LAYER, entry.layout)
            self._hook_gradient(tensor, cell)

    def _describe_attention(self, entry: Entry, kind: str, options: dict[str, float]) -> None:
        if entry.order == math.inf:
            self.recorder.executed(entry)
            entry.describe = attention.AttentionLayer(entry, kind, options)

    @staticmethod
    def _function_key(root: Root, name: str) -> tuple[str, str]:
        """The layer it follows, and its name there: numbered from the second on."""
        after = root.previous.name if root.previous is not None else "input"
        key = (after, name)
        count = root.function_calls.get(key, 0)
        root.function_calls[key] = count + 1
        return (after, f"{name}:{count + 1}") if count else key

    def _new_call(self, probe: Probe, call: int) -> Entry:
        """A layer is called for the first time, or once more than ever before."""
        root, name = probe.root, probe.path
        if call:
            # By what came before it, not by its own number: that holds where calls are skipped.
            before = root.previous.name if root.previous is not None else "input"
            name = f"{name}@{before.partition('@')[0].partition(':')[0]}"
            if name in root.names:
                name += f"#{call + 1}"
        entry = self._entry(root, name, probe.module)
        probe.entries.append(entry)
        return entry

    def _new_function(self, root: Root, key: tuple[str, str], name: str) -> Entry | None:
        if len(root.by_function) >= MOST_FUNCTIONAL:
            return None
        full = f"{key[0]}:{key[1]}"
        if full in root.names:
            return None
        entry = Entry(name=full, model=root.name)
        entry.describe = partial(function_layer, entry, name)
        root.names.add(full)
        self.recorder.add(entry)
        return entry

    def _own_function(self, root: Root, tensor: Tensor) -> str:
        """Name of the function, if the last one was this module's own: `nn.ReLU` calls `F.relu`."""
        last, root.last_function = root.last_function, None
        if last is None or last.result is not tensor:
            return ""
        root.by_function[last.key] = None
        root.previous = last.before
        root.names.discard(last.entry.name)
        self.recorder.drop(last.entry)
        return last.name

    def _copy_activation(
        self, root: Root, entry: Entry, module: nn.Module | None, tensor: Tensor
    ) -> None:
        if root.transformed and in_transform():
            with outside():
                self._copy_activation(root, entry, module, unwrapped(tensor))
            return
        whole = tensor
        if not tensor.is_floating_point() or type(tensor) is not Tensor:
            found = numbers(tensor)
            if found is None:
                return
            tensor = found
        before = root.previous.layout if root.previous is not None else None
        root.previous = entry
        cell = entry.cells.get(_ACTIVATION)
        if cell is None:
            self.recorder.executed(entry)
            if not is_solid(tensor):
                return
            if module is None:
                entry.layout = layers.follow(tensor, before)
            else:
                entry.layout = layers.layout_of(module, tensor, before, root.rows)
            cell = self._cell_of(entry.cells, What.ACTIVATION, tensor, LAYER, entry.layout)
        if cell is None or cell.filled:
            return
        cell.take(local_of(tensor))
        if whole.requires_grad:
            gradient = entry.cells.get(_ACTIVATION_GRAD)
            if gradient is None:
                gradient = self._cell_of(
                    entry.cells, What.ACTIVATION_GRAD, tensor, LAYER, entry.layout
                )
            self._hook_gradient(whole, gradient)

    def _hook_gradient(self, tensor: Tensor, cell: Cell | None) -> None:
        if cell is not None:
            is_odd = tensor.is_complex() or tensor.layout is torch.jagged
            came = self._odd_gradient_came if is_odd else self._gradient_came
            await_gradient(tensor, partial(came, cell, self.generation))

    def _odd_gradient_came(self, cell: Cell, generation: int, gradient: Tensor) -> None:
        found = numbers(gradient)
        if found is not None:
            self._gradient_came(cell, generation, found)

    def _gradient_came(self, cell: Cell, generation: int, gradient: Tensor) -> None:
        if generation != self.generation or not self.armed:
            return
        start = perf_counter()
        try:
            if type(gradient) is Tensor and not cell.filled:
                cell.take(gradient)
            elif not is_sum(gradient):
                gradient = local_of(gradient)
                if cell.filled:
                    cell.add(gradient)
                else:
                    cell.take(gradient)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    # --- Cells and descriptions ------------------------------------------------------------------

    def _model_cell(self, root: Root, what: What, tensor: Tensor) -> None:
        known = root.entry.cells.get(what)
        if (
            known is not None
            and type(tensor) is Tensor
            and tensor.dtype is known.plain
            and not root.transformed
        ):
            if not known.filled:
                known.take(tensor)
            return
        if root.transformed and in_transform():
            with outside():
                self._model_cell(root, what, unwrapped(tensor))
            return
        if tensor.is_complex() or tensor.layout is torch.jagged:
            shown = numbers(tensor)
            if shown is None:
                return
            tensor = shown
        limits = INPUT if what is What.INPUT else OUTPUT
        cell = self._cell_of(root.entry.cells, what, tensor, limits, root.layout_of(what, tensor))
        if cell is not None and not cell.filled:
            cell.take(local_of(tensor))

    def _cell_of(
        self,
        cells: dict[What, Cell],
        what: What,
        tensor: Tensor,
        limits: Limits,
        layout: Layout | None = None,
    ) -> Cell | None:
        cell = cells.get(what)
        if cell is None:
            if not is_solid(tensor):
                return None
            if layout is None:
                layout = Layout.SAMPLES if tensor.ndim == 1 else layers.follow(tensor, None)
            cell = make_cell(what, local_of(tensor), layout, limits)
            if cell is not None:
                cells[what] = cell
        return cell

    def _first_entry(self, probe: Probe) -> Entry:
        """The layer at its first call, which may be still to come."""
        if not probe.entries:
            probe.entries.append(self._entry(probe.root, probe.path, probe.module))
        return probe.entries[0]

    def _entry(self, root: Root, name: str, module: nn.Module) -> Entry:
        while name in root.names:
            name += "'"
        root.names.add(name)
        entry = Entry(name=name, model=root.name)
        entry.describe = partial(module_layer, entry, module, self._holds, "")
        self.recorder.add(entry)
        return entry

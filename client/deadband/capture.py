"""What is copied of torch models on a sampled step: the order of events from forward to update.

Armed, it waits at torch's gate for a training forward of a watched root; then the layers' hooks go
in for that one forward. Hooks copy slices and compute nothing. Nothing here ever raises into
training: a fault is counted, and its text kept for the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from deadband import compiling, layers
from deadband.calls import LayerCapture
from deadband.cells import Cell
from deadband.descriptions import parameter_layer
from deadband.device import on_host
from deadband.functional import FunctionalActivations
from deadband.hooks import gate_entry, pre_entry, root_entry
from deadband.recorder import Entry, ModelEntry, Recorder
from deadband.regions import OUTPUT
from deadband.roots import Probe, Root
from deadband.weights import MOST_LEFT, WeightTap, copy_after, copy_before
from deadband.wire import What

_SCALED = frozenset({What.OUTPUT_GRAD, What.ACTIVATION_GRAD})
_GRADIENTS = _SCALED | {What.WEIGHT_GRAD}


class ModelCapture(LayerCapture):
    """Copies what a sampled step shows of the models.

    Args:
        models: name -> root module.
        recorder: owns cells and layers.
        holds: whether an optimiser holds the parameter.
        knows_optimiser: whether any is known, so that its step will be seen.
        forward_begins: called ahead of the first training forward of an armed step.
    """

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        recorder: Recorder,
        *,
        holds: Callable[[Any], bool],
        knows_optimiser: Callable[[], bool],
        forward_begins: Callable[[], None],
    ) -> None:
        super().__init__(recorder, holds)
        self._knows_optimiser = knows_optimiser
        self._forward_begins = forward_begins
        self._gate = gate_entry(self._at_gate)
        compiling.listen(self.compile_begins)
        self.roots: list[Root] = []
        self._by_id: dict[int, Root] = {}
        for name, module in models.items():
            self.add(name, module)

    def add(self, name: str, module: nn.Module) -> None:
        """Watch one more model, from its next sampled forward on."""
        names = {root.name for root in self.roots}
        while name in names:
            name += "'"
        root = Root(name, module)
        root.exit = root_entry(module, partial(self._forward_done, root))
        root.entry = ModelEntry(name=name, describe=root.described)
        begins = partial(self._compiled_begins, root) if root.plain is not module else self._at_gate
        root.gate = pre_entry(module, begins)
        root.probes = [
            Probe(self.layer_called, root, path, layer)
            for path, layer in layers.find_layers(root.plain)
        ]
        self.recorder.models.append(root.entry)
        self.roots.append(root)
        self._by_id[id(module)] = root

    def enter_late(self, module: nn.Module, args: Any) -> None:
        """The call of a root that has just been added is under way already."""
        root = self._by_id[id(module)]
        if root.plain is not module:
            self._compiled_begins(root, module, args)
        else:
            self._at_gate(module, args)

    def parameter_ids(self) -> set[int]:
        """Ids of the parameters of all watched models."""
        return {id(each) for root in self.roots for each in root.plain.parameters()}

    # --- The course of a sampled step ------------------------------------------------------------

    def arm(self) -> None:
        """The step that begins now is sampled."""
        self.generation += 1
        self.spent_s = 0.0
        self.armed = True
        for root in self.roots:
            self._leave(root)
            root.seen = root.rootless = False
            root.left.begin()
            if compiling.in_play():
                root.look_for_compiled()
        self.await_forward()

    def disarm(self) -> None:
        """The step is over; nothing of ours is left in any model."""
        self.armed = False
        self._gate.take()
        for root in self.roots:
            self._leave(root)
            if root.eval_seen and not root.seen:
                root.takes_eval = True
            root.eval_seen = False

    def close(self) -> None:
        """Listen no more."""
        self.disarm()
        compiling.ignore(self.compile_begins)

    def await_forward(self) -> None:
        """Tell of the next training forward too, though this step has seen its own."""
        if not compiling.in_play():
            self._gate.put()
            return
        for root in self.roots:
            if root.plain is not root.module or not root.compiled:
                root.gate.put()

    def compile_begins(self) -> None:
        """Something is about to be compiled: torch's global table must be empty from now on."""
        if self._gate.is_in:
            self._gate.take()
            self.await_forward()

    def backward_begins(self) -> None:
        """A loss is about to be back-propagated."""
        start = perf_counter()
        try:
            for root in self.roots:
                if root.seen and not root.left.taken:
                    root.left.note(self._taps_of(root)[:MOST_LEFT])
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def _output_gradient(self, root: Root, tensor: Tensor, cell: Cell | None) -> None:
        """Await the gradient of a model's output."""
        generation = self.generation

        def came(gradient: Tensor) -> None:
            if generation == self.generation and self.armed and not root.left.taken:
                self._model_backward(root)
            if cell is not None:
                self._gradient_came(cell, generation, gradient)

        tensor.register_hook(came)

    def _model_backward(self, root: Root) -> None:
        start = perf_counter()
        try:
            root.left.copy(self._taps_of(root)[:MOST_LEFT])
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def before_update(self, optimizer: Optimizer, *, gradients: bool) -> None:
        """An optimiser is about to step."""
        start = perf_counter()
        try:
            copy_before(self._taps(optimizer), gradients=gradients)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def after_update(self, optimizer: Optimizer, *, gradients: bool) -> None:
        """It has stepped; `gradients` where a closure made them within the step."""
        start = perf_counter()
        try:
            copy_after(self._taps(optimizer), gradients=gradients)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def without_update(self, *, left_out: bool) -> None:
        """The step ends, and no optimiser that we know of has stepped in it."""
        start = perf_counter()
        try:
            taps = self._taps(None)
            if left_out:
                copy_before(taps, gradients=False)
            copy_after(taps, gradients=not left_out)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def drop_gradients(self) -> None:
        """They overflowed under the scale of a GradScaler: they say nothing of the run."""
        for cell in self.recorder.cells():
            if cell.what in _GRADIENTS:
                cell.filled = False

    def unscale(self, scale: Tensor) -> None:
        """Gradients of outputs were taken under a GradScaler's scale; weights' were not."""
        try:
            flying = on_host([scale])[0]
            for cell in self.recorder.cells():
                if cell.filled and cell.what in _SCALED:
                    if cell.on_device:
                        cell.divisor = flying
                    else:
                        cell.dest.div_(flying)
        except Exception as error:
            self.failed(error)

    def heard_loss(self, kind: str) -> None:
        """The kind of a loss was recognised."""
        for root in self.roots:
            if not root.loss and (root.seen or len(self.roots) == 1):
                root.loss = kind

    # --- Forward ---------------------------------------------------------------------------------

    def _at_gate(self, module: nn.Module, args: Any) -> None:
        """Some module is called while armed."""
        if torch.compiler.is_compiling():
            return
        start = perf_counter()
        try:
            root = self._by_id.get(id(module))
            if root is not None:
                if root.compiled:
                    return
                if self._is_training(root, module):
                    self._forward_begins()
                    start = perf_counter()
                    if not root.seen or root.rootless:
                        self._enter(root, args)
            elif not self._stack:
                self._at_stranger(module, start)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def _is_training(self, root: Root, module: nn.Module) -> bool:
        if not torch.is_grad_enabled():
            return False
        if not module.training and not root.takes_eval:
            root.eval_seen = True
            return False
        return True

    def _at_stranger(self, module: nn.Module, start: float) -> None:
        """A part of a model is called by itself."""
        for root in self.roots:
            if id(module) in root.members and self._is_training(root, module):
                self._forward_begins()
                if not root.seen:
                    root.seen = root.rootless = True
                    self._put(root)
                return

    def _enter(self, root: Root, args: Any) -> None:
        """The first training forward of the step begins."""
        if compiling.in_play():
            root.look_for_compiled()  # parts may have been swapped for compiled ones since `arm`
        root.seen, root.rootless, root.inside = True, False, True
        self._stack.append(root)
        self._put(root)
        root.exit.put()
        tensor = layers.first_tensor(args)
        if tensor is not None:
            self._model_cell(root, What.INPUT, tensor)
        root.gate.take()
        if all(each.seen or each.compiled for each in self.roots):
            self._gate.take()
        if not self._knows_optimiser():
            copy_before(self._taps(None), gradients=False)
        if root.uses_mode:
            root.mode = FunctionalActivations(self._function_called)
            root.mode.__enter__()  # type: ignore[no-untyped-call]

    def _put(self, root: Root) -> None:
        root.previous = None
        root.function_calls.clear()
        root.put_probes()

    def _forward_done(
        self, root: Root, module: nn.Module, args: Any, kwargs: Any, output: Any
    ) -> None:
        """The root's forward is over, by return or by exception (then `output` is None)."""
        if torch.compiler.is_compiling():
            return
        start = perf_counter()
        try:
            root.inside = False
            if root in self._stack:
                self._stack.remove(root)
            self._leave(root, raised=output is None)
            cell = root.entry.cells.get(What.INPUT)
            if cell is None or not cell.filled:
                tensor = layers.first_tensor(args)
                if tensor is None:
                    tensor = layers.first_tensor(kwargs)
                if tensor is not None:
                    self._model_cell(root, What.INPUT, tensor)
            tensor = layers.first_tensor(output)
            if tensor is not None and tensor.is_floating_point():
                self._model_cell(root, What.OUTPUT, tensor)
                if tensor.requires_grad:
                    cell = self._cell_of(root.entry.cells, What.OUTPUT_GRAD, tensor, OUTPUT)
                    self._output_gradient(root, tensor, cell)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def _leave(self, root: Root, *, raised: bool = False) -> None:
        """Take everything out of the model; the mode is left in any case."""
        if root.mode is not None:
            mode, root.mode = root.mode, None
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if raised:
            root.exit.take_while_called()
        else:
            root.exit.take()
        root.gate.take()
        root.take_probes()
        root.inside = False
        if root in self._stack:
            self._stack.remove(root)
        root.last_function = None

    def _compiled_begins(self, root: Root, module: nn.Module, args: Any) -> None:
        """torch.compile's wrapper of a root is called: its outside is all that is looked at."""
        if torch.compiler.is_compiling():
            return
        start = perf_counter()
        try:
            if self._is_training(root, module):
                self._forward_begins()
                start = perf_counter()
                if not root.seen:
                    root.seen, root.inside = True, True
                    root.exit.put()
                    tensor = layers.first_tensor(args)
                    if tensor is not None:
                        self._model_cell(root, What.INPUT, tensor)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    # --- Weights ---------------------------------------------------------------------------------

    def _taps(self, optimizer: Optimizer | None) -> list[WeightTap]:
        """Weights that this optimiser moves, or that none holds; None: all."""
        held = None
        if optimizer is not None:
            held = {id(each) for group in optimizer.param_groups for each in group["params"]}
        chosen = []
        for root in self.roots:
            for tap in self._taps_of(root):
                parameter = tap.parameter
                if held is None or id(parameter) in held or not self._holds(parameter):
                    chosen.append(tap)
        return chosen

    def _taps_of(self, root: Root) -> list[WeightTap]:
        if root.taps is None:
            root.taps = self._make_taps(root)
        return root.taps

    def _make_taps(self, root: Root) -> list[WeightTap]:
        taps = []
        for probe in root.probes:
            place = layers.weight_place(probe.module)
            if place is None:
                continue
            if not probe.entries:
                probe.entries.append(self._entry(root, probe.path, probe.module))
            taps.append(
                WeightTap(
                    probe.entries[0],
                    *place,
                    bias=layers.bias_place(probe.module),
                    transposed=layers.is_transposed(probe.module),
                )
            )
        for name, table, key in layers.loose_parameters(root.plain):
            entry = Entry(name=name, model=root.name)
            entry.describe = partial(parameter_layer, entry, table[key], self._holds)
            self.recorder.add(entry)
            taps.append(WeightTap(entry, table, key))
        return taps

"""What is copied of torch models on a sampled step: the order of events from forward to update.

Armed, it waits at torch's gate for a training forward of a watched root; then the layers' hooks go
in for that one forward. Hooks copy slices and compute nothing. Nothing here ever raises into
training: a fault is counted, and its text kept for the hub.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from deadband import compiling, layers
from deadband.functional import FunctionalActivations
from deadband.hooks import gate_entry, pre_entry, root_entry
from deadband.norms import copy_running, copy_tested
from deadband.recorder import ModelEntry, Recorder
from deadband.regions import OUTPUT
from deadband.roots import Probe, Root, Shown
from deadband.targets import LossListener
from deadband.tensors import as_reals, in_transform, outside
from deadband.updates import UpdateCapture
from deadband.weights import copy_before
from deadband.wire import What

_HOOK_S = 3e-6
"""What our clock does not see of one layer: 1.3 µs to call a hook of its forward, as much again and
a wrapped tensor for the hook of its gradient."""
_COUNTED = 3
"""Sampled steps in which training forwards and their inputs are counted: a loop does not change its
ways."""


class ModelCapture(UpdateCapture):
    """Copies what a sampled step shows of the models.

    Args:
        models: name -> root module.
        recorder: owns cells and layers.
        holds: whether an optimiser holds the parameter.
        knows_optimiser: whether any is known, so that its step will be seen.
        forward_begins: called ahead of the first training forward of an armed step.
        step: the number of the step that is over by now.
        eager_samples: whether sampled steps of compiled code run uncompiled, to see its inside.
    """

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        recorder: Recorder,
        *,
        holds: Callable[[Any], bool],
        knows_optimiser: Callable[[], bool],
        forward_begins: Callable[[], None],
        step: Callable[[], int],
        eager_samples: bool = False,
    ) -> None:
        super().__init__(recorder, holds)
        self._knows_optimiser = knows_optimiser
        self._forward_begins = forward_begins
        self._gate = gate_entry(self._at_gate)
        compiling.listen(self.compile_begins)
        self.eager = compiling.Eager()
        self._eager_samples = eager_samples and self.eager.is_known()
        self._by_id: dict[int, Root] = {}
        self.losses = LossListener(self.roots, recorder, self, step, self._reveal)
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
        root.call = compiling.CompiledCall(
            module, partial(self._compiled_begins, root), partial(self._forward_done, root)
        )
        root.eager_samples = self._eager_samples
        root.called, root.called_as_usual = self.layer_called, self.called_as_usual
        found = list(layers.find_layers(root.plain))
        followed = layers.spread(found)
        root.left_out = len(found) - len(followed)
        root.probes = [Probe(self.layer_called, root, path, layer) for path, layer in followed]
        if root.compiled or compiling.in_play():
            root.look_for_compiled()
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
        self.losses.arm()
        in_play = compiling.in_play()
        if in_play and self._eager_samples:
            self.eager.enter()
        for root in self.roots:
            self._leave(root)
            root.begin()
            if in_play:
                self._look_for_compiled(root)
        self.await_forward()

    def finish(self) -> None:
        """The step is over; nothing of ours is left in any model."""
        self.armed = False
        if self._eager_samples:
            self.eager.leave()
        for root in self.roots:
            self._leave(root)
            self._note_hidden(root)
            self._note_acting(root)
            if root.eval_seen and not root.seen:
                root.takes_eval = True
            root.eval_seen = False
            if root.drops_anew:
                self.recorder.set_anew()
            if root.rootless:
                root.forwards = root.given.calls
            if root.forwards and root.counted < _COUNTED:
                root.counted += 1
                if root.forwards > root.calls:
                    root.calls = root.forwards
                    self.recorder.changed = True

    def rest(self) -> None:
        """The next step is not sampled: nothing waits for its forward or its loss."""
        self.losses.rest()
        self._gate.take()
        for root in self.roots:
            self._leave(root)

    def close(self) -> None:
        """Listen no more."""
        self.finish()
        self.rest()
        # The end may come from outside, in the middle of a call of ours (`attach --detach`).
        self._gate.retire()
        for root in self.roots:
            for entry in (root.gate, root.exit, *(probe.hook for probe in root.probes)):
                entry.retire()
        self.losses.close()
        compiling.ignore(self.compile_begins)

    def await_forward(self) -> None:
        """Tell of the next training forward too, though this step has seen its own."""
        if not compiling.known():
            self._gate.put()
            return
        for root in self.roots:
            root.touched = True
            if root.opaque and root.plain is root.module:
                root.call.put()
            else:
                root.gate.put()

    @property
    def cost_s(self) -> float:
        """What the sampled step cost so far: by our clock, and for torch to call our hooks."""
        probes = sum(len(root.probes) for root in self.roots if root.seen and not root.compiled)
        return self.spent_s + _HOOK_S * probes

    def compile_begins(self) -> None:
        """Something is about to be compiled: torch's global table must be empty from now on."""
        if self._gate.is_in:
            self._gate.take()
            self.await_forward()

    def _look_for_compiled(self, root: Root) -> None:
        root.look_for_compiled(eager=self.eager.is_on)
        if root.changed:
            root.changed, self.recorder.changed = False, True

    def _note_hidden(self, root: Root) -> None:
        """A step that moved the weights and called nothing that we know: compiled code did it."""
        if not compiling.known() or (root.seen and not root.revealed):
            hidden = False
        elif root.got_gradients:
            hidden = True
        else:
            return
        if hidden != root.hidden:
            root.hidden, self.recorder.changed = hidden, True

    def _note_acting(self, root: Root) -> None:
        if root.seen and not root.acts and root.acting.is_of_agent(root.rows):
            root.acts = self.recorder.changed = True
        # A generator's first output is detached for its critic: that is how it is judged.
        alone = len(self.roots) == 1 and not root.rootless
        if alone and max(root.calls, root.forwards) > 1:
            root.acting.finish(trained=root.got_gradients)

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
                if root.opaque:
                    return
                if self._is_training(root, module):
                    self._forward_begins()
                    start = perf_counter()
                    root.forwards += 1
                    if not root.seen and root.acting.passes(args):
                        self._stack.append(root)  # its parts are no strangers
                        root.touched = True
                        root.exit.put()
                    elif not root.seen or root.rootless:
                        self._enter(root, args)
                elif not torch.is_grad_enabled():
                    root.acting.asked(args)
                    if module.training and root.trained:
                        copy_tested([(self._first_entry(each), each.module) for each in root.norms])
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
        root.trained = root.trained or module.training
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
        if compiling.known():
            self._look_for_compiled(root)  # parts may have been exchanged since `arm`
        root.seen, root.rootless, root.inside = True, False, True
        root.transformed = in_transform()
        root.usual = not root.transformed
        root.touched = True
        tensor = layers.first_tensor(args)
        root.acting.entered(tensor)
        root.one_row = tensor is not None and layers.is_one_row(root.plain, tensor)
        root.rows = tensor.shape[0] if tensor is not None and _has_rows(tensor) else 0
        self._stack.append(root)
        self._put(root)
        root.exit.put()
        if tensor is not None:
            self._model_cell(root, What.INPUT, tensor)
        root.gate.take()
        if all(each.seen or each.opaque for each in self.roots):
            self._gate.take()
        if not self._knows_optimiser():
            root.lent = root.is_lent()
            if not root.lent:
                with outside() if root.transformed else nullcontext():
                    copy_before(self._taps(None), gradients=False)
        if root.uses_mode:
            root.mode = FunctionalActivations(self._function_called, self._attended)
            root.mode.__enter__()  # type: ignore[no-untyped-call]

    def _put(self, root: Root) -> None:
        root.previous, root.beyond = None, False
        root.touched = True
        root.function_calls.clear()
        if root.structure.changed:
            self._look_anew(root)
        root.put_probes()
        norms = [probe for probe in root.norms if probe.hook.is_in]
        if norms:
            copy_running([(self._first_entry(probe), probe.module) for probe in norms])

    def _look_anew(self, root: Root) -> None:
        """Layers came or went since the last look."""
        for probe in root.find_layers(self.layer_called):
            for entry in probe.entries:
                self.recorder.drop(entry)
                root.names.discard(entry.name)
        self.forget_taps(root)
        if compiling.in_play():
            self._look_for_compiled(root)

    def _forward_done(
        self, root: Root, module: nn.Module, args: Any, kwargs: Any, output: Any
    ) -> None:
        """The root's forward is over, by return or by exception (then `output` is None)."""
        if torch.compiler.is_compiling():
            return
        start = perf_counter()
        try:
            self._leave(root, raised=output is None)
            if not root.seen:
                self.await_forward()
                return
            if root.blind and output is not None and not root.transformed:
                root.await_recompute()
            if root.counted < _COUNTED:
                self._count_inputs(root, args, kwargs)
                if not compiling.known():
                    self._gate.put()
            cell = root.entry.cells.get(What.INPUT)
            if cell is None or not cell.filled:
                tensor = layers.first_tensor(args)
                if tensor is None:
                    tensor = layers.first_tensor(kwargs)
                if tensor is not None:
                    self._model_cell(root, What.INPUT, tensor)
            tensor = layers.first_tensor(output)
            if tensor is not None and (tensor.is_floating_point() or tensor.is_complex()):
                self._show_output(root, tensor)
                if root.shown is not None:
                    self.losses.forward_done(root)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def _count_inputs(self, root: Root, args: Any, kwargs: Any) -> None:
        inputs = layers.count_inputs((args, kwargs))
        if inputs > root.inputs:
            root.inputs, self.recorder.changed = inputs, True

    def _show_output(self, root: Root, tensor: Tensor) -> None:
        self._model_cell(root, What.OUTPUT, tensor)
        if root.transformed or tensor.is_nested:
            return
        root.shown = Shown(tensor)
        if tensor.requires_grad:
            shown = as_reals(tensor) if tensor.is_complex() else tensor
            what = What.OUTPUT_GRAD
            layout = root.layout_of(what, shown)
            cell = self._cell_of(root.entry.cells, what, shown, OUTPUT, layout)
            if root.rootless:
                self._hook_gradient(tensor, cell)  # its parts tell that the backward begins
            else:
                self._output_gradient(root, tensor, cell)

    def _reveal(self, root: Root, tensor: Tensor) -> None:
        """A loss was given what compiled code or a part made: no call of the model was seen."""
        root.seen, root.revealed = True, not root.rootless
        self._show_output(root, tensor)

    def _leave(self, root: Root, *, raised: bool = False) -> None:
        """Take everything out of the model; the mode is left in any case."""
        if not root.touched:
            return
        root.touched = raised
        if root.mode is not None:
            mode, root.mode = root.mode, None
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            root.dropped = mode.dropped
        if raised:
            root.exit.take_while_called()
        else:
            root.exit.take()
        root.gate.take()
        root.call.take()
        root.take_probes()
        root.inside = root.usual = False
        if root in self._stack:
            self._stack.remove(root)
        root.last_function = None

    def _compiled_begins(self, root: Root, module: nn.Module, args: Any) -> None:
        """A root that is compiled is called: its outside is all that is looked at."""
        if torch.compiler.is_compiling():
            return
        if not root.opaque:  # it is compiled, but not now
            self._at_gate(module, args)
            return
        start = perf_counter()
        try:
            if self._is_training(root, root.plain):
                self._forward_begins()
                start = perf_counter()
                root.forwards += 1
                if not root.seen:
                    root.seen = root.inside = root.touched = True
                    if root.plain is not module:
                        root.exit.put()
                    tensor = layers.first_tensor(args)
                    if tensor is not None:
                        self._model_cell(root, What.INPUT, tensor)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start


def _has_rows(tensor: Tensor) -> bool:
    return tensor.ndim > 0 and not tensor.is_nested

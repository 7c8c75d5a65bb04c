"""What is copied of a step's backward pass and update: gradients and weights, before and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import getitem, is_
from time import perf_counter
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from deadband import layers
from deadband.calls import LayerCapture
from deadband.cells import Cell
from deadband.descriptions import parameter_layer
from deadband.device import is_device
from deadband.gradients import await_gradient
from deadband.leftgradients import MOST_LEFT
from deadband.recorder import Entry, Recorder
from deadband.roots import Root
from deadband.tensors import is_solid
from deadband.weights import WeightTap, copy_after, copy_before
from deadband.weightsets import WeightSet
from deadband.wire import What

_SCALED = frozenset({What.OUTPUT_GRAD, What.ACTIVATION_GRAD})
_GRADIENTS = _SCALED | {What.WEIGHT_GRAD}


@dataclass(frozen=True, slots=True)
class _Choice:
    """What an optimiser was last found to move."""

    held: list[list[int]]
    """Ids of the parameters in its groups."""
    lists: list[list[WeightTap]]
    """Taps of every model."""
    tables: list[dict[str, Any]]
    names: list[str]
    parameters: list[Tensor]
    """What stands for the layers' weights."""
    weights: WeightSet


class UpdateCapture(LayerCapture):
    """Copies what a sampled step does to the weights.

    Args:
        recorder: owns cells and layers.
        holds: whether an optimiser holds the parameter.
    """

    def __init__(self, recorder: Recorder, holds: Callable[[Any], bool]) -> None:
        super().__init__(recorder, holds)
        self.roots: list[Root] = []
        self._choices: dict[int, _Choice] = {}
        self._moved: tuple[int, Optimizer, WeightSet] | None = None
        """What steps now, in which sampled step, and the weights that it moves."""

    def optimisers_changed(self) -> None:
        """More are known: which weights none of them holds is to be found out anew."""
        self._forget_choices()

    def _forget_choices(self) -> None:
        self._choices.clear()
        self._moved = None

    def backward_begins(self, loss: Tensor) -> None:
        """A loss is about to be back-propagated."""
        start = perf_counter()
        try:
            for root in self.roots:
                if root.rootless and root.shown is not None and not root.given.is_all_of(loss):
                    self._forget_output(root)
                if root.seen and not root.left.taken:
                    root.left.note(self._taps_of(root)[:MOST_LEFT])
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def _forget_output(self, root: Root) -> None:
        """What stood for its output is only a part of what the loss is about."""
        root.given.closed, root.given.last, root.shown = True, None, None
        for what in (What.OUTPUT, What.OUTPUT_GRAD, What.TARGET):
            root.entry.cells.pop(what, None)
        root.loss_call, root.loss_shapes, root.loss_matched = "", ((), ()), 0
        root.loss_of_output, root.usual_loss = False, None
        self.recorder.changed = True

    def _model_backward(self, root: Root, *, reached: bool = False) -> None:
        start = perf_counter()
        try:
            root.left.copy(self._taps_of(root)[:MOST_LEFT], reached=reached)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def before_update(self, optimizer: Optimizer, *, gradients: bool) -> None:
        """An optimiser is about to step."""
        start = perf_counter()
        try:
            for root in self.roots:
                if root.left.found:
                    root.left.check(self._taps_of(root)[:MOST_LEFT])
            weights = self._weights_of(optimizer)
            self._moved = self.generation, optimizer, weights
            weights.copy_before(gradients=gradients)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def after_update(self, optimizer: Optimizer, *, gradients: bool) -> None:
        """It has stepped; `gradients` where a closure made them within the step."""
        start = perf_counter()
        try:
            moved = self._moved
            if moved is not None and moved[0] == self.generation and moved[1] is optimizer:
                moved[2].copy_after(gradients=gradients)
            else:
                self._weights_of(optimizer).copy_after(gradients=gradients)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def without_update(self, *, left_out: bool) -> None:
        """The step ends, and no optimiser that we know of has stepped in it."""
        start = perf_counter()
        try:
            taps = self._taps(None)
            if any(root.lent for root in self.roots):
                taps = [tap for root in self.roots if not root.lent for tap in self._taps_of(root)]
            if left_out:
                copy_before(taps, gradients=False)
            copy_after(taps, gradients=not left_out)
        except Exception as error:
            self.failed(error)
        self.spent_s += perf_counter() - start

    def without_step(self, optimizer: Optimizer) -> None:
        """Others stepped, this one did not: what it holds, as it is."""
        start = perf_counter()
        try:
            held = {id(each) for group in optimizer.param_groups for each in group["params"]}
            taps = [tap for tap in self._taps(optimizer) if id(tap.parameter) in held]
            copy_after(taps, gradients=True)
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
            for cell in self.recorder.cells():
                if cell.filled and cell.what in _SCALED:
                    if is_device(scale.device) and not cell.on_device:
                        cell.filled = False  # to know the scale here would be to wait for it
                    else:
                        cell.dest.div_(scale.to(cell.dest.device, non_blocking=True))
        except Exception as error:
            self.failed(error)

    # --- Inside ----------------------------------------------------------------------------------

    def _output_gradient(self, root: Root, tensor: Tensor, cell: Cell | None) -> None:
        """Await the gradient of a model's output."""
        generation = self.generation
        passed_on = self._odd_gradient_came if tensor.is_complex() else self._gradient_came

        times = 0

        def came(gradient: Tensor) -> None:
            nonlocal times
            times += 1
            if generation == self.generation and self.armed:
                root.acting.came = True
                if not root.left.taken:
                    self._model_backward(root)
                elif times == 2:
                    root.left.retract(self._taps_of(root)[:MOST_LEFT])
                elif times == 1:
                    root.left.look_again(self._taps_of(root)[:MOST_LEFT])
            if cell is not None:
                passed_on(cell, generation, gradient)

        await_gradient(tensor, came)

    def _await_backward(self, root: Root, tensor: Tensor) -> None:
        """Of a model that is called by its parts no output is known.

        The first of its layers' gradients to come is that of the last layer; none of the weights
        has been given its own by then.
        """
        if len(self._choices) > 1:
            return  # two optimisers, two losses: one's backward leaves gradients at the other's
        generation, times = self.generation, 0

        def came(_gradient: Tensor) -> None:
            nonlocal times
            times += 1
            if generation == self.generation and self.armed:
                if not root.left.taken:
                    self._model_backward(root, reached=True)
                elif times > 1:
                    root.left.retract(self._taps_of(root)[:MOST_LEFT])

        await_gradient(tensor, came)

    def taps_of(self, entry: Entry) -> list[WeightTap]:
        """What copies the weights of one layer, where its step has been seen."""
        return [tap for root in self.roots for tap in root.taps or () if tap.entry is entry]

    def _taps(self, optimizer: Optimizer | None) -> list[WeightTap]:
        """Weights that this optimiser moves, or that none holds; None: all."""
        if optimizer is not None:
            return self._weights_of(optimizer).taps
        return [tap for root in self.roots for tap in self._taps_of(root)]

    def _weights_of(self, optimizer: Optimizer) -> WeightSet:
        """Weights that this optimiser moves, or that none holds."""
        lists = [self._taps_of(root) for root in self.roots]
        held = [list(map(id, group["params"])) for group in optimizer.param_groups]
        known = self._choices.get(id(optimizer))
        if (
            known is not None
            and known.held == held
            and len(known.lists) == len(lists)
            and all(map(is_, lists, known.lists))
            and all(map(is_, map(getitem, known.tables, known.names), known.parameters))
        ):
            return known.weights
        among = {each for group in held for each in group}
        taps = [tap for each in lists for tap in each]
        chosen = [
            tap for tap in taps if id(tap.parameter) in among or not self._holds(tap.parameter)
        ]
        weights = WeightSet(chosen)
        self._choices[id(optimizer)] = _Choice(
            held,
            lists,
            [tap.table for tap in taps],
            [tap.weight for tap in taps],
            [tap.parameter for tap in taps],
            weights,
        )
        return weights

    def _taps_of(self, root: Root) -> list[WeightTap]:
        if root.outgrown or (root.pending_layers and not any(map(_is_lazy, root.pending_layers))):
            self.forget_taps(root)
        if root.taps is None:
            root.taps = self._make_taps(root)
        return root.taps

    def forget_taps(self, root: Root) -> None:
        """Weights came, went or have another shape: they are looked up anew."""
        own = {id(entry) for probe in root.probes for entry in probe.entries}
        for tap in root.taps or ():
            if id(tap.entry) not in own and tap.entry in self.recorder.entries:
                self.recorder.drop(tap.entry)
        root.taps = None
        root.outgrown.clear()
        self._forget_choices()
        self.recorder.changed = True

    def _make_taps(self, root: Root) -> list[WeightTap]:
        taps = []
        counted: set[int] = set()
        root.pending_layers = [probe.module for probe in root.probes if _is_lazy(probe.module)]
        for probe in root.probes:
            place = layers.weight_place(probe.module)
            if place is None or not is_solid(place[0][place[1]]):
                continue
            entry = self._first_entry(probe)
            weight = place[0][place[1]]
            entry.shared = weight.numel() if id(weight) in counted else 0
            counted.add(id(weight))
            taps.append(
                WeightTap(
                    entry,
                    *place,
                    bias=layers.bias_place(probe.module),
                    transposed=layers.is_transposed(probe.module),
                    outgrown=root.outgrown,
                )
            )
            for name, further in layers.further_weights(probe.module):
                taps.append(self._parameter_tap(root, f"{entry.name}.{name}", further, entry))
        for name, place in islice(layers.loose_parameters(root.plain), layers.MOST_LAYERS):
            if is_solid(place[0][place[1]]):
                taps.append(self._parameter_tap(root, name, place))
        return taps

    def _parameter_tap(
        self, root: Root, name: str, place: layers.Place, beside: Entry | None = None
    ) -> WeightTap:
        """A weight that is shown as a layer of its own."""
        table, key = place
        entry = Entry(name=name, model=root.name, beside=beside)
        entry.describe = partial(parameter_layer, entry, table[key], self._holds)
        self.recorder.add(entry)
        return WeightTap(entry, table, key, outgrown=root.outgrown)


def _is_lazy(module: nn.Module) -> bool:
    """Whether the module is still to make its parameters."""
    if isinstance(module, nn.modules.lazy.LazyModuleMixin):
        return any(layers.is_pending(each) for each in module.parameters())
    return False

"""One watched model during a step: its layers' hooks, and where its forward stands."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunction

from deadband import layers
from deadband.acting import ActingForwards
from deadband.cells import Cell
from deadband.compiling import CompiledCall, compiled_parts, is_compiled
from deadband.descriptions import model_of
from deadband.functional import FunctionalActivations
from deadband.hooks import NOTHING, HookEntry, leaf_entry, new_key
from deadband.leftgradients import LeftGradients
from deadband.losscalls import KINDS, LossCall
from deadband.norms import is_batch_norm
from deadband.parts import Given
from deadband.recorder import Entry, ModelEntry
from deadband.regions import Layout
from deadband.structure import Structure
from deadband.weights import WeightTap
from deadband.wire import Model, What

Usual = tuple[Entry, Cell, Cell]
"""What the first call of a layer fills, where that gives one plain tensor."""
_is_compiling = torch.compiler.is_compiling
_is_dynamo_compiling = getattr(torch.compiler, "is_dynamo_compiling", _is_compiling)


class Probe:
    """The hook of one layer module."""

    __slots__ = (
        "attends",
        "called",
        "called_as_usual",
        "calls",
        "dtype",
        "entries",
        "hook",
        "is_norm",
        "module",
        "path",
        "root",
        "usual",
    )

    def __init__(self, called: Called, root: Root, path: str, module: nn.Module) -> None:
        self.called = called
        self.called_as_usual = root.called_as_usual
        self.root = root
        self.path = path
        self.module = module
        self.calls = 0
        self.entries: list[Entry] = []
        self.usual: Usual | None = None
        """Of tensors of type `dtype`."""
        self.dtype: torch.dtype | None = None
        self.is_norm = is_batch_norm(module)
        self.attends = isinstance(module, nn.MultiheadAttention)
        self.hook = leaf_entry(module, self, root.key)

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        """The layer was called."""
        if _is_dynamo_compiling():
            return  # whatever traces this takes nothing of ours into its graph
        if self.root.mode is None:
            self._tell(args, output)
        else:
            with DisableTorchFunction():  # our mode would see every look and every copy of ours
                self._tell(args, output)

    def _tell(self, args: Any, output: Any) -> None:
        root = self.root
        if (  # as in the last sample, and for the first time in this one
            self.usual is not None
            and root.usual
            and not self.calls
            and type(output) is Tensor
            and output.dtype is self.dtype
            and root.last_function is None
            and output.requires_grad
        ):
            self.calls = 1
            self.called_as_usual(self, output)
        elif not _is_compiling():  # other tracers than dynamo give no plain tensors
            self.called(self, args, output)

    def __reduce__(self) -> tuple[Any, ...]:
        return NOTHING


@dataclass(slots=True)
class Applied:
    """A functional activation that was just applied."""

    name: str
    key: tuple[str, str]
    entry: Entry
    before: Entry | None
    result: Tensor


class Shown:
    """A root's output of this step, not kept alive."""

    __slots__ = ("contiguous", "shape", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = weakref.ref(tensor)
        self.shape = tuple(tensor.shape)
        self.contiguous = tensor.is_contiguous()


@dataclass(frozen=True, slots=True)
class UsualLoss:
    """A call of a loss function with a root's very output, and what was copied of its target."""

    name: str
    shape: tuple[int, ...]
    """Of the output."""
    dtype: torch.dtype
    """Of the target."""
    cell: Cell


_OTHER_DROPOUT = 0.1
"""By how much the share that is dropped must have changed for a run to be told."""
_LOG_LOSSES = frozenset({"cross_entropy", "nll"})
"""By hand, the one is the other of a log_softmax."""


class Root:
    """One watched model and where it stands in the step."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name = name
        self.module = module
        self.plain = getattr(module, "_orig_mod", module)
        """The module itself where the root is `torch.compile`'s wrapper."""
        self.compiled = is_compiled(module)
        self.key = new_key()
        """Of the hooks in its layers: each has one."""
        self.probes: list[Probe] = []
        self._probes_in = False
        self._norms: list[Probe] | None = None
        self.left_out = 0
        """Layers that are not followed: there are too many."""
        self.taps: list[WeightTap] | None = None
        self.outgrown: list[WeightTap] = []
        """Of them, those whose parameter has another shape now."""
        self.pending_layers: list[nn.Module] = []
        """Lazy modules that had not made their parameters when the taps were made."""
        self.left = LeftGradients()
        self.dropped = 0.0
        """The largest share that a function dropped in the last forward that was looked into."""
        self._dropping: list[layers.Place] = []
        self._dropout = 0.0
        """The largest share that is dropped, as the plan says."""
        self.acting = ActingForwards()
        self.acts = False
        """Whether it is an agent, by those forwards."""
        self.entry: ModelEntry
        self.gate: HookEntry
        """Waits at the model itself where torch's global table must be empty."""
        self.exit: HookEntry
        self.call: CompiledCall
        """Stands for both where the model is compiled in place."""
        self.members = {id(each) for each in self.plain.modules()}
        self.inside = False
        self.touched = False
        """Whether anything of ours may be in the model now."""
        self.usual = False
        """Whether its forward runs, and nothing stands between its layers and us."""
        self.seen = False
        """Whether a training forward of this step was seen."""
        self.rootless = False
        """Whether parts are called without the root."""
        self.given: Given[Probe] = Given()
        self.takes_eval = False
        """Whether training forwards run in eval mode."""
        self.eval_seen = False
        self.beyond = False
        """Whether the last layer was called more often than is followed: nor is what comes next."""
        self.blind: dict[Probe, list[Entry]] = {}
        """Layers that ran without gradients in this forward: checkpointing may run them again."""
        self.transformed = False
        """Whether the forward runs inside `vmap`, `grad` or their kin."""
        self.lent = False
        """Whether `functional_call` lent the model other weights: its own say nothing then."""
        self.rows = 0
        """Samples that the model was given."""
        self.one_row = False
        """Whether it was given the features of a single one, without an axis for rows."""
        self.structure = Structure(self.plain)
        self.previous: Entry | None = None
        self.by_function: dict[tuple[str, str], Entry | None] = {}
        self.function_calls: dict[tuple[str, str], int] = {}
        self.last_function: Applied | None = None
        self.changed = False
        """Whether the plan must say more of it."""
        self.opaque = False
        """Whether the model runs compiled in this step: its outside is all that is seen."""
        self.insides: set[int] = set()
        """Ids of the modules that run inside a compiled part."""
        self.outsides: list[HookEntry | CompiledCall] = []
        """What tells of the calls of compiled parts, from outside."""
        self._outside_of: dict[int, HookEntry | CompiledCall] = {}
        self.blocks: list[Probe] = []
        """Compiled parts that hold more than one layer."""
        self.called: Called
        self.called_as_usual: Callable[[Probe, Tensor], None]
        self.parts: dict[int, str] = {}
        """Ids of the outermost compiled parts, and their paths."""
        self.hidden = False
        """Whether it runs inside compiled code of the user's: no call of it is seen."""
        self.revealed = False
        """Whether the loss has shown its output in this step, and nothing else."""
        self.eager_samples = False
        """Whether sampled steps run uncompiled."""
        self._is_custom = has_custom_forward(self.plain)
        self.mode: FunctionalActivations | None = None
        self.trained = False
        """Whether a training forward in training mode was ever seen."""
        self.late = False
        """Whether it had trained before it was watched."""
        self.loss = ""
        """Kind of the loss, as autograd knows it."""
        self.loss_given = False
        """Whether the user has named it."""
        self.loss_of_output = False
        """Whether `loss_call` was given the very tensor that the model returned."""
        self.loss_call = ""
        """Name of the loss function that was given the output."""
        self.loss_shapes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
        self.loss_matched = 0
        """How sure that is; the plan says what the surest call showed."""
        self.target_learns = False
        """Whether a loss function compared it with something that is trained too."""
        self.views_met = 0
        """Samples in a row whose loss did, where the first one's did not."""
        self.inputs = 1
        """Tensors that a training forward was given."""
        self.matched = 0
        """The same of this step."""
        self.shown: Shown | None = None
        self.usual_loss: UsualLoss | None = None
        self.pending: list[LossCall] = []
        """Losses that were computed inside this forward."""
        self.output_layout: Layout | None = None
        """Known where a loss has shown which axis the classes lie along."""
        self.names: set[str] = set()
        self.forwards = 0
        """Training forwards of this step."""
        self.calls = 1
        """The most in one step of those that were counted."""
        self.counted = 0
        """Steps in which they were."""

    @property
    def got_gradients(self) -> bool:
        """Whether gradients of its weights were copied in this step."""
        return any(tap.gradient is not None and tap.gradient.filled for tap in self.taps or ())

    @property
    def uses_mode(self) -> bool:
        """Whether functions inside its forward are listened to."""
        return self._is_custom and not self.opaque and not self.insides

    def look_for_compiled(self, *, eager: bool = False) -> None:
        """Parts were compiled: hooks in them, or a mode around them, would be traced.

        Args:
            eager: nothing runs compiled in this step.
        """
        self.compiled = self.compiled or is_compiled(self.module)
        found = self._parts()
        parts = {id(each): path for path, each in found}
        if parts != self.parts:
            self.parts = parts
            self.changed = True
        self.opaque = self.compiled and not eager
        self.outsides = [] if eager else [self._outside(*each) for each in found]
        self.insides = set()
        if not eager:
            for _, part in found:
                self.insides |= {id(inner) for inner in part.modules()}

    def _parts(self) -> list[tuple[str, nn.Module]]:
        return [] if self.compiled else list(compiled_parts(self.plain))

    def _outside(self, path: str, part: nn.Module) -> HookEntry | CompiledCall:
        """What tells of the calls of a compiled part: as of its one layer, or of a whole block."""
        hook = self._outside_of.get(id(part))
        if hook is not None:
            return hook
        inner = getattr(part, "_orig_mod", part)
        probe = next((each for each in self.probes if each.module is inner), None)
        if probe is None:
            probe = Probe(self.called, self, path, inner)
            self.blocks.append(probe)

        def called(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if output is not None:
                probe(module, args, output)

        hook = (
            CompiledCall(part, None, called)
            if inner is part
            else leaf_entry(part, probe, new_key())
        )
        self._outside_of[id(part)] = hook
        return hook

    def put_probes(self) -> None:
        """From now on the layers tell of their calls."""
        self._probes_in = True
        seen: Iterable[Probe] = self.probes
        if self.opaque:
            seen = ()
        elif self.insides:
            seen = [probe for probe in self.probes if id(probe.module) not in self.insides]
        for probe in self.probes:
            probe.calls = 0
        for probe in seen:
            probe.hook.put()
        for block in self.blocks:
            block.calls = 0
        for outside in self.outsides:
            outside.put()

    @property
    def norms(self) -> list[Probe]:
        """Probes of batch normalisations."""
        if self._norms is None:
            self._norms = [probe for probe in self.probes if probe.is_norm]
        return self._norms

    def take_probes(self) -> None:
        """They tell no more."""
        if self._probes_in:
            self._probes_in = False
            for outside in self.outsides:
                outside.take()
            for probe in self.probes:
                probe.hook.take()

    def await_recompute(self) -> None:
        """The forward is over; layers that ran without gradients may run again in the backward."""
        self._probes_in = self.touched = True
        for probe in self.blind:
            probe.hook.put()

    def find_layers(self, called: Called) -> list[Probe]:
        """Look at what the model is made of now; the layers that are gone."""
        self.structure = Structure(self.plain)
        self.members = {id(each) for each in self.plain.modules()}
        self._is_custom = has_custom_forward(self.plain)
        self._outside_of = {
            part: hook for part, hook in self._outside_of.items() if part in self.members
        }
        known = {(probe.path, id(probe.module)): probe for probe in self.probes}
        self.probes, self._norms = [], None
        found = list(layers.find_layers(self.plain))
        followed = layers.spread(found)
        self.left_out = len(found) - len(followed)
        for path, layer in followed:
            key = (path, id(layer))
            probe = known.pop(key) if key in known else Probe(called, self, path, layer)
            self.probes.append(probe)
        for probe in known.values():
            probe.hook.take()
        return list(known.values())

    def is_lent(self) -> bool:
        """Whether the weights are others than the model's own: `functional_call` puts tensors."""
        return any(
            each is not None and not isinstance(each, nn.Parameter)
            for probe in self.probes
            for each in probe.module._parameters.values()
        )

    def layout_of(self, what: What, tensor: Tensor) -> Layout | None:
        """Which axis of its input or output is which, where that is known."""
        if self.one_row and tensor.ndim == 1:
            return Layout.UNITS_LAST
        return None if what is What.INPUT else self.output_layout

    def _loss_and_shapes(self) -> tuple[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        """Kind of the loss, and the shapes of its two arguments where they are that loss's own.

        Of a sum of several losses autograd's graph shows one, which may be another head's; that the
        very output was given to a function is certain.
        """
        called = KINDS.get(self.loss_call, "")
        kind = self.loss or called
        if called and self.loss_of_output and not self.loss_given:
            kind = called
        same = kind == called or {kind, called} <= _LOG_LOSSES
        return kind, self.loss_shapes if same else ((), ())

    def described(self) -> Model:
        """What the plan says of the model."""
        loss, loss_shapes = self._loss_and_shapes()
        self._dropping = layers.find_dropping(self.plain)
        self._dropout = self._largest_dropout()
        return model_of(
            self.name,
            self.plain,
            compiled=self.compiled or self.hidden,
            compiled_parts=tuple(self.parts.values()),
            eager_samples=self.eager_samples,
            hidden=self.hidden,
            loss=loss,
            loss_shapes=loss_shapes,
            calls=self.calls,
            left_out=self.left_out,
            late=self.late,
            target_learns=self.target_learns,
            inputs=self.inputs,
            acts=self.acts,
            dropout=self._dropout,
        )

    @property
    def drops_anew(self) -> bool:
        """Whether so much more or less is dropped than the plan says."""
        return abs(self._largest_dropout() - self._dropout) >= _OTHER_DROPOUT

    def _largest_dropout(self) -> float:
        return max(self.dropped, layers.largest_dropout(self._dropping))

    def begin(self) -> None:
        """A sampled step begins."""
        self.seen = self.rootless = self.revealed = False
        self.transformed = self.beyond = self.lent = False
        self.blind.clear()
        self.matched, self.shown, self.forwards = 0, None, 0
        self.pending.clear()
        self.left.begin()
        self.given.begin()
        self.acting.begin()


def has_custom_forward(root: nn.Module) -> bool:
    """Whether a container's forward could apply functions: Sequential and its kin cannot."""
    return any(
        not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
        and not (layers.is_layer(module) and type(module).__module__.startswith("torch.nn"))
        for module in root.modules()
    )


Called = Callable[[Probe, Any, Any], None]
"""Called with a layer's probe, its positional arguments and its output."""

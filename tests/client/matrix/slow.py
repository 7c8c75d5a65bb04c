"""A plain slow look at a step of training: hooks of torch's own, whole tensors, one at a time.

It knows the client's rules of naming, written down a second time, and shares no code with it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from matrix.kit import Kit

ACTIVATIONS = (
    "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish",
    "sigmoid", "logsigmoid", "tanh", "softplus", "softsign", "hardtanh", "hardsigmoid",
    "hardswish", "glu", "threshold",
)  # fmt: skip
SOFT = ("softmax", "log_softmax")
PASSED_OVER = (nn.Identity, nn.Flatten, nn.Unflatten, nn.modules.dropout._DropoutNd)
LAYERS = (nn.MultiheadAttention, nn.Linear, nn.modules.conv._ConvNd)
MOST_CALLS = 4


@dataclass
class Shown:
    """One output of a layer or a function."""

    name: str
    output: Tensor
    gradients: list[Tensor] = field(default_factory=list)

    @property
    def gradient(self) -> Tensor | None:
        return torch.stack(self.gradients).sum(0) if self.gradients else None


@dataclass
class Moved:
    """One weight in one step."""

    before: Tensor
    gradient: Tensor | None
    after: Tensor
    held: bool
    """Whether an optimiser holds it."""


@dataclass
class Look:
    """One step."""

    shown: dict[tuple[str, str], Shown] = field(default_factory=dict)
    moved: dict[tuple[str, str], Moved] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)


def parts(model: nn.Module) -> dict[str, nn.Module]:
    """The layers of a model by path."""
    found: dict[str, nn.Module] = {}
    for path, module in model.named_modules():
        inside = any(
            path.startswith(f"{name}.")
            for name, layer in found.items()
            if isinstance(layer, nn.MultiheadAttention)
        )
        own = not [name for name, _ in module.named_children() if name != "parametrizations"]
        own = own or isinstance(module, LAYERS)
        apart = (
            isinstance(module, PASSED_OVER) or "torch.ao.quantization" in type(module).__module__
        )
        if own and not inside and not apart and "parametrizations" not in path:
            found[path or type(module).__name__.lower()] = module
    return found


def tensor_of(value: Any) -> Tensor | None:
    """The tensor that stands for an output."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, dict):
        value = [value["logits"], *value.values()] if "logits" in value else [*value.values()]
    elif hasattr(value, "__dataclass_fields__"):
        value = [getattr(value, name) for name in value.__dataclass_fields__]
    if isinstance(value, tuple | list):
        for each in value:
            found = tensor_of(each)
            if found is not None and found.ndim:
                return found
    return None


class Functions(TorchFunctionMode):
    """Tells of functional activations."""

    def __init__(self, eye: Eye) -> None:
        super().__init__()
        self.eye = eye

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").rstrip("_")
        places = (F, torch, Tensor)
        known = any(getattr(place, name, None) is func for place in places) or any(
            getattr(place, f"{name}_", None) is func for place in places
        )
        if known and isinstance(result, Tensor):
            flat = name in SOFT and result.ndim <= 2
            if flat or name in ACTIVATIONS:
                self.eye.function(name, result)
        return result


class Eye:
    """Looks at one model."""

    def __init__(self, name: str, model: nn.Module, *, rootless: bool) -> None:
        self.name = name
        self.model = model
        self.rootless = rootless
        self.layers = parts(model)
        self.look = Look()
        self.forwards = 0
        self.looking = False
        self.previous = "input"
        self.before_that = "input"
        self.inside: list[nn.Module] = []
        self.calls: dict[str, int] = {}
        self.names: dict[str, int] = {}
        self.places: dict[tuple[str, str], int] = {}
        self.mode: Functions | None = None
        self.last: tuple[str, Tensor] | None = None
        for path, layer in self.layers.items():
            layer.register_forward_pre_hook(self.enter)
            layer.register_forward_hook(lambda m, a, out, path=path: self.leave(m, path, out))
        if not rootless:
            model.register_forward_pre_hook(self.begin)
            model.register_forward_hook(self.end)

    def begin_step(self, look: Look) -> None:
        self.look = look
        self.forwards = 0
        self.begin_pass()
        self.looking = self.rootless

    def begin_pass(self) -> None:
        self.previous = self.before_that = "input"
        self.calls.clear()
        self.places.clear()
        self.last = None
        self.beyond = False
        self.inside.clear()

    def begin(self, module: nn.Module, args: Any) -> None:
        if not torch.is_grad_enabled() or not module.training:
            return
        self.forwards += 1
        if self.forwards == 1:
            self.begin_pass()
            self.looking = True
            self.mode = Functions(self)
            self.mode.__enter__()  # type: ignore[no-untyped-call]

    def end(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.mode is not None:
            self.mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self.mode = None
            self.looking = False
            tensor = tensor_of(output)
            if tensor is not None:
                self.look.outputs[self.name] = tensor.detach().clone()

    def enter(self, module: nn.Module, args: Any) -> None:
        self.inside.append(module)

    def leave(self, module: nn.Module, path: str, output: Any) -> None:
        if self.inside:
            self.inside.pop()
        tensor = tensor_of(output)
        if not self.looking or tensor is None:
            return
        call = self.calls.get(path, 0)
        self.calls[path] = call + 1
        self.beyond = call >= MOST_CALLS
        if self.beyond or (call and self.rootless):
            return
        if self.last is not None and self.last[1] is tensor:
            del self.look.shown[self.name, self.last[0]]
            self.previous = self.before_that
        self.last = None
        name = path
        if call:
            name = f"{path}@{re.split('[@:]', self.previous)[0]}"
            if self.names.setdefault(name, call) != call:
                name += f"#{call + 1}"
        self.show(name, tensor)

    def function(self, name: str, result: Tensor) -> None:
        """A function was applied: of no module, or inside one of the user's own."""
        if self.beyond:
            return
        if any(type(each).__module__.startswith("torch.nn") for each in self.inside):
            return
        place = (self.previous, name)
        count = self.places[place] = self.places.get(place, 0) + 1
        full = f"{self.previous}:{name}" + (f":{count}" if count > 1 else "")
        self.before_that = self.previous
        self.show(full, result)
        self.last = (full, result)

    def show(self, name: str, tensor: Tensor) -> None:
        if not (tensor.is_floating_point() or tensor.is_complex()):
            return
        shown = Shown(name, tensor.detach().clone())
        self.look.shown[self.name, name] = shown
        if tensor.requires_grad:
            tensor.register_hook(lambda gradient: shown.gradients.append(gradient.detach().clone()))
        self.previous = name


class SlowLook:
    """Looks at all models of a kit; `steps` has what was seen."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.steps: list[Look] = []
        self.eyes = [Eye(name, model, rootless=kit.rootless) for name, model in kit.models.items()]
        self.gradients: dict[int, Tensor | None] = {}
        self.held = {
            id(each)
            for optimizer in kit.optimizers
            for group in optimizer.param_groups
            for each in group["params"]
        }
        for optimizer in kit.optimizers:
            optimizer.register_step_pre_hook(self.before_update)

    def before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            for each in group["params"]:
                grad = each.grad
                if grad is not None:
                    grad = grad.to_dense() if grad.is_sparse else grad
                    self.gradients[id(each)] = grad.detach().clone()

    def begin(self) -> None:
        self.gradients.clear()
        look = Look()
        self.steps.append(look)
        for eye in self.eyes:
            eye.begin_step(look)
        self.before = {
            (model, name): each.detach().clone()
            for model, root in self.kit.models.items()
            for name, each in root.named_parameters()
            if not isinstance(each, nn.parameter.UninitializedParameter)
        }

    def end(self) -> None:
        for model, root in self.kit.models.items():
            for name, each in root.named_parameters():
                if (model, name) in self.before:
                    self.steps[-1].moved[model, name] = Moved(
                        before=self.before[model, name],
                        gradient=self.gradients.get(id(each)),
                        after=each.detach().clone(),
                        held=id(each) in self.held,
                    )


# --- Slices and statistics, by their words -------------------------------------------------------


def part_of(whole: Tensor, axes: str, batch: int) -> Tensor:
    """What a slot of these axes holds of a tensor: (samples, columns of units and positions)."""
    x = torch.view_as_real(whole).flatten(-2) if whole.is_complex() else whole
    x = x.double()
    if axes == "n":
        return x[:32, None]
    if x.ndim == 1:
        return x[None, :512]
    if axes == "nu":
        return x[:32, :512]
    if axes == "nup":
        x = x[:32, :128]
        while x.ndim > 4:
            x = x[:, :, x.shape[2] // 2]
        wide = min(x.shape[-1], 16)
        left = (x.shape[-1] - wide) // 2
        x = x[..., left : left + wide]
        if x.ndim == 4:
            high = min(x.shape[2], max(1, 16 // wide))
            top = (x.shape[2] - high) // 2
            x = x[:, :, top : top + high]
        return x.flatten(1)
    if x.ndim == 3 and x.shape[1] == batch and x.shape[0] != batch:
        x = x.transpose(0, 1)
    while x.ndim > 3:
        x = x[:, x.shape[1] // 2]
    length = x.shape[1]
    apart = max(1, (length - 3) // 3)
    places = [1 + apart * number for number in range(4)] if length > 4 else list(range(length))
    return x[:32, places, :512].flatten(1)


def corner(weight: Tensor, *, transposed: bool) -> Tensor:
    """The first units and inputs of a weight."""
    x = torch.view_as_real(weight) if weight.is_complex() else weight
    x = x.transpose(0, 1) if transposed else x
    if x.ndim == 0:
        return x.reshape(1, 1).double()
    return x.reshape(x.shape[0], -1)[:64, :64].double()


def rms(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


FLAT = {"tanh": (-0.97, 0.97), "sigmoid": (0.03, 0.97), "hardsigmoid": (0.0, 1.0)}
FLAT |= {"hardtanh": (-1.0, 1.0), "relu6": (-math.inf, 6.0)}


def saturated(x: Tensor, activation: str) -> float | None:
    """Share of elements on a flat end."""
    if activation not in FLAT:
        return None
    low, high = FLAT[activation]
    return float(((x <= low) | (x >= high)).double().mean())


def update_ratio(moved: Moved, fan_in: int, *, transposed: bool) -> float:
    before = corner(moved.before, transposed=transposed)
    after = corner(moved.after, transposed=transposed)
    return rms(after - before) / max(rms(before), 1 / math.sqrt(3 * fan_in))

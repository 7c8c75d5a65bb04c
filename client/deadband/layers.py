"""Which modules are layers, what they are called, and what a rule needs to know of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from deadband.regions import Layout

ACTIVATIONS = {
    "ReLU": "relu",
    "ReLU6": "relu6",
    "LeakyReLU": "leaky_relu",
    "PReLU": "prelu",
    "RReLU": "rrelu",
    "ELU": "elu",
    "SELU": "selu",
    "CELU": "celu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Mish": "mish",
    "Sigmoid": "sigmoid",
    "LogSigmoid": "logsigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Hardtanh": "hardtanh",
    "Hardsigmoid": "hardsigmoid",
    "Hardswish": "hardswish",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "GLU": "glu",
    "Threshold": "threshold",
}
"""Class of a module -> name of the nonlinearity."""

_PASSED_OVER = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
    nn.Flatten, nn.Unflatten, nn.Identity, nn.Sequential, nn.ModuleList, nn.ModuleDict,
    nn.ParameterList, nn.ParameterDict, nn.modules.loss._Loss,
)  # fmt: skip
_WHOLE = (nn.MultiheadAttention,)  # has children, but its forward does not call them
_CLOSED = (*_WHOLE, torch.jit.ScriptModule)
_LAYERS = (
    nn.Linear, nn.Bilinear, nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.GroupNorm, nn.RNNBase,
    nn.RNNCellBase, nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase,
)  # fmt: skip
"""Torch's own with weights: what derives from them is a layer whatever it holds inside."""
_BOOKKEEPING = ("torch.ao.quantization", "torch.quantization")
"""Where observers and fake quantisers come from: they pass on what they are given."""
_CHANNELS = (
    nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm,
    nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.Upsample, nn.PixelShuffle, nn.LocalResponseNorm,
)  # fmt: skip
_UNITS_LAST = (nn.Linear, nn.Bilinear, nn.LayerNorm, nn.Embedding, nn.EmbeddingBag)
_OPTIONS = (
    "p", "negative_slope", "momentum", "eps", "min_val", "max_val", "alpha", "beta", "num_heads",
    "dropout",
)  # fmt: skip


def is_layer(module: nn.Module) -> bool:
    """Whether the module is one layer: a leaf that does something to its input."""
    if isinstance(module, _WHOLE):
        return True
    if isinstance(module, _PASSED_OVER) or type(module).__module__.startswith(_BOOKKEEPING):
        return False
    if isinstance(module, _LAYERS):
        return True
    if isinstance(module, torch.jit.ScriptModule):
        return True  # what is inside is not called from Python
    children = module._modules.keys() - {"parametrizations"}
    return not children


MOST_LAYERS = 1500
"""Layers of one model that are followed: with more, what lies ready for their slices would itself
take tens of megabytes."""


def spread(layers: list[tuple[str, nn.Module]]) -> list[tuple[str, nn.Module]]:
    """As many of them as can be followed, evenly spread, with the first and the last."""
    if len(layers) <= MOST_LAYERS:
        return layers
    last = len(layers) - 1
    return [layers[place * last // (MOST_LAYERS - 1)] for place in range(MOST_LAYERS)]


def find_layers(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers of a model in the order of registration, each once; the root itself may be one."""
    seen: set[int] = set()
    pending = [("", root)]
    while pending:
        path, module = pending.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        if is_layer(module):
            yield path or type(module).__name__.lower(), module
            if isinstance(module, _CLOSED) or not module._modules:
                continue
        if type(module).__module__.startswith(_BOOKKEEPING):
            continue
        children = [
            (path if is_wrapper(module, name) else f"{path}.{name}" if path else name, child)
            for name, child in module._modules.items()
            if child is not None and name != "parametrizations"
        ]
        pending += reversed(children)


_PARALLEL = (nn.parallel.DistributedDataParallel, nn.parallel.DataParallel)


def is_wrapper(module: nn.Module, name: str) -> bool:
    """Whether the child of this name is all that the module is: it is known by what it wraps."""
    return name == "_orig_mod" or (name == "module" and isinstance(module, _PARALLEL))


def unwrapped(module: nn.Module) -> nn.Module:
    """The module that a data-parallel wrapper holds."""
    while isinstance(module, _PARALLEL):
        module = module.module
    return module


def kind_of(module: nn.Module) -> str:
    """Name of the module's class, without what FSDP puts before it."""
    kind = type(module)
    if kind.__name__.startswith("FSDP"):
        bases = [base for base in kind.__mro__[1:] if kind.__name__ == f"FSDP{base.__name__}"]
        kind = bases[0] if bases else kind
    return kind.__name__


Place = tuple[dict[str, Any], str]
"""Where a parameter is found: its table and its key there."""


def own_parameters(module: nn.Module) -> Iterator[tuple[str, Place]]:
    """Parameters that a module uses itself, by name: parametrised ones in the form that is trained.

    Never read as attributes: a parametrised weight would be computed anew, and spectral norm moves
    its state when that happens.
    """
    if isinstance(module, torch.jit.ScriptModule):
        table = dict(module.named_parameters())
        yield from ((name, (table, name)) for name in table)
        return
    for name, parameter in module._parameters.items():
        if parameter is not None and not is_pending(parameter):
            yield name, (module._parameters, name)
    for name, child in module._modules.items():
        if child is not None and (name == "parametrizations" or isinstance(module, _WHOLE)):
            for path, part in child.named_modules(prefix=name):
                for key, parameter in part._parameters.items():
                    if parameter is not None and not is_pending(parameter):
                        yield f"{path}.{key}", (part._parameters, key)


def loose_parameters(root: nn.Module) -> Iterator[tuple[str, Place]]:
    """Parameters that hang on a module which is no layer: class tokens, position embeddings."""
    inside = {
        id(part)
        for _, layer in find_layers(root)
        for part in (layer.modules() if isinstance(layer, _CLOSED) else (layer,))
    }
    for path, module in unwrapped(root).named_modules():
        if id(module) not in inside and "parametrizations" not in path.split("."):
            for name, place in own_parameters(module):
                yield (f"{path}.{name}" if path else name), place


def is_pending(parameter: Tensor) -> bool:
    """Whether a lazy module has not made this parameter yet."""
    return isinstance(parameter, UninitializedParameter)


def weight_place(module: nn.Module) -> Place | None:
    """Where the parameter that stands for the layer's weight is found."""
    found = min(
        own_parameters(module),
        key=lambda each: (each[0] != "weight", not _is_matrix(each[1])),
        default=None,
    )
    return None if found is None else found[1]


_MOST_FURTHER = 15
"""Further weights of one layer that are followed: four recurrent layers that run both ways."""


def further_weights(module: nn.Module) -> list[tuple[str, Place]]:
    """Matrices of the layer besides its weight: recurrent ones, an output projection, LoRA's."""
    first = weight_place(module)
    weight = first[0][first[1]] if first is not None else None
    found = [
        (name, place)
        for name, place in own_parameters(module)
        if place[0][place[1]] is not weight and _is_matrix(place)
    ]
    return found[:_MOST_FURTHER]


def _is_matrix(place: Place) -> bool:
    """Whether a unit has several inputs; weight norm's magnitudes are (units, 1, 1)."""
    parameter = place[0][place[1]]
    return bool(parameter.ndim > 1 and parameter.numel() > parameter.shape[0])


def bias_place(module: nn.Module) -> Place | None:
    """Where the layer's bias is found, if it has one of that name."""
    own = dict(own_parameters(module))
    for name in ("bias", "in_proj_bias", "bias_ih_l0"):
        if name in own and own[name][0][own[name][1]].ndim == 1:
            return own[name]
    return None


def fan_in(module: nn.Module, weight: Tensor | None) -> int:
    """Inputs of one unit."""
    if weight is None or weight.ndim == 0:
        return 0
    rows = weight.shape[1] if is_transposed(module) else weight.shape[0]
    return weight.numel() // max(1, int(rows))


def is_transposed(module: nn.Module) -> bool:
    """Whether the units of the weight lie along axis 1."""
    return isinstance(module, nn.modules.conv._ConvTransposeNd)


def activation_of(module: nn.Module) -> str:
    """Name of the nonlinearity that the module applies; empty for none."""
    if isinstance(module, nn.RNN | nn.RNNCell):
        return str(module.nonlinearity)
    return ACTIVATIONS.get(kind_of(module), "")


def units_of(module: nn.Module, weight: Tensor | None) -> int:
    """Output units of a layer with weights."""
    for name in ("out_features", "out_channels", "embedding_dim", "num_features", "embed_dim"):
        value = getattr(module, name, None)
        if isinstance(value, int):
            return value
    if isinstance(module, nn.RNNBase):
        return int(module.hidden_size) * (2 if module.bidirectional else 1)
    return int(weight.shape[0]) if weight is not None and weight.ndim else 0


def options_of(module: nn.Module) -> dict[str, float]:
    """What the module was made with and a rule may need."""
    options: dict[str, float] = {}
    for name in _OPTIONS:
        value = module.__dict__.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            options[name] = float(value)
    return options


def find_dropping(root: nn.Module) -> list[Place]:
    """Where the parts of a model keep the share that they drop in training."""
    places = []
    for module in root.modules():
        key = "p" if isinstance(module, nn.modules.dropout._DropoutNd) else "dropout"
        if isinstance(module.__dict__.get(key), int | float):
            places.append((module.__dict__, key))
    return places


def largest_dropout(dropping: list[Place]) -> float:
    """The largest share of them; 0 where nothing is dropped."""
    largest = 0.0
    for table, key in dropping:
        share = table.get(key)
        if isinstance(share, int | float) and not isinstance(share, bool) and largest < share <= 1:
            largest = float(share)
    return largest


def layout_of(module: nn.Module, tensor: Tensor, before: Layout | None, rows: int = 0) -> Layout:
    """Which axes of the layer's output are which; elementwise layers follow the layer before.

    `rows`: samples that the model was given, where that is known.
    """
    if isinstance(module, nn.RNNBase) and not module.batch_first and tensor.ndim == 3:
        return Layout.TIME_FIRST
    if isinstance(module, nn.MultiheadAttention) and not module.batch_first and tensor.ndim == 3:
        return Layout.TIME_FIRST
    if isinstance(module, _CHANNELS):
        return Layout.CHANNELS
    if isinstance(module, _UNITS_LAST):
        if tensor.ndim == 3 and (
            before is Layout.TIME_FIRST or tensor.shape[0] != rows == tensor.shape[1]
        ):
            return Layout.TIME_FIRST
        return Layout.UNITS_LAST
    return follow(tensor, before)


def follow(tensor: Tensor, before: Layout | None) -> Layout:
    """The layout of an elementwise result."""
    if tensor.ndim == 3 and before is not None:
        return before
    return (
        Layout.CHANNELS
        if tensor.ndim > 3 and before is not Layout.UNITS_LAST
        else (Layout.UNITS_LAST)
    )


def is_one_row(root: nn.Module, tensor: Tensor) -> bool:
    """Whether a vector is the features of one sample: as many as its first layer takes."""
    if tensor.ndim != 1 or not tensor.is_floating_point():
        return False
    first = next((each for each in root.modules() if each._parameters), None)
    return isinstance(first, nn.Linear) and first.in_features == tensor.shape[0] > 1


_MOST_PARTS = 64
"""Parts of a container in which a tensor is looked for."""


def first_tensor(value: Any, depth: int = 5) -> Tensor | None:
    """The tensor that stands for a module's input or output; what is called `logits` goes first."""
    if isinstance(value, Tensor):
        return value
    if depth == 0 or value is None:
        return None
    parts: Any = ()
    if isinstance(value, list | tuple):
        logits = getattr(value, "logits", None) if hasattr(value, "_fields") else None
        parts = value if logits is None else (logits, *value)
    elif hasattr(value, "items"):
        logits = value.get("logits")
        parts = value.values() if logits is None else (logits, *value.values())
    elif not isinstance(value, nn.Module | type) and (held := getattr(value, "__dict__", None)):
        # A dataclass or any other object: what it holds is looked at, none of its code is run.
        parts = (held["logits"], *held.values()) if "logits" in held else held.values()
    elif dataclasses.is_dataclass(value):
        parts = [getattr(value, each.name, None) for each in dataclasses.fields(value)]
    for part in itertools.islice(parts, _MOST_PARTS):
        tensor = first_tensor(part, depth - 1)
        if tensor is not None and tensor.ndim:
            return tensor
    return None


_NO_INPUT = ("mask", "label", "target")
"""Parts of names of arguments that say which parts of an input count, or what the answer is."""


def count_inputs(value: Any, depth: int = 4) -> int:
    """Tensors in a forward's arguments that the answer may depend on; those of objects are one."""
    if isinstance(value, Tensor):
        return int(value.ndim > 0 and value.dtype != torch.bool)
    if depth == 0:
        return 0
    if hasattr(value, "items"):
        value = [
            part for name, part in value.items() if not any(each in str(name) for each in _NO_INPUT)
        ]
    if isinstance(value, list | tuple):
        return sum(count_inputs(part, depth - 1) for part in value[:_MOST_PARTS])
    return 0

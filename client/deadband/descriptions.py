"""What a plan says of layers and models: read off torch's modules when the plan is made."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from typing import Any

from torch import Tensor, nn

from deadband import layers
from deadband.recorder import Entry
from deadband.regions import Layout
from deadband.shards import shards_of
from deadband.tensors import is_solid
from deadband.wire import Layer, Model, What

Holds = Callable[[Any], bool]
"""Whether an optimiser holds the parameter."""


def function_layer(entry: Entry, name: str) -> Layer:
    """A functional activation."""
    cell = entry.cells.get(What.ACTIVATION)
    units = 0
    if cell is not None and cell.source:
        units = cell.source[1 if entry.layout is Layout.CHANNELS else -1]
    return Layer(name=entry.name, model=entry.model, kind=name, activation=name, units=units)


def module_layer(entry: Entry, module: nn.Module, holds: Holds, activation: str) -> Layer:
    """A module, called once or once more."""
    place = layers.weight_place(module)
    weight = place[0][place[1]] if place is not None else None
    apart = {id(table[key]) for _, (table, key) in layers.further_weights(module)}
    own = [
        parameter
        for _, (table, key) in layers.own_parameters(module)
        if id(parameter := table[key]) not in apart
    ]
    units = layers.units_of(module, weight)
    if not units and (cell := entry.cells.get(What.ACTIVATION)) is not None and cell.source:
        channels = entry.layout is Layout.CHANNELS and len(cell.source) > 1
        units = cell.source[1 if channels else -1]
    first = "@" not in entry.name
    return Layer(
        name=entry.name,
        model=entry.model,
        kind=layers.kind_of(module),
        activation=activation or layers.activation_of(module),
        fan_in=layers.fan_in(module, weight),
        units=units,
        parameters=sum(each.numel() for each in own) - entry.shared if first else 0,
        trainable=not own or any(each.requires_grad for each in own),
        optimised=not own or any(holds(each) for each in own),
        options=layers.options_of(module),
        unseen=_unseen(entry, weight),
    )


def _unseen(entry: Entry, weight: Tensor | None) -> str:
    if What.ACTIVATION in entry.cells:
        return ""
    if weight is not None and not is_solid(weight):
        return "its weight is not in memory: meta or fake"
    if entry.order < math.inf:
        return "its output holds no floating-point numbers in one block"
    return "no call of it was seen; its weight may be used without it"


def parameter_layer(entry: Entry, parameter: Tensor, holds: Holds) -> Layer:
    """A parameter that hangs on no layer."""
    return Layer(
        name=entry.name,
        model=entry.model,
        kind="Parameter",
        units=int(parameter.shape[0]) if parameter.ndim else 1,
        fan_in=parameter.numel() // max(1, int(parameter.shape[0]) if parameter.ndim else 1),
        parameters=parameter.numel(),
        trainable=parameter.requires_grad,
        optimised=holds(parameter),
    )


def model_of(
    name: str,
    module: nn.Module,
    *,
    compiled: bool,
    compiled_parts: tuple[str, ...],
    eager_samples: bool,
    hidden: bool,
    loss: str,
    loss_shapes: tuple[tuple[int, ...], tuple[int, ...]],
    calls: int,
    left_out: int,
    late: bool,
    target_learns: bool,
    inputs: int,
    acts: bool,
    dropout: float,
) -> Model:
    """A watched model; `loss_shapes` are those of the loss's prediction and target."""
    parameters = [each for each in module.parameters() if not layers.is_pending(each)]
    return Model(
        name=name,
        kind=layers.kind_of(layers.unwrapped(module)),
        parameters=sum(each.numel() for each in parameters),
        trainable=sum(each.numel() for each in parameters if each.requires_grad),
        compiled=compiled,
        compiled_parts=compiled_parts,
        eager_samples=eager_samples,
        hidden=hidden,
        loss=loss,
        loss_input=loss_shapes[0],
        loss_target=loss_shapes[1],
        dropout=dropout,
        calls=calls,
        left_out=left_out,
        late=late,
        target_learns=target_learns,
        inputs=inputs,
        acts=acts,
        shards=shards_of(parameters),
        unregistered=_unregistered(module),
    )


_MOST_LOOKED_AT = 64
"""Elements of a list that are looked at: one that holds modules holds them from the start."""


def _unregistered(module: nn.Module) -> tuple[str, ...]:
    """Plain containers of modules that would be trained if torch knew of them."""
    known = {id(each) for each in module.modules()}
    found = []
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            if name.startswith("_") or not isinstance(value, list | tuple | dict):
                continue
            held = islice(value.values() if isinstance(value, dict) else value, _MOST_LOOKED_AT)
            if any(isinstance(each, nn.Module) and _is_stray(each, known) for each in held):
                found.append(f"{path}.{name}" if path else name)
    return tuple(found)


def _is_stray(module: nn.Module, known: set[int]) -> bool:
    return id(module) not in known and any(each.requires_grad for each in module.parameters())

"""What the user shows by hand: arrays of a loop without torch, tensors that no hook can see.

Works without torch; arrays are copied by numpy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from deadband.cells import Cell, make_cell
from deadband.recorder import Entry, ModelEntry, Recorder
from deadband.regions import BIAS, INPUT, LAYER, OUTPUT, WEIGHT, Layout, Limits
from deadband.wire import Layer, Model, What

ROLES = {
    "activation": What.ACTIVATION,
    "input": What.INPUT,
    "output": What.OUTPUT,
    "output_grad": What.OUTPUT_GRAD,
    "target": What.TARGET,
    "weight": What.WEIGHT,
    "weight_grad": What.WEIGHT_GRAD,
    "bias": What.BIAS,
}
"""What `observe` calls a value -> what it is in a frame."""

_OF_MODEL = {What.INPUT: INPUT, What.OUTPUT: OUTPUT, What.OUTPUT_GRAD: OUTPUT, What.TARGET: OUTPUT}
_BY_CLASS = ("cross_entropy", "nll", "multi_margin")


@dataclass(frozen=True, slots=True)
class _Kept:
    """The slice of a weight as it was shown in one step."""

    step: int
    part: Any


class Observations:
    """Copies what is shown.

    Args:
        recorder: owns cells and layers.
        loss: kind of the loss, where the user has named it.
        follow: awaits the gradient of a tensor that was shown as an activation.
    """

    def __init__(
        self,
        recorder: Recorder,
        *,
        loss: str,
        follow: Callable[[Entry, Any], None] | None,
    ) -> None:
        self._recorder = recorder
        self._loss = loss
        self._follow = follow
        self._entries: dict[str, Entry] = {}
        self._activations: dict[str, str] = {}
        self._kept: dict[str, _Kept] = {}

    def bare_model(self) -> ModelEntry:
        """The model of a run without modules: all that was shown."""
        return ModelEntry(name="model", describe=self._described)

    def show(self, step: int, name: str, value: Any, *, activation: str, role: str) -> None:
        """Copy `value` in the sampled step `step`.

        Raises:
            ValueError: there is no such role.
        """
        if role not in ROLES:
            raise ValueError(f"role must be one of {', '.join(ROLES)}, not {role!r}")
        what = ROLES[role]
        value = value if hasattr(value, "detach") else np.asarray(value)
        if what in _OF_MODEL:
            self._show_of_model(name, value, what)
            return
        entry = self._entry(name, activation)
        if what is What.ACTIVATION:
            cell = self._copy(entry.cells, what, value, Layout.UNITS_LAST, LAYER)
            if cell is not None and self._follow is not None and hasattr(value, "detach"):
                self._follow(entry, value)
        elif what is What.BIAS:
            self._copy(entry.cells, what, value.reshape(-1), Layout.UNITS, BIAS)
        else:
            value = _by_unit(value)
            entry.sources[what] = tuple(value.shape)
            self._copy(entry.cells, what, value, Layout.UNITS_LAST, WEIGHT)
            if what is What.WEIGHT:
                entry.sources[What.WEIGHT_BEFORE] = tuple(value.shape)
                self._copy_before(entry, step)
                self._keep(step, name, value)

    def keep(self, step: int, name: str, value: Any) -> None:
        """Remember a weight of the step before a sampled one."""
        value = value if hasattr(value, "detach") else np.asarray(value)
        self._keep(step, name, _by_unit(value))

    def _keep(self, step: int, name: str, value: Any) -> None:
        part = value[: WEIGHT.rows, : WEIGHT.features]
        self._kept[name] = _Kept(step, part.clone() if hasattr(part, "clone") else part.copy())

    def _copy_before(self, entry: Entry, step: int) -> None:
        kept = self._kept.get(entry.name)
        if kept is not None and kept.step == step - 1:
            self._copy(entry.cells, What.WEIGHT_BEFORE, kept.part, Layout.UNITS_LAST, WEIGHT)

    def _show_of_model(self, name: str, value: Any, what: What) -> None:
        models = self._recorder.models
        model = next((each for each in models if each.name == name), models[0])
        layout = Layout.SAMPLES if value.ndim == 1 else Layout.UNITS_LAST
        if value.ndim > 3:
            layout = Layout.CHANNELS
        if what is What.TARGET:
            whole = "int" in str(value.dtype) or "bool" in str(value.dtype)
            output = model.cells.get(What.OUTPUT)
            if whole and (self._loss or model.describe().loss) in _BY_CLASS:
                by_channels = output is not None and output.layout is Layout.CHANNELS
                layout = Layout.LABEL_MAP if by_channels else Layout.LABELS
                if not hasattr(value, "detach"):
                    value = value.astype(np.int64)
            elif output is not None and math.prod(value.shape) == math.prod(output.source):
                value, layout = value.reshape(output.source), output.layout
        self._copy(model.cells, what, value, layout, _OF_MODEL[what])

    def _copy(
        self, cells: dict[What, Cell], what: What, value: Any, layout: Layout, limits: Limits
    ) -> Cell | None:
        """Copy the slice, unless the step has shown one; the cell where it was copied."""
        is_tensor = hasattr(value, "detach")
        cell = cells.get(what)
        if cell is None:
            cell = make_cell(what, value, layout, limits, array=not is_tensor)
            if cell is None:
                return None
            cells[what] = cell
        if cell.filled:
            return None
        if is_tensor:
            cell.take(value)
        else:
            cell.take_array(value)
        return cell

    # --- Descriptions ----------------------------------------------------------------------------

    def _entry(self, name: str, activation: str) -> Entry:
        entry = self._entries.get(name)
        if entry is None:
            entry = Entry(name=name, model=self._recorder.models[0].name)
            entry.describe = lambda: self._layer(entry)
            self._entries[name] = entry
            self._recorder.add(entry)
            self._recorder.executed(entry)
        if activation:
            self._activations[name] = activation
        return entry

    def _layer(self, entry: Entry) -> Layer:
        shown = entry.cells.get(What.ACTIVATION)
        weight = entry.sources.get(What.WEIGHT) or entry.sources.get(What.WEIGHT_GRAD) or (0, 0)
        bias = entry.cells.get(What.BIAS)
        units, inputs = weight
        return Layer(
            name=entry.name,
            model=entry.model,
            kind="observed",
            activation=self._activations.get(entry.name, ""),
            fan_in=inputs,
            units=units or (shown.source[-1] if shown is not None and shown.source else 0),
            parameters=units * inputs + (bias.source[0] if bias is not None else 0),
        )

    def _described(self) -> Model:
        parameters = sum(self._layer(entry).parameters for entry in self._entries.values())
        return Model(
            name="model", kind="", parameters=parameters, trainable=parameters, loss=self._loss
        )


def _by_unit(value: Any) -> Any:
    """A weight as (units, inputs), of (inputs,) or (inputs, units) as in `x @ w`."""
    if value.ndim < 2:
        return value.reshape(1, -1)
    return value.reshape(-1, value.shape[-1]).T

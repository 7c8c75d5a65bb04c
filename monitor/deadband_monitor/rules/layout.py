"""What the rows of a sample stand for, as masks that rules can use without a loop over layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from deadband.wire import Layer, LayerTable, Model

Mask = NDArray[np.bool_]

Key = tuple[str, str]
"""(model, layer)"""


class Layout:
    """The rows of one layer table, sorted into kinds."""

    def __init__(self, table: LayerTable) -> None:
        layers = table.layers
        self.table = table
        self.layers: tuple[Layer, ...] = layers
        self.keys: list[Key] = [(layer.model, layer.name) for layer in layers]
        self.row_of: dict[Key, int] = {key: row for row, key in enumerate(self.keys)}
        self.models = _with_own_losses(table.models)
        self.index_of: dict[str, int] = {model.name: i for i, model in enumerate(table.models)}
        self.model_of = np.array([self.index_of.get(layer.model, -1) for layer in layers], np.int64)
        self.rows_of: list[NDArray[np.int64]] = [
            np.flatnonzero(self.model_of == i) for i in range(len(table.models))
        ]
        self.learns: Mask = _mask(layer.trainable and layer.optimised for layer in layers)
        self.embedding: Mask = _mask("embedding" in layer.kind.lower() for layer in layers)
        # A weight with one input a unit is a gain (normalisation): it has no direction to judge.
        self.matrix: Mask = _mask(layer.fan_in >= 2 for layer in layers) & ~self.embedding
        # A parameter beside the layers gives no output: it is nobody's last layer.
        apart = _mask(layer.kind == "Parameter" for layer in layers)
        gives: Mask = self.matrix & ~apart
        self.weights: Mask = self.matrix | _mask(_of_one_input(layer) for layer in layers)
        """The matrices, and layers that take a single input: what decay and penalties act on."""
        self.fan_in = np.array([layer.fan_in for layer in layers], np.int64)
        self.units = np.array([layer.units for layer in layers], np.int64)
        self.last_row = np.zeros(len(layers), bool)
        self.head = np.zeros(len(layers), bool)
        """The last weight matrix of each model and what follows: the output, no hidden layer."""
        for rows in self.rows_of:
            if len(rows):
                self.last_row[rows[-1]] = True
                matrices = rows[gives[rows]]
                start = matrices[-1] if len(matrices) else rows[-1]
                self.head[rows[rows >= start]] = True
        self.hidden_units: Mask = ~(
            self.head | self.last_row | ((self.units > 0) & (self.units < 4))
        )
        """A sure answer saturates the output by right, and one or two units are no layer."""
        self.wide: Mask = self.learns & (self.fan_in >= 8) & (self.units >= 4)
        """In few dimensions random vectors point the same way by chance."""
        self.wide_hidden: Mask = self.wide & self.matrix & ~self.head
        self.wide_head: Mask = self.wide & self.matrix & self.head
        self.tables: Mask = self.embedding & self.learns & (self.fan_in >= 8)
        self.trained: Mask = self.matrix & self.learns
        # A model may hold nothing but tables (a factorisation) or slopes of single inputs.
        others = (self.weights | self.embedding) & self.learns
        for rows in self.rows_of:
            if not self.trained[rows].any():
                self.trained[rows] = others[rows]
        self.narrow_hidden: Mask = self.trained & ~self.head & (self.units >= 4) & (self.fan_in < 8)
        self.packed_attention: Mask = _mask(layer.kind == "MultiheadAttention" for layer in layers)
        """Queries, keys and values come of one weight."""
        self.trained_of: list[NDArray[np.int64]] = [
            rows[self.trained[rows]] for rows in self.rows_of
        ]
        """Rows of each model's weight matrices that an optimiser moves."""
        self.giving_of = [rows[~apart[rows]] for rows in self.trained_of]
        """The same without single parameters, which put nothing out themselves."""
        self.grown_of = [rows[~self.embedding[rows]] for rows in self.trained_of]
        """The same without tables, which are drawn near zero often and grow as they learn."""
        moved = (self.weights & self.learns) | self.trained
        self.weights_of = [rows[moved[rows]] for rows in self.rows_of]
        self.parameters = np.array([layer.parameters for layer in layers], np.float64)
        self.model_learns = [
            model.trainable > 0 and (len(table.models) == 1 or self._held(rows))
            for model, rows in zip(table.models, self.rows_of, strict=True)
        ]
        """A frozen teacher, or an averaged one that no optimiser holds, is not judged."""
        self.several_models = sum(self.model_learns) > 1
        """More than one model learns, so a loss is nobody's in particular."""
        self.judged: Mask = np.zeros(len(layers), bool)
        for rows, learns in zip(self.rows_of, self.model_learns, strict=True):
            self.judged[rows] = learns
        self.output_of = [self._makes_output(rows) for rows in self.rows_of]
        """Row of the layer that gives each model's output; -1 where it has none."""
        self.takes_ids = [
            bool(len(rows)) and bool(self.embedding[rows[0]]) for rows in self.rows_of
        ]

    def _makes_output(self, rows: NDArray[np.int64]) -> int:
        """The last of these rows; parameters without a call stand behind it."""
        own: list[int] = rows.tolist()
        called = [row for row in own if self.layers[row].kind != "Parameter"]
        return (called or own or [-1])[-1]

    def _held(self, rows: NDArray[np.int64]) -> bool:
        """Whether an optimiser holds anything of a model."""
        own = [row for row in rows.tolist() if self.layers[row].parameters]
        return not own or bool(self.learns[own].any())

    def models_of(self, rows: Sequence[int]) -> list[str]:
        """The models that hold these rows, in order of name."""
        if len(self.models) == 1:
            return [self.models[0].name]
        return sorted({self.keys[row][0] for row in rows})

    def output_layer(self, model: str) -> Layer | None:
        """The layer that gives a model's output; None where the model has none."""
        row = self.output_of[self.index_of[model]]
        return None if row < 0 else self.layers[row]

    def model(self, name: str) -> Model:
        """How a model was built, as the client told it: its loss, shapes and dropout."""
        return self.models[self.index_of[name]]

    def rows(self, model: str) -> NDArray[np.int64]:
        """Rows of one model's layers, in order of execution."""
        return self.rows_of[self.index_of[model]]

    def weighted(self, model: str) -> NDArray[np.int64]:
        """Those of them that multiply by a matrix."""
        rows = self.rows(model)
        return rows[self.matrix[rows]]

    def begins_after(self, old: Layout) -> bool:
        """Whether a model learns that did not, where one alone did before: a second stage."""
        before, now = (
            {m.name for m, learns in zip(each.models, each.model_learns, strict=True) if learns}
            for each in (old, self)
        )
        return len(before) == 1 and bool(now - before)

    def carry(self, old: Layout) -> NDArray[np.int64]:
        """For each row the row it had in `old`; -1 for a new one."""
        return np.array([old.row_of.get(key, -1) for key in self.keys], np.int64)


def _with_own_losses(models: tuple[Model, ...]) -> tuple[Model, ...]:
    """Of several models only those whose output a loss was seen to take keep its name.

    A generator's gradient comes through its discriminator's loss, which says nothing of what the
    generator's output should be.
    """
    if len(models) < 2 or not any(model.loss_input for model in models):
        return models
    return tuple(
        model if model.loss_input else msgspec.structs.replace(model, loss="") for model in models
    )


def _of_one_input(layer: Layer) -> bool:
    return layer.fan_in == 1 and layer.kind.lower().startswith(
        ("linear", "conv", "lstm", "gru", "rnn")
    )


def _mask(values: Iterable[bool]) -> Mask:
    return np.fromiter(values, np.bool_)

"""Whether a network has room for its task by its shape alone: something that bends, and width."""

from __future__ import annotations

from deadband_monitor.rules.layout import Layout

LINEAR = (
    "linear",
    "conv",
    "identity",
    "flatten",
    "dropout",
    "batchnorm",
    "avgpool",
    "sequential",
)
"""Beginnings of the kinds of layers that two of make one again."""


def is_linear(layout: Layout, model: str) -> bool:
    """Nothing that bends lies before the last weight layer."""
    layers, weighted = layout.layers, _weighted(layout, model)
    return bool(weighted) and all(
        not layer.activation and layer.kind.lower().startswith(LINEAR)
        for layer in layers[: weighted[-1]]
        if layer.model == model
    )


def bottleneck(layout: Layout, model: str) -> tuple[str, int] | None:
    """The first hidden layer of one or two units, through which everything has to pass."""
    for row in _weighted(layout, model)[:-1]:
        layer = layout.layers[row]
        if layer.units in {1, 2}:
            return layer.name, layer.units
    return None


def _weighted(layout: Layout, model: str) -> list[int]:
    """Rows of the weight layers; with a single input too, unlike a gain of a normalisation."""
    return [
        row
        for row, layer in enumerate(layout.layers)
        if layer.model == model
        and (layout.matrix[row] or layer.kind.lower().startswith(("linear", "conv")))
    ]

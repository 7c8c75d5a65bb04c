"""Statistics of a model that follow from those of its layers."""

from __future__ import annotations

import numpy as np

from deadband.wire import Plan, What
from deadband_monitor.statistics import weights
from deadband_monitor.statistics.table import Table
from deadband_monitor.statistics.values import Doubles, Mask

_FEWEST_MATRICES = 3
"""Weight matrices that a slope over depth is drawn through."""


class Summaries:
    """The layers of each model of one plan, taken together."""

    def __init__(self, plan: Plan) -> None:
        layers = plan.layers
        self._sizes = np.array([layer.parameters for layer in layers], dtype=np.float64)
        deep = _matrices_of_depth(plan)
        self._own = [
            np.array(
                [place for place, layer in enumerate(layers) if layer.model == model.name], int
            )
            for model in plan.models
        ]
        self._deep = [own[deep[own]] for own in self._own]

    def put(self, layers: Table, models: Table) -> None:
        """Fill `grad_norm`, `grad_slope` and `update_ratio` of the models."""
        rms = layers.get("grad_rms").astype(np.float64)
        ratio = layers.get("update_ratio").astype(np.float64)
        for index, (own, deep) in enumerate(zip(self._own, self._deep, strict=True)):
            if not len(own):
                continue
            put = [
                ("grad_norm", grad_norm(rms[:, own], self._sizes[own])),
                ("grad_slope", slope_over_depth(rms[:, deep])),
                ("update_ratio", np.fmax.reduce(ratio[:, own], axis=1)),
            ]
            for metric, values in put:
                everywhere = np.ones((len(values), 1), dtype=np.bool_)
                models.put(metric, slice(index, index + 1), values, everywhere)


def grad_norm(rms: Doubles, sizes: Doubles) -> Doubles:
    """Norm of the gradient of a model, (frames, layers), (layers,) -> (frames,).

    The rms of each layer's sampled elements stands for all of its parameters. NaN where no layer
    had a gradient.
    """
    known = ~np.isnan(rms)
    square = np.where(known, rms**2 * sizes, 0.0).sum(axis=1)
    return np.where(known.any(axis=1), np.sqrt(square), np.nan)


def slope_over_depth(rms: Doubles) -> Doubles:
    """Decades by which rms gradients change from one matrix to the next, (frames, k) -> (frames,).

    Least squares of log10 over the order towards the output: positive where they fade on their way
    back to the input. Gradients that are zero have no logarithm and are left out; NaN below three.
    """
    known = rms > 0
    count = known.sum(axis=1)
    with np.errstate(all="ignore"):
        level = np.where(known, np.log10(rms), 0.0)
        depth = np.where(known, np.arange(rms.shape[1], dtype=np.float64), 0.0)
        many = np.maximum(count, 1)
        middle = depth.sum(axis=1) / many
        away = np.where(known, depth - middle[:, None], 0.0)
        slope = (away * level).sum(axis=1) / (away**2).sum(axis=1)
    return np.where(count >= _FEWEST_MATRICES, slope, np.nan)


def _matrices_of_depth(plan: Plan) -> Mask:
    """Layers whose weight is a matrix that the signal passes through, (layers,)."""
    found = np.zeros(len(plan.layers), dtype=np.bool_)
    for slot in plan.slots:
        if slot.what is What.WEIGHT_GRAD:
            layer = plan.layers[slot.index]
            found[slot.index] = (
                weights.is_matrix(layer, slot.shape, slot.source)
                and not weights.is_embedding(layer)
                and layer.kind != "Parameter"
            )
    return found

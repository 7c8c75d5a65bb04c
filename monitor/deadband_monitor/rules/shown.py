"""What the sample before showed, for a newest one that shows less.

The last losses and evaluations of a run come with nothing measured, and of the batch that ends a
pass, too short to compare, outputs are not told: nearly every run ends with one or the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deadband_monitor.rules.past import Past
from deadband_monitor.state.series import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What one sample showed."""

    layers: Floats
    models: Mapping[str, tuple[list[float], float]]
    """By name: the statistics, and the better of the fresh and the smoothed skill."""


def shown(past: Past) -> Shown:
    """What the newest sample showed."""
    models = {name: (model.values, model.best_of_now) for name, model in past.models.items()}
    return Shown(layers=past.newest, models=models)


def go_back(past: Past, before: Shown) -> None:
    """Show again what an older sample did, but for what the newest one tells."""
    if len(before.layers) == len(past.newest):
        past.newest = before.layers
    for name, (values, best_of_now) in before.models.items():
        past.models[name].fill(values, best_of_now)


def recall(past: Past, before: Shown) -> None:
    """Fill in what a batch that was too short told nothing of, as the one before it had it.

    For the causes alone: rules would count what they are shown a second time.
    """
    layout = past.layout
    if layout is None or len(before.layers) != len(past.newest):
        return
    for i, model in enumerate(layout.models):
        values, _ = before.models.get(model.name, ([], 0.0))
        if values and past.models[model.name].recall(values):
            rows = layout.rows_of[i]
            newest = past.newest.copy()
            newest[rows] = np.where(np.isfinite(newest[rows]), newest[rows], before.layers[rows])
            past.newest = newest

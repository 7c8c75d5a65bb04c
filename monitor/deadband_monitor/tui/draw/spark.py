"""A sparkline: one row of eighth blocks in one colour, on the metric's own fixed scale."""

from __future__ import annotations

import numpy as np

from deadband_monitor.metrics import Metric
from deadband_monitor.tui.draw.scale import Values, ends, on_scale, worst_of

BLOCKS = "▁▂▃▄▅▆▇█"


def spark(metric: Metric, values: Values) -> str:
    """One character a value; blank where nothing was measured.

    Scaled to the metric, not to the values' own range: noise stays flat and a fall looks like one.
    """
    low, high = ends(metric)
    share = (on_scale(metric, values) - low) / (high - low)
    steps = (np.clip(np.nan_to_num(share), 0, 0.999) * len(BLOCKS)).astype(int)
    missing = np.isnan(np.asarray(values, np.float64))
    return "".join(" " if gone else BLOCKS[step] for step, gone in zip(steps, missing, strict=True))


def squeeze(metric: Metric, low: Values, high: Values, width: int) -> Values:
    """Columns folded into at most `width`, each by its worst reading."""
    worst = worst_of(metric, low, high)
    if width < 1 or not len(worst):
        return worst[:0]
    per_cell = max(1, -(-len(worst) // width))
    cells = -(-len(worst) // per_cell)
    padded = np.full(cells * per_cell, np.nan)
    padded[: len(worst)] = worst
    table = padded.reshape(cells, per_cell)
    return worst_of(metric, _reduced(np.fmin, table), _reduced(np.fmax, table))


def _reduced(take: np.ufunc, table: Values) -> Values:
    folded: Values = take.reduce(table, axis=1)
    return folded

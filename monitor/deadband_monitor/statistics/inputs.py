"""Statistics of what the model is fed."""

from __future__ import annotations

import numpy as np

from deadband_monitor.statistics.values import Doubles, Floats, Reals


def feature_scales(rows: Reals) -> tuple[float, float]:
    """Largest over median sd of the features that vary; largest feature's share of sum x^2.

    rows: (n, m features) of finite values. The first is NaN with fewer than 2 rows or no feature
    that varies: constant pixels of an image are harmless and left out.
    """
    if not rows.size:
        return np.nan, np.nan
    wide = rows.astype(np.float64)
    power = np.einsum("nm,nm->m", wide, wide)
    total = float(power.sum())
    top = float(power.max()) / total if total > 0 else np.nan
    if len(wide) < 2:
        return np.nan, top
    wide -= wide[0]
    wide -= wide.mean(axis=0)
    deviation = np.sqrt(np.einsum("nm,nm->m", wide, wide) / len(wide))
    varying = np.sort(deviation[deviation > 0])
    if not len(varying):
        return np.nan, top
    middle = (varying[(len(varying) - 1) // 2] + varying[len(varying) // 2]) / 2
    return float(varying[-1] / middle), top


def duplicate_share(rows: Floats) -> float:
    """Share of rows that repeat an earlier one exactly, (n, m): 0 all differ, 1 - 1/n all equal."""
    if not len(rows):
        return np.nan
    plain = rows + np.float32(0.0)  # -0.0 and 0.0 are one value
    return 1.0 - len({row.tobytes() for row in plain}) / len(rows)


def largest_absolute(x: Reals) -> Doubles:
    """Largest |x| of each slice, (b, ...) -> (b,)."""
    flat = x.reshape(len(x), -1)
    if not flat.shape[1]:
        return np.full(len(x), np.nan)
    return np.asarray(np.maximum(flat.max(axis=1), -flat.min(axis=1)), dtype=np.float64)

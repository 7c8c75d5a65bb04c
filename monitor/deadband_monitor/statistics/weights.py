"""Statistics of weights, of one step's change of them, and of their gradients."""

from __future__ import annotations

import numpy as np

from deadband.wire import Layer
from deadband_monitor.statistics.moments import mean_square
from deadband_monitor.statistics.values import Doubles, Floats, Mask, Reals

_SAME_DIRECTION = 0.999
_FEWEST_INPUTS, _FEWEST_UNITS = 8, 4
"""With two inputs a healthy net shows 44-50 % twin units, with one always 100 %: directions in few
dimensions meet by chance."""

_TINY = 1e-30


def is_matrix(layer: Layer, shape: tuple[int, ...], source: tuple[int, ...]) -> bool:
    """Whether a weight connects inputs to units; the scales of norm layers do not."""
    if layer.kind.endswith("Norm") or "Norm" in layer.kind:
        return False
    return len(source) > 1 if source else len(shape) > 1 and shape[1] > 1


def is_embedding(layer: Layer) -> bool:
    """Rows of an embedding are looked up, not multiplied: no fan-in, and most rest in a step."""
    return layer.kind.startswith("Embedding")


def weight_spread(weight: Reals, fan_in: Floats) -> Doubles:
    """Sd of all elements times sqrt(3 fan_in), (b, ...) and (b,) -> (b,).

    PyTorch's default initialisation is uniform in +-1/sqrt(fan_in), whose sd is 1/sqrt(3 fan_in):
    it gives 1; He's gives sqrt(6) = 2.45. Exactly 0.0 where all weights are equal, NaN for fan_in
    0.
    """
    flat = weight.reshape(len(weight), -1)
    if not flat.shape[1]:
        return np.full(len(weight), np.nan)
    with np.errstate(all="ignore"):
        # Differences of huge weights overflow float32, so such slices are scaled down first.
        largest = np.abs(flat).max(axis=1).astype(np.float64)
        unit = np.where(largest > 0, largest, 1.0)
        scaled = flat / unit[:, None].astype(flat.dtype)
        centred = scaled - scaled[:, :1]
        centred -= centred.mean(axis=1, keepdims=True)
        spread = np.sqrt(mean_square(centred)) * unit * np.sqrt(3.0 * fan_in)
    return np.where(fan_in > 0, spread, np.nan)


def twins(rows: Reals, *, zero_rows_count: bool) -> Doubles:
    """Share of units whose row points the same way as another's (cosine > 0.999).

    rows: (b, u units, i inputs) -> (b,). Rows of zeros are all alike where they count (weights);
    else (gradients, where they belong to dead units) they are left out. NaN below 8 inputs or 4
    units that count.
    """
    batch, units, inputs = rows.shape
    if units < _FEWEST_UNITS or inputs < _FEWEST_INPUTS:
        return np.full(batch, np.nan)
    with np.errstate(all="ignore"):
        largest = np.abs(rows).max(axis=2, keepdims=True)
        empty = largest[..., 0] == 0
        unit = rows / np.where(largest > 0, largest, 1)
        unit /= np.where(empty, 1, np.sqrt(np.einsum("bui,bui->bu", unit, unit)))[..., None]
        cosine = unit @ unit.swapaxes(1, 2)
        cosine[:, np.arange(units), np.arange(units)] = -1.0
        twin = cosine.max(axis=2) > _SAME_DIRECTION
        if zero_rows_count:
            twin |= empty & (empty.sum(axis=1, keepdims=True) > 1)
            share = twin.mean(axis=1)
        else:
            counted = units - empty.sum(axis=1)
            share = np.where(
                counted >= _FEWEST_UNITS, twin.sum(axis=1) / np.maximum(counted, 1), np.nan
            )
        finite = np.isfinite(largest).all(axis=(1, 2))
    return np.where(finite, share, np.nan)


def difference(a: Reals, b: Reals) -> Reals:
    """Difference a - b, in float64 where float32 would overflow."""
    gap = a - b
    if np.isfinite(gap).all():
        return gap
    return a.astype(np.float64) - b


def growth(square: Doubles, first_square: Doubles) -> Doubles:
    """rms(W) / rms(W0) from mean squares; NaN where W0 is zero."""
    with np.errstate(all="ignore"):
        return np.where(first_square > 0, np.sqrt(square / first_square), np.nan)


def drift(weight: Reals, first: Reals, first_square: Doubles) -> Doubles:
    """|W - W0| / |W0|, (b, ...) -> (b,); NaN where W0 is zero."""
    with np.errstate(all="ignore"):
        moved = mean_square(difference(weight, first))
        return np.where(first_square > 0, np.sqrt(moved / first_square), np.nan)


def update_ratio(
    before: Reals, after: Reals, before_square: Doubles, fan_in: Floats, touched: Mask | None = None
) -> Doubles:
    """rms(change of one step) / max(rms(W), 1/sqrt(3 fan_in)), (b, u, i) -> (b,).

    The floor is the sd of PyTorch's default initialisation: a layer that starts at zero (the B of
    LoRA, Fixup, a zero head) has a large relative change by design. W is taken before the step, so
    a step that dwarfs the weights shows in full. `touched` (b, u) restricts it to those rows.
    """
    with np.errstate(all="ignore"):
        change = difference(after, before)
        floor = np.where(fan_in > 0, 1.0 / (3.0 * np.maximum(fan_in, 1)), np.nan)
        if touched is None:
            return np.asarray(np.sqrt(mean_square(change) / np.fmax(before_square, floor)))
        share = touched.mean(axis=1)
        kept = np.where(touched[..., None], before, 0)
        moved = np.where(touched[..., None], change, 0)
        base = np.fmax(mean_square(kept) / np.maximum(share, _TINY), floor)
        ratio = np.sqrt(mean_square(moved) / np.maximum(share, _TINY) / base)
        return np.where(share > 0, ratio, np.nan)

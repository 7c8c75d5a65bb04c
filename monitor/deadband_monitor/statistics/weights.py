"""Statistics of weights, of one step's change of them, and of their gradients."""

from __future__ import annotations

import numpy as np

from deadband.wire import Layer
from deadband_monitor.statistics.moments import mean_square, mean_square_difference
from deadband_monitor.statistics.values import Doubles, Floats, Mask, Reals

_SAME_DIRECTION = 0.999
_FEWEST_INPUTS, _FEWEST_UNITS = 8, 4
"""With two inputs a healthy net shows 44-50 % twin units, with one always 100 %: directions in few
dimensions meet by chance."""

_SMALLEST, _LARGEST = 1e-30, 1e30
"""Squared norms of rows that float32 holds with all its digits."""

_TINY = 1e-30


def is_matrix(layer: Layer, shape: tuple[int, ...], source: tuple[int, ...]) -> bool:
    """Whether a weight connects inputs to units; the scales of norm layers do not."""
    if layer.kind.endswith("Norm") or "Norm" in layer.kind:
        return False
    return len(source) > 1 if source else len(shape) > 1 and shape[1] > 1


def is_embedding(layer: Layer) -> bool:
    """Rows of an embedding are looked up, not multiplied: no fan-in, and most rest in a step."""
    return layer.kind.startswith("Embedding")


def weight_spread(variance: Doubles, fan_in: Floats) -> Doubles:
    """Sd of all elements times sqrt(3 fan_in), from their variance: (b,), (b,) -> (b,).

    PyTorch's default initialisation is uniform in +-1/sqrt(fan_in), whose sd is 1/sqrt(3 fan_in):
    it gives 1; He's gives sqrt(6) = 2.45. Exactly 0.0 where all weights are equal, NaN without a
    fan-in.
    """
    return np.where(fan_in > 0, np.sqrt(3.0 * variance * fan_in), np.nan)


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
        square = (rows[:, :, None] @ rows[..., None])[:, :, 0, 0]
        if rows.dtype != np.float64:
            # Rows whose squares float32 does not hold, other than rows of zeros.
            wide = ~((square > _SMALLEST) & (square < _LARGEST))
            wide &= (square != 0) | rows.any(axis=2) if wide.any() else wide
            odd = wide.any(axis=1)
            if odd.any():
                share = np.empty(batch)
                share[odd] = twins(rows[odd].astype(np.float64), zero_rows_count=zero_rows_count)
                share[~odd] = twins(rows[~odd], zero_rows_count=zero_rows_count)
                return share
        empty = square == 0
        norms = np.sqrt(np.where(empty, 1, square))
        unit = rows / norms[..., None]
        # Cosines times the norms of the second row. Of `unit` with itself numpy would make a
        # product that takes five times as long.
        products = unit @ rows.swapaxes(1, 2)
        products.reshape(batch, units * units)[:, :: units + 1] = -np.inf
        twin = products.max(axis=1) > _SAME_DIRECTION * norms
        if zero_rows_count:
            twin |= empty & (empty.sum(axis=1, keepdims=True) > 1)
            share = twin.mean(axis=1)
        else:
            counted = units - empty.sum(axis=1)
            share = np.where(
                counted >= _FEWEST_UNITS, twin.sum(axis=1) / np.maximum(counted, 1), np.nan
            )
    return np.where(np.isfinite(square).all(axis=1), share, np.nan)


def growth(square: Doubles, first_square: Doubles) -> Doubles:
    """rms(W) / rms(W0) from mean squares; NaN where W0 is zero."""
    with np.errstate(all="ignore"):
        return np.where(first_square > 0, np.sqrt(square / first_square), np.nan)


def drift(moved_square: Doubles, first_square: Doubles) -> Doubles:
    """|W - W0| / |W0| from mean squares; NaN where W0 is zero."""
    return growth(moved_square, first_square)


def changes(before: Floats, after: Floats) -> tuple[Floats, Doubles]:
    """Change of each weight in one step, and its mean square: (b, u, i) -> (b, u, i), (b,)."""
    with np.errstate(all="ignore"):
        change = after - before
    square = mean_square(change)
    beyond = np.isnan(square)  # the difference of two large numbers may pass the end of float32
    if beyond.any():
        square[beyond] = mean_square_difference(after[beyond], before[beyond])
    return change, square


def update_ratio(change_square: Doubles, before_square: Doubles, fan_in: Floats) -> Doubles:
    """rms(change of one step) / max(rms(W), 1/sqrt(3 fan_in)) from mean squares: (b,).

    The floor is the sd of PyTorch's default initialisation: a layer that starts at zero (the B of
    LoRA, Fixup, a zero head) has a large relative change by design. W is taken before the step, so
    a step that dwarfs the weights shows in full.
    """
    with np.errstate(all="ignore"):
        return np.asarray(np.sqrt(change_square / np.fmax(before_square, _floor(fan_in))))


def update_ratio_of_rows(before: Reals, after: Reals, fan_in: Floats, touched: Mask) -> Doubles:
    """`update_ratio` of those rows alone that were touched, (b, u, i) and (b, u) -> (b,)."""
    with np.errstate(all="ignore"):
        share = touched.mean(axis=1)
        kept = np.where(touched[..., None], before, 0)
        moved = np.where(touched[..., None], after, 0)
        base = np.fmax(mean_square(kept) / np.maximum(share, _TINY), _floor(fan_in))
        change = mean_square_difference(moved, kept) / np.maximum(share, _TINY)
        return np.where(share > 0, np.sqrt(change / base), np.nan)


def _floor(fan_in: Floats) -> Doubles:
    return np.where(fan_in > 0, 1.0 / (3.0 * np.maximum(fan_in, 1)), np.nan)

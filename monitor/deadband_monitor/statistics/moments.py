"""Second moments that neither overflow nor cancel: mean squares and the spread across samples.

All statistics of activations, inputs and outputs rest on these. Two rules make them trustworthy:
rows are centred on the first row before their mean is taken, so rows that are exactly equal give
exactly 0.0 and nothing like E[x^2] - E[x]^2 can go negative; and what float32 cannot hold (sums of
squares beyond 1e30 or below 1e-12) is done again in float64, slice by slice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deadband_monitor.statistics.values import Doubles, Mask, Reals

_SMALLEST, _LARGEST = 1e-12, 1e30
"""Sums of squares that float32 holds with all its digits (it ends at 1e-38 and 3e38; the products
of centred rows may be 1e-14 of the sum, which is float32's own rounding squared)."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the rows of each of b slices lie apart."""

    mean_square: Doubles
    """(b,) mean of all x^2"""
    variance: Doubles
    """(b,) mean over columns of the variance over rows (1/n), exactly 0.0 for equal rows"""
    participation: Doubles
    """(b,) directions in use; NaN for equal rows or where it was not asked for"""
    columns: Reals
    """(b, m) variance of each column over rows; no columns where they were not asked for"""

    @property
    def dependence(self) -> Doubles:
        """Rho = variance / mean square, in [0, 1]; 0.0 for slices that are zero throughout."""
        rho = np.divide(
            self.variance,
            self.mean_square,
            out=np.zeros_like(self.variance),
            where=self.mean_square > 0,
        )
        return np.where(np.isnan(self.mean_square), np.nan, np.minimum(rho, 1.0))


def mean_square(x: Reals) -> Doubles:
    """Mean of x^2 over all but the first axis, (b, ...) -> (b,); NaN where x is not finite."""
    flat = x.reshape(len(x), -1)
    if not flat.shape[1]:
        return np.full(len(x), np.nan)
    with np.errstate(all="ignore"):
        (value,) = _widened(lambda part: (sum_of_squares(part),), flat)
        return value / flat.shape[1]


def spread(x: Reals, *, directions: bool = True, columns: bool = False) -> Spread:
    """Spread of the rows of each slice, x: (b, n rows, m columns).

    The participation ratio is tr(K)^2 / |K|_F^2 of the centred Gram matrix K = Xc Xc^T: 1 when all
    rows lie on a line, n - 1 when they share nothing. One row gives NaN: nothing to compare.
    """
    batch, rows, width = x.shape
    unknown = np.full(batch, np.nan)
    if rows < 2 or not width:
        return Spread(
            mean_square(x), unknown, unknown, np.full((batch, width if columns else 0), np.nan)
        )

    ones = np.ones((1, rows))

    def measure(part: Reals) -> tuple[Reals, ...]:
        total = sum_of_squares(part.reshape(len(part), -1))
        away = part - part[:, :1]
        # A product with ones sums over rows at several times the speed of `mean`.
        middle = ones.astype(part.dtype) @ away
        middle /= rows
        centred = away - middle
        each = np.einsum("bnm,bnm->bm", centred, centred) if columns else centred[:, 0, :0]
        if columns:
            across = each.sum(axis=1, dtype=np.float64)
        else:
            across = sum_of_squares(centred.reshape(len(part), -1))
        if not directions:
            return total, across, each
        # Not of `centred` with itself: numpy gives that to a routine that is five times as slow
        # for matrices as small as these. What it is too large by is the same in each column, and
        # small: the first row is one of the rows.
        gram = away @ centred.swapaxes(1, 2)
        gram -= ones.astype(part.dtype) @ gram / rows
        gram /= np.where(across > 0, across, 1.0).astype(gram.dtype)[:, None, None]
        square = sum_of_squares(gram.reshape(len(part), -1))
        return total, across, each, np.where(across > 0, 1.0 / square, np.nan)

    with np.errstate(all="ignore"):
        total, across, each_column, *ratio = _widened(measure, x)
        size = rows * width
        across = np.where(np.isfinite(total), across, np.nan)
        return Spread(total / size, across / size, *(ratio or [unknown]), each_column / rows)


def mean_and_variance(x: Reals) -> tuple[Doubles, Doubles]:
    """Mean of x^2 and variance over all elements of each slice, (b, ...) -> (b,), (b,).

    The variance is exactly 0.0 where all elements are equal.
    """
    flat = x.reshape(len(x), -1)
    if not flat.shape[1]:
        return np.full(len(x), np.nan), np.full(len(x), np.nan)

    def measure(part: Reals) -> tuple[Doubles, ...]:
        centred = part - part[:, :1]
        centred -= centred @ np.full((part.shape[1], 1), 1.0 / part.shape[1], part.dtype)
        return sum_of_squares(part), sum_of_squares(centred)

    with np.errstate(all="ignore"):
        square, variance = _widened(measure, flat)
    return square / flat.shape[1], variance / flat.shape[1]


def mean_square_difference(a: Reals, b: Reals) -> Doubles:
    """Mean of (a - b)^2 of each slice, (n * k, ...), (k, ...) -> (n * k,): b counts n times."""
    if not a.size:
        return np.full(len(a), np.nan)
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    with np.errstate(all="ignore"):
        total = sum_of_squares((a.reshape(-1, *b.shape) - b).reshape(a.shape))
        again = np.flatnonzero(~_holds(total))
        if len(again):
            wide = a[again].astype(np.float64) - b[again % len(b)]
            total[again] = sum_of_squares(wide)
    total[~np.isfinite(total)] = np.nan
    return total / a.shape[1]


def nonfinite_share(x: Reals) -> Doubles:
    """Share of NaN or infinite elements, (b, ...) -> (b,); 0.0 for empty slices."""
    flat = x.reshape(len(x), -1)
    if not flat.shape[1]:
        return np.zeros(len(x))
    return np.asarray(1.0 - np.isfinite(flat).mean(axis=1, dtype=np.float64))


def nonfinite_where(suspect: Mask, x: Reals) -> Doubles:
    """`nonfinite_share` of the suspect slices only, 0.0 for the others: (b,)."""
    share = np.zeros(len(x))
    if suspect.any():
        share[suspect] = nonfinite_share(x[suspect])
    return share


def sum_of_squares(flat: Reals) -> Doubles:
    """(b, m) -> (b,), summed in pieces so that float32 keeps six digits at any length."""
    width = flat.shape[1]
    pieces = max(1, width // 512)
    if width % pieces:
        pieces = 1
    part = flat.reshape(len(flat), pieces, 1, width // pieces)
    # As products of matrices: those have the fastest loops.
    sums = part @ part.swapaxes(2, 3)
    return np.asarray(sums.reshape(len(flat), pieces).sum(axis=1, dtype=np.float64))


def _holds(total: Doubles) -> Mask:
    """Whether float32 has summed these squares with all its digits."""
    return np.asarray((total > _SMALLEST) & (total < _LARGEST))


def _widened(measure: Callable[[Reals], tuple[Reals, ...]], x: Reals) -> list[Reals]:
    """`measure` of x; again in float64 for slices whose sum of squares is out of float32's range.

    The first value that `measure` gives is the sum of squares; slices that are not finite come
    back as NaN, slices of zeros as they are.
    """
    values = list(measure(x))
    again = ~_holds(values[0])
    if not again.any():
        return values
    values = [np.array(value, dtype=np.float64) for value in values]
    again &= x.reshape(len(x), -1).any(axis=1)
    if again.any() and x.dtype != np.float64:
        for value, wide in zip(values, measure(x[again].astype(np.float64)), strict=True):
            value[again] = wide
    broken = ~np.isfinite(values[0])
    for value in values:
        value[broken] = np.nan
    return values

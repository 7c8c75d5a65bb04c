"""Second moments that neither overflow nor cancel: mean squares and the spread across samples.

All statistics of activations, inputs and outputs rest on these. Two rules make them trustworthy:
rows are centred on the first row before their mean is taken, so rows that are exactly equal give
exactly 0.0 and nothing like E[x^2] - E[x]^2 can go negative; and what float32 cannot hold (sums of
squares beyond 1e30 or below 1e-12) is done again in float64, slice by slice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.statistics.values import Doubles, Mask, Reals

Number = TypeVar("Number", bound=np.generic)

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
        total = sum_of_squares(flat)
        again = ~_holds(total)
        if again.any():
            wide = flat[again]
            if flat.dtype != np.float64:
                total[again] = sum_of_squares(wide.astype(np.float64))
            total[~np.isfinite(total)] = np.nan
        return total / flat.shape[1]


def spread(x: Reals, *, directions: bool = True, columns: bool = False) -> Spread:
    """Spread of the rows of each slice, x: (b, n rows, m columns).

    The participation ratio is tr(K)^2 / |K|_F^2 of the centred Gram matrix K = Xc Xc^T: 1 when all
    rows lie on a line, n - 1 when they share nothing. One row gives NaN: nothing to compare.
    """
    measured = Spreading(directions=directions, columns=columns)
    measured.add(x)
    return measured.spread()


@dataclass(frozen=True, slots=True)
class _Sums:
    """Of one block, before anything is divided."""

    total: Reals
    across: Reals
    each: Reals
    gram: Reals | None


class Spreading:
    """`spread` of slices that come in blocks.

    What goes over all their elements is done while a block lies in the cache; what is left of each
    of them is worked on together.
    """

    def __init__(self, *, directions: bool = True, columns: bool = False) -> None:
        self._directions = directions
        self._columns = columns
        self._blocks: list[Reals] = []
        self._sums: list[_Sums] = []

    def add(self, x: Reals) -> None:
        """Take the next slices, (b, n rows, m columns); they must stay as they are."""
        self._blocks.append(x)
        if x.shape[1] > 1 and x.shape[2]:
            with np.errstate(all="ignore"):
                self._sums.append(self._summed(x))

    def spread(self) -> Spread:
        """Of all slices in turn."""
        blocks = self._blocks
        _, rows, width = blocks[0].shape
        unknown = np.full(sum(map(len, blocks)), np.nan)
        if rows < 2 or not width:
            square = joined([mean_square(block) for block in blocks])
            nothing = np.full((len(unknown), width if self._columns else 0), np.nan)
            return Spread(square, unknown, unknown, nothing)
        with np.errstate(all="ignore"):
            values = self._figures(self._sums)
            if not _holds(values[0]).all():
                values = _widened(values, blocks, self._figures_of)
            total, across, each, *ratio = values
            size = rows * width
            across = np.where(np.isfinite(total), across, np.nan)
            participation = np.asarray(ratio[0] if ratio else unknown, dtype=np.float64)
            return Spread(total / size, across / size, participation, each / rows)

    def _summed(self, x: Reals) -> _Sums:
        rows = x.shape[1]
        total = sum_of_squares(x.reshape(len(x), -1))
        away = x - x[:, :1]
        # A product with ones sums over rows at several times the speed of `mean`.
        middle = np.full((1, rows), 1.0 / rows, x.dtype) @ away
        centred = away - middle
        if self._columns:
            each = np.einsum("bnm,bnm->bm", centred, centred)
            across = each.sum(axis=1, dtype=np.float64)
        else:
            each, across = centred[:, 0, :0], sum_of_squares(centred.reshape(len(x), -1))
        if not self._directions:
            return _Sums(total, across, each, None)
        # Not of `centred` with itself: numpy gives that to a routine that is five times as slow
        # for matrices as small as these. `_participation` takes off what it is too large by.
        return _Sums(total, across, each, away @ centred.swapaxes(1, 2))

    def _figures(self, sums: Sequence[_Sums]) -> list[Reals]:
        across = joined([one.across for one in sums])
        figures = [joined([one.total for one in sums]), across, joined([one.each for one in sums])]
        grams = [one.gram for one in sums if one.gram is not None]
        return [*figures, _participation(joined(grams), across)] if grams else figures

    def _figures_of(self, x: Reals) -> list[Reals]:
        return self._figures([self._summed(x)])


def _participation(gram: Reals, trace: Reals) -> Doubles:
    """From the products of rows less their first one with rows less their mean: (b, n, n) -> (b,).

    They are too large by the product of the mean with each row, which is the same all down a
    column. It is no larger than n variances, as the first row is one of the rows, so that nothing
    cancels.
    """
    rows = gram.shape[1]
    gram = gram - np.full((1, rows), 1.0 / rows, gram.dtype) @ gram
    gram /= np.where(trace > 0, trace, 1.0).astype(gram.dtype)[:, None, None]
    square = sum_of_squares(gram.reshape(len(gram), -1))
    return np.where(trace > 0, 1.0 / square, np.nan)


def mean_and_variance(x: Reals) -> tuple[Doubles, Doubles]:
    """Mean of x^2 and variance over all elements of each slice, (b, ...) -> (b,), (b,).

    The variance is exactly 0.0 where all elements are equal.
    """
    flat = x.reshape(len(x), -1)
    if not flat.shape[1]:
        return np.full(len(x), np.nan), np.full(len(x), np.nan)

    def measure(part: Reals) -> list[Reals]:
        centred = part - part[:, :1]
        centred -= centred @ np.full((part.shape[1], 1), 1.0 / part.shape[1], part.dtype)
        return [sum_of_squares(part), sum_of_squares(centred)]

    with np.errstate(all="ignore"):
        values = measure(flat)
        if not _holds(values[0]).all():
            values = _widened(values, [flat], measure)
        square, variance = values
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


def _holds(total: Reals) -> Mask:
    """Whether float32 has summed these squares with all its digits."""
    return np.asarray((total > _SMALLEST) & (total < _LARGEST))


def _widened(
    values: list[Reals], blocks: Sequence[Reals], measure: Callable[[Reals], list[Reals]]
) -> list[Reals]:
    """What was measured, again in float64 where a sum of squares is out of float32's range.

    The first value is the sum of squares; slices that are not finite come back as NaN, slices of
    zeros as they are.
    """
    values = [np.array(value, dtype=np.float64) for value in values]
    again = ~_holds(values[0])
    start = 0
    for block in blocks:
        odd = np.flatnonzero(again[start : start + len(block)])
        if len(odd) and block.dtype != np.float64:
            odd = odd[block[odd].reshape(len(odd), -1).any(axis=1)]
            if len(odd):
                wide = measure(block[odd].astype(np.float64))
                for value, better in zip(values, wide, strict=True):
                    value[start + odd] = better
        start += len(block)
    broken = ~np.isfinite(values[0])
    for value in values:
        value[broken] = np.nan
    return values


def joined(parts: Sequence[NDArray[Number]]) -> NDArray[Number]:
    """Arrays one after another."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)

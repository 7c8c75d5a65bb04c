"""How alike the outputs of a layer are: between samples, between positions, and unit by unit."""

from __future__ import annotations

import numpy as np

from deadband_monitor.statistics.moments import joined
from deadband_monitor.statistics.values import Doubles, Reals

_SMALLEST, _LARGEST = 1e-30, 1e30
"""Squared norms of rows that float32 holds with all its digits."""

_ACTIVE_VARIANCE = 0.01
"""A latent unit is active when its mean varies by more than this over the data (Burda et al. 2016,
Importance Weighted Autoencoders, arXiv:1509.00519, section 5)."""
FEWEST_ROWS = 8
"""Rows that a unit's variance is judged by: of fewer, it is off by more than half."""


def mean_cosine(rows: Reals) -> Doubles:
    """Mean cosine between two different rows of each slice, (b, n rows, m) -> (b,).

    That is (n |mean of unit rows|^2 - 1) / (n - 1), without the n^2 pairs. NaN below two rows, and
    where a row is zero or not finite: it has no direction.
    """
    measured = Cosines()
    measured.add(rows)
    return measured.mean()


class Cosines:
    """`mean_cosine` of slices that come in blocks, as in `moments.Spreading`."""

    def __init__(self) -> None:
        self._blocks: list[Reals] = []
        self._squares: list[Reals] = []
        self._lengths: list[Reals] = []

    def add(self, rows: Reals) -> None:
        """Take the next slices, (b, n rows, m); they must stay as they are."""
        self._blocks.append(rows)
        if rows.shape[1] < 2 or not rows.shape[2]:
            return
        with np.errstate(all="ignore"):
            square = np.einsum("bnm,bnm->bn", rows, rows)
            total = (1.0 / np.sqrt(square))[:, None] @ rows
            self._squares.append(square)
            self._lengths.append((total @ total.swapaxes(1, 2))[:, 0, 0])

    def mean(self) -> Doubles:
        """Of all slices in turn."""
        if not self._squares:
            return np.full(sum(map(len, self._blocks)), np.nan)
        count = self._blocks[0].shape[1]
        square = joined(self._squares)
        cosine = (joined(self._lengths).astype(np.float64) - count) / (count * (count - 1.0))
        # Written so that rows that are not finite are left as they are: no digits would come back.
        odd = (square <= _SMALLEST) | (square >= _LARGEST)
        if odd.any():
            cosine[(square == 0).any(axis=1)] = np.nan
            start = 0
            for rows in self._blocks if square.dtype != np.float64 else ():
                places = start + np.flatnonzero(odd[start : start + len(rows)].any(axis=1))
                if len(places):
                    cosine[places] = mean_cosine(rows[places - start].astype(np.float64))
                start += len(rows)
        return np.where(np.isfinite(cosine), np.clip(cosine, -1.0, 1.0), np.nan)


def token_similarity(x: Reals) -> Doubles:
    """Mean cosine between positions inside a sample, (b, n, p positions, u) -> (b,).

    Samples with a position that is zero throughout (padding) are left out; NaN where none is left.
    """
    batch, samples, positions, units = x.shape
    each = mean_cosine(x.reshape(batch * samples, positions, units)).reshape(batch, samples)
    known = ~np.isnan(each)
    count = known.sum(axis=1)
    total = np.where(known, each, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def active_units(columns: Reals, shape: tuple[int, ...], axes: str) -> Doubles:
    """Share of units whose across-sample variance is above 0.01: (b,).

    columns: (b, m) variance over samples of each column, as `spread` of `by_sample` gives it; a
    unit at several positions has the mean of theirs. NaN below 8 rows.
    """
    batch, width = columns.shape
    rows = shape[axes.index("n")] if "n" in axes else 1
    if rows < FEWEST_ROWS or not width:
        return np.full(batch, np.nan)
    if "p" in axes and "u" in axes:
        unit = axes.replace("n", "").index("u")
        sizes = [size for size, letter in zip(shape, axes, strict=True) if letter != "n"]
        columns = columns.reshape(batch, *sizes)
        if unit:
            columns = np.moveaxis(columns, 1 + unit, 1)
        columns = columns.reshape(batch, sizes[unit], -1)
        columns = columns @ np.full(columns.shape[2], 1.0 / columns.shape[2], columns.dtype)
    share = np.count_nonzero(columns > _ACTIVE_VARIANCE, axis=1) / columns.shape[1]
    return np.where(np.isnan(columns.sum(axis=1)), np.nan, share)

"""How many directions the rows of an output use, and whether they all point one way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deadband_monitor.statistics.values import Doubles, Reals

FEWEST_ROWS = 8
"""Rows that directions are counted in: of n rows at most n - 1 can be seen."""


@dataclass(frozen=True, slots=True)
class Directions:
    """Of b slices, (b,) each; NaN where the rows are equal, too few or not finite."""

    cosine: Doubles
    """Mean cosine between two rows; rows of zeros are left out, NaN for one column: only a sign"""
    participation: Doubles
    """tr(K)^2 / |K|_F^2 of the centred Gram matrix"""
    effective_rank: Doubles
    """exp of the entropy of the normalised singular values of the centred rows"""


def directions(rows: Reals) -> Directions:
    """Directions of each slice; rows: (b, n, m)."""
    batch, count, columns = rows.shape
    unknown = np.full(batch, np.nan)
    if count < 2 or not columns:
        return Directions(unknown, unknown, unknown)
    wide = rows.astype(np.float64)
    largest = np.abs(wide).max(axis=(1, 2))
    known = np.isfinite(largest) & (largest > 0)
    wide = np.where(known[:, None, None], wide, 0.0)
    wide /= np.where(known, largest, 1.0)[:, None, None]
    cosine = np.where(known, _mean_cosine(wide), np.nan) if columns > 1 else unknown
    if count < FEWEST_ROWS:
        return Directions(cosine, unknown, unknown)
    wide -= wide[:, :1]
    wide -= wide.mean(axis=1, keepdims=True)
    # K and the scatter matrix share their eigenvalues other than 0; the smaller one is cheaper.
    other = wide.swapaxes(1, 2)
    scatter = other @ wide if columns < count else wide @ other
    trace = np.einsum("bii->b", scatter)
    varied = known & (trace > 0)
    scatter /= np.where(varied, trace, 1.0)[:, None, None]
    square = np.einsum("bij,bij->b", scatter, scatter)
    participation = np.where(varied, 1.0 / np.where(varied, square, 1.0), np.nan)
    singular = np.sqrt(np.maximum(np.linalg.eigvalsh(scatter), 0.0))
    total = np.where(varied, singular.sum(axis=1), 1.0)
    share = singular / total[:, None]
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    rank = np.where(varied, np.exp(-(share * logs).sum(axis=1)), np.nan)
    return Directions(cosine, participation, rank)


def _mean_cosine(wide: Doubles) -> Doubles:
    norms = np.sqrt(np.einsum("bnm,bnm->bn", wide, wide))
    pointing = norms > 0
    units = np.divide(wide, norms[..., None], out=np.zeros_like(wide), where=pointing[..., None])
    many = pointing.sum(axis=1)
    mean = np.divide(units.sum(axis=1), many[:, None], where=many[:, None] > 0, out=units[:, 0])
    square = np.einsum("bm,bm->b", mean, mean)
    with np.errstate(all="ignore"):
        return np.where(many > 1, (many * square - 1.0) / (many - 1.0), np.nan)

"""Directions of gradients and weight changes: against the step before, and against the weight.

A step is compared with the sample before it only where that is the step right before: over more
steps, directions say nothing of oscillation or of gradients that pile up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deadband_monitor.statistics.moments import mean_square
from deadband_monitor.statistics.values import Doubles, Floats, Ints, Mask, Reals

_SMALLEST, _LARGEST = 1e-30, 1e30
"""Products of norms whose dot product float32 holds with all its digits."""


Keys = tuple[tuple[str, str], ...]
"""Layers of a group, each by its model and its name."""


@dataclass(frozen=True, slots=True)
class Past:
    """What is kept of the last sample of k layers of one shape."""

    step: int
    values: Floats
    """(k, units, inputs)"""
    square: Doubles
    """(k,) mean of their squares."""
    known: Mask
    """(k,) which of them it showed."""


def regrouped(
    past: Mapping[Keys, Past], shapes: Mapping[Keys, tuple[int, ...]]
) -> dict[Keys, Past]:
    """The same under another plan, whose groups and their shapes are given."""
    found = {
        key: (kept, column)
        for keys, kept in past.items()
        for column, key in enumerate(keys)
        if kept.known[column]
    }
    made = {}
    for keys, shape in shapes.items():
        carried = {
            column: found[key]
            for column, key in enumerate(keys)
            if key in found and found[key][0].values.shape[1:] == shape[1:]
        }
        if not carried:
            continue
        step = max(kept.step for kept, _ in carried.values())
        made[keys] = Past(
            step, np.zeros(shape, np.float32), np.zeros(shape[0]), np.zeros(shape[0], bool)
        )
        for column, (kept, old) in carried.items():
            made[keys].values[column] = kept.values[old]
            made[keys].square[column] = kept.square[old]
            made[keys].known[column] = kept.step == step
    return made


def cosine(a: Reals, b: Reals, a_square: Doubles, b_square: Doubles) -> Doubles:
    """Cosine of each pair of slices, (b, u, i), (b, u, i) and their mean squares -> (b,).

    NaN where either is zero or not finite.
    """
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    with np.errstate(all="ignore"):
        lengths = np.sqrt(a_square * b_square) * a.shape[1]
        dot: Doubles = (a[:, None] @ b[:, :, None])[:, 0, 0].astype(np.float64)
        again = (lengths > 0) & ~((lengths > _SMALLEST) & (lengths < _LARGEST))
        if again.any():
            wide = a[again].astype(np.float64), b[again].astype(np.float64)
            dot[again] = np.einsum("bm,bm->b", *wide)
        return np.where(lengths > 0, np.clip(dot / lengths, -1.0, 1.0), np.nan)


def turn(values: Floats, square: Doubles, known: Mask, steps: Ints, past: Past | None) -> Doubles:
    """Cosine of each slice with that of the step before: (frames, k).

    Args:
        values: (frames * k, units, inputs), frame-major.
        square: (frames * k,) their mean squares.
        known: (frames, k) which of them hold something.
        steps: (frames,)
        past: the last sample ahead of these frames.
    """
    frames, count = known.shape
    found = np.full((frames, count), np.nan)
    follows = known[1:] & known[:-1] & (np.diff(steps) == 1)[:, None]
    if follows.any():
        later, earlier = slice(count, None), slice(None, -count)
        every = cosine(values[later], values[earlier], square[later], square[earlier])
        found[1:] = np.where(follows, every.reshape(follows.shape), np.nan)
    if past is not None and past.step == steps[0] - 1:
        now = np.flatnonzero(known[0] & past.known)
        if len(now):
            found[0, now] = cosine(values[now], past.values[now], square[now], past.square[now])
    return found


def share_left(gradient: Floats, left: Floats) -> Doubles:
    """How much of `left` is in the gradient: <g, l> / |l|^2, (b, u, i), (b, u, i) -> (b,).

    0.0 where nothing but zeros had been left; NaN where either is not finite.
    """
    gradient, left = gradient.reshape(len(gradient), -1), left.reshape(len(left), -1)
    with np.errstate(all="ignore"):
        square = mean_square(left) * left.shape[1]
        dot: Doubles = np.einsum("bm,bm->b", gradient, left).astype(np.float64)
        again = (square != 0) & ~(
            (square > _SMALLEST) & (square < _LARGEST) & (np.abs(dot) < np.inf)
        )
        if again.any():
            wide = gradient[again].astype(np.float64), left[again].astype(np.float64)
            dot[again] = np.einsum("bm,bm->b", *wide)
        share = np.where(square == 0, 0.0, dot / square)
        return np.where(np.isfinite(dot), share, np.nan)

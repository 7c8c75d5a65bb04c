"""Does the loss draw each row to a target of its own, or all rows by one rule?"""

from __future__ import annotations

import math

import numpy as np

from deadband_monitor.statistics.values import Reals

_FEWEST = 8
"""Elements that the loss gradient is correlated with the output over."""
_FEWEST_PULLS = 3
"""Different values of the gradient from which their order tells: an absolute error has two, and
rows above their targets may well be the higher ones."""
_ROUNDING = 1e-5
"""Sums of the same terms in another order differ by less, and two pulls by one row of thousands."""
_BENT = frozenset({"l1", "smooth_l1", "huber"})
"""Losses of which a sum over all targets is no square: their gradients bend."""
_WHOLE, _MOST_OFF = 0.02, 0.25
"""Share of a count of targets by which it may be off a whole number, and the most: beyond, half of
all numbers would be near enough to one."""

_HALVES = {8: 16, 11: 13}
"""Bits that bfloat16 and float16 keep of a fraction: how many of float32's they leave zero."""
_SCATTER = 3.0
"""Times its mean that the loss to rounding scatters by, over eight elements and more."""
_MOST_LOST = 3e-3
"""What may be given back: for more, the outputs lie too close together to tell."""


def coupling(loss: str, output: Reals, gradient: Reals) -> float:
    """Correlation of the loss gradient and the output, both less their column means; (r, c).

    Of a loss that is no square, 1 where the gradient is a function of the output alone. Compared
    with the targets of all rows, the pull on a row is the share of targets below it less that
    above: the higher the row, the stronger, whatever its own target is. NaN where that may be so,
    and all outputs lie between two neighbouring targets.
    """
    if output.size < _FEWEST or len(output) < 2:
        return np.nan
    out = output.astype(np.float64)
    grad = gradient.astype(np.float64)
    if loss in _BENT and out.shape[1] == 1 and _in_order(out[:, 0], grad[:, 0]):
        return 1.0 if _pulls(grad) >= _FEWEST_PULLS else np.nan
    out -= out[0]
    out -= out.mean(axis=0)
    grad -= grad.mean(axis=0)
    spread, pull = float((out * out).sum()), float((grad * grad).sum())
    if not spread * pull > 0:
        return np.nan
    found = float((out * grad).sum()) / math.sqrt(spread * pull)
    if 1.0 - found > _SCATTER * _MOST_LOST:
        return found
    # Half types round the values, not what they differ by: far from zero that bends straight lines.
    lost = 0.5 * (_rounding(output) / spread + _rounding(gradient) / pull)
    return 1.0 if 1.0 - found <= _SCATTER * min(lost, _MOST_LOST) else found


def counts_targets(output: Reals, gradient: Reals) -> float:
    """1 where the pulls count the targets below each output, 0 where they do not; (r, 1).

    Of absolute errors that are compared with the targets of all rows, tilted to a quantile as they
    may be, the pulls differ by so many times what one target makes. One target for all rows, as
    equations have at their bounds, pulls the harder the further out an output lies. NaN where all
    outputs may lie between two neighbouring targets.
    """
    if len(output) < _FEWEST or not _in_order(output[:, 0], gradient[:, 0].astype(np.float64)):
        return 0.0
    pulls = np.sort(gradient[:, 0].astype(np.float64))
    steps = np.diff(pulls)
    steps = steps[steps > _ROUNDING * np.abs(pulls).max()]
    if len(steps) + 1 < _FEWEST_PULLS:
        return np.nan
    counts = steps / steps.min()
    off = np.abs(counts - np.round(counts))
    return float((off < np.minimum(_WHOLE * counts, _MOST_OFF)).all())


def _in_order(out: Reals, grad: Reals) -> bool:
    """Whether the pull on a row never falls from one output to the next higher one."""
    if len(np.unique(out)) < _FEWEST:
        return False
    steps = np.diff(grad[np.argsort(out, kind="stable")])
    return bool((steps >= -_ROUNDING * np.abs(grad).max()).all())


def _rounding(values: Reals) -> float:
    """Sum of squares that rounding to a half type has added; 0 where none of them is behind it.

    A rounded number lies evenly anywhere within half a spacing: variance 1/12 of its square.
    """
    plain = np.ascontiguousarray(values, dtype=np.float32)
    unused = np.bitwise_or.reduce(plain.view(np.uint32), axis=None)
    for bits, dropped in _HALVES.items():
        if not unused & ((1 << dropped) - 1):
            spacing = np.exp2(np.frexp(plain)[1] - bits)
            return float(np.square(spacing, where=plain != 0, out=np.zeros_like(plain)).sum()) / 12
    return 0.0


def _pulls(grad: Reals) -> int:
    """How many different ones there are."""
    steps = np.diff(np.sort(grad, axis=None))
    return 1 + int(np.count_nonzero(steps > _ROUNDING * np.abs(grad).max()))


__all__ = ["counts_targets", "coupling"]

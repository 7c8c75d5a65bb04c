"""How the recorded loss relates to the mean loss of a row or element: mean, sum, or neither."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from deadband_monitor.statistics.labels import Labels, YesNo
from deadband_monitor.statistics.values import Doubles, Reals

LEAST_ENTROPY = 1e-3
"""Nats; with less, all labels of the window are the same and there is nothing to be skilled at."""
_NEAR_ONE = (0.8, 1.25)
"""Scale of the gradient over that of a mean: masked rows and small last batches blur it."""
_WEIGHED = 4.0
"""Scale of the gradient from which, where the loss has the same, both are weighed."""
_LEAST_PROBABILITY = 1e-300
_LEAST_YES_NO = float(np.exp(-100.0))
"""torch cuts the logarithms of its binary cross entropy at -100."""
_AGREES = np.log(2.0)
"""Recorded loss and loss of the copied rows may differ by a factor of two: they are a part of the
batch."""


def class_factor(labels: Labels, p: Doubles, counted: int, loss: float, last: float) -> float:
    """Recorded loss over the mean loss a row: 1 for the default reduction, rows for a sum.

    p: (r, c) softmax of the output; counted: rows of the whole batch; last: the factor of the
    sample before.
    """
    share = np.count_nonzero(labels.rows) / len(labels.rows)
    by_gradient = labels.scale * counted * share
    is_mean = _is_near_one(by_gradient)
    if last == 1.0 and (is_mean or np.isnan(by_gradient) or _is_mean_of_more(by_gradient)):
        return last
    candidates = (1.0,) if is_mean else (1.0, by_gradient, counted * share)
    return _closest(loss, mean_class_loss(labels, p), candidates, last)


def mean_class_loss(labels: Labels, p: Doubles) -> float:
    """Mean cross entropy a row of the copied rows that have a label; p: (r, c) probabilities."""
    if labels.targets is not None:
        likelihood = np.log(np.maximum(p[labels.rows], _LEAST_PROBABILITY))
        own = -(labels.targets * likelihood).sum(axis=1)
    else:
        told = p[labels.rows.nonzero()[0], labels.classes]
        own = -np.log(np.maximum(told, _LEAST_PROBABILITY))
    weights = np.where(np.isnan(labels.weights), 1.0, labels.weights)
    return float(weights @ own / np.add.reduce(weights))


def yes_no_factor(found: YesNo, mean: float, elements: int, loss: float, last: float) -> float:
    """Recorded loss over the mean loss an element, of which `mean` is that of the copied rows."""
    by_gradient = found.scale * elements
    is_mean = _is_near_one(by_gradient)
    if last == 1.0 and (is_mean or _is_mean_of_more(by_gradient)):
        return last
    candidates = (1.0,) if is_mean else (1.0, by_gradient, float(elements))
    return _closest(loss, mean, candidates, last)


def mean_yes_no_loss(found: YesNo, p: Doubles, positive_weight: float) -> float:
    """Mean binary cross entropy an element; p: (r, c) probabilities of yes."""
    yes = positive_weight * found.values * np.log(np.maximum(p, _LEAST_YES_NO))
    no = (1.0 - found.values) * np.log(np.maximum(1.0 - p, _LEAST_YES_NO))
    return -float((yes + no).mean())


def scale_of_mean(gradient: Reals, slopes: Doubles, elements: int) -> float:
    """Gradient (r, c) of a loss of known slopes over that of a mean of it, slopes / elements."""
    grad = gradient.astype(np.float64)
    return elements * math.sqrt(float((grad * grad).sum()) / float((slopes * slopes).sum()))


def value_factor(
    pointwise: Doubles,
    elements: int,
    loss: float,
    last: float,
    *,
    halved: bool = False,
    scale: float = math.nan,
) -> float:
    """Recorded loss over the mean loss an element of a regression; pointwise: (r, c).

    halved: half of it is recorded by some; scale: that of its gradient, where it is known: a loss
    may be weighed by a number of the user's, and of a mean the factor is 1, or the last one (NaN at
    first) where more was added.
    """
    if _is_near_one(scale):
        return _closest(loss, float(pointwise.mean()), (1.0,), last, least=0.0)
    candidates: tuple[float, ...] = (1.0, float(elements), float(pointwise.shape[1]))
    if not 1 / _WEIGHED < scale < _WEIGHED:  # nearer to 1 it is a mask, or a smaller last batch
        candidates += (scale,)
    if halved:
        candidates += tuple(factor / 2 for factor in candidates)
    return _closest(loss, float(pointwise.mean()), candidates, last, least=0.0)


def _is_near_one(scale: float) -> bool:
    return _NEAR_ONE[0] < scale < _NEAR_ONE[1]


def _is_mean_of_more(by_gradient: float) -> bool:
    """Whether a loss that was a mean is one over more rows than the plan's batch had.

    Batches of molecules or of packed sentences are never as large as the first one; a scale that
    shrinks with them says nothing of a reduction.
    """
    return by_gradient <= _NEAR_ONE[0]


def _closest(
    loss: float,
    mean: float,
    candidates: Sequence[float],
    last: float,
    least: float = LEAST_ENTROPY,
) -> float:
    """The candidate that explains best how the recorded loss compares with that of the copied rows.

    The gradient's scale alone would not do: a GradScaler scales the gradient but not always the
    record, the last batch of an epoch is smaller, and what is recorded may be the sum over several
    accumulated batches or over several losses. Without an explanation the last factor holds, or
    none (NaN) where there was no other.
    """
    if not (math.isfinite(loss) and loss > 0 and math.isfinite(mean) and mean > least):
        return last
    # Of a handful of numbers numpy would take ten times as long.
    possible = [factor for factor in candidates if math.isfinite(factor) and factor > 0]
    wanted = math.log(loss) - math.log(mean)
    best = min(possible, key=lambda factor: abs(wanted - math.log(factor)))
    return float(best) if abs(wanted - math.log(best)) < _AGREES else last

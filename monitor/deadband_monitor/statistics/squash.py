"""Whether logits were squashed once more on their way from the model to a loss that squashes.

A softmax inside the model shows in its output. One that is applied behind it, `cross_entropy(
softmax(model(x)), y)`, leaves the output as it is and bends the gradient: with s = softmax(z) the
loss is that of s, and dL/dz = J_s (softmax(s) - t), where it should be softmax(z) - t. For yes/no
likewise, dL/dz = s (1 - s) (sigmoid(s) - y). A log_softmax over the batch instead of the classes
leaves n_c softmax(z over rows) - t, with n_c rows of class c.
"""

from __future__ import annotations

import numpy as np

from deadband_monitor.statistics.given import Found
from deadband_monitor.statistics.labels import Labels, Targets, YesNo
from deadband_monitor.statistics.outputs import sigmoid, softmax
from deadband_monitor.statistics.values import Doubles, Reals

_FITS = 1e-3
"""1 - cosine below which a gradient is what a formula gives; bfloat16 leaves 1e-4."""
_SUMS = 1e-3
"""How far from 1 the shares of a distribution may sum to."""
_APART = 3e-3
"""1 - cosine of the plain formula from which the two can be told apart: before anything is learnt
they point the same way."""


def squashed(
    output: Reals,
    gradient: Reals,
    found: Found | None,
    *,
    whole: bool = False,
    p: Doubles | None = None,
) -> float:
    """1.0 where the gradient is that of logits squashed twice, 2.0 where over the batch.

    0.0 where neither, NaN where it cannot be told. output, gradient: (r rows, c columns), finite;
    found: the labels of these rows; whole: they are all rows of the batch; p: softmax of the
    output, where it is known already.
    """
    across = np.nan
    if isinstance(found, Labels):
        if found.targets is not None or output.shape[1] < 2:
            return np.nan
        z, g = output[found.rows], gradient[found.rows].astype(np.float64)
        once = softmax(z) if p is None else p[found.rows]
        plain = once.copy()
        plain[np.arange(len(z)), found.classes] -= 1.0
        off = _distance(g, plain)
        inner = softmax(once.astype(np.float32)).astype(np.float64)
        inner[np.arange(len(z)), found.classes] -= 1.0
        twice = once * (inner - (once * inner).sum(axis=1, keepdims=True))
        if off > _APART and whole and len(z) == len(output) and len(z) > 1:
            across = _distance(g, _across(z.astype(np.float64), found))
    elif isinstance(found, YesNo):
        z, g = output.astype(np.float64), gradient.astype(np.float64)
        once = sigmoid(z)
        plain = once - found.values
        off = _distance(g, plain)
        twice = once * (1.0 - once) * (sigmoid(once) - found.values)
    else:
        return np.nan
    fit = _distance(g, twice)
    if off < _FITS:
        return 0.0 if fit > _APART else np.nan
    if across < _FITS and off > _APART:
        return 2.0
    return float(fit < _FITS) if off > _APART else np.nan


def bent(kind: str, output: Reals, gradient: Reals, found: Found | None) -> float:
    """How an output meets a loss between distributions, or a squared error of shares.

    0.0: `kl_div` of a log_softmax, as it should be. 3.0: of raw logits, whose gradient is that of
    the targets alone. 4.0: of probabilities. 5.0: a squared error of a softmax. NaN: none of them.
    """
    if not isinstance(found, Targets) or output.shape[1] < 2 or len(output) < 2:
        return np.nan
    t = found.values
    if t.min() < 0 or np.abs(t.sum(axis=1) - 1.0).max() > _SUMS:
        return np.nan
    g = gradient.astype(np.float64)
    p = softmax(output).astype(np.float64)
    if kind == "mse":
        return 5.0 if _distance(g, _through_softmax(p, p - t)) < _FITS else np.nan
    ways = {0.0: p - t, 3.0: -t, 4.0: _through_softmax(p, -t)}
    fits = {code: _distance(g, way) for code, way in ways.items()}
    best = min(fits, key=lambda code: fits[code])
    others = [fit for code, fit in fits.items() if code != best]
    return best if fits[best] < _FITS and min(others) > _APART else np.nan


def _through_softmax(p: Doubles, slope: Doubles) -> Doubles:
    """The gradient at the logits, from that at their softmax."""
    return np.asarray(p * (slope - (p * slope).sum(axis=1, keepdims=True)))


def _across(logits: Doubles, found: Labels) -> Doubles:
    """The gradient of a log_softmax over the rows, but for its scale."""
    over_rows = softmax(logits.T.astype(np.float32)).T.astype(np.float64)
    gradient = over_rows * np.bincount(found.classes, minlength=logits.shape[1])
    gradient[np.arange(len(logits)), found.classes] -= 1.0
    return gradient


def _distance(a: Doubles, b: Doubles) -> float:
    """1 - cosine of two arrays as one vector each; NaN where one is zero."""
    sizes = float(np.sqrt((a * a).sum())) * float(np.sqrt((b * b).sum()))
    return 1.0 - float((a * b).sum()) / sizes if sizes > 0 else np.nan

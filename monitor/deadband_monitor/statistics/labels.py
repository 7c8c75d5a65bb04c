"""Labels and targets, inferred from a model's output and the gradient of the loss at it.

Losses written by hand show no arguments, and where the arguments are seen, class weights and
ignored rows are not. The gradient of each common loss is a simple function of output and target,
and can be solved for the target. Every solution is checked for consistency and given up when it
does not hold (an auxiliary loss, a custom scale), so what comes out can
be trusted. Derivations, with s an unknown positive scale (reduction, accumulation, GradScaler):

* cross entropy: dL/dz_i = s_i (softmax(z_i) - t_i); with one-hot t_i the label is the negative
  entry
* negative log likelihood: dL/dz_i = -s_i onehot(y_i): one entry that is not zero
* yes/no with logits: dL/dz = s_y (sigmoid(z) - y), s_y may differ for y = 0 and 1 (`pos_weight`)
* yes/no with probabilities: dL/dp = s (p - y) / (p (1 - p))
* mean squared error: dL/dz = 2 s (z - y)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deadband_monitor.statistics.outputs import sigmoid, softmax
from deadband_monitor.statistics.ownloss import along
from deadband_monitor.statistics.values import Doubles, Ints, Mask, Reals

_FIT = 0.99
"""Cosine between a row of the gradient and what the label predicts; bf16 gives 0.9999."""
_MOST = 0.9
"""Share of rows that must fit."""
_MEASURABLE = 1e-3
"""Predictions closer than this to their label leave a gradient that rounding may have bent."""
_SAME = 0.02
"""Relative difference that rounding of half types leaves between equal scales."""
_SILENT = 1e-6
"""Norm of a gradient row, against the largest entry of all rows, that can be rounding alone."""
_AT_ONCE = 1 << 16
"""Elements of frames that are solved together: small enough for the caches."""
_SURE = 0.99
"""Probability above which a gradient of exactly zero means "right", below it "not a label": fp16
rounds (1 - p) / 65536 tokens to zero from there on."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Classes of the rows of one step."""

    classes: Ints
    """(m,) labels of the rows that have one"""
    rows: Mask
    """(r,) which rows those are; rows with `ignore_index` have none"""
    weights: Doubles
    """(m,) weight of the row in the loss, mean 1; NaN where its gradient is too small to tell"""
    scale: float
    """Mean of s_i; NaN where every gradient vanishes."""
    targets: Doubles | None = None
    """(m, c) target distributions where they are not one-hot (label smoothing, mixup)"""


@dataclass(frozen=True, slots=True)
class YesNo:
    """Targets of yes/no outputs of one step, between 0 and 1."""

    values: Doubles
    """(r, c)"""
    scale: float
    """s of the elements that are 0; NaN where none tells"""
    positive_weight: float
    """s of the elements that are 1 over that of those that are 0; NaN where one kind is missing"""


@dataclass(frozen=True, slots=True)
class Targets:
    """Real-valued targets of one step."""

    values: Doubles
    """(r, c)"""
    factor: float
    """Recorded loss over the mean loss per element; 1 for the default reduction."""


def class_labels(
    output: Reals, gradient: Reals, counted: int, p: Doubles | None = None
) -> Labels | None:
    """Labels behind a cross entropy or negative log likelihood, or None.

    output, gradient: (r, c) finite; counted: rows that the whole loss averages over, which gives
    the scale of soft targets; p: softmax of the output, where it is known already.
    """
    p = softmax(output) if p is None else p
    return _of_frames(gradient[None], p[None], counted)[0]


def labels_of_frames(
    gradients: Reals, p: Doubles, counted: int, wanted: Mask
) -> list[Labels | None]:
    """What `class_labels` finds in each of the wanted frames; gradients, p: (b, r, c)."""
    found: list[Labels | None] = [None] * len(gradients)
    frames = np.flatnonzero(wanted)
    at_once = max(1, _AT_ONCE // max(1, gradients[0].size)) if len(frames) else 1
    for first in range(0, len(frames), at_once):
        chosen = frames[first : first + at_once]
        each = _of_frames(gradients[chosen], p[chosen], counted)
        for frame, labels in zip(chosen.tolist(), each, strict=True):
            found[frame] = labels
    return found


def _of_frames(gradients: Reals, p: Doubles, counted: int) -> list[Labels | None]:
    if gradients.shape[2] < 2 or not gradients.size:
        return [None] * len(gradients)
    grads = gradients.astype(np.float64, order="C")
    largest = np.abs(grads).max(axis=(1, 2))
    told = largest > 0
    grads /= np.where(told, largest, 1.0)[:, None, None]
    single = (np.count_nonzero(grads, axis=2) <= 1).all(axis=1)
    hard = _HardLabels(grads, p)
    found: list[Labels | None] = []
    for frame, size in enumerate(largest.tolist()):
        grad, own = grads[frame], p[frame]
        labels = _likelihood_labels(grad, own) if single[frame] else None
        labels = labels or hard.labels(frame)
        if not told[frame]:
            found.append(None)
        elif labels is None:
            found.append(_soft_labels(grad * size, own, counted))
        else:
            scale = labels.scale * size
            found.append(Labels(labels.classes, labels.rows, labels.weights, scale))
    return found


def _likelihood_labels(grad: Doubles, p: Doubles) -> Labels | None:
    """One entry a row that is not zero, and it is negative."""
    filled = np.count_nonzero(grad, axis=1)
    rows = filled == 1
    if not rows.any() or (filled > 1).any() or (grad > 0).any():
        return None
    classes = grad[rows].argmin(axis=1)
    strength = -grad[rows].min(axis=1)
    # softmax - onehot has one entry too where p underflows to exactly 0 and 1.
    if np.all(p[rows].max(axis=1) == 1.0):
        return None
    return Labels(classes, rows, strength / strength.mean(), float(strength.mean()))


class _HardLabels:
    """s_i (p_i - onehot): the label is the negative entry; of several frames at once."""

    def __init__(self, grads: Doubles, p: Doubles) -> None:
        norms = np.sqrt(np.einsum("brc,brc->br", grads, grads))
        # The entry of a right label may round to 0 before those of the other classes do.
        silent = (grads.min(axis=2) >= 0) & (norms < _SILENT)
        self._classes = grads.argmin(axis=2)
        if silent.any():
            self._classes = np.where(silent, p.argmax(axis=2), self._classes)
        expected = np.array(p, order="C")
        places = np.arange(self._classes.size) * p.shape[2] + self._classes.reshape(-1)
        expected.reshape(-1)[places] -= 1.0
        distance = np.sqrt(np.einsum("brc,brc->br", expected, expected))
        clear = ~silent & (distance > _MEASURABLE)
        with np.errstate(all="ignore"):
            cosine = np.einsum("brc,brc->br", grads, expected) / (norms * distance)
            self._strengths = norms / distance
            self._known = clear & (cosine > _FIT)
            fitting = self._known.sum(axis=1) / clear.sum(axis=1)
        sure = p.max(axis=2) > _SURE
        # Rows that are silent without being sure are masked; then a sure one may be masked as well.
        masked = (silent & ~sure).any(axis=1)
        right = silent & sure & ~masked[:, None]
        vague = ~silent & (distance <= _MEASURABLE)
        self._rows = self._known | right | vague
        self._holds = (~(fitting < _MOST) & self._rows.any(axis=1)).tolist()

    def labels(self, frame: int) -> Labels | None:
        """Of one of the frames."""
        if not self._holds[frame]:
            return None
        known, rows, strengths = self._known[frame], self._rows[frame], self._strengths[frame]
        fitting = strengths[known]
        scale = float(fitting.mean()) if len(fitting) else np.nan
        weights = np.where(known, strengths / scale, np.nan)
        return Labels(self._classes[frame][rows], rows, weights[rows], scale)


def _soft_labels(grad: Doubles, p: Doubles, counted: int) -> Labels | None:
    """Any target distribution, where the scale is that of a mean or a sum: t = p - grad / s."""
    for scale in (1.0 / max(counted, 1), 1.0):
        target = p - grad / scale
        if target.min() < -_MEASURABLE or np.abs(target.sum(axis=1) - 1).max() > _MEASURABLE:
            continue
        if np.abs(target - p).max() < _MEASURABLE:
            continue  # a scale so large that any gradient would pass
        target = np.maximum(target, 0.0)
        target /= target.sum(axis=1, keepdims=True)
        rows = np.ones(len(p), dtype=np.bool_)
        return Labels(target.argmax(axis=1), rows, np.ones(len(p)), scale, target)
    return None


def yes_no_targets(output: Reals, gradient: Reals, elements: int, *, logits: bool) -> YesNo | None:
    """Targets of yes/no outputs, or None; output, gradient: (r, c), finite.

    Hard targets need no scale: they are the gradient's sign, checked by s being the same for all
    elements of one target. Soft ones (an autoencoder's pixels, smoothed labels) need the s of the
    mean over `elements`, or of the sum.
    """
    grad = gradient.astype(np.float64)
    if not np.abs(grad).max() > 0:
        return None
    p = sigmoid(output) if logits else output.astype(np.float64)
    if p.min() < 0 or p.max() > 1:
        return None
    if not logits:
        grad = grad * p * (1.0 - p)  # dL/dz of the logit that would give p
    zero = grad == 0
    target = np.where(zero, p > 0.5, grad < 0).astype(np.float64)
    gap = p - target
    # Elements masked out of the loss have no gradient although they are not right.
    if (zero & (np.abs(gap) > 1.0 - _SURE)).mean() > 1.0 - _MOST:
        return None
    clear = ~zero & (np.abs(gap) > _MEASURABLE)
    scales = []
    for value in (0.0, 1.0):
        own = clear & (target == value)
        strength = np.abs(grad[own] / gap[own])
        middle = float(np.median(strength)) if strength.size else np.nan
        if strength.size and np.mean(np.abs(strength - middle) <= _SAME * middle) < _MOST:
            return _soft_yes_no(grad, p, elements)
        scales.append(middle)
    return YesNo(target, scales[0], scales[1] / scales[0])


def _soft_yes_no(grad: Doubles, p: Doubles, elements: int) -> YesNo | None:
    for scale in (1.0 / max(elements, 1), 1.0):
        target = p - grad / scale
        within = target.min() > -_MEASURABLE and target.max() < 1.0 + _MEASURABLE
        if within and np.abs(target - p).max() > _MEASURABLE:
            return YesNo(np.clip(target, 0.0, 1.0), scale, 1.0)
    return None


def yes_no_scale(p: Doubles, known: YesNo, gradient: Reals, *, logits: bool) -> float:
    """The s by which known targets make this gradient, whatever the loss was divided by; or NaN.

    p: (r, c) probabilities of yes; NaN where the gradient holds more than p - y: weights, a mask,
    further terms at the output.
    """
    gap = p - known.values
    grad = gradient.astype(np.float64)
    if not logits:
        grad = grad * p * (1.0 - p)
    if not along(grad, gap):
        return np.nan
    return math.sqrt(float((grad * grad).sum()) / float((gap * gap).sum()))


def squared_targets(
    output: Reals, gradient: Reals, elements: int, loss: float, *, within: float = 1.03
) -> Targets | None:
    """Targets behind a mean squared error of known value, or None; output, gradient: (r, c).

    The scale follows from the loss: with r = z - y, L = mean r^2 and dL/dz = 2 r / elements, so
    q = elements^2 mean(g^2) / (4 L) is 1, `elements` for a sum, and c for the mean over rows of a
    sum over columns. Anything else is given up, as are accumulated batches: their q fits two
    readings. What a GradScaler multiplies is divided again where it is copied; a power of two alone
    tells of no scale, for the q of a weighted sum with a penalty beside it (a VAE's) wanders
    through some.

    within: by what factor q may be off, of a whole batch.
    """
    grad = gradient.astype(np.float64)
    largest = np.abs(grad).max()
    if not (largest > 0 and np.isfinite(loss) and loss > 0 and elements > 0):
        return None
    square = float(np.mean((grad / largest) ** 2)) * float(largest) ** 2
    q = float(elements) ** 2 * square / (4.0 * loss)
    if not (np.isfinite(q) and q > 0):
        return None
    whole = grad.size == elements
    tolerance = np.log(within if whole else 1.6)
    # The gradient over its residual, and the recorded loss over the mean of squares.
    factors = (1.0, float(elements)) + ((float(grad.shape[1]),) if whole else ())
    for factor in factors:
        if abs(np.log(q / factor)) < tolerance:
            scale = 2.0 * factor / elements
            return Targets(output.astype(np.float64) - grad / scale, factor)
    return None

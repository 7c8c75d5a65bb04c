"""Whether logits were squashed once more on their way from the model to a loss that squashes.

A softmax inside the model shows in its output. One that is applied behind it, `cross_entropy(
softmax(model(x)), y)`, leaves the output as it is and bends the gradient: with s = softmax(z) the
loss is that of s, and dL/dz = J_s (softmax(s) - t), where it should be softmax(z) - t. For yes/no
likewise, dL/dz = s (1 - s) (sigmoid(s) - y). A log_softmax over the batch instead of the classes
leaves n_c softmax(z over rows) - t, with n_c rows of class c.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deadband_monitor.statistics.given import Found
from deadband_monitor.statistics.labels import Labels, Targets, YesNo
from deadband_monitor.statistics.outputs import sigmoid, softmax
from deadband_monitor.statistics.values import Doubles, Ints, Mask, Reals

OVER_ROWS = 2.0
"""What is said of a softmax over the batch."""
HELD = 12.0
"""What is said of outputs that something added to the loss draws to zero, and rules."""
FITS = 1e-3
"""1 - cosine below which a gradient is what a formula gives; bfloat16 leaves 1e-4."""
TURNED = 15.0
"""The gradient is minus what the loss's own would be."""
LEAST_TURNED = 8
"""Numbers that must all go against the loss: of one or two any other term may have them do so."""
_SUMS = 1e-3
"""How far from 1 the shares of a distribution may sum to."""
APART = 3e-3
"""1 - cosine of the plain formula from which the two can be told apart: before anything is learnt
they point the same way."""
_ONE_WAY = 0.15
"""Share of the rows' gradients that their sums make up: 1e-6 in a cross entropy, 0.3 (labels of
equal frequency, or once those are learnt) to 1 where positions were read as classes; a penalty on
the logits adds hundredths ..."""
_MUCH = 0.5
"""... while much is left to learn: the gradient of a row that is all wrong has 2 in sum."""
_FEWEST_ROWS = 8
"""Rows from which one that is a class of its own is no chance."""
_LEAST, _BLUR = 1e-12, 0.1
"""Probability below which a ratio says nothing, and what rounding leaves of one number."""
_AT_ONCE = 1 << 16
"""Elements of frames that are looked at together: small enough for the caches."""


def squashed(
    output: Reals,
    gradient: Reals,
    found: Found | None,
    *,
    whole: bool = False,
    p: Doubles | None = None,
) -> float:
    """1.0 where the gradient is that of logits squashed twice, 2.0 where over the batch, `TURNED`.

    0.0 where neither, NaN where it cannot be told. output, gradient: (r rows, c columns), finite;
    found: the labels of these rows; whole: they are all rows of the batch; p: softmax of the
    output, where it is known already.
    """
    if isinstance(found, Labels):
        if found.targets is not None or output.shape[1] < 2:
            return np.nan
        z, g = output[found.rows], gradient[found.rows].astype(np.float64)
        once = softmax(z) if p is None else p[found.rows]
        far, fits = _of_classes(g[None], once[None], found.classes)
        whole = whole and len(z) == len(output)
        return _verdict(float(far[0]), float(fits[0]), z, g, found, whole=whole)
    if isinstance(found, YesNo):
        z, g = output.astype(np.float64), gradient.astype(np.float64)
        once = sigmoid(z)
        plain = once - found.values
        off = distance(g, plain)
        if goes_against(g, plain):
            return TURNED
        twice = once * (1.0 - once) * (sigmoid(once) - found.values)
        told = _told_apart(off, distance(g, twice))
        return HELD if _is_asked(told, off) and _held(g, plain, z) else told
    return np.nan


def squashed_of_frames(
    outputs: Reals,
    gradients: Reals,
    found: Sequence[Found | None],
    p: Doubles,
    wanted: Mask,
    *,
    whole: bool,
) -> list[float]:
    """`squashed` of each wanted frame of a loss of classes; outputs, gradients, p: (b, r, c).

    Frames of which every row has a class are looked at together.
    """
    told = [np.nan] * len(outputs)
    full: list[int] = []
    for frame in np.flatnonzero(wanted).tolist():
        each = found[frame]
        if isinstance(each, Labels) and each.targets is None and each.rows.all():
            full.append(frame)
        else:
            told[frame] = squashed(outputs[frame], gradients[frame], each, whole=whole, p=p[frame])
    if outputs.shape[2] < 2 or not outputs[0].size:
        return told
    at_once = max(1, _AT_ONCE // outputs[0].size)
    for first in range(0, len(full), at_once):
        frames = full[first : first + at_once]
        labels = [each for each in (found[frame] for frame in frames) if isinstance(each, Labels)]
        g = gradients[frames].astype(np.float64, order="C")
        classes = np.concatenate([each.classes for each in labels])
        off, fit = _of_classes(g, p[frames], classes)
        for place, (frame, each) in enumerate(zip(frames, labels, strict=True)):
            told[frame] = _verdict(
                float(off[place]), float(fit[place]), outputs[frame], g[place], each, whole=whole
            )
    return told


def _of_classes(g: Doubles, once: Doubles, classes: Ints) -> tuple[Doubles, Doubles]:
    """How far frames of gradients are from both formulas; g, once: (b, r, c); classes: (b x r,)."""
    places = np.arange(len(classes)) * g.shape[2] + classes
    plain = np.array(once, order="C")
    plain.reshape(-1)[places] -= 1.0
    inner = softmax(once.astype(np.float32, order="C"))
    inner.reshape(-1)[places] -= 1.0
    twice = once * (inner - (once * inner).sum(axis=2, keepdims=True))
    size = _sizes(g)
    return _distances(g, plain, size), _distances(g, twice, size)


def _verdict(off: float, fit: float, z: Reals, g: Doubles, found: Labels, *, whole: bool) -> float:
    if off > APART and whole and len(z) > 1:
        across = distance(g, _across(z.astype(np.float64), found))
        if across < FITS:
            return OVER_ROWS
    told = _told_apart(off, fit)
    if not _is_asked(told, off):
        return told
    plain = softmax(z).astype(np.float64)
    plain[np.arange(len(z)), found.classes] -= 1.0
    if goes_against(g, plain):
        return TURNED
    return HELD if _held(g, plain, z) else told


def _is_asked(told: float, off: float) -> bool:
    """Whether a gradient is neither the loss's own nor that of what was squashed again."""
    return told == 0.0 and off > APART


def _held(g: Doubles, plain: Doubles, output: Reals) -> bool:
    """Whether a penalty on the squares of the logits is added, and keeps them within 1.

    The gradient is that of the loss and the logits themselves then, s (plain + c z): no answer can
    pull harder than 1, so none gets beyond 1 / c. Within 1 nothing is told, as of a softmax of a
    softmax.
    """
    z = output.astype(np.float64)
    terms = np.stack([plain.ravel(), z.ravel()], axis=1)
    (s, c), *_ = np.linalg.lstsq(terms, g.ravel(), rcond=None)
    if not (s > 0 and c >= s):
        return False
    return distance(g, s * plain + c * z) < FITS


def _told_apart(off: float, fit: float) -> float:
    """By how far the gradient is from the plain formula, and how far from that of two."""
    if off < FITS:
        return 0.0 if fit > APART else np.nan
    return float(fit < FITS) if off > APART else np.nan


def lopsided(gradient: Reals, counted: int) -> bool:
    """Whether the gradient raises or lowers the classes of a row as a whole.

    A cross entropy raises one class as much as it lowers the others: each row sums to zero. Where
    positions are read as classes, one class of many positions lies along a row, and it may be that
    of none of them or of several. All rows are taken together: once their frequencies are learnt,
    most rows hold classes that hardly occur, and next to nothing. gradient: (r, c); counted: rows
    that the loss is the mean of.
    """
    grad = gradient.astype(np.float64)
    size = float(np.abs(grad).sum())
    if not size / len(grad) * counted > _MUCH:
        return False
    return float(np.abs(grad.sum(axis=1)).sum()) / size > _ONE_WAY


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
        return 5.0 if distance(g, through_softmax(p, p - t)) < FITS else np.nan
    ways = {0.0: p - t, 3.0: -t, 4.0: through_softmax(p, -t)}
    fits = {code: distance(g, way) for code, way in ways.items()}
    best = min(fits, key=lambda code: fits[code])
    others = [fit for code, fit in fits.items() if code != best]
    return best if fits[best] < FITS and min(others) > APART else np.nan


def through_softmax(p: Doubles, slope: Doubles) -> Doubles:
    """The gradient at the logits, from that at their softmax; both (r, c)."""
    return np.asarray(p * (slope - (p * slope).sum(axis=1, keepdims=True)))


def _across(logits: Doubles, found: Labels) -> Doubles:
    """The gradient of a log_softmax over the rows, but for its scale."""
    over_rows = softmax(logits.T.astype(np.float32)).T.astype(np.float64)
    gradient = over_rows * np.bincount(found.classes, minlength=logits.shape[1])
    gradient[np.arange(len(logits)), found.classes] -= 1.0
    return gradient


def over_rows(output: Reals, gradient: Reals) -> bool:
    """Whether the gradient is that of a log_softmax over the rows, whatever the labels are.

    With q = softmax over the rows, g = s (n_c q - t) and t = 1 for the one class of each row: where
    s n_c is the largest g / q of a column, s n_c q - g is s at the labels and nothing elsewhere.
    Scores of all rows against all are as good one way as the other. output, gradient: all (r, c)
    of a batch.
    """
    rows, columns = output.shape
    if columns < 2 or rows < _FEWEST_ROWS or rows == columns:
        return False
    q = softmax(output.T.astype(np.float32)).T.astype(np.float64)
    g = gradient.astype(np.float64)
    missing = q * (g / np.maximum(q, _LEAST)).max(axis=0) - g
    labels = missing.argmax(axis=1)
    found = missing[np.arange(rows), labels]
    if not found.min() > 0:
        return False
    rest = np.sort(missing, axis=1)[:, -2]
    one = found.max() < (1 + _BLUR) * found.min() and np.abs(rest).max() < _BLUR * found.min()
    told = Labels(labels, np.ones(rows, np.bool_), np.ones(rows), np.nan)
    return bool(one) and distance(g, _across(output.astype(np.float64), told)) < FITS


def _sizes(frames: Doubles) -> Doubles:
    """Length of each frame as one vector, (b, r, c) -> (b,)."""
    return np.asarray(np.sqrt((frames * frames).reshape(len(frames), -1).sum(axis=1)))


def _distances(a: Doubles, b: Doubles, size: Doubles) -> Doubles:
    """`distance` frame by frame; size: `_sizes` of a."""
    sizes = size * _sizes(b)
    along = (a * b).reshape(len(a), -1).sum(axis=1)
    known = sizes > 0
    return np.where(known, 1.0 - along / np.where(known, sizes, 1.0), np.nan)


def goes_against(gradient: Doubles, slope: Doubles) -> bool:
    """Whether a gradient is minus what the loss's own would be, about their means as well.

    Where all outputs lie on one side of their targets, whatever else pulls all of them one way
    would look so. gradient, slope: (r, c).
    """
    if gradient.size < LEAST_TURNED or not distance(-gradient, slope) < FITS:
        return False
    return distance(gradient.mean() - gradient, slope - slope.mean()) < FITS


def distance(a: Doubles, b: Doubles) -> float:
    """1 - cosine of two arrays as one vector each; NaN where one is zero."""
    sizes = float(np.sqrt((a * a).sum())) * float(np.sqrt((b * b).sum()))
    return 1.0 - float((a * b).sum()) / sizes if sizes > 0 else np.nan

"""What a classifier's outputs say: probabilities, information about the input, predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deadband_monitor.statistics.values import Doubles, Ints, Reals

CLASSIFYING = frozenset({"cross_entropy", "nll", "bce", "bce_logits"})
"""Losses whose outputs are read as predictions of classes."""
BINARY = frozenset({"bce", "bce_logits"})

_SUM_TOLERANCE = 1e-3
"""Rows of probabilities stored as fp16 sum to 1 within this."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Outputs of one step read as predictions; each row is a sample or a position of one."""

    information: float
    """I = H(mean p) - mean H(p), nats; for several yes/no outputs the mean over them."""
    top_share: float
    distinct: float


def softmax(logits: Reals) -> Doubles:
    """(r, c) -> (r, c); shifted by the row maximum, so no exponent overflows."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    np.exp(wide, out=wide)
    return np.asarray(wide / wide.sum(axis=1, keepdims=True))


def sigmoid(logits: Reals) -> Doubles:
    """1 / (1 + exp(-x)), accurate in both tails."""
    wide = logits.astype(np.float64)
    small = np.exp(-np.abs(wide))
    return np.where(wide >= 0, 1.0, small) / (1.0 + small)


def entropy(p: Doubles) -> Doubles:
    """-sum p log p over the last axis, nats; 0 log 0 = 0."""
    return np.asarray(-np.sum(p * np.log(p, out=np.zeros_like(p), where=p > 0), axis=-1))


def binary_entropy(p: Doubles) -> Doubles:
    """Entropy of a yes with probability p, elementwise, nats."""
    return entropy(np.stack([p, 1.0 - p], axis=-1))


def probabilities(rows: Reals, loss: str) -> Doubles:
    """Outputs as probabilities, (r, c) -> (r, c).

    Values that already are probabilities are taken as they are, even where the loss would take
    them for logits (softmax before CrossEntropyLoss): they are what the user reads.
    """
    low, high = float(rows.min()), float(rows.max())
    inside = low >= 0.0 and high <= 1.0
    if loss in BINARY:
        return rows.astype(np.float64) if loss == "bce" and inside else sigmoid(rows)
    if inside and rows.shape[1] > 1:
        sums = rows.sum(axis=1, dtype=np.float64)
        if np.abs(sums - 1.0).max() <= _SUM_TOLERANCE:
            return np.asarray(rows / sums[:, None])
    return softmax(rows)


def read(p: Doubles, loss: str) -> Predictions:
    """Predictions of probabilities p: (r rows, c classes, or yes/no outputs).

    With several yes/no outputs there is no one prediction: its share and number are NaN.
    """
    if loss in BINARY:
        information = binary_entropy(p.mean(axis=0)) - binary_entropy(p).mean(axis=0)
        if p.shape[1] > 1:
            return Predictions(max(0.0, float(information.mean())), np.nan, np.nan)
        share, distinct = _shares((p[:, 0] > 0.5).astype(np.int64))
        return Predictions(max(0.0, float(information[0])), share, distinct)
    information = entropy(p.mean(axis=0)) - entropy(p).mean()
    share, distinct = _shares(p.argmax(axis=1))
    return Predictions(max(0.0, float(information)), share, distinct)


def _shares(predicted: Ints) -> tuple[float, float]:
    counts = np.bincount(predicted)
    return float(counts.max() / len(predicted)), float(np.count_nonzero(counts))

"""What a classifier's outputs say: probabilities, information about the input, predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deadband_monitor.statistics.values import Doubles, Reals

CLASSIFYING = frozenset({"cross_entropy", "nll", "bce", "bce_logits"})
"""Losses whose outputs are read as predictions of classes."""
BINARY = frozenset({"bce", "bce_logits"})

_SUM_TOLERANCE = 1e-3
"""Rows of probabilities stored as fp16 sum to 1 within this."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """Outputs of b steps read as predictions; each row is a sample or a position of one."""

    information: Doubles
    """(b,) I = H(mean p) - mean H(p), nats; for several yes/no outputs the mean over them."""
    top_share: Doubles
    """(b,) share of the most frequent prediction"""
    distinct: Doubles
    """(b,) different predictions"""
    entropy: Doubles
    """(b,) of the predicted classes, nats"""
    shares: Doubles
    """(b, classes) of the rows that are predicted to be of each class"""


def softmax(logits: Reals) -> Doubles:
    """Over the last axis; shifted by the maximum, so no exponent overflows."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    np.exp(wide, out=wide)
    wide /= wide.sum(axis=-1, keepdims=True)
    return wide


def sigmoid(logits: Reals) -> Doubles:
    """1 / (1 + exp(-x)), accurate in both tails."""
    wide = logits.astype(np.float64)
    small = np.exp(-np.abs(wide))
    return np.where(wide >= 0, 1.0, small) / (1.0 + small)


def entropy(p: Doubles) -> Doubles:
    """-sum p log p over the last axis, nats; 0 log 0 = 0."""
    each = np.log(p, out=np.zeros(p.shape), where=p > 0)
    each *= p
    return np.asarray(0.0 - np.add.reduce(each, axis=-1))


def entropy_of(p: Doubles) -> float:
    """The same of one distribution, (c,)."""
    some = p[p > 0]
    return 0.0 - float(some @ np.log(some))


def entropy_of_drawn(counts: Doubles) -> float:
    """Entropy of what the counts, (c,), were drawn from, by Chao and Shen (2003).

    Words that were met once tell how many were not met yet (Good, 1953). Of 2000 words of a text
    with 800 the plain figure is 4 % low, of one with 3000 6 %, this one 1 %; where no class came
    but once both agree.
    """
    total, once = counts.sum(), np.count_nonzero(counts == 1)
    if not once or once >= total:
        return entropy_of(counts / total)
    p = counts[counts > 0] / total
    met = p * (1 - once / total)
    return 0.0 - float((met * np.log(met) / (1 - (1 - met) ** total)).sum())


def binary_entropy(p: Doubles) -> Doubles:
    """Entropy of a yes with probability p, elementwise, nats."""
    return entropy(np.stack([p, 1.0 - p], axis=-1))


def probabilities(rows: Reals, loss: str) -> Doubles:
    """Outputs as probabilities, (b, r, c) -> same.

    Rows that already are distributions are taken as they are, even where the loss would take them
    for logits (softmax before CrossEntropyLoss): they are what the user reads.
    """
    if loss == "bce_logits":
        return sigmoid(rows)
    inside = (rows.min(axis=(1, 2)) >= 0.0) & (rows.max(axis=(1, 2)) <= 1.0)
    if loss == "bce":
        return rows.astype(np.float64) if inside.all() else sigmoid(rows)
    p = softmax(rows)
    if inside.any() and rows.shape[2] > 1:
        sums = rows.sum(axis=2, dtype=np.float64)
        already = inside & (np.abs(sums - 1.0).max(axis=1) <= _SUM_TOLERANCE)
        p[already] = rows[already] / sums[already][..., None]
    return p


def read(p: Doubles, loss: str) -> Predictions:
    """Predictions of probabilities p: (b, r rows, c classes, or yes/no outputs).

    With several yes/no outputs there is no one prediction: its share and number are NaN.
    """
    if loss in BINARY:
        each = binary_entropy(p.mean(axis=1)) - binary_entropy(p).mean(axis=1)
        information = each.mean(axis=1)
        predicted = (p[..., 0] > 0.5).astype(np.int64)
    else:
        information = entropy(p.mean(axis=1)) - entropy(p).mean(axis=1)
        predicted = p.argmax(axis=2)
    information = np.maximum(information, 0.0)
    if loss in BINARY and p.shape[2] > 1:
        nothing = np.full(len(p), np.nan)
        return Predictions(information, nothing, nothing, nothing, nothing[:, None])
    classes = max(2, p.shape[2])
    places = (predicted + classes * np.arange(len(p))[:, None]).reshape(-1)
    counts = np.bincount(places, minlength=classes * len(p)).reshape(len(p), classes)
    shares = counts / p.shape[1]
    distinct = np.count_nonzero(counts, axis=1).astype(np.float64)
    return Predictions(information, shares.max(axis=1), distinct, entropy(shares), shares)

"""How much better than the best constant guess a model does, from labels that are inferred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deadband_monitor.statistics.labels import (
    Labels,
    YesNo,
    class_labels,
    squared_targets,
    yes_no_targets,
)
from deadband_monitor.statistics.outputs import BINARY, binary_entropy, entropy, sigmoid, softmax
from deadband_monitor.statistics.values import Doubles, Reals
from deadband_monitor.statistics.windows import LabelWindow, TargetWindow

_SMOOTHING = 0.2
"""Weight of the newest sample in the skill: follows a change within five samples."""
_FEWEST_LABELS = 32
"""Labels before their entropy is worth stating; below 32 it is biased low by a tenth and more."""
_FEWEST_TARGETS = 256
"""Targets before their standard deviation is compared with the outputs'."""
LEAST_ENTROPY = 1e-3
"""Nats; with less, all labels of the window are the same and there is nothing to be skilled at."""
_MOST_SILENT = 20
"""Samples in a row without labels after which those of the window are no longer believed."""
_NEAR_ONE = (0.8, 1.25)
"""Scale of the gradient over that of a mean: masked rows and small last batches blur it."""
_LEAST_PROBABILITY = 1e-300
_AGREES = np.log(2.0)
"""Recorded loss and loss of the copied rows may differ by a factor of two: they are a part of the
batch."""


@dataclass(slots=True)
class Standing:
    """What one sample says about labels and loss; NaN where it does not tell."""

    label_entropy: float = np.nan
    batch_label_entropy: float = np.nan
    loss_constant: float = np.nan
    sigma_share: float = np.nan
    skill: float = np.nan


class Skill:
    """Follows the labels of one model and its loss against theirs."""

    def __init__(self) -> None:
        self._kind = ""
        self._labels = LabelWindow(0)
        self._targets = TargetWindow()
        self._columns = 0
        self._factor = np.nan
        self._positive_weight = 1.0
        self._smooth = np.nan
        self._silent = 0

    def observe(
        self, kind: str, output: Reals, gradient: Reals | None, elements: int, loss: float
    ) -> Standing:
        """Take one sample.

        output, gradient: (r rows, c columns), finite; elements: of the whole output, of which these
        may be a part; loss: of this step, NaN where none is known. Where the gradient is missing or
        does not tell the labels, those of the window stand for a while.
        """
        columns = output.shape[1]
        if (kind, columns) != (self._kind, self._columns):
            self._kind, self._columns = kind, columns
            self._labels, self._targets = LabelWindow(columns), TargetWindow()
            self._factor, self._positive_weight, self._smooth = np.nan, 1.0, np.nan
        self._silent += 1
        standing = Standing()
        if kind in ("cross_entropy", "nll"):
            self._observe_classes(standing, output, gradient, elements, loss)
        elif kind in BINARY:
            self._observe_yes_no(standing, output, gradient, elements, loss)
        elif kind == "mse":
            self._observe_values(standing, output, gradient, elements, loss)
        constant = standing.loss_constant
        if np.isfinite(loss) and constant > 0:
            fresh = 1.0 - loss / constant
            if np.isnan(self._smooth):
                self._smooth = fresh
            self._smooth += _SMOOTHING * (fresh - self._smooth)
            standing.skill = self._smooth
        return standing

    def _observe_classes(
        self,
        standing: Standing,
        output: Reals,
        gradient: Reals | None,
        elements: int,
        loss: float,
    ) -> None:
        window = self._labels
        counted = elements // max(output.shape[1], 1)
        labels = None if gradient is None else class_labels(output, gradient, counted)
        if labels is not None:
            window.add(labels)
            self._silent = 0
            self._factor = _class_factor(labels, output, counted, loss, self._factor)
        if window.size < _FEWEST_LABELS or self._silent > _MOST_SILENT:
            return
        standing.label_entropy = window.entropy()
        if labels is not None and standing.label_entropy > LEAST_ENTROPY:
            counts = np.bincount(labels.classes) / len(labels.classes)
            standing.batch_label_entropy = float(entropy(counts)) / standing.label_entropy
        constant = window.constant_loss()
        if constant > LEAST_ENTROPY:
            standing.loss_constant = constant * self._factor

    def _observe_yes_no(
        self,
        standing: Standing,
        output: Reals,
        gradient: Reals | None,
        elements: int,
        loss: float,
    ) -> None:
        window = self._targets
        logits = self._kind == "bce_logits"
        found = None
        if gradient is not None:
            found = yes_no_targets(output, gradient, elements, logits=logits)
        if found is not None:
            window.add(found.values)
            self._silent = 0
            if np.isfinite(found.positive_weight):
                self._positive_weight = found.positive_weight
            p = sigmoid(output) if logits else output.astype(np.float64)
            self._factor = _yes_no_factor(
                found, p, self._positive_weight, elements, loss, self._factor
            )
        if window.size < _FEWEST_LABELS or self._silent > _MOST_SILENT:
            return
        rate = window.mean()
        standing.label_entropy = float(binary_entropy(rate).mean())
        if standing.label_entropy > LEAST_ENTROPY:
            if found is not None:
                batch = float(binary_entropy(found.values.mean(axis=0)).mean())
                standing.batch_label_entropy = batch / standing.label_entropy
            yes, no = self._positive_weight * rate, 1.0 - rate
            constant = float(((yes + no) * binary_entropy(yes / (yes + no))).mean())
            standing.loss_constant = constant * self._factor

    def _observe_values(
        self,
        standing: Standing,
        output: Reals,
        gradient: Reals | None,
        elements: int,
        loss: float,
    ) -> None:
        window = self._targets
        found = None if gradient is None else squared_targets(output, gradient, elements, loss)
        if found is not None:
            window.add(found.values)
            self._silent = 0
            self._factor = found.factor
        if window.size < _FEWEST_LABELS or self._silent > _MOST_SILENT:
            return
        variance = window.variance()
        if variance.mean() > 0:
            standing.loss_constant = float(variance.mean()) * self._factor
        varying = variance > 0
        if window.size >= _FEWEST_TARGETS and len(output) > 1 and varying.any():
            wide = output.astype(np.float64)
            deviation = (wide - wide[0]).std(axis=0)[varying]
            standing.sigma_share = float((deviation / np.sqrt(variance[varying])).mean())


def _class_factor(labels: Labels, output: Reals, counted: int, loss: float, last: float) -> float:
    """Recorded loss over the mean loss a row: 1 for the default reduction, rows for a sum."""
    share = float(labels.rows.mean())
    by_gradient = labels.scale * counted * share
    is_mean = _NEAR_ONE[0] < by_gradient < _NEAR_ONE[1]
    if is_mean and last == 1.0:
        return last
    likelihood = np.log(np.maximum(softmax(output)[labels.rows], _LEAST_PROBABILITY))
    if labels.targets is not None:
        own = -(labels.targets * likelihood).sum(axis=1)
    else:
        own = -likelihood[np.arange(len(likelihood)), labels.classes]
    weights = np.where(np.isnan(labels.weights), 1.0, labels.weights)
    mean = float((weights * own).sum() / weights.sum())
    candidates = (1.0,) if is_mean else (1.0, by_gradient, counted * share)
    return _closest(loss, mean, candidates, last)


def _yes_no_factor(
    found: YesNo, p: Doubles, positive_weight: float, elements: int, loss: float, last: float
) -> float:
    """Recorded loss over the mean loss an element."""
    by_gradient = found.scale * elements
    is_mean = _NEAR_ONE[0] < by_gradient < _NEAR_ONE[1]
    if is_mean and last == 1.0:
        return last
    yes = positive_weight * found.values * np.log(np.maximum(p, _LEAST_PROBABILITY))
    no = (1.0 - found.values) * np.log(np.maximum(1.0 - p, _LEAST_PROBABILITY))
    candidates = (1.0,) if is_mean else (1.0, by_gradient, float(elements))
    return _closest(loss, -float((yes + no).mean()), candidates, last)


def _closest(loss: float, mean: float, candidates: Sequence[float], last: float) -> float:
    """The candidate that explains best how the recorded loss compares with that of the copied rows.

    The gradient's scale alone would not do: a GradScaler scales the gradient but not always the
    record, the last batch of an epoch is smaller, and what is recorded may be the sum over several
    accumulated batches or over several losses. Without an explanation the last factor holds, or
    none (NaN) where there was no other.
    """
    if not (np.isfinite(loss) and loss > 0 and mean > LEAST_ENTROPY):
        return last
    possible = np.array([factor for factor in candidates if np.isfinite(factor) and factor > 0])
    distance = np.abs(np.log(loss / mean / possible))
    best = int(distance.argmin())
    return float(possible[best]) if distance[best] < _AGREES else last

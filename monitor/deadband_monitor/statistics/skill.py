"""How much better than the best constant guess a model does, from labels that are inferred."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deadband_monitor.statistics.labels import (
    Labels,
    YesNo,
    class_labels,
    squared_targets,
    yes_no_targets,
)
from deadband_monitor.statistics.outputs import BINARY, binary_entropy, entropy, softmax
from deadband_monitor.statistics.values import Doubles, Reals
from deadband_monitor.statistics.windows import LabelWindow, TargetWindow

_SMOOTHING = 0.2
"""Weight of the newest sample in the skill: follows a change within five samples."""
_FEWEST_LABELS = 32
"""Labels before their entropy is worth stating; below 32 it is biased low by a tenth and more."""
_FEWEST_TARGETS = 256
"""Targets before their standard deviation is compared with the outputs'."""
_LEAST_ENTROPY = 1e-3
"""Nats; with less, all labels of the window are the same and there is nothing to be skilled at."""
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
        self._labels: LabelWindow | None = None
        self._targets: TargetWindow | None = None
        self._columns = 0
        self._factor = np.nan
        self._positive_weight = 1.0
        self._smooth = np.nan

    def observe(
        self, kind: str, output: Reals, gradient: Reals, elements: int, loss: float
    ) -> Standing:
        """Take one sample.

        output, gradient: (r rows, c columns), finite; elements: of the whole output, of which these
        may be a part; loss: of this step, NaN where none is known.
        """
        columns = output.shape[1]
        if (kind, columns) != (self._kind, self._columns):
            self._kind, self._columns = kind, columns
            self._labels, self._targets = LabelWindow(max(columns, 1)), TargetWindow()
            self._factor, self._positive_weight, self._smooth = np.nan, 1.0, np.nan
        standing = Standing()
        if kind in ("cross_entropy", "nll"):
            self._observe_classes(standing, output, gradient, elements, loss)
        elif kind in BINARY:
            self._observe_yes_no(standing, output, gradient, elements)
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

    def label_entropy(self) -> float:
        """Entropy of the labels in the window, nats (mean over yes/no outputs); NaN if unknown."""
        if self._labels is not None and self._labels.size >= _FEWEST_LABELS:
            return self._labels.entropy()
        window = self._targets
        if window is not None and self._kind in BINARY and window.size >= _FEWEST_LABELS:
            return float(binary_entropy(window.mean()).mean())
        return np.nan

    def _observe_classes(
        self, standing: Standing, output: Reals, gradient: Reals, elements: int, loss: float
    ) -> None:
        window = self._labels
        assert window is not None
        counted = elements // max(output.shape[1], 1)
        labels = class_labels(output, gradient, counted)
        if labels is None:
            return
        window.add(labels)
        if window.size < _FEWEST_LABELS:
            return
        self._factor = _class_factor(labels, output, counted, loss, self._factor)
        standing.label_entropy = window.entropy()
        if standing.label_entropy > _LEAST_ENTROPY:
            counts = np.bincount(labels.classes) / len(labels.classes)
            standing.batch_label_entropy = float(entropy(counts)) / standing.label_entropy
        constant = window.constant_loss()
        if constant > _LEAST_ENTROPY:
            standing.loss_constant = constant * self._factor

    def _observe_yes_no(
        self, standing: Standing, output: Reals, gradient: Reals, elements: int
    ) -> None:
        window = self._targets
        assert window is not None
        found = yes_no_targets(output, gradient, elements, logits=self._kind == "bce_logits")
        if found is None:
            return
        window.add(found.values)
        self._take_scales(found, elements)
        if window.size < _FEWEST_LABELS:
            return
        rate = window.mean()
        standing.label_entropy = float(binary_entropy(rate).mean())
        if standing.label_entropy > _LEAST_ENTROPY:
            batch = float(binary_entropy(found.values.mean(axis=0)).mean())
            standing.batch_label_entropy = batch / standing.label_entropy
            yes, no = self._positive_weight * rate, 1.0 - rate
            constant = float(((yes + no) * binary_entropy(yes / (yes + no))).mean())
            standing.loss_constant = constant * self._factor

    def _take_scales(self, found: YesNo, elements: int) -> None:
        if np.isfinite(found.positive_weight):
            self._positive_weight = found.positive_weight
        if np.isfinite(found.scale):
            factor = found.scale * elements
            # Powers of two far from 1 come from a GradScaler, which the recorded loss is free of.
            self._factor = 1.0 if _from_scaler(factor, elements) else factor

    def _observe_values(
        self, standing: Standing, output: Reals, gradient: Reals, elements: int, loss: float
    ) -> None:
        window = self._targets
        assert window is not None
        found = squared_targets(output, gradient, elements, loss)
        if found is None:
            return
        window.add(found.values)
        if window.size < _FEWEST_LABELS:
            return
        variance = window.variance()
        if variance.mean() > 0:
            standing.loss_constant = float(variance.mean()) * found.factor
        varying = variance > 0
        if window.size >= _FEWEST_TARGETS and len(output) > 1 and varying.any():
            wide = output.astype(np.float64)
            deviation = (wide - wide[0]).std(axis=0)[varying]
            standing.sigma_share = float((deviation / np.sqrt(variance[varying])).mean())


def _class_factor(labels: Labels, output: Reals, counted: int, loss: float, last: float) -> float:
    """Recorded loss over the mean loss a row: 1 for the default reduction, rows for a sum.

    The gradient's scale tells it, unless a GradScaler scaled the gradient but not the record; then
    the recorded loss decides, against that of the copied rows.
    """
    share = float(labels.rows.mean())
    by_gradient = labels.scale * counted * share
    if 0.8 < by_gradient < 1.25:
        return 1.0
    likelihood = np.log(np.maximum(softmax(output)[labels.rows], 1e-300))
    if labels.targets is not None:
        own = -(labels.targets * likelihood).sum(axis=1)
    else:
        own = -likelihood[np.arange(len(likelihood)), labels.classes]
    weights = np.where(np.isnan(labels.weights), 1.0, labels.weights)
    mean = float((weights * own).sum() / weights.sum())
    if not (np.isfinite(loss) and loss > 0 and mean > _LEAST_ENTROPY):
        return last
    candidates: Doubles = np.array([1.0, by_gradient, counted * share])
    candidates = candidates[np.isfinite(candidates) & (candidates > 0)]
    distance = np.abs(np.log(loss / mean / candidates))
    best = int(distance.argmin())
    return float(candidates[best]) if distance[best] < _AGREES else last


def _from_scaler(factor: float, elements: int) -> bool:
    """Whether a gradient's scale over the mean's is a loss scale: 2^k, and not that of a sum."""
    if factor < 16 or abs(factor / elements - 1) < 0.01:
        return False
    power = np.log2(factor)
    return bool(abs(power - round(power)) < 0.01)

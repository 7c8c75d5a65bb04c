"""How much better than the best constant guess a model does, from labels given or inferred."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from deadband_monitor.statistics.between import (
    Halved,
    Squared,
    WrittenOut,
    turned_targets,
)
from deadband_monitor.statistics.constants import (
    VALUE_LOSSES,
    best_constant,
    huber_width,
    pointwise,
    slopes,
)
from deadband_monitor.statistics.factors import (
    LEAST_ENTROPY,
    class_factor,
    mean_class_loss,
    mean_yes_no_loss,
    scale_of_mean,
    value_factor,
    yes_no_factor,
)
from deadband_monitor.statistics.given import CLASS_LOSSES, Found, weighed
from deadband_monitor.statistics.guessed import LossGuess
from deadband_monitor.statistics.labels import (
    Labels,
    Targets,
    YesNo,
    class_labels,
    yes_no_scale,
    yes_no_targets,
)
from deadband_monitor.statistics.outputs import (
    BINARY,
    binary_entropy,
    entropy,
    entropy_of,
    sigmoid,
    softmax,
)
from deadband_monitor.statistics.ownloss import OwnLoss, along
from deadband_monitor.statistics.squash import LEAST_TURNED, TURNED, bent
from deadband_monitor.statistics.values import Doubles, Reals
from deadband_monitor.statistics.windows import LabelWindow, TargetWindow, ValueWindow

_SMOOTHING = 0.2
"""Weight of the newest sample in the skill: follows a change within five samples."""
_FEWEST_OF_BATCH = 8
"""Labels of a batch from which their entropy is stated, where it has as many rows: of a thousand
classes a slice shows the first ones alone, and the few rows whose label is one of those."""
_FEWEST_LABELS = 32
"""Labels before their entropy is worth stating; below 32 it is biased low by a tenth and more."""
_LABELS_A_CLASS = 2
"""Labels a class that is in the window, on average, before their entropy stands for that of the
data: with fewer it is the logarithm of the window's length (2000 words of a vocabulary)."""
_ALIKE = 1e-3
"""Range of a batch's targets, in standard deviations of those of the window, within which they are
all the same, however they were found out."""
_FEWEST_ALIKE = 8
"""Targets that are not all the same by chance, even if there are but two values."""
_FEWEST_TARGETS = 256
"""Targets before their standard deviation is compared with the outputs'."""
_MOST_SILENT = 20
"""Samples in a row without labels after which those of the window are no longer believed."""
_SOFTMAX = 5.0
"""What `bent` says of a squared error of a softmax."""
_MOST_OPEN = 0.9
"""Share of a constant answer's loss that soft labels may leave open: of a label that is smoothed to
next to nothing there is no telling how much was told."""
_OF_KNOWN_SLOPE = frozenset({"mse", "l1"})
"""Losses of values whose gradient has but its scale to tell; Huber's has its width."""
_LIKE_TARGETS = VALUE_LOSSES | {"", "gaussian_nll"}
"""Losses whose output should spread as the targets do; a Poisson loss is given logarithms. Empty is
a loop without autograd that showed its targets."""


@dataclass(slots=True)
class Standing:
    """What one sample says about labels and loss; NaN where it does not tell."""

    label_entropy: float = np.nan
    batch_label_entropy: float = np.nan
    loss_constant: float = np.nan
    sigma_share: float = np.nan
    skill: float = np.nan
    majority: int = -1
    """The most frequent class of the window, -1 where there are no classes."""
    majority_share: float = np.nan
    target_mean: float = np.nan
    target_sd: float = np.nan
    target_kurtosis: float = np.nan
    target_min: float = np.nan
    target_max: float = np.nan
    open_share: float = np.nan
    """Share of the best constant answer's loss that soft labels have themselves."""
    further_loss: float = np.nan
    """What the recorded loss holds beyond the loss function's own value; NaN where nothing."""
    found: Found | None = None
    """Labels or targets of this sample itself."""
    way: float = np.nan
    """What stands between output and loss, where it told the targets (see `between`)."""

    @property
    def to_tell(self) -> float:
        """Share of a constant answer's loss that can be got rid of."""
        return 1.0 - self.open_share if self.open_share > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Shown:
    """What one sample shows of output and loss."""

    output: Reals
    """(r rows, c columns), finite"""
    gradient: Reals | None
    """The same for the loss gradient, where it is known"""
    elements: int
    """Of the whole output, of which these may be a part"""
    loss: float
    """Of this step, NaN where none is known"""
    given: Found | None = None
    """What the loss was called with, where that was seen"""
    p: Doubles | None = None
    """Softmax of the output, where somebody has it"""
    labels: Labels | None = None
    """What the gradient tells of classes, where `p` is known"""
    calls: int = 1
    """Forwards that the loss is of, of which this is one"""


class Skill:
    """Follows the labels of one model and its loss against theirs."""

    def __init__(self) -> None:
        self._kind = ""
        self._columns = 0
        self._guess = LossGuess()
        self._forget()

    def _forget(self) -> None:
        self._labels = LabelWindow(self._columns)
        self._targets = TargetWindow()
        self._values = ValueWindow()
        self._constant: Doubles | None = None
        self._factor = np.nan
        self._width = 1.0
        self._logits = False
        self._positive_weight = 1.0
        self._smooth = np.nan
        self._open = 0.0
        self._silent = 0
        self._own = OwnLoss()
        self._of_softmax = False
        self._squared, self._halved, self._written = Squared(), Halved(), WrittenOut()

    def observe(self, kind: str, shown: Shown) -> Standing:
        """Take one sample of a model whose loss is `kind`.

        Where neither the loss's arguments nor the gradient tell the labels, those of the window
        stand for a while.
        """
        if not kind and isinstance(shown.given, Targets):
            kind, shown = self._guessed(shown, shown.given)
        columns = shown.output.shape[1]
        if (kind, columns) != (self._kind, self._columns):
            self._kind, self._columns = kind, columns
            self._forget()
        self._silent += 1
        standing = Standing()
        self._own.begin()
        if kind in CLASS_LOSSES:
            self._observe_classes(standing, shown)
        elif kind in BINARY:
            self._observe_yes_no(standing, shown)
        elif kind in VALUE_LOSSES or isinstance(shown.given, Targets):
            self._observe_values(standing, self._as_compared(shown))
        standing.further_loss = self._own.further
        fresh = self._fresh(standing, shown.loss)
        if math.isfinite(fresh):
            if math.isnan(self._smooth):
                self._smooth = fresh
            self._smooth += _SMOOTHING * (fresh - self._smooth)
            standing.skill = self._smooth
        return standing

    def _fresh(self, standing: Standing, loss: float) -> float:
        """Skill of this sample alone, by the loss function's own value where more is added to it.

        A load to balance or a penalty says nothing of how well the labels are told.
        """
        constant = standing.loss_constant
        if self._own.is_apart and self._own.constant > 0:
            loss, constant = self._own.value, self._own.constant
        if not (math.isfinite(loss) and constant > 0):
            return np.nan
        return (1.0 - loss / constant) / standing.to_tell

    def _as_compared(self, shown: Shown) -> Shown:
        """What a squared error was given in place of logits: their softmax, by its gradient."""
        if self._kind != "mse" or shown.gradient is None or shown.output.shape[1] < 2:
            return shown
        way = bent(self._kind, shown.output, shown.gradient, shown.given)
        self._of_softmax = self._of_softmax or way == _SOFTMAX
        if not self._of_softmax:
            return shown
        return replace(shown, output=softmax(shown.output), gradient=None)

    def _guessed(self, shown: Shown, given: Targets) -> tuple[str, Shown]:
        if shown.output.size == shown.elements:
            self._guess.observe(shown.output.astype(np.float64), given.values, shown.loss)
        if self._guess.kind == "bce":
            shown = replace(shown, given=YesNo(given.values, np.nan, np.nan))
        return self._guess.kind, shown

    def _observe_classes(self, standing: Standing, shown: Shown) -> None:
        window, output = self._labels, shown.output
        counted = shown.elements // max(output.shape[1], 1)
        labels = told = None
        if shown.gradient is not None:
            labels = told = shown.labels
            if shown.p is None:
                labels = told = class_labels(output, shown.gradient, counted)
        if isinstance(shown.given, Labels):
            labels = weighed(shown.given, labels)
        if labels is not None:
            window.add(labels)
            self._silent = 0
            p = softmax(output) if shown.p is None else shown.p
            self._factor = class_factor(labels, p, counted, shown.loss, self._factor)
            if told is not None and self._kind == "cross_entropy":
                rows = len(labels.classes)
                # Of rows that stand for more the loss is a draw.
                draw = rows < counted or shown.calls > 1
                chance = window.constant_scatter() / math.sqrt(rows) if draw else 0.0
                self._own.add(mean_class_loss(labels, p), shown.loss, self._factor, chance)
            standing.found = labels
            soft = labels.targets
            self._open = 0.0 if soft is None else float(entropy(soft).mean())
        if window.size < _FEWEST_LABELS or self._silent > _MOST_SILENT:
            return
        standing.label_entropy = window.entropy()
        standing.majority, standing.majority_share = window.majority()
        if (
            labels is not None
            and len(labels.classes) >= min(_FEWEST_OF_BATCH, len(output))
            and standing.label_entropy > LEAST_ENTROPY
        ):
            counts = np.bincount(labels.classes) / len(labels.classes)
            standing.batch_label_entropy = entropy_of(counts) / standing.label_entropy
        constant = self._own.constant = window.constant_loss()
        if constant > LEAST_ENTROPY and window.size >= _LABELS_A_CLASS * window.distinct:
            standing.loss_constant = constant * self._factor
            standing.open_share = self._open_share()

    def _open_share(self) -> float:
        share = self._open / self._own.constant
        return share if 0 < share < _MOST_OPEN else np.nan

    def _observe_yes_no(self, standing: Standing, shown: Shown) -> None:
        window, output = self._targets, shown.output
        # Values that are no probabilities have met their sigmoid between the model and the loss.
        self._logits |= self._kind == "bce_logits" or output.min() < 0 or output.max() > 1
        logits = self._logits
        found = None
        if shown.gradient is not None:
            found = yes_no_targets(output, shown.gradient, shown.elements, logits=logits)
            if shown.loss < 0 and output.size >= LEAST_TURNED and not _is_hard(found):
                turned = yes_no_targets(output, -shown.gradient, shown.elements, logits=logits)
                if _is_hard(turned):
                    found, standing.way = turned, TURNED
        if isinstance(shown.given, YesNo):
            found = _yes_no_weighed(shown.given, found)
        if found is not None:
            p = sigmoid(output) if logits else output.astype(np.float64)
            if found is shown.given and shown.gradient is not None:
                found = replace(found, scale=yes_no_scale(p, found, shown.gradient, logits=logits))
            window.add(found.values)
            self._silent = 0
            if np.isfinite(found.positive_weight):
                self._positive_weight = found.positive_weight
            mean = mean_yes_no_loss(found, p, self._positive_weight)
            self._factor = yes_no_factor(found, mean, shown.elements, shown.loss, self._factor)
            if np.isfinite(found.scale):
                self._own.add(mean, shown.loss, self._factor)
            standing.found = found
            self._open = float(binary_entropy(found.values).mean())
        if window.size < _FEWEST_LABELS or self._silent > _MOST_SILENT:
            return
        rate = window.mean()
        _put_targets(standing, window)
        if standing.target_min < 0 or standing.target_max > 1:
            return  # no shares of a yes: the loss has no least value, and no entropy
        if len(rate) == 1:
            standing.majority = int(rate[0] > 0.5)
            standing.majority_share = float(max(rate[0], 1.0 - rate[0]))
        standing.label_entropy = float(binary_entropy(rate).mean())
        if standing.label_entropy > LEAST_ENTROPY:
            if found is not None and len(found.values) > 1:  # one row is of one kind, always
                batch = float(binary_entropy(found.values.mean(axis=0)).mean())
                standing.batch_label_entropy = batch / standing.label_entropy
            yes, no = self._positive_weight * rate, 1.0 - rate
            constant = float(((yes + no) * binary_entropy(yes / (yes + no))).mean())
            self._own.constant = constant
            standing.loss_constant = constant * self._factor
            standing.open_share = self._open_share()

    def _observe_values(self, standing: Standing, shown: Shown) -> None:
        window, output = self._targets, shown.output
        found: Targets | None = None
        if isinstance(shown.given, Targets):
            residual = output - shown.given.values
            gradient = shown.gradient if self._kind in _OF_KNOWN_SLOPE else None
            if gradient is not None and not along(gradient, slopes(self._kind, residual)):
                gradient = None
            factor = self._value_factor(shown, shown.given.values, gradient)
            found = Targets(shown.given.values, factor)
            if gradient is not None:
                own = float(np.mean(pointwise(self._kind, residual)))
                self._own.add(own, shown.loss, factor)
        elif shown.gradient is not None and self._kind == "mse":
            known = (output, shown.gradient, shown.elements, shown.loss)
            found = self._squared.observe(*known) or self._halved.observe(*known)
            if found is None:
                found = self._written.observe(*known)
                standing.way = self._written.way if found is not None else math.nan
                output = self._written.compared(output)
            if found is None:
                found = turned_targets(*known)
                standing.way = TURNED if found is not None else standing.way
        if found is not None:
            window.add(found.values, 0.0 if shown.given is not None else _read_to(output, found))
            if self._kind not in ("mse", ""):
                self._values.add(found.values)
            self._silent = 0
            self._factor = found.factor
            standing.found = found if len(found.values) == len(output) else None
        if window.size < _FEWEST_LABELS or self._silent > _MOST_SILENT:
            return
        _put_targets(standing, window)
        variance = window.variance()
        if variance.mean() > 0:
            self._own.constant = self._constant_loss(variance)
            standing.loss_constant = self._own.constant * self._factor
        varying = variance > 0
        if found is not None and varying.any() and len(found.values) >= _FEWEST_ALIKE:
            apart = np.ptp(found.values, axis=0) > _ALIKE * np.sqrt(variance)
            standing.batch_label_entropy = np.nan if apart.any() else 0.0
        comparable = self._kind in _LIKE_TARGETS
        if comparable and window.size >= _FEWEST_TARGETS and len(output) > 1 and varying.any():
            wide = output.astype(np.float64)
            deviation = (wide - wide[0]).std(axis=0)[varying]
            # The median: of many columns, a few hardly vary (pixels at the border).
            standing.sigma_share = float(np.median(deviation / np.sqrt(variance[varying])))

    def _constant_loss(self, variance: Doubles) -> float:
        """Mean loss an element of the best constant prediction."""
        if self._kind == "mse":
            return float(variance.mean())
        if self._kind not in VALUE_LOSSES:
            return np.nan
        values = self._values.rows
        self._constant = best_constant(self._kind, values, self._constant, self._width)
        return float(pointwise(self._kind, values - self._constant, self._width).mean())

    def _value_factor(self, shown: Shown, targets: Doubles, gradient: Reals | None) -> float:
        """Recorded loss over its mean; gradient: where it is that of this loss alone."""
        if self._kind not in VALUE_LOSSES:
            return self._factor
        output = shown.output.astype(np.float64)
        if self._kind in ("huber", "smooth_l1") and shown.gradient is not None:
            width = huber_width(output, targets, shown.gradient.astype(np.float64))
            self._width = width if np.isfinite(width) else self._width
        losses = pointwise(self._kind, output - targets, self._width)
        scale = math.nan
        if gradient is not None:
            scale = scale_of_mean(gradient, slopes(self._kind, output - targets), shown.elements)
        halved = bool(self._guess.kind)  # by hand, many take half the square
        return value_factor(
            losses, shown.elements, shown.loss, self._factor, halved=halved, scale=scale
        )


def _is_hard(found: YesNo | None) -> bool:
    """Whether all are yes or no: shares of a yes can be found in nearly any gradient."""
    return found is not None and bool(np.isin(found.values, (0.0, 1.0)).all())


def _yes_no_weighed(known: YesNo, inferred: YesNo | None) -> YesNo:
    """The given targets with scale and weight from the gradient, which must tell the same ones."""
    if inferred is None or np.mean(np.abs(known.values - inferred.values) < 0.1) < 0.9:
        return known
    return YesNo(known.values, inferred.scale, inferred.positive_weight)


def _read_to(output: Reals, found: Targets) -> float:
    """The least difference between targets that were taken from outputs in single precision."""
    size = max(np.abs(output).max(), np.abs(found.values).max())
    return 4.0 * float(np.finfo(np.float32).eps * size)


def _put_targets(standing: Standing, window: TargetWindow) -> None:
    moments = window.moments()
    standing.target_mean = float(moments.mean.mean())
    standing.target_sd = float(np.sqrt(moments.variance.mean()))
    standing.target_kurtosis = moments.kurtosis
    standing.target_min, standing.target_max = moments.low, moments.high

"""The built-in rules of SageMaker Debugger, each with its documented thresholds.

Source: Amazon SageMaker Developer Guide, page "List of Debugger built-in rules". The rules run as a
closed service, so they are written anew from that page. Where it leaves something open, the reading
that raises fewer alarms was taken, and the rule says so.

Left out: TensorVariance (no default thresholds), Confusion (its default asks each class for 0.9 of
all right answers, which no two classes can have at once), Overtraining (training on for longer than
needed is no failure), SimilarAcrossRuns, StalledTraining, NLPSequenceRatio and those for trees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from scoreboard.peers.hearing import Compared

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The tensors of one saved step."""

    step: int
    loss: float
    eval_loss: float | None = None
    gradients: Tensors = field(default_factory=dict)
    weights: Tensors = field(default_factory=dict)
    previous: Tensors = field(default_factory=dict)
    """Weights one step earlier."""
    relu_inputs: Tensors = field(default_factory=dict)
    relu_outputs: Tensors = field(default_factory=dict)
    tanh_inputs: Tensors = field(default_factory=dict)
    sigmoid_inputs: Tensors = field(default_factory=dict)
    images: Tensor | None = None
    compared: Compared | None = None


class Rule(Protocol):
    """Is shown each saved step."""

    def fires(self, saved: Saved) -> bool:
        """The rule returns True at this step."""


class VanishingGradient:
    """The mean of the absolute gradients of a tensor is below 1e-7."""

    def fires(self, saved: Saved) -> bool:
        return any(float(g.abs().mean()) < 1e-7 for g in saved.gradients.values())


class ExplodingTensor:
    """A value is not finite; looked for in gradients, weights and the loss."""

    def fires(self, saved: Saved) -> bool:
        tensors = (*saved.gradients.values(), *saved.weights.values(), torch.tensor(saved.loss))
        return any(not bool(torch.isfinite(t).all()) for t in tensors)


class AllZero:
    """All values of a tensor are zero.

    The collection is the user's to choose. Gradients and weights are taken; the page's sample takes
    every tensor, and every bias that starts from zero would be found.
    """

    def fires(self, saved: Saved) -> bool:
        tensors = (*saved.gradients.values(), *saved.weights.values())
        return any(not bool(t.any()) for t in tensors)


class WeightUpdateRatio:
    """A tensor's update over its size, in the mean of absolute values: above 10 or below 1e-8.

    Weights that are frozen on purpose are not looked at.
    """

    def fires(self, saved: Saved) -> bool:
        for name, before in saved.previous.items():
            now = saved.weights.get(name)
            if now is None:
                continue
            ratio = float((now - before).abs().mean() / (before.abs().mean() + 1e-9))
            if ratio > 10.0 or ratio < 1e-8:
                return True
        return False


class DeadRelu:
    """More than 50 % of a layer's units are active on less than 1 % of the samples.

    A unit of a convolution is a channel: that fewer of all positions are ever active is usual.
    """

    def fires(self, saved: Saved) -> bool:
        return any(
            float((by_unit(out > 0) < 0.01).float().mean()) > 0.5
            for out in saved.relu_outputs.values()
        )


class SaturatedActivation:
    """More than 50 % of a layer's units have inputs inside the bounds on less than 1 % of samples.

    The bounds are where the gradient falls below 1e-7: +-9.4999 for tanh, -23 to 16.99999 for
    sigmoid.
    """

    def fires(self, saved: Saved) -> bool:
        return any(
            float((by_unit((x > low) & (x < high)) < 0.01).float().mean()) > 0.5
            for inputs, low, high in (
                (saved.tanh_inputs, -9.4999, 9.4999),
                (saved.sigmoid_inputs, -23.0, 16.99999),
            )
            for x in inputs.values()
        )


class PoorWeightInitialization:
    """In the first ten steps: variances of ReLU inputs 10 times apart between layers, or a gradient
    whose 5th and 95th percentile lie less than 0.001 apart.

    The page also gives a patience of 5 steps for the loss without saying that it alone returns
    True; it is left out. Percentiles are only taken where there are twenty values.
    """

    def fires(self, saved: Saved) -> bool:
        if saved.step > 10:
            return False
        variances = [float(x.var()) for x in saved.relu_inputs.values()]
        if len(variances) > 1 and max(variances) > 10.0 * min(variances):
            return True
        marks = torch.tensor([0.05, 0.95])
        for gradient in saved.gradients.values():
            if gradient.numel() < 20:
                continue
            low, high = gradient.flatten().float().quantile(marks).tolist()
            if high - low < 0.001:
                return True
        return False


class ClassImbalance:
    """After 500 labels: the largest class has more than 10 times the samples of the smallest, or
    more than 0.7 of a class are mistaken. Labels and predictions are the loss's arguments.
    """

    def __init__(self) -> None:
        self._labels: Counter[int] = Counter()
        self._mistaken: Counter[int] = Counter()

    def fires(self, saved: Saved) -> bool:
        seen = saved.compared
        if seen is None or seen.loss not in ("cross_entropy", "nll_loss"):
            return False
        if seen.labels.is_floating_point() or seen.predictions.dim() < 2:
            return False
        labels, predicted = seen.labels.flatten(), seen.predictions.argmax(1).flatten()
        known = labels >= 0
        self._labels.update(labels[known].tolist())
        self._mistaken.update(labels[known & (predicted != labels)].tolist())
        if self._labels.total() < 500 or len(self._labels) < 2:
            return False
        if max(self._labels.values()) > 10 * min(self._labels.values()):
            return True
        return any(self._mistaken[c] > 0.7 * count for c, count in self._labels.items())


class LossNotDecreasing:
    """The loss is not below what it was ten steps or more earlier.

    Losses of evaluation are asked where there are some (the page's order of modes).
    """

    def __init__(self) -> None:
        self._then: tuple[int, float] | None = None
        self._evaluates = False
        """From the first such loss on, only those are compared."""

    def fires(self, saved: Saved) -> bool:
        if saved.eval_loss is not None and not self._evaluates:
            self._evaluates, self._then = True, None
        loss = saved.eval_loss if self._evaluates else saved.loss
        if loss is None:
            return False
        if self._then is None:
            self._then = (saved.step, loss)
            return False
        step, before = self._then
        if saved.step - step < 10:
            return False
        self._then = (saved.step, loss)
        return not loss < before


class Overfit:
    """The validation loss is more than 0.1 of the training loss above it."""

    def __init__(self) -> None:
        self._losses: list[float] = []

    def fires(self, saved: Saved) -> bool:
        self._losses.append(saved.loss)
        if saved.eval_loss is None:
            return False
        mean = sum(self._losses) / len(self._losses)
        self._losses.clear()
        return mean > 0 and (saved.eval_loss - mean) / mean > 0.1


class UnchangedTensor:
    """The loss (the collection of the page's sample) was the same at three saved steps, to 1e-5."""

    def __init__(self) -> None:
        self._losses: list[float] = []

    def fires(self, saved: Saved) -> bool:
        self._losses = [*self._losses[-2:], saved.loss]
        last = torch.tensor(self._losses)
        return len(last) == 3 and torch.allclose(last, last[0].expand(3), rtol=1e-5, atol=1e-8)


class CheckInputImages:
    """After 500 images: the mean of a colour channel is more than 0.2 from zero."""

    def __init__(self) -> None:
        self._count = 0
        self._sum: Tensor | None = None

    def fires(self, saved: Saved) -> bool:
        if saved.images is None:
            return False
        means = saved.images.float().mean((0, 2, 3)) * len(saved.images)
        self._sum = means if self._sum is None else self._sum + means
        self._count += len(saved.images)
        return self._count >= 500 and bool((self._sum / self._count).abs().max() > 0.2)


def by_unit(values: Tensor) -> Tensor:
    """The share of samples (and positions) on which it holds, for each unit.

    Units are on the last axis, those of images on the second.
    """
    axis = 1 if values.dim() == 4 else values.dim() - 1
    rest = [a for a in range(values.dim()) if a != axis]
    return values.float().mean(rest) if rest else values.float()


RULES: dict[str, type[Rule]] = {
    rule.__name__: rule
    for rule in (
        DeadRelu,
        ExplodingTensor,
        PoorWeightInitialization,
        SaturatedActivation,
        VanishingGradient,
        WeightUpdateRatio,
        AllZero,
        ClassImbalance,
        LossNotDecreasing,
        Overfit,
        UnchangedTensor,
        CheckInputImages,
    )
}
"""In the order of the page."""

"""How a loss and what it is given can fail to fit, and what that makes of the loss."""

from __future__ import annotations

import math
from enum import Enum


class Clash(Enum):
    """What does not fit; its value says how it is told to a reader."""

    SOFTMAX_CE = "softmax before cross_entropy"
    SIGMOID_CE = "sigmoid before cross_entropy"
    TANH_CE = "tanh before cross_entropy"
    RELU_CE = "ReLU before cross_entropy"
    SIGMOID_LOGITS = "sigmoid before binary_cross_entropy_with_logits"
    SIGMOID_TWICE = "sigmoid of a sigmoid"
    SOFTMAX_TWICE = "softmax of a softmax"
    TANH_LOGITS = "tanh before binary_cross_entropy_with_logits"
    RELU_LOGITS = "ReLU before binary_cross_entropy_with_logits"
    RELU_SIGMOID = "ReLU before the last sigmoid"
    ONE_LOGIT = "cross_entropy over a single logit"
    ONE_SOFTMAX = "softmax over a single unit"
    NLL_LOGITS = "nll_loss on raw logits"
    NLL_PROBABILITIES = "nll_loss on probabilities"
    WRONG_AXIS = "softmax over the wrong axis"
    BROADCAST = "prediction and target of different shapes"
    COUPLED = "a gradient that ignores the single targets"
    BCE_TARGETS = "targets outside 0..1 under a binary cross entropy"
    RELU_TARGETS = "output that is never negative, negative targets"
    SIGMOID_TARGETS = "sigmoid output, targets outside 0..1"
    TANH_TARGETS = "tanh output, targets outside -1..1"
    SOFTMAX_TARGETS = "softmax output, targets outside 0..1"
    CLASS_NUMBERS = "class numbers compared as values"
    STRETCHED = "one target for all units"
    KL_LOGITS = "kl_div on raw logits"
    KL_PROBABILITIES = "kl_div on probabilities"
    MARGIN_TARGETS = "targets of 0 and 1 under a margin loss"
    MIXED_AXES = "classes and positions read as each other"
    SHARED_WHOLE = "softmax over labels that may hold together"
    SILENT = "a loss that does not depend on the output"
    REVERSED = "a loss whose sign is turned"
    UNBOUNDED = "a loss without a least value"


BOUNDED = frozenset(
    {Clash.RELU_TARGETS, Clash.SIGMOID_TARGETS, Clash.TANH_TARGETS, Clash.SOFTMAX_TARGETS}
)
"""The output cannot reach the targets."""
SHUT_OUT = BOUNDED | {Clash.RELU_CE, Clash.RELU_SIGMOID}
"""Something that the last activation cannot give is needed."""
BOTTOMLESS = frozenset({Clash.REVERSED, Clash.UNBOUNDED})
"""The lower the loss, the worse the answers: it falls for ever."""
SQUASHED = frozenset(
    {
        Clash.SOFTMAX_CE,
        Clash.SIGMOID_CE,
        Clash.TANH_CE,
        Clash.RELU_CE,
        Clash.SIGMOID_LOGITS,
        Clash.SIGMOID_TWICE,
        Clash.SOFTMAX_TWICE,
        Clash.TANH_LOGITS,
        Clash.RELU_LOGITS,
        Clash.RELU_SIGMOID,
        Clash.WRONG_AXIS,
        Clash.NLL_PROBABILITIES,
    }
)
"""The loss applies its own softmax or sigmoid to something that was squashed already."""
BESIDE = frozenset(
    {
        Clash.CLASS_NUMBERS,
        Clash.STRETCHED,
        Clash.KL_LOGITS,
        Clash.KL_PROBABILITIES,
        Clash.MARGIN_TARGETS,
        Clash.MIXED_AXES,
        Clash.SHARED_WHOLE,
        Clash.SILENT,
    }
)
"""The loss can fall, but its least value is not what is wanted."""


def floor(clash: Clash, classes: int, rate: float) -> float:
    """The least mean loss that a squashed prediction can reach; NaN where it is not known.

    rate: share of positive labels of a binary loss. A probability of 1 gives the loss's own softmax
    the logits 1 and 0, ..., 0: -ln(e / (e + C - 1)).
    """
    if clash in {Clash.SOFTMAX_CE, Clash.SIGMOID_CE, Clash.SOFTMAX_TWICE} and classes >= 2:
        return math.log(math.e + classes - 1) - 1
    if clash is Clash.TANH_CE and classes >= 2:
        return math.log1p((classes - 1) * math.exp(-2))
    if clash in {Clash.SIGMOID_LOGITS, Clash.SIGMOID_TWICE} and 0 <= rate <= 1:
        return rate * math.log1p(math.exp(-1)) + (1 - rate) * math.log(2)
    if clash is Clash.TANH_LOGITS:
        return math.log1p(math.exp(-1))
    if clash in {Clash.RELU_LOGITS, Clash.RELU_SIGMOID} and 0 <= rate <= 1:
        return (1 - rate) * math.log(2)
    return math.nan


def crosses(prediction: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether the two shapes, spread against each other, hold more elements than either."""
    if not prediction or not target or prediction == target:
        return False
    wide = max(len(prediction), len(target))
    a = (1,) * (wide - len(prediction)) + tuple(prediction)
    b = (1,) * (wide - len(target)) + tuple(target)
    spread = math.prod(max(x, y) for x, y in zip(a, b, strict=True))
    return spread > max(math.prod(a), math.prod(b))


def stretched(prediction: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Whether several units a row are compared with the row's single target."""
    return (
        len(prediction) == len(target) >= 2
        and prediction[:-1] == target[:-1]
        and target[-1] == 1 < prediction[-1]
    )

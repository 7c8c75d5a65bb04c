"""Does what one sample shows of output, targets and gradient fit the loss? Tests of values.

Every test is a statement about numbers that a sound program never makes true (softmax rows that
meet a cross entropy, a target whose shape crosses the prediction's), so that none of them needs a
threshold to be tuned.
"""

from __future__ import annotations

import math

import msgspec

from deadband_monitor.rules.clashes import Clash, crosses, stretched

VALUE_LOSSES = frozenset({"mse", "l1", "smooth_l1", "huber"})
CLASS_LOSSES = frozenset({"cross_entropy", "nll"})
MARGIN_LOSSES = frozenset({"soft_margin", "hinge_embedding"})
"""Their targets are -1 and 1."""
BY_ELEMENT = MARGIN_LOSSES | {"poisson_nll", "gaussian_nll"}
"""Losses of values that are no distances; they too take any two shapes that spread over each other.
"""

SUMS = 5e-3
"""Rows of a softmax sum to 1 within 1e-6 in float32 and within 4e-3 in bfloat16."""
COUPLED = 0.9999
"""A loss that compares all with all has a gradient that is exactly proportional to the output less
a constant; with targets of its own, each row bends it."""
BEYOND = 0.2
"""Standard deviations by which a target must lie outside what an activation can give."""
ACROSS, RAW, NO_LOGARITHM, OF_SOFTMAX, MIXED = 2.0, 3.0, 4.0, 5.0, 9.0
BEHIND_RELU, BEHIND_SIGMOID, BEHIND_TANH, FOR_ALL, BEHIND_SOFTMAX = 6.0, 7.0, 8.0, 10.0, 11.0
HELD_WITHIN, BEHIND_CLAMP, BEHIND_HARD_TANH, TURNED = 12.0, 13.0, 14.0, 15.0
"""What the statistic `squashed` says."""
WAYS_OF_VALUES = {
    BEHIND_RELU: "ReLU",
    BEHIND_SIGMOID: "sigmoid",
    BEHIND_TANH: "tanh",
    BEHIND_SOFTMAX: "softmax",
    BEHIND_CLAMP: "clamp to 0..1",
    BEHIND_HARD_TANH: "clamp to -1..1",
}
"""Activations that stand between the model and a loss of values."""
FAR_OUT = 15.0
"""Logits up to which a sigmoid has a gradient in any precision: float32 loses it at 17."""
NUMBERED = 0.5
"""How far without order whole targets are that near inputs share: quantities cut into 4 to 10 steps
gave 0.00 to 0.02, 4 to 10 classes numbered as they come 0.6 to 1.4 (two of twenty less)."""
OFF_ONE = 0.2
"""How far the targets of a row sum off 1 on average; one-hot and smoothed ones meet it exactly."""
HELD = 2.0
"""Times the loss that the furthest target must be able to cost, where nothing but its range tells
of the output: few targets are the furthest. Standardised ones under a ReLU reach ten times it."""
JUST_ABOVE = 2e-3
"""Deviations, of the targets and of the outputs, above zero: of 64 outputs of that spread that may
lie on both sides of it the lowest is there in one sample of a hundred, not in three on end."""
HALF_A_CLASS = 0.5
"""By which units that fire must be fewer than the classes that occur."""
MET = 0.1
"""Share of the targets' variance (or deviation) below which the loss of targets that are met lies:
no answer need follow their noise below zero."""
HALF = 0.5
"""What a sigmoid makes of zero."""
POSITIVE = frozenset({"relu", "relu6", "softplus"})


class Reading(msgspec.Struct, frozen=True):
    """What one sample and the layer table say of the objective."""

    loss: str
    units: int
    """Columns of the output; 0 where they are not known."""
    last: str
    """Activation that makes the output, or the ReLU right before a sigmoid that does; empty where
    another layer makes it."""
    alive: float
    """Units of the last layer that fired in the last samples; NaN where it is none that can die."""
    labels: float
    """Classes that occur, at least: as many as evenly spread ones of the same entropy."""
    labelled: bool
    """The labels were found at this output: the loss acts on it and on nothing else."""
    low: float
    high: float
    rows: float
    """Largest |row sum - 1|."""
    columns: float
    squashed: bool
    """The gradient is that of logits which were squashed on their way to the loss."""
    way: float
    """What the gradient says of the way from output to loss, as the statistic `squashed` tells."""
    silent: bool
    """Much of the loss is there, its gradient at the output exactly zero in all rows."""
    negative: bool
    """Some loss was below zero."""
    target_low: float
    target_high: float
    target_mean: float
    target_sd: float
    out_sd: float
    value: float
    """Of the loss."""
    below: bool
    """The loss is minus an error: no loss was ever above zero, and this one lies as far below as a
    constant answer's above, or the gradient says so."""
    falls: bool
    """It falls below zero without end, and the faster the longer."""
    coupling: float
    numbered: float
    """How far the targets number classes."""
    prediction: tuple[int, ...]
    target: tuple[int, ...]
    """Shapes of the loss's two arguments."""
    by_hand: bool = False
    """No loss function was seen: the name is the user's word for what the loop does."""

    @property
    def unit_range(self) -> bool:
        """All values within 0..1."""
        return self.low >= 0 and self.high <= 1

    @property
    def tanh_range(self) -> bool:
        """All values within -1..1: not scaled afterwards."""
        return self.low >= -1 and self.high <= 1


def clash_of(read: Reading, stays_above: bool) -> Clash | None:
    """What does not fit; stays_above: the output has not been below zero for long."""
    found = _known_clash(read, stays_above)
    if found is None and read.below:
        return Clash.REVERSED
    # An error is never negative: what falls for ever is a minus before it, or what is subtracted.
    if found is None and read.falls and (not read.loss or read.loss in VALUE_LOSSES):
        return Clash.UNBOUNDED
    # A sigmoid is flat as well, but only far out.
    flat = read.silent and read.low > -FAR_OUT and read.high < FAR_OUT
    return Clash.SILENT if found is None and flat else found


def _known_clash(read: Reading, stays_above: bool) -> Clash | None:
    if not read.loss:
        return Clash.COUPLED if read.coupling >= COUPLED and not read.labelled else None
    if read.loss in VALUE_LOSSES:
        return _values_clash(read, stays_above)
    if read.loss in BY_ELEMENT and crosses(read.prediction, read.target):
        return Clash.BROADCAST
    if read.loss in MARGIN_LOSSES:
        binary = read.target_low == 0 and read.target_high == 1
        return Clash.MARGIN_TARGETS if binary else None
    if read.loss == "kl_div":
        return {RAW: Clash.KL_LOGITS, NO_LOGARITHM: Clash.KL_PROBABILITIES}.get(read.way)
    if read.last == "softmax" and read.unit_range and read.rows > 10 * SUMS and read.units >= 2:
        return Clash.WRONG_AXIS
    # Log-probabilities are none of them above 0; the sums are those of the probabilities.
    logs = read.loss in CLASS_LOSSES and read.high <= 0
    if read.columns <= SUMS < read.rows and (read.unit_range or logs):
        return Clash.WRONG_AXIS
    if read.way == ACROSS:
        return Clash.WRONG_AXIS
    if read.way == MIXED:
        return Clash.MIXED_AXES
    if read.low == read.high == 1.0 and read.rows <= SUMS:
        return Clash.ONE_SOFTMAX
    # A sigmoid is flat as well, but only far out.
    flat = read.silent and read.low > -FAR_OUT and read.high < FAR_OUT
    if flat and read.units == 1 and read.loss in {"bce", "bce_logits"}:
        return Clash.ONE_SOFTMAX
    if read.loss in CLASS_LOSSES:
        return _classes_clash(read)
    if read.loss in {"bce", "bce_logits"}:
        return _binary_clash(read)
    return None


def _classes_clash(read: Reading) -> Clash | None:
    if read.units == 1 and (read.prediction or not read.value > 0):
        return Clash.ONE_LOGIT  # by its shape; scores that are gathered to lists cost something
    simplex = read.unit_range and read.rows <= SUMS
    if simplex and (read.by_hand or read.loss == "nll") and not read.negative:
        return None  # -log p is taken of what the softmax gave; -p would be below zero
    if read.loss == "nll":
        if simplex:
            return Clash.NLL_PROBABILITIES
        return Clash.NLL_LOGITS if read.negative and read.high > SUMS else None
    if not read.labelled:
        return None
    if simplex or read.squashed:
        return Clash.SOFTMAX_CE
    if read.last in {"sigmoid", "hardsigmoid"} and read.unit_range:
        return Clash.SIGMOID_CE
    if read.last in {"relu", "relu6"} and read.alive < read.labels - HALF_A_CLASS:
        return Clash.RELU_CE
    return Clash.TANH_CE if read.last == "tanh" and read.tanh_range else None


def _binary_clash(read: Reading) -> Clash | None:
    if read.target_low < -SUMS or read.target_high > 1 + SUMS:
        return Clash.BCE_TARGETS
    if read.loss == "bce":
        if read.last in {"relu", "relu6"} and read.low >= HALF:
            return Clash.RELU_SIGMOID
        return Clash.SHARED_WHOLE if _shares_a_whole(read) else None
    squashed = read.last in {"sigmoid", "hardsigmoid", "softmax"}
    if (read.unit_range and squashed) or read.squashed:
        return Clash.SIGMOID_LOGITS
    if read.last == "tanh" and read.tanh_range:
        return Clash.TANH_LOGITS
    return Clash.RELU_LOGITS if read.last in {"relu", "relu6"} else None


def _shares_a_whole(read: Reading) -> bool:
    """Each row of the output sums to 1, the targets of a row do not: they cannot be met."""
    if read.units < 2 or not (read.unit_range and read.rows <= SUMS):
        return False
    return abs(read.target_mean * read.units - 1) > OFF_ONE


def _values_clash(read: Reading, stays_above: bool) -> Clash | None:
    if read.last == "softmax" and read.low == read.high == 1.0:
        return Clash.ONE_SOFTMAX
    if crosses(read.prediction, read.target):
        return Clash.BROADCAST
    if stretched(read.prediction, read.target) or read.way == FOR_ALL:
        return Clash.STRETCHED
    # Before anything is learnt an output may dwarf the targets, and then it rules the gradient too;
    # it does not where it makes up less than half of the squared error, or is less than an absolute
    # one.
    least = 2 * read.out_sd**2 if read.loss == "mse" else read.out_sd
    # Rows that all have one target are drawn to it by one rule, rightly.
    if read.coupling >= COUPLED and least < read.value and read.target_sd != 0:
        return Clash.COUPLED
    numbers = read.units == 1 and read.numbered >= NUMBERED
    # What the output cannot reach is sure; what the targets mean is read from their neighbours.
    return _beyond_reach(read, stays_above) or (Clash.CLASS_NUMBERS if numbers else None)


def _beyond_reach(read: Reading, stays_above: bool) -> Clash | None:
    """Targets that the last activation cannot give."""
    below, above = read.target_low, read.target_high
    mean, sd = read.target_mean, read.target_sd
    if not sd > 0:
        return None
    # One odd target among 2000 is no reason to speak: one standard deviation around the mean of
    # the targets must reach beyond the bound as well.
    under = below < -BEYOND * sd and mean - sd < 0
    over = above > 1 + BEYOND * sd and mean + sd > 1
    # Never below zero may be what it happens to give so far. What lies out of reach costs no more
    # than the square of the furthest target: a loss that stands above has another reason.
    furthest = below**2 if read.loss == "mse" else -below
    # Targets that are met are within reach, and what is left of their gradient is rounding.
    met = read.value <= MET * (sd**2 if read.loss == "mse" else sd)
    way = math.nan if met else read.way
    # None but a clamp to 0..1 gives both of them exactly; most of its targets must lie beyond it.
    clamped = read.low == 0 and read.high == 1 and mean < 0
    # A softplus never gives zero itself: all of its lowest answers come to lie just above.
    near = 0 < read.low < JUST_ABOVE * min(sd, read.out_sd) and not read.unit_range
    at_the_end = read.low == 0 or near
    held = stays_above and at_the_end and (clamped or furthest >= HELD * read.value)
    if under and (read.last in POSITIVE or way == BEHIND_RELU or (held and not met)):
        return Clash.RELU_TARGETS
    sigmoid = read.unit_range and read.last in {"sigmoid", "hardsigmoid"}
    if (under or over) and (sigmoid or way in {BEHIND_SIGMOID, BEHIND_CLAMP}):
        return Clash.SIGMOID_TARGETS
    softmax = read.unit_range and read.last == "softmax"
    if (under or over) and (softmax or way == BEHIND_SOFTMAX):
        return Clash.SOFTMAX_TARGETS
    far = (below < -1 - BEYOND * sd and mean - sd < -1) or (
        above > 1 + BEYOND * sd and mean + sd > 1
    )
    tanh = read.last in {"tanh", "hardtanh"} or way in {BEHIND_TANH, BEHIND_HARD_TANH}
    return Clash.TANH_TARGETS if far and tanh else None

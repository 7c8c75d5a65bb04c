"""Whether the loss and what it is given fit together: tests of values and shapes, sample by sample.

Every test is a statement about numbers that a sound program never makes true (softmax rows that
meet a cross entropy, a target whose shape crosses the prediction's), so that none of them needs a
threshold to be tuned. `Objective` remembers since when one holds; rules and causes read it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN, MODEL_COLUMN
from deadband_monitor.rules.bottomless import Descent
from deadband_monitor.rules.clashes import Clash, crosses, stretched
from deadband_monitor.rules.layout import Layout
from deadband_monitor.state.series import Floats

VALUE_LOSSES = frozenset({"mse", "l1", "smooth_l1", "huber"})
CLASS_LOSSES = frozenset({"cross_entropy", "nll"})
MARGIN_LOSSES = frozenset({"soft_margin", "hinge_embedding"})
"""Their targets are -1 and 1."""

SUMS = 5e-3
"""Rows of a softmax sum to 1 within 1e-6 in float32 and within 4e-3 in bfloat16."""
SAME = 0.3
"""Difference in the logarithm of the rms of two slices of one tensor, of half the rows and of all:
a tanh that is scaled afterwards (soft caps at 30 or 50) differs by 3 and more."""
COUPLED = 0.9999
"""A loss that compares all with all has a gradient that is exactly proportional to the output less
a constant; with targets of its own, each row bends it."""
BEYOND = 0.2
"""Standard deviations by which a target must lie outside what an activation can give."""
ACROSS, RAW, NO_LOGARITHM, OF_SOFTMAX = 2.0, 3.0, 4.0, 5.0
"""What the statistic `squashed` says."""
LEFT = 0.2
"""Share of the first loss that must be left of one that gives no gradient: a margin that is kept
everywhere leaves nothing but a penalty on the weights."""
FAR_OUT = 15.0
"""Logits up to which a sigmoid has a gradient in any precision: float32 loses it at 17."""
SAMPLES = 3
"""Values can meet a condition by chance once; exact ones do not three times in a row."""
DOUBTS = 20
"""Samples in a row without it, after which what was believed is given up."""
NUMBERED = 0.5
"""How far without order whole targets are that near inputs share: quantities cut into 4 to 10 steps
gave 0.00 to 0.02, 4 to 10 classes numbered as they come 0.6 to 1.4 (two of twenty less)."""
OFF_ONE = 0.2
"""How far the targets of a row sum off 1 on average; one-hot and smoothed ones meet it exactly."""
HELD = 2.0
"""Times the loss that the furthest target must be able to cost, where nothing but its range tells
of the output: few targets are the furthest. Standardised ones under a ReLU reach ten times it."""
LONG = 20
"""Where only the range of the values tells: outputs of a fresh network can all be positive for a
few steps."""
LONG_STEPS = 100
"""The same where samples are far apart: a few of them, over so many steps."""


_NEEDED = {
    Clash.BROADCAST: 1,
    Clash.STRETCHED: 1,
    Clash.ONE_LOGIT: 1,
    Clash.COUPLED: LONG,
    Clash.SILENT: LONG,
    Clash.REVERSED: 3,
    Clash.UNBOUNDED: 3,
}


class Reading(msgspec.Struct, frozen=True):
    """What one sample and the layer table say of the objective."""

    loss: str
    units: int
    """Columns of the output; 0 where they are not known."""
    last: str
    """Activation that makes the output; empty where another layer does."""
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
    """No loss was ever above zero, and this one lies as far below as a constant answer's above."""
    falls: bool
    """It falls below zero without end, and the faster the longer."""
    coupling: float
    numbered: float
    """How far the targets number classes."""
    prediction: tuple[int, ...]
    target: tuple[int, ...]
    """Shapes of the loss's two arguments."""

    @property
    def unit_range(self) -> bool:
        """All values within 0..1."""
        return self.low >= 0 and self.high <= 1

    @property
    def tanh_range(self) -> bool:
        """All values within -1..1: not scaled afterwards."""
        return self.low >= -1 and self.high <= 1


class Objective:
    """Since when the loss of one model does not fit what it is given."""

    def __init__(self) -> None:
        self.clash: Clash | None = None
        """What has held for long enough to be believed."""
        self.since = 0
        self.samples = 0
        self.classes = 0
        self.behind = False
        """It was done between the model and the loss, not in the model."""
        self.began: int | None = None
        self.always_positive = 0
        """Samples, from the first on, in which the output never fell below zero."""
        self.crossed_step: int | None = None
        """When an output that had stayed above zero for long fell below it."""
        self._candidate: Clash | None = None
        self._candidate_since = 0
        self._first: dict[Clash, int] = {}
        """When each was seen first: one that comes back was there all the time."""
        self._negative = False
        self._doubts = 0
        self.way = 0.0
        """As far as was told last: a gradient does not tell at every sample."""
        self._first_loss = math.nan
        self._descent = Descent()

    def absorb(
        self, step: int, now: Sequence[float], layers: Floats, layout: Layout, index: int
    ) -> None:
        """Fold one sample in; `now` is the model's row of it."""
        self.began = step if self.began is None else self.began
        loss = now[_LOSS]
        self._negative = self._negative or loss < 0
        self._descent.add(step, loss, now[_M["out_rms"]])
        told = now[_M["squashed"]]
        self.way = told if math.isfinite(told) else self.way
        self._first_loss = loss if math.isnan(self._first_loss) else self._first_loss
        read = _read(
            now,
            layers,
            layout,
            index,
            negative=self._negative,
            way=self.way,
            first=self._first_loss,
        )
        if read is not None and not layout.several_models:
            usual = _of_a_constant(read, now[_ENTROPY])
            read = msgspec.structs.replace(
                read, below=self._descent.turned(usual), falls=self._descent.endless
            )
        if read is None or math.isnan(read.low):
            return  # an output that is not finite says nothing: what was found before holds
        self.classes = read.units
        bent = read.way in {1.0, ACROSS} or read.silent
        self.behind = bent and not read.unit_range
        if self._stays_above(step) and read.low < 0:
            self.crossed_step = step
        # Zeros alone have no sign: a product of two tables that began at zero gives nothing else.
        if self.always_positive >= 0 and math.isfinite(read.low) and read.low != read.high:
            self.always_positive = self.always_positive + 1 if read.low >= 0 else -1
        found = _clash(read, self._stays_above(step))
        disproved = self.clash is Clash.RELU_TARGETS and read.low < 0
        if found is None and self.clash is not None and self._doubts < DOUBTS and not disproved:
            # A program does not change in mid-run; slices of an output that hardly varies may.
            self._doubts += 1
            return
        self._doubts = 0
        if found is not self._candidate:
            self._candidate, self.samples, self._candidate_since = found, 0, step
            # What it takes a few hundred inputs to tell of the targets was so from the start.
            since = self.began if found in _FROM_THE_START else step
            self.since = step if found is None else self._first.setdefault(found, since)
        if found is None:
            self.clash = None
            return
        self.samples += 1
        lasted = self.samples > SAMPLES and step - self._candidate_since >= LONG_STEPS
        enough = self.samples >= _NEEDED.get(found, SAMPLES) or lasted
        self.clash = found if enough else None

    def _stays_above(self, step: int) -> bool:
        """The output has not been below zero for so long that it may be unable to."""
        steps = 0 if self.began is None else step - self.began
        lasted = self.always_positive > SAMPLES and steps >= LONG_STEPS
        return lasted or self.always_positive >= LONG


_FROM_THE_START = frozenset({Clash.CLASS_NUMBERS, Clash.REVERSED, Clash.UNBOUNDED})
"""What takes time to tell and was so from the start."""

POSITIVE = frozenset({"relu", "relu6", "softplus"})
_LOSS, _ENTROPY = MODEL_COLUMN["loss"], MODEL_COLUMN["label_entropy"]
_OUT_RMS, _OUT_GRAD = LAYER_COLUMN["out_rms"], LAYER_COLUMN["out_grad_rms"]
_M = {
    name: MODEL_COLUMN[name]
    for name in (
        "out_min",
        "out_max",
        "out_sd",
        "out_rms",
        "row_sum_error",
        "column_sum_error",
        "label_entropy",
        "target_min",
        "target_max",
        "target_mean",
        "target_sd",
        "coupling",
        "squashed",
        "class_numbers",
    )
}


def _read(
    now: Sequence[float],
    layers: Floats,
    layout: Layout,
    index: int,
    *,
    negative: bool,
    way: float,
    first: float,
) -> Reading | None:
    model, rows = layout.models[index], layout.rows_of[index]
    if not len(rows):
        return None
    last = makes_output(layout, rows)
    rms, whole = float(layers[last, _OUT_RMS]), now[_M["out_rms"]]
    ends = rms == whole or (rms > 0 and whole > 0 and abs(math.log(rms / whole)) <= SAME)
    units = layout.layers[last].units
    if len(model.loss_input) >= 2:
        units = model.loss_input[1 if model.loss in CLASS_LOSSES else -1]
    value = {name: now[column] for name, column in _M.items()}
    return Reading(
        loss=model.loss,
        units=units,
        last=layout.layers[last].activation if ends else "",
        labelled=math.isfinite(value["label_entropy"]) or math.isfinite(value["target_sd"]),
        low=value["out_min"],
        high=value["out_max"],
        rows=value["row_sum_error"],
        columns=value["column_sum_error"],
        squashed=way == 1.0,
        way=way,
        silent=_no_gradient(layers[rows, _OUT_GRAD]) and now[_LOSS] > LEFT * first > 0,
        negative=negative,
        target_low=value["target_min"],
        target_high=value["target_max"],
        target_mean=value["target_mean"],
        target_sd=value["target_sd"],
        out_sd=value["out_sd"],
        value=now[_LOSS],
        below=False,
        falls=False,
        coupling=value["coupling"],
        numbered=value["class_numbers"],
        prediction=model.loss_input,
        target=model.loss_target,
    )


def makes_output(layout: Layout, rows: NDArray[np.int64]) -> int:
    """Row of the layer that gives the model's output: parameters without a call stand behind it."""
    called = [row for row in rows.tolist() if layout.layers[row].kind != "Parameter"]
    return int((called or rows.tolist())[-1])


def _no_gradient(gradients: Floats) -> bool:
    """No layer is given one: the last of a model may be an expert that was not chosen."""
    return bool(gradients[-1] == 0) and not np.count_nonzero(gradients > 0)


def _of_a_constant(read: Reading, entropy: float) -> float:
    """About what the loss of an answer that knows nothing is; NaN where that is not known."""
    if read.loss in CLASS_LOSSES or read.loss in {"bce", "bce_logits"}:
        return entropy
    if read.loss in VALUE_LOSSES:
        return read.target_sd**2 if read.loss == "mse" else read.target_sd / 2
    return math.nan


def _clash(read: Reading, stays_above: bool) -> Clash | None:
    found = _known_clash(read, stays_above)
    if found is None and read.below:
        return Clash.REVERSED
    if found is None and read.falls and not read.loss:
        return Clash.UNBOUNDED
    # A sigmoid is flat as well, but only far out.
    flat = read.silent and read.low > -FAR_OUT and read.high < FAR_OUT
    return Clash.SILENT if found is None and flat else found


def _known_clash(read: Reading, stays_above: bool) -> Clash | None:
    if not read.loss:
        return None
    if read.loss in VALUE_LOSSES:
        return _values_clash(read, stays_above)
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
    if read.units == 1:
        return Clash.ONE_LOGIT
    simplex = read.unit_range and read.rows <= SUMS
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
    return Clash.TANH_CE if read.last == "tanh" and read.tanh_range else None


def _binary_clash(read: Reading) -> Clash | None:
    if read.target_low < -SUMS or read.target_high > 1 + SUMS:
        return Clash.BCE_TARGETS
    if read.loss == "bce":
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
    if crosses(read.prediction, read.target):
        return Clash.BROADCAST
    if stretched(read.prediction, read.target):
        return Clash.STRETCHED
    # Before anything is learnt an output may dwarf the targets, and then it rules the gradient too;
    # it does not where it makes up less than half of the squared error.
    if read.loss == "mse" and read.coupling >= COUPLED and 2 * read.out_sd**2 < read.value:
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
    held = stays_above and read.low == 0 and furthest >= HELD * read.value
    if under and (read.last in POSITIVE or held):
        return Clash.RELU_TARGETS
    if (under or over) and read.unit_range and read.last in {"sigmoid", "hardsigmoid"}:
        return Clash.SIGMOID_TARGETS
    if (under or over) and read.unit_range and read.last == "softmax":
        return Clash.SOFTMAX_TARGETS
    far = (below < -1 - BEYOND * sd and mean - sd < -1) or (
        above > 1 + BEYOND * sd and mean + sd > 1
    )
    return Clash.TANH_TARGETS if far and read.last in {"tanh", "hardtanh"} else None

"""Whether the loss and what it is given fit together: tests of values and shapes, sample by sample.

`misfit` tests one sample; `Objective` remembers since when a test holds; rules and causes read it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN, MODEL_COLUMN
from deadband_monitor.rules.bottomless import HARDLY_SLOWED, Descent
from deadband_monitor.rules.clashes import Clash, crosses, floor
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.misfit import (
    ACROSS,
    CLASS_LOSSES,
    TURNED,
    VALUE_LOSSES,
    WAYS_OF_VALUES,
    Reading,
    clash_of,
)
from deadband_monitor.rules.twice import Twice
from deadband_monitor.state.series import Floats

SAME = 0.3
"""Difference in the logarithm of the rms of two slices of one tensor, of half the rows and of all:
a tanh that is scaled afterwards (soft caps at 30 or 50) differs by 3 and more."""
LEFT = 0.2
"""Share of the first loss that must be left of one that gives no gradient: a margin that is kept
everywhere leaves nothing but a penalty on the weights."""
FALLEN = 0.3
"""Share of its first value that a loss which is squashed once more never comes to."""
SAMPLES = 3
"""Values can meet a condition by chance once; exact ones do not three times in a row."""
DOUBTS = 20
"""Samples in a row without it, after which what was believed is given up."""
LONG = 20
"""Where only the range of the values tells: outputs of a fresh network can all be positive for a
few steps."""
LONG_STEPS = 100
"""The same where samples are far apart: a few of them, over so many steps."""


_NEEDED = {
    Clash.BROADCAST: 1,
    Clash.STRETCHED: 1,
    Clash.ONE_LOGIT: 1,
    Clash.SIGMOID_TWICE: 1,
    Clash.SOFTMAX_TWICE: 1,
    Clash.COUPLED: LONG,
    Clash.RELU_CE: LONG,
    Clash.SILENT: LONG,
    Clash.REVERSED: 3,
    Clash.UNBOUNDED: 3,
}


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
        self._disproved: set[Clash] = set()
        """What the loss has shown to be untrue."""
        self._first: dict[Clash, int] = {}
        """When each was seen first: one that comes back was there all the time."""
        self._negative = False
        self._doubts = 0
        self.way = 0.0
        """As far as was told last: a gradient does not tell at every sample."""
        self._first_loss = math.nan
        self._descent = Descent()
        self._twice = Twice()

    @property
    def falls_unslowed(self) -> bool:
        """The loss lies far below zero and falls about as fast as ever."""
        return self._descent.falls_on(HARDLY_SLOWED)

    def absorb(
        self, step: int, now: Sequence[float], layers: Floats, layout: Layout, index: int
    ) -> None:
        """Fold one sample in; `now` is the model's row of it."""
        self.began = step if self.began is None else self.began
        loss = now[_LOSS]
        self._negative = self._negative or loss < 0
        self._descent.add(step, loss, now[_M["out_rms"]], now[_M["coupling"]])
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
            below = self._descent.turned(
                _of_a_constant(read, now[_ENTROPY]), math.hypot(read.target_mean, read.target_sd)
            )
            below = below or (read.way == TURNED and loss < 0)
            falls = self._descent.endless
            if below or falls:
                read = msgspec.structs.replace(read, below=below, falls=falls)
        if read is None or (math.isnan(read.low) and not _told_by_shapes(read)):
            return  # an output that is not finite says nothing: what was found before holds
        self.classes = read.units
        bent = read.way in {1.0, ACROSS} or read.silent
        self.behind = (bent and not read.unit_range) or read.way in WAYS_OF_VALUES
        if self._stays_above(step) and read.low < 0:
            self.crossed_step = step
        # Zeros alone have no sign: a product of two tables that began at zero gives nothing else.
        if self.always_positive >= 0 and math.isfinite(read.low) and read.low != read.high:
            self.always_positive = self.always_positive + 1 if read.low >= 0 else -1
        found = clash_of(read, self._stays_above(step)) or self._twice.add(read)
        alone = not layout.several_models
        if alone and found is not None and self._below_floor(found, loss):
            # A dice loss goes through a sigmoid too, and its gradient may look like that of two.
            self._disproved.add(found)
        # What judges another's samples is trained by a function of its score alone.
        if found in self._disproved or (found is Clash.COUPLED and not (read.loss or alone)):
            found = None
        if self.clash in self._disproved:
            self.clash = None
        untold = found in {None, Clash.SILENT} and math.isnan(read.coupling)
        if untold and self._candidate is Clash.COUPLED:
            return  # all answers lie between two neighbouring targets: no row is told from another
        disproved = self.clash is Clash.RELU_TARGETS and read.low < 0 and not self.behind
        if found is None and self.clash is not None and self._doubts < DOUBTS and not disproved:
            # A program does not change in mid-run; slices of an output that hardly varies may.
            self._doubts += 1
            return
        self._doubts = 0
        if found is not self._candidate:
            self._candidate, self.samples, self._candidate_since = found, 0, step
            # What it takes a few hundred inputs to tell of the targets was so from the start.
            earlier = found in _FROM_THE_START and read.way != TURNED
            since = self.began if earlier else step
            self.since = step if found is None else self._first.setdefault(found, since)
        if found is None:
            self.clash = None
            return
        self.samples += 1
        lasted = self.samples > SAMPLES and step - self._candidate_since >= LONG_STEPS
        needed = _NEEDED.get(found, SAMPLES)
        if read.way in WAYS_OF_VALUES:
            # A gradient that a formula gives to a thousandth is no chance; one of zeros may be that
            # of a loss which does not count for the time being.
            needed = LONG if read.silent else 1
        elif found is Clash.REVERSED and read.way == TURNED:
            needed = 2  # the loss says the same; an adversary may have every other step
        enough = self.samples >= needed or lasted
        self.clash = found if enough else None

    def _below_floor(self, clash: Clash, loss: float) -> bool:
        """Whether the loss got to where no squashed prediction brings it, in size and in share.

        In share too, for a loss may be divided, by steps that are accumulated, say: the least value
        of one that is squashed is 0.45 of its first and more.
        """
        least = min(floor(clash, self.classes, rate) for rate in (0.0, 1.0))
        return loss < least and loss < FALLEN * self._first_loss

    def _stays_above(self, step: int) -> bool:
        """The output has not been below zero for so long that it may be unable to."""
        steps = 0 if self.began is None else step - self.began
        lasted = self.always_positive > SAMPLES and steps >= LONG_STEPS
        return lasted or self.always_positive >= LONG


_FROM_THE_START = frozenset(
    {
        Clash.CLASS_NUMBERS,
        Clash.RELU_TARGETS,
        Clash.SIGMOID_TWICE,
        Clash.SOFTMAX_TWICE,
        Clash.COUPLED,
        Clash.REVERSED,
        Clash.UNBOUNDED,
    }
)
"""What takes time to tell and was so from the start."""

_LOSS, _ENTROPY = MODEL_COLUMN["loss"], MODEL_COLUMN["label_entropy"]
_OUT_RMS, _OUT_GRAD = LAYER_COLUMN["out_rms"], LAYER_COLUMN["out_grad_rms"]
_DEAD = LAYER_COLUMN["dead_units"]
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
    last = layout.output_of[index]
    rms, whole = layers.item(last, _OUT_RMS), now[_M["out_rms"]]
    ends = rms == whole or (rms > 0 and whole > 0 and abs(math.log(rms / whole)) <= SAME)
    units = layout.layers[last].units
    if len(model.loss_input) >= 2:
        units = model.loss_input[1 if model.loss in CLASS_LOSSES else -1]
    value = {name: now[column] for name, column in _M.items()}
    return Reading(
        loss=model.loss,
        units=units,
        last=_made_by(layout, last) if ends else "",
        alive=(1 - float(layers[last, _DEAD])) * units,
        labels=math.exp(value["label_entropy"]),
        labelled=math.isfinite(value["label_entropy"]) or math.isfinite(value["target_sd"]),
        low=value["out_min"],
        high=value["out_max"],
        rows=value["row_sum_error"],
        columns=value["column_sum_error"],
        squashed=way == 1.0,
        way=way,
        silent=_no_gradient(layers, rows) and now[_LOSS] > LEFT * first > 0,
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
        by_hand=not model.kind,
    )


def _made_by(layout: Layout, last: int) -> str:
    """The activation that makes the output, or the ReLU whose values it takes."""
    own, before = layout.layers[last], layout.layers[max(0, last - 1)]
    bent = own.activation == "sigmoid" and before.model == own.model
    bent = bent and before.activation in {"relu", "relu6"} and not layout.matrix[last]
    return before.activation if bent and own.units == before.units else own.activation


def _told_by_shapes(read: Reading) -> bool:
    """Whether no output need be known: what is given to the loss is spread against its target."""
    return read.loss in VALUE_LOSSES and crosses(read.prediction, read.target)


def _no_gradient(layers: Floats, rows: NDArray[np.int64]) -> bool:
    """No layer is given one: the last of a model may be an expert that was not chosen."""
    if layers.item(rows[-1], _OUT_GRAD) != 0:
        return False
    return not np.count_nonzero(layers[rows, _OUT_GRAD] > 0)


def _of_a_constant(read: Reading, entropy: float) -> float:
    """About what the loss of an answer that knows nothing is; NaN where that is not known."""
    if read.loss in CLASS_LOSSES or read.loss in {"bce", "bce_logits"}:
        return entropy
    if read.loss in VALUE_LOSSES:
        return read.target_sd**2 if read.loss == "mse" else read.target_sd / 2
    return math.nan

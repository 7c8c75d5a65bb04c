"""The rule on batch normalisation: what evaluation will use against what training used."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Observation, Words
from deadband_monitor.rules.judges import LayerRule, LayerView, column, columns, measured
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.past import Past, carried

LOW, HIGH = 0.3, 4.0
"""Batch variance over running variance, median of channels: near 1 in healthy runs, 0.07 to 0.27 or
10 to 37 where the running figures never arrived or are stale."""
SHIFT = 1.0
"""Squared distance of the means in units of the running variance: below 0.05 in healthy runs."""
SMALLEST_MOMENTUM = 0.003
"""Below it the running figures need more than 1000 steps; 0.1 is PyTorch's, 0.01 the usual small
one, and many mean 0.999 of the old, not of the new, when they write 0.001."""
FEWEST_VALUES = 2
"""Two values normalised together are +1 and -1 whatever they were: nothing but their order is left.
"""
FEWEST_KEPT = 8
"""Values that the running figures are the mean of: of eight normal ones the variance is off by half
of itself (sqrt(2 / 7)), and every row of an evaluation is scaled by that."""
WORSE, POOR = 2.0, 0.5
"""Loss in evaluation over that in training from which they are not the same network, where it is
half of a constant answer's at the least: little skill is left then."""


FOREIGN = 0.2
"""Squared distance of the means of a batch that ran without gradients in training mode, from which
it is another kind of batch than training's: shuffled rows gave 0.005 to 0.07 (one over the rows),
rows of one class at a time 0.3 to 0.9. Its answers are then those of whatever lay beside a row."""
OWN_KIND = 4.0
"""Times that of training's own batches: a discriminator's are of two kinds by themselves."""
FOREIGN_TIMES = 3
"""One after another: a single odd batch is the last of an epoch."""


class BatchNormMismatch(LayerRule):
    """The running figures of a batch norm are not those of its batches, or these are tiny."""

    kind = "batchnorm-mismatch"
    needs = ("norm_shift", "norm_ratio")
    samples_to_open = 5
    grace_steps = 50

    LASTING_STEPS = 20
    ARRIVES = 2.0
    """Factor by which the ratio rises within those steps where the running variance is still on
    its way down from the 1 it began as: 7 at PyTorch's momentum, 1.2 at a tenth of it. What an LSTM
    puts out varies by 0.001 at first, which a twentieth of that 1 still drowns."""
    LONG_ENOUGH_STEPS = 200
    """Of momenta that need longer: from here on evaluation passes are usual."""

    def __init__(self) -> None:
        super().__init__()
        self._ready: NDArray[np.float32] = np.zeros(0, np.float32)
        self._tiny: NDArray[np.bool_] = np.zeros(0, bool)
        """Rows whose momentum is so small that their figures arrive late or never."""
        self._batches: NDArray[np.float32] = np.zeros(0, np.float32)
        """Batches that the running figures are the mean of."""
        self._apart_since: NDArray[np.float32] = np.zeros(0, np.float32)
        self._apart_at: NDArray[np.float32] = np.zeros(0, np.float32)
        """Ratio of the variances since then."""
        self._foreign: NDArray[np.float32] = np.zeros(0, np.float32)
        """Batches of another kind in a row that were normalised by their own figures."""
        self._test_shift: NDArray[np.float32] = np.zeros(0, np.float32)
        """How far the last such batch lay from training's."""

    def adopt(self, layout: Layout) -> None:
        """See `LayerRule`."""
        old = self._layout
        carry = layout.carry(old) if old is not None else np.full(len(layout.keys), -1)
        self._foreign = carried(self._foreign, carry, 0.0)
        self._test_shift = carried(self._test_shift, carry, np.nan)
        super().adopt(layout)
        self._ready = np.array([_ready_at(layer.options) for layer in layout.layers], np.float32)
        momenta = [layer.options.get("momentum", 0.0) for layer in layout.layers]
        self._tiny = np.array(momenta) < SMALLEST_MOMENTUM
        self._batches = np.array([batches_kept(momentum) for momentum in momenta], np.float32)
        self._apart_since = np.full(len(layout.layers), np.nan, np.float32)
        self._apart_at = self._apart_since.copy()

    def view(self, seen: Observation, past: Past, layout: Layout) -> LayerView | None:
        """See `LayerRule`."""
        ratio, shift = column(seen, "norm_ratio"), column(seen, "norm_shift")
        values = column(seen, "norm_values")
        known = np.isfinite(ratio) | np.isfinite(values)
        if not np.count_nonzero(known):
            return None
        step = np.float32(seen.step)
        apart = (ratio < LOW) | (ratio > HIGH) | (shift > SHIFT)
        few = (values <= FEWEST_VALUES) | (values * self._batches < FEWEST_KEPT)
        # Rates that ruin the weights move what goes in faster than any running figure can follow.
        # How long they have been apart counts from the start: samples may lie far from each other.
        # Figures that come nearer by so much have but begun to tell.
        stays = apart & ~(ratio > self.ARRIVES * self._apart_at)
        self._apart_since = np.where(stays, np.fmin(self._apart_since, step), np.nan)
        stays &= np.isfinite(self._apart_at)
        self._apart_at = np.where(apart & ~stays, ratio, np.where(apart, self._apart_at, np.nan))
        apart &= step - past.first_step + 1 >= self._ready_now(past, layout)
        lasting = apart & (step - self._apart_since >= self.LASTING_STEPS)
        inside = ~(ratio < 1.3 * LOW) & ~(ratio > HIGH / 1.3) & ~(shift > SHIFT / 1.3)
        self._look_at_tests(column(seen, "norm_test_shift"), past)
        foreign = self._foreign >= FOREIGN_TIMES
        return LayerView(
            active=known & layout.learns & (few | lasting | foreign),
            clear=(inside | ~(apart | lasting)) & ~few & (self._foreign == 0),
            known=known,
        )

    def _look_at_tests(self, test: NDArray[np.float32], past: Past) -> None:
        """Count batches of another kind that ran in training mode without training anything."""
        told = np.isfinite(test)
        if not np.count_nonzero(told):
            return
        own = past.newest[:, LAYER_COLUMN["norm_shift"]]
        odd = (test > FOREIGN) & ~(test < OWN_KIND * own)
        self._foreign[told] = np.where(odd, self._foreign + 1, 0.0)[told]
        self._test_shift[told] = test[told]

    def _ready_now(self, past: Past, layout: Layout) -> NDArray[np.float32]:
        """Sooner where evaluation uses them by now, and is far from training, or from any use."""
        ready = self._ready
        if not np.count_nonzero(self._tiny):
            return ready  # a usual momentum tells by itself when they will have arrived
        for model, rows in zip(layout.models, layout.rows_of, strict=True):
            known = past.models[model.name]
            held = known.latest("eval_loss")
            train = math.nan if layout.several_models else past.loss.fresh
            constant = known.latest("loss_constant")
            if held > constant or (held > POOR * constant and held > WORSE * train > 0):
                ready = ready.copy()
                ready[rows[self._tiny[rows]]] = self.grace_steps
        return ready

    def teller(self, seen: Observation, past: Past, layout: Layout) -> Callable[[int], Words]:
        """See `LayerRule`."""
        shown = ("norm_values", "norm_ratio", "norm_shift")
        figures, batches = columns(seen, *shown), self._batches
        foreign, test_shift = self._foreign >= FOREIGN_TIMES, self._test_shift.copy()

        def words(row: int) -> Words:
            values, ratio, shift = (float(of_all[row]) for of_all in figures)
            message = (
                "evaluation will normalise by figures that are not the batches': batch variance "
                f"{ratio:.2g} times the running one, means {shift**0.5:.2g} running sd apart"
            )
            if values <= FEWEST_VALUES:
                message = f"{values:.0f} values are normalised together: each becomes +1 or -1"
            elif values * batches[row] < FEWEST_KEPT:
                message = (
                    "evaluation will normalise by figures that are chance: they are those of the "
                    f"last {values * batches[row]:.0f} values, at {values:.0f} in a batch"
                )
            evidence = dict(zip(shown, (values, ratio, shift), strict=True))
            if foreign[row]:
                evidence["norm_test_shift"] = test = float(test_shift[row])
                message = (
                    "batches without gradients run in training mode and are normalised by their "
                    f"own figures, {test**0.5:.2g} running sd from those of training's batches"
                )
            return Words(message, measured(evidence))

        return words


def batches_kept(momentum: float) -> float:
    """Batches that a moving average is worth: a plain mean of as many scatters as much.

    Without a momentum it is the plain mean of all there were.
    """
    return (2 - momentum) / momentum if momentum > 0 else math.inf


def _ready_at(options: dict[str, float]) -> float:
    """Steps until the running figures have forgotten what they began as, to a twentieth."""
    momentum = options.get("momentum", 0.0)
    if momentum < SMALLEST_MOMENTUM:
        return float(BatchNormMismatch.LONG_ENOUGH_STEPS)
    return max(float(BatchNormMismatch.grace_steps), 3 / momentum)

"""Rules on activations: units stuck on a flat end, units that never fire."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Observation, Words
from deadband_monitor.rules.judges import LayerRule, LayerView, column, columns, per_model
from deadband_monitor.rules.layout import Layout, Mask
from deadband_monitor.rules.past import Past
from deadband_monitor.rules.weights import UpdateTooLarge
from deadband_monitor.state.series import Floats


class Saturation(LayerRule):
    """Most units of a layer sit on one flat end of their activation for every sample.

    Not the share of saturated elements: healthy networks end with 26-35 % of them (sigmoid), yet
    with no unit that is stuck on one side.
    """

    kind = "saturation"
    needs = ("saturated_units",)

    FLAT = 0.85
    """Share of saturated elements; three tanh layers drawn 40 times too wide begin at 0.93."""
    IDLE_STEPS = 50
    IDLE_SKILL = 0.2
    BEHIND, BEHIND_STEPS = 0.4, 100
    """How far below what the nearest neighbours tell the skill is, and from when on, that it counts
    too: the last layer learns what random features allow, and those before it nothing."""
    DEEP, MOSTLY_FLAT = 6, 0.4
    """Layers in a row of which so large a share of the elements is flat from the first sample on:
    each doubles what was different between two inputs, and behind six of them like inputs are as
    unlike as any (Schoenholz et al. 2017, the chaotic phase). Where such a network lies as far
    behind its neighbours, that is why; healthy ones of as many layers begin at 0.1 or less."""
    BEFORE = 0.5
    """Share of flat elements at the first sample, below which one step drove them there that
    changed the weights by more than themselves: no network that learns well was seen to stay."""

    def view(self, seen: Observation, past: Past, layout: Layout) -> LayerView | None:
        """See `LayerRule`."""
        stuck = column(seen, "saturated_units")
        # A softmax has no units that can be stuck: that it is sure is a choice.
        known = np.isfinite(stuck)
        if not np.count_nonzero(known):
            return None
        flat = column(seen, "saturation")
        if not np.count_nonzero((stuck >= 0.5) | (flat >= self.MOSTLY_FLAT)):
            return LayerView.of_none(known)
        judged = layout.hidden_units
        # Units that swing from end to end carry a bit each, and pass no gradient. That is how sure
        # networks end, and how weights drawn far too wide begin: it counts while nothing is learnt.
        idle, chaotic = np.zeros(len(flat), bool), np.zeros(len(flat), bool)
        for index, model in enumerate(layout.models):
            skill = past.skill(model.name)
            agreement = past.models[model.name].latest("neighbour_agreement")
            behind = seen.step >= self.BEHIND_STEPS and agreement - skill >= self.BEHIND
            if seen.step >= self.IDLE_STEPS and (skill < self.IDLE_SKILL or behind):
                idle[layout.rows_of[index]] = True
            if behind:
                chaotic[self._flat_all_along(flat, past, layout, index)] = True
        idle |= self._driven(past, layout) & (seen.step >= self.IDLE_STEPS)
        return LayerView(
            active=known & judged & ((stuck >= 0.75) | (idle & (flat >= self.FLAT)) | chaotic),
            clear=~judged | ((stuck < 0.5) & ~(idle & (flat >= 0.7)) & ~chaotic),
            known=known,
        )

    def _flat_all_along(
        self, flat: Floats, past: Past, layout: Layout, index: int
    ) -> NDArray[np.int64]:
        """Rows of a deep model's activations, if most of them were drawn to be flat and stayed."""
        rows = layout.rows_of[index]
        rows = rows[np.isfinite(flat[rows]) & layout.hidden_units[rows]]
        first = past.first[rows, LAYER_COLUMN["saturation"]]
        many = np.count_nonzero((first >= self.MOSTLY_FLAT) & (flat[rows] >= self.MOSTLY_FLAT))
        none: NDArray[np.int64] = rows[:0]
        return rows[flat[rows] >= self.MOSTLY_FLAT] if many >= self.DEEP else none

    def _driven(self, past: Past, layout: Layout) -> Mask:
        """Rows after a weight that one step overwrote, which had not been flat before."""
        update, flat = LAYER_COLUMN["update_ratio"], LAYER_COLUMN["saturation"]
        overwritten = layout.matrix & (past.highest[:, update] > UpdateTooLarge.PLAIN)
        after = np.zeros(len(overwritten), bool)
        after[1:] = overwritten[:-1] & (layout.model_of[1:] == layout.model_of[:-1])
        driven: Mask = after & (past.first[:, flat] < self.BEFORE)
        return driven

    def severities(
        self, rows: Sequence[int], seen: Observation, past: Past, layout: Layout
    ) -> Sequence[str]:
        """See `LayerRule`."""

        def severity(model: str) -> str:
            if past.output_gone(model):
                return "critical"
            skill = past.skill(model)
            # Where no skill is known, a loss that goes on falling is what tells: of one input, say
            # a place on a rod, tanh units are sure for a while, and find back.
            well = past.learning(model) if math.isnan(skill) else skill > 0.5
            return "info" if well else "warning"

        of_model = per_model(rows, layout, severity)
        return [of_model[layout.keys[row][0]] for row in rows]

    def teller(self, seen: Observation, past: Past, layout: Layout) -> Callable[[int], Words]:
        """See `LayerRule`."""
        units, outputs, variances = columns(seen, "saturated_units", "saturation", "out_variance")

        def words(row: int) -> Words:
            stuck, flat = float(units[row]), float(outputs[row])
            activation = layout.layers[row].activation or layout.layers[row].kind
            message = f"{stuck:.0%} of the units are stuck on a flat end of {activation}"
            if stuck < 0.75:
                message = f"{flat:.0%} of the outputs lie on a flat end of {activation}"
            evidence = {
                "saturated_units": stuck,
                "saturation": flat,
                "out_variance": float(variances[row]),
            }
            return Words(message, evidence)

        return words


class DeadUnits(LayerRule):
    """A layer whose units never fire: nothing passes, and no gradient comes back."""

    kind = "dead-units"
    needs = ("dead_units",)
    grace_steps = 5

    SOME = 0.6
    """Share of dead units up to which a layer is as it should be."""
    BRANCH_STEPS = 50
    """So long the others may take to begin to learn, where what the model answers still varies: the
    signal has another way, past a gate, a block that adds nothing, or an expert beside others."""

    def __init__(self) -> None:
        super().__init__()
        self._lost: Mask = np.zeros(0, bool)
        """Of the sample at hand: layers that pass nothing on."""

    def view(self, seen: Observation, past: Past, layout: Layout) -> LayerView | None:
        """See `LayerRule`."""
        dead = column(seen, "dead_units")
        known = np.isfinite(dead)
        if not np.count_nonzero(known):
            return None
        silent = _silent(seen)
        full = column(seen, "zero_share") == 1
        if not np.count_nonzero((dead > self.SOME) | full):
            self._lost = none = np.zeros(len(dead), bool)
            if not np.count_nonzero(silent):
                return LayerView.of_none(known)
            return LayerView(active=none, clear=~silent, known=known)
        # No unit fired in the last ten samples, or in this one no element of any; all is lost.
        self._lost = silent & ((dead >= 0.97) | (known & full))
        gone = self._lost & (seen.step >= self.grace_steps)
        # 64 % dead units were seen in a network at skill 1.00: without loss of variance the share
        # is worth a note only, and only while it grows.
        before = past.early[:, LAYER_COLUMN["dead_units"]]
        many = (dead > 0.7) & (dead > before + 0.2) & (seen.step >= 100)
        return LayerView(
            active=known & (gone | many),
            clear=~silent & ~(many | ((dead > self.SOME) & (dead > before + 0.1))),
            known=known,
        )

    def severities(
        self, rows: Sequence[int], seen: Observation, past: Past, layout: Layout
    ) -> Sequence[str]:
        """See `LayerRule`."""
        early = seen.step < self.BRANCH_STEPS

        def severity(model: str) -> str:
            rho = past.models[model].value("out_variance")
            skill = past.skill(model)
            learns = skill > 0.1 or early or past.learning(model)
            if skill > 0.5 or (rho > 1e-3 and learns):
                return "info"  # a dead branch beside a living path
            if rho < 1e-6 or past.models[model].value("out_sd") == 0 or past.output_gone(model):
                return "critical"
            return "warning"

        of_model = per_model(rows, layout, severity)
        lost = self._lost[list(rows)].tolist()
        if len(of_model) == 1:
            (only,) = of_model.values()
            return [only if gone else "info" for gone in lost]
        return [
            of_model[layout.keys[row][0]] if gone else "info"
            for row, gone in zip(rows, lost, strict=True)
        ]

    def teller(self, seen: Observation, past: Past, layout: Layout) -> Callable[[int], Words]:
        """See `LayerRule`."""
        lost = self._lost
        units, zeros, variances = columns(seen, "dead_units", "zero_share", "out_variance")

        def words(row: int) -> Words:
            dead, variance = float(units[row]), float(variances[row])
            message = f"{dead:.0%} of the units did not fire in the last samples"
            if lost[row]:
                share = "no unit fires any more"
                if dead >= 0.97:
                    share = f"{dead:.0%} of the units are dead"
                message = f"{share}: the layer passes nothing on"
            evidence = {
                "dead_units": dead,
                "zero_share": float(zeros[row]),
                "out_variance": variance if math.isfinite(variance) else 0.0,
            }
            return Words(message, evidence)

        return words


def _silent(seen: Observation) -> Mask:
    """What the layer puts out does not depend on the sample."""
    silent: Mask = (column(seen, "out_rms") == 0) | (column(seen, "out_variance") < 1e-6)
    return silent

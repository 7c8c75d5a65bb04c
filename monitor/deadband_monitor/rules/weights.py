"""Rules on weights and their updates: twins, steps that are too large, weights pulled to zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Finding, Observation, Words
from deadband_monitor.rules.judges import (
    Judgement,
    LayerRule,
    LayerView,
    ModelRule,
    column,
    columns,
    measured,
)
from deadband_monitor.rules.known import known_max
from deadband_monitor.rules.layout import Layout, Mask
from deadband_monitor.rules.past import LARGE_UPDATE, ModelPast, Past

GONE = 0.02
"""Share of its start that is nothing left of a weight: gradients turn a matrix, only decay or a
penalty takes it away; the smallest of a healthy net under AdamW at 0.1 keeps half of itself."""
FADED, BEHIND, BEHIND_STEPS = 0.05, 0.4, 100
"""The same where the skill is so far below what the nearest neighbours tell after so many steps."""
GONE_SHARE = 1 / 3
"""Of the matrices: where few of many are taken away, the others do without."""


ONE_NUMBER = 0.01
"""Spread of a weight at the first sample, as a share of its size, where it was filled with one
number: a step has moved it since, and any random draw around zero gives 1."""
FIRST_STEP = 0.1
"""Such a step, as a share of the weight, that may be all of its spread: of a random draw it leaves
nine tenths."""


def of_one_number(past: Past, layout: Layout) -> Mask:
    """Weights that began as one number each: they spread by no more than the first step did."""
    spread, size, update = (
        past.first[:, LAYER_COLUMN[name]]
        for name in ("weight_spread", "weight_rms", "update_ratio")
    )
    wide = size * np.sqrt(3.0 * layout.fan_in)
    stepped = np.where(np.isfinite(update), update, 0) * np.fmax(wide, 1)
    some = np.where(stepped < FIRST_STEP * wide, stepped, 0)
    return np.asarray((size > 0) & (spread <= np.fmax(ONE_NUMBER * wide, some)))


def all_of_one_number(past: Past, layout: Layout) -> Mask:
    """Hidden weights of a few inputs in a model all of whose weights began as one number each.

    In few dimensions the directions of units tell nothing, but then they are one unit for good.
    """
    found = np.zeros(len(layout.layers), bool)
    if not layout.narrow_hidden.any():  # nearly always
        return found
    one = of_one_number(past, layout)
    for rows in layout.trained_of:
        if len(rows) > 1 and one[rows].all():
            found[rows] = True
    return found & layout.narrow_hidden


class DuplicateUnits(LayerRule):
    """Units that compute the same and are pushed the same way: the width counts as one."""

    kind = "duplicate-units"
    needs = ("duplicate_units",)
    TABLE_STEPS = 20
    HEAD_STEPS = 20
    """Labels part the rows of a head in a few steps."""

    def view(self, seen: Observation, past: Past, layout: Layout) -> LayerView | None:
        """See `LayerRule`."""
        twins = column(seen, "duplicate_units")
        twin_grads = column(seen, "duplicate_grads")
        zero = column(seen, "weight_rms") == 0
        filled = all_of_one_number(past, layout) & (column(seen, "participation") < 1.05)
        twins = np.where(zero | filled, np.float32(1), twins)
        known = np.isfinite(twins)
        if not np.count_nonzero(known):
            return None
        if not np.count_nonzero(twins >= 0.5):
            return LayerView.of_none(known)
        # In few dimensions random vectors point the same way by chance (44-50 % twins in a healthy
        # network with two inputs), and a head's rows are told apart by their own labels.
        judged = layout.wide_hidden | filled
        # A head that began as one unit and is pushed as one unit stays it: the matrix of a tied
        # autoencoder is first layer and last.
        as_one = past.first[:, LAYER_COLUMN["duplicate_units"]] >= 0.9
        as_one &= ~(past.first[:, LAYER_COLUMN["weight_drift"]] > 0.5)
        lasting = (twin_grads >= 0.9) & (seen.step >= self.HEAD_STEPS)
        judged |= layout.wide_head & as_one & lasting
        # Rows of an embedding get gradients of their own: from zero they part at once, beside a
        # common constant they may take thousands of steps.
        tables = layout.tables
        judged |= tables & (column(seen, "weight_rms") > 0) & (seen.step >= self.TABLE_STEPS)
        pushed_alike = ~(twin_grads < 0.9) | tables
        return LayerView(
            active=judged & (twins >= 0.9) & pushed_alike,
            clear=~judged | (twins < 0.5),
            known=known,
        )

    def severities(
        self, rows: Sequence[int], seen: Observation, past: Past, layout: Layout
    ) -> Sequence[str]:
        """See `LayerRule`."""
        found = []
        shown = list(rows)
        directions = column(seen, "participation")[shown].tolist()
        tables = layout.embedding[shown].tolist()
        for row, own, table in zip(shown, directions, tables, strict=True):
            model = layout.keys[row][0]
            alone = own < 1.05 or not math.isfinite(own)
            severity = "warning"
            if past.skill(model) > (0.2 if table else 0.5) and not _held_back(past, model, row):
                severity = "info"  # weights may align as a network converges
            elif not table and alone and seen.step >= 50 and past.models[model].best_skill < 0.5:
                severity = "critical"
            found.append(severity)
        return found

    def teller(self, seen: Observation, past: Past, layout: Layout) -> Callable[[int], Words]:
        """See `LayerRule`."""
        duplicates, directions, sizes = columns(
            seen, "duplicate_units", "participation", "weight_rms"
        )

        def words(row: int) -> Words:
            known = sizes[row] != 0 and math.isfinite(duplicates[row])
            twins = float(duplicates[row]) if known else 1.0
            message = f"{twins:.0%} of the units are twins: the layer is as wide as one unit"
            if layout.embedding[row]:
                message = (
                    f"{twins:.0%} of the rows of this table point the same way: all ids look alike"
                )
            evidence = {"duplicate_units": twins, "participation": float(directions[row])}
            return Words(message, measured(evidence))

        return words


HELD_BACK = 0.3
"""How far the skill lies below what the neighbours of inputs tell where twins cost something: a
network of maps that were all the same came to 0.89 of 0.97 by their places alone."""


def _held_back(past: Past, model: str, row: int) -> bool:
    """Units that were twins at birth, of a model that knows less than it could be told."""
    born = past.first[row, LAYER_COLUMN["duplicate_units"]] >= 0.9
    gap = past.models[model].latest("neighbour_agreement") - past.skill(model)
    return bool(born) and gap >= HELD_BACK


@dataclass(slots=True)
class _Spell:
    """A stretch of too large updates in one model and what came of it."""

    onset: int
    last: int
    rows: dict[str, float] = field(default_factory=dict)
    """Layer -> its largest update ratio."""
    confirmed: bool = False
    calm: int = 0
    rough: int = 0
    """The last step at which it had not recovered."""


class UpdateTooLarge:
    """One step changed a weight by a large part of itself: a risk, until harm confirms it."""

    kind = "update-too-large"
    samples_to_open = 1
    samples_to_close = 3
    backward = False
    needs = ("update_ratio",)
    grace_steps = 0

    WATCH_STEPS = 300
    """Harm shows within 31 steps in per-step traces; the rest is room for a coarse cadence."""
    CALM_STEPS = 20
    """A run that was ruined has recovered when it learns for so long."""
    PLAIN = 1.0
    """18 of 19 ruinous rates began above it, no healthy run at a usual rate came near."""
    CLIMBS = 0.1
    """Skill that a half of those steps wins over the other where the harm is being made good: the
    medians of fifty losses that go nowhere differ by half of it."""
    NO_USE_STEPS = 100
    """A network that such a step did not ruin is better than a constant answer long before."""

    def __init__(self) -> None:
        self._spells: dict[str, _Spell] = {}

    def judge(self, seen: Observation, past: Past) -> Iterator[Finding]:
        """See `Rule`."""
        layout = past.layout
        assert layout is not None
        ratios = column(seen, "update_ratio")
        large = layout.trained & (ratios > LARGE_UPDATE)
        for row in np.flatnonzero(large).tolist():
            model, layer = layout.keys[row]
            spell = self._spells.setdefault(model, _Spell(seen.step, seen.step))
            spell.last = seen.step
            spell.rows[layer] = max(spell.rows.get(layer, 0.0), float(ratios[row]))
        for model in list(self._spells):
            if model in past.models:
                yield from self._follow(model, seen, past, layout)

    def _follow(
        self, model: str, seen: Observation, past: Past, layout: Layout
    ) -> Iterator[Finding]:
        spell = self._spells[model]
        skill = past.skill(model)
        recovered = skill > 0.2 or (math.isnan(skill) and past.loss.fresh < 0.7 * past.loss.first)
        if spell.last == seen.step:
            recovered = recovered and skill > 0.2
        if not spell.confirmed and not recovered:
            spell.confirmed = _harmed(model, spell, past, layout) or self._of_no_use(
                model, spell, seen, past
            )
        quiet = seen.step - spell.last > (self.WATCH_STEPS if not recovered else 5)
        if spell.confirmed and math.isfinite(past.models[model].value("skill")):
            # One good batch is no recovery: a rate that is still too high swings about the level of
            # a constant answer.
            recovered = past.models[model].value("skill") > 0.2
        over = recovered if spell.confirmed else quiet
        if not over:
            spell.rough = seen.step
        elif spell.confirmed:
            over = seen.step - spell.rough >= self.CALM_STEPS
        spell.calm = spell.calm + 1 if over and spell.last < seen.step else 0
        layers, ratios, loss = list(spell.rows), list(spell.rows.values()), past.loss.fresh
        severity = "critical" if spell.confirmed else "info"

        def told(row: int) -> Words:
            return Words(
                f"one step changed the weights by {max(ratios):.2g} of themselves",
                {"update_ratio": ratios[row], "loss": loss},
            )

        for row, layer in enumerate(layers):
            yield Finding(
                kind=self.kind,
                model=model,
                layer=layer,
                severity=severity,
                active=spell.calm == 0,
                clear=spell.calm > 0,
                told=told,
                row=row,
                onset_step=spell.onset,
            )
        if spell.calm >= self.samples_to_close:
            del self._spells[model]

    def _of_no_use(self, model: str, spell: _Spell, seen: Observation, past: Past) -> bool:
        """The weights were overwritten, and ever since the answers are no better than a constant.

        Their loss may swing close about that of a constant, never 1.5 times above it, and their
        answers depend on the input: an LSTM whose first step was 4.9 of its weights. Adagrad's
        first step is as long as its rate in each weight: an autoencoder was at -2 after one of 1.4,
        at 0 after 120 steps, and learnt.
        """
        if max(spell.rows.values()) <= self.PLAIN or past.layout is None:
            return False
        if past.layout.several_models or seen.step - spell.onset < self.NO_USE_STEPS:
            return False
        skills = self._skills(model, spell, seen, past)
        half = len(skills) // 2
        if half < 3:
            return False
        before, now = median(skills[:half]), median(skills[half:])
        # Worse than a constant answer it may be, and on its way up from there.
        return max(before, now) < 0.02 and now - before < self.CLIMBS

    def _skills(self, model: str, spell: _Spell, seen: Observation, past: Past) -> list[float]:
        """Of the steps since the onset; by the losses, which are known between samples, too."""
        known, constant = past.models[model], past.models[model].latest("loss_constant")
        losses = past.loss.after(spell.onset, self.NO_USE_STEPS)
        if past.loss_is_all_of(known) and constant > 0 and len(losses) >= self.NO_USE_STEPS // 2:
            return [1 - loss / constant for loss in losses]
        older, newer = known.skill.halves(seen.step - spell.onset)
        return [*older, *newer]


def _harmed(model: str, spell: _Spell, past: Past, layout: Layout) -> bool:
    """Whether the loss or a collapse since the onset says that the steps did damage."""
    for kind in ("output-collapse", "dead-units", "saturation", "non-finite"):
        standing = past.standing.get((kind, model))
        if standing and standing[0] == "critical" and standing[1] >= spell.onset:
            return True
    standing = past.standing.get(("constant-predictor", model))
    plain = max(spell.rows.values()) > UpdateTooLarge.PLAIN
    if standing and standing[0] != "info" and standing[2] >= spell.onset and plain:
        return True
    if layout.several_models:
        return False  # the loss is not this model's alone
    constant = past.models[model].value("loss_constant")
    level = known_max(constant, past.loss.first)
    # 84 % of the runs that a learning rate ruined passed 1.5 times the constant loss; a catapult
    # phase does too (to 80 times, in a run that then learnt well), but is over after ten steps or
    # thirteen, and then the newest losses are not among those that were high.
    return level > 0 and past.loss.above(1.5 * level, 12, 16) and past.loss.above(1.5 * level, 3, 4)


class WeightCollapse(ModelRule):
    """Every weight matrix shrinks together, or many of them to nothing."""

    kind = "weight-collapse"
    needs = ("weight_growth",)
    grace_steps = 5

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        layout = past.layout
        assert layout is not None
        rows = layout.weights_of[layout.index_of[model.name]]
        growth = seen.layers[rows, LAYER_COLUMN["weight_growth"]]
        growth = growth[np.isfinite(growth)]
        if len(growth) < 2 or seen.step < self.grace_steps:
            return None
        largest, skill = float(np.maximum.reduce(growth)), past.skill(model.name)
        # Where decay holds them at a twentieth, what they could have learnt tells that it is much.
        behind = model.latest("neighbour_agreement") - skill >= BEHIND
        nothing = FADED if behind and seen.step >= BEHIND_STEPS else GONE
        gone = int(np.count_nonzero(growth < nothing))
        lost = gone >= max(2, GONE_SHARE * len(growth))
        clear = largest > 0.6 and not gone
        if not (largest < 0.5 or lost):
            return Judgement(active=False, clear=clear)
        severity = "info" if skill > 0.5 else "warning"
        if past.output_gone(model.name):
            severity = "critical"
        return Judgement(
            active=True,
            clear=clear,
            severity=severity,
            message=f"every weight matrix has shrunk, the least to {largest:.2g} of its start"
            if largest < 0.5
            else f"{gone} of {len(growth)} weight matrices have shrunk to nothing, the furthest to "
            f"{growth.min():.2g} of its start",
            evidence={"weight_growth": largest if largest < 0.5 else float(growth.min())},
        )

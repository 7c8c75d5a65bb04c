"""Rules on gradients: none arrives, it fades with depth, or its level jumps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Observation, Words
from deadband_monitor.rules.born import bursts
from deadband_monitor.rules.judges import (
    Judgement,
    LayerRule,
    LayerView,
    ModelRule,
    column,
    columns,
)
from deadband_monitor.rules.known import known_max
from deadband_monitor.rules.layout import Layout, Mask
from deadband_monitor.rules.past import EARLY_STEPS, ModelPast, Past, carried
from deadband_monitor.rules.slopeless import cells, forgetful, gap, lives
from deadband_monitor.rules.trend import LevelShift

NEEDLESS = 0.8
"""Skill from which a network has no need of what its cut-off layers might learn."""


class VanishingGradient(LayerRule):
    """The first layers get no gradient: exactly none, or so little that they stand still.

    Published limits on the gradient's size fire on healthy runs (mean |g| < 1e-7 on 18 % of 183),
    so the size is not judged: exact zeros are, and the profile of *relative updates* over depth,
    which an optimiser that rescales gradients keeps healthy.
    """

    kind = "vanishing-gradient"
    backward = True
    needs = ("grad_rms",)
    grace_steps = 10

    def __init__(self) -> None:
        super().__init__()
        self._zero_since: NDArray[np.float32] = np.zeros(0, np.float32)
        self._faint_since: NDArray[np.float32] = np.zeros(0, np.float32)
        self._faded = True
        """Some row was so at the sample before."""
        self._all_zero: dict[str, bool] = {}
        self._cells: list[list[tuple[int, int]]] = []
        """By model, see `slopeless.cells`."""
        self._forgetful: set[int] = set()
        """Rows of cells that hand no gradient back along the sequence."""

    def adopt(self, layout: Layout) -> None:
        """See `LayerRule`."""
        old = self._layout
        carry = layout.carry(old) if old is not None else np.full(len(layout.keys), -1)
        self._zero_since = carried(self._zero_since, carry, np.nan)
        self._faint_since = carried(self._faint_since, carry, np.nan)
        self._cells = [cells(layout, index) for index in range(len(layout.models))]
        super().adopt(layout)

    def view(self, seen: Observation, past: Past, layout: Layout) -> LayerView | None:
        """See `LayerRule`."""
        grads = column(seen, "grad_rms")
        judged = layout.trained & np.isfinite(grads)
        zero, faint, cut = np.zeros((3, len(grads)), bool)
        fades = False
        self._forgetful = set()
        for index, model in enumerate(layout.models):
            cell = forgetful(past, self._cells[index]) if seen.step >= self.grace_steps else None
            if cell is not None:
                self._forgetful.add(cell)
                cut[cell] = fades = True
            rows = layout.rows_of[index]
            rows = rows[judged[rows]]
            if not len(rows) or self._solved(model.name, past):
                continue
            blocked = 0
            if grads.item(rows[0]) == 0:
                some = grads[rows] != 0
                blocked = int(np.argmax(some)) if some.any() else len(rows)
            self._all_zero[model.name] = blocked == len(rows)
            if blocked:
                zero[rows[:blocked]] = fades = True
                if blocked == len(rows) and _at_rest(seen, past, rows):
                    zero[rows] = False
            elif len(rows) >= 3:
                found = _faint(grads[rows], column(seen, "update_ratio")[rows])
                if found is not None:
                    faint[rows] = found
                    fades = True
        if not fades:  # nearly always
            if self._faded:
                self._zero_since[:] = self._faint_since[:] = np.nan
                self._faded = False
            return LayerView.of_none(judged)
        self._faded = True
        step = np.float32(seen.step)
        self._zero_since = np.where(zero, np.fmin(self._zero_since, step), np.nan)
        self._faint_since = np.where(faint, np.fmin(self._faint_since, step), np.nan)
        active = (step - self._zero_since >= 10) | (step - self._faint_since >= 20)
        return LayerView(active=active | cut, clear=~zero & ~faint & ~cut, known=judged | cut)

    def severities(
        self, rows: Sequence[int], seen: Observation, past: Past, layout: Layout
    ) -> Sequence[str]:
        """See `LayerRule`."""
        none = (column(seen, "grad_rms")[list(rows)] == 0).tolist()
        known: dict[tuple[str, bool], str] = {}
        found = []
        for row, zero in zip(rows, none, strict=True):
            if row in self._forgetful:
                needless = past.skill(layout.keys[row][0]) > NEEDLESS
                found.append("info" if needless else "warning")
                continue
            key = (layout.keys[row][0], zero)
            if key not in known:
                known[key] = self._severity(*key, seen, past)
            found.append(known[key])
        return found

    def _severity(self, model: str, zero: bool, seen: Observation, past: Past) -> str:
        skill = past.skill(model)
        gone = past.output_gone(model)
        if zero:
            stuck = skill < 0.3 and not past.learning(model)
            if self._slopeless(model, past):
                # Weights that were to be trained and never are: the rest makes do without them.
                return "info" if skill > NEEDLESS else "warning"
            # A loss that falls all the same is brought down by weights outside of what was copied:
            # of a wide layer whose first 80 units are dead, the slice shows nothing else.
            # One batch far below the first is no fall where none of them ever moved.
            unmoved = past.models[model].peak_update == 0 and past.loss.falling is False
            stands = unmoved and past.loss.level > 0.7 * past.loss.first
            falls = past.loss.fresh < 0.9 * past.loss.first and skill > 0.05 and not stands
            if falls and not gone:
                return "info"
            if gone or self._all_zero.get(model) or (stuck and seen.step >= 100):
                return "critical"
            return "info" if skill > 0.5 else "warning"
        if gone and skill < 0.05 and not past.learning(model):
            return "critical"
        return "info" if skill > 0.3 or past.learning(model) else "warning"

    def teller(self, seen: Observation, past: Past, layout: Layout) -> Callable[[int], Words]:
        """See `LayerRule`."""
        all_zero = {model for model, zero in self._all_zero.items() if zero}
        forgetting = frozenset(self._forgetful)
        grads, updates = columns(seen, "grad_rms", "update_ratio")

        def words(row: int) -> Words:
            grad, update = float(grads[row]), float(updates[row])
            message = f"the gradient fades with depth: updates here are {update:.1e} of the weights"
            if row in forgetting:
                message = "no gradient goes back along the sequence: only its end is learnt from"
            if grad == 0.0:
                message = "no gradient reaches this layer"
                if layout.keys[row][0] in all_zero:
                    message = "all weight gradients are exactly zero"
            return Words(
                message,
                {"grad_rms": grad, "update_ratio": update if math.isfinite(update) else 0.0},
            )

        return words

    @staticmethod
    def _slopeless(model: str, past: Past) -> bool:
        found = gap(past, model)
        return found is not None and lives(past, found)

    def _solved(self, model: str, past: Past) -> bool:
        """Gradients vanish by right when there is nothing left to learn."""
        if past.solved(model):
            return True
        # A reward that is always the expected one leaves a loss of exactly nothing.
        if past.loss.fresh == 0 != past.loss.first and math.isnan(past.skill(model)):
            return True
        # Where no loss is known, an output that lives may well have met a margin.
        blind = math.isnan(past.loss.fresh) and math.isnan(past.skill(model))
        return blind and past.models[model].value("out_variance") > 1e-6


def _at_rest(seen: Observation, past: Past, rows: NDArray[np.int64]) -> bool:
    """An optimum, if a poor one: the loss still pulls at each output, and the pulls cancel out."""
    pulled = seen.layers[rows[-1], LAYER_COLUMN["out_grad_rms"]] > 0
    return bool(pulled) and past.flow.settled(rows)


def _faint(grads: NDArray[np.float32], updates: NDArray[np.float32]) -> Mask | None:
    """Rows of the leading layers whose updates are lost against those of the last ones, if any.

    Ten sigmoid layers move their first weight by 4e-12 of itself a step and the last by 3e-2; in
    healthy runs first and last lie within three decades.
    """
    if not updates[0] < 1e-6:
        return None
    top = float(np.fmax.reduce(updates))
    if not top > 1e-5 or not updates[0] < 1e-4 * top:
        return None
    if not grads[0] < 1e-4 * float(np.fmax.reduce(grads)):
        return None
    lost = updates < 1e-4 * top
    faint: Mask = np.arange(len(lost)) < (int(np.argmin(lost)) if not lost.all() else len(lost))
    return faint


TAKEN = 0.3
"""Share of what a run had gained that is lost where the gradient took the loss with it; doubtful
rows after clear ones cost it a fifth."""
UNTRAINED = 3.0
"""Times the largest gradient norm of the first ten steps. Where three classes became ten, or clear
rows became doubtful, it came to 2 and 1.5 of it."""


class ExplodingGradient(ModelRule):
    """The gradient norm jumped for good and took the loss with it."""

    kind = "exploding-gradient"
    needs = ("grad_norm",)
    grace_steps = 1

    JUMP = 1.0
    """Decades above the baseline. Ten-fold growth within 250 steps is seen in 9 % of healthy runs,
    so the loss has to rise as well."""

    STEEP = 1e4
    """Times the loss that the gradient promises for a change of the weights by their own size: a
    usual step of 1e-3 is ten times too far for it. The median of the first ten steps was at most
    130 in 99 healthy runs (twenty layers, He initialisation), 3e9 for a recurrent layer whose
    weights were drawn 50 times too wide."""

    def __init__(self) -> None:
        super().__init__()
        self._shifts: dict[str, LevelShift] = {}
        self._calm_loss: dict[str, float] = {}
        self._risen_since: dict[str, int] = {}
        self._rises: dict[str, float] = {}
        self._early: dict[str, float] = {}
        """The largest norm of the first ten steps."""
        self._steep: dict[str, int] = {}
        """Models that began too steep for any step, and since when."""

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        norm = model.value("grad_norm")
        if not norm > 0 or not math.isfinite(norm):
            return None
        shift = self._shifts.setdefault(model.name, LevelShift())
        level = math.log10(norm)
        shifted = shift.add(level)
        rise, before = level - shift.level, self._rises.get(model.name, 0.0)
        self._rises[model.name] = rise
        if rise < self.JUMP / 2 or (before < self.JUMP <= rise - before):
            # A leap from a slow rise, as steps that have settled down show, begins by itself.
            self._risen_since.pop(model.name, None)
        if rise >= self.JUMP / 2:
            self._risen_since.setdefault(model.name, seen.step)
        fresh = past.loss.fresh
        if shift.sum == 0.0 or model.name not in self._calm_loss:
            calm = self._calm_loss.get(model.name, fresh)
            self._calm_loss[model.name] = calm + 0.1 * (fresh - calm)
        assert past.layout is not None
        since = past.piling_since(model.name)
        if since is not None:
            return Judgement(
                active=True,
                clear=False,
                message="each step's gradient still holds the one of the step before",
                evidence={"grad_norm": norm, "first": model.start("grad_norm")},
                severity="critical" if past.loss_was_high else "warning",
                onset_step=since,
            )
        early = seen.step <= 10 and norm > 1e3
        layer, growth = _steepest(seen, past, model) if early else ("", 0.0)
        if growth > 100:
            return Judgement(
                active=True,
                clear=False,
                severity="warning",
                layer=layer,
                message=f"the gradient grows {growth:.1e} times from the last layer to the first",
                evidence={"grad_norm": norm, "growth": growth},
            )
        steep = self._too_steep(seen, past, model) or bursts(seen, past, model)
        if steep is not None:
            return steep
        calm = self._calm_loss[model.name]
        # At the edge of stability full batches are thrown off now and then, gradient a hundredfold
        # and loss fourfold, and are back within eleven steps, better off than before.
        worse = calm > 0 and fresh > 1.5 * calm and past.loss.above(1.5 * calm, 12, 16)
        level_loss = known_max(model.value("loss_constant"), past.loss.first)
        # A small loss that is ten times as large is small still.
        worse = worse and not fresh < calm + TAKEN * (level_loss - calm)
        severity = "critical" if fresh > 1.5 * level_loss and level_loss > 0 else "warning"
        if seen.step <= EARLY_STEPS:
            self._early[model.name] = max(self._early.get(model.name, 0.0), norm)
        # Harder rows after easy ones raise a small loss and its gradient together: no explosion,
        # as long as both stay within what the untrained network had.
        usual = severity == "warning" and norm < UNTRAINED * self._early.get(model.name, 0.0)
        by_steps = model.value("loss_constant") > 0 or model.large_update_step is not None
        if past.layout.several_models or not by_steps:
            # Of two models that play against each other the loss of one rises as the other wins,
            # and of an agent when it finds a reward for the first time: that the rise was this
            # gradient's doing is not known.
            severity = "info"
        clear = rise < self.JUMP / 2 or not worse
        if not (shifted and rise >= self.JUMP and worse) or usual:
            return Judgement(active=False, clear=clear)
        return Judgement(
            active=True,
            clear=clear,
            severity=severity,
            message=f"the gradient norm is {10**rise:.3g} times its usual level and the loss rose",
            evidence={"grad_norm": norm, "usual": 10**shift.level, "loss": fresh},
            onset_step=self._risen_since.get(model.name),
        )

    def _too_steep(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """The loss is no smooth function of the weights, from the start on.

        Inside a recurrent layer no profile over depth shows it.
        """
        assert past.layout is not None
        begun = model.name in self._steep
        if past.layout.several_models or (seen.step > 10 and not begun):
            return None
        times = _elasticity(seen, past, model)
        if not times > self.STEEP:
            self._steep.pop(model.name, None)
            return None
        skill = past.skill(model.name)
        return Judgement(
            active=True,
            clear=False,
            severity="info" if skill > 0.7 else "warning",
            message=f"the gradient promises {times:.1e} times the loss for a change of the weights "
            "by their own size: no step of a usual size follows it",
            evidence={"grad_norm": model.value("grad_norm"), "steepness": times},
            onset_step=self._steep.setdefault(model.name, seen.step),
        )


def _elasticity(seen: Observation, past: Past, model: ModelPast) -> float:
    """Sum over layers of |gradient| |weight|, over the loss or a constant answer's."""
    layout = past.layout
    assert layout is not None
    rows = layout.rows(model.name)
    size = (
        seen.layers[rows, LAYER_COLUMN["grad_rms"]] * seen.layers[rows, LAYER_COLUMN["weight_rms"]]
    )
    level = known_max(model.value("loss_constant"), model.value("loss"))
    if not model.value("loss_constant") > 0:
        return math.nan  # of a loss that may be zero or negative no share can be told
    return float(np.nansum(size.astype(np.float64) * layout.parameters[rows])) / level


def _steepest(seen: Observation, past: Past, model: ModelPast) -> tuple[str, float]:
    """The layer with the largest output gradient, and its size over the last layer's."""
    layout = past.layout
    assert layout is not None
    rows = layout.rows(model.name)
    values = seen.layers[rows, LAYER_COLUMN["out_grad_rms"]]
    known = np.isfinite(values) & (values > 0)
    if known.sum() < 3:
        return "", 0.0
    rows, values = rows[known], values[known]
    peak = int(np.argmax(values))
    return layout.layers[rows[peak]].name, float(values[peak] / values[-1])

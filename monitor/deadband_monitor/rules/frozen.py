"""The rule on weights that do not move although they are to be trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.clipping import held_back
from deadband_monitor.rules.flow import STUCK_SCALER
from deadband_monitor.rules.judges import Judgement, ModelRule, measured
from deadband_monitor.rules.past import SMALL_UPDATE, ModelPast, Past
from deadband_monitor.rules.room import left_as_drawn
from deadband_monitor.rules.structure import judges_others

STILL_STEPS = 10
STILL_SAMPLES = 3
"""Optimiser steps and samples without any movement: far more than a skipped step or two."""
TURNS_STEPS = 300
"""The same where several models take turns: critics are trained a hundred steps on their own at the
start of a Wasserstein GAN."""
PILING_STEPS = 150
"""The same while gradients pile up: with a sample for each of 64 batches that are accumulated,
nothing moves for 63 of them."""
TINY = 2e-5
"""Largest relative update of a run that will not get anywhere: healthy starts lie near 1e-2, the
slowest run that learnt (lr 1e-5 under Adam) at 1e-4, lr 1e-7 at 1e-6."""
TINY_STEPS = 40
SLOW_STEPS = 200
"""After so many steps below `SMALL_UPDATE` a weight has moved by 2 % at the most: told from the run
at 1e-4 by its loss, which does not fall."""
NOT_RUN_SAMPLES = 3
"""Samples in a row that show no call of a model."""
RUN_OUT_STEPS = 100
"""So long, and for more than half of the run, has a schedule ended the training in its midst; one
that runs over all steps spends a tenth of them at the most below a hundredth of its rate."""


_UPDATE, _GRAD, _HAS_GRAD = (
    LAYER_COLUMN[name] for name in ("update_ratio", "grad_rms", "has_grad")
)


class Block(Enum):
    """Where the way from the loss to the weights is cut; its value says so."""

    NO_GRADIENT = "no gradient reaches any weight"
    ZERO_GRADIENT = "every weight gradient is exactly zero"
    NOT_ASKED = "none asks for a gradient (requires_grad is False), biases and gains may"
    NOT_HELD = "the optimiser does not hold these weights"
    SCALER = "the GradScaler leaves every step out"
    NOT_RUN = "the optimiser steps, but the model that it holds is not run"
    NO_STEP = "gradients arrive, but no step changes the weights"
    CUT = "no gradient reaches these weights, those after them get theirs"
    IDLE = "gradients arrive, but the optimiser that holds these weights is not stepped"
    SIDE = "no gradient reaches these weights"


@dataclass(frozen=True, slots=True)
class Blockage:
    """Weights that stand still, and why."""

    block: Block
    since: int
    rows: tuple[int, ...]
    """Rows of the layer table, in order of execution."""
    everything: bool
    """No trained weight of the model moves."""


def runs(past: Past, model: str) -> bool:
    """Whether the model was run lately, as far as is known.

    Of the few rows that a pass over the data ends with nothing is measured.
    """
    return past.models[model].idle_samples < NOT_RUN_SAMPLES


def blockage(past: Past, model: str) -> Blockage | None:
    """What keeps weights of a model from moving; None where all move, or are meant to rest."""
    layout, flow = past.layout, past.flow
    assert layout is not None
    if not flow.stands:
        return None
    index = layout.index_of[model]
    rows = flow.rows(layout, index)
    # Neither in the optimiser nor reached by a gradient: a frozen teacher, backbone or target.
    meant = ~layout.learns[rows] & (flow.bare_since[rows] >= 0)
    rows = rows[~meant]
    since = flow.still_since[rows]
    still = (since >= 0) & (past.step - since >= STILL_STEPS)
    still &= flow.still_samples[rows] >= STILL_SAMPLES
    if not np.count_nonzero(still):
        return None
    held = layout.learns[rows]
    bare, zero = flow.bare_since[rows] >= 0, flow.zero_since[rows] >= 0
    if still.all() and not _tables_move(past, index):
        block = Block.NO_STEP
        if past.models[model].value("skipped") >= STUCK_SCALER:
            block = Block.SCALER
        elif not runs(past, model):
            block = Block.NOT_RUN
        elif bare.any() and (bare | _unasked(past, rows)).all():
            block = Block.NO_GRADIENT
        elif not held.any():
            block = Block.NOT_HELD
        elif (bare | zero).all():
            block = Block.ZERO_GRADIENT
        elif layout.table.optimizers and _unasked(past, rows).all():
            block = Block.NOT_ASKED
        return Blockage(block, int(since.min()) + 1, tuple(rows.tolist()), True)
    stray = still & ~held
    if stray.any():
        return _part(Block.NOT_HELD, rows, since, stray)
    bare &= still
    if bare.any():
        last = int(np.flatnonzero(bare)[-1])
        # The further weight of a layer, an attention's projection say, stands with those around it.
        cut = bare | (still & _unasked(past, rows))
        return _part(Block.CUT if cut[: last + 1].all() else Block.SIDE, rows, since, bare)
    # A group whose rate is 0 is stepped, and its update is measured.
    idle = still & (past.newest[rows, _GRAD] > 0) & np.isnan(past.newest[rows, _UPDATE])
    if idle.any():
        return _part(Block.IDLE, rows, since, idle)
    return None


def _tables_move(past: Past, index: int) -> bool:
    """Whether an embedding is trained: a wide table alone can be the model that is run."""
    layout = past.layout
    assert layout is not None
    rows = layout.rows_of[index]
    rows = rows[(layout.embedding & layout.learns)[rows]]
    return bool((past.newest[rows, _UPDATE] > 0).any())


def _unasked(past: Past, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Rows of which it was never known whether they have a gradient.

    Further weights of a layer, and such as ask for none.
    """
    unknown: NDArray[np.bool_] = np.isnan(past.highest[rows, _HAS_GRAD])
    return unknown


def _part(
    block: Block, rows: NDArray[np.int64], since: NDArray[np.int64], which: NDArray[np.bool_]
) -> Blockage:
    return Blockage(block, int(since[which].min()) + 1, tuple(rows[which].tolist()), False)


class FrozenWeights(ModelRule):
    """Weights that are to be trained stand still, or all but still."""

    kind = "frozen-weights"
    samples_to_open = 1
    samples_to_close = 1
    needs = ("moved_share", "update_ratio")
    grace_steps = STILL_STEPS

    def concerns(self, past: Past, model: str) -> bool:
        """Gradients come to weights that are as they were drawn: no teacher, but a generator, say.

        What was trained elsewhere has another spread, and is mostly asked for no gradient either.
        """
        assert past.layout is not None
        rows = past.layout.weighted(model)
        asked = len(rows) > 0 and bool((past.newest[rows, _GRAD] > 0).all())
        return asked and len(left_as_drawn(past, model)) == len(rows)

    def verdict(self, seen: Observation, past: Past, model: ModelPast) -> Judgement | None:
        """See `ModelRule`."""
        layout = past.layout
        assert layout is not None
        found = blockage(past, model.name)
        if model.lr_rising and (found is None or found.block is Block.NO_STEP):
            return Judgement(active=False, clear=True)  # a warm-up: slow, or at rest, is as planned
        if not runs(past, model.name) and (
            found is None or found.block is not Block.NOT_RUN or layout.several_models
        ):
            return None  # a model that did not run is not asked to move, unless it is the only one
        if found is None:
            return self._tiny(seen, past, model)
        severity = _severity(found, seen, past, model)
        if not severity:
            return Judgement(active=False, clear=False)
        names = [layout.layers[row].name for row in found.rows]
        what = "no weight has" if found.everything else f"{_listed(names)} {_have(names)} not"
        return Judgement(
            active=True,
            clear=False,
            severity=severity,
            layer="" if found.everything else names[0],
            message=f"{what} moved for {seen.step - found.since + 1} steps: {found.block.value}",
            evidence={"steps_still": float(seen.step - found.since + 1)}
            | _known(model, "moved_share", "grad_share", "skipped"),
            onset_step=found.since,
        )

    def _tiny(self, seen: Observation, past: Past, model: ModelPast) -> Judgement:
        peak, skill = model.peak_update, past.skill(model.name)
        steps = seen.step - past.first_step
        tiny = 0 < peak < TINY and steps >= TINY_STEPS
        slow = 0 < peak < SMALL_UPDATE and steps >= SLOW_STEPS
        idle = skill < 0.3 or math.isnan(skill)
        if not (tiny or slow) and _run_out(past, model):
            return Judgement(
                active=past.loss.falling is not True,
                clear=False,
                message=f"the weights rest since step {model.run_out_step}, when the learning rate "
                f"{_how_it_ended(model)}, at a skill of {skill:.2g}",
                evidence=measured({"skill": skill, "lr": model.value("lr")}),
                onset_step=model.run_out_step,
            )
        # Steps that are cut to one length stay as small, though they may lead downhill.
        cut = skill < 0.3 and steps >= SLOW_STEPS and held_back(past, model)
        suspect = (tiny or slow) and idle
        # Asked last: whether the loss falls is a fit over its history.
        return Judgement(
            active=cut
            or (
                suspect
                and past.loss.falling is not True
                and (tiny or not past.learning(model.name))
            ),
            clear=not (tiny or slow or cut),
            severity="warning",
            message=f"no step has changed a weight by more than {peak:.1e} of itself",
            evidence={"update_ratio": peak},
            onset_step=past.first_step,
        )


def _how_it_ended(model: ModelPast) -> str:
    return "began at 0" if model.unstarted else "had fallen below a hundredth of its highest"


def _run_out(past: Past, model: ModelPast) -> bool:
    """A schedule has ended the training for most of the run, with most still to be learnt.

    Or it never began: `LambdaLR(optimizer, lambda epoch: epoch // 30)`. Of several models one may
    be held at 0 for the others' sake.
    """
    assert past.layout is not None
    if model.unstarted and past.layout.several_models:
        return False
    since, skill = model.run_out_step, past.skill(model.name)
    if since is None or not model.last_update < TINY:
        return False
    if past.step - since < max(RUN_OUT_STEPS, past.step / 2):
        return False
    # Of a noisy regression there may be no more to learn than has been: neighbours tell how much.
    # Both scatter: what was called is taken back where half of that gap is closed.
    gap = 0.15 if past.stands("frozen-weights", model.name) else 0.3
    left = model.latest("neighbour_agreement") - skill
    return left >= gap or (skill < 0.3 and math.isnan(left))


def _severity(found: Blockage, seen: Observation, past: Past, model: ModelPast) -> str:
    """Empty where it is too early, or as it should be."""
    layout = past.layout
    assert layout is not None
    lasted = seen.step - found.since + 1
    if layout.several_models and lasted < TURNS_STEPS and found.block is not Block.NOT_HELD:
        return ""
    if found.everything:
        if found.block is Block.ZERO_GRADIENT:
            return ""  # a vanished gradient, which has its own rule
        if found.block is Block.NO_STEP:
            solved = past.solved(model.name) and not _plays(past, model)
            if solved or past.skill(model.name) > 0.5:
                return "info"  # converged: LBFGS leaves the weights alone below its tolerance
            left = seen.layers[list(found.rows), LAYER_COLUMN["grad_left"]]
            if (left > 0).any() and lasted < PILING_STEPS:
                return ""
        if found.block is Block.NOT_ASKED:
            # Somebody said so, and biases alone can adapt what was trained (Ben Zaken et al. 2022).
            learns = past.skill(model.name) > 0.3 or past.learning(model.name)
            return "info" if learns else "warning"
        trained = layout.model_learns[layout.index_of[model.name]]
        return "critical" if trained and not layout.several_models else "warning"
    if found.block is Block.IDLE and lasted < TURNS_STEPS:
        return "info"  # a second optimiser may begin later, or take long turns
    if found.block is Block.SIDE:
        return "info"  # a branch whose result the loss does not use, as auxiliary heads often are
    if found.block is Block.NOT_HELD:
        # Only the last layer in the optimiser is how many a backbone is kept as it is.
        head = bool(layout.head[list(found.rows)].any())
        return "warning" if head or past.output_gone(model.name) else "info"
    return "warning"


def _plays(past: Past, model: ModelPast) -> bool:
    """Whether it makes samples that another judges, or judges those that another makes.

    What one of them has won is what the other has lost: no loss of a game is solved, and against a
    judge that rests it falls to nothing.
    """
    layout = past.layout
    assert layout is not None
    others = [(i, past.models[other.name]) for i, other in enumerate(layout.models)]
    others = [(i, other) for i, other in others if other.name != model.name]
    if judges_others(layout, layout.index_of[model.name]):
        return any(other.latest("diversity") >= 0 for _, other in others)
    makes = model.latest("diversity") >= 0
    return makes and any(judges_others(layout, i) for i, _ in others)


def _known(model: ModelPast, *names: str) -> dict[str, float]:
    values = {name: model.value(name) for name in names}
    return measured(values)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _have(names: list[str]) -> str:
    return "has" if len(names) == 1 else "have"

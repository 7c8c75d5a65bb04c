"""Steps that are too small to get anywhere: a low rate, clipping, a schedule that ran out."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import Case, Suspect, Tier
from deadband_monitor.rules.causes.facts import divided_away
from deadband_monitor.rules.causes.high_rate import HEALTHY_UPDATE
from deadband_monitor.rules.causes.words import rounded
from deadband_monitor.rules.causes.written_back import undone
from deadband_monitor.rules.clipping import CLIPPED_UPDATE, clipped_to, held_back
from deadband_monitor.rules.crawl import counts_crawl
from deadband_monitor.rules.misfit import OF_SOFTMAX
from deadband_monitor.rules.model_past import SMALL_UPDATE
from deadband_monitor.rules.plateau import NEIGHBOURS_KNOW

UNMOVED = 0.03
"""Largest way of a hidden weight from where it began, as a share of itself, after hundreds of
steps: an autoencoder of sigmoids under SGD at 0.05 came to 0.02 in 1400 steps and gave the mean,
under Adam it learns; networks that learn are past 0.1 within 300."""
UNMOVED_FROM = 150
"""Steps from which it is asked. Before step 300 the way is to be as short for the steps so far:
`SMALL_UPDATE` at each. Adagrad's first step may be longer, those after it are ever shorter."""
STUCK = frozenset({"constant-predictor", "frozen-weights", "loss-plateau"})
"""What steps that are too small can bring about."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Learning rate too low."""
    model = case.model
    if "tiny_updates" in case.facts.seen:
        # A squared error of a softmax over many classes has faint gradients by itself.
        if model.objective.way == OF_SOFTMAX:
            yield _tiny(case, *_why_tiny(case), belief=0.5)
        else:
            yield _tiny(case, *_why_tiny(case), row="learning-rate-too-low")
    elif held_back(case.past, model):
        yield _tiny(case, *_of_clipping(case, clipped_to(case.past, model)), belief=0.85)
    elif model.run_out_step is not None and not case.past.skill(model.name) >= 0.5:
        yield _run_out(case, model.run_out_step)
    elif 0 < model.peak_update < CLIPPED_UPDATE and counts_crawl(
        case.past, model, case.past.step - model.born
    ):
        why = "the loss lies far above a constant answer's, and no step takes it much lower"
        yield _tiny(case, why, _raise(case), belief=0.7)
    elif undone(case) is not None:
        pass  # `plumbing` speaks of it
    elif 0 < _unmoved(case) < min(UNMOVED, SMALL_UPDATE * case.past.step) and (
        case.past.step >= UNMOVED_FROM
    ):
        yield Suspect(
            word="learning-rate-too-low",
            belief=0.6,
            onset=case.start,
            # What stops units makes steps small; where none is stopped, the rate was there first.
            phase=2 if case.facts.seen else 0,
            explains=STUCK,
            evidence=[
                f"after {case.past.step} steps the hidden weights lie {_unmoved(case):.1%} of "
                "themselves from where they began: only the last layer was trained"
            ],
            advice="Adam at 1e-3, whose steps are of a size in all layers, or a rate ten to a "
            "hundred times as high; ReLU or tanh for sigmoid let more of the gradient through",
        )


def _tiny(case: Case, reason: str, advice: str, *, row: str = "", belief: float = 0.0) -> Suspect:
    return Suspect(
        word="learning-rate-too-low",
        row=row,
        belief=belief,
        onset=case.start,
        phase=2,
        explains=STUCK,
        evidence=[
            f"the largest update so far was {case.model.peak_update:.1e} of the weights, healthy "
            f"starts near {HEALTHY_UPDATE:g}",
            *([reason] if reason else []),
        ],
        advice=advice,
    )


def _run_out(case: Case, step: int) -> Suspect:
    """The schedule ended before the run did."""
    model, lr = case.model, case.model.value("lr")
    # By value: steps of a hundredth of what they were do not train. An exact zero beside weights
    # that stand still is proof.
    proven = lr == 0 and case.flag("frozen-weights") is not None
    what = (
        f"the learning rate fell from {model.peak_lr:g} below a hundredth of it at step {step} and "
        f"is {lr:g} now, at a skill of {case.past.skill(model.name):.2g}"
    )
    advice = (
        f"let the schedule run over all steps: it ended at step {step}; a scheduler that counts "
        "epochs belongs behind the epoch, not behind each batch (T_max, step_size in the unit of "
        f"scheduler.step); go on from lr {model.peak_lr:g}"
    )
    if model.unstarted:
        what = "the learning rate is 0 since the first step: no step changes anything"
        advice = (
            "print(optimizer.param_groups[0]['lr']): what a schedule multiplies the rate with must "
            "not be 0, nor a whole-number division (epoch // 30 is 0 for 30 epochs); let a warm-up "
            "count steps and begin above 0: min(1, (step + 1) / 500)"
        )
    return Suspect(
        word="learning-rate-too-low",
        tier=Tier.EXACT if proven else Tier.PATTERN,
        belief=0.97 if proven else 0.85,
        onset=step,
        explains=STUCK,
        evidence=[what],
        advice=advice,
    )


def _unmoved(case: Case) -> float:
    """The furthest that any hidden weight is from its start; infinite where that says nothing.

    Where neighbours do not tell the answer, there may be nothing to move for; where they cannot be
    asked, a loss that still sinks towards a constant answer's says that there is.
    """
    layout, name = case.layout, case.model.name
    rows = layout.rows(name)
    rows = rows[(layout.matrix & layout.learns & ~layout.head)[rows]]
    drift = case.past.newest[rows, LAYER_COLUMN["weight_drift"]]
    drift = drift[np.isfinite(drift)]
    agreement = case.model.latest("neighbour_agreement")
    on_its_way = case.past.skill(name) < 0 and case.past.loss.falling is True
    tells = agreement >= NEIGHBOURS_KNOW or (math.isnan(agreement) and on_its_way)
    return float(drift.max()) if len(drift) and tells else math.inf


def _why_tiny(case: Case) -> tuple[str, str]:
    """What makes the updates so small, and what to change: the rate is not always to blame."""
    model = case.model
    if (found := divided_away(case.past, case.layout)) is not None:
        eps, largest = found
        return (
            f"eps is {eps:g}, the largest gradient {largest:.1e}: the division by sqrt(v) + eps "
            "takes the step away",
            f"eps {eps:g} -> 1e-8",
        )
    norm = clipped_to(case.past, model)
    if math.isfinite(norm):
        return _of_clipping(case, norm)
    if model.lr_climbs:
        return (
            f"the learning rate still rises, at {model.value('lr'):.1e} after {case.past.step} "
            "steps",
            "end the warm-up after a few hundred to a few thousand steps: at this rate of rise the "
            f"updates need {_steps_to_go(case)} steps to reach {HEALTHY_UPDATE:g} of the weights",
        )
    return "", _raise(case)


def _of_clipping(case: Case, norm: float) -> tuple[str, str]:
    new = norm * HEALTHY_UPDATE / case.model.peak_update
    return (
        f"the gradient norm is {norm:.1e} at every step: it is clipped",
        f"max_norm {norm:.1g} -> 1.0 (about {rounded(min(new, 10.0))} or more)",
    )


def _steps_to_go(case: Case) -> str:
    return rounded(case.past.step * HEALTHY_UPDATE / case.model.peak_update)


def _raise(case: Case) -> str:
    scale, lr = HEALTHY_UPDATE / case.model.peak_update, case.model.value("lr")
    if lr > 0:
        new = lr * scale
        return f"lr {lr:g} -> about {rounded(new)} ({rounded(0.3 * new)}-{rounded(3 * new)})"
    return f"multiply the learning rate by about {rounded(scale)}"

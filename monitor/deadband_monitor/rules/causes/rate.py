"""Learning rates: steps that are too large for the weights, or too small to get anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deadband_monitor.rules.causes.base import Case, Suspect
from deadband_monitor.rules.causes.words import rounded

HEALTHY_UPDATE = 0.01
"""First-step update that repaired ten of ten learning rates; 0.003 to 0.03 is usable."""

BLOW_UP = frozenset(
    {
        "update-too-large",
        "output-collapse",
        "dead-units",
        "saturation",
        "constant-predictor",
        "vanishing-gradient",
        "exploding-gradient",
        "non-finite",
        "loss-divergence",
        "weight-divergence",
        "representation-collapse",
        "frozen-weights",
        "loss-plateau",
        "attention-collapse",
    }
)
"""What steps that are too large for the weights can bring about, whatever made them so."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Learning rate too high, too low."""
    model = case.model
    if "tiny_updates" in case.facts.seen:
        yield Suspect(
            word="learning-rate-too-low",
            row="learning-rate-too-low",
            onset=case.start,
            phase=2,
            explains=frozenset({"constant-predictor", "frozen-weights", "loss-plateau"}),
            evidence=[
                f"the largest update so far was {model.peak_update:.1e} of the weights, healthy "
                f"starts near {HEALTHY_UPDATE:g}"
            ],
            advice=_raise(case),
        )
    if model.large_update_step is not None:
        yield Suspect(
            word="learning-rate-too-high",
            row="learning-rate-too-high",
            onset=model.large_update_step,
            # An update between two samples was before the second one's forward pass.
            phase=2 if model.large_update_seen else 0,
            explains=BLOW_UP,
            evidence=_large_lines(case),
            advice=_lower(case),
        )


def _lower(case: Case) -> str:
    model = case.model
    ratio, lr = model.large_update, model.large_update_lr
    scale = HEALTHY_UPDATE / ratio
    start = (model.large_update_step or 0) <= 10
    updates = "the first updates were" if start else "one step's update was"
    if math.isfinite(lr) and lr > 0:
        new = lr * scale
        text = (
            f"lr {lr:g} -> about {rounded(new)} ({rounded(0.3 * new)}-{rounded(3 * new)}): "
            f"{updates} {ratio:.2g} of the weights, healthy starts near {HEALTHY_UPDATE:g}"
        )
    else:
        text = (
            f"divide the learning rate by about {rounded(1 / scale)}: {updates} {ratio:.2g} of "
            f"the weights, healthy starts near {HEALTHY_UPDATE:g}"
        )
    if start:
        return text + "; start again, a ruined network does not recover"
    if model.usual_lr > 0 and lr > 2 * model.usual_lr:
        text += f"; it was {model.usual_lr:g} just before"
    return text + (
        f"; reload a checkpoint from before step {model.large_update_step}, check the schedule, "
        "clip the gradient norm at 1.0"
    )


def _large_lines(case: Case) -> list[str]:
    model, loss = case.model, case.past.loss
    lines = [
        f"step {model.large_update_step}: one update changed a weight by "
        f"{model.large_update:.2g} of itself (peak {model.peak_update:.2g}; above 0.3 is large, "
        "healthy starts near 0.01)"
    ]
    if case.facts.grown >= 3:
        lines.append(f"weights grew {case.facts.grown:.3g}-fold")
    if case.past.loss_was_high:
        lines.append(
            f"the loss went from {loss.first:.3g} to {loss.highest:.3g}, above a constant answer's"
        )
    return lines


def _raise(case: Case) -> str:
    scale, lr = HEALTHY_UPDATE / case.model.peak_update, case.model.value("lr")
    if lr > 0:
        new = lr * scale
        return f"lr {lr:g} -> about {rounded(new)} ({rounded(0.3 * new)}-{rounded(3 * new)})"
    return f"multiply the learning rate by about {rounded(scale)}"

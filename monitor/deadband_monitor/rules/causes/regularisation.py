"""Regularisation that is stronger than the data: weights, or signals, driven to zero."""

from __future__ import annotations

from collections.abc import Iterator

from deadband_monitor.rules.causes.base import Case, Suspect


def suspects(case: Case) -> Iterator[Suspect]:
    """Over-regularisation."""
    shrinking = case.flag("weight-collapse")
    if shrinking is not None:
        yield Suspect(
            word="over-regularisation",
            row="over-regularisation",
            onset=shrinking.onset_step,
            phase=2,
            explains=frozenset(
                {
                    "weight-collapse",
                    "output-collapse",
                    "constant-predictor",
                    "vanishing-gradient",
                    "representation-collapse",
                    "loss-plateau",
                }
            ),
            evidence=["all weight matrices shrink together"],
            advice=_weaken(case),
        )


def _weaken(case: Case) -> str:
    decay = max((group.weight_decay for group in case.layout.table.optimizers), default=0.0)
    if decay > 0:
        return f"weight_decay {decay:g} -> {decay / 10:g} or less, until the weights stop shrinking"
    return "divide the L1/L2 penalty by 10 until the weights stop shrinking"

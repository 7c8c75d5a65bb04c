"""Routers that choose the same expert for all, or ever fewer."""

from __future__ import annotations

from collections.abc import Iterator

from deadband.wire import Flag
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import STUCK, Case, Suspect
from deadband_monitor.rules.losses import is_below_zero
from deadband_monitor.rules.structure import routers

UNEVEN_CHOICES = 0.7
"""Share of their first entropy that choices keep where they are balanced, however they specialise:
routers of healthy runs stay above 0.8 of it."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Router collapse."""
    inside = case.flag("representation-collapse")
    if inside is not None and "choice_entropy" in inside.evidence:
        yield _router(inside)
    else:
        yield from _unbalanced(case)


def _router(flag: Flag) -> Suspect:
    experts = flag.evidence["experts"]
    gate = flag.layer.split(":", 1)[0]
    lines = [
        f"the choices among {experts:.0f} experts have {flag.evidence['choice_entropy']:.2g} "
        f"of the entropy of an even load, since step {flag.onset_step}"
    ]
    if "idle" in flag.evidence:
        lines.append(f"{flag.evidence['idle']:.0%} of them are given no input at all")
    return Suspect(
        word="router-collapse",
        belief=0.92,
        onset=flag.onset_step,
        explains=STUCK | {"representation-collapse"},
        evidence=lines,
        advice=(
            "add 0.01 * E * (share * p.mean(0)).sum() to the loss, p the router's probabilities "
            "and share the part of the inputs each expert got (Switch Transformer); start the "
            f"router small and even: nn.init.normal_({gate}.weight, std=0.01), bias 0; add noise "
            "to its logits while training"
        ),
        layer=flag.layer,
    )


def _unbalanced(case: Case) -> Iterator[Suspect]:
    """Choices grow uneven while the loss falls below zero: its balance is driven the wrong way."""
    layout = case.layout
    if not is_below_zero(case.past, case.model):
        return
    for row in routers(layout, layout.index_of[case.model.name]):
        began, now = (
            float(each[row, LAYER_COLUMN["choice_entropy"]])
            for each in (case.past.first, case.past.newest)
        )
        if now < UNEVEN_CHOICES * began:
            gate = layout.layers[row].name
            yield Suspect(
                word="router-collapse",
                belief=0.7,
                onset=case.start,
                explains=STUCK | {"loss-divergence", "representation-collapse"},
                evidence=[
                    f"the choices of {gate} had {began:.2g} of the entropy of an even load and "
                    f"have {now:.2g}",
                    f"the loss is {case.past.loss.fresh:.3g}, below what {case.build.loss} can be: "
                    "what is added to it rewards an uneven load",
                ],
                advice="add the balance with a plus: loss + 0.01 * E * (share * p.mean(0)).sum(), "
                "p the router's probabilities, share the part of the inputs each of E experts got",
                layer=gate,
            )
            return

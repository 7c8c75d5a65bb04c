"""What is fed in: scales that drown the signal, and inputs that are all alike."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import Case, Suspect
from deadband_monitor.rules.causes.facts import ROUNDING
from deadband_monitor.rules.causes.high_rate import BLOW_UP

ANSWERED = 0.9
"""Skill in training that inputs of any scale have served to reach: what is wrong is elsewhere."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Unnormalised inputs, inputs without diversity."""
    kind = case.facts.input_kind
    if kind == "constant" and case.model.feed.constant_since is not None:
        since = case.model.feed.constant_since
        yield Suspect(
            word="bad-data",
            belief=0.85,
            onset=since,
            explains=frozenset({"input-anomaly", "output-collapse", "constant-predictor"}),
            evidence=[
                f"at step {since} the inputs of a batch were all the same; before they were not"
            ],
            advice=f"print the batches of step {since} and the ones before: an augmentation that "
            "fades them out, an empty shard, a mask that erases",
        )
    elif kind == "constant":
        rho = case.model.value("in_variance")
        yield Suspect(
            word="low-data-diversity",
            row="low-data-diversity",
            onset=case.start,
            explains=frozenset({"input-anomaly", "output-collapse", "constant-predictor"}),
            evidence=[f"the inputs of a batch are all the same (share of variance {rho:.1g})"],
            advice="look at a batch as the model gets it: loader, collate, masks, padding, "
            "augmentation",
        )
    elif kind and not case.past.skill(case.model.name) > ANSWERED:
        yield Suspect(
            word="unnormalised-inputs",
            row="unnormalised-inputs (tiny)" if kind == "tiny" else "unnormalised-inputs",
            onset=case.start,
            explains=BLOW_UP | {"input-anomaly"},
            evidence=_lines(case),
            advice=_mend(case),
        )
    elif (layer := _given_nothing(case)) is not None:
        yield Suspect(
            word="low-data-diversity",
            belief=0.95,
            onset=case.start,
            # Tokens that are all zero are all alike behind it.
            explains=frozenset({"output-collapse", "constant-predictor", "attention-collapse"}),
            evidence=[
                f"{layer} puts out its bias alone, and its weights never had a gradient though "
                "its output has: what it is given is zero"
            ],
            advice="look at a batch as the model gets it: x.abs().max(); an augmentation or a mask "
            "that erases all of it, files that were not read",
            layer=layer,
        )


def _given_nothing(case: Case) -> str | None:
    """The one layer that is fed zeros from outside: the first, or that of a further input.

    Its weights' gradient is its inputs times its output's gradient. Of a long row only a part is
    copied, and a blank part says nothing of the rest. What lies behind a layer that is shut is
    given zeros by it.
    """
    layout, past = case.layout, case.past
    every = layout.rows(case.model.name)
    rows = every[(layout.weights & layout.learns)[every]]
    silent = np.flatnonzero(past.highest[rows, LAYER_COLUMN["grad_rms"]] == 0)
    known = past.highest[rows, LAYER_COLUMN["grad_rms"]] >= 0
    if len(silent) != 1 or len(rows) < 2 or not known.all():
        return None
    row = int(rows[silent[0]])
    if silent[0] == 0 and math.isfinite(case.model.start("in_variance")):
        return None
    before = past.first[every[every < row], LAYER_COLUMN["out_rms"]]
    if silent[0] > 0 and not (layout.matrix[row] and len(before) and (before != 0).all()):
        return None
    heard = past.newest[row, LAYER_COLUMN["out_grad_rms"]] > 0
    alike = past.first[row, LAYER_COLUMN["out_variance"]] < ROUNDING
    return layout.layers[row].name if heard and alike else None


def _mend(case: Case) -> str:
    model = case.model
    if case.facts.input_kind == "tiny":
        return (
            "scale the inputs to unit variance once, x = (x - x.mean(0)) / x.std(0): they have rms "
            f"{model.start('in_rms'):.2g}, so look for a scaling that is applied twice"
        )
    return (
        "standardise each feature, x = (x - x.mean(0)) / (x.std(0) + 1e-8) with the training set's "
        f"figures (values reach {model.start('in_max'):.3g} now), or put nn.BatchNorm1d first; a "
        "lower learning rate does not cure this"
    )


def _lines(case: Case) -> list[str]:
    model = case.model
    line = (
        f"first sample, before any step: input rms {model.start('in_rms'):.3g}, largest value "
        f"{model.start('in_max'):.3g}, share of variance {model.start('in_variance'):.2g}"
    )
    top = model.start("in_top_share")
    if math.isfinite(top) and top > 0.5:
        line += f", one feature holds {top:.0%} of the second moment"
    return [line]


def fed_by_a_broken_one(case: Case) -> bool:
    """Inputs that are not finite may be what another model put out, whose own inputs were sound.

    A gradient alone that is not finite puts nothing out: it may come from what was fed here.
    """
    since = case.model.feed.broken_step
    for other in case.past.models.values():
        step = other.broken.step
        if other is case.model or since is None or step is None or other.feed.broken_step:
            continue
        if step < since or (step == since and not other.broken.sound_outside):
            return True
    return False

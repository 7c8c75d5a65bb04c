"""Gradients that are never cleared, or cleared before the step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes.base import Case, Suspect, Tier
from deadband_monitor.rules.causes.high_rate import BLOW_UP
from deadband_monitor.rules.causes.plumbing import STILL
from deadband_monitor.rules.causes.regularisation import DROPPED
from deadband_monitor.rules.frozen import Block, blockage
from deadband_monitor.rules.outputs import EXACT

_OUT_GRAD, _OUT = LAYER_COLUMN["out_grad_rms"], LAYER_COLUMN["out_rms"]
_VARIANCE = LAYER_COLUMN["out_variance"]

FAR_APART = 40
"""Steps between two samples from which the two are a habit: as far as flags take two for three."""
PILED = BLOW_UP | {"loss-plateau"}
"""What gradients that pile up lead to: steps that grow with each step."""
OVERFLOWS = 1e16
"""Gradient from which the squares of all of them together may pass what float32 holds (3e38, of
millions of weights and layers that multiply further): clipping divides by an infinite norm."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Missing zero_grad, and zero_grad before the step."""
    found = blockage(case.past, case.model.name)
    # Behind a dropout that leaves hardly a unit, a batch may have no gradient at all.
    cleared = _cleared_since(case) if case.build.dropout < DROPPED else None
    if cleared is not None and (found is None or found.block is Block.ZERO_GRADIENT):
        yield Suspect(
            word="detached-graph",
            tier=Tier.EXACT,
            belief=0.97,
            onset=cleared,
            explains=STILL,
            evidence=[
                "the loss gradient reaches the last layer, whose input is alive, and yet every "
                "weight gradient is exactly zero at the step"
            ],
            advice="the gradients are cleared between backward and step: the order is "
            "optimizer.zero_grad(); loss.backward(); optimizer.step()",
        )
    since = case.past.piling_since(case.model.name)
    if since is None:
        yield from _just_piled(case)
    else:
        # The first gradient that is there twice is that of the second step.
        yield _never_cleared(max(case.start, since - 1), _piled(case), belief=0.97)


def _just_piled(case: Case) -> Iterator[Suspect]:
    """Gradients held the old ones at two samples in a row, far apart, and then the run broke."""
    flow, broken = case.past.flow, case.model.broken.step
    rows = flow.rows(case.layout, case.layout.index_of[case.model.name])
    kept = rows[flow.kept_samples[rows] >= 2]
    if case.layout.several_models or broken is None or not 0 < len(rows) <= 2 * len(kept):
        return
    since = int(flow.kept_since[kept].min())
    if broken - since < 2 * FAR_APART or bool((flow.rests[kept] > 0).any()):
        return
    line = (
        f"at step {since} and at the sample after it .grad still held the gradient of the step "
        f"before when backward began, and the steps moved the weights; step {broken} broke them"
    )
    yield _never_cleared(since, [line], belief=0.9)


def _never_cleared(onset: int, evidence: list[str], *, belief: float) -> Suspect:
    return Suspect(
        word="missing-zero-grad",
        tier=Tier.EXACT,
        belief=belief,
        onset=onset,
        explains=PILED,
        evidence=evidence,
        advice="call optimizer.zero_grad() before each loss.backward(); to accumulate over k "
        "batches on purpose, divide the loss by k and clear after each step",
    )


def _cleared_since(case: Case) -> int | None:
    """Since when gradients vanish between backward and step, though the way is open.

    The gradient of a layer's weight is its output's gradient times its input. Where both are there
    and it is zero in every layer, it was cleared. A dead or saturated layer leaves the last one's;
    and where it had faded before, the rows of a full batch cancel each other at an optimum.
    """
    flow, layout = case.past.flow, case.layout
    index = layout.index_of[case.model.name]
    rows = flow.rows(layout, index)
    if not len(rows) or not (flow.zero_since[rows] >= 0).all():
        return None
    seen = case.past.newest
    head = rows[-1]
    before = [row for row in layout.rows_of[index].tolist() if row < head]
    # A gate may stand open on what is nothing: all that lies behind the last weight counts.
    since = next(
        (row for row in reversed(before) if layout.matrix[row]), before[0] if before else 0
    )
    feeding = np.fmin.reduce(seen[since:head, _OUT]) if before else case.model.value("in_rms")
    # Of what is the same for all rows the gradients may add up to nothing (as many answers above
    # their targets as below), and those that overflow are clipped to nothing.
    varies = not before or not seen[before[-1], _VARIANCE] < EXACT
    fits = seen[head, _OUT_GRAD] * feeding < OVERFLOWS
    reached = seen[head, _OUT_GRAD] > 0 and not flow.settled(rows)
    open_way = reached and feeding > 0 and varies and fits
    return int(flow.zero_since[rows].min()) if open_way else None


def _piled(case: Case) -> list[str]:
    first, now = case.model.start("grad_norm"), case.model.value("grad_norm")
    lines = ["at each step .grad still held the gradient of the step before when backward began"]
    if now > first > 0:
        lines.append(f"the gradient norm went from {first:.3g} to {now:.3g}")
    return lines

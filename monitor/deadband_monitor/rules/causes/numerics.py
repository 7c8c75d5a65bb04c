"""Overflow: a value that is not finite, and no other cause before it."""

from __future__ import annotations

from collections.abc import Iterator

from deadband_monitor.rules.breaks import SMALL_OUTPUT
from deadband_monitor.rules.causes.base import Case, Suspect, Tier
from deadband_monitor.rules.causes.high_rate import ran_away
from deadband_monitor.rules.misfit import VALUE_LOSSES

EXP_HOLDS = 80.0
"""Output up to which exp holds in float32, which ends at 88."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Numerical overflow."""
    overflow = case.flag("non-finite")
    if overflow is not None and case.model.broken.sound_outside:
        # torch's own losses of values make something infinite of finite outputs only where the
        # targets are; a term that the user adds to them may too.
        alone = not case.model.latest("further_loss") > 0
        targets = alone and case.build.loss in VALUE_LOSSES and bool(case.build.loss_target)
        # A target that is not finite makes the loss so too: with a loss that is, there was none.
        backward = case.model.broken.only_gradients
        targets = targets and not backward
        # An output that was positive until then meets a logarithm or a root on its way to the loss.
        crossed = case.model.objective.crossed_step == case.model.broken.step
        if targets:
            yield Suspect(
                word="bad-data",
                belief=0.3 if crossed else 0.9,
                onset=overflow.onset_step,
                explains=frozenset({"non-finite"}),
                evidence=[
                    f"step {case.model.broken.step}: every layer's output was finite and below "
                    f"{SMALL_OUTPUT:g}, and {case.build.loss} of it was not: a target is NaN or "
                    "infinite"
                ],
                advice="look for them before training: assert torch.isfinite(y).all() in the "
                "loader; drop the rows, or fill them with a value that means missing",
            )
        yield from _logarithm_of_output(case)
        yield Suspect(
            word="numerical-overflow",
            belief=0.5 if targets and not crossed else 0.9,
            onset=overflow.onset_step,
            phase=1,
            explains=frozenset({"non-finite"}),
            evidence=[
                f"step {case.model.broken.step}: every layer's output was finite and below "
                f"{SMALL_OUTPUT:g}, "
                + (
                    "the loss was finite too, and its gradient was not: a slope without end on the "
                    "way back"
                    if backward
                    else "the loss or its gradient was not: what comes after them overflows or "
                    "divides by zero"
                ),
                *(
                    [f"the output fell below zero at that step ({case.model.value('out_min'):.2g})"]
                    if crossed
                    else []
                ),
            ],
            advice="mend the loss: torch.log(p + 1e-7) or F.binary_cross_entropy_with_logits for "
            "log(0), torch.sqrt(x + 1e-8) for the slope of a root at 0, F.cross_entropy or "
            "torch.logsumexp for exp of logits; torch.autograd.set_detect_anomaly(True) names the "
            "line",
        )
    elif overflow is not None:
        where = f" in {overflow.layer}" if overflow.layer else ""
        if ran_away(case) is not None:
            return  # a number outgrows every format in the end: it is not the format
        if (name := _at_the_entrance(case)) is not None:
            yield Suspect(
                word="bad-data",
                belief=0.9,
                onset=overflow.onset_step,
                explains=frozenset({"non-finite"}),
                evidence=[
                    f"step {case.model.broken.step}: {name}, next to the input, put out NaN with "
                    "weights that the step before had left finite: what came in holds NaN or "
                    "infinity"
                ],
                advice=f"look at the batch of step {case.model.broken.step}: assert "
                "torch.isfinite(x).all() in the loader; drop the rows, or fill them with a value "
                "that means missing",
                layer=name,
            )
            return
        values = case.build.loss in VALUE_LOSSES and case.past.loss.infinite
        if case.model.samples > 1 and not case.model.feed.broken_step:
            yield Suspect(
                word="bad-data",
                tier=Tier.RESIDUAL,
                # A squared error of usual outputs is infinite where a target is. NaN it is after a
                # gradient that was not finite, too: that of a root at zero, say.
                belief=0.5 if values else 0.3,
                onset=overflow.onset_step,
                phase=1,
                root=False,
                explains=frozenset({"non-finite"}),
                evidence=[
                    f"the loss was {case.past.loss.fresh:.3g} up to the step at which values were "
                    "no longer finite: a single batch may hold NaN or infinity"
                ],
                advice="assert torch.isfinite(x).all() and torch.isfinite(y).all() in the loader; "
                "drop the rows, or fill them with a value that means missing",
            )
        yield Suspect(
            word="numerical-overflow",
            tier=Tier.RESIDUAL,
            belief=0.35 if values else 0.5,
            onset=overflow.onset_step,
            phase=1,
            root=False,
            explains=frozenset({"non-finite"}),
            advice=f"find the first operation that overflows{where} with "
            "torch.autograd.set_detect_anomaly(True): log or division of 0, exp of a large value, "
            "half precision; clip gradients, use bfloat16",
            layer=overflow.layer,
        )


def _at_the_entrance(case: Case) -> str | None:
    """The layer that put out NaN first, where nothing but the input can have given it that.

    It is the first with weights, or the norm behind that, of whose output a part was copied. Of a
    table of embeddings a few rows were copied: one of the others may have been broken.
    """
    layout, row, step = case.layout, case.model.broken.first, case.model.broken.step
    others = [m.broken.step for m in case.past.models.values() if m is not case.model]
    if any(other is not None and step is not None and other <= step for other in others):
        return None  # what came in may be what another model handed on
    first, *later = layout.rows(case.model.name).tolist()
    giving = first in layout.giving_of[layout.index_of[case.model.name]]
    if row is None or not giving or layout.embedding[first]:
        return None
    layer = layout.layers[row]
    behind = row in later[:1] and "Norm" in layer.kind
    return layer.name if row == first or behind else None


def _logarithm_of_output(case: Case) -> Iterator[Suspect]:
    """A Poisson loss that takes the output for a rate, and is given what can lie below zero.

    By its formulas: exp(o) - y o is finite for every output that exp does not overflow for, and of
    o - y log(o) the logarithm is not.
    """
    low, high = case.model.value("out_min"), case.model.value("out_max")
    if case.build.loss != "poisson_nll" or not low < 0 or not high < EXP_HOLDS:
        return
    yield Suspect(
        word="loss-mismatch",
        tier=Tier.EXACT,
        belief=0.97,
        onset=case.start,
        explains=frozenset({"non-finite"}),
        evidence=[
            f"the outputs go down to {low:.2g}, and the loss takes their logarithm: they are no "
            "rates"
        ],
        advice="nn.PoissonNLLLoss(log_input=True), for outputs that are logarithms of rates; or "
        "F.softplus(output) + 1e-6 before log_input=False",
    )

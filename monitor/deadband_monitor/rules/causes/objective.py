"""A loss that does not fit what it is given: squashed twice, spread out, out of reach."""

from __future__ import annotations

from collections.abc import Iterator

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.causes import descent
from deadband_monitor.rules.causes.base import Case, Suspect, Tier
from deadband_monitor.rules.causes.clash_words import advice, evidence
from deadband_monitor.rules.causes.descent import AFTERMATH, BLIND, RUNAWAY, SLOW
from deadband_monitor.rules.clashes import BOTTOMLESS, SHUT_OUT, Clash
from deadband_monitor.rules.losses import (
    NEVER_NEGATIVE,
    fell_since,
    is_below_zero,
    is_far_below_zero,
)
from deadband_monitor.rules.misfit import OF_SOFTMAX, POSITIVE, VALUE_LOSSES

_EXPLAINS: dict[Clash, frozenset[str]] = {
    Clash.SOFTMAX_CE: SLOW,
    Clash.SIGMOID_CE: SLOW,
    Clash.TANH_CE: SLOW,
    Clash.RELU_CE: SLOW | {"output-collapse", "dead-units"},
    Clash.SIGMOID_LOGITS: SLOW,
    Clash.SIGMOID_TWICE: SLOW,
    Clash.SOFTMAX_TWICE: SLOW,
    Clash.TANH_LOGITS: SLOW,
    Clash.RELU_LOGITS: SLOW | {"output-collapse", "dead-units"},
    Clash.RELU_SIGMOID: SLOW | {"output-collapse", "dead-units"},
    Clash.ONE_LOGIT: BLIND,
    Clash.ONE_SOFTMAX: BLIND,
    Clash.NLL_LOGITS: BLIND | RUNAWAY | {"update-too-large", "saturation", "dead-units"},
    Clash.NLL_PROBABILITIES: SLOW | RUNAWAY,
    Clash.WRONG_AXIS: BLIND,
    Clash.BROADCAST: BLIND,
    Clash.COUPLED: BLIND,
    Clash.BCE_TARGETS: BLIND | RUNAWAY | {"update-too-large", "saturation"},
    Clash.RELU_TARGETS: BLIND | {"dead-units"},
    Clash.SIGMOID_TARGETS: BLIND | {"saturation"},
    Clash.TANH_TARGETS: BLIND | {"saturation"},
    Clash.SOFTMAX_TARGETS: BLIND | {"saturation"},
    Clash.CLASS_NUMBERS: SLOW | RUNAWAY | {"update-too-large", "saturation"},
    Clash.STRETCHED: SLOW | RUNAWAY | {"update-too-large", "saturation"},
    Clash.KL_LOGITS: BLIND | RUNAWAY | {"update-too-large", "saturation", "dead-units"},
    Clash.KL_PROBABILITIES: SLOW,
    Clash.MARGIN_TARGETS: BLIND | {"saturation"},
    Clash.MIXED_AXES: SLOW,
    Clash.SHARED_WHOLE: SLOW,
    Clash.SILENT: BLIND,
    Clash.REVERSED: BLIND | RUNAWAY | AFTERMATH,
    Clash.UNBOUNDED: BLIND | RUNAWAY | AFTERMATH,
}

_BELIEF = {
    Clash.COUPLED: 0.85,
    Clash.CLASS_NUMBERS: 0.85,
    Clash.STRETCHED: 0.85,
    Clash.SIGMOID_TWICE: 0.93,
    Clash.SOFTMAX_TWICE: 0.93,
    Clash.SILENT: 0.75,
    Clash.UNBOUNDED: 0.85,
}
"""Of the tests that do not settle the matter by themselves."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Loss mismatch, output activation mismatch."""
    clash = case.model.objective.clash
    if clash is Clash.SILENT and _held_at_an_end(case):
        yield Suspect(
            word="output-activation-mismatch",
            belief=0.85,
            onset=case.start,
            explains=BLIND,
            evidence=[
                f"the output is {case.model.start('out_max'):.3g} in every row from the first on, "
                f"what {case.last_layer} puts out is not, and no gradient comes back: something "
                "between the two holds it there"
            ],
            advice="take the clamp, clip or threshold out of forward() while training: values need "
            "a linear output; clamp in evaluation alone",
            layer=case.last_layer,
        )
    elif clash is not None:
        exact = clash not in _BELIEF and not _by_range(case, clash)
        yield Suspect(
            word="output-activation-mismatch" if clash in SHUT_OUT else "loss-mismatch",
            tier=Tier.EXACT if exact else Tier.PATTERN,
            belief=0.99 if exact else _belief(case, clash),
            onset=fell_since(case.past, case.model)
            if clash in BOTTOMLESS
            else case.model.objective.since,
            phase=0,
            explains=_EXPLAINS[clash],
            evidence=evidence(case, clash),
            advice=advice(case, clash),
            layer=case.last_layer,
        )
    elif _below_zero(case):
        yield _subtracted(case)
    elif (flag := case.flag("loss-divergence")) is not None and "coupling" in flag.evidence:
        yield Suspect(
            word="loss-mismatch",
            belief=0.93,
            onset=flag.onset_step,
            explains=SLOW | RUNAWAY | AFTERMATH,
            evidence=[
                f"the outputs spread {flag.evidence['sigma_share']:.2g} times as wide as the "
                "targets, and the loss's gradient drives them further apart (correlation "
                f"{flag.evidence['coupling']:.2g}; that of an error is above zero)"
            ],
            advice=f"loss = {case.build.loss}(...) without a minus before it or a factor below "
            "zero",
        )
    elif case.past.loss.lowest == case.past.loss.highest == 0:
        yield Suspect(
            word="loss-mismatch",
            belief=0.85,
            onset=case.start,
            explains=BLIND,
            evidence=["the loss has been exactly 0 at every step: it counts no row at all"],
            advice="print what leaves rows out of the loss: a mask (upside down?), ignore_index, "
            "sample weights or advantages (normalised along an axis of one, they are all 0)",
        )
    else:
        yield from descent.suspects(case)
    if clash is None:
        yield from _shut_output(case)
    if case.model.objective.way == OF_SOFTMAX:
        classes = case.model.objective.classes
        yield Suspect(
            word="loss-mismatch",
            # Ten classes are learnt by it all the same.
            belief=0.8 if classes >= 20 else 0.5,
            onset=case.start,
            explains=SLOW,
            evidence=[
                f"a squared error of a softmax over {classes} classes: it is flat where the answer "
                "is sure and wrong, and each class counts 1 in as many"
            ],
            advice="F.cross_entropy(logits, labels) in place of mse_loss(softmax(logits), one_hot)",
        )
    if _softmax_into_bce(case):
        yield Suspect(
            word="loss-mismatch",
            belief=0.35,
            onset=case.start,
            explains=SLOW,
            evidence=["the output rows sum to 1, the loss judges each column by itself"],
            advice="drop the softmax and use binary_cross_entropy_with_logits for yes/no labels, "
            "or cross_entropy with class ids",
        )


def _held_at_an_end(case: Case) -> bool:
    """The output is one number, not the 1 of a softmax over one unit; its last layer's is not."""
    model, layout = case.model, case.layout
    row = layout.row_of.get((model.name, case.last_layer), -1)
    one = model.start("out_min") == model.start("out_max") != 1
    return one and row >= 0 and bool(case.past.first[row, LAYER_COLUMN["out_variance"]] > 0)


def _belief(case: Case, clash: Clash) -> float:
    """What compares rows with each other alone is silent where all of them are the same."""
    if clash is Clash.SILENT and case.flag("output-collapse") and not case.build.loss_target:
        return 0.1
    return _BELIEF.get(clash, 0.85)


def _by_range(case: Case, clash: Clash) -> bool:
    """No activation that is known holds the output above zero: it never went below, that is all."""
    last = case.layout.output_layer(case.model.name)
    if clash is not Clash.RELU_TARGETS or last is None or case.model.objective.behind:
        return False
    return last.activation not in POSITIVE


def _below_zero(case: Case) -> bool:
    """It is so now, or was when the flag was raised: what could not be once was never a loss."""
    flag = case.flag("loss-divergence")
    was = flag is not None and flag.evidence.get("loss", 0.0) < 0 < case.past.loss.fresh
    return is_below_zero(case.past, case.model) or (was and case.build.loss in NEVER_NEGATIVE)


def _subtracted(case: Case) -> Suspect:
    """The loss is below what its function can give: a minus, before all of it or a part of it."""
    flag, loss = case.flag("loss-divergence"), case.past.loss
    below = f"is {loss.fresh:.3g}" if loss.fresh < 0 else f"was {loss.lowest:.3g}"
    why = "a term with a minus outweighs it"
    advice = (
        "print the parts of the loss one by one: a penalty or balance that enters with a "
        "minus grows without end; give it a plus, or a bound (clamp) and a factor of 0.01"
    )
    if loss.first < 0:
        why = f"it began at {loss.first:.3g}, so the sign of the whole may be turned"
        advice = (
            f"loss = {case.build.loss}(...) without a minus before it; for distributions, give "
            "logarithms first and probabilities that sum to 1 second"
        )
    if case.build.loss == "ctc":
        why = "what it was given are no logarithms of probabilities"
        advice = "F.ctc_loss(F.log_softmax(output, dim=-1), ...): it takes log-probabilities"
    since, large = loss.negative_since, case.model.large_update_step
    # No step, however large, takes a loss below its least value: those that follow are made by it.
    turned = large is not None and case.start < (since or 0) <= large
    far = is_far_below_zero(case.past, case.model)
    return Suspect(
        word="loss-mismatch",
        # What it does to rows that are held back, or to the network, follows from it.
        tier=Tier.EXACT if far else Tier.PATTERN,
        belief=0.93 if far else 0.9 if turned else 0.8 if loss.first < 0 else 0.6,
        onset=flag.onset_step if flag else since if turned and since else case.start,
        explains=SLOW | RUNAWAY | AFTERMATH,
        evidence=[f"the loss {below}, and {case.build.loss} is never negative: {why}"],
        advice=advice,
    )


def _shut_output(case: Case) -> Iterator[Suspect]:
    """The ReLU that died makes the output: the loss drew it to where it cannot go."""
    flag, last = case.flag("dead-units"), case.layout.output_layer(case.model.name)
    if flag is None or last is None or case.model.large_update_step is not None:
        return
    within = case.model.latest("target_min") >= 0
    born = flag.onset_step <= case.start
    if last.name != flag.layer or last.activation not in {"relu", "relu6"} or within or born:
        return
    if case.build.loss not in VALUE_LOSSES or not case.past.loss.fresh > 0:
        return
    yield Suspect(
        word="output-activation-mismatch",
        belief=0.85,
        onset=case.start,
        explains=BLIND | {"dead-units"},
        evidence=[
            f"{last.name} makes the output, and all of it was driven to zero by step "
            f"{flag.onset_step} in small steps: {case.build.loss} of zeros is still "
            f"{case.past.loss.fresh:.3g}, so the targets lie below what a ReLU can give"
        ],
        advice=f"remove {last.name} from the end of the model: values need a linear output; "
        "softplus where they must be positive",
        layer=last.name,
    )


def _softmax_into_bce(case: Case) -> bool:
    return (
        case.build.loss == "bce"
        and case.model.objective.classes >= 2
        and case.model.value("row_sum_error") <= 1e-3
    )
